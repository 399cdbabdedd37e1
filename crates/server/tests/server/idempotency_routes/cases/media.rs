//! Batches and the media in them.

use axum::http::Method;
use counterfoil_core::MediumId;
use serde_json::json;

use super::{Case, case};
use crate::support::catalogue::{self, TestServer};

pub async fn cases(server: &TestServer) -> Vec<Case> {
    let batch = catalogue::press(server, &server.operator, "sky-raider", 5).await["batch"].as_str().unwrap().to_owned();
    let medium = MediumId::pressed(batch.parse().unwrap(), 1);
    let imported = json!({ "titles": [{ "title": "sky-raider" }], "imported": true });
    let elsewhere = server.post(&server.operator, "/v1/batches", &imported).await.expect(201)["batch"].as_str().unwrap().to_owned();
    let medium_line = |id: &str| json!({ "medium_id": id });
    vec![
        case(
            Method::POST,
            "/v1/batches",
            "/v1/batches".into(),
            json!({ "titles": [{ "title": "sky-raider" }], "count": 3 }),
            json!({ "titles": [{ "title": "sky-raider" }], "count": 4 }),
            "SELECT count(*) FROM batch",
        ),
        case(
            Method::POST,
            "/v1/batches/{batch}/media",
            format!("/v1/batches/{elsewhere}/media"),
            medium_line("DISC-1"),
            medium_line("DISC-2"),
            "SELECT count(*) FROM audit WHERE event = 'media.imported'",
        ),
        case(
            Method::PATCH,
            "/v1/batches/{batch}/rights",
            format!("/v1/batches/{batch}/rights"),
            json!({ "rights": { "copies": 2 }, "reason": "a" }),
            json!({ "rights": { "copies": 3 }, "reason": "a" }),
            "SELECT count(*) FROM audit WHERE event = 'batch.rights_changed'",
        ),
        case(
            Method::POST,
            "/v1/batches/{batch}/media/rights",
            format!("/v1/batches/{batch}/media/rights"),
            json!({ "rights": { "copies": 4 }, "from": 3, "until": 3 }),
            json!({ "rights": { "copies": 5 }, "from": 3, "until": 3 }),
            "SELECT count(*) FROM audit WHERE event = 'media.rights_changed'",
        ),
        case(
            Method::POST,
            "/v1/batches/{batch}/refresh",
            format!("/v1/batches/{batch}/refresh"),
            json!({ "reason": "a" }),
            json!({ "reason": "b" }),
            "SELECT count(*) FROM audit WHERE event = 'batch.refresh_ordered'",
        ),
        case(
            Method::PATCH,
            "/v1/media/{medium_id}/rights",
            format!("/v1/media/{medium}/rights"),
            json!({ "rights": { "play": false } }),
            json!({ "rights": { "update": false } }),
            "SELECT count(*) FROM audit WHERE event = 'medium.rights_changed' AND detail LIKE '%\"play\":false%'",
        ),
        case(
            Method::POST,
            "/v1/media/{medium_id}/refresh",
            format!("/v1/media/{medium}/refresh"),
            json!({ "reason": "a" }),
            json!({ "reason": "b" }),
            "SELECT count(*) FROM audit WHERE event = 'medium.refresh_ordered'",
        ),
        case(
            Method::POST,
            "/v1/media/{medium_id}/retire",
            format!("/v1/media/{medium}/retire"),
            json!({ "reason": "a" }),
            json!({ "reason": "b" }),
            "SELECT count(*) FROM audit WHERE event = 'medium.retired'",
        ),
    ]
}
