//! Cards, users, and the exchanges and reissues in their entries.

use axum::http::Method;
use counterfoil_core::{CardId, DeviceId};
use serde_json::json;

use super::{Case, case};
use crate::reissue::card_keys;
use crate::support::catalogue::TestServer;
use crate::support::terminal::Terminal;

pub async fn cases(server: &TestServer) -> Vec<Case> {
    let card = CardId::from_bytes([1; 16]).to_string();
    server.post(&server.operator, "/v1/cards", &json!({ "cards": [card] })).await.expect(200);
    let user = server.post(&server.operator, "/v1/users", &json!({ "name": "Charles Babbage" })).await.expect(201);
    let leaving = server.post(&server.operator, "/v1/users", &json!({ "name": "Annabella Milbanke" })).await.expect(201);
    let entry = Terminal::registered(server).await;
    let exchange = |reason: &str| {
        let new = DeviceId::from_bytes([17; 16]);
        json!({ "kind": "device", "old": entry.device_id().unwrap(), "new": new, "reason": reason })
    };
    let (lost, asks) = (Terminal::registered(server).await, Terminal::registered(server).await);
    let code = asks.recovery_code(server).await.unwrap();
    let waiting = asks.with_new_card().reissue(server, asks.user.unwrap(), &code).await.unwrap().reissue_id;
    let new_card = |reason: &str| json!({ "card": card_keys(&Terminal::just_a_card()), "reason": reason });
    vec![
        case(
            Method::POST,
            "/v1/entries/{user_id}/exchange",
            format!("/v1/entries/{}/exchange", entry.user.unwrap()),
            exchange("broken"),
            exchange("stolen"),
            "SELECT count(*) FROM repair WHERE kind = 'device'",
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
    ]
}
