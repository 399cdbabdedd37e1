//! The whole surface of the server: who may do what to whose things, the description of it, the pages, figures and limits.

use crate::support;
use crate::support::catalogue;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Method;
use catalogue::{TestServer, make_token, publish, release, request};
use counterfoil_core::{BatchId, CardId, MediumId, UserId};
use counterfoil_format::content::{Feed, ObjectName};
use counterfoil_format::hpke::{DiffieHellman as _, SealingKey};
use counterfoil_format::secret::Secret;
use counterfoil_server::auth::Role;
use counterfoil_server::router;
use serde_json::{Value, json};
use support::{TestDb, db_test};

/// Things of `blue-fox`, and of nobody.
struct Things {
    batch: String,
    imported: String,
    medium: String,
    card: String,
    user: String,
    object: ObjectName,
    picture: ObjectName,
    token: String,
    colleague: String,
    studio: String,
    provider: String,
    gateways: [String; 2],
    hooks: Hooks,
}

/// Webhooks.
struct Hooks {
    stays: String,
    /// Something that it was told.
    delivery: String,
    ended: String,
}

impl Hooks {
    async fn of_the_fox(server: &TestServer) -> Self {
        let make = async || {
            let made = server.post(&server.fox, "/v1/webhooks", &new_webhook()).await.expect(201);
            made["webhook"].as_str().unwrap().to_owned()
        };
        let (stays, ended) = (make().await, make().await);
        let sent = server.post(&server.fox, &format!("/v1/webhooks/{stays}/test"), &json!({})).await.expect(201);
        Self { stays, delivery: sent["delivery"].as_str().unwrap().to_owned(), ended }
    }

    fn of_nobody() -> Self {
        let webhook = counterfoil_core::WebhookId::from_bytes([0xee; 16]).to_string();
        Self { stays: webhook.clone(), delivery: counterfoil_core::DeliveryId::from_bytes([0xee; 16]).to_string(), ended: webhook }
    }

    fn target(&self, route: &str) -> String {
        let (method, path) = route.split_once(' ').unwrap();
        path.replace("{webhook}", if method == "DELETE" { &self.ended } else { &self.stays }).replace("{delivery}", &self.delivery)
    }
}

fn new_webhook() -> Value {
    json!({ "name": "Sales", "url": "https://hooks.example/x", "events": ["medium.*"] })
}

