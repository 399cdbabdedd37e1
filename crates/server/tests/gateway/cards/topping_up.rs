//! Top-ups by card: begun, paid, booked once, kept, given up; and messages that are forged, doubled, late and in the wrong order.

use counterfoil_server::gateway::ledger::Balance;
use counterfoil_server::gateway::payments;

use super::*;
use crate::support::db_test;

// proves: C17
db_test!(c17_a_top_up_by_card_is_booked_once_with_its_fee, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    let begun = till.begin(1, 2000, false).await.expect(200);
    assert_eq!((&begun["state"], &begun["money"]["amount"]), (&json!("waiting"), &json!(2000)));
    assert_eq!(begun["publishable_key"], payment_provider::PUBLISHABLE_KEY);
    assert!(begun["page"].as_str().unwrap().ends_with(&format!("/account/top-up/{}", id(1))));
    let secret = begun["client_secret"].as_str().unwrap().to_owned();
    assert_eq!(till.begin(1, 2000, false).await.expect(200)["client_secret"], secret, "again, the same payment");
    assert_eq!(till.provider().state().intents.len(), 1);
    assert_eq!(till.begin(1, 2100, false).await.code(), "request_mismatch");
    for (amount, currency) in [(99, "EUR"), (50_001, "EUR"), (2000, "KWD")] {
        let body = json!({ "payment": id(2), "money": { "amount": amount, "currency": currency } });
        assert_eq!(till.rig.post("/v1/account/top-ups", &till.rig.token, &body).await.code(), "unprocessable", "{amount} {currency}");
    }
    // Declined at first, which the person sees; then with another card.
    assert_eq!(till.pay(1, "4000000000000002").await["error"]["decline_code"], "generic_decline");
    let shown = till.show(1).await.expect(200);
    assert!(shown["state"] == "waiting" && shown["failure"].as_str().unwrap().contains("generic_decline"), "{shown}");
    assert_eq!(till.rig.balance().await.posted, 0);
    till.pay(1, "4242 4242 4242 4242").await;
    for _ in 0..3 {
        let shown = till.show(1).await.expect(200);
        assert_eq!((&shown["state"], shown["client_secret"].is_null()), (&json!("succeeded"), true));
        till.turn().await;
    }
    assert_eq!(till.rig.balance().await, Balance { posted: 2000, reserved: 0 });
    assert_eq!(till.rig.db.number("SELECT CAST(SUM(fees) AS BIGINT) FROM posting").await, -55);
    assert_eq!(till.rig.db.number("SELECT CAST(SUM(receivable) AS BIGINT) FROM posting").await, -1945);
    // Nobody else's.
    let path = format!("/v1/account/top-ups/{}", id(1));
    assert_eq!(till.rig.get(&path, "").await.status, 401);
    assert_eq!(till.rig.get(&format!("/v1/account/top-ups/{}", id(9)), &till.rig.token).await.status, 404);
    let statement = till.rig.get("/v1/account/statement", &till.rig.token).await.expect(200);
    assert_eq!(statement["statements"][0]["lines"].as_array().unwrap().len(), 1, "{statement}");
    assert_eq!(till.rig.get("/v1/account/payment-cards", &till.rig.token).await.expect(200)["cards"], json!([]));
    till.clean().await;
    till.gone().await;
});

