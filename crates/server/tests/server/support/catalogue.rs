//! A whole server over a test's database, asked without a network, and a catalogue to ask it about.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use counterfoil_core::Timestamp;
use counterfoil_format::content::{ChunkId, Kind, ManifestRef, ObjectName, Release};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use counterfoil_server::actions::token;
use counterfoil_server::app::{App, Parts};
use counterfoil_server::auth::Role;
use counterfoil_server::blobs::Blobs;
use counterfoil_server::clock::{Clock, Rng};
use counterfoil_server::config::Config;
use counterfoil_server::db::{Db, Tx};
use counterfoil_server::delivery::Delivery;
use counterfoil_server::keys::{Keys, RootKey, RootSource, rotate};
use counterfoil_server::limits::subjects::Subjects;
use counterfoil_server::roles::ServerRole;
use counterfoil_server::router::router;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::TestDb;

pub const NOW: Timestamp = Timestamp(1_767_225_600_000);

/// A server and somebody who asks it.
pub struct TestServer {
    pub app: App,
    pub router: Router,
    /// An operator's token.
    pub operator: String,
    /// A token of the publisher `blue-fox`.
    pub fox: String,
    /// A token of the publisher `red-owl`.
    pub owl: String,
    pub directory: tempfile::TempDir,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The code of a problem; empty for an answer without one.
    pub fn code(&self) -> String {
        serde_json::from_slice::<Value>(&self.body).ok().and_then(|body| Some(body["code"].as_str()?.to_owned())).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The JSON of an answer with this status, and the whole answer in the message of a failure.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }
}

impl TestServer {
    pub async fn new(db: &TestDb) -> Self {
        Self::with(db, |_| ()).await
    }

    /// A server with another configuration. Unless it says so, nobody is rate-limited.
    pub async fn with(db: &TestDb, configure: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (clock, rng) = (Clock::fixed(NOW), Rng::seeded(7));
        let root = RootSource::Given(RootKey::generate(1, &mut rng.clone()).reveal());
        let keys = rotate::create_all(&db.db, &root, NOW, &rng).await.unwrap();
        let mut config = Config::default();
        config.limits.requests_per_second = 0;
        config.limits.token_requests_per_second = 0;
        config.limits.medium_requests_per_second = 0;
        config.limits.device_requests_per_second = 0;
        config.limits.provider_requests_per_second = 0;
        config.accounts.attempts_per_second = 0;
        config.contents.dir = directory.path().to_owned();
        configure(&mut config);
        let app = App::new(Parts {
            db: db.db.clone(),
            blobs: Blobs::connect(&config.contents).unwrap(),
            delivery: Delivery::open(&config.contents).unwrap(),
            keys,
            clock,
            rng,
            subjects: Subjects::new(&config.limits),
            config,
            name: "test.example".to_owned(),
            urls: vec!["https://test.example".to_owned()],
            batches: Default::default(),
            catalogues: Default::default(),
            differences: Default::default(),
            outbox: tokio::sync::Notify::new(),
            inbox: Default::default(),
            lead: Default::default(),
        });
        let operator = make_token(&app, Role::Operator, None).await;
        let fox = make_token(&app, Role::Publisher, Some("blue-fox")).await;
        let owl = make_token(&app, Role::Publisher, Some("red-owl")).await;
        Self { router: router(app.clone()), app, operator, fox, owl, directory }
    }

    /// A process beside this one. It only hands out contents, without keys and without a database, unless it is configured for more.
    pub fn beside(&self, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.app.config.clone();
        config.server.roles = [ServerRole::Content].into_iter().collect();
        configure(&mut config);
        let (db, keys) = match config.server.roles.need_database() {
            true => (self.app.db.clone(), self.app.keys.clone()),
            false => (Db::absent(), Keys::absent()),
        };
        let app = App::new(Parts {
            db,
            blobs: Blobs::connect(&config.contents).unwrap(),
            delivery: Delivery::open(&config.contents).unwrap(),
            keys,
            clock: Clock::fixed(self.app.clock.now()),
            rng: Rng::seeded(8),
            subjects: Subjects::new(&config.limits),
            config,
            name: self.app.name.clone(),
            urls: self.app.urls.clone(),
            batches: Default::default(),
            catalogues: Default::default(),
            differences: Default::default(),
            outbox: tokio::sync::Notify::new(),
            inbox: Default::default(),
            lead: Default::default(),
        });
        let (operator, fox, owl) = (self.operator.clone(), self.fox.clone(), self.owl.clone());
        Self { router: router(app.clone()), app, operator, fox, owl, directory: tempfile::tempdir().unwrap() }
    }

    /// A process of its own on the same database: nothing in memory, connections of its own, and a clock of its own.
    pub async fn another(&self, db: &TestDb, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.app.config.clone();
        configure(&mut config);
        let app = App::new(Parts {
            db: db.second().await,
            blobs: Blobs::connect(&config.contents).unwrap(),
            delivery: Delivery::open(&config.contents).unwrap(),
            keys: self.app.keys.clone(),
            clock: Clock::fixed(self.app.clock.now()),
            rng: Rng::seeded(9),
            subjects: Subjects::new(&config.limits),
            config,
            name: self.app.name.clone(),
            urls: self.app.urls.clone(),
            batches: Default::default(),
            catalogues: Default::default(),
            differences: Default::default(),
            outbox: tokio::sync::Notify::new(),
            inbox: Default::default(),
            lead: Default::default(),
        });
        let (operator, fox, owl) = (self.operator.clone(), self.fox.clone(), self.owl.clone());
        Self { router: router(app.clone()), app, operator, fox, owl, directory: tempfile::tempdir().unwrap() }
    }

