//! Every mutating route of the OpenAPI document, sent a hundred times at once: one effect, one answer; another body is refused.

use crate::reissue::card_keys;
use crate::support;
use crate::support::catalogue;
use crate::support::terminal;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use catalogue::{Answer, NOW, TestServer, publish, publisher_key, release};
use counterfoil_core::wire::OrderResult;
use counterfoil_core::{CardId, DeviceId, MediumId, Timestamp, UserId};
use counterfoil_format::content::ObjectName;
use counterfoil_format::hpke::{DiffieHellman as _, SealingKey};
use counterfoil_format::secret::Secret;
use counterfoil_server::auth::{self, Admit};
use counterfoil_server::db::{Fault, Lasting};
use counterfoil_server::{idempotency, router};
use serde_json::{Value, json};
use support::{TestDb, db_test};
use terminal::Terminal;
use tower::ServiceExt as _;

/// One request to a mutating route, and another body for the same route.
struct Case {
    method: Method,
    template: &'static str,
    path: String,
    body: String,
    other: String,
    /// Counts the effect: once done, it has grown by one, however often it was asked for.
    effect: &'static str,
}

/// Routes that need no key: an upload's name says what it holds, a publisher's key is set once, listings, pictures and rules are
/// put as they shall be, rules are tried without an effect, and a terminal's request has an ID of its own, as has the presentation that a
/// provider has judged: tests/providers.rs sends one from many sides at once. A piece of an upload says where it begins.
const NATURAL: &[&str] = &[
    "PUT /v1/contents/{object}",
    "PUT /v1/gateways/{gateway}/prices/{title}",
    "PUT /v1/publishers/{publisher}/key",
    "PUT /v1/titles/{title}/channels/{channel}",
    "PUT /v1/titles/{title}/feed",
    "PUT /v1/titles/{title}/listing",
    "PUT /v1/titles/{title}/pictures/{position}",
    "PUT /v1/titles/{title}/rules/{supplement}",
    "POST /v1/titles/{title}/rules",
    "POST /v1/terminal/exchange",
    "POST /v1/terminal/inbox",
    "POST /v1/verify",
    "PATCH /v1/uploads/{ticket}",
    "DELETE /v1/uploads/{ticket}",
];

/// One charge through a gateway in January 2025, as it is left when it was committed.
async fn sold_through(server: &TestServer, gateway: &str) {
    let gateway = gateway.to_owned();
    let book = async move |tx: &mut counterfoil_server::db::Tx| -> Result<u64, counterfoil_server::db::DbError> {
        tx.query(
            "INSERT INTO gateway_exchange (exchange_id, gateway_id, digest, operation, subject, title_id, title_name, currency, amount,
               operator_part, state, created_at, expires_at, decided_at, changed_at)
             VALUES ('00000000-0000-0000-0000-000000000001', $1, $2, 'order', 'usr', 'sky-raider', 'A title', 'EUR', 10, 3, 'committed', $3, $3, $3, $3)",
        )
        .bind(&gateway)
        .bind([0u8; 32])
        .bind(1_736_000_000_000_i64)
        .execute()
        .await
    };
    server.app.db.write("book", "00000000-0000-0000-0000-000000000001", book).await.unwrap();
}

