//! Webhooks: who is told what, that it is told if and only if it has happened, in order, and what receivers can do to us.

use crate::support;
use crate::support::catalogue;
use crate::support::terminal;

use std::collections::{BTreeMap, BTreeSet};

use catalogue::{NOW, TestServer, publish};
use counterfoil_core::{DeliveryId, Timestamp};
use counterfoil_server::config::Config;
use counterfoil_server::webhooks::catalogue::{EVENTS, documentation};
use counterfoil_server::webhooks::send::Sender;
use counterfoil_server::webhooks::{self, deliver_all, tell};
use receiver::{Message, Receiver};
use serde_json::{Value, json};
use support::{TestDb, db_test};
use terminal::{Terminal, media};

mod committed;
mod failing;
mod inside;
mod orderly;
mod receiver;
mod stock;

/// Receivers are on loopback here, and nobody waits long for them.
fn loopback(config: &mut Config) {
    config.webhooks.allow_private = true;
    config.webhooks.timeout_seconds = 1;
}

/// A webhook as it was made.
struct Hook {
    id: String,
    secret: String,
}

impl Hook {
    /// Made by whoever has the token, and active: time goes on.
    async fn new(server: &TestServer, token: &str, url: &str, events: &[&str]) -> Self {
        let made = server.post(token, "/v1/webhooks", &json!({ "name": "Test", "url": url, "events": events })).await.expect(201);
        pass(server, 10_000);
        webhooks::look(&server.app).await.unwrap();
        Self { id: text(&made["webhook"]), secret: text(&made["secret"]) }
    }

    fn path(&self, below: &str) -> String {
        format!("/v1/webhooks/{}{below}", self.id)
    }