impl Things {
    async fn of_the_fox(server: &TestServer, db: &TestDb) -> Self {
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
        db.write("test", "test", async move |tx: &mut counterfoil_server::db::Tx| -> Result<u64, counterfoil_server::db::DbError> {
            tx.query(
                "INSERT INTO user_entry (user_id, holder_id, holder_kind, sign_key, seal_key, state, created_at)
                 VALUES ($1, $2, 'card', $3, $3, 'active', 1)",
            )
            .bind(&row)
            .bind(counterfoil_core::HolderId::from_bytes([1; 16]).to_string())
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

    fn of_nobody() -> Self {
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
            studio: counterfoil_core::ContentsServerId::from_bytes([0xee; 16]).to_string(),
            provider: counterfoil_core::ProviderId::from_bytes([0xee; 16]).to_string(),
            gateways: [
                counterfoil_core::GatewayId::from_bytes([0xee; 16]).to_string(),
                counterfoil_core::GatewayId::from_bytes([0xee; 16]).to_string(),
            ],
            hooks: Hooks::of_nobody(),
        }
    }
}

/// A feed of `sky-raider` that lists nothing.
fn feed() -> Value {
    let (issued_at, key) = (catalogue::NOW.seconds(), catalogue::publisher_key("blue-fox").0);
    let feed = Feed { title: "sky-raider".to_owned(), sequence: 1, issued_at, expires_at: issued_at + 1, releases: vec![] };
    json!({ "document": feed.sign("blue-fox", &key).unwrap(), "after": 0 })
}

/// A contents server of somebody else's that selects for a title.
fn studio(title: &str) -> Value {
    let (_, key) = catalogue::publisher_key("studio");
    json!({ "name": "Studio", "url": "https://studio.example", "key": key, "titles": [{ "title": title, "supplement": "chapter-4" }] })
}

/// A provider, for media of the fox.
async fn arcade(server: &TestServer) -> String {
    let arcade = json!({ "name": "Arcade", "url": "https://arcade.example", "publishers": ["blue-fox"] });
    server.post(&server.operator, "/v1/providers", &arcade).await.expect(201)["provider"].as_str().unwrap().to_owned()
}

/// A reseller's gateway.
async fn reseller(server: &TestServer, name: &str) -> String {
    let new = json!({ "name": name, "share": 3000 });
    server.post(&server.operator, "/v1/gateways", &new).await.expect(201)["gateway"].as_str().unwrap().to_owned()
}

/// Where a request to a route goes, and with which body. A route that is not here has not been thought about, and fails.
fn target(route: &str, things: &Things, exists: bool) -> (String, Vec<u8>) {
    let Things {
        batch,
        imported,
        medium,
        card,
        user,
        object,
        picture,
        token,
        colleague,
        studio: contents_server,
        provider,
        gateways,
        hooks,
    } = things;
    let (publisher, title) = if exists { ("blue-fox", "sky-raider") } else { ("no-one", "no-title") };
    let json = |path: String, body: Value| (path, body.to_string().into_bytes());
    let bare = |path: String| (path, vec![]);
    match route {
        "GET /"
        | "GET /healthz"
        | "GET /readyz"
        | "GET /metrics"
        | "GET /openapi.json"
        | "GET /.well-known/counterfoil"
        | "GET /.well-known/jwks.json"
        | "GET /v1/whoami"
        | "GET /v1/tokens"
        | "GET /v1/staff"
        | "GET /v1/publishers"
        | "GET /v1/titles"
        | "GET /v1/batches" => bare(route[4..].to_owned()),
        "POST /v1/terminal/exchange" | "POST /v1/terminal/inbox" => {
            json(route.split_once(' ').unwrap().1.to_owned(), json!({ "kid": "x", "enc": "x", "ct": "x" }))
        }
        "POST /v1/staff" => json("/v1/staff".into(), json!({ "role": "support", "name": "new" })),
        "POST /v1/staff/{id}/link" => bare(format!("/v1/staff/{colleague}/link")),
        "POST /v1/staff/{id}/end" => json(format!("/v1/staff/{colleague}/end"), json!({ "reason": "left" })),
        "POST /v1/tokens" => json("/v1/tokens".into(), json!({ "role": "operator", "name": "new" })),
        "DELETE /v1/tokens/{id}" => bare(format!("/v1/tokens/{token}")),
        "POST /v1/publishers" => json("/v1/publishers".into(), json!({ "id": "new-one", "name": "New" })),
        "GET /v1/publishers/{publisher}" => bare(format!("/v1/publishers/{publisher}")),
        "PUT /v1/publishers/{publisher}/key" => {
            json(format!("/v1/publishers/{publisher}/key"), json!({ "key": catalogue::publisher_key("blue-fox").1 }))
        }
        "POST /v1/titles" => json("/v1/titles".into(), json!({ "title": "new-title", "name": "N", "kind": "app", "publisher": publisher })),
        "GET /v1/titles/{title}" => bare(format!("/v1/titles/{title}")),
        "POST /v1/titles/{title}/content-key" => {
            let recipient = *SealingKey::from_seed(&Secret::new([7; 32])).public_key();
            json(format!("/v1/titles/{title}/content-key"), json!({ "recipient": recipient }))
        }
        "GET /v1/titles/{title}/releases" => bare(format!("/v1/titles/{title}/releases")),
        "POST /v1/titles/{title}/releases" => json(format!("/v1/titles/{title}/releases"), release("blue-fox", "sky-raider", "1.0")),
        "GET /v1/titles/{title}/releases/{version}" => bare(format!("/v1/titles/{title}/releases/1.0")),
        "PATCH /v1/titles/{title}/releases/{version}" => json(format!("/v1/titles/{title}/releases/1.0"), json!({ "notes": "New." })),
        "GET /v1/titles/{title}/channels/{channel}" => bare(format!("/v1/titles/{title}/channels/stable")),
        "PUT /v1/titles/{title}/channels/{channel}" => json(format!("/v1/titles/{title}/channels/stable"), json!({ "minimum": null })),
        "GET /v1/titles/{title}/deltas" => bare(format!("/v1/titles/{title}/deltas")),
        "POST /v1/titles/{title}/deltas" => {
            let length = catalogue::pack_bytes("sky-raider", "1.0").len();
            let deltas = json!({ "from": "1.0", "to": "1.1", "object": object, "length": length, "encoder": "zstd 1.5.7", "covered": 9 });
            json(format!("/v1/titles/{title}/deltas"), deltas)
        }
        "GET /v1/titles/{title}/patches" => bare(format!("/v1/titles/{title}/patches")),
        "POST /v1/titles/{title}/patches" => {
            let length = catalogue::pack_bytes("sky-raider", "1.0").len();
            let patch = json!({ "from": "1.0", "to": "1.1", "object": object, "length": length, "encoder": "zstd 1.5.7" });
            json(format!("/v1/titles/{title}/patches"), patch)
        }
        "HEAD /v1/contents/{object}" => bare(format!("/v1/contents/{object}")),
        // What is sent is what the store has, so that nobody can tell by the answer who put it there.
        "PUT /v1/contents/{object}" => (format!("/v1/contents/{object}"), catalogue::pack_bytes("sky-raider", "1.0")),
        "POST /v1/batches" => json("/v1/batches".into(), json!({ "titles": [{ "title": title }], "count": 1 })),
        "GET /v1/notices" => bare(format!("/v1/notices?titles={title}")),
        "GET /v1/batches/{batch}" => bare(format!("/v1/batches/{batch}")),
        "POST /v1/batches/{batch}/media" => json(format!("/v1/batches/{imported}/media"), json!({ "medium_id": "DISC-1" })),
        "GET /v1/batches/{batch}/identities" => bare(format!("/v1/batches/{batch}/identities")),
        "PATCH /v1/batches/{batch}/rights" => json(format!("/v1/batches/{batch}/rights"), json!({ "rights": { "copies": 2 } })),
        "POST /v1/batches/{batch}/media/rights" => json(format!("/v1/batches/{batch}/media/rights"), json!({ "rights": { "copies": 2 } })),
        "POST /v1/batches/{batch}/refresh" => json(format!("/v1/batches/{batch}/refresh"), json!({})),
        "PATCH /v1/media/{medium_id}/rights" => json(format!("/v1/media/{medium}/rights"), json!({ "rights": { "copies": 3 } })),
        "POST /v1/media/{medium_id}/refresh" => json(format!("/v1/media/{medium}/refresh"), json!({})),
        "GET /publish/media/{medium_id}" => bare(format!("/publish/media/{medium}")),
        "GET /v1/media/{medium_id}" => bare(format!("/v1/media/{medium}")),
        "POST /v1/media/{medium_id}/retire" => json(format!("/v1/media/{medium}/retire"), json!({ "reason": "x" })),
        "POST /v1/cards" => json("/v1/cards".into(), json!({ "cards": [card] })),
        "POST /v1/cards/{card_id}/revoke" => json(format!("/v1/cards/{card}/revoke"), json!({ "reason": "x" })),
        "POST /v1/users" => json("/v1/users".into(), json!({ "name": "Ada Lovelace" })),
        "POST /v1/users/{user_id}/devices" => {
            json(format!("/v1/users/{user}/devices"), json!({ "device_id": counterfoil_core::DeviceId::from_bytes([1; 16]) }))
        }
        "GET /v1/titles/{title}/rules" => bare(format!("/v1/titles/{title}/rules")),
        "POST /v1/titles/{title}/rules" => json(format!("/v1/titles/{title}/rules"), json!({ "status": { "vars": { "chapter": 3 } } })),
        "PUT /v1/titles/{title}/rules/{supplement}" => json(format!("/v1/titles/{title}/rules/chapter-4"), json!({ "condition": "true" })),
        "DELETE /v1/titles/{title}/rules/{supplement}" => bare(format!("/v1/titles/{title}/rules/chapter-4")),
        "GET /v1/contents-servers" => bare("/v1/contents-servers".into()),
        "POST /v1/contents-servers" => json("/v1/contents-servers".into(), studio(title)),
        "DELETE /v1/contents-servers/{server}" => bare(format!("/v1/contents-servers/{contents_server}")),
        "POST /v1/gateways" => json("/v1/gateways".into(), json!({ "name": "Arcade", "share": 3000 })),
        "DELETE /v1/gateways/{gateway}" => bare(format!("/v1/gateways/{}", gateways[1])),
        reseller if reseller.contains(" /v1/gateways") => {
            let (method, path) = reseller.split_once(' ').unwrap();
            let path = path.replace("{gateway}", &gateways[0]).replace("{title}", title);
            match (method, path.rsplit('/').next().unwrap()) {
                ("PUT", _) => json(path, json!({ "amount": 1999, "currency": "EUR" })),
                ("POST", "terms") => json(path, json!({ "share": 3500 })),
                ("POST", "settlements") => json(path, json!({ "period": "2025-01" })),
                (_, "statement") => bare(format!("{path}?period=2025-01")),
                _ => bare(path),
            }
        }
        "GET /v1/providers" => bare("/v1/providers".into()),
        "POST /v1/providers" => {
            json("/v1/providers".into(), json!({ "name": "Arcade", "url": "https://arcade.example", "publishers": [publisher] }))
        }
        "GET /v1/providers/{provider}" | "DELETE /v1/providers/{provider}" => bare(format!("/v1/providers/{provider}")),
        "POST /v1/webhooks" => json("/v1/webhooks".into(), new_webhook()),
        hook if hook.contains(" /v1/webhook") && hook.starts_with("POST ") => json(hooks.target(hook), json!({})),
        hook if hook.contains(" /v1/webhook") => bare(hooks.target(hook)),
        // What is not presented at all is no error: docs/providers.md.
        "POST /v1/verify" => json("/v1/verify".into(), json!({ "presentation": { "envelope": {} }, "challenge": "x".repeat(16) })),
        // A ticket that nobody made: tests/uploads.rs has those of others, and good ones.
        "HEAD /v1/uploads/{ticket}" | "PATCH /v1/uploads/{ticket}" | "DELETE /v1/uploads/{ticket}" => bare("/v1/uploads/ticket".into()),
        "GET /v1/orders" | "GET /v1/reissues" | "GET /v1/export" => bare(route[4..].to_owned()),
        "GET /v1/export/{what}" => bare("/v1/export/users".into()),
        "POST /v1/people" => json("/v1/people".into(), json!({ "name": "Ada Lovelace" })),
        // Of nobody: whose data is deleted is gone for every other route here.
        "POST /v1/people/{user_id}/erase" => json(format!("/v1/people/{}/erase", UserId::from_bytes([0xee; 16])), json!({ "reason": "x" })),
        "GET /v1/people/{user_id}" => bare(format!("/v1/people/{user}")),
        "GET /v1/entries" => bare(format!("/v1/entries?find={user}")),
        "GET /v1/entries/{user_id}" => bare(format!("/v1/entries/{user}")),
        // Of an entry that has nothing to exchange: tests/repair.rs and tests/reissue.rs have those that do.
        "POST /v1/entries/{user_id}/exchange" => {
            let old = counterfoil_core::DeviceId::from_bytes([0xee; 16]);
            json(format!("/v1/entries/{user}/exchange"), json!({ "kind": "device", "old": old, "reason": "x" }))
        }
        "POST /v1/entries/{user_id}/reissue" => json(format!("/v1/entries/{user}/reissue"), json!({ "reason": "x" })),
        "POST /v1/entries/{user_id}/reissues/{reissue_id}/decline" => {
            let reissue = counterfoil_core::ReissueId::from_bytes([0xee; 16]);
            json(format!("/v1/entries/{user}/reissues/{reissue}/decline"), json!({ "reason": "x" }))
        }
        "POST /v1/users/{user_id}/balance" => json(format!("/v1/users/{user}/balance"), json!({ "amount": 100, "currency": "EUR" })),
        // None of anybody is there: tests/idempotency_routes.rs sends them about orders and licenses that are.
        order if order.starts_with("POST /v1/users/{user_id}/orders/") || order.starts_with("POST /v1/users/{user_id}/licenses/") => {
            let path = order.split_once(' ').unwrap().1.replace("{user_id}", &user.to_string());
            let path = path.replace("{order_id}", &counterfoil_core::OrderId::from_bytes([1; 16]).to_string());
            json(path.replace("{license_id}", &counterfoil_core::LicenseId::from_bytes([1; 16]).to_string()), json!({ "note": "x" }))
        }
        "GET /v1/users/{user_id}" => bare(format!("/v1/users/{user}")),
        "GET /v1/audit" => bare(format!("/v1/audit?family=title:{title}")),
        "GET /v1/titles/{title}/listing" => bare(format!("/v1/titles/{title}/listing")),
        "PUT /v1/titles/{title}/listing" => json(format!("/v1/titles/{title}/listing"), catalogue::listing()),
        "PUT /v1/titles/{title}/pictures/{position}" => (format!("/v1/titles/{title}/pictures/2?alt=x"), catalogue::png(2)),
        "DELETE /v1/titles/{title}/pictures/{position}" => bare(format!("/v1/titles/{title}/pictures/2")),
        "GET /v1/store/titles" | "GET /store" => bare(route[4..].to_owned()),
        "GET /v1/store/titles/{title}" => bare(format!("/v1/store/titles/{title}")),
        "GET /v1/titles/{title}/feed" => bare(format!("/v1/titles/{title}/feed")),
        "PUT /v1/titles/{title}/feed" => json(format!("/v1/titles/{title}/feed"), feed()),
        "GET /v1/store/titles/{title}/feed" => bare(format!("/v1/store/titles/{title}/feed")),
        "GET /v1/store/titles/{title}/releases/{version}" => bare(format!("/v1/store/titles/{title}/releases/1.0")),
        "GET /pictures/{object}" => bare(format!("/pictures/{picture}")),
        "GET /store/{title}" => bare(format!("/store/{title}")),
        "GET /account/orders/{order}" | "POST /account/orders/{order}/refund" => {
            bare(route.split_once(' ').unwrap().1.replace("{order}", &counterfoil_core::OrderId::from_bytes([1; 16]).to_string()))
        }
        "GET /store/{title}/buy" | "POST /store/{title}/buy" => bare(format!("/store/{title}/buy")),
        "GET /publish/titles/{title}" | "POST /publish/titles/{title}" => bare(format!("/publish/titles/{title}")),
        // For whoever is signed in: tests/accounts.rs (and tests/store_catalogue.rs for /publish) tries them as such.
        page if ["/account", "/devices", "/transfer", "/shop", "/publish"]
            .iter()
            .any(|begin| page.split_once(' ').unwrap().1.starts_with(begin)) =>
        {
            bare(route.split_once(' ').unwrap().1.to_owned())
        }
        "GET /assets/{file}" => bare(if exists { counterfoil_server::web::assets::address("style.css") } else { "/assets/x".to_owned() }),
        "GET /contents/{object}" | "HEAD /contents/{object}" => bare(format!("/contents/{object}")),
        other => panic!("the route {other} is not in the table of roles: add it to `target`"),
    }
}

/// Of pages.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "PATCH", "DELETE"];

fn checked_in(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compares with a file that is checked in; `UPDATE_…=1` writes it anew, to be looked at before it is committed.
#[track_caller]
fn compare(path: &str, found: &str, variable: &str) {
    let path = checked_in(path);
    if std::env::var_os(variable).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differing: Vec<_> = found.lines().zip(expected.lines().chain(std::iter::repeat(""))).filter(|(a, b)| a != b).take(10).collect();
    assert!(
        found == expected,
        "{} is not what the server does; look at the difference, then run with {variable}=1: {differing:#?}",
        path.display()
    );
}

db_test!(every_role_on_every_route_as_the_table_says, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let own = Things::of_the_fox(&server, &db).await;
    let nobodys = Things::of_nobody();
    let mut callers = vec![("nobody", String::new())];
    for role in [Role::Shop, Role::Repair, Role::Provider, Role::Gateway, Role::User] {
        // Its own provider: the one among the things is ended on the way.
        let tenant = if role == Role::Provider { arcade(&server).await } else { "blue-fox".to_owned() };
        callers.push((role.as_str(), make_token(&server.app, role, Some(&tenant)).await));
    }
    callers.extend([("stranger", server.owl.clone()), ("owner", server.fox.clone()), ("operator", server.operator.clone())]);

    let mut table =
        "# status by caller; `own` are things of the publisher `blue-fox`: `owner` has its token, `stranger` that of another publisher\n"
            .to_owned();
    let _ = write!(table, "{:<54}", "route");
    for (name, _) in &callers {
        let _ = write!(table, " {name:>8}");
    }
    table.push('\n');
    let openapi = serde_json::to_value(router::openapi(&server.app)).unwrap();
    for (path, item) in openapi["paths"].as_object().unwrap() {
        for method in ["get", "head", "put", "post", "patch", "delete"].into_iter().filter(|method| item.get(*method).is_some()) {
            let route = format!("{} {path}", method.to_uppercase());
            for (whose, things) in [("missing", &nobodys), ("own", &own)] {
                let _ = write!(table, "{:<54}", format!("{route} {whose}"));
                for (_, token) in &callers {
                    let (target, body) = target(&route, things, whose == "own");
                    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                    let kind = if target.contains("/pictures/") { "image/png" } else { "application/json" };
                    let request = request(method, &target, token).header("content-type", kind).body(Body::from(body)).unwrap();
                    let _ = write!(table, " {:>8}", server.send(request).await.status.as_u16());
                }
                table.push('\n');
            }
        }
    }
    // The console's pages have a table of their own, by who is signed in: tests/golden/console_roles.txt.
    for (path, methods) in router::pages(&server.app).into_iter().filter(|(path, _)| !path.starts_with("/console")) {
        for method in METHODS {
            let route = format!("{method} {path}");
            if !methods.contains(&method) {
                let (target, _) = target(&format!("{} {path}", methods[0]), &own, true);
                let request = request(Method::from_bytes(method.as_bytes()).unwrap(), &target, "").body(Body::empty()).unwrap();
                assert_eq!(server.send(request).await.status, 405, "{route} is served, and not in the table");
                continue;
            }
            for (whose, things) in [("missing", &nobodys), ("own", &own)] {
                let _ = write!(table, "{:<54}", format!("{route} {whose}"));
                for (_, token) in &callers {
                    let (target, body) = target(&route, things, whose == "own");
                    let request = request(Method::from_bytes(method.as_bytes()).unwrap(), &target, token)
                        .header("content-type", "application/x-www-form-urlencoded");
                    let _ = write!(table, " {:>8}", server.send(request.body(Body::from(body)).unwrap()).await.status.as_u16());
                }
                table.push('\n');
            }
        }
    }
    compare("tests/golden/roles.txt", &table, "UPDATE_ROLES");
});

db_test!(the_description_is_the_one_that_is_checked_in, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let served = server.get("", "/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    let text = String::from_utf8(served.body.clone()).unwrap() + "\n";
    compare("../../docs/openapi.json", &text, "UPDATE_OPENAPI");
    let document = served.json();
    assert_eq!(document["openapi"], "3.1.0");
    // Every reference within it leads somewhere, and every operation has a name of its own.
    for part in text.split("\"$ref\": \"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
    let mut names = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no operationId"));
            assert!(names.insert(name.to_owned()), "{name} twice");
            let secured = operation.get("security").is_some();
            let public =
                !path.starts_with("/v1/") || ["/v1/terminal/", "/v1/store/", "/v1/uploads/"].iter().any(|open| path.starts_with(open));
            assert_eq!(secured, !public, "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} {status}");
            }
            assert!(operation["responses"].get("default").is_some(), "{method} {path}");
        }
    }
});

