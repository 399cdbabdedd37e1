//! The operator's colleagues, and tokens.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::support::catalogue::TestServer;

pub async fn cases(server: &TestServer) -> Vec<Case> {
    let colleague = async |name: &str| {
        let new = json!({ "role": "support", "name": name });
        server.post(&server.operator, "/v1/staff", &new).await.expect(201)["id"].as_str().unwrap().to_owned()
    };
    let (forgetful, quitting) = (colleague("Forgetful").await, colleague("Leaving").await);
    let token = server.post(&server.operator, "/v1/tokens", &json!({ "role": "operator", "name": "old" })).await.expect(201);
    vec![
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
