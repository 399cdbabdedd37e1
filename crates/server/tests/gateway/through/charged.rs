//! What is offered, agreed to, charged and given back (C17).

use counterfoil_core::wire::UndoReason;
use counterfoil_server::gateway::exchange::{Undoing, undo};

use super::*;
use crate::support::{TestDb, db_test};

// proves: C17
db_test!(c17_a_copy_is_offered_agreed_to_charged_once_and_answered_again, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    let claiming = rig.claiming(0);
    let offered = claiming.send(None).await.0;
    assert_eq!((offered.status.as_u16(), offered.code().as_str()), (402, "charge_unconfirmed"));
    let charge = offered.json()["charge"].clone();
    assert_eq!((&charge["price"], &charge["balance"]["amount"]), (&json!({ "amount": 1999, "currency": "EUR" }), &json!(5000)));
    assert_eq!(rig.state(claiming.id()).await, Some(State::Offered));
    assert_eq!(rig.balance().await.available(), 5000, "an offer costs nothing");

    let (body, outcome) = claiming.answered(Some("1999 EUR")).await;
    assert!(is_granted(&outcome), "{outcome:?}");
    assert_eq!((&body["charged"]["price"]["amount"], &body["charged"]["balance"]["amount"]), (&json!(1999), &json!(3001)));
    assert_eq!(rig.state(claiming.id()).await, Some(State::Charged));
    // Sealed anew, and by the same terminal: the same keys, no second charge.
    for _ in 0..2 {
        assert!(is_granted(&claiming.answered(Some("1999 EUR")).await.1));
    }
    assert_eq!(rig.balance().await, Balance { posted: 3001, reserved: 0 });
    let compared = rig.settled().await;
    assert_eq!((compared.compared, compared.differences), (1, vec![]));
    let shown = rig.get("/v1/account", &rig.token).await.expect(200);
    assert_eq!(shown["cards"][0]["card_id"], json!(rig.terminal.card_id().unwrap()));
    let listed = rig.get("/v1/account/exchanges", &rig.token).await.expect(200);
    assert_eq!((&listed["exchanges"][0]["state"], listed["exchanges"].as_array().unwrap().len()), (&json!("charged"), 1));
    rig.gone().await;
});

// proves: C17
db_test!(c17_nothing_is_charged_that_was_not_agreed_to_or_is_not_there, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 100).await;
    let mut claiming = rig.claiming(0);
    let agreed_to_less = claiming.send(Some("1998 EUR")).await.0;
    assert_eq!((agreed_to_less.status.as_u16(), agreed_to_less.code().as_str()), (402, "price_changed"));
    let other_currency = claiming.send(Some("1999 USD")).await.0;
    assert_eq!(other_currency.code(), "price_changed");
    let short = claiming.send(Some("1999 EUR")).await.0;
    assert_eq!((short.status.as_u16(), short.code().as_str()), (402, "payment_refused"));
    assert!(short.json()["detail"].as_str().unwrap().contains("18.99 EUR"), "{}", short.json());
    assert_eq!(rig.state(claiming.id()).await, Some(State::Offered));

    // Somebody without an account, with a wrong one, and another one's exchange.
    let token = claiming.token.take();
    assert_eq!((rig.claiming(0).rig.balance().await.posted, claiming.send(Some("1999 EUR")).await.0.status.as_u16()), (100, 401));
    claiming.token = Some("cga_x".to_owned());
    assert_eq!(claiming.send(None).await.0.code(), "account_needed");
    let (_, other) = rig.sign_up("bob", 5000).await;
    claiming.token = Some(other);
    assert_eq!(claiming.send(Some("1999 EUR")).await.0.code(), "request_mismatch");

    claiming.token = token;
    rig.top_up(rig.account, 1899).await;
    assert!(is_granted(&claiming.answered(Some("1999 EUR")).await.1));
    assert_eq!(rig.balance().await, Balance { posted: 0, reserved: 0 });
    assert_eq!(rig.settled().await.differences, vec![]);
    rig.gone().await;
});

