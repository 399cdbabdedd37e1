//! Payment by card (C17) through a provider that behaves as Stripe's published API does, over HTTP: what it takes is booked once, and what is granted is
//! paid, whatever fails at either side.

mod covering;
mod giving_back;
mod topping_up;
mod unlucky;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use axum::body::Body;
use axum::http::Request as HttpRequest;
use counterfoil_core::{PaymentId, Timestamp};
use counterfoil_server::clock::Rng;
use counterfoil_server::db::Tx;
use counterfoil_server::gateway::store::payment::{self, PaymentRow, State as Stands};
use counterfoil_server::gateway::{books, driver, router, server};
use payment_provider::messages::signature;
use payment_provider::{Provider, Running, SECRET_KEY, WEBHOOK_SECRET};
use serde_json::{Value, json};

use crate::support::TestDb;
use crate::support::catalogue::Answer;
use crate::through::Rig;

/// A rig whose gateway takes cards.
pub struct Till {
    pub rig: Rig,
    pub running: Running,
    _secrets: tempfile::TempDir,
}

impl Till {
    pub async fn new(db: &TestDb, media: i64, money: u64) -> Self {
        let mut rig = Rig::new(db, media, money).await;
        let running = payment_provider::start("127.0.0.1:0".parse().unwrap(), Provider::default()).await.unwrap();
        let secrets = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = secrets.path().join(name);
            std::fs::write(&path, format!("{text}\n")).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            Some(path)
        };
        let config = &mut rig.config.payments;
        config.secret_key_file = file("secret-key", SECRET_KEY);
        config.webhook_secret_file = file("webhook-secret", WEBHOOK_SECRET);
        config.publishable_key = payment_provider::PUBLISHABLE_KEY.to_owned();
        config.api_url.clone_from(&running.url);
        config.script_url = format!("{}/v3/", running.url);
        config.timeout_seconds = 1;
        // Its own randomness: the rig's gateway has drawn from the other already.
        let (listen, clock) = (rig.config.server.listen, rig.private.server.app.clock.clone());
        rig.gateway = server::assemble(rig.config.clone(), listen, rig.db.db.clone(), clock, Rng::seeded(6)).await.unwrap();
        rig.router = router::router(rig.gateway.clone());
        let till = Self { rig, running, _secrets: secrets };
        till.later(0);
        till
    }

    pub fn provider(&self) -> &Provider {
        &self.running.provider
    }

    /// On both sides.
    pub fn later(&self, milliseconds: i64) {
        self.rig.later(milliseconds);
        self.provider().state().now = Some(self.now().0 / 1000);
    }

    pub fn now(&self) -> Timestamp {
        self.rig.gateway.clock.now()
    }

    pub async fn begin(&self, n: u8, amount: u64, keep: bool) -> Answer {
        let body = json!({ "payment": id(n), "money": { "amount": amount, "currency": "EUR" }, "keep_card": keep });
        self.rig.post("/v1/account/top-ups", &self.rig.token, &body).await
    }

    pub async fn show(&self, n: u8) -> Answer {
        self.rig.get(&format!("/v1/account/top-ups/{}", id(n)), &self.rig.token).await
    }

    pub async fn row(&self, n: u8) -> PaymentRow {
        let id = id(n);
        self.rig.db.read("payment", async move |tx: &mut Tx| payment::find(tx, id).await).await.unwrap().unwrap()
    }

    /// A person tops up by card, from beginning to end.
    pub async fn topped_up(&self, n: u8, amount: u64, number: &str, keep: bool) {
        self.begin(n, amount, keep).await.expect(200);
        let told = self.pay(n, number).await;
        assert_eq!(told["status"], "succeeded", "{told}");
        assert_eq!(self.show(n).await.expect(200)["state"], "succeeded");
    }

    pub async fn pay(&self, n: u8, number: &str) -> Value {
        self.provider().pay(&self.row(n).await.intent.unwrap(), number)
    }

    pub async fn turn(&self) {
        driver::turn(&self.rig.gateway).await.unwrap();
    }

    /// Whatever is under way comes to its end, without anybody asking for it.
    pub async fn driven(&self) {
        for _ in 0..4 {
            self.later(6 * 60 * 1000);
            self.turn().await;
        }
    }

    /// The provider sends an event, as it is signed at this time.
    pub async fn tell(&self, event: &Value, at: Timestamp) -> Answer {
        let body = event.to_string();
        self.send(&body, &signature(WEBHOOK_SECRET, at.0 / 1000, &body)).await
    }

    pub async fn send(&self, body: &str, signature: &str) -> Answer {
        let request =
            HttpRequest::post("/v1/payments/messages").header("stripe-signature", signature).header("content-type", "application/json");
        self.rig.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// The books are right by themselves, and hold what the provider has.
    pub async fn clean(&self) {
        assert_eq!(books::check(&self.rig.db).await.unwrap(), vec![]);
        let (mut taken, mut promised) = (0, 0);
        for intent in self.provider().state().intents.values() {
            taken += intent["amount_received"].as_i64().unwrap();
            promised += i64::from(intent["status"] == "requires_capture");
        }
        let repaid: i64 = self.provider().state().charges.values().map(|charge| charge["amount_refunded"].as_i64().unwrap()).sum();
        let objected: i64 = {
            let state = self.provider().state();
            let gone = |dispute: &&Value| !dispute["status"].as_str().unwrap().starts_with("warning") && dispute["status"] != "won";
            state.disputes.values().filter(gone).map(|dispute| dispute["amount"].as_i64().unwrap()).sum()
        };
        assert_eq!(promised, 0, "a promise is left that nobody takes or lets go");
        let sums = "SELECT CAST(COALESCE(SUM(receivable), 0) AS BIGINT) FROM posting WHERE kind <> 'fee'";
        assert_eq!(-self.rig.db.number(sums).await, taken - repaid - objected, "what is booked against the provider is what it has");
    }

    pub async fn gone(self) {
        self.rig.gone().await;
    }
}

pub fn id(n: u8) -> PaymentId {
    PaymentId::from_bytes([n; 16])
}

/// The provider's payments that have come to a status.
pub fn intents(till: &Till, status: &str) -> Vec<Value> {
    till.provider().state().intents.values().filter(|intent| intent["status"] == status).cloned().collect()
}
