//! What an exchange costs beyond the balance: promised by the kept card before, taken after, and let go where there is no key.

use counterfoil_server::gateway::alerts::{self, Watch};
use counterfoil_server::gateway::ledger::Balance;
use counterfoil_server::gateway::store::alert::{self, Kind};
use counterfoil_server::gateway::store::exchange::State;
use counterfoil_server::gateway::{exchange, payments};

use super::*;
use crate::support::db_test;
use crate::support::terminal::{Terminal, request};
use crate::through::{Claiming, is_granted, outcome};
use counterfoil_core::wire::{Operation, Request};
use counterfoil_server::gateways::listener;

const PAY: Option<&str> = Some("1999 EUR");

/// A till whose account keeps a card and holds 5.00.
async fn keeping(db: &TestDb, media: i64, number: &str) -> Till {
    let till = Till::new(db, media, 0).await;
    till.topped_up(1, 500, number, true).await;
    till
}

async fn payments_of(till: &Till, exchange: counterfoil_core::RequestId) -> Vec<PaymentRow> {
    let account = till.rig.account;
    till.rig.db.read("payments", async move |tx: &mut Tx| payment::of_exchange(tx, account, exchange).await).await.unwrap()
}

// proves: C17
db_test!(c17_a_kept_card_pays_what_the_balance_is_short_of, async |db: TestDb| {
    let till = keeping(&db, 3, "4242424242424242").await;
    let cards = till.rig.get("/v1/account/payment-cards", &till.rig.token).await.expect(200)["cards"].clone();
    assert_eq!((&cards[0]["brand"], &cards[0]["last4"], cards.as_array().unwrap().len()), (&json!("visa"), &json!("4242"), 1));
    let claiming = till.rig.claiming(0);
    let offered = claiming.send(None).await.0;
    assert_eq!((offered.code().as_str(), &offered.json()["charge"]["card"]), ("charge_unconfirmed", &json!("visa ending in 4242")));
    assert_eq!(till.provider().state().intents.len(), 1, "an offer asks no card");

    let (body, granted) = claiming.answered(PAY).await;
    assert!(is_granted(&granted), "{granted:?}");
    assert_eq!(body["charged"]["balance"]["amount"], 0);
    let paid = payments_of(&till, claiming.id()).await;
    assert_eq!((paid.len(), paid[0].money.amount, paid[0].taken), (1, 1499, 1499));
    till.driven().await;
    assert_eq!(payments_of(&till, claiming.id()).await[0].state, Stands::Succeeded);
    assert_eq!(till.rig.balance().await, Balance { posted: 0, reserved: 0 });
    let taken: i64 = intents(&till, "succeeded").iter().map(|intent| intent["amount_received"].as_i64().unwrap()).sum();
    assert_eq!(taken, 1999);
    assert!(is_granted(&claiming.answered(PAY).await.1), "the same keys, and no card is asked");
    assert_eq!(till.provider().state().intents.len(), 2);
    // Nothing is there: all of it comes from the card.
    let second = till.rig.claiming(1);
    assert!(is_granted(&second.answered(PAY).await.1));
    // A card that is removed pays nothing.
    let card = cards[0]["card"].as_str().unwrap();
    let path = format!("/v1/account/payment-cards/{card}");
    for _ in 0..2 {
        let request = HttpRequest::delete(&path).header("authorization", format!("Bearer {}", till.rig.token)).body(Body::empty()).unwrap();
        assert_eq!(till.rig.send(request).await.status, 204);
    }
    let refused = till.rig.claiming(2).send(PAY).await.0;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "payment_refused"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("19.99 EUR are missing"));
    assert!(refused.json()["hint"].as_str().unwrap().contains("account top-up"));
    till.driven().await;
    assert!(till.provider().state().methods.values().all(|method| method["customer"].is_null()), "the provider has forgotten it");
    assert_eq!(till.rig.settled().await.differences, vec![]);
    till.clean().await;
    till.gone().await;
});

