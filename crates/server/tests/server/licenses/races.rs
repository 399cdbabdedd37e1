//! Two at once, at two processes: one holder at any time (`testing.md`, rows 2 and 8).

use std::collections::BTreeSet;

use counterfoil_core::Code;
use counterfoil_core::wire::{RedeemResult, RenewResult};
use futures_util::future::join_all;
use serde_json::json;

use super::catalogue::TestServer;
use super::is_sound;
use super::licensing::{one_more, verified};
use super::sales::sell;
use super::support::{TestDb, db_test};
use super::terminal::{Terminal, exchange, request};

const PRICE: &str = "19.99 EUR";
/// Enough that every guard is met.
const ROUNDS: usize = 12;

async fn on_sale(db: &TestDb, policy: serde_json::Value) -> (TestServer, TestServer, Terminal) {
    let server = TestServer::new(db).await;
    sell(&server, db, "sky-raider", &[PRICE], policy).await;
    let beside = server.another(db, |_| ()).await;
    let desk = Terminal::registered(&server).await;
    desk.order(&server, "sky-raider", PRICE).await.unwrap();
    (server, beside, desk)
}

db_test!(d6_one_transaction_id_returned_from_many_sides_at_once_gives_one_grant, async |db: TestDb| {
    let (server, beside, desk) = on_sale(&db, json!({})).await;
    for _ in 0..ROUNDS {
        let issued = desk.license_again(&server, "sky-raider").await.unwrap();
        let sealed: Vec<_> =
            (0..6).map(|_| desk.sealed(&server, &request(&server, desk.redeem_operation(issued.transaction_id)), None)).collect();
        let asked = sealed.iter().enumerate().map(|(n, sealed)| exchange(if n % 2 == 0 { &server } else { &beside }, sealed));
        let mut keys = BTreeSet::new();
        for outcome in join_all(asked).await {
            let redeemed: RedeemResult = serde_json::from_value(outcome.unwrap()).unwrap();
            keys.insert((redeemed.grant.grant_id, *desk.open(&redeemed.grant).0.expose()));
        }
        assert_eq!(keys.len(), 1, "one grant, one library key");
        desk.installed(&server, keys.first().unwrap().0).await.unwrap();
    }
    is_sound(&db).await;
    beside.app.db.close().await;
});

db_test!(d5_the_last_place_is_taken_by_one_of_two_devices, async |db: TestDb| {
    let (server, beside, _) = on_sale(&db, json!({ "devices": 2 })).await;
    for _ in 0..ROUNDS {
        let owner = Terminal::registered(&server).await;
        owner.order(&server, "sky-raider", PRICE).await.unwrap();
        let (a, b) = (one_more(&server, &owner).await, one_more(&server, &owner).await);
        let (first, second) = tokio::join!(a.license(&server, "sky-raider"), b.license(&beside, "sky-raider"));
        let outcomes = [first.map_err(|refusal| refusal.code), second.map_err(|refusal| refusal.code)];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().any(|outcome| outcome.as_ref().err() == Some(&Code::NotEntitled)));
    }
    is_sound(&db).await;
    beside.app.db.close().await;
});

db_test!(d8_of_two_transfers_at_once_one_moves_it, async |db: TestDb| {
    let (server, beside, _) = on_sale(&db, json!({ "transfers": 1000 })).await;
    for _ in 0..ROUNDS {
        let desk = Terminal::registered(&server).await;
        desk.order(&server, "sky-raider", PRICE).await.unwrap();
        let (issued, _) = desk.install(&server, "sky-raider").await.unwrap();
        let (b, c) = (one_more(&server, &desk).await, one_more(&server, &desk).await);
        let (to_b, to_c) =
            tokio::join!(desk.transfer(&server, &desk, &b, Some("sky-raider")), desk.transfer(&beside, &desk, &c, Some("sky-raider")));
        assert_eq!([&to_b, &to_c].iter().filter(|outcome| outcome.is_ok()).count(), 1, "{to_b:?} {to_c:?}");
        let (winner, loser) = if to_b.is_ok() { (&b, &c) } else { (&c, &b) };
        winner.redeem(&server, issued.transaction_id).await.unwrap();
        assert_eq!(loser.redeem(&beside, issued.transaction_id).await.unwrap_err().code, Code::TransactionUnknown);
        assert_eq!(desk.redeem(&beside, issued.transaction_id).await.unwrap_err().code, Code::TransactionUnknown);
    }
    assert_eq!(db.number("SELECT count(*) FROM license WHERE moves > 1").await, 0);
    is_sound(&db).await;
    beside.app.db.close().await;
});