    pub fn contents(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(request(Method::GET, path, token).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.send(json_request(Method::POST, path, token, body)).await
    }

    pub async fn patch(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.send(json_request(Method::PATCH, path, token, body)).await
    }

    pub async fn put_json(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.send(json_request(Method::PUT, path, token, body)).await
    }

    /// A picture of a title, as its publisher sends it.
    pub async fn put_picture(&self, token: &str, title: &str, position: i64, bytes: &[u8]) -> Answer {
        let path = format!("/v1/titles/{title}/pictures/{position}?alt=A%20{title}");
        self.send(request(Method::PUT, &path, token).header("content-type", "image/png").body(bytes.to_vec().into()).unwrap()).await
    }

    pub async fn put(&self, token: &str, path: &str, body: Vec<u8>) -> Answer {
        let kind = if path.ends_with("/key") { "application/json" } else { "application/octet-stream" };
        self.send(request(Method::PUT, path, token).header("content-type", kind).body(body.into()).unwrap()).await
    }
}

pub fn request(method: Method, path: &str, token: &str) -> axum::http::request::Builder {
    let builder = Request::builder().method(method).uri(path);
    if token.is_empty() { builder } else { builder.header("authorization", format!("Bearer {token}")) }
}

pub fn json_request(method: Method, path: &str, token: &str, body: &Value) -> Request<Body> {
    request(method, path, token).header("content-type", "application/json").body(body.to_string().into()).unwrap()
}

pub async fn make_token(app: &App, role: Role, tenant: Option<&str>) -> String {
    let new = token::New { role, tenant: tenant.map(str::to_owned), name: role.as_str().to_owned(), expires_in_days: None };
    let prepared = new.prepare(app.clock.now(), &app.rng).unwrap();
    let row = prepared.row.clone();
    app.db.write("token", "tokens", async move |tx: &mut Tx| token::keep(tx, &row, "test").await).await.unwrap();
    prepared.token
}

/// The key that a publisher signs with, and its public half as the API takes it.
pub fn publisher_key(publisher: &str) -> (SigningKey, String) {
    let key = SigningKey::from_seed(&Secret::new(*blake3::hash(publisher.as_bytes()).as_bytes()));
    let public = key.verifying_key().to_string();
    (key, public)
}

/// A publisher with a title of one release, whose manifest and pack lie in the store. Answers with what POST …/releases took.
pub async fn publish(server: &TestServer, publisher: &str, title: &str, version: &str) -> Value {
    let (_, key) = publisher_key(publisher);
    let name = format!("{publisher} Ltd");
    let there = server.post(&server.operator, "/v1/publishers", &json!({ "id": publisher, "name": name, "key": key })).await;
    assert!(there.status.is_success(), "{}", String::from_utf8_lossy(&there.body));
    let new = json!({ "title": title, "name": title, "kind": "game", "publisher": publisher });
    let there = server.post(&server.operator, "/v1/titles", &new).await;
    assert!(there.status.is_success(), "{}", String::from_utf8_lossy(&there.body));
    let release = release(publisher, title, version);
    for bytes in [manifest_bytes(title, version), pack_bytes(title, version)] {
        server.put(&server.operator, &format!("/v1/contents/{}", ObjectName::of(&bytes)), bytes).await;
    }
    server.post(&server.operator, &format!("/v1/titles/{title}/releases"), &release).await.expect(201);
    release
}

/// What is POSTed to publish a release: document and objects.
pub fn release(publisher: &str, title: &str, version: &str) -> Value {
    release_with(publisher, title, version, |_| ())
}

pub fn release_with(publisher: &str, title: &str, version: &str, change: impl FnOnce(&mut Release)) -> Value {
    let (manifest, pack) = (manifest_bytes(title, version), pack_bytes(title, version));
    let (object, length) = (ObjectName::of(&manifest), manifest.len() as u64);
    let mut release = Release {
        title: title.to_owned(),
        version: version.to_owned(),
        kind: Kind::Game,
        entry: None,
        control: None,
        generation: 1,
        size: 1,
        files: 1,
        manifest: ManifestRef { id: ChunkId([1; 32]), object, length, size: 1 },
    };
    change(&mut release);
    let (key, _) = publisher_key(publisher);
    json!({
        "document": release.sign(publisher, &key),
        "objects": [{ "object": object, "length": length }, { "object": ObjectName::of(&pack), "length": pack.len() }],
    })
}

/// The server opens neither, so any bytes do.
pub fn manifest_bytes(title: &str, version: &str) -> Vec<u8> {
    format!("sealed manifest of {title} {version}").into_bytes()
}

pub fn pack_bytes(title: &str, version: &str) -> Vec<u8> {
    format!("pack of {title} {version} ").repeat(100).into_bytes()
}

/// A batch of a title that is published already.
pub async fn press(server: &TestServer, token: &str, title: &str, count: i64) -> Value {
    server.post(token, "/v1/batches", &json!({ "titles": [{ "title": title }], "count": count })).await.expect(201)
}

/// A title for sale, as its publisher says it.
pub fn listing() -> Value {
    json!({ "summary": "Fly far", "description": "One paragraph.\n\nAnother.", "on_sale": true,
            "prices": [{ "amount": 1999, "currency": "EUR" }, { "amount": 2199, "currency": "USD" }] })
}

/// A PNG of one pixel, with `mark` behind its end, which makes another object of it.
pub fn png(mark: u8) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82".to_vec();
    png.push(mark);
    png
}