// proves: C17
db_test!(c17_what_is_not_granted_is_let_go, async |db: TestDb| {
    let till = keeping(&db, 1, "4242424242424242").await;
    // Both agree to the same medium; somebody else, directly, was first.
    let other = Terminal::registered(&till.rig.private.server).await;
    let claiming = till.rig.claiming(0);
    assert_eq!(claiming.send(None).await.0.code(), "charge_unconfirmed");
    let (_, token) = till.rig.sign_up("bob", 5000).await;
    let operation = Operation::Claim(other.claim_operation(&till.rig.media[0]));
    let second = Request { seal_answer: true, ..request(&till.rig.private.server, operation) };
    let second = Claiming { rig: &till.rig, request: second, medium: &till.rig.media[0], token: Some(token) };
    let (envelope, reply) = other.sealed_with_reply(&till.rig.private.server, &second.request, Some(&till.rig.media[0]));
    let body = second.send_as(envelope.to_json(), PAY).await.expect(200);
    assert!(is_granted(&outcome(&till.rig, &body, &reply)));

    let (body, refused) = claiming.answered(PAY).await;
    assert!(!is_granted(&refused) && body["charged"].is_null());
    assert_eq!(till.rig.state(claiming.id()).await, Some(State::Voided));
    assert_eq!(till.rig.balance().await, Balance { posted: 500, reserved: 0 }, "what the card had promised is nobody's");
    // Another process has read before that it is held, and comes late.
    let stale = PaymentRow { state: Stands::Held, ends_at: Some(till.now()), ..payments_of(&till, claiming.id()).await.remove(0) };
    payments::drive::step(&till.rig.gateway, &stale).await.unwrap();
    assert_eq!(intents(&till, "succeeded").len(), 1, "what was let go is not taken");
    till.driven().await;
    assert_eq!((intents(&till, "canceled").len(), intents(&till, "succeeded").len()), (1, 1));
    assert_eq!(payments_of(&till, claiming.id()).await[0].state, Stands::Cancelled);
    till.clean().await;
    till.gone().await;
});

/// A card that could be kept, and says no when it is charged.
async fn refused_for(db: TestDb, number: &str, why: &str) {
    let till = Till::new(&db, 1, 0).await;
    till.begin(1, 500, true).await.expect(200);
    if till.pay(1, number).await["status"] == "requires_action" {
        // Its owner is there, and shows that it is them.
        let intent = till.row(1).await.intent.unwrap();
        let url = format!("{}/v1/payment_intents/{intent}/authenticate", till.running.url);
        let client = reqwest::Client::new();
        assert!(client.post(url).bearer_auth(SECRET_KEY).send().await.unwrap().status().is_success());
    }
    assert_eq!(till.show(1).await.expect(200)["state"], "succeeded");
    let claiming = till.rig.claiming(0);
    for attempt in 1..=6 {
        let refused = claiming.send(PAY).await.0;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "payment_refused"));
        let problem = refused.json();
        assert!(problem["detail"].as_str().unwrap().contains("14.99 EUR are missing"), "{problem}");
        assert_eq!(problem["detail"].as_str().unwrap().contains(why), attempt <= 5, "{problem}");
        assert!(problem["hint"].as_str().unwrap().contains("account top-up"), "{problem}");
    }
    assert_eq!(till.rig.state(claiming.id()).await, Some(State::Offered));
    for _ in 0..2 {
        till.turn().await;
    }
    assert_eq!(intents(&till, "canceled").len(), 5, "a bank that has said no five times is not asked again");
    assert_eq!(till.rig.balance().await, Balance { posted: 500, reserved: 0 });
    // Paid in, the same exchange goes on.
    till.topped_up(2, 2000, "4242424242424242", false).await;
    assert!(is_granted(&claiming.answered(PAY).await.1));
    till.driven().await;
    till.clean().await;
    till.gone().await;
}

// proves: C17
db_test!(c17_a_card_that_is_declined_says_why_and_what_to_do, async |db: TestDb| {
    refused_for(db, "4000000000000341", "generic_decline").await;
});

// proves: C17
db_test!(c17_a_card_whose_bank_asks_its_owner_says_what_to_do, async |db: TestDb| {
    refused_for(db, "4000002760003184", "authentication_required").await;
});

