//! Every mutating route of the OpenAPI document, sent a hundred times at once: one effect, one answer; another body is refused.

mod cases;

use crate::support;
use crate::support::catalogue;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use cases::Case;
use catalogue::{Answer, NOW, TestServer, publish};
use counterfoil_core::Timestamp;
use counterfoil_server::auth::{self, Admit};
use counterfoil_server::db::{Fault, Lasting};
use counterfoil_server::{idempotency, router};
use serde_json::json;
use support::{TestDb, db_test};
use tower::ServiceExt as _;

/// Routes that need no key: an upload's name says what it holds, a publisher's key is set once, listings, pictures and rules are
/// put as they shall be, rules are tried without an effect, and a terminal's request has an ID of its own, as has the presentation that a
/// provider has judged: providers.rs sends one from many sides at once. A piece of an upload says where it begins.
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
    if db.number(case.effect).await - before != 1 {
        complaints.push(format!("{name}: another body had an effect"));
    }
    complaints
}

db_test!(every_mutating_route_takes_effect_once, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let cases = cases::all(&server).await;
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
    let cases = cases::all(&server).await;
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
    let cases = cases::all(&server).await;
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
    let cases = cases::all(&server).await;
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
