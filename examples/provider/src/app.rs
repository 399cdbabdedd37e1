//! The provider's routes: a challenge, a presentation that answers it, and what the verdict then allows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_RANGE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use counterfoil_core::ProviderId;
use counterfoil_core::wire::{Challenge, Presentation, ProviderSession, Verdict};
use counterfoil_format::secret::{Random as _, SystemRandom};
use serde::Deserialize;
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use crate::authority::{Authority, Judged};
use crate::contents::Contents;
use crate::handing_in;
use crate::memory::Memory;
use crate::problem::{Code, Problem};
use crate::sessions::Session;
use crate::uploads::Uploads;

/// Longest presentation, in bytes: an envelope, and variables of some titles.
const LONGEST: usize = 1 << 20;
/// Titles that are named in a greeting.
const TITLES_NAMED: usize = 3;
/// How long a challenge may be answered, in seconds.
const CHALLENGE_LIFETIME: i64 = 300;

/// What every request needs.
pub struct App {
    /// This provider, as the authority calls it.
    pub id: ProviderId,
    /// Who judges.
    pub authority: Authority,
    /// What there is to be had.
    pub contents: Contents,
    /// Where things are handed in to; `None`: nothing is taken.
    pub uploads: Option<Arc<Uploads>>,
    /// Whether the verdict itself is the session's token, so that a process knows sessions that it has not seen begin.
    pub offline_verdicts: bool,
    /// Given and not answered.
    pub challenges: Mutex<Memory<()>>,
    /// By token.
    pub sessions: Mutex<Memory<Session>>,
}

/// `POST /v1/present`.
#[derive(Deserialize)]
struct Shown {
    challenge: String,
    presentation: Presentation,
}

/// All routes.
pub fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/challenge", post(challenge))
        .route("/v1/present", post(present))
        .layer(DefaultBodyLimit::max(LONGEST))
        .route("/v1/contents/{name}", get(content))
        .route("/v1/uploads", any(handing_in::all))
        .route("/v1/uploads/{id}", any(handing_in::one))
        .fallback(async || Problem::from(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::from(Code::MethodNotAllowed))
        .with_state(app)
}

async fn challenge(State(app): State<Arc<App>>) -> Result<Json<Challenge>, Problem> {
    let (now, challenge) = (now(), random_hex());
    let authority = app.authority.name().await?.to_owned();
    let kept = lock(&app.challenges).keep(challenge.clone(), (), now + CHALLENGE_LIFETIME, now);
    kept.map_err(|_| Problem::passing(Code::Overloaded, "too many challenges wait to be answered", 30))?;
    Ok(Json(Challenge { provider: app.id, authority, challenge }))
}

async fn present(State(app): State<Arc<App>>, shown: Result<Json<Shown>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Shown { challenge, presentation }) = shown.map_err(|error| Problem::new(Code::InvalidRequest, error.body_text()))?;
    // Before it is judged: of two that come at once, one is too late.
    lock(&app.challenges).take(&challenge, now()).ok_or(Code::ChallengeUnknown)?;
    let (verdict, signed) = match app.authority.verify(&presentation, &challenge).await? {
        Judged::Active { verdict, signed } => (verdict, signed),
        Judged::Inactive { reason, detail } => {
            return Err(Problem { code: Code::Inactive, detail, reason: Some(reason), retry_after: None });
        }
    };
    let session = Session::new(&verdict, presentation.status, &app.contents);
    let answer = app.welcome(&session, &verdict, if app.offline_verdicts { signed } else { random_hex() });
    let kept = lock(&app.sessions).keep(answer.session.clone(), session, verdict.exp, now());
    kept.map_err(|_| Problem::passing(Code::Overloaded, "too many sessions are open", 60))?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

async fn content(State(app): State<Arc<App>>, Path(name): Path<String>, request: Request) -> Result<Response, Problem> {
    let session = app.session(request.headers()).await?;
    if !session.allows("download") {
        return Err(Problem::new(Code::RightMissing, "the verdict does not say `download`"));
    }
    let offer = app.contents.find(&name, &session).ok_or(Code::NotFound)?;
    let file = ServeFile::new(&offer.path);
    let response = file.oneshot(request).await.unwrap_or_else(|never| match never {});
    let mut response = match response.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let range = response.headers().get(CONTENT_RANGE).cloned();
            let mut problem = Problem::from(Code::RangeNotSatisfiable).into_response();
            problem.headers_mut().extend(range.map(|range| (CONTENT_RANGE, range)));
            problem
        }
        StatusCode::NOT_FOUND => return Err(Problem::new(Code::StorageFailed, format!("{} is gone", offer.path.display()))),
        _ => response.map(axum::body::Body::new),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

impl App {
    /// Whoever sends `Authorization: Bearer` with what [`ProviderSession`] said.
    ///
    /// # Errors
    /// There is no such session, or it is over.
    pub async fn session(&self, headers: &HeaderMap) -> Result<Session, Problem> {
        let now = now();
        let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer).ok_or(Code::SessionUnknown)?;
        if let Some(session) = lock(&self.sessions).get(token, now) {
            return Ok(session.clone());
        }
        if !self.offline_verdicts {
            return Err(Code::SessionUnknown.into());
        }
        // It began at another process, or before this one: what the terminal has shown besides is not known here.
        Ok(Session::new(&self.authority.verify_offline(token, now).await?, Default::default(), &self.contents))
    }

    fn welcome(&self, session: &Session, verdict: &Verdict, token: String) -> ProviderSession {
        let contents: Vec<_> = self.contents.offered(session).map(|offer| offer.content.clone()).collect();
        let named = verdict.titles.iter().filter(|title| session.titles.contains(&title.title)).take(TITLES_NAMED);
        let names: Vec<_> = named.map(|title| title.name.as_str()).collect();
        let message = match (contents.len(), names.as_slice()) {
            (0, _) => "There is nothing here for it at the moment.".to_owned(),
            (count, names) => format!("Here is something for {}: {count} in all.", names.join(", ")),
        };
        let taken = self.uploads.as_ref().filter(|_| session.allows("upload") && session.holder.is_some());
        let upload_bytes = taken.map(|uploads| uploads.most.min(session.upload_limit.unwrap_or(u64::MAX)));
        ProviderSession { session: token, scope: session.scope().to_owned(), message: Some(message), contents, upload_bytes }
    }
}

/// RFC 6750 §2.1; the scheme's case does not matter.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 128 bits that nobody can guess.
pub fn random_hex() -> String {
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970 UTC.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
