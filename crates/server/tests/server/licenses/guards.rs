//! Each statement that moves a license on does so only where it is as it was decided on: these fail if a guard is left out.

use counterfoil_core::wire::{HolderKind, LicenseResult};
use counterfoil_core::{DeviceId, EntitlementId, GrantId, HolderId, LicenseId, Policy, Timestamp, TransactionId, UserId};
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::store::audit;
use counterfoil_server::store::license::{self, LicenseGrant};
use counterfoil_server::store::{entitlement, inbox};
use serde_json::json;

use super::catalogue::{NOW, TestServer};
use super::licensing::one_more;
use super::sales::sell;
use super::support::breaking::impatient;
use super::support::{TestDb, db_test};
use super::terminal::Terminal;

/// A license that waits to be fetched, and another device of its user.
struct Waiting {
    user: UserId,
    here: DeviceId,
    there: DeviceId,
    issued: LicenseResult,
}

async fn waiting(db: &TestDb) -> Waiting {
    let server = TestServer::new(db).await;
    sell(&server, db, "sky-raider", &["1.00 EUR"], json!({ "devices": 2, "transfers": 1 })).await;
    let desk = Terminal::registered(&server).await;
    let laptop = one_more(&server, &desk).await;
    desk.order(&server, "sky-raider", "1.00 EUR").await.unwrap();
    let issued = desk.license(&server, "sky-raider").await.unwrap();
    Waiting { user: desk.user.unwrap(), here: desk.device_id().unwrap(), there: laptop.device_id().unwrap(), issued }
}

fn grant(number: u8) -> LicenseGrant {
    LicenseGrant {
        grant: GrantId::from_bytes([number; 16]),
        holder: HolderId::from_bytes([1; 16]),
        holder_kind: HolderKind::Card,
        drive: None,
        library_key: vec![number; 48],
        issued_at: NOW,
    }
}

/// One statement in a transaction of its own.
async fn alone<T: Send + 'static>(db: &TestDb, user: UserId, action: impl AsyncFn(&mut Tx) -> Result<T, DbError> + Send + 'static) -> T {
    db.write("alone", user.to_string(), action).await.unwrap()
}

const UNTIL: Timestamp = Timestamp(NOW.0 + 1000);

db_test!(d6_a_license_is_delivered_once_and_only_where_it_waits, |options| impatient(options), async |db: TestDb| {
    let Waiting { user, here, there, issued } = waiting(&db).await;
    let id = issued.license_id;
    let deliver = async |device, number: u8| {
        alone(&db, user, async move |tx: &mut Tx| license::deliver(tx, user, id, device, &grant(number), UNTIL).await).await
    };
    assert!(!deliver(there, 1).await, "it waits for another device");
    assert!(deliver(here, 2).await);
    assert!(!deliver(here, 3).await, "somebody else was first");
    let again = async |number: u8| {
        alone(&db, user, async move |tx: &mut Tx| license::deliver_again(tx, user, id, here, &grant(number), UNTIL).await).await
    };
    assert!(again(2).await);
    assert!(!again(3).await, "another grant");
    let renew = async |device, number: u8, until: i64| {
        let grant = GrantId::from_bytes([number; 16]);
        alone(&db, user, async move |tx: &mut Tx| license::renew(tx, user, id, device, grant, Timestamp(until)).await).await
    };
    assert!(!renew(there, 2, UNTIL.0 + 9).await && !renew(here, 3, UNTIL.0 + 9).await);
    assert!(renew(here, 2, UNTIL.0 + 5).await && renew(here, 2, UNTIL.0 - 5).await);
    assert_eq!(db.number("SELECT lease_until FROM license").await, UNTIL.0 + 5, "what was promised once is never forgotten");
    let settle = async |number: u8| {
        let grant = GrantId::from_bytes([number; 16]);
        db.write("settle", user.to_string(), async move |tx: &mut Tx| license::settle(tx, user, id, grant, NOW).await).await.is_ok()
    };
    assert!(!settle(3).await && settle(2).await && !settle(2).await);
    assert!(!again(2).await, "installed");
});