    async fn deliveries(&self, server: &TestServer) -> Vec<Value> {
        let page = server.get(&server.operator, &self.path("/deliveries?limit=1000")).await.expect(200);
        page["items"].as_array().unwrap().clone()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Lets time go on, in milliseconds.
fn pass(server: &TestServer, time: i64) {
    server.app.clock.set(Timestamp(server.app.clock.now().0 + time));
}

/// Does what the leader does, until nothing is left to do now; answers with how many attempts were made.
async fn lead(server: &TestServer) -> usize {
    let sender = Sender::new(&server.app.config.webhooks).unwrap();
    while tell(&server.app).await.unwrap() > 0 {}
    deliver_all(&server.app, &sender).await.unwrap()
}

db_test!(each_is_told_of_what_is_theirs_and_no_more_than_is_theirs_to_know, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    publish(&server, "red-owl", "night-owl", "1.0").await;
    let discs = media(&server, "sky-raider", 2, json!({})).await;
    let receivers = [Receiver::start().await, Receiver::start().await, Receiver::start().await];
    let tokens = [&server.operator, &server.fox, &server.owl];
    let mut hooks = vec![];
    for (receiver, token) in receivers.iter().zip(tokens) {
        hooks.push(Hook::new(&server, token, &receiver.url(), &["*"]).await);
    }
    let anna = Terminal::registered(&server).await;
    let grants = anna.claim(&server, &discs[0]).await.unwrap();
    anna.confirm(&server, &discs[0], &grants).await.unwrap();
    Terminal::registered(&server).await.claim(&server, &discs[0]).await.unwrap_err();
    for (token, title) in [(&server.fox, "sky-raider"), (&server.owl, "night-owl")] {
        server.put_json(token, &format!("/v1/titles/{title}/listing"), &catalogue::listing()).await.expect(200);
    }
    lead(&server).await;

    let [operator, fox, owl] = receivers.each_ref().map(Receiver::messages);
    let events = |messages: &[Message]| messages.iter().map(Message::event).collect::<BTreeSet<_>>();
    let theirs = ["medium.claim_refused", "medium.claimed", "medium.copied", "title.listed"].map(str::to_owned);
    assert_eq!(events(&fox), theirs.clone().into());
    assert_eq!(events(&owl), ["title.listed".to_owned()].into());
    assert!(events(&operator).is_superset(&theirs.into()) && events(&operator).contains("user.registered"));
    assert_eq!(owl.iter().map(|message| message.subject().0).collect::<Vec<_>>(), ["night-owl"]);
    assert!(fox.iter().all(|message| message.subject().0 != "night-owl"));

    // The same claim: the operator is told whose, the publisher is not.
    let claimed =
        |messages: &[Message]| messages.iter().find(|message| message.event() == "medium.claimed").unwrap().json()["data"].clone();
    let (of_operator, of_fox) = (claimed(&operator), claimed(&fox));
    assert_eq!(of_operator["user"], json!(anna.user.unwrap()));
    assert_eq!(of_fox["id"], json!(discs[0].id));
    assert_eq!(of_fox["grants"], json!([grants[0].grant_id]));
    let users: Vec<String> =
        [anna.user.unwrap().to_string(), anna.card_id().unwrap().to_string(), anna.device_id().unwrap().to_string()].into();
    for message in fox.iter().chain(&owl) {
        let body = String::from_utf8(message.body.clone()).unwrap();
        assert!(users.iter().all(|id| !body.contains(id)), "{body}");
    }
    for (messages, hook) in [(&operator, &hooks[0]), (&fox, &hooks[1]), (&owl, &hooks[2])] {
        assert!(messages.iter().all(|message| message.is_by(&hook.secret) && message.content_type == "application/json"));
        assert!(messages.iter().all(|message| hooks.iter().filter(|other| message.is_by(&other.secret)).count() == 1));
    }

    // Nor by asking: what is another's is not there.
    let theirs = text(&server.get(&server.fox, &hooks[1].path("/deliveries")).await.expect(200)["items"][0]["delivery"]);
    for path in ["", "/deliveries", &format!("/deliveries/{theirs}")] {
        server.get(&server.owl, &hooks[1].path(path)).await.expect(404);
        server.get(&server.fox, &hooks[0].path(path)).await.expect(404);
        server.get(&server.fox, &hooks[1].path(path)).await.expect(200);
        server.get(&server.operator, &hooks[1].path(path)).await.expect(200);
    }
    for path in ["/rotate", "/test", &format!("/deliveries/{theirs}/resend")] {
        server.post(&server.owl, &hooks[1].path(path), &json!({})).await.expect(404);
    }
    assert_eq!(server.get(&server.owl, "/v1/webhooks").await.expect(200)["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.get(&server.operator, "/v1/webhooks").await.expect(200)["items"].as_array().unwrap().len(), 3);
    let offered = |token: String| {
        let server = &server;
        async move { server.get(&token, "/v1/webhook-events").await.expect(200)["items"].as_array().unwrap().len() }
    };
    assert_eq!(offered(server.operator.clone()).await, EVENTS.len());
    assert!(offered(server.fox.clone()).await < EVENTS.len());
});

db_test!(what_cannot_be_a_webhook_is_refused, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let good = json!({ "name": "Test", "url": "https://hooks.example/x", "events": ["*"] });
    let with = |member: &str, value: Value| {
        let mut new = good.clone();
        new[member] = value;
        new
    };
    for bad in [
        with("name", json!("")),
        with("url", json!("ftp://hooks.example")),
        with("url", json!("https://u:p@hooks.example")),
        with("events", json!([])),
        with("events", json!(["medium.claim"])),
        with("events", json!(["order.placed"])),
        with("publisher", json!("red-owl")),
    ] {
        server.post(&server.fox, "/v1/webhooks", &bad).await.expect(422);
    }
    server.post(&server.operator, "/v1/webhooks", &with("publisher", json!("nobody"))).await.expect(422);
    server.post(&server.operator, "/v1/webhooks", &with("events", json!(["order.placed"]))).await.expect(201);
    server.post(&server.operator, "/v1/webhooks", &with("publisher", json!("blue-fox"))).await.expect(201);
    for _ in 1..20 {
        server.post(&server.fox, "/v1/webhooks", &good).await.expect(201);
    }
    assert!(text(&server.post(&server.fox, "/v1/webhooks", &good).await.expect(422)["detail"]).contains("20"));
    let id = text(&server.get(&server.fox, "/v1/webhooks").await.expect(200)["items"][0]["webhook"]);
    server.get(&server.fox, &format!("/v1/webhooks/{id}/deliveries?state=lost")).await.expect(422);
    server.get(&server.fox, &format!("/v1/webhooks/{id}/deliveries?after=x")).await.expect(422);
});

db_test!(a_secret_is_shown_once_kept_wrapped_and_replaced_within_a_day, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let receiver = Receiver::start().await;
    let hook = Hook::new(&server, &server.operator, &receiver.url(), &["*"]).await;
    let test = async || {
        server.post(&server.operator, &hook.path("/test"), &json!({})).await.expect(201);
        lead(&server).await;
        receiver.messages().pop().unwrap()
    };
    let first = test().await;
    assert_eq!((first.event().as_str(), first.subject().0), ("webhook.test", hook.id.clone()));
    assert!(first.is_by(&hook.secret) && first.signatures.split(' ').count() == 1);

    let next = text(&server.post(&server.operator, &hook.path("/rotate"), &json!({})).await.expect(200)["secret"]);
    assert_ne!(next, hook.secret);
    let both = test().await;
    assert!(both.is_by(&hook.secret) && both.is_by(&next) && both.signatures.split(' ').count() == 2);
    // Once more: only one before the newest signs.
    let last = text(&server.post(&server.operator, &hook.path("/rotate"), &json!({})).await.expect(200)["secret"]);
    let both = test().await;
    assert!(!both.is_by(&hook.secret) && both.is_by(&next) && both.is_by(&last));
    pass(&server, Timestamp::DAY);
    let alone = test().await;
    assert!(!alone.is_by(&next) && alone.is_by(&last) && alone.signatures.split(' ').count() == 1);

    for shown in [
        server.get(&server.operator, "/v1/webhooks").await,
        server.get(&server.operator, &hook.path("")).await,
        server.get(&server.operator, &hook.path("/deliveries")).await,
        server.get(&server.operator, &format!("/v1/audit?family={}", hook.id)).await,
    ] {
        let shown = shown.expect(200).to_string();
        assert!(!shown.contains("whsec_") && !shown.contains("key=1\",\"actor"), "{shown}");
    }
    let database = crate::keys_secrecy::everything_in(&db).await;
    assert!(crate::keys_secrecy::holds(&database, hook.id.as_bytes()), "the search sees what is there");
    for secret in [&hook.secret, &next, &last] {
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &secret[6..]).unwrap();
        for spelling in crate::keys_secrecy::spellings(&bytes) {
            assert!(!crate::keys_secrecy::holds(&database, &spelling), "in the database");
        }
    }
    // Wrapped for its row: under another number it opens nothing, and nothing is sent unsigned.
    db.run("UPDATE webhook_secret SET number = 9 WHERE ends_at IS NULL").await;
    let before = receiver.messages().len();
    server.post(&server.operator, &hook.path("/test"), &json!({})).await.expect(201);
    lead(&server).await;
    assert_eq!(receiver.messages().len(), before);
    assert_eq!(hook.deliveries(&server).await[0]["error"], "unusable");
});

