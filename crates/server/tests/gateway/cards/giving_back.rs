//! What goes back: to the card, by the operator; to the bank, by the card's holder; and from there again.

use counterfoil_core::{Money, PostingId};
use counterfoil_server::gateway::ledger::Balance;
use counterfoil_server::gateway::payments::repay::{Begun, repay};
use counterfoil_server::gateway::store::exchange::State;
use counterfoil_server::problem::Problem;
use payment_provider::Kind;

use super::*;
use crate::support::db_test;
use crate::through::is_granted;

const CARD: &str = "4242424242424242";

async fn give_back(till: &Till, n: u8, amount: Option<u64>, posting: u8) -> Result<Begun, Problem> {
    let amount = amount.map(|amount| Money { amount, currency: "EUR".parse().unwrap() });
    repay(&till.rig.gateway, id(n), amount, PostingId::from_bytes([posting; 16]), "operator", "as asked").await
}

// proves: C17
db_test!(c17_what_is_left_of_a_top_up_goes_back_to_its_card_once, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    till.topped_up(1, 3000, CARD, false).await;
    assert!(is_granted(&till.rig.claiming(0).answered(Some("1999 EUR")).await.1));
    assert_eq!(give_back(&till, 1, Some(1002), 1).await.unwrap_err().code, "conflict", "1001 are left");
    for _ in 0..2 {
        let begun = give_back(&till, 1, Some(400), 2).await.unwrap();
        assert_eq!((begun.state.as_str(), begun.money.amount), ("succeeded", 400));
    }
    assert_eq!(till.rig.balance().await, Balance { posted: 601, reserved: 0 });
    let said = "SELECT COUNT(*) FROM posting WHERE kind = 'repayment' AND actor = 'operator' AND note = 'as asked'";
    assert_eq!(till.rig.db.number(said).await, 1, "the books say who gave it back, and why");
    // The answer is lost, the key is forgotten, and it is asked again: it goes back once.
    till.provider().fault(Kind::CutAfter, "/refunds", 1);
    assert_eq!(give_back(&till, 1, None, 3).await.unwrap().state, "begun");
    assert_eq!(till.rig.balance().await.posted, 0, "it is not spent meanwhile");
    till.clean().await;
    till.provider().state().answered.clear();
    till.driven().await;
    assert_eq!(till.provider().state().refunds.len(), 2);
    assert_eq!(give_back(&till, 1, None, 4).await.unwrap_err().code, "conflict");
    till.clean().await;
    till.gone().await;
});

// proves: C17
db_test!(c17_what_does_not_get_to_the_card_is_the_accounts_again, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    till.topped_up(1, 3000, CARD, false).await;
    till.provider().state().refunds_come_to = Some("failed");
    assert_eq!(give_back(&till, 1, Some(1000), 1).await.unwrap().state, "failed");
    assert_eq!(till.rig.balance().await, Balance { posted: 3000, reserved: 0 });
    till.clean().await;
    till.provider().state().refunds_come_to = Some("pending");
    assert_eq!(give_back(&till, 1, Some(1000), 2).await.unwrap().state, "begun");
    till.provider().state().refunds.values_mut().for_each(|refund| refund["status"] = "succeeded".into());
    till.later(60 * 60 * 1000);
    till.turn().await;
    assert_eq!(give_back(&till, 1, Some(1000), 2).await.unwrap().state, "succeeded");
    till.clean().await;
    till.gone().await;
});

// proves: C17
db_test!(c17_what_a_bank_sends_back_days_later_is_the_accounts_again, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    till.topped_up(1, 3000, CARD, false).await;
    assert_eq!(give_back(&till, 1, Some(1000), 1).await.unwrap().state, "succeeded");
    till.later(2 * Timestamp::DAY);
    till.turn().await;
    assert_eq!(give_back(&till, 1, Some(1000), 1).await.unwrap().state, "succeeded");
    till.provider().state().refunds.values_mut().for_each(|refund| refund["status"] = "failed".into());
    till.provider().state().charges.values_mut().for_each(|charge| charge["amount_refunded"] = 0.into());
    till.later(Timestamp::DAY);
    for _ in 0..2 {
        till.turn().await;
        assert_eq!(give_back(&till, 1, Some(1000), 1).await.unwrap().state, "failed");
        assert_eq!(till.rig.balance().await, Balance { posted: 3000, reserved: 0 });
    }
    till.clean().await;
    assert_eq!(till.provider().state().refunds.len(), 1, "asked for once");
    till.gone().await;
});

