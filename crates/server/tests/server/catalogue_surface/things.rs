//! What is asked for: things of a publisher, and the same of nobody.

use counterfoil_core::{BatchId, CardId, ContentsServerId, DeliveryId, GatewayId, HolderId, MediumId, ProviderId, UserId, WebhookId};
use counterfoil_format::content::{Feed, ObjectName};
use counterfoil_server::db::{DbError, Tx};
use serde_json::{Value, json};

use crate::support::TestDb;
use crate::support::catalogue::{self, TestServer, publish};

/// Things of `blue-fox`, and of nobody.
pub struct Things {
    pub batch: String,
    pub imported: String,
    pub medium: String,
    pub card: String,
    pub user: String,
    pub object: ObjectName,
    pub picture: ObjectName,
    pub token: String,
    pub colleague: String,
    pub studio: String,
    pub provider: String,
    pub gateways: [String; 2],
    pub hooks: Hooks,
}

/// Webhooks.
pub struct Hooks {
    stays: String,
    /// Something that it was told.
    delivery: String,
    ended: String,
}

impl Hooks {
    pub async fn of_the_fox(server: &TestServer) -> Self {
        let make = async || {
            let made = server.post(&server.fox, "/v1/webhooks", &new_webhook()).await.expect(201);
            made["webhook"].as_str().unwrap().to_owned()
        };
        let (stays, ended) = (make().await, make().await);
        let sent = server.post(&server.fox, &format!("/v1/webhooks/{stays}/test"), &json!({})).await.expect(201);
        Self { stays, delivery: sent["delivery"].as_str().unwrap().to_owned(), ended }
    }

    pub fn of_nobody() -> Self {
        let webhook = WebhookId::from_bytes([0xee; 16]).to_string();
        Self { stays: webhook.clone(), delivery: DeliveryId::from_bytes([0xee; 16]).to_string(), ended: webhook }
    }

    pub fn target(&self, route: &str) -> String {
        let (method, path) = route.split_once(' ').unwrap();
        path.replace("{webhook}", if method == "DELETE" { &self.ended } else { &self.stays }).replace("{delivery}", &self.delivery)
    }
}

pub fn new_webhook() -> Value {
    json!({ "name": "Sales", "url": "https://hooks.example/x", "events": ["medium.*"] })
}

impl Things {
    pub async fn of_the_fox(server: &TestServer, db: &TestDb) -> Self {
        publish(server, "blue-fox", "sky-raider", "1.1").await;
        publish(server, "blue-fox", "sky-raider", "1.0").await;
        publish(server, "red-owl", "night-owl", "1.0").await;
        publish(server, "blue-fox", "chapter-4", "1.0").await;
        let rule = json!({ "condition": "true" });
        server.put_json(&server.fox, "/v1/titles/sky-raider/rules/chapter-4", &rule).await.expect(200);
        let studio = server.post(&server.operator, "/v1/contents-servers", &studio("sky-raider")).await.expect(201);
        server.put_json(&server.fox, "/v1/titles/sky-raider/listing", &catalogue::listing()).await.expect(200);
        server.put_json(&server.fox, "/v1/titles/sky-raider/feed", &feed()).await.expect(200);
        server.put_picture(&server.fox, "sky-raider", 1, &catalogue::png(1)).await.expect(200);
        let batch = catalogue::press(server, &server.fox, "sky-raider", 5).await["batch"].as_str().unwrap().to_owned();
        let imported = json!({ "titles": [{ "title": "sky-raider" }], "imported": true });
        let imported = server.post(&server.fox, "/v1/batches", &imported).await.expect(201)["batch"].as_str().unwrap().to_owned();
        let card = CardId::from_bytes([1; 16]).to_string();
        server.post(&server.operator, "/v1/cards", &json!({ "cards": [card] })).await.expect(200);
        let user = UserId::from_bytes([1; 16]).to_string();
        let row = user.clone();
        db.write("test", "test", async move |tx: &mut Tx| -> Result<u64, DbError> {
            tx.query(
                "INSERT INTO user_entry (user_id, holder_id, holder_kind, sign_key, seal_key, state, created_at)
                 VALUES ($1, $2, 'card', $3, $3, 'active', 1)",
            )
            .bind(&row)
            .bind(HolderId::from_bytes([1; 16]).to_string())
            .bind([1u8; 32])
            .execute()
            .await
        })
        .await
        .unwrap();
        let token = server.post(&server.operator, "/v1/tokens", &json!({ "role": "operator", "name": "old" })).await.expect(201);
        let colleague = server.post(&server.operator, "/v1/staff", &json!({ "role": "support", "name": "Jo" })).await.expect(201);
        Self {
            medium: MediumId::pressed(batch.parse().unwrap(), 1).to_string(),
            batch,
            imported,
            card,
            user,
            object: ObjectName::of(&catalogue::pack_bytes("sky-raider", "1.0")),
            picture: ObjectName::of(&catalogue::png(1)),
            token: token["id"].as_str().unwrap().to_owned(),
            colleague: colleague["id"].as_str().unwrap().to_owned(),
            studio: studio["server"].as_str().unwrap().to_owned(),
            provider: arcade(server).await,
            gateways: [reseller(server, "Stays").await, reseller(server, "Ends").await],
            hooks: Hooks::of_the_fox(server).await,
        }
    }

