//! A gateway in the hands of somebody hostile, and customers who are (docs/security.md, "Gateways").

use axum::http::Uri;
use counterfoil_core::Code;

use super::*;
use crate::support::{TestDb, db_test};

// proves: C16
db_test!(c16_a_customer_cannot_ask_for_the_gateways_own_affairs_in_its_name, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    assert!(is_granted(&rig.claiming(0).answered(Some("1999 EUR")).await.1));
    rig.later(60_000);
    // Under its own name the gateway is told them.
    assert_eq!(rig.gateway.authority.changes(None).await.unwrap().exchanges.len(), 1);
    let ways = [
        "/v1/store/../gateway/exchanges",
        "/v1/store/%2e%2e/gateway/exchanges",
        "/v1/store/.%2E/gateway/reconcile",
        "/v1/store/titles/..%2f..%2f../gateway/prices",
        "/pictures/../v1/gateway/prices",
        "/pictures/x/%2e./../v1/gateway/statement?period=2026-01",
        "/pictures/..\\v1\\gateway\\prices",
        "/contents/%2e%2e",
        "/v1/uploads/%2e%2e",
    ];
    for way in ways {
        let uri: Uri = way.parse().unwrap();
        let answer = rig.send(HttpRequest::get(uri).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 404, "{way}: {}", String::from_utf8_lossy(&answer.body));
    }
    assert_eq!(rig.get("/v1/store/titles?q=it's", "").await.status, 200);
    rig.gone().await;
});

// proves: C16, C17
db_test!(c17_what_is_sealed_for_a_gateway_is_taken_to_no_other_till, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    let server = &rig.private.server;
    let claiming = rig.claiming(0);
    let asked = Request { by_gateway: true, ..claiming.request.clone() };
    let sealed = || rig.terminal.sealed_with_reply(server, &asked, Some(&rig.media[0])).0.to_json();
    // Handed in directly, by whoever can reach the authority, it is worth nothing.
    let direct = HttpRequest::post("/v1/terminal/exchange").header("content-type", "application/json").body(Body::from(sealed())).unwrap();
    let refused = server.send(direct).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, Code::EnvelopeInvalid.as_str().to_owned()), "{}", refused.json());
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 0);
    // By the gateway, it is what it says.
    let through = Claiming { request: asked.clone(), ..rig.claiming(0) };
    assert!(is_granted(&through.answered(Some("1999 EUR")).await.1));
    // One from before says nothing of it, and is taken on either way.
    assert!(!rig.claiming(0).request.by_gateway);
    rig.gone().await;
});

// proves: C17
db_test!(c17_another_ones_exchange_is_neither_seen_nor_paid_for_nor_taken, async |db: TestDb| {
    let rig = Rig::new(&db, 2, 5000).await;
    let (_, mallory) = rig.sign_up("mallory", 5000).await;
    let theirs = rig.claiming(0);
    assert_eq!(theirs.send(None).await.0.code(), "charge_unconfirmed");
    // By its ID, with an envelope of her own: it is another request than the one that has this ID.
    let own = rig.claiming(1);
    let envelope = rig.terminal.sealed_with_reply(&rig.private.server, &own.request, Some(&rig.media[1])).0.to_json();
    let stolen = Claiming { request: theirs.request.clone(), token: Some(mallory.clone()), ..rig.claiming(0) };
    for pay in [None, Some("1999 EUR")] {
        let answer = stolen.send_as(envelope.clone(), pay).await;
        assert_eq!(answer.code(), "request_mismatch", "{}", answer.json());
        assert!(!String::from_utf8_lossy(&answer.body).contains("1999"), "not even what it costs");
    }
    assert!(is_granted(&theirs.answered(Some("1999 EUR")).await.1));
    let charge = format!("/v1/account/charges/{}", theirs.id());
    assert_eq!((rig.get(&charge, &rig.token).await.status.as_u16(), rig.get(&charge, &mallory).await.status.as_u16()), (200, 404));
    let listed = rig.get("/v1/account/exchanges", &mallory).await.expect(200);
    assert_eq!(listed["exchanges"], json!([]));
    // Under an ID of her own choice, somebody else's envelope: the authority looks inside.
    let mut strange = rig.claiming(1);
    strange.token = Some(mallory);
    let envelope = rig.terminal.sealed_with_reply(&rig.private.server, &theirs.request, Some(&rig.media[0])).0.to_json();
    assert_eq!(strange.send_as(envelope, Some("1999 EUR")).await.status, 422);
    assert_eq!(rig.settled().await.differences, vec![]);
    rig.gone().await;
});

