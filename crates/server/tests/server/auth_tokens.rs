//! Bearer tokens: who is let in, for how long, and what is said to others.

use crate::support;
use crate::support::catalogue;

use axum::body::Body;
use axum::http::{Method, Request};
use catalogue::{NOW, TestServer, request};
use counterfoil_core::Timestamp;
use serde_json::{Value, json};
use support::{TestDb, db_test};

db_test!(a_token_is_good_until_it_ends_or_is_taken_back, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let new = json!({ "role": "publisher", "tenant": "blue-fox", "name": "press", "expires_in_days": 1 });
    let nobodys = server.post(&server.operator, "/v1/tokens", &new).await.expect(422);
    assert_eq!(nobodys["detail"], "tenant: there is no publisher blue-fox");
    server.post(&server.operator, "/v1/publishers", &json!({ "id": "blue-fox", "name": "Blue Fox" })).await.expect(201);
    let made = server.post(&server.operator, "/v1/tokens", &new).await.expect(201);
    let (token, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let who = server.get(token, "/v1/whoami").await.expect(200);
    assert_eq!(who, json!({ "role": "publisher", "tenant": "blue-fox", "name": "press", "authority": "test.example" }));
    server.app.clock.set(Timestamp(NOW.0 + Timestamp::DAY - 1));
    server.get(token, "/v1/whoami").await.expect(200);
    server.app.clock.set(Timestamp(NOW.0 + Timestamp::DAY));
    assert_eq!(server.get(token, "/v1/whoami").await.expect(401)["code"], "unauthorized");
    server.app.clock.set(NOW);
    let gone = server.send(request(Method::DELETE, &format!("/v1/tokens/{id}"), &server.operator).body(Body::empty()).unwrap()).await;
    assert_eq!(gone.status, 204);
    assert_eq!(server.get(token, "/v1/whoami").await.status, 401);
    let listed = server.get(&server.operator, "/v1/tokens?limit=200").await.expect(200);
    let listed = listed["items"].as_array().unwrap().iter().find(|token| token["id"] == id).cloned().unwrap();
    assert_eq!(listed["revoked_at"], "2026-01-01T00:00:00Z");
    assert!(!listed.to_string().contains("cft_"), "never shown again");
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event IN ('token.made', 'token.revoked')").await, 5);
});

db_test!(nobody_is_let_in_by_less_than_a_whole_token, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let good = &server.operator;
    let other_secret = {
        let mut text = good.clone();
        let last = text.pop().unwrap();
        text.pop();
        text + if last == 'A' { "BA" } else { "AA" }
    };
    let id_of_another = format!("cft_{}_{}", &server.fox[4..16], &good[17..]);
    for header in [
        String::new(),
        format!("Basic {good}"),
        good.clone(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {}", &good[..good.len() - 1]),
        format!("Bearer {good}x"),
        format!("Bearer {other_secret}"),
        format!("Bearer {id_of_another}"),
        format!("Bearer {}", good.to_uppercase()),
    ] {
        let request = Request::builder().uri("/v1/whoami").header("authorization", &header).body(Body::empty()).unwrap();
        let answer = server.send(request).await;
        assert_eq!(answer.status, 401, "{header}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    let request = Request::builder().uri("/v1/whoami").header("authorization", format!("bearer  {good} ")).body(Body::empty()).unwrap();
    assert_eq!(server.send(request).await.status, 200, "the scheme has no case");
});

db_test!(roles_are_kept_apart_and_wrong_wishes_refused, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    assert_eq!(server.get(&server.fox, "/v1/tokens").await.expect(403)["code"], "forbidden");
    assert_eq!(server.post(&server.fox, "/v1/tokens", &json!({ "role": "operator", "name": "x" })).await.status, 403);
    for wrong in [
        json!({ "role": "publisher", "name": "no tenant" }),
        json!({ "role": "operator", "tenant": "blue-fox", "name": "a tenant" }),
        json!({ "role": "operator", "name": "" }),
        json!({ "role": "operator", "name": "x".repeat(101) }),
        json!({ "role": "operator", "name": "x", "expires_in_days": 0 }),
        json!({ "role": "king", "name": "x" }),
        json!({ "role": "operator", "name": "x", "unknown": 1 }),
        Value::Null,
    ] {
        let answer = server.post(&server.operator, "/v1/tokens", &wrong).await;
        assert_eq!(answer.status, 422, "{wrong}");
    }
    let gone = server.send(request(Method::DELETE, "/v1/tokens/000000000000", &server.operator).body(Body::empty()).unwrap()).await;
    assert_eq!(gone.status, 404);
});
