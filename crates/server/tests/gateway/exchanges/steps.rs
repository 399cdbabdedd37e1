//! The steps by themselves, repeated, late, in the wrong order, and by somebody else.

use counterfoil_core::wire::{Confirm, ExchangeState as State, Operation, Request};
use counterfoil_core::{Code, Timestamp};
use counterfoil_server::actions::gateway as actions;
use counterfoil_server::db::Tx;
use serde_json::json;

use super::counter::{Wanted, bought, deliver, gateway, given_away, is_sound, later};
use crate::support::catalogue::{NOW, TestServer, publish};
use crate::support::sales::{order_operation, sell};
use crate::support::terminal::{DAY, Terminal, random, refused};
use crate::support::{TestDb, db_test};

async fn set_price(db: &TestDb, amount: i64) {
    db.write("price", "/gateway", async move |tx: &mut Tx| tx.query("UPDATE gateway_price SET amount = $1").bind(amount).execute().await)
        .await
        .unwrap();
}

db_test!(c17_a_copy_is_prepared_without_a_key_and_granted_once_when_it_is_committed, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let reseller = gateway(&db, "reseller", true, &[("sky-raider", "19.99 EUR")]).await;
    let (anna, medium) = (Terminal::registered(&server).await, &bought(&server, "sky-raider", 1).await[0]);
    let wanted = Wanted::claim(&server, &anna, medium);
    let step = wanted.prepare(&server, &reseller).await.unwrap();
    let charge = step.charge.clone().unwrap();
    assert_eq!((step.state, step.answer.clone(), step.expires_at), (State::Prepared, None, Some(Timestamp(NOW.0 + 15 * 60_000))));
    assert_eq!((charge.title.as_str(), charge.price.to_string().as_str(), charge.operator_part), ("sky-raider", "19.99 EUR", 1400));
    assert_eq!(
        db.number("SELECT (SELECT count(*) FROM grants) + (SELECT count(*) FROM medium)").await,
        0,
        "nothing is locked, nothing given"
    );
    assert_eq!(wanted.prepare(&server, &reseller).await.unwrap(), step, "the same again");

    let committed = wanted.commit(&server, &reseller).await.unwrap();
    assert_eq!((committed.state, committed.charge.as_ref()), (State::Committed, Some(&charge)));
    let grants = wanted.grants(&server, &committed);
    // The terminal was restarted, and has sealed its request anew; the record of the request is long gone.
    db.break_all("DELETE FROM request").await;
    for minutes in [0, 60 * 24 * 10] {
        server.app.clock.set(Timestamp(NOW.0 + minutes * 60_000));
        let again = wanted.again(&server, &anna, Some(medium));
        for step in [again.commit(&server, &reseller).await.unwrap(), again.prepare(&server, &reseller).await.unwrap()] {
            assert_eq!((step.state, again.grants(&server, &step)), (State::Committed, grants.clone()));
        }
    }
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 1);
    let end = actions::abort(&server.app, &reseller, wanted.id, "changed their mind").await.unwrap();
    assert_eq!((end.state, end.answer), (State::Committed, None), "what was carried out is not given up");
    is_sound(&server, &db).await;
});

db_test!(c17_an_order_is_made_at_the_gateways_price_and_touches_no_balance, async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.store.payment = counterfoil_core::rules::order::Collection::Balance).await;
    sell(&server, &db, "sky-raider", &["25.00 EUR"], json!({ "trial_days": 7, "refund_days": 14 })).await;
    let reseller = gateway(&db, "reseller", false, &[("sky-raider", "19.99 EUR")]).await;
    let anna = Terminal::registered(&server).await;
    // To try it costs nothing.
    let trial = Wanted::new(&server, &anna, order_operation(&anna, "sky-raider", None), None);
    let step = trial.prepare(&server, &reseller).await.unwrap();
    assert_eq!(step.state, State::Free);
    trial.answer(&server, &step).unwrap();
    // The store's price is not the gateway's.
    let dear = Wanted::new(&server, &anna, order_operation(&anna, "sky-raider", Some("25.00 EUR")), None);
    let step = dear.prepare(&server, &reseller).await.unwrap();
    assert_eq!((step.state, dear.refused(&server, &step)), (State::Free, Code::PriceChanged));
    // Who names no price is shown it by the gateway.
    let Operation::Order(mut order) = order_operation(&anna, "sky-raider", Some("19.99 EUR")) else { panic!("an order") };
    order.price = None;
    let wanted = Wanted::new(&server, &anna, Operation::Order(order), None);
    let step = wanted.pay(&server, &reseller).await;
    let placed = wanted.answer(&server, &step).unwrap();
    assert_eq!((step.state, placed["charged"]["amount"].as_i64()), (State::Committed, Some(1999)));
    // Long after, from what is there.
    db.run("DELETE FROM request").await;
    let again = wanted.again(&server, &anna, None);
    let step = again.commit(&server, &reseller).await.unwrap();
    assert_eq!(again.answer(&server, &step).unwrap(), placed);
    assert_eq!(db.number("SELECT count(*) FROM orders WHERE payment = 'gateway' AND state = 'paid'").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM balance_entry").await, 0);
    let other = gateway(&db, "other", true, &[]).await;
    let ben = Terminal::registered(&server).await;
    let unsold = Wanted::new(&server, &ben, order_operation(&ben, "sky-raider", Some("25.00 EUR")), None);
    let step = unsold.prepare(&server, &other).await.unwrap();
    assert_eq!((step.state, unsold.refused(&server, &step)), (State::Free, Code::NotForSale));
    is_sound(&server, &db).await;
});