async fn cases(server: &TestServer) -> Vec<Case> {
    publish(server, "blue-fox", "sky-raider", "0.9").await;
    publish(server, "blue-fox", "sky-raider", "1.0").await;
    let packed = catalogue::pack_bytes("sky-raider", "1.0");
    let patch = |encoder: &str| json!({ "from": "0.9", "to": "1.0", "object": ObjectName::of(&packed), "length": packed.len(), "encoder": encoder });
    let deltas = |covered: u64| {
        let mut deltas = patch("zstd 1.5.7");
        deltas["covered"] = covered.into();
        deltas
    };
    let batch = catalogue::press(server, &server.operator, "sky-raider", 5).await["batch"].as_str().unwrap().to_owned();
    let imported = json!({ "titles": [{ "title": "sky-raider" }], "imported": true });
    let elsewhere = server.post(&server.operator, "/v1/batches", &imported).await.expect(201)["batch"].as_str().unwrap().to_owned();
    for bytes in [catalogue::manifest_bytes("sky-raider", "2.0"), catalogue::pack_bytes("sky-raider", "2.0")] {
        server.put(&server.operator, &format!("/v1/contents/{}", ObjectName::of(&bytes)), bytes).await.expect(201);
    }
    server.put_picture(&server.fox, "sky-raider", 1, &catalogue::png(1)).await.expect(200);
    let token = server.post(&server.operator, "/v1/tokens", &json!({ "role": "operator", "name": "old" })).await.expect(201);
    let colleague = async |name: &str| {
        let new = json!({ "role": "support", "name": name });
        server.post(&server.operator, "/v1/staff", &new).await.expect(201)["id"].as_str().unwrap().to_owned()
    };
    let (forgetful, quitting) = (colleague("Forgetful").await, colleague("Leaving").await);
    let card = CardId::from_bytes([1; 16]).to_string();
    server.post(&server.operator, "/v1/cards", &json!({ "cards": [card] })).await.expect(200);
    let user = server.post(&server.operator, "/v1/users", &json!({ "name": "Charles Babbage" })).await.expect(201);
    let leaving = server.post(&server.operator, "/v1/users", &json!({ "name": "Annabella Milbanke" })).await.expect(201);
    let medium = MediumId::pressed(batch.parse().unwrap(), 1);
    let recipient = |seed| json!({ "recipient": SealingKey::from_seed(&Secret::new([seed; 32])).public_key() });
    let case = |method: Method, template, path: String, body: Value, other: Value, effect| Case {
        method,
        template,
        path,
        body: if body.is_null() { String::new() } else { body.to_string() },
        other: other.to_string(),
        effect,
    };
    let (buyer, orders) = bought(server).await;
    let (lost, asks) = (Terminal::registered(server).await, Terminal::registered(server).await);
    let code = asks.recovery_code(server).await.unwrap();
    let waiting = asks.with_new_card().reissue(server, asks.user.unwrap(), &code).await.unwrap().reissue_id;
    let new_card = |reason: &str| json!({ "card": card_keys(&Terminal::just_a_card()), "reason": reason });
    let rule = json!({ "condition": "true" });
    server.put_json(&server.fox, "/v1/titles/sky-raider/rules/game-1", &rule).await.expect(200);
    let studio = |name: &str| {
        let titles = json!([{ "title": "sky-raider", "supplement": "game-1" }]);
        json!({ "name": name, "url": "https://studio.example", "key": publisher_key("studio").1, "titles": titles })
    };
    let registered = server.post(&server.operator, "/v1/contents-servers", &studio("East")).await.expect(201);
    let arcade = |name: &str| json!({ "name": name, "url": "https://arcade.example", "publishers": ["blue-fox"] });
    let provider = server.post(&server.operator, "/v1/providers", &arcade("East")).await.expect(201);
    let reseller = |name: &str| json!({ "name": name, "share": 3000 });
    let mut resellers = vec![];
    for name in ["stays", "ends"] {
        let made = server.post(&server.operator, "/v1/gateways", &reseller(name)).await.expect(201);
        resellers.push(format!("/v1/gateways/{}", made["gateway"].as_str().unwrap()));
    }
    let price = format!("{}/prices/sky-raider", resellers[0]);
    server.put_json(&server.operator, &price, &json!({ "amount": 1999, "currency": "EUR" })).await.expect(200);
    sold_through(server, resellers[0].rsplit('/').next().unwrap()).await;
    let hook = |name: &str| json!({ "name": name, "url": "https://hooks.example", "events": ["*"] });
    let mut hooks = vec![];
    for name in ["stays", "ends"] {
        hooks.push(server.post(&server.operator, "/v1/webhooks", &hook(name)).await.expect(201)["webhook"].as_str().unwrap().to_owned());
    }
    let sent = server.post(&server.operator, &format!("/v1/webhooks/{}/test", hooks[0]), &json!({})).await.expect(201);
    let entry = Terminal::registered(server).await;
    let exchange = |reason: &str| {
        let new = DeviceId::from_bytes([17; 16]);
        json!({ "kind": "device", "old": entry.device_id().unwrap(), "new": new, "reason": reason })
    };
    let mut release_other = release("blue-fox", "sky-raider", "2.0");
    release_other["objects"].as_array_mut().unwrap().reverse();
    let title = |name: &str| json!({ "title": "moon-raider", "name": name, "kind": "game", "publisher": "blue-fox" });
    let medium_line = |id: &str| json!({ "medium_id": id });
    vec![
        case(
            Method::POST,
            "/v1/publishers",
            "/v1/publishers".into(),
            json!({ "id": "red-owl", "name": "Red Owl", "key": publisher_key("red-owl").1 }),
            json!({ "id": "red-owl", "name": "Other" }),
            "SELECT count(*) FROM audit WHERE event = 'publisher.made'",
        ),
        case(
            Method::POST,
            "/v1/titles",
            "/v1/titles".into(),
            title("Moon"),
            title("Sun"),
            "SELECT count(*) FROM audit WHERE event = 'title.made'",
        ),
        case(
            Method::POST,
            "/v1/titles/{title}/content-key",
            "/v1/titles/sky-raider/content-key".into(),
            recipient(1),
            recipient(2),
            "SELECT count(*) FROM audit WHERE event = 'content_key.handed_out'",
        ),
        case(
            Method::POST,
            "/v1/titles/{title}/releases",
            "/v1/titles/sky-raider/releases".into(),
            release("blue-fox", "sky-raider", "2.0"),
            release_other,
            "SELECT count(*) FROM audit WHERE event = 'release.published'",
        ),
        case(
            Method::POST,
            "/v1/titles/{title}/deltas",
            "/v1/titles/sky-raider/deltas".into(),
            deltas(9),
            deltas(8),
            "SELECT count(*) FROM audit WHERE event = 'delta.published'",
        ),
        case(
            Method::POST,
            "/v1/titles/{title}/patches",
            "/v1/titles/sky-raider/patches".into(),
            patch("zstd 1.5.7"),
            patch("zstd 1.5.6"),
            "SELECT count(*) FROM audit WHERE event = 'patch.published'",
        ),
        case(
            Method::DELETE,
            "/v1/titles/{title}/rules/{supplement}",
            "/v1/titles/sky-raider/rules/game-1".into(),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM audit WHERE event = 'rule.removed'",
        ),
        case(
            Method::POST,
            "/v1/contents-servers",
            "/v1/contents-servers".into(),
            studio("North"),
            studio("South"),
            "SELECT count(*) FROM contents_server",
        ),
        case(
            Method::DELETE,
            "/v1/contents-servers/{server}",
            format!("/v1/contents-servers/{}", registered["server"].as_str().unwrap()),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM contents_server WHERE ended_at IS NOT NULL",
        ),
        case(Method::POST, "/v1/gateways", "/v1/gateways".into(), reseller("North"), reseller("South"), "SELECT count(*) FROM gateway"),
        case(
            Method::DELETE,
            "/v1/gateways/{gateway}",
            resellers[1].clone(),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM gateway WHERE ended_at IS NOT NULL",
        ),
        case(
            Method::POST,
            "/v1/gateways/{gateway}/token",
            format!("{}/token", resellers[0]),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM audit WHERE event = 'gateway.token_made'",
        ),
        case(
            Method::DELETE,
            "/v1/gateways/{gateway}/prices/{title}",
            price,
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM audit WHERE event = 'gateway.price_removed'",
        ),
        case(
            Method::POST,
            "/v1/gateways/{gateway}/terms",
            format!("{}/terms", resellers[0]),
            json!({ "share": 3500, "from": "2099-01-01T00:00:00Z" }),
            json!({ "share": 4000, "from": "2099-02-01T00:00:00Z" }),
            "SELECT count(*) FROM gateway_terms",
        ),
        case(
            Method::POST,
            "/v1/gateways/{gateway}/settlements",
            format!("{}/settlements", resellers[0]),
            json!({ "period": "2025-01" }),
            json!({ "period": "2025-02" }),
            "SELECT count(*) FROM gateway_settlement",
        ),
        case(
            Method::POST,
            "/v1/entries/{user_id}/exchange",
            format!("/v1/entries/{}/exchange", entry.user.unwrap()),
            exchange("broken"),
            exchange("stolen"),
            "SELECT count(*) FROM repair WHERE kind = 'device'",
        ),
        case(Method::POST, "/v1/providers", "/v1/providers".into(), arcade("North"), arcade("South"), "SELECT count(*) FROM provider"),
        case(
            Method::DELETE,
            "/v1/providers/{provider}",
            format!("/v1/providers/{}", provider["provider"].as_str().unwrap()),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM provider WHERE ended_at IS NOT NULL",
        ),
        case(Method::POST, "/v1/webhooks", "/v1/webhooks".into(), hook("North"), hook("South"), "SELECT count(*) FROM webhook"),
        case(
            Method::DELETE,
            "/v1/webhooks/{webhook}",
            format!("/v1/webhooks/{}", hooks[1]),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM webhook WHERE ended_at IS NOT NULL",
        ),
        case(
            Method::POST,
            "/v1/webhooks/{webhook}/rotate",
            format!("/v1/webhooks/{}/rotate", hooks[0]),
            json!({}),
            json!("a body"),
            "SELECT count(*) FROM webhook_secret",
        ),
        case(
            Method::POST,
            "/v1/webhooks/{webhook}/test",
            format!("/v1/webhooks/{}/test", hooks[0]),
            json!({}),
            json!("a body"),
            "SELECT count(*) FROM delivery",
        ),
        case(
            Method::POST,
            "/v1/webhooks/{webhook}/deliveries/{delivery}/resend",
            format!("/v1/webhooks/{}/deliveries/{}/resend", hooks[0], sent["delivery"].as_str().unwrap()),
            json!({}),
            json!("a body"),
            "SELECT count(*) FROM audit WHERE event = 'webhook.resent'",
        ),
        case(
            Method::PATCH,
            "/v1/titles/{title}/releases/{version}",
            "/v1/titles/sky-raider/releases/1.0".into(),
            json!({ "notes": "New." }),
            json!({ "notes": "Newer." }),
            "SELECT count(*) FROM audit WHERE event = 'release.changed'",
        ),
        case(
            Method::DELETE,
            "/v1/titles/{title}/pictures/{position}",
            "/v1/titles/sky-raider/pictures/1".into(),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM audit WHERE event = 'picture.removed'",
        ),
        case(
            Method::POST,
            "/v1/batches",
            "/v1/batches".into(),
            json!({ "titles": [{ "title": "sky-raider" }], "count": 3 }),
            json!({ "titles": [{ "title": "sky-raider" }], "count": 4 }),
            "SELECT count(*) FROM batch",
        ),
        case(
            Method::POST,
            "/v1/batches/{batch}/media",
            format!("/v1/batches/{elsewhere}/media"),
            medium_line("DISC-1"),
            medium_line("DISC-2"),
            "SELECT count(*) FROM audit WHERE event = 'media.imported'",
        ),
        case(
            Method::PATCH,
            "/v1/batches/{batch}/rights",
            format!("/v1/batches/{batch}/rights"),
            json!({ "rights": { "copies": 2 }, "reason": "a" }),
            json!({ "rights": { "copies": 3 }, "reason": "a" }),
            "SELECT count(*) FROM audit WHERE event = 'batch.rights_changed'",
        ),
        case(
            Method::POST,
            "/v1/batches/{batch}/media/rights",
            format!("/v1/batches/{batch}/media/rights"),
            json!({ "rights": { "copies": 4 }, "from": 3, "until": 3 }),
            json!({ "rights": { "copies": 5 }, "from": 3, "until": 3 }),
            "SELECT count(*) FROM audit WHERE event = 'media.rights_changed'",
        ),
        case(
            Method::POST,
            "/v1/batches/{batch}/refresh",
            format!("/v1/batches/{batch}/refresh"),
            json!({ "reason": "a" }),
            json!({ "reason": "b" }),
            "SELECT count(*) FROM audit WHERE event = 'batch.refresh_ordered'",
        ),
        case(
            Method::PATCH,
            "/v1/media/{medium_id}/rights",
            format!("/v1/media/{medium}/rights"),
            json!({ "rights": { "play": false } }),
            json!({ "rights": { "update": false } }),
            "SELECT count(*) FROM audit WHERE event = 'medium.rights_changed' AND detail LIKE '%\"play\":false%'",
        ),
        case(
            Method::POST,
            "/v1/media/{medium_id}/refresh",
            format!("/v1/media/{medium}/refresh"),
            json!({ "reason": "a" }),
            json!({ "reason": "b" }),
            "SELECT count(*) FROM audit WHERE event = 'medium.refresh_ordered'",
        ),
        case(
            Method::POST,
            "/v1/media/{medium_id}/retire",
            format!("/v1/media/{medium}/retire"),
            json!({ "reason": "a" }),
            json!({ "reason": "b" }),
            "SELECT count(*) FROM audit WHERE event = 'medium.retired'",
        ),
        case(
            Method::POST,
            "/v1/cards",
            "/v1/cards".into(),
            json!({ "cards": [CardId::from_bytes([2; 16])] }),
            json!({ "cards": [CardId::from_bytes([3; 16])] }),
            "SELECT count(*) FROM holder",
        ),
        case(
            Method::POST,
            "/v1/cards/{card_id}/revoke",
            format!("/v1/cards/{card}/revoke"),
            json!({ "reason": "a" }),
            json!({ "reason": "b" }),
            "SELECT count(*) FROM holder WHERE state = 'dead'",
        ),
        case(
            Method::POST,
            "/v1/users",
            "/v1/users".into(),
            json!({ "name": "Ada Lovelace", "device": { "device_id": DeviceId::from_bytes([1; 16]) } }),
            json!({ "name": "Ada Lovelace" }),
            "SELECT count(*) FROM audit WHERE event = 'user.assigned'",
        ),
        case(
            Method::POST,
            "/v1/people",
            "/v1/people".into(),
            json!({ "name": "Mary Somerville" }),
            json!({ "name": "Caroline Herschel" }),
            "SELECT count(*) FROM audit WHERE event = 'users.imported'",
        ),
        case(
            Method::POST,
            "/v1/people/{user_id}/erase",
            format!("/v1/people/{}/erase", leaving["user_id"].as_str().unwrap()),
            json!({ "reason": "asked for" }),
            json!({ "reason": "asked for again" }),
            "SELECT count(*) FROM audit WHERE event = 'person.erased'",
        ),
        case(
            Method::POST,
            "/v1/users/{user_id}/devices",
            format!("/v1/users/{}/devices", user["user_id"].as_str().unwrap()),
            json!({ "device_id": DeviceId::from_bytes([2; 16]), "name": "desk" }),
            json!({ "device_id": DeviceId::from_bytes([2; 16]), "name": "sofa" }),
            "SELECT count(*) FROM device_info",
        ),
        case(
            Method::POST,
            "/v1/entries/{user_id}/reissue",
            format!("/v1/entries/{}/reissue", lost.user.unwrap()),
            new_card("lost"),
            new_card("lost again"),
            "SELECT count(*) FROM repair WHERE kind = 'card'",
        ),
        case(
            Method::POST,
            "/v1/entries/{user_id}/reissues/{reissue_id}/decline",
            format!("/v1/entries/{}/reissues/{waiting}/decline", asks.user.unwrap()),
            json!({ "reason": "nobody answers" }),
            json!({ "reason": "another one" }),
            "SELECT count(*) FROM reissue WHERE state = 'declined'",
        ),
        case(
            Method::POST,
            "/v1/users/{user_id}/balance",
            format!("/v1/users/{buyer}/balance"),
            json!({ "amount": 500, "currency": "EUR" }),
            json!({ "amount": 600, "currency": "EUR" }),
            "SELECT count(*) FROM balance_entry",
        ),
        case(
            Method::POST,
            "/v1/users/{user_id}/orders/{order_id}/paid",
            format!("/v1/users/{buyer}/orders/{}/paid", orders[0].order_id),
            json!({}),
            json!({ "note": "a" }),
            "SELECT count(*) FROM orders WHERE state = 'paid'",
        ),
        case(
            Method::POST,
            "/v1/users/{user_id}/orders/{order_id}/refund",
            format!("/v1/users/{buyer}/orders/{}/refund", orders[1].order_id),
            json!({ "note": "a" }),
            json!({ "note": "b" }),
            "SELECT count(*) FROM orders WHERE state = 'ended'",
        ),
        case(
            Method::POST,
            "/v1/users/{user_id}/orders/{order_id}/chargeback",
            format!("/v1/users/{buyer}/orders/{}/chargeback", orders[2].order_id),
            json!({ "note": "a" }),
            json!({ "note": "b" }),
            "SELECT count(*) FROM orders WHERE state = 'ended'",
        ),
        case(
            Method::POST,
            "/v1/users/{user_id}/licenses/{license_id}/revoke",
            format!("/v1/users/{buyer}/licenses/{}/revoke", orders[3].license_id),
            json!({ "note": "a" }),
            json!({ "note": "b" }),
            "SELECT count(*) FROM license WHERE state = 'ended'",
        ),
        case(
            Method::POST,
            "/v1/staff",
            "/v1/staff".into(),
            json!({ "role": "support", "name": "one" }),
            json!({ "role": "support", "name": "two" }),
            "SELECT count(*) FROM staff",
        ),
        case(
            Method::POST,
            "/v1/staff/{id}/link",
            format!("/v1/staff/{forgetful}/link"),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM audit WHERE event = 'staff.link_made'",
        ),
        case(
            Method::POST,
            "/v1/staff/{id}/end",
            format!("/v1/staff/{quitting}/end"),
            json!({ "reason": "left" }),
            json!({ "reason": "asked to" }),
            "SELECT count(*) FROM staff WHERE ended_at IS NOT NULL",
        ),
        case(
            Method::POST,
            "/v1/tokens",
            "/v1/tokens".into(),
            json!({ "role": "operator", "name": "one" }),
            json!({ "role": "operator", "name": "two" }),
            "SELECT count(*) FROM token",
        ),
        case(
            Method::DELETE,
            "/v1/tokens/{id}",
            format!("/v1/tokens/{}", token["id"].as_str().unwrap()),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM token WHERE revoked_at IS NOT NULL",
        ),
    ]
}

