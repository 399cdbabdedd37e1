//! Accounts of a gateway (C16): made, guessed at, signed out of, closed.

use counterfoil_core::Timestamp;
use counterfoil_server::gateway::store::account;

use super::*;
use crate::support::{TestDb, db_test};

// proves: C16
db_test!(c16_ten_guesses_are_looked_at_and_then_nobody_is_let_in_for_a_while, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 0).await;
    let sign_in =
        async |name: &str, password: &str| rig.post("/v1/accounts/sign-in", "", &json!({ "name": name, "password": password })).await;
    assert_eq!(sign_in("Ada", "correct horse").await.status, 200);
    let (unknown, wrong) = (sign_in("nobody", "correct horse").await, sign_in("ada", "a wrong one").await);
    assert_eq!((unknown.status.as_u16(), unknown.code()), (401, wrong.code()));
    assert_eq!(unknown.json()["detail"], wrong.json()["detail"], "nobody is told which was wrong");
    for _ in 0..9 {
        sign_in("ada", "a wrong one").await;
    }
    assert_eq!(sign_in("ada", "correct horse").await.status, 401, "not even the right one");
    rig.later(15 * 60 * 1000);
    assert_eq!(sign_in("ada", "correct horse").await.status, 200);
    for (bad, code) in [
        (json!({ "name": "x", "password": "correct horse" }), "unprocessable"),
        (json!({ "name": "carol", "password": "short" }), "unprocessable"),
        (json!({ "name": "carol", "password": "password123" }), "unprocessable"),
        (json!({ "name": "ADA", "password": "correct horse" }), "conflict"),
        (json!({ "name": "carol", "password": "correct horse", "email": "nothing" }), "unprocessable"),
    ] {
        assert_eq!(rig.post("/v1/accounts", "", &bad).await.code(), code, "{bad}");
    }
    rig.gone().await;
});

// proves: C16
db_test!(c16_a_token_lives_by_being_used_and_ends_at_once, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 0).await;
    for _ in 0..3 {
        rig.later(account::LIFE - Timestamp::DAY);
        assert_eq!(rig.get("/v1/account", &rig.token).await.status, 200);
    }
    rig.later(account::LIFE);
    assert_eq!(rig.get("/v1/account", &rig.token).await.code(), "account_needed");
    let signed = rig.post("/v1/accounts/sign-in", "", &json!({ "name": "ada", "password": "correct horse" })).await.expect(200);
    let token = signed["token"].as_str().unwrap();
    assert_eq!(rig.post("/v1/accounts/sign-out", token, &json!({})).await.status, 204);
    assert_eq!(rig.get("/v1/account", token).await.status, 401);
    assert_eq!(rig.get("/v1/account", "").await.status, 401);

    let signed = rig.post("/v1/accounts/sign-in", "", &json!({ "name": "ada", "password": "correct horse" })).await.expect(200);
    let (id, now) = (rig.account, rig.gateway.clock.now());
    let close = async move |tx: &mut Tx| account::close(tx, id, now).await;
    assert!(rig.db.write("close", account::family(id), close).await.unwrap());
    assert_eq!(rig.get("/v1/account", signed["token"].as_str().unwrap()).await.status, 401);
    assert_eq!(rig.post("/v1/accounts/sign-in", "", &json!({ "name": "ada", "password": "correct horse" })).await.status, 401);
    rig.gone().await;
});

#[test]
fn the_description_of_the_gateway_is_the_one_that_is_kept() {
    crate::support::on(
        crate::support::Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let rig = Rig::new(&db, 1, 0).await;
            let told = rig.get("/openapi.json", "").await;
            let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/openapi-gateway.json");
            let told = String::from_utf8(told.body).unwrap();
            if std::env::var_os("UPDATE_OPENAPI").is_some() {
                std::fs::write(golden, &told).unwrap();
            }
            assert!(std::fs::read_to_string(golden).unwrap_or_default() == told, "UPDATE_OPENAPI=1 writes {golden} anew");
            rig.gone().await;
        },
    );
}