db_test!(what_was_told_is_kept_for_thirty_days, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let receiver = Receiver::start().await;
    let hook = Hook::new(&server, &server.operator, &receiver.url(), &["*"]).await;
    server.post(&server.operator, &hook.path("/test"), &json!({})).await.expect(201);
    lead(&server).await;
    pass(&server, 30 * Timestamp::DAY - 1000);
    receiver.answer_status(500);
    server.post(&server.operator, &hook.path("/test"), &json!({})).await.expect(201);
    lead(&server).await;
    counterfoil_server::jobs::purge(&server.app).await.unwrap();
    assert_eq!(hook.deliveries(&server).await.len(), 2);
    pass(&server, 2000);
    counterfoil_server::jobs::purge(&server.app).await.unwrap();
    let left = hook.deliveries(&server).await;
    assert_eq!((left.len(), &left[0]["state"]), (1, &json!("waiting")));
});

db_test!(whoever_has_ended_is_told_nothing_more, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let receiver = Receiver::start().await;
    let hook = Hook::new(&server, &server.operator, &receiver.url(), &["*"]).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    tell(&server.app).await.unwrap();
    server.send(catalogue::json_request(axum::http::Method::DELETE, &hook.path(""), &server.operator, &Value::Null)).await.expect(204);
    publish(&server, "blue-fox", "moon-raider", "1.0").await;
    lead(&server).await;
    assert_eq!(receiver.messages().len(), 0);
    assert_eq!(db.number("SELECT count(*) FROM outbox WHERE kind = 'event'").await, 0, "and nothing is kept for it");
    server.get(&server.operator, &hook.path("")).await.expect(404);
    assert_eq!(NOW.0 + 10_000, server.app.clock.now().0);
});

db_test!(a_page_of_deliveries_goes_on_where_the_one_before_has_ended, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let hook = Hook::new(&server, &server.operator, &Receiver::start().await.url(), &["*"]).await;
    for _ in 0..5 {
        server.post(&server.operator, &hook.path("/test"), &json!({})).await.expect(201);
        pass(&server, 1000);
    }
    let (mut seen, mut after) = (vec![], String::new());
    loop {
        let page = server.get(&server.operator, &hook.path(&format!("/deliveries?limit=2&state=waiting&after={after}"))).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|one| one["sequence"].as_i64().unwrap()));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, [6, 5, 4, 3, 2], "the newest first; its first record is of its making");
    assert_eq!(server.get(&server.operator, &hook.path("/deliveries?state=failed")).await.expect(200)["items"], json!([]));
});

/// What is documented is what is sent: the members of every event that a busy day brings.
#[test]
fn the_documentation_shows_what_is_told() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/webhooks.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- events: generated -->\n", "<!-- end of events -->");
    let (head, rest) = page.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let written = format!("{head}{begin}\n{}{end}{tail}", documentation());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &written).unwrap();
    }
    assert!(page == written || std::env::var_os("UPDATE_DOCS").is_some(), "docs/webhooks.md is out of date; run with UPDATE_DOCS=1");
}
