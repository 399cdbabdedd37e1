//! The routes, with an authority that says what a test wants it to say; the real one is in the acceptance tests of the command line.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use counterfoil_core::wire::{TitleOnOffer, VERDICT_TYP, Verdict};
use counterfoil_core::{Kind, ProviderId, Rights};
use counterfoil_format::jws::sign_compact;
use counterfoil_format::jwt::{KeyList, ListedKey};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::app::{App, now, routes};
use crate::authority::Authority;
use crate::contents::Contents;
use crate::memory::Memory;
use crate::uploads::Uploads;

mod contents;
mod presenting;
mod uploading;

const ME: [u8; 16] = [7; 16];
const TITLE: &str = "sky-raider";

/// What the authority answers to `/v1/verify`, by what was sent.
type Judge = Box<dyn Fn(&Value) -> (StatusCode, HeaderMap, Value) + Send + Sync>;

/// One provider, its directories, and its authority.
struct World {
    app: Arc<App>,
    directory: TempDir,
    judge: Arc<Mutex<Judge>>,
    authority: String,
}

/// An answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = directory.path().join("contents").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        file("sky-raider/map", b"0123456789");
        file("sky-raider/chapter-4", b"what comes after");
        file("sky-raider/patch-notes", b"for those who may update");
        file("night-garden/frogs", b"another title's");
        file(
            "offers.toml",
            b"['sky-raider/chapter-4']\nstatus = { chapter = 3, mode = 'hard' }\n['sky-raider/patch-notes']\nscope = ['update']\n",
        );
        std::fs::write(directory.path().join("secret"), "nobody's").unwrap();
        let judge: Arc<Mutex<Judge>> = Arc::new(Mutex::new(Box::new(|asked| active(&verdict("download upload", asked)))));
        let authority = serve_authority(judge.clone()).await;
        let app = app(directory.path(), &authority, false);
        World { app, directory, judge, authority }
    }

    /// Another process of the same provider.
    fn restarted(&self, offline_verdicts: bool) -> Arc<App> {
        app(self.directory.path(), &self.authority, offline_verdicts)
    }

    fn judges(&self, judge: impl Fn(&Value) -> (StatusCode, HeaderMap, Value) + Send + Sync + 'static) {
        *self.judge.lock().unwrap() = Box::new(judge);
    }

    /// A session under a verdict with this scope, for this holder.
    async fn session(&self, scope: &'static str, holder: &'static str) -> String {
        self.judges(move |asked| active(&Verdict { sub: Some(holder.to_owned()), ..verdict(scope, asked) }));
        let presented = present(&self.app, &challenge(&self.app).await).await;
        assert_eq!(presented.status, 200, "{presented:?}");
        presented.json()["session"].as_str().unwrap().to_owned()
    }
}

fn app(directory: &Path, authority: &str, offline_verdicts: bool) -> Arc<App> {
    let id = ProviderId::from_bytes(ME);
    Arc::new(App {
        id,
        authority: Authority::new(authority, "cft_token".into(), id, None).unwrap(),
        contents: Contents::read(&directory.join("contents")).unwrap(),
        uploads: Some(Arc::new(Uploads::new(directory.join("uploads"), 100_000, 250_000).unwrap())),
        offline_verdicts,
        challenges: Mutex::new(Memory::new(100)),
        sessions: Mutex::new(Memory::new(100)),
    })
}

fn key() -> SigningKey {
    SigningKey::from_seed(&Secret::new([3; 32]))
}

/// In a task of this test, at the address that is given back.
async fn serve_authority(judge: Arc<Mutex<Judge>>) -> String {
    let keys = KeyList { keys: vec![ListedKey::new("k1", &key().verifying_key(), None)] };
    let verify = async move |headers: HeaderMap, Json(asked): Json<Value>| {
        assert_eq!(headers["authorization"], "Bearer cft_token");
        let (status, headers, answer) = (judge.lock().unwrap())(&asked);
        (status, headers, Json(answer))
    };
    let routes = Router::new()
        .route("/.well-known/counterfoil", get(async || Json(json!({ "name": "authority.example" }))))
        .route("/.well-known/jwks.json", get(async move || Json(keys.clone())))
        .route("/v1/verify", post(verify));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

fn verdict(scope: &str, asked: &Value) -> Verdict {
    Verdict {
        active: true,
        iss: "authority.example".into(),
        aud: ProviderId::from_bytes(ME),
        sub: Some("anna".into()),
        scope: scope.into(),
        medium_id: None,
        rights: Some(Rights::default()),
        titles: vec![TitleOnOffer { title: TITLE.parse().unwrap(), name: "Sky Raider".into(), kind: Kind::Game, newest: None }],
        nonce: asked["challenge"].as_str().unwrap().into(),
        iat: now(),
        exp: now() + 600,
        jti: "once".into(),
    }
}

fn signed(verdict: &Verdict) -> String {
    sign_compact(VERDICT_TYP, "k1", verdict, &key())
}

fn active(verdict: &Verdict) -> (StatusCode, HeaderMap, Value) {
    let mut answer = serde_json::to_value(verdict).unwrap();
    answer["verdict"] = signed(verdict).into();
    (StatusCode::OK, HeaderMap::new(), answer)
}

async fn send(app: &Arc<App>, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = routes(app.clone()).oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
}

async fn challenge(app: &Arc<App>) -> String {
    let given = send(app, Method::POST, "/v1/challenge", &[], Body::empty()).await;
    assert_eq!(given.status, 200, "{given:?}");
    let given = given.json();
    assert_eq!(
        (given["provider"].as_str(), given["authority"].as_str()),
        (Some(&*ProviderId::from_bytes(ME).to_string()), Some("authority.example"))
    );
    given["challenge"].as_str().unwrap().to_owned()
}

async fn present(app: &Arc<App>, challenge: &str) -> Answer {
    present_with(app, challenge, json!({})).await
}

async fn present_with(app: &Arc<App>, challenge: &str, status: Value) -> Answer {
    let body = json!({ "challenge": challenge, "presentation": { "envelope": { "ct": "sealed" }, "status": status } });
    send(app, Method::POST, "/v1/present", &[("content-type", "application/json")], body.to_string()).await
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Refused, as problem details with this code.
    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.headers["content-type"].to_str().unwrap()), (status, "application/problem+json"), "{self:?}");
        assert_eq!((self.json()["code"].as_str(), self.json()["status"].as_u64()), (Some(code), Some(u64::from(status))), "{self:?}");
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}

fn bearer(session: &str) -> String {
    format!("Bearer {session}")
}

/// Everything below a directory that is a file, with its length.
fn files(directory: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
            if kind.is_dir() {
                waiting.push(path);
            } else {
                found.insert(path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned(), path.metadata().unwrap().len());
            }
        }
    }
    found
}