// proves: C17
db_test!(c17_of_two_accounts_that_race_for_one_medium_one_is_charged, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    let other = Terminal::registered(&rig.private.server).await;
    let (bob, token) = rig.sign_up("bob", 5000).await;
    let first = rig.claiming(0);
    let operation = Operation::Claim(other.claim_operation(&rig.media[0]));
    let second = Request { seal_answer: true, ..request(&rig.private.server, operation) };
    let second = Claiming { rig: &rig, request: second, medium: &rig.media[0], token: Some(token) };
    let sealed = || other.sealed_with_reply(&rig.private.server, &second.request, Some(&rig.media[0]));
    assert_eq!(second.send_as(sealed().0.to_json(), None).await.code(), "charge_unconfirmed");
    assert!(is_granted(&first.answered(Some("1999 EUR")).await.1));
    let (envelope, reply) = sealed();
    let body = second.send_as(envelope.to_json(), Some("1999 EUR")).await.expect(200);
    assert!(!is_granted(&outcome(&rig, &body, &reply)) && body["charged"].is_null(), "{body}");
    assert_eq!(rig.state(second.id()).await, Some(State::Voided));
    let currency = "EUR".parse().unwrap();
    let held = rig.db.read("balance", async move |tx: &mut Tx| ledger::balance(tx, bob, &currency).await).await.unwrap();
    assert_eq!(held, Balance { posted: 5000, reserved: 0 });
    assert_eq!((rig.balance().await.posted, rig.settled().await.differences), (3001, vec![]));
    rig.gone().await;
});

// proves: C17
db_test!(c17_what_is_undone_ends_at_the_authority_and_is_given_back, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    let claiming = rig.claiming(0);
    assert!(is_granted(&claiming.answered(Some("1999 EUR")).await.1));
    for _ in 0..2 {
        assert_eq!(undo(&rig.gateway, claiming.id(), UndoReason::Refund, "a present").await.unwrap(), Undoing::Done);
        assert_eq!(rig.balance().await, Balance { posted: 5000, reserved: 0 });
    }
    assert_eq!(claiming.send(Some("1999 EUR")).await.0.code(), "exchange_ended");
    assert_eq!(rig.settled().await.differences, vec![]);
    // The medium can be copied again, and is charged again.
    assert!(is_granted(&rig.claiming(0).answered(Some("1999 EUR")).await.1));
    assert_eq!(rig.balance().await.posted, 3001);
    rig.gone().await;
});

// A comparison that finds nothing proves nothing: the charge is taken away from one side.
db_test!(c17_the_comparison_finds_what_differs, async |db: TestDb| {
    let rig = Rig::new(&db, 2, 5000).await;
    let claiming = rig.claiming(0);
    assert!(is_granted(&claiming.answered(Some("1999 EUR")).await.1));
    assert_eq!(rig.settled().await.differences, vec![]);
    rig.db.run("UPDATE exchange SET state = 'voided'").await;
    let found = rig.settled().await.differences;
    assert_eq!((found.len(), found[0].what), (1, "carried out at the authority, not charged here"));
    rig.db.run("UPDATE exchange SET state = 'charged', operator_part = operator_part - 1").await;
    assert_eq!(rig.settled().await.differences[0].what, "title, price or parts differ");
    db.run("DELETE FROM gateway_exchange").await;
    assert_eq!(rig.settled().await.differences[0].what, "charged here, not carried out at the authority");
    rig.gone().await;
});

// What is refused at once, and what costs nothing, leaves no row and needs no account.
db_test!(c16_free_exchanges_pass_without_an_account, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 0).await;
    let operation = Operation::Devices(counterfoil_core::wire::Devices {
        user_id: rig.terminal.user.unwrap(),
        device_id: rig.terminal.device_id().unwrap(),
    });
    let asked = Request { seal_answer: true, ..request(&rig.private.server, operation) };
    let (envelope, reply) = rig.terminal.sealed_with_reply(&rig.private.server, &asked, None);
    let claiming = Claiming { rig: &rig, request: asked, medium: &rig.media[0], token: None };
    let body = claiming.send_as(envelope.to_json(), None).await.expect(200);
    assert!(is_granted(&outcome(&rig, &body, &reply)) && body["charged"].is_null());
    assert_eq!(rig.db.number("SELECT count(*) FROM exchange").await, 0);
    // Under another name than its request has, it is none.
    let (envelope, _) = rig.terminal.sealed_with_reply(&rig.private.server, &claiming.request, None);
    let renamed = Claiming { request: Request { request_id: RequestId(uuid::Uuid::from_bytes([9; 16])), ..claiming.request }, ..claiming };
    assert!(renamed.send_as(envelope.to_json(), None).await.status.is_client_error());
    rig.gone().await;
});
