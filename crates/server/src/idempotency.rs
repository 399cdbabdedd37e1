//! `Idempotency-Key`: a write that is sent twice takes effect once, and is answered alike, byte for byte (`protocol.md` §1).
//!
//! One layer on every route turns the header into a [`Once`], and every action that writes does so by [`Once::write`]. Two rows keep the
//! promise. The first, in the caller's family, binds the key to one request: another body under the same key is refused before anything is
//! tried. The second is written in the transaction of the effect and holds the answer, so that there is never one without the other; whoever
//! repeats the request, at the same moment or a day later, finds it there. Answers are sealed under the caller's own bearer token, which the
//! database does not hold: a token or a key in one of them is in no backup.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use counterfoil_core::Timestamp;
use counterfoil_format::encoding::frame;
use counterfoil_format::secret::Secret;
use serde::Serialize;

use crate::app::App;
use crate::auth::{Caller, bearer};
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::request::{self, Recorded};

mod sealed;

const HEADER: &str = "idempotency-key";
/// Longest key, in characters.
const MAX_KEY: usize = 255;
/// How long a key is remembered.
const KEPT: i64 = Timestamp::DAY;

/// An answer to a write: what is recorded and repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status, one of success.
    pub status: StatusCode,
    /// A JSON document, or nothing.
    pub body: Vec<u8>,
}

impl Reply {
    /// 201 with a document.
    pub fn created(document: &impl Serialize) -> Self {
        Self::json(StatusCode::CREATED, document)
    }

    /// 200 with a document.
    pub fn ok(document: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, document)
    }

    /// 204.
    pub fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: vec![] }
    }

    fn json(status: StatusCode, document: &impl Serialize) -> Self {
        Self { status, body: serde_json::to_vec(document).expect("documents of the API have text for keys, so they are JSON") }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        if self.status == StatusCode::NO_CONTENT {
            response.headers_mut().remove(CONTENT_TYPE);
        } else {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response
    }
}

/// What a handler that writes does it by. As an extractor it exists on every route that needs a token.
#[derive(Clone)]
pub struct Once(Option<Arc<Keyed>>);

struct Keyed {
    /// Scope and key, hashed; the ID of both rows.
    id: String,
    /// Of everything that was asked for.
    digest: [u8; 32],
    /// What the answer is sealed under, from the bearer token.
    secret: Secret<32>,
    /// Whether the effect and the answer were written together.
    settled: AtomicBool,
}

impl Once {
    /// For a form: its field `once` in the place of the header. Whoever sends another form under the same word is refused by what it would
    /// change. Without the word nothing is promised.
    pub fn of_form(actor: &str, route: &str, word: &str, digest: &[u8; 32], secret: Secret<32>) -> Self {
        if word.is_empty() {
            return Self(None);
        }
        let scope = frame(&[actor.as_bytes(), route.as_bytes(), word.as_bytes()]);
        let id = format!("form:{}", blake3::hash(&scope).to_hex());
        Self(Some(Arc::new(Keyed { id, digest: *digest, secret, settled: AtomicBool::new(false) })))
    }

    /// An ID for what the request makes, which its repeats find again however late they come, and nobody can guess; none without a key.
    pub fn id(&self) -> Option<[u8; 16]> {
        let keyed = self.0.as_ref()?;
        let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026-01 ID of what a keyed request of the HTTP API makes");
        hasher.update(&frame(&[keyed.secret.expose(), keyed.id.as_bytes(), &keyed.digest]));
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Some(id)
    }

    /// For a request that carries an ID of its own, under which its answer is recorded: a key adds nothing to that.
    pub fn by_nature(&self) {
        if let Some(keyed) = &self.0 {
            keyed.settled.store(true, Ordering::Relaxed);
        }
    }

    /// The answer that was recorded by [`Once::write`] in a family, for an action of many transactions that must not begin again.
    ///
    /// # Errors
    /// As for `write`, without those of an action.
    pub async fn recorded(&self, app: &App, family: String) -> Result<Option<Reply>, Problem> {
        let Some(keyed) = self.0.clone() else { return Ok(None) };
        let (now, given) = (app.clock.now(), Arc::clone(&keyed));
        let once = app
            .db
            .read("recorded answer", async move |tx: &mut Tx| request::once(tx, &family, &given.id, &given.digest, now.0).await)
            .await?;
        let request::Once::Repeat(recorded) = once else { return Ok(None) };
        keyed.settled.store(true, Ordering::Relaxed);
        sealed::open(&keyed.secret, &keyed.id, &recorded.answer)
            .map(Some)
            .ok_or_else(|| Problem::internal("a recorded answer does not open for the caller that it was given to"))
    }