    pub fn of_nobody() -> Self {
        let batch = BatchId([0xee; 8]);
        Self {
            medium: MediumId::pressed(batch, 1).to_string(),
            batch: batch.to_string(),
            imported: batch.to_string(),
            card: CardId::from_bytes([0xee; 16]).to_string(),
            user: UserId::from_bytes([0xee; 16]).to_string(),
            object: ObjectName::of(b"nobody has this"),
            // There, and no picture.
            picture: ObjectName::of(&catalogue::pack_bytes("sky-raider", "1.0")),
            token: "eeeeeeeeeeee".to_owned(),
            colleague: UserId::from_bytes([0xef; 16]).to_string(),
            studio: ContentsServerId::from_bytes([0xee; 16]).to_string(),
            provider: ProviderId::from_bytes([0xee; 16]).to_string(),
            gateways: [GatewayId::from_bytes([0xee; 16]).to_string(), GatewayId::from_bytes([0xee; 16]).to_string()],
            hooks: Hooks::of_nobody(),
        }
    }
}

/// A feed of `sky-raider` that lists nothing.
pub fn feed() -> Value {
    let (issued_at, key) = (catalogue::NOW.seconds(), catalogue::publisher_key("blue-fox").0);
    let feed = Feed { title: "sky-raider".to_owned(), sequence: 1, issued_at, expires_at: issued_at + 1, releases: vec![] };
    json!({ "document": feed.sign("blue-fox", &key).unwrap(), "after": 0 })
}

/// A contents server of somebody else's that selects for a title.
pub fn studio(title: &str) -> Value {
    let (_, key) = catalogue::publisher_key("studio");
    json!({ "name": "Studio", "url": "https://studio.example", "key": key, "titles": [{ "title": title, "supplement": "chapter-4" }] })
}

/// A provider, for media of the fox.
pub async fn arcade(server: &TestServer) -> String {
    let arcade = json!({ "name": "Arcade", "url": "https://arcade.example", "publishers": ["blue-fox"] });
    server.post(&server.operator, "/v1/providers", &arcade).await.expect(201)["provider"].as_str().unwrap().to_owned()
}

/// A reseller's gateway.
async fn reseller(server: &TestServer, name: &str) -> String {
    let new = json!({ "name": name, "share": 3000 });
    server.post(&server.operator, "/v1/gateways", &new).await.expect(201)["gateway"].as_str().unwrap().to_owned()
}