db_test!(d10_a_transfer_and_a_renewal_at_once_leave_no_promise_that_was_not_told, async |db: TestDb| {
    let (server, beside, _) = on_sale(&db, json!({})).await;
    let (mut renewed_first, mut moved_first) = (0, 0);
    for round in 0..ROUNDS {
        let desk = Terminal::registered(&server).await;
        desk.order(&server, "sky-raider", PRICE).await.unwrap();
        let (issued, first) = desk.install(&server, "sky-raider").await.unwrap();
        let laptop = one_more(&server, &desk).await;
        // The clock of the one that renews is ahead by some days, so that the two leases differ.
        beside.app.clock.set(counterfoil_core::Timestamp(server.app.clock.now().0 + 3_600_000 * (1 + round as i64)));
        let mut asked = request(&server, desk.renew_operation(issued.license_id));
        asked.issued_at = beside.app.clock.now();
        let renewal = desk.sealed(&server, &asked, None);
        let (moved, renewed) = tokio::join!(desk.transfer(&server, &desk, &laptop, Some("sky-raider")), exchange(&beside, &renewal));
        let told = moved.unwrap().moved[0].source_runs_until.unwrap();
        let mut latest = verified(&server, &desk, &first.license);
        match renewed {
            Ok(result) => {
                renewed_first += 1;
                let renewed: RenewResult = serde_json::from_value(result).unwrap();
                latest = verified(&beside, &desk, &renewed.license);
            }
            Err(refusal) => {
                moved_first += 1;
                assert_eq!(refusal.code, Code::LicenseEnded);
            }
        }
        let runs_until = (latest.exp.unwrap() + latest.grace) * 1000;
        assert_eq!(told.0 / 1000 * 1000, runs_until, "told {told:?}");
    }
    assert_eq!(renewed_first + moved_first, ROUNDS);
    is_sound(&db).await;
    beside.app.db.close().await;
});

db_test!(a_transfer_and_a_fetch_at_once_leave_one_holder, async |db: TestDb| {
    let (server, beside, _) = on_sale(&db, json!({})).await;
    for _ in 0..ROUNDS {
        let desk = Terminal::registered(&server).await;
        desk.order(&server, "sky-raider", PRICE).await.unwrap();
        let issued = desk.license(&server, "sky-raider").await.unwrap();
        let laptop = one_more(&server, &desk).await;
        let (moved, fetched) =
            tokio::join!(desk.transfer(&server, &desk, &laptop, Some("sky-raider")), desk.redeem(&beside, issued.transaction_id));
        let until = moved.unwrap().moved[0].source_runs_until;
        // Who fetched it first has been told of; who came too late has got nothing.
        assert_eq!(until.is_some(), fetched.is_ok(), "{until:?} {fetched:?}");
        laptop.redeem(&server, issued.transaction_id).await.unwrap();
        assert!(desk.redeem(&beside, issued.transaction_id).await.is_err());
    }
    assert_eq!(db.number("SELECT count(*) FROM license WHERE state = 'delivered' AND moves = 1").await, ROUNDS as i64);
    is_sound(&db).await;
    beside.app.db.close().await;
});

db_test!(one_transfer_sent_a_hundred_times_at_once_has_one_effect_and_one_answer, async |db: TestDb| {
    let (server, beside, desk) = on_sale(&db, json!({})).await;
    desk.install(&server, "sky-raider").await.unwrap();
    let laptop = one_more(&server, &desk).await;
    let sealed = desk.sealed(&server, &request(&server, desk.transfer_operation(&desk, &laptop, None, false)), None);
    let asked = (0..100).map(|n| exchange(if n % 2 == 0 { &server } else { &beside }, &sealed));
    let answers: BTreeSet<String> = join_all(asked).await.into_iter().map(|outcome| outcome.unwrap().to_string()).collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'license.transferred'").await, 1);
    assert_eq!(db.number("SELECT moves FROM license").await, 1);
    is_sound(&db).await;
    beside.app.db.close().await;
});