    /// Runs an action that writes one family, and records its answer in the same transaction; or repeats the answer recorded before.
    ///
    /// `family` must follow from the request and from what never changes, so that a repeat looks in the same place.
    ///
    /// # Errors
    /// Those of the action, and of `Db::write`. Nothing is recorded then, and the same request may be tried again.
    pub async fn write<F>(&self, app: &App, name: &'static str, family: String, action: F) -> Result<Reply, Problem>
    where
        F: AsyncFn(&mut Tx) -> Result<Reply, Problem> + Send + 'static,
    {
        let now = app.clock.now();
        let keyed = self.0.clone();
        let salt = app.rng.bytes();
        let scope = family.clone();
        let reply = app
            .db
            .write(name, &family, async move |tx: &mut Tx| -> Result<Reply, Problem> {
                let Some(keyed) = &keyed else { return action(tx).await };
                match request::once(tx, &scope, &keyed.id, &keyed.digest, now.0).await? {
                    request::Once::Repeat(recorded) => sealed::open(&keyed.secret, &keyed.id, &recorded.answer)
                        .ok_or_else(|| Problem::internal("a recorded answer does not open for the caller that it was given to")),
                    request::Once::Mismatch => Err(ApiCode::IdempotencyMismatch.into()),
                    request::Once::Fresh => {
                        let reply = action(tx).await?;
                        let answer = sealed::seal(&keyed.secret, &keyed.id, salt, &reply);
                        request::record(tx, &scope, &keyed.id, &keyed.digest, &Recorded { status: STATUS, answer }, now.0, now.0 + KEPT)
                            .await?;
                        Ok(reply)
                    }
                }
            })
            .await?;
        if let Some(keyed) = &self.0 {
            keyed.settled.store(true, Ordering::Relaxed);
        }
        Ok(reply)
    }
}

/// Both rows have it; what counts is in the answer.
const STATUS: i64 = 0;

impl<S: Send + Sync> FromRequestParts<S> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Once>()
            .cloned()
            .ok_or_else(|| Problem::internal("a handler writes on a route without the layer of idempotency"))
    }
}

/// The layer. It lies inside of authentication, because a key means something only for its caller.
pub async fn layer(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let keyed = match *request.method() {
        Method::POST | Method::PATCH | Method::DELETE => match bind(&app, &mut request).await {
            Ok(keyed) => keyed.map(Arc::new),
            Err(problem) => return problem.into_response(),
        },
        _ => None,
    };
    request.extensions_mut().insert(Once(keyed.clone()));
    let response = next.run(request).await;
    match keyed {
        Some(keyed) if response.status().is_success() && !keyed.settled.load(Ordering::Relaxed) => {
            Problem::internal("a write went past the layer of idempotency: the key that was given did not protect it").into_response()
        }
        _ => response,
    }
}

/// Binds the key to this request, where one is given.
async fn bind(app: &App, request: &mut Request) -> Result<Option<Keyed>, Problem> {
    let Some(key) = request.headers().get(HEADER) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len())).map(str::to_owned);
    let key = key.ok_or_else(|| Problem::with(ApiCode::InvalidRequest, "Idempotency-Key is 1 to 255 visible characters"))?;
    let missing = || Problem::internal("the layer of idempotency lies outside of authentication");
    let caller = request.extensions().get::<Caller>().ok_or_else(missing)?.clone();
    let bearer = bearer(request.headers()).ok_or_else(missing)?;
    let secret = Secret::new(blake3::derive_key("counterfoil 2026-01 recorded answer of the HTTP API", bearer.as_bytes()));
    let method = request.method().as_str().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| request.uri().path().to_owned(), |path| path.as_str().to_owned());
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();

    let body = std::mem::replace(request.body_mut(), Body::empty());
    let body = axum::body::to_bytes(body, app.config.limits.body_bytes).await.map_err(|_| Problem::from(ApiCode::TooLarge))?;
    let scope = frame(&[caller.token_id.as_bytes(), method.as_bytes(), route.as_bytes(), key.as_bytes()]);
    let id = format!("http:{}", blake3::hash(&scope).to_hex());
    let digest = *blake3::hash(&frame(&[target.as_bytes(), &body])).as_bytes();
    *request.body_mut() = Body::from(body);

    let now = app.clock.now().0;
    let family = caller.actor();
    let (key_family, key_id) = (family.clone(), id.clone());
    app.db
        .write("idempotency_key", &family, async move |tx: &mut Tx| -> Result<(), Problem> {
            match request::once(tx, &key_family, &key_id, &digest, now).await? {
                request::Once::Repeat(_) => Ok(()),
                request::Once::Mismatch => Err(ApiCode::IdempotencyMismatch.into()),
                request::Once::Fresh => {
                    let nothing = Recorded { status: STATUS, answer: vec![] };
                    Ok(request::record(tx, &key_family, &key_id, &digest, &nothing, now, now + KEPT).await?)
                }
            }
        })
        .await?;
    Ok(Some(Keyed { id, digest, secret, settled: AtomicBool::new(false) }))
}
