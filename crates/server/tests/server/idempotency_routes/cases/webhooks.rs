//! Providers and webhooks: servers of others that are asked and told.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::support::catalogue::TestServer;

pub async fn cases(server: &TestServer) -> Vec<Case> {
    let arcade = |name: &str| json!({ "name": name, "url": "https://arcade.example", "publishers": ["blue-fox"] });
    let provider = server.post(&server.operator, "/v1/providers", &arcade("East")).await.expect(201);
    let hook = |name: &str| json!({ "name": name, "url": "https://hooks.example", "events": ["*"] });
    let mut hooks = vec![];
    for name in ["stays", "ends"] {
        hooks.push(server.post(&server.operator, "/v1/webhooks", &hook(name)).await.expect(201)["webhook"].as_str().unwrap().to_owned());
    }
    let sent = server.post(&server.operator, &format!("/v1/webhooks/{}/test", hooks[0]), &json!({})).await.expect(201);
    vec![
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
    ]
}