db_test!(c18_a_key_that_is_paid_on_copy_is_out_only_for_a_charge, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let media = given_away(&server, "sky-raider", 3).await;
    let (anna, ben) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    assert_eq!(refused(anna.claim(&server, &media[0]).await), Code::PaymentRequired);
    assert_eq!(refused(anna.claim(&server, &media[0]).await), Code::PaymentRequired, "of one that was touched as well");
    let poor = gateway(&db, "poor", true, &[]).await;
    let unsold = Wanted::claim(&server, &anna, &media[0]);
    let step = unsold.prepare(&server, &poor).await.unwrap();
    assert_eq!((step.state, unsold.refused(&server, &step)), (State::Free, Code::NotForSale));
    let reseller = gateway(&db, "reseller", false, &[("sky-raider", "5.00 EUR")]).await;
    let wanted = Wanted::claim(&server, &anna, &media[0]);
    let step = wanted.pay(&server, &reseller).await;
    let grants = wanted.grants(&server, &step);
    // The same again, directly or by another exchange, costs nothing; somebody else has nothing to pay for.
    assert_eq!(anna.claim(&server, &media[0]).await.unwrap()[0].grant_id.to_string(), grants[0]);
    let again = Wanted::claim(&server, &anna, &media[0]);
    let step = again.prepare(&server, &reseller).await.unwrap();
    assert_eq!((step.state, again.grants(&server, &step)), (State::Free, grants));
    let late = Wanted::claim(&server, &ben, &media[0]);
    let step = late.prepare(&server, &reseller).await.unwrap();
    assert_eq!((step.state, late.refused(&server, &step)), (State::Free, Code::MediumSpent));
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'claim.refused'").await, 4, "refused is recorded");
    // What is not given away is copied through this gateway for nothing.
    let free = &bought(&server, "sky-raider", 1).await[0];
    let copied = Wanted::claim(&server, &anna, free);
    let step = copied.prepare(&server, &reseller).await.unwrap();
    assert_eq!((step.state, copied.grants(&server, &step).len()), (State::Free, 1));
    let confirm = Operation::Confirm(Confirm {
        user_id: anna.user.unwrap(),
        medium_id: Some(free.id.clone()),
        grant_ids: vec![copied.grants(&server, &step)[0].parse().unwrap()],
        device_id: anna.device_id(),
    });
    let confirm = Wanted::new(&server, &anna, confirm, None);
    assert_eq!(confirm.prepare(&server, &reseller).await.unwrap().state, State::Free);
    assert_eq!(db.number("SELECT count(*) FROM gateway_exchange").await, 1);
    is_sound(&server, &db).await;
});

