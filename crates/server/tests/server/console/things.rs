//! Something of every kind, with what strangers can fill in filled with what would do harm.

use counterfoil_core::wire::OrderResult;
use serde_json::json;

use super::catalogue::{TestServer, publish};
use super::sales::{list, order_operation};
use super::support::TestDb;
use super::terminal::{Terminal, media};
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::store::word::{self, Shelf};

/// Harm, with the name of the field that it stands in: shown as it is, it is an element of the page.
pub fn harm(field: &str) -> String {
    format!("{field}\"'><b id={field}>")
}

/// The same as a page has to show it.
pub fn tamed(field: &str) -> String {
    format!("&#60;b id={field}&#62;")
}

/// Fields that a user, a shop or a publisher fills in.
pub const FIELDS: [&str; 14] = [
    "person-name",
    "person-mail",
    "person-address",
    "device-name",
    "device-maker",
    "device-model",
    "title-name",
    "summary",
    "batch-name",
    "repair-reason",
    "repair-reference",
    "contact",
    "refused-detail",
    "audit-detail",
];

/// IDs of things of `blue-fox` and of one user.
pub struct Things {
    pub user: String,
    pub card: String,
    pub device: String,
    pub drive: String,
    pub medium: String,
    pub batch: String,
    pub order: String,
    pub license: String,
    pub token: String,
    pub colleague: String,
    pub webhook: String,
}

impl Things {
    pub async fn new(server: &TestServer, db: &TestDb) -> Self {
        publish(server, "red-owl", "night-flight", "1.0").await;
        let medium = media(server, "sky-raider", 3, json!({})).await.remove(0);
        list(db, "sky-raider", &["19.99 EUR"], json!({})).await;
        let owner = Terminal::registered(server).await;
        let grants = owner.claim(server, &medium).await.unwrap();
        owner.confirm(server, &medium, &grants).await.unwrap();
        // Somebody else is refused.
        Terminal::registered(server).await.claim(server, &medium).await.unwrap_err();
        let user = owner.user.unwrap().to_string();
        server
            .post(&server.operator, &format!("/v1/users/{user}/balance"), &json!({ "amount": 5000, "currency": "EUR" }))
            .await
            .expect(200);
        let ordered = owner.ask(server, order_operation(&owner, "sky-raider", Some("19.99 EUR")), None).await.unwrap();
        let ordered: OrderResult = serde_json::from_value(ordered).unwrap();
        let batch = medium.id.batch_and_serial().unwrap().0.to_string();
        let (_, link) = super::worker::link(server, counterfoil_server::auth::Role::Support, None, "Colleague").await;
        let colleague = link.split(['=', '.']).nth(1).unwrap().to_owned();
        let hook = json!({ "name": "Sales", "url": "https://hooks.example/x", "events": ["*"] });
        let hook = server.post(&server.fox, "/v1/webhooks", &hook).await;
        let webhook = hook.expect(201)["webhook"].as_str().unwrap().to_owned();
        let token = server.operator.split('_').nth(1).unwrap().to_owned();
        let things = Self {
            card: owner.card_id().unwrap().to_string(),
            device: owner.device_id().unwrap().to_string(),
            drive: owner.drive_id().unwrap().to_string(),
            medium: medium.id.to_string(),
            license: ordered.license_id.to_string(),
            order: ordered.order_id.to_string(),
            user,
            batch,
            token,
            colleague,
            webhook,
        };
        things.fill(db).await;
        things
    }

    /// Writes what strangers fill in, past every check of what they may.
    async fn fill(&self, db: &TestDb) {
        let (user, device, batch) = (self.user.clone(), self.device.clone(), self.batch.clone());
        db.write("harm", user.clone(), async move |tx: &mut Tx| -> Result<(), DbError> {
            tx.query(
                "INSERT INTO user_info (user_id, name, email, address, created_by, created_at) VALUES ($1, $2, $3, $4, '/token/x', 1)
                 ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, email = excluded.email, address = excluded.address",
            )
            .bind(&user)
            .bind(harm("person-name"))
            .bind(harm("person-mail"))
            .bind(harm("person-address"))
            .execute()
            .await?;
            word::mend(tx, Shelf::People, &user).await?;
            tx.query("UPDATE user_device SET name = $2 WHERE user_id = $1").bind(&user).bind(harm("device-name")).execute().await?;
            tx.query(
                "INSERT INTO device_info (user_id, device_id, maker, model, created_by, created_at) VALUES ($1, $2, $3, $4, '/token/x', 1)
                 ON CONFLICT (user_id, device_id) DO UPDATE SET maker = excluded.maker, model = excluded.model",
            )
            .bind(&user)
            .bind(&device)
            .bind(harm("device-maker"))
            .bind(harm("device-model"))
            .execute()
            .await?;
            tx.query(
                "INSERT INTO repair (user_id, repair_id, kind, old_id, new_id, reason, reference, overridden, actor, created_at)
                 VALUES ($1, $2, 'drive', 'drv-00000000000000000000000000-0', NULL, $3, $4, 0, '/token/x', 1)",
            )
            .bind(&user)
            .bind(counterfoil_core::RepairId::from_bytes([1; 16]).to_string())
            .bind(harm("repair-reason"))
            .bind(harm("repair-reference"))
            .execute()
            .await?;
            tx.query(
                "INSERT INTO reissue (user_id, reissue_id, state, contact, actor, created_at)
                 VALUES ($1, $2, 'waiting', $3, '/web', 1)",
            )
            .bind(&user)
            .bind(counterfoil_core::ReissueId::from_bytes([2; 16]).to_string())
            .bind(harm("contact"))
            .execute()
            .await?;
            for (event, detail) in [
                ("license.refused", json!({ "code": "not_entitled", "detail": harm("refused-detail") })),
                ("status.changed", json!({ "audit-detail": harm("audit-detail") })),
            ] {
                counterfoil_server::store::audit::append(tx, &user, 1, "/token/x", event, &detail).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
        db.write("more harm", "/title/sky-raider", async move |tx: &mut Tx| -> Result<(), DbError> {
            tx.query("UPDATE title SET name = $1 WHERE title_id = 'sky-raider'").bind(harm("title-name")).execute().await?;
            tx.query("UPDATE listing SET summary = $1 WHERE title_id = 'sky-raider'").bind(harm("summary")).execute().await?;
            tx.query("UPDATE batch SET name = $2 WHERE batch_id = $1").bind(&batch).bind(harm("batch-name")).execute().await.map(drop)
        })
        .await
        .unwrap();
    }

    /// A route with these things in the places of its parameters.
    pub fn address(&self, route: &str) -> String {
        let reissue = counterfoil_core::ReissueId::from_bytes([2; 16]).to_string();
        let id = if route.contains("/staff/") { &self.colleague } else { &self.token };
        [
            ("{user_id}", &self.user),
            ("{card_id}", &self.card),
            ("{device_id}", &self.device),
            ("{drive_id}", &self.drive),
            ("{medium_id}", &self.medium),
            ("{batch}", &self.batch),
            ("{order_id}", &self.order),
            ("{license_id}", &self.license),
            ("{reissue_id}", &reissue),
            ("{webhook}", &self.webhook),
            ("{delivery}", &"none".to_owned()),
            ("{id}", id),
            ("{title}", &"sky-raider".to_owned()),
            ("{version}", &"1.0".to_owned()),
        ]
        .into_iter()
        .fold(route.to_owned(), |address, (place, value)| address.replace(place, value))
    }
}