/// Addresses in a text that a browser would fetch from.
fn hosts(text: &str) -> Vec<&str> {
    let begins = text.match_indices("src=\"").chain(text.match_indices("href=\"")).chain(text.match_indices("url("));
    let addresses = begins.map(|(at, begin)| text[at + begin.len()..].split(['"', ')', '\'']).next().unwrap());
    addresses.filter(|address| address.contains("//") && !address.starts_with("data:")).collect()
}

db_test!(the_reference_comes_whole_from_this_server, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let redirect = server.get("", "/reference").await;
    assert_eq!((redirect.status.as_u16(), redirect.header("location")), (303, "/reference/"));
    let page = server.get("", "/reference/").await;
    let text = String::from_utf8(page.body.clone()).unwrap();
    assert!(page.status.is_success() && text.contains("swagger-ui"), "{text}");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
    assert_eq!(hosts(&text), Vec::<&str>::new());
    let mut assets = 0;
    for part in text.split("src=\"").skip(1).chain(text.split("href=\"").skip(1)) {
        let asset = part.split('"').next().unwrap().trim_start_matches("./");
        let answer = server.get("", &format!("/reference/{asset}")).await;
        assert!(answer.status.is_success(), "{asset}: {}", answer.status);
        if asset.ends_with(".css") {
            assert_eq!(hosts(&String::from_utf8_lossy(&answer.body)), Vec::<&str>::new(), "{asset}");
        }
        assets += 1;
    }
    assert!(assets >= 4, "{assets} assets");
    let start = server.get("", "/reference/swagger-initializer.js").await;
    let start = String::from_utf8(start.body).unwrap();
    assert!(start.contains("/openapi.json") && !start.contains("http"), "{start}");
});

