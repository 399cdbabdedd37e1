//! The Nth statement or commit fails, for every N, once and for good, in each operation on licenses: all or nothing, and no key out
//! (`testing.md`, row 3). What got no answer is repeated and has one effect (row 2).

use std::cell::RefCell;

use serde_json::{Value, json};

use super::catalogue::TestServer;
use super::is_sound;
use super::licensing::one_more;
use super::sales::sell;
use super::support::{TestDb, db_test};
use super::terminal::{Terminal, exchange, request, send};
use crate::support::breaking::{break_everywhere, impatient};

const PRICE: &str = "19.99 EUR";
async fn on_sale(db: &TestDb) -> (TestServer, Terminal) {
    let server = TestServer::new(db).await;
    sell(&server, db, "sky-raider", &[PRICE], json!({ "transfers": 1000, "devices": 1000 })).await;
    let desk = Terminal::registered(&server).await;
    desk.order(&server, "sky-raider", PRICE).await.unwrap();
    (server, desk)
}

db_test!(d5_a_broken_request_for_a_license_takes_one_place_or_none, |options| impatient(options), async |db: TestDb| {
    let (server, desk) = on_sale(&db).await;
    let fresh = async |_| {
        // Devices are few for one user, so each round is somebody else's.
        let owner = Terminal::registered(&server).await;
        owner.order(&server, "sky-raider", PRICE).await.unwrap();
        let laptop = one_more(&server, &owner).await;
        laptop.sealed(&server, &request(&server, laptop.license_operation("sky-raider", false)), None)
    };
    let issued = async || db.number("SELECT count(*) FROM license WHERE transaction_id IS NOT NULL").await;
    break_everywhere(&db, &server, fresh, issued).await;
    drop(desk);
    assert_eq!(
        db.number("SELECT count(*) FROM license WHERE transaction_id IS NOT NULL").await,
        db.number("SELECT count(*) FROM audit WHERE event = 'license.issued'").await
    );
});

db_test!(d6_a_broken_fetch_draws_one_grant_or_none, |options| impatient(options), async |db: TestDb| {
    let (server, desk) = on_sale(&db).await;
    let fetched = RefCell::new(None::<Vec<u8>>);
    let fresh = async |_| {
        let grant = fetched.borrow_mut().take();
        if let Some(sealed) = grant {
            let redeemed: counterfoil_core::wire::RedeemResult = serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap();
            desk.open(&redeemed.grant);
            desk.installed(&server, redeemed.grant.grant_id).await.unwrap();
        }
        let issued = desk.license_again(&server, "sky-raider").await.unwrap();
        let sealed = desk.sealed(&server, &request(&server, desk.redeem_operation(issued.transaction_id)), None);
        *fetched.borrow_mut() = Some(sealed.clone());
        sealed
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM audit WHERE event = 'license.delivered'").await).await;
});

db_test!(a_broken_confirmation_settles_once_or_not_at_all, |options| impatient(options), async |db: TestDb| {
    let (server, desk) = on_sale(&db).await;
    let fresh = async |_| {
        let issued = desk.license_again(&server, "sky-raider").await.unwrap();
        let redeemed = desk.redeem(&server, issued.transaction_id).await.unwrap();
        desk.sealed(&server, &request(&server, desk.installed_operation(redeemed.grant.grant_id)), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM audit WHERE event = 'license.confirmed'").await).await;
});

db_test!(d8_a_broken_transfer_moves_it_or_not, |options| impatient(options), async |db: TestDb| {
    let (server, desk) = on_sale(&db).await;
    let laptop = one_more(&server, &desk).await;
    let (issued, _) = desk.install(&server, "sky-raider").await.unwrap();
    let at = RefCell::new(false);
    let fresh = async |_| {
        let there = at.replace_with(|there| !*there);
        let (from, to) = if there { (&laptop, &desk) } else { (&desk, &laptop) };
        desk.sealed(&server, &request(&server, desk.transfer_operation(from, to, Some("sky-raider"), false)), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT CAST(sum(moves) AS BIGINT) FROM license").await).await;
    let holder = if *at.borrow() { &laptop } else { &desk };
    holder.redeem(&server, issued.transaction_id).await.unwrap();
    assert_eq!(
        db.number("SELECT CAST(sum(moves) AS BIGINT) FROM license").await,
        db.number("SELECT count(*) FROM audit WHERE event = 'license.transferred'").await
    );
});

db_test!(d10_a_broken_farewell_takes_the_device_out_or_not, |options| impatient(options), async |db: TestDb| {
    let (server, _) = on_sale(&db).await;
    let fresh = async |_| {
        let owner = Terminal::registered(&server).await;
        owner.order(&server, "sky-raider", PRICE).await.unwrap();
        let laptop = one_more(&server, &owner).await;
        // By the device that goes: its repeat comes from nobody.
        owner.sealed(&server, &request(&server, owner.transfer_operation(&owner, &laptop, None, false)), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM device_info WHERE retired_at IS NOT NULL").await).await;
});

db_test!(no_license_leaves_whose_renewal_is_not_written_down, |options| impatient(options), async |db: TestDb| {
    let (server, desk) = on_sale(&db).await;
    let (issued, _) = desk.install(&server, "sky-raider").await.unwrap();
    let fresh = async |_| {
        server.app.clock.set(counterfoil_core::Timestamp(server.app.clock.now().0 + 60_000));
        desk.sealed(&server, &request(&server, desk.renew_operation(issued.license_id)), None)
    };
    // Each has a minute more than the one before; a repeat of the same minute has none.
    break_everywhere(&db, &server, fresh, async || db.number("SELECT lease_until / 60000 FROM license").await).await;
});

db_test!(testing_13_without_an_audit_log_no_license_is_given_and_nothing_moves, |options| impatient(options), async |db: TestDb| {
    let (server, desk) = on_sale(&db).await;
    let laptop = one_more(&server, &desk).await;
    let issued = desk.license(&server, "sky-raider").await.unwrap();
    let sealed = |operation| desk.sealed(&server, &request(&server, operation), None);
    let fetch = sealed(desk.redeem_operation(issued.transaction_id));
    let give = sealed(desk.transfer_operation(&desk, &laptop, Some("sky-raider"), false));
    db.run("ALTER TABLE audit RENAME TO audit_gone").await;
    for sealed in [&fetch, &give] {
        let answer = send(&server, sealed).await;
        assert_eq!(answer.status.as_u16(), 500);
        assert!(answer.json()["answer"] == Value::Null);
    }
    db.run("ALTER TABLE audit_gone RENAME TO audit").await;
    assert_eq!(db.number("SELECT count(*) FROM license WHERE grant_id IS NOT NULL OR moves > 0").await, 0);
    exchange(&server, &fetch).await.unwrap();
    exchange(&server, &give).await.unwrap();
    is_sound(&db).await;
});
