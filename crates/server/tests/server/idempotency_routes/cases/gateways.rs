//! Gateways of resellers: their prices, terms and settlements.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::support::catalogue::TestServer;

pub async fn cases(server: &TestServer) -> Vec<Case> {
    let reseller = |name: &str| json!({ "name": name, "share": 3000 });
    let mut resellers = vec![];
    for name in ["stays", "ends"] {
        let made = server.post(&server.operator, "/v1/gateways", &reseller(name)).await.expect(201);
        resellers.push(format!("/v1/gateways/{}", made["gateway"].as_str().unwrap()));
    }
    let price = format!("{}/prices/sky-raider", resellers[0]);
    server.put_json(&server.operator, &price, &json!({ "amount": 1999, "currency": "EUR" })).await.expect(200);
    sold_through(server, resellers[0].rsplit('/').next().unwrap()).await;
    vec![
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
    ]
}

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