/// A user who has ordered four titles.
async fn bought(server: &TestServer) -> (UserId, Vec<OrderResult>) {
    let terminal = Terminal::registered(server).await;
    let mut orders = vec![];
    for title in ["game-1", "game-2", "game-3", "game-4"] {
        publish(server, "blue-fox", title, "1.0").await;
        let listing = json!({ "on_sale": true, "prices": [{ "amount": 1999, "currency": "EUR" }] });
        let listed = catalogue::json_request(Method::PUT, &format!("/v1/titles/{title}/listing"), &server.operator, &listing);
        server.send(listed).await.expect(200);
        orders.push(terminal.order(server, title, "19.99 EUR").await.unwrap());
    }
    (terminal.user.unwrap(), orders)
}

async fn send(server: &TestServer, case: &Case, key: &str, body: &str) -> Answer {
    let kind = if case.path.ends_with("/media") { "application/x-ndjson" } else { "application/json" };
    let request = catalogue::request(case.method.clone(), &case.path, &server.operator)
        .header("content-type", kind)
        .header("idempotency-key", key)
        .body(Body::from(body.to_owned()));
    server.send(request.unwrap()).await
}

/// What is wrong with how a route keeps the promise; nothing when it does.
async fn complaints(db: &TestDb, server: &TestServer, case: &Case) -> Vec<String> {
    let name = format!("{} {}", case.method, case.template);
    let before = db.number(case.effect).await;
    let answers = futures_util::future::join_all((0..100).map(|_| send(server, case, "key-1", &case.body))).await;
    let mut complaints = vec![];
    let first = &answers[0];
    if !first.status.is_success() {
        complaints.push(format!("{name}: {} {}", first.status, String::from_utf8_lossy(&first.body)));
    }
    if answers.iter().any(|answer| (answer.status, &answer.body) != (first.status, &first.body)) {
        complaints.push(format!("{name}: a hundred requests were answered differently"));
    }
    let effects = db.number(case.effect).await - before;
    if effects != 1 {
        complaints.push(format!("{name}: {effects} effects of a hundred requests"));
    }
    let other = send(server, case, "key-1", &case.other).await;
    if (other.status.as_u16(), other.code().as_str()) != (422, "idempotency_mismatch") {
        complaints.push(format!("{name}: another body was answered {} {}", other.status, other.code()));
    }
    // The next day but one, the key is new again; until then it is remembered.
    if db.number(case.effect).await - before != 1 {
        complaints.push(format!("{name}: another body had an effect"));
    }
    complaints
}

