//! Every statement and every commit of every step fails in turn, once and for good, and the gateway repeats what got no answer: one key for one charge,
//! and an end that both sides see.

use counterfoil_core::wire::{ExchangeState as State, UndoReason};
use counterfoil_server::actions::gateway as actions;
use counterfoil_server::db::{Fault, Lasting};

use super::counter::{Wanted, bought, deliver, gateway, is_sound, later};
use crate::support::breaking::impatient;
use crate::support::catalogue::{TestServer, publish};
use crate::support::sales::{order_operation, sell_many};
use crate::support::terminal::Terminal;
use crate::support::{TestDb, db_test};

/// Arms each fault in turn around `step`, until none strikes any more; says how many did.
async fn everywhere(db: &TestDb, step: impl AsyncFn(usize)) -> usize {
    let (mut number, mut struck) = (0, 0);
    for lasting in [Lasting::Once, Lasting::ForGood] {
        for kind in [Fault::Statement, Fault::Commit, Fault::CommitAnswer] {
            for place in 0.. {
                assert!(place < 100, "the fault never ended");
                db.faults.arm(kind(place), lasting);
                step(number).await;
                number += 1;
                let fired = db.faults.fired();
                db.faults.disarm();
                if fired == 0 {
                    break;
                }
                struck += 1;
            }
        }
    }
    struck
}

db_test!(c17_a_copy_is_driven_to_its_end_wherever_it_broke, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let reseller = gateway(&db, "reseller", true, &[("sky-raider", "5.00 EUR")]).await;
    let media = bought(&server, "sky-raider", 400).await;
    let anna = Terminal::registered(&server).await;
    let struck = everywhere(&db, async |number| {
        let wanted = Wanted::claim(&server, &anna, &media[number]);
        let first = match wanted.prepare(&server, &reseller).await {
            Ok(_) => wanted.commit(&server, &reseller).await,
            broken => broken,
        };
        db.faults.disarm();
        // The gateway drives it on, by its ID and the envelope that it has.
        wanted.prepare(&server, &reseller).await.unwrap();
        let last = wanted.again(&server, &anna, Some(&media[number]));
        let step = last.commit(&server, &reseller).await.unwrap();
        assert_eq!(step.state, State::Committed);
        if let Ok(first) = first {
            assert_eq!(wanted.grants(&server, &first), last.grants(&server, &step), "the same keys");
        }
        if number % 4 == 0 {
            assert_eq!(wanted.undo(&server, &reseller, UndoReason::Refund).await.unwrap().state, State::Refunded);
        }
    })
    .await;
    assert!(struck >= 30, "only {struck} faults struck");
    let exchanges = db.number("SELECT count(*) FROM gateway_exchange").await;
    assert_eq!(db.number("SELECT count(*) FROM grants").await, exchanges, "one copy each");
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'exchange.committed'").await, exchanges);
    is_sound(&server, &db).await;
});

db_test!(c17_an_order_is_driven_to_its_end_wherever_it_broke, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let games = sell_many(&server, &db, 400, "9.00 EUR").await;
    let prices: Vec<(&str, &str)> = games.iter().map(|game| (game.as_str(), "5.00 EUR")).collect();
    let reseller = gateway(&db, "reseller", false, &prices).await;
    let anna = Terminal::registered(&server).await;
    let struck = everywhere(&db, async |number| {
        let wanted = Wanted::new(&server, &anna, order_operation(&anna, &games[number], Some("5.00 EUR")), None);
        let first = match wanted.prepare(&server, &reseller).await {
            Ok(_) => wanted.commit(&server, &reseller).await,
            broken => broken,
        };
        db.faults.disarm();
        wanted.prepare(&server, &reseller).await.unwrap();
        let step = wanted.commit(&server, &reseller).await.unwrap();
        let placed = wanted.answer(&server, &step).unwrap();
        if let Ok(first) = first {
            assert_eq!(wanted.answer(&server, &first).unwrap(), placed);
        }
    })
    .await;
    assert!(struck >= 30, "only {struck} faults struck");
    let exchanges = db.number("SELECT count(*) FROM gateway_exchange WHERE state = 'committed'").await;
    assert_eq!(db.number("SELECT count(*) FROM orders").await, exchanges);
    is_sound(&server, &db).await;
});

db_test!(c17_an_undo_is_driven_to_its_end_wherever_it_broke, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let reseller = gateway(&db, "reseller", true, &[("sky-raider", "5.00 EUR")]).await;
    let media = bought(&server, "sky-raider", 400).await;
    let anna = Terminal::registered(&server).await;
    for medium in &media[..80] {
        assert_eq!(Wanted::claim(&server, &anna, medium).pay(&server, &reseller).await.state, State::Committed);
    }
    let paid: Vec<(String,)> = db
        .read("paid", async |tx: &mut counterfoil_server::db::Tx| tx.query("SELECT exchange_id FROM gateway_exchange").all().await)
        .await
        .unwrap();
    let struck = everywhere(&db, async |number| {
        let id = counterfoil_core::RequestId(paid[number].0.parse().unwrap());
        let ask = counterfoil_core::wire::Undo { why: UndoReason::Chargeback, note: String::new() };
        let first = actions::undo(&server.app, &reseller, id, &ask).await;
        db.faults.disarm();
        // Whether or not the gateway asks again, what was begun comes to its end.
        deliver(&server).await;
        let state = actions::look(&server.app, &reseller, id).await.unwrap().state;
        assert!(first.is_err() || state == State::Refunded);
        assert_eq!(actions::undo(&server.app, &reseller, id, &ask).await.unwrap().state, State::Refunded);
    })
    .await;
    assert!(struck >= 15, "only {struck} faults struck");
    let undone = db.number("SELECT count(*) FROM gateway_exchange WHERE state = 'refunded'").await;
    assert_eq!(db.number("SELECT count(*) FROM medium WHERE copies_lost = 1 AND copies_freed = 1 AND copies_claimed = 0").await, undone);
    is_sound(&server, &db).await;
});

db_test!(c16_what_was_carried_out_and_not_noted_is_found_without_the_gateway, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let reseller = gateway(&db, "reseller", true, &[("sky-raider", "5.00 EUR")]).await;
    let (anna, media) = (Terminal::registered(&server).await, bought(&server, "sky-raider", 2).await);
    let (done, begun) = (Wanted::claim(&server, &anna, &media[0]), Wanted::claim(&server, &anna, &media[1]));
    done.pay(&server, &reseller).await;
    begun.prepare(&server, &reseller).await.unwrap();
    // As the process that was killed between the steps leaves them.
    db.break_all("UPDATE gateway_exchange SET state = 'committing', began_at = created_at, decided_at = NULL, grants = NULL").await;
    db.break_all("DELETE FROM audit WHERE event = 'exchange.committed'").await;
    db.break_all(
        "UPDATE audit_head SET seq = 2, hash = (SELECT a.hash FROM audit a WHERE a.family = audit_head.family AND a.seq = 2)
            WHERE family IN (SELECT exchange_id FROM gateway_exchange) AND seq = 3",
    )
    .await;
    later(&server, 20);
    actions::sweep(&server.app).await.unwrap();
    let state = async |wanted: &Wanted| actions::look(&server.app, &reseller, wanted.id).await.unwrap().state;
    assert_eq!((state(&done).await, state(&begun).await), (State::Committed, State::Committing), "what may be under way is let be");
    let step = begun.commit(&server, &reseller).await.unwrap();
    assert_eq!((step.state, begun.grants(&server, &step).len()), (State::Committed, 1));
    is_sound(&server, &db).await;
});
