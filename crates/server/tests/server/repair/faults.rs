//! Every statement and every commit of an exchange, and of what it tells, fails once in turn (`testing.md`, row 3); what got no answer is
//! repeated (row 2).

use axum::http::Method;
use counterfoil_server::db::{Fault, Lasting};

use super::*;
use crate::support::breaking::impatient;
use crate::support::{Engine, on};

/// Statements in an exchange with what it tells, at most.
const MOST: u64 = 120;

async fn keyed(server: &TestServer, user: UserId, body: &Value, key: &str) -> Answer {
    let path = format!("/v1/entries/{user}/exchange");
    let request = catalogue::request(Method::POST, &path, &server.operator)
        .header("idempotency-key", key)
        .header("content-type", "application/json")
        .body(axum::body::Body::from(body.to_string()))
        .unwrap();
    server.send(request).await
}

async fn break_exchanges(db: TestDb) {
    let server = TestServer::new(&db).await;
    terminal::media(&server, "sky-raider", 1, json!({})).await;
    sales::list(&db, "sky-raider", &["1.00 EUR"], json!({ "transfers": 0 })).await;
    let mut struck = 0;
    for kind in [Fault::Statement, Fault::Commit, Fault::CommitAnswer] {
        for place in 0.. {
            assert!(place < MOST, "the fault never ended");
            let (medium, owner) = claimed(&server).await;
            owner.order(&server, "sky-raider", "1.00 EUR").await.unwrap();
            let license = owner.license(&server, "sky-raider").await.unwrap();
            deliver(&server).await;
            let new = device();
            let body = swap("device", owner.device_id().unwrap(), Some(new.0.to_string()));
            let (user, key) = (owner.user.unwrap(), format!("{:?}", kind(place)));
            db.faults.arm(kind(place), Lasting::Once);
            let first = keyed(&server, user, &body, &key).await;
            let fired = db.faults.fired();
            db.faults.disarm();
            struck += fired;
            if first.status != 200 {
                assert_eq!((first.status.as_u16(), first.code().as_str()), (503, "unavailable"), "{key}");
            }
            // Whether it was answered or not: the same again has one effect, and one answer.
            let again = keyed(&server, user, &body, &key).await.expect(200);
            let once_more = keyed(&server, user, &body, &key).await.expect(200);
            assert_eq!(again, once_more, "{key}");
            assert!(first.status != 200 || first.json() == again, "{key}");
            deliver(&server).await;
            // A message whose delivery failed is put off, and not lost.
            db.run("UPDATE outbox SET due_at = 0").await;
            deliver(&server).await;
            let entry = server.get(&server.operator, &format!("/v1/entries/{user}")).await.json();
            assert_eq!((&entry["generation"], entry["repairs"].as_array().map(Vec::len)), (&json!(1), Some(1)), "{key}");
            let mut next = Terminal { device: Some(new), ..clone_of(&owner) };
            next.register(&server, owner.user).await.unwrap();
            next.claim(&server, &medium).await.unwrap();
            next.redeem(&server, license.transaction_id).await.unwrap();
            deliver(&server).await;
            assert_eq!(live(&db).await, 1, "{key}");
            if fired == 0 {
                break;
            }
        }
    }
    assert!(struck >= 30, "{struck} faults are too few to prove anything");
    is_clean(&db).await;
}

#[test]
fn c14_an_exchange_that_fails_anywhere_is_whole_or_not_there_sqlite() {
    on(Engine::Sqlite, impatient, break_exchanges);
}

#[test]
fn c14_an_exchange_that_fails_anywhere_is_whole_or_not_there_postgres() {
    on(Engine::Postgres, impatient, break_exchanges);
}