db_test!(the_page_at_the_root_says_what_this_server_is, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let page = server.get("", "/").await;
    let text = String::from_utf8(page.body.clone()).unwrap();
    assert!(text.contains("test.example") && text.contains("<dt>Titles</dt><dd>1</dd>"), "{text}");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    assert_eq!(hosts(&text), Vec::<&str>::new());
    for part in text.split("href=\"").skip(1) {
        let link = part.split('"').next().unwrap();
        assert!(!server.get("", link).await.status.is_server_error(), "{link}");
    }
});

fn from(address: &str, path: &str) -> axum::http::Request<Body> {
    let mut request = request(Method::GET, path, "").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(address.parse::<SocketAddr>().unwrap()));
    request
}

db_test!(figures_are_for_this_machine_and_for_operators, async |db: TestDb| {
    counterfoil_server::metrics::install();
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    server.get(&server.fox, "/v1/titles/sky-raider").await.expect(200);
    assert_eq!(server.send(from("192.0.2.1:9", "/metrics")).await.status, 401);
    let mut proxied = from("127.0.0.1:9", "/metrics");
    proxied.headers_mut().insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
    assert_eq!(server.send(proxied).await.status, 401);
    assert_eq!(server.get(&server.fox, "/metrics").await.status, 403);
    assert_eq!(server.get(&server.operator, "/metrics").await.status, 200);
    for local in ["127.0.0.1:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
        let text = String::from_utf8(server.send(from(local, "/metrics")).await.body).unwrap();
        for line in [
            "counterfoil_http_requests_total{route=\"/v1/titles/{title}\",method=\"GET\",status=\"200\"} 1",
            "counterfoil_http_request_seconds_bucket{route=\"/v1/titles/{title}\",method=\"GET\",le=\"+Inf\"} 1",
            "counterfoil_build_info{version=\"",
            "counterfoil_db_commit_seconds_bucket",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("sky-raider"), "IDs are no labels");
    }
});