db_test!(every_mutating_route_takes_effect_once, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let cases = cases(&server).await;
    let openapi = serde_json::to_value(router::openapi(&server.app)).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in openapi["paths"].as_object().unwrap() {
        for method in ["post", "put", "patch", "delete"] {
            if item.get(method).is_some() {
                described.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let covered: BTreeSet<String> = cases
        .iter()
        .map(|case| format!("{} {}", case.method, case.template))
        .chain(NATURAL.iter().map(|name| (*name).to_owned()))
        .collect();
    assert_eq!(described, covered, "every mutating route is tried, and no other");
    let mut wrong = vec![];
    for case in &cases {
        wrong.extend(complaints(&db, &server, case).await);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
});

db_test!(the_runner_notices_when_the_layer_is_gone, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let cases = cases(&server).await;
    // The planted bug: keys never reach the layer.
    async fn without_key(mut request: Request, next: Next) -> axum::response::Response {
        request.headers_mut().remove("idempotency-key");
        next.run(request).await
    }
    let broken = TestServer { router: Router::new().merge(server.router.clone()).layer(from_fn(without_key)), ..server };
    for case in &cases {
        let wrong = complaints(&db, &broken, case).await;
        assert!(!wrong.is_empty(), "{} {} passes without the layer", case.method, case.template);
    }
});

db_test!(a_key_is_the_callers_own_and_is_forgotten_after_a_day, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let body = json!({ "titles": [{ "title": "sky-raider" }], "count": 1 });
    let post = async |token: &str, key: &str| {
        let request = catalogue::request(Method::POST, "/v1/batches", token)
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        server.send(request.body(body.to_string().into()).unwrap()).await
    };
    let first = post(&server.fox, "k").await.expect(201);
    assert_eq!(post(&server.fox, "k").await.expect(201), first);
    let spelt = catalogue::request(Method::POST, "/v1/batches", "")
        .header("authorization", format!("bearer  {}", server.fox))
        .header("content-type", "application/json")
        .header("idempotency-key", "k");
    assert_eq!(server.send(spelt.body(body.to_string().into()).unwrap()).await.expect(201), first, "the scheme in another spelling");
    assert_ne!(post(&server.operator, "k").await.expect(201), first, "the key of another caller");
    assert_ne!(post(&server.fox, "l").await.expect(201), first, "another key");
    server.app.clock.set(Timestamp(NOW.0 + Timestamp::DAY - 1));
    assert_eq!(post(&server.fox, "k").await.expect(201), first);
    server.app.clock.set(Timestamp(NOW.0 + Timestamp::DAY + 1));
    assert_ne!(post(&server.fox, "k").await.expect(201), first, "a day later");
    for bad in ["", &"x".repeat(256)] {
        assert_eq!(post(&server.fox, bad).await.status, 400);
    }
});

db_test!(a_refused_request_leaves_its_key_free_for_the_same_request, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let new = json!({ "title": "later", "name": "Later", "kind": "app", "publisher": "red-owl" });
    let post = async || {
        let request = catalogue::request(Method::POST, "/v1/titles", &server.operator)
            .header("content-type", "application/json")
            .header("idempotency-key", "k");
        server.send(request.body(new.to_string().into()).unwrap()).await
    };
    assert_eq!(post().await.status, 422, "no such publisher yet");
    server.post(&server.operator, "/v1/publishers", &json!({ "id": "red-owl", "name": "Red Owl" })).await.expect(201);
    let made = post().await.expect(201);
    assert_eq!(post().await.expect(201), made);
});