// proves: C17
db_test!(c17_messages_only_hurry_whatever_they_are, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    till.begin(1, 2000, false).await.expect(200);
    till.later(60_000);
    till.turn().await;
    till.pay(1, "4242424242424242").await;
    let events = till.provider().state().events.clone();
    let succeeded = events.iter().find(|event| event["type"] == "payment_intent.succeeded").unwrap().clone();
    let now = till.now();
    // Not due yet: without a message, nobody looks.
    till.turn().await;
    assert_eq!(till.row(1).await.state, Stands::Waiting);
    // Forged: by another secret, of another text, too old, too far ahead, unsigned.
    let body = succeeded.to_string();
    let forged = [
        (body.clone(), signature("whsec_another", now.0 / 1000, &body)),
        (body.replace("2000", "9000"), signature(WEBHOOK_SECRET, now.0 / 1000, &body)),
        (body.clone(), signature(WEBHOOK_SECRET, now.0 / 1000 - 301, &body)),
        (body.clone(), signature(WEBHOOK_SECRET, now.0 / 1000 + 301, &body)),
        (body.clone(), String::new()),
        ("{}".to_owned(), signature(WEBHOOK_SECRET, now.0 / 1000, "{}")),
    ];
    for (body, signature) in forged {
        assert_eq!(till.send(&body, &signature).await.code(), "forbidden", "{signature}");
    }
    till.turn().await;
    assert_eq!((till.row(1).await.state, till.rig.balance().await.posted), (Stands::Waiting, 0), "what is forged hurries nobody");
    // One that says it is paid, signed, of a payment that is not: it is looked at, and is not.
    till.begin(2, 3000, false).await.expect(200);
    let lie = json!({ "type": "payment_intent.succeeded", "data": { "object": { "object": "payment_intent", "id": till.row(2).await.intent,
        "status": "succeeded", "amount_received": 3000 } } });
    assert_eq!(till.tell(&lie, now).await.status, 204);
    // All of them, backwards, twice, and of strangers.
    for event in events.iter().rev().chain(&events) {
        assert_eq!(till.tell(event, now).await.status, 204);
    }
    let stranger = json!({ "type": "payment_intent.succeeded", "data": { "object": { "object": "payment_intent", "id": "pi_another" } } });
    assert_eq!(till.tell(&stranger, now).await.status, 204);
    till.turn().await;
    assert_eq!((till.row(1).await.state, till.row(2).await.state), (Stands::Succeeded, Stands::Waiting));
    for event in &events {
        till.tell(event, till.now()).await;
        till.turn().await;
    }
    assert_eq!(till.rig.balance().await.posted, 2000);
    till.clean().await;
    till.gone().await;
});

// proves: C17
db_test!(c17_without_messages_a_top_up_is_driven_to_its_end, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    till.begin(1, 2000, false).await.expect(200);
    till.begin(2, 3000, false).await.expect(200);
    till.pay(1, "4242424242424242").await;
    till.driven().await;
    assert_eq!((till.row(1).await.state, till.row(2).await.state), (Stands::Succeeded, Stands::Waiting));
    // Nobody pays: after a day it is given up, at the provider as well, and cannot be paid any more.
    till.later(25 * 60 * 60 * 1000);
    till.driven().await;
    assert_eq!(till.row(2).await.state, Stands::Cancelled);
    assert_eq!(till.pay(2, "4242424242424242").await["error"]["code"], "payment_intent_unexpected_state");
    // Paid in the moment that it was given up: then it is paid.
    till.begin(3, 4000, false).await.expect(200);
    till.later(25 * 60 * 60 * 1000);
    till.provider().fault(payment_provider::Kind::Error500, "/cancel", 1);
    till.turn().await;
    till.turn().await;
    assert_eq!(till.row(3).await.state, Stands::Cancelling);
    till.pay(3, "4242424242424242").await;
    till.driven().await;
    assert_eq!((till.row(3).await.state, till.rig.balance().await.posted), (Stands::Succeeded, 6000));
    till.clean().await;
    till.gone().await;
});

// proves: C17
db_test!(c17_a_gateway_without_a_provider_takes_no_cards_and_all_else_works, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    let body = json!({ "payment": id(1), "money": { "amount": 2000, "currency": "EUR" } });
    let refused = rig.post("/v1/account/top-ups", &rig.token, &body).await;
    assert_eq!(refused.code(), "unprocessable");
    assert!(refused.json()["hint"].as_str().unwrap().contains("voucher"));
    assert_eq!(rig.post("/v1/payments/messages", "", &json!({})).await.code(), "not_found");
    assert!(crate::through::is_granted(&rig.claiming(0).answered(Some("1999 EUR")).await.1));
    assert_eq!(rig.settled().await.differences, vec![]);
    rig.gone().await;
});