db_test!(a_transaction_id_is_made_once_and_a_license_is_opened_again_only_where_it_is_installed, async |db: TestDb| {
    let Waiting { user, here, there, issued } = waiting(&db).await;
    let id = issued.license_id;
    let issue = async |device| {
        let transaction = TransactionId::from_bytes([9; 16]);
        alone(&db, user, async move |tx: &mut Tx| license::issue(tx, user, id, device, transaction, 1).await).await
    };
    assert!(!issue(here).await, "it has one");
    let reopen = async |device| alone(&db, user, async move |tx: &mut Tx| license::reopen(tx, user, id, device, 1).await).await;
    let choose = async |device| alone(&db, user, async move |tx: &mut Tx| license::choose(tx, user, id, device, 2).await).await;
    assert!(!reopen(here).await, "it is not installed");
    assert!(!choose(there).await && choose(here).await);
    db.run("UPDATE license SET state = 'settled', grant_id = 'grt-1', settled_at = 1").await;
    assert!(!choose(here).await, "it is installed");
    assert!(!reopen(there).await && reopen(here).await && !reopen(here).await);
    assert_eq!(db.number("SELECT count(*) FROM license WHERE transaction_id IS NOT NULL AND grant_id IS NULL").await, 1);
    let end = async || alone(&db, user, async move |tx: &mut Tx| license::end(tx, user, id, NOW).await).await;
    assert!(end().await && !end().await);
    assert!(!issue(here).await && !reopen(here).await && !choose(here).await, "it has ended");
});

db_test!(d8_places_and_transfers_are_counted_where_they_are_taken, async |db: TestDb| {
    let Waiting { user, there, .. } = waiting(&db).await;
    let text = db.read("which", async |tx: &mut Tx| tx.query("SELECT entitlement_id FROM entitlement").one::<(EntitlementId,)>().await);
    let (of,) = text.await.unwrap();
    let place = async || alone(&db, user, async move |tx: &mut Tx| entitlement::take_place(tx, user, of, 2, NOW).await).await;
    assert!(place().await && !place().await, "two devices by its terms");
    let policy = Policy { transfers: 1, ..Policy::default() };
    let count = async |now: i64| {
        let (allowed, period) = (policy.transfers, counterfoil_core::rules::transfer::period(&policy));
        alone(&db, user, async move |tx: &mut Tx| entitlement::count_transfer(tx, user, of, allowed, period, Timestamp(now)).await).await
    };
    assert!(count(NOW.0).await && !count(NOW.0 + 1).await && count(NOW.0 + 30 * Timestamp::DAY).await);
    // The database itself keeps one license of an entitlement at a device.
    let register = async |number: u8| {
        let (license, title) = (LicenseId::from_bytes([number; 16]), "sky-raider".parse().unwrap());
        db.write("register", user.to_string(), async move |tx: &mut Tx| license::register(tx, user, license, of, &title, there, NOW).await)
            .await
    };
    assert!(register(1).await.is_ok());
    assert!(matches!(register(2).await, Err(DbError::Constraint(_))));
});

db_test!(a_record_is_not_appended_where_another_came_in_between, |options| impatient(options), async |db: TestDb| {
    let Waiting { user, .. } = waiting(&db).await;
    let family = user.to_string();
    let of = family.clone();
    let head = db.read("head", async move |tx: &mut Tx| audit::head(tx, &of).await).await.unwrap();
    let append = async || {
        let of = family.clone();
        let action = async move |tx: &mut Tx| audit::append_after(tx, &of, head, NOW.0, "x", "y", &json!({})).await;
        db.write("append", family.clone(), action).await
    };
    append().await.unwrap();
    let before = db.number("SELECT count(*) FROM audit").await;
    assert!(append().await.is_err(), "the end of the chain has moved on");
    assert_eq!(db.number("SELECT count(*) FROM audit").await, before);
});

db_test!(one_job_waits_for_each_license_at_each_device_and_the_same_again_is_one, async |db: TestDb| {
    let Waiting { user, here, there, issued } = waiting(&db).await;
    let (id, title) = (issued.license_id, "sky-raider".parse().unwrap());
    alone(&db, user, async move |tx: &mut Tx| {
        for device in [here, there] {
            inbox::install(tx, user, device, id, &title, None, NOW).await?;
            inbox::install(tx, user, device, id, &title, None, NOW).await?;
        }
        inbox::end(tx, user, here, id, &title, NOW).await
    })
    .await;
    assert_eq!(db.number("SELECT count(*) FROM inbox WHERE done_at IS NULL").await, 2);
    let jobs = db.read("jobs", async move |tx: &mut Tx| inbox::open(tx, user, here).await).await.unwrap();
    assert!(matches!(jobs[0].work, counterfoil_core::wire::Work::End { .. }));
});