db_test!(a_recorded_token_is_not_readable_in_the_database, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let request = catalogue::request(Method::POST, "/v1/tokens", &server.operator)
        .header("content-type", "application/json")
        .header("idempotency-key", "k")
        .body(json!({ "role": "operator", "name": "n" }).to_string().into());
    let token = server.send(request.unwrap()).await.expect(201)["token"].as_str().unwrap().to_owned();
    let answers = db
        .read("test", async |tx: &mut counterfoil_server::db::Tx| -> Result<Vec<(Vec<u8>,)>, counterfoil_server::db::DbError> {
            tx.query("SELECT answer FROM request").all().await
        })
        .await
        .unwrap();
    assert_eq!(answers.len(), 2, "the key's, and the effect's");
    let secret = token.rsplit('_').next().unwrap().as_bytes();
    assert!(answers.iter().all(|(answer,)| !answer.windows(8).any(|window| window == &secret[..8])));
});

db_test!(a_failure_at_any_statement_leaves_all_or_nothing, |options| options.retry_for = Duration::from_millis(5), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let cases = cases(&server).await;
    for case in &cases {
        let name = format!("{} {}", case.method, case.template);
        let before = db.number(case.effect).await;
        let mut failed = 0;
        // Each time one statement later, until there is no statement left to fail.
        let done = loop {
            db.faults.arm(Fault::Statement(failed), Lasting::ForGood);
            let answer = send(&server, case, "key-1", &case.body).await;
            let fired = db.faults.fired();
            db.faults.disarm();
            if fired == 0 {
                break answer;
            }
            assert_eq!(answer.code(), "unavailable", "{name}, statement {failed}");
            assert_eq!(answer.header("retry-after"), "1");
            assert_eq!(db.number(case.effect).await, before, "{name}, statement {failed}: half an effect");
            failed += 1;
        };
        assert!(done.status.is_success(), "{name}: {}", done.status);
        assert!(failed >= 4, "{name}: only {failed} statements");
        assert_eq!(db.number(case.effect).await, before + 1, "{name}");
    }
});

