//! What is sent to each route that needs a key, by area.

mod catalogue;
mod gateways;
mod media;
mod people;
mod staff;
mod store;
mod webhooks;

use axum::http::Method;
use serde_json::Value;

use crate::support::catalogue::{TestServer, publish};

/// All of them, with everything that they need in place.
pub async fn all(server: &TestServer) -> Vec<Case> {
    publish(server, "blue-fox", "sky-raider", "0.9").await;
    publish(server, "blue-fox", "sky-raider", "1.0").await;
    // First, for rules and contents servers name a title that is ordered here.
    let mut cases = store::cases(server).await;
    cases.extend(catalogue::cases(server).await);
    cases.extend(media::cases(server).await);
    cases.extend(people::cases(server).await);
    cases.extend(gateways::cases(server).await);
    cases.extend(webhooks::cases(server).await);
    cases.extend(staff::cases(server).await);
    cases
}

/// One request to a mutating route, and another body for the same route.
pub struct Case {
    pub method: Method,
    pub template: &'static str,
    pub path: String,
    pub body: String,
    pub other: String,
    /// Counts the effect: once done, it has grown by one, however often it was asked for.
    pub effect: &'static str,
}

fn case(method: Method, template: &'static str, path: String, body: Value, other: Value, effect: &'static str) -> Case {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Case { method, template, path, body, other: other.to_string(), effect }
}
