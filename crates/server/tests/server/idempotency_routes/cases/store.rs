//! Balances, and what became of orders and licenses.

use axum::http::Method;
use counterfoil_core::UserId;
use counterfoil_core::wire::OrderResult;
use serde_json::json;

use super::{Case, case};
use crate::support::catalogue::{self, TestServer, publish};
use crate::support::terminal::Terminal;

pub async fn cases(server: &TestServer) -> Vec<Case> {
    let (buyer, orders) = bought(server).await;
    vec![
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