db_test!(an_answer_of_the_database_that_is_lost_changes_nothing, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let cases = cases(&server).await;
    for case in &cases {
        let name = format!("{} {}", case.method, case.template);
        let before = db.number(case.effect).await;
        // The first COMMIT binds the key, the second is that of the effect.
        db.faults.arm(Fault::CommitAnswer(1), Lasting::Once);
        let answer = send(&server, case, "key-1", &case.body).await;
        assert_eq!(db.faults.fired(), 1, "{name}");
        db.faults.disarm();
        assert!(answer.status.is_success(), "{name}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        assert_eq!(db.number(case.effect).await, before + 1, "{name}");
        let again = send(&server, case, "key-1", &case.body).await;
        assert_eq!((again.status, again.body), (answer.status, answer.body), "{name}");
    }
});

db_test!(without_a_key_a_lost_answer_makes_no_second_batch, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    db.faults.arm(Fault::CommitAnswer(0), Lasting::Once);
    catalogue::press(&server, &server.fox, "sky-raider", 3).await;
    assert_eq!((db.faults.fired(), db.number("SELECT count(*) FROM batch").await), (1, 1));
});

db_test!(a_write_that_goes_past_the_layer_is_noticed, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    // A handler that forgets `Once`, behind the same layers as every other.
    let careless = Router::new()
        .route("/careless", axum::routing::post(async || "done"))
        .layer(from_fn_with_state(server.app.clone(), idempotency::layer))
        .layer(from_fn_with_state((server.app.clone(), Admit::Operator), auth::require));
    let post = async |key: Option<&str>| {
        let mut request = catalogue::request(Method::POST, "/careless", &server.operator);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        careless.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    };
    assert_eq!((post(None).await.as_u16(), post(Some("k")).await.as_u16()), (200, 500));
});