// proves: C17
db_test!(c17_nobody_pays_another_price_than_the_one_agreed_to_however_it_changes_meanwhile, async |db: TestDb| {
    let rig = Rig::new(&db, 3, 50_000).await;
    let server = &rig.private.server;
    let price = async |amount: u64| {
        let body = json!({ "amount": amount, "currency": "EUR" });
        server.put_json(&server.fox, &format!("/v1/gateways/{}/prices/{TITLE}", rig.gateway_id), &body).await.expect(200);
    };
    // Raised between offer and agreement: what was told holds for its time.
    let first = rig.claiming(0);
    assert_eq!(first.send(None).await.0.code(), "charge_unconfirmed");
    price(2999).await;
    assert!(is_granted(&first.answered(Some("1999 EUR")).await.1));
    // After that time the new one is told, and the old one not taken, lower or higher.
    let second = rig.claiming(1);
    assert_eq!(second.send(None).await.0.json()["charge"]["price"]["amount"], 2999);
    price(999).await;
    rig.later(16 * 60 * 1000);
    let late = second.send(Some("2999 EUR")).await.0;
    assert!(matches!(late.code().as_str(), "exchange_ended" | "price_changed"), "{}", late.json());
    // Agreed to before anything was told: only if it is the price.
    let third = rig.claiming(2);
    assert_eq!(third.send(Some("1 EUR")).await.0.code(), "price_changed");
    assert!(is_granted(&third.answered(Some("999 EUR")).await.1));
    assert_eq!(rig.balance().await, Balance { posted: 50_000 - 1999 - 999, reserved: 0 });
    assert_eq!(rig.settled().await.differences, vec![]);
    rig.gone().await;
});

// proves: C16, C17
db_test!(c17_what_a_gateway_holds_back_or_shows_again_is_done_once_or_not_at_all, async |db: TestDb| {
    let rig = Rig::new(&db, 2, 50_000).await;
    let server = &rig.private.server;
    // Held back for more than a day, a request is of yesterday.
    let held = rig.claiming(0);
    let envelope = rig.terminal.sealed_with_reply(server, &held.request, Some(&rig.media[0])).0.to_json();
    rig.later(25 * 60 * 60 * 1000);
    let (_, reply) = rig.terminal.sealed_with_reply(server, &held.request, Some(&rig.media[0]));
    let answer = held.send_as(envelope, Some("1999 EUR")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["charged"].is_null()), (200, true), "a refusal, which costs nothing");
    drop(reply);
    assert_eq!((rig.balance().await.posted, db.number("SELECT count(*) FROM grants").await), (50_000, 0));
    // Shown again and again, prepared and committed in any order, it is one copy and one charge.
    let again = rig.claiming(1);
    let envelope: Value =
        serde_json::from_slice(&rig.terminal.sealed_with_reply(server, &again.request, Some(&rig.media[1])).0.to_json()).unwrap();
    let prepare = counterfoil_core::wire::Prepare { exchange_id: again.id(), envelope };
    let authority = &rig.gateway.authority;
    assert!(authority.commit(&prepare).await.is_err(), "nothing was prepared");
    authority.prepare(&prepare).await.unwrap();
    let wanted = &prepare;
    let steps = futures_util::future::join_all(
        (0..8).map(|turn| async move { if turn % 2 == 0 { authority.commit(wanted).await } else { authority.prepare(wanted).await } }),
    );
    assert!(steps.await.iter().any(Result::is_ok));
    authority.commit(&prepare).await.unwrap();
    assert_eq!(db.number("SELECT count(DISTINCT medium_id) FROM grants").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM gateway_exchange WHERE state = 'committed'").await, 1);
    // Given up afterwards, it stands: a key is out.
    let step = authority.abort(again.id(), "I would rather not").await.unwrap();
    assert_eq!(step.state, counterfoil_core::wire::ExchangeState::Committed);
    // The customer was never charged by this gateway, which the comparison shows whoever looks.
    let found = rig.settled().await.differences;
    assert_eq!((found.len(), found[0].what), (1, "carried out at the authority, not charged here"));
    rig.gone().await;
});