db_test!(too_many_requests_of_one_address_wait, async |db: TestDb| {
    let server = TestServer::with(&db, |config| {
        config.limits.requests_per_second = 1;
        config.limits.burst = 3;
    })
    .await;
    // More than the burst and what a slow machine's clock may add to it.
    let mut refused = None;
    for _ in 0..200 {
        let answer = server.send(from("192.0.2.1:9", "/healthz")).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("one of 200");
    assert_eq!(
        (refused.code().as_str(), refused.header("retry-after"), refused.header("content-type")),
        ("rate_limited", "1", "application/problem+json")
    );
    assert_eq!(server.send(from("192.0.2.2:9", "/healthz")).await.status, 200, "another address");
});

db_test!(odd_addresses_and_texts_are_refused_and_nothing_fails, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    for path in [
        "/v1/titles?after=%00",
        "/v1/audit?family=%00",
        "/v1/titles/%00",
        "/v1/titles/%ff",
        "/v1/titles?limit=x",
        "/v1/titles?limit=-1",
        "/v1/titles/sky-raider/releases?after=x",
        "/v1/audit",
        "/v1/audit?family=x&after=99999999999999999999",
        "/v1/media/%F0%9F%92%BE",
        "/v1/batches/bat-%20",
    ] {
        let answer = server.get(&server.operator, path).await;
        assert!(answer.status.is_client_error() && !answer.code().is_empty(), "{path}: {}", answer.status);
    }
    let token = json!({ "role": "shop", "tenant": "a\u{0}b", "name": "x" });
    assert_eq!(server.post(&server.operator, "/v1/tokens", &token).await.status, 422);
    let attributes = json!({ "titles": [{ "title": "sky-raider" }], "count": 1, "name": "", "rights": { "attributes": { "a": "\u{0}" } } });
    assert_eq!(server.post(&server.operator, "/v1/batches", &attributes).await.status, 201);
    for (path, body) in [
        ("/v1/titles", "{"),
        ("/v1/titles", "[]"),
        ("/v1/batches", r#"{"titles":[],"count":99999999999999999999}"#),
        ("/v1/publishers", r#"{"id":"a","name":"\u0000"}"#),
        ("/v1/cards", r#"{"cards":[1]}"#),
    ] {
        let request = request(Method::POST, path, &server.operator).header("content-type", "application/json").body(body.into()).unwrap();
        let answer = server.send(request).await;
        assert!(answer.status.is_client_error() && !answer.code().is_empty(), "{path} {body}: {}", answer.status);
    }
});
