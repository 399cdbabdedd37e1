//! What an exchange paid for ends, and nothing else does, whoever wants it.

use counterfoil_core::Code;
use counterfoil_core::wire::{ExchangeState as State, UndoReason};
use counterfoil_server::actions::gateway as actions;
use serde_json::{Value, json};

use super::counter::{Wanted, bought, deliver, gateway, given_away, is_sound};
use crate::support::catalogue::{TestServer, publish};
use crate::support::sales::{order_operation, sell};
use crate::support::terminal::{Terminal, refused};
use crate::support::{TestDb, db_test};

db_test!(c17_undo_ends_exactly_the_copy_that_was_paid_for, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let reseller = gateway(&db, "reseller", false, &[("sky-raider", "5.00 EUR")]).await;
    let media = given_away(&server, "sky-raider", 2).await;
    let (anna, ben) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let (kept, given_back) = (Wanted::claim(&server, &anna, &media[0]), Wanted::claim(&server, &anna, &media[1]));
    kept.pay(&server, &reseller).await;
    // Undone before the user's family has heard of the copy, and told in the wrong order.
    given_back.pay(&server, &reseller).await;
    for _ in 0..2 {
        assert_eq!(given_back.undo(&server, &reseller, UndoReason::Refund).await.unwrap().state, State::Refunded);
    }
    deliver(&server).await;
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state = 'revoked'").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE state = 'active'").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM medium WHERE state = 'unclaimed' AND copies_lost = 0").await, 1);
    let step = given_back.commit(&server, &reseller).await.unwrap();
    assert_eq!((step.state, step.answer), (State::Refunded, None), "no key for money that went back");
    // It is paid for anew, by anybody; and taken back by the bank, it stays spent.
    assert_eq!(refused(anna.claim(&server, &media[1]).await), Code::PaymentRequired, "what was given back takes the place of nothing");
    let bens = Wanted::claim(&server, &ben, &media[1]);
    assert_eq!(bens.pay(&server, &reseller).await.state, State::Committed);
    assert_eq!(bens.undo(&server, &reseller, UndoReason::Chargeback).await.unwrap().state, State::Refunded);
    let late = Wanted::claim(&server, &anna, &media[1]);
    let step = late.prepare(&server, &reseller).await.unwrap();
    assert_eq!((step.state, late.refused(&server, &step)), (State::Free, Code::MediumSpent));
    assert_eq!(actions::look(&server.app, &reseller, kept.id).await.unwrap().state, State::Committed);
    is_sound(&server, &db).await;
});

db_test!(c17_an_order_is_undone_by_the_gateway_and_given_back_by_the_user, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &["25.00 EUR"], json!({ "refund_days": 14 })).await;
    sell(&server, &db, "blue-moon", &["25.00 EUR"], json!({ "refund_days": 14 })).await;
    let reseller = gateway(&db, "reseller", false, &[("sky-raider", "5.00 EUR"), ("blue-moon", "6.00 EUR")]).await;
    let anna = Terminal::registered(&server).await;
    let buy = |title: &str, price: &str| Wanted::new(&server, &anna, order_operation(&anna, title, Some(price)), None);
    let (first, second) = (buy("sky-raider", "5.00 EUR"), buy("blue-moon", "6.00 EUR"));
    first.pay(&server, &reseller).await;
    let placed: Value = second.answer(&server, &second.pay(&server, &reseller).await).unwrap();
    assert_eq!(first.undo(&server, &reseller, UndoReason::Chargeback).await.unwrap().state, State::Refunded);
    assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'ended' AND reason = 'chargeback'").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM license WHERE state = 'ended'").await, 1);
    // The user gives the other one back by themselves: the gateway learns it from the list of changes.
    let credited = anna.give_back(&server, placed["order_id"].as_str().unwrap().parse().unwrap()).await.unwrap().credited;
    assert_eq!(credited, None, "the money is at the gateway, and no balance of the authority's grows");
    deliver(&server).await;
    assert_eq!(actions::look(&server.app, &reseller, second.id).await.unwrap().state, State::Refunded);
    assert_eq!(second.undo(&server, &reseller, UndoReason::Refund).await.unwrap().state, State::Refunded, "once");
    assert_eq!(db.number("SELECT count(*) FROM balance_entry").await, 0);
    is_sound(&server, &db).await;
});

db_test!(c16_what_was_not_carried_out_is_not_undone, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let reseller = gateway(&db, "reseller", true, &[("sky-raider", "5.00 EUR")]).await;
    let (anna, medium) = (Terminal::registered(&server).await, &bought(&server, "sky-raider", 1).await[0]);
    let wanted = Wanted::claim(&server, &anna, medium);
    wanted.prepare(&server, &reseller).await.unwrap();
    assert_eq!(wanted.undo(&server, &reseller, UndoReason::Refund).await.unwrap_err().code, "exchange_ended");
    for _ in 0..2 {
        assert_eq!(actions::abort(&server.app, &reseller, wanted.id, "no money").await.unwrap().state, State::Aborted);
    }
    let step = wanted.commit(&server, &reseller).await.unwrap();
    assert_eq!((step.state, step.answer), (State::Aborted, None));
    assert_eq!(wanted.undo(&server, &reseller, UndoReason::Refund).await.unwrap_err().code, "exchange_ended");
    // It is nobody's: it can be copied.
    assert_eq!(Wanted::claim(&server, &anna, medium).pay(&server, &reseller).await.state, State::Committed);
    is_sound(&server, &db).await;
});