// proves: C17
db_test!(c17_an_objection_ends_what_was_paid_for_and_costs_its_fee, async |db: TestDb| {
    let till = Till::new(&db, 2, 0).await;
    till.turn().await;
    till.topped_up(1, 3000, CARD, false).await;
    let claiming = till.rig.claiming(0);
    assert!(is_granted(&claiming.answered(Some("1999 EUR")).await.1));
    let intent = till.row(1).await.intent.unwrap();
    let fees = till.rig.db.number("SELECT CAST(SUM(fees) AS BIGINT) FROM posting").await;
    // The bank asks first: nothing ends yet.
    let dispute = till.provider().object(&intent, None, "warning_needs_response").unwrap();
    let event = till.provider().state().events.last().unwrap().clone();
    assert_eq!(till.tell(&event, till.now()).await.status, 204);
    till.turn().await;
    assert_eq!(till.rig.balance().await.posted, 1001);
    till.provider().decide(&dispute, "needs_response");
    let event = till.provider().state().events.last().unwrap().clone();
    for _ in 0..3 {
        assert_eq!(till.tell(&event, till.now()).await.status, 204);
        till.turn().await;
        assert_eq!(till.rig.state(claiming.id()).await, Some(State::Undone));
        assert_eq!(till.rig.balance().await, Balance { posted: 0, reserved: 0 });
    }
    assert_eq!(till.rig.db.number("SELECT CAST(SUM(fees) AS BIGINT) FROM posting").await, fees - 2000);
    till.clean().await;
    assert_eq!(give_back(&till, 1, None, 1).await.unwrap_err().code, "conflict");
    // The bank decides for the gateway: the money is the account's again, and no more than once.
    till.provider().decide(&dispute, "won");
    for _ in 0..2 {
        till.driven().await;
        assert_eq!(till.rig.balance().await, Balance { posted: 3000, reserved: 0 });
    }
    assert_eq!(till.rig.db.number("SELECT count(*) FROM dispute WHERE state = 'won'").await, 1);
    assert!(is_granted(&till.rig.claiming(1).answered(Some("1999 EUR")).await.1));
    assert_eq!(till.rig.settled().await.differences, vec![]);
    till.clean().await;
    till.gone().await;
});

// proves: C17
db_test!(c17_an_objection_is_learned_without_messages_and_may_be_about_a_part, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    till.turn().await;
    till.topped_up(1, 3000, CARD, false).await;
    give_back(&till, 1, Some(500), 1).await.unwrap();
    let intent = till.row(1).await.intent.unwrap();
    till.provider().object(&intent, Some(2000), "needs_response").unwrap();
    // The gateway was away for days.
    till.later(3 * 24 * 60 * 60 * 1000);
    till.turn().await;
    assert_eq!(till.rig.balance().await, Balance { posted: 500, reserved: 0 }, "what the bank has left");
    till.driven().await;
    assert_eq!(till.rig.balance().await, Balance { posted: 500, reserved: 0 });
    till.clean().await;
    till.gone().await;
});

// proves: C17
db_test!(c17_several_objections_to_one_payment_leave_what_the_bank_has_left, async |db: TestDb| {
    let till = Till::new(&db, 2, 0).await;
    till.turn().await;
    till.topped_up(1, 5000, CARD, false).await;
    let intent = till.row(1).await.intent.unwrap();
    let object = |amount| till.provider().object(&intent, Some(amount), "needs_response").unwrap();
    let fees = || till.rig.db.number("SELECT CAST(SUM(fees) AS BIGINT) FROM posting");
    let before = fees().await;
    let first = object(1000);
    till.driven().await;
    assert_eq!(till.rig.balance().await.posted, 4000);
    // What is bought with what was left ends with the next one.
    let claiming = till.rig.claiming(0);
    assert!(is_granted(&claiming.answered(Some("1999 EUR")).await.1));
    object(1500);
    till.driven().await;
    assert_eq!(till.rig.state(claiming.id()).await, Some(State::Undone));
    assert_eq!(till.rig.balance().await, Balance { posted: 2500, reserved: 0 });
    assert_eq!(fees().await, before - 2 * 2000, "each costs its fee");
    till.clean().await;
    // One is won, and what it was about objected to again, with more of it; the same at once.
    till.provider().decide(&first, "won");
    till.driven().await;
    assert_eq!(till.rig.balance().await.posted, 3500);
    object(1200);
    object(300);
    till.driven().await;
    assert_eq!(till.rig.balance().await.posted, 2000);
    object(2000);
    till.driven().await;
    assert_eq!(till.rig.balance().await.posted, 0);
    assert_eq!(fees().await, before - 5 * 2000);
    till.clean().await;
    till.gone().await;
});

// proves: C17
db_test!(c17_an_objection_that_cannot_be_read_keeps_no_other_up, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    till.turn().await;
    let mut objections = vec![];
    for n in [1, 2] {
        till.topped_up(n, 1000, CARD, false).await;
        objections.push(till.provider().object(&till.row(n).await.intent.unwrap(), None, "warning_needs_response").unwrap());
    }
    till.driven().await;
    // Both are old by now; the provider has lost the first one.
    till.later(30 * 24 * 60 * 60 * 1000);
    till.turn().await;
    till.provider().state().disputes.remove(&objections[0]);
    till.provider().decide(&objections[1], "needs_response");
    till.driven().await;
    assert_eq!(till.rig.balance().await, Balance { posted: 1000, reserved: 0 });
    till.gone().await;
});