// proves: C17
db_test!(c17_a_promise_that_would_end_is_taken_before_it_does, async |db: TestDb| {
    let mut till = keeping(&db, 1, "4242424242424242").await;
    let asked = till.rig.claiming(0).request;
    let claiming = |till: &Till| -> counterfoil_core::RequestId { Claiming { request: asked.clone(), ..till.rig.claiming(0) }.id() };
    assert_eq!(Claiming { request: asked.clone(), ..till.rig.claiming(0) }.send(None).await.0.code(), "charge_unconfirmed");
    // The authority goes away in the moment that it is asked to carry it out, for a week.
    let address = till.rig.private.listener.address;
    let (server, listening) = (till.rig.private.server, till.rig.private.listener);
    listening.stop(std::time::Duration::ZERO).await.unwrap();
    let listener = listener::start(&server.app, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    till.rig.private = crate::reseller::Private { listener, server };
    let gone = Claiming { request: asked.clone(), ..till.rig.claiming(0) }.send(PAY).await.0;
    assert_eq!(gone.code(), "authority_unavailable");
    let exchange = claiming(&till);
    let stands = |rows: Vec<PaymentRow>| rows[0].state;
    assert_eq!(stands(payments_of(&till, exchange).await), Stands::Held);
    for _ in 0..20 {
        till.later(6 * 60 * 60 * 1000);
        till.turn().await;
    }
    assert_eq!(stands(payments_of(&till, exchange).await), Stands::Succeeded, "before its 4 days and 18 hours are over");
    assert_eq!(till.rig.balance().await, Balance { posted: 1999, reserved: 1999 });
    // It is back: a key for the money, or the money.
    let back = listener::start(&till.rig.private.server.app, address).await.unwrap();
    assert_eq!(till.rig.settled().await.differences, vec![]);
    till.driven().await;
    let posted = till.rig.balance().await.posted;
    match till.rig.state(exchange).await {
        Some(State::Charged) => assert_eq!(posted, 0),
        other => assert_eq!((other, posted), (Some(State::Voided), 1999), "what was taken is the account's"),
    }
    till.clean().await;
    back.stop(std::time::Duration::ZERO).await.unwrap();
    till.gone().await;
});

// proves: C17
db_test!(c17_a_key_whose_money_is_lost_after_all_ends, async |db: TestDb| {
    let till = keeping(&db, 1, "4242424242424242").await;
    let claiming = till.rig.claiming(0);
    assert!(is_granted(&claiming.answered(PAY).await.1));
    let paid = payments_of(&till, claiming.id()).await.remove(0);
    till.provider().expire(paid.intent.as_deref().unwrap());
    till.driven().await;
    assert_eq!(payments_of(&till, claiming.id()).await[0].state, Stands::Lost);
    assert_eq!(till.rig.state(claiming.id()).await, Some(State::Undone), "what it had paid for has ended at the authority");
    assert_eq!(till.rig.balance().await, Balance { posted: 500, reserved: 0 }, "what came from the balance is back there");
    assert_eq!(till.rig.settled().await.differences, vec![]);
    let app = &till.rig.gateway;
    let told = async || {
        alerts::look(app, &mut Watch::default()).await.unwrap();
        app.db
            .read("alerts", async |tx: &mut Tx| alert::open(tx).await)
            .await
            .unwrap()
            .into_iter()
            .any(|alert| alert.kind == Kind::LostPayment)
    };
    assert!(told().await && told().await);
    till.later(8 * Timestamp::DAY);
    assert!(!told().await, "it is ended, and a week is enough to know it");
    assert_eq!(till.rig.db.number("SELECT count(*) FROM alert WHERE kind = 'lost_payment'").await, 1);
    till.clean().await;
    till.gone().await;
});

// proves: C17
db_test!(c17_a_promise_that_nobody_binds_is_let_go, async |db: TestDb| {
    let till = keeping(&db, 1, "4242424242424242").await;
    let claiming = till.rig.claiming(0);
    assert_eq!(claiming.send(None).await.0.code(), "charge_unconfirmed");
    // The gateway dies after the card has promised, before it is bound.
    let row = exchange::find(&till.rig.gateway, claiming.id()).await.unwrap().unwrap();
    let missing = counterfoil_core::Money { amount: 1499, ..row.charge.price };
    let promised = payments::cover::promise(&till.rig.gateway, &row, missing).await.unwrap();
    assert!(matches!(promised, payments::cover::Covered::Promised(_)), "{promised:?}");
    assert_eq!(intents(&till, "requires_capture").len(), 1);
    till.driven().await;
    assert_eq!((intents(&till, "canceled").len(), till.rig.balance().await), (1, Balance { posted: 500, reserved: 0 }));
    till.clean().await;
    assert_eq!(claiming.send(PAY).await.0.code(), "exchange_ended", "nobody has agreed to its price in time");
    till.gone().await;
});