db_test!(c16_what_is_somebody_elses_or_something_else_is_not_taken, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let prices: &[(&str, &str)] = &[("sky-raider", "5.00 EUR")];
    let (reseller, other) = (gateway(&db, "reseller", true, prices).await, gateway(&db, "other", true, prices).await);
    let (anna, media) = (Terminal::registered(&server).await, bought(&server, "sky-raider", 2).await);
    let wanted = Wanted::claim(&server, &anna, &media[0]);
    wanted.prepare(&server, &reseller).await.unwrap();
    // Another gateway does not learn that it exists.
    assert_eq!(wanted.prepare(&server, &other).await.unwrap_err().code, "not_found");
    assert_eq!(wanted.commit(&server, &other).await.unwrap_err().code, "not_found");
    assert_eq!(actions::look(&server.app, &other, wanted.id).await.unwrap_err().code, "not_found");
    assert_eq!(actions::abort(&server.app, &other, wanted.id, "").await.unwrap_err().code, "not_found");
    assert_eq!(wanted.undo(&server, &other, counterfoil_core::wire::UndoReason::Refund).await.unwrap_err().code, "not_found");
    // The same ID, another request.
    let operation = Operation::Claim(anna.claim_operation(&media[1]));
    let request = Request {
        request_id: wanted.id,
        issued_at: NOW,
        refreshable: false,
        seal_answer: true,
        by_gateway: true,
        operation: operation.clone(),
    };
    let forged = Wanted::of(&server, &anna, request, Some(&media[1]));
    assert_eq!(forged.prepare(&server, &reseller).await.unwrap_err().code, "request_mismatch");
    assert_eq!(forged.commit(&server, &reseller).await.unwrap_err().code, "request_mismatch");
    // Another ID than the request's, and an answer that anybody could read.
    let mut misnamed = Wanted::claim(&server, &anna, &media[1]);
    misnamed.ask.exchange_id = counterfoil_core::RequestId(uuid::Uuid::from_bytes(random()));
    assert_eq!(misnamed.prepare(&server, &reseller).await.unwrap_err().code, "unprocessable");
    let request = Request { seal_answer: false, ..crate::support::terminal::request(&server, operation) };
    let plain = Wanted::of(&server, &anna, request.clone(), Some(&media[1]));
    assert_eq!(plain.prepare(&server, &reseller).await.unwrap_err().code, "envelope_invalid");
    let stale = Request { issued_at: Timestamp(NOW.0 - 2 * DAY), seal_answer: true, ..request };
    let stale = Wanted::of(&server, &anna, stale, Some(&media[1]));
    let step = stale.prepare(&server, &reseller).await.unwrap();
    assert_eq!((step.state, stale.refused(&server, &step)), (State::Free, Code::ClockSkewed));
    assert_eq!(actions::look(&server.app, &reseller, wanted.id).await.unwrap().state, State::Prepared);
    is_sound(&server, &db).await;
});

db_test!(c17_a_price_is_held_for_its_time_and_a_late_commit_is_decided_afresh, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let reseller = gateway(&db, "reseller", true, &[("sky-raider", "5.00 EUR")]).await;
    let (anna, media) = (Terminal::registered(&server).await, bought(&server, "sky-raider", 4).await);
    let prepared: Vec<Wanted> = media.iter().map(|medium| Wanted::claim(&server, &anna, medium)).collect();
    for wanted in &prepared {
        wanted.prepare(&server, &reseller).await.unwrap();
    }
    set_price(&db, 700).await;
    let step = prepared[0].commit(&server, &reseller).await.unwrap();
    assert_eq!((step.state, step.charge.unwrap().price.amount), (State::Committed, 500), "the price that was agreed to");
    later(&server, 15);
    let step = prepared[1].commit(&server, &reseller).await.unwrap();
    assert_eq!((step.state, prepared[1].refused(&server, &step)), (State::Refused, Code::PriceChanged));
    set_price(&db, 500).await;
    let step = prepared[1].commit(&server, &reseller).await.unwrap();
    assert_eq!((step.state, prepared[1].refused(&server, &step)), (State::Refused, Code::PriceChanged), "refused for good");
    let step = prepared[2].commit(&server, &reseller).await.unwrap();
    assert_eq!((step.state, prepared[2].grants(&server, &step).len()), (State::Committed, 1), "late, at the price of today");
    actions::sweep(&server.app).await.unwrap();
    let step = prepared[3].commit(&server, &reseller).await.unwrap();
    assert_eq!((step.state, step.answer), (State::Aborted, None), "nobody has committed it in time");
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 2);
    // What has become of them, in order, and nothing of it twice.
    later(&server, 1);
    let page = actions::changes(&server.app, &reseller, None).await.unwrap();
    let states: Vec<State> = page.exchanges.iter().map(|record| record.state).collect();
    assert_eq!(states.len(), 4);
    assert!(
        page.exchanges.is_sorted_by_key(|record| record.changed_at) && states.contains(&State::Refused) && states.contains(&State::Aborted)
    );
    assert_eq!(actions::changes(&server.app, &reseller, page.next.as_deref()).await.unwrap().exchanges, []);
    let other = gateway(&db, "other", true, &[]).await;
    assert_eq!(actions::changes(&server.app, &other, None).await.unwrap().exchanges, []);
    deliver(&server).await;
    is_sound(&server, &db).await;
});
