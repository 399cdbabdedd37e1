//! Publishers, titles with their releases and rules, and the contents servers that select by rules.

use axum::http::Method;
use counterfoil_format::content::ObjectName;
use counterfoil_format::hpke::{DiffieHellman as _, SealingKey};
use counterfoil_format::secret::Secret;
use serde_json::{Value, json};

use super::{Case, case};
use crate::support::catalogue::{self, TestServer, publisher_key, release};

pub async fn cases(server: &TestServer) -> Vec<Case> {
    let title = |name: &str| json!({ "title": "moon-raider", "name": name, "kind": "game", "publisher": "blue-fox" });
    let recipient = |seed| json!({ "recipient": SealingKey::from_seed(&Secret::new([seed; 32])).public_key() });
    for bytes in [catalogue::manifest_bytes("sky-raider", "2.0"), catalogue::pack_bytes("sky-raider", "2.0")] {
        server.put(&server.operator, &format!("/v1/contents/{}", ObjectName::of(&bytes)), bytes).await.expect(201);
    }
    let mut release_other = release("blue-fox", "sky-raider", "2.0");
    release_other["objects"].as_array_mut().unwrap().reverse();
    let packed = catalogue::pack_bytes("sky-raider", "1.0");
    let patch = |encoder: &str| json!({ "from": "0.9", "to": "1.0", "object": ObjectName::of(&packed), "length": packed.len(), "encoder": encoder });
    let deltas = |covered: u64| {
        let mut deltas = patch("zstd 1.5.7");
        deltas["covered"] = covered.into();
        deltas
    };
    server.put_picture(&server.fox, "sky-raider", 1, &catalogue::png(1)).await.expect(200);
    let rule = json!({ "condition": "true" });
    server.put_json(&server.fox, "/v1/titles/sky-raider/rules/game-1", &rule).await.expect(200);
    let studio = |name: &str| {
        let titles = json!([{ "title": "sky-raider", "supplement": "game-1" }]);
        json!({ "name": name, "url": "https://studio.example", "key": publisher_key("studio").1, "titles": titles })
    };
    let registered = server.post(&server.operator, "/v1/contents-servers", &studio("East")).await.expect(201);
    vec![
        case(
            Method::POST,
            "/v1/publishers",
            "/v1/publishers".into(),
            json!({ "id": "red-owl", "name": "Red Owl", "key": publisher_key("red-owl").1 }),
            json!({ "id": "red-owl", "name": "Other" }),
            "SELECT count(*) FROM audit WHERE event = 'publisher.made'",
        ),
        case(
            Method::POST,
            "/v1/titles",
            "/v1/titles".into(),
            title("Moon"),
            title("Sun"),
            "SELECT count(*) FROM audit WHERE event = 'title.made'",
        ),
        case(
            Method::POST,
            "/v1/titles/{title}/content-key",
            "/v1/titles/sky-raider/content-key".into(),
            recipient(1),
            recipient(2),
            "SELECT count(*) FROM audit WHERE event = 'content_key.handed_out'",
        ),
        case(
            Method::POST,
            "/v1/titles/{title}/releases",
            "/v1/titles/sky-raider/releases".into(),
            release("blue-fox", "sky-raider", "2.0"),
            release_other,
            "SELECT count(*) FROM audit WHERE event = 'release.published'",
        ),
        case(
            Method::POST,
            "/v1/titles/{title}/deltas",
            "/v1/titles/sky-raider/deltas".into(),
            deltas(9),
            deltas(8),
            "SELECT count(*) FROM audit WHERE event = 'delta.published'",
        ),
        case(
            Method::POST,
            "/v1/titles/{title}/patches",
            "/v1/titles/sky-raider/patches".into(),
            patch("zstd 1.5.7"),
            patch("zstd 1.5.6"),
            "SELECT count(*) FROM audit WHERE event = 'patch.published'",
        ),
        case(
            Method::DELETE,
            "/v1/titles/{title}/rules/{supplement}",
            "/v1/titles/sky-raider/rules/game-1".into(),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM audit WHERE event = 'rule.removed'",
        ),
        case(
            Method::POST,
            "/v1/contents-servers",
            "/v1/contents-servers".into(),
            studio("North"),
            studio("South"),
            "SELECT count(*) FROM contents_server",
        ),
        case(
            Method::DELETE,
            "/v1/contents-servers/{server}",
            format!("/v1/contents-servers/{}", registered["server"].as_str().unwrap()),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM contents_server WHERE ended_at IS NOT NULL",
        ),
        case(
            Method::PATCH,
            "/v1/titles/{title}/releases/{version}",
            "/v1/titles/sky-raider/releases/1.0".into(),
            json!({ "notes": "New." }),
            json!({ "notes": "Newer." }),
            "SELECT count(*) FROM audit WHERE event = 'release.changed'",
        ),
        case(
            Method::DELETE,
            "/v1/titles/{title}/pictures/{position}",
            "/v1/titles/sky-raider/pictures/1".into(),
            Value::Null,
            json!("a body"),
            "SELECT count(*) FROM audit WHERE event = 'picture.removed'",
        ),
    ]
}