// The auditor would see each of these.
db_test!(c17_the_auditor_sees_payments_that_are_not_booked_as_they_stand, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    till.topped_up(1, 2000, "4242424242424242", false).await;
    till.begin(2, 2000, false).await.expect(200);
    let (till_id, posting) = (id(1), counterfoil_core::PostingId::from_bytes([7; 16]));
    payments::repay::repay(&till.rig.gateway, till_id, None, posting, "operator", "").await.unwrap();
    till.clean().await;
    for (wrong, right) in [
        ("UPDATE payment SET state = 'waiting' WHERE state = 'succeeded'", "UPDATE payment SET state = 'succeeded' WHERE taken > 0"),
        ("UPDATE payment SET taken = 1999 WHERE state = 'succeeded'", "UPDATE payment SET taken = 2000 WHERE state = 'succeeded'"),
        ("UPDATE payment SET state = 'succeeded' WHERE state = 'waiting'", "UPDATE payment SET state = 'waiting' WHERE taken = 0"),
        (
            "UPDATE payment SET posting_id = 'pst-of-nothing' WHERE state = 'succeeded'",
            "UPDATE payment SET posting_id = (SELECT lot_id FROM lot) WHERE state = 'succeeded'",
        ),
        ("UPDATE repayment SET state = 'failed'", "UPDATE repayment SET state = 'succeeded'"),
        ("UPDATE repayment SET amount = amount - 1", "UPDATE repayment SET amount = amount + 1"),
        ("UPDATE payment SET state = 'lost' WHERE state = 'succeeded'", "UPDATE payment SET state = 'succeeded' WHERE taken > 0"),
    ] {
        till.rig.db.run(wrong).await;
        assert_ne!(books::check(&till.rig.db).await.unwrap(), vec![], "{wrong}");
        till.rig.db.run(right).await;
        assert_eq!(books::check(&till.rig.db).await.unwrap(), vec![], "{right}");
    }
    till.gone().await;
});

// proves: C17
db_test!(c17_a_fee_that_is_told_late_is_booked_once, async |db: TestDb| {
    const FEES: &str = "SELECT CAST(COALESCE(SUM(fees), 0) AS BIGINT) FROM posting";
    let till = Till::new(&db, 1, 0).await;
    till.provider().state().fees_are_late = true;
    till.topped_up(1, 2000, "4242424242424242", false).await;
    till.driven().await;
    assert_eq!((till.rig.db.number(FEES).await, till.row(1).await.fee), (0, None));
    till.provider().state().fees_are_late = false;
    for _ in 0..2 {
        till.driven().await;
        assert_eq!((till.rig.db.number(FEES).await, till.row(1).await.fee), (-55, Some(55)));
        let said = "SELECT COUNT(*) FROM posting p JOIN payment t ON p.note = 'fee of ' || t.payment_id WHERE p.kind = 'fee'";
        assert_eq!(till.rig.db.number(said).await, 1, "the books say what it is the fee of");
    }
    till.clean().await;
    till.gone().await;
});

// proves: C17
db_test!(c17_a_card_that_is_entered_again_is_kept_once, async |db: TestDb| {
    let till = Till::new(&db, 0, 0).await;
    let kept = async || {
        let cards = till.rig.get("/v1/account/payment-cards", &till.rig.token).await.expect(200)["cards"].clone();
        cards.as_array().unwrap().iter().map(|card| (card["card"].as_str().unwrap().to_owned(), card["last4"].clone())).collect::<Vec<_>>()
    };
    till.topped_up(1, 500, "4242424242424242", true).await;
    let first = kept().await;
    till.topped_up(2, 500, "5555555555554444", true).await;
    till.later(1000);
    till.topped_up(3, 500, "4242424242424242", true).await;
    let cards = kept().await;
    assert_eq!(cards.iter().map(|(_, last4)| last4.clone()).collect::<Vec<_>>(), ["4242", "4444"]);
    assert_ne!(cards[0].0, first[0].0, "the one that was entered last");
    till.driven().await;
    assert_eq!(till.rig.db.number("SELECT count(*) FROM payment_card WHERE forgotten_at IS NOT NULL").await, 1, "the provider is told");
    till.clean().await;
    till.gone().await;
});
