//! The way to the authority: mutual TLS on its private listener (C16), with a certificate that renews itself.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use counterfoil_core::wire::{Enrol, EnrolToken, Enrolled, ExchangeRecords, Prepare, Step, Undo};
use counterfoil_core::{Code, RequestId, Timestamp};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::app::App;
use super::config;
use super::identity::{self, Identity, IdentityError};
use crate::clock::Clock;
use crate::problem::{ApiCode, Problem};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a stream may say nothing: the authority's heartbeat comes four times as often.
const SILENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether the certificate is to be renewed, or was replaced by a command.
const LOOK: Duration = Duration::from_secs(10);
/// How long after a renewal that failed the next one is tried.
const AGAIN: i64 = 60 * 1000;
/// Longest that anybody is told to wait, in seconds.
const LONGEST_WAIT: u32 = 300;

/// Why there is no answer to a step.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failed {
    /// None came, or one that says nothing of the exchange. What was asked may have been done.
    #[error("the authority does not answer: {0}")]
    Away(String),
    /// It does not let this gateway in.
    #[error("the authority does not let this gateway in: {0}")]
    Shut(String),
    /// It has been asked too much, and will answer in so many seconds. Nothing was done.
    #[error("the authority has been asked too much by this gateway, and will answer in {0} s")]
    Busy(u32),
    /// It knows no such exchange.
    #[error("the authority knows no such exchange")]
    Unknown,
    /// It does not take the request as it is.
    #[error("the authority does not take it: {0}")]
    Refused(Problem),
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(problem) => problem,
            // It is not the customer who has asked too much: for whoever asks, the authority is not to be had for that long.
            Failed::Busy(seconds) => {
                metrics::counter!("counterfoil_gateway_held_back_total").increment(1);
                Self { retry_after: Some(seconds), ..ApiCode::AuthorityUnavailable.into() }
            }
            other => {
                tracing::warn!(error = %other, "a step of an exchange was not answered");
                Self { retry_after: Some(5), ..ApiCode::AuthorityUnavailable.into() }
            }
        }
    }
}

/// The authority. Cheap to clone.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    url: String,
    path: PathBuf,
    timeout: Duration,
    clock: Clock,
    line: RwLock<Option<Line>>,
    answered: AtomicBool,
}

#[derive(Clone)]
struct Line {
    identity: Identity,
    client: Client,
}

impl Authority {
    /// As configured. Where the gateway is not enrolled yet, it is looked for again now and then.
    ///
    /// # Errors
    /// The identity is there and cannot be used.
    pub fn open(config: &config::Authority, clock: &Clock) -> Result<Self, IdentityError> {
        let line = match config.identity_file.exists() {
            true => Some(Line::open(Identity::read(&config.identity_file)?, clock)?),
            false => None,
        };
        let (url, path, timeout) = (config.url.clone(), config.identity_file.clone(), config.timeout());
        Ok(Self(Arc::new(Inner { url, path, timeout, clock: clock.clone(), line: RwLock::new(line), answered: AtomicBool::new(false) })))
    }

    /// Asks for something, in JSON.
    ///
    /// # Errors
    /// As [`Failed`] says.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        self.ask::<(), T>(Method::GET, path, None).await
    }

    /// Hands in what a terminal wants.
    ///
    /// # Errors
    /// As [`Failed`] says.
    pub async fn prepare(&self, prepare: &Prepare) -> Result<Step, Failed> {
        self.ask(Method::POST, "/v1/gateway/exchanges", Some(prepare)).await
    }

    /// Promises the charge, and has the exchange carried out; may be repeated.
    ///
    /// # Errors
    /// As [`Failed`] says.
    pub async fn commit(&self, prepare: &Prepare) -> Result<Step, Failed> {
        self.ask(Method::POST, &format!("/v1/gateway/exchanges/{}/commit", prepare.exchange_id), Some(prepare)).await
    }

    /// Where an exchange stands, without its answer.
    ///
    /// # Errors
    /// As [`Failed`] says.
    pub async fn status(&self, exchange: RequestId) -> Result<Step, Failed> {
        self.get(&format!("/v1/gateway/exchanges/{exchange}")).await
    }

    /// Gives an exchange up, where it is not being carried out yet.
    ///
    /// # Errors
    /// As [`Failed`] says.
    pub async fn abort(&self, exchange: RequestId, reason: &str) -> Result<Step, Failed> {
        self.ask(Method::POST, &format!("/v1/gateway/exchanges/{exchange}/abort"), Some(&json!({ "reason": reason }))).await
    }

    /// Has exactly that ended which an exchange paid for.
    ///
    /// # Errors
    /// As [`Failed`] says.
    pub async fn undo(&self, exchange: RequestId, undo: &Undo) -> Result<Step, Failed> {
        self.ask(Method::POST, &format!("/v1/gateway/exchanges/{exchange}/undo"), Some(undo)).await
    }

    /// A page of the exchanges of this gateway, in the order that they changed in.
    ///
    /// # Errors
    /// As [`Failed`] says.
    pub async fn changes(&self, after: Option<&str>) -> Result<ExchangeRecords, Failed> {
        let after = after.map(|after| format!("?after={}", form_urlencoded::byte_serialize(after.as_bytes()).collect::<String>()));
        self.get(&format!("/v1/gateway/exchanges{}", after.unwrap_or_default())).await
    }

    /// A page of what was given back since then, in the order that it was; every page that holds any says where to go on.
    ///
    /// # Errors
    /// As [`Failed`] says; `Unknown` where the authority is from before it knew how.
    pub async fn refunds(&self, since: Timestamp, after: Option<&str>) -> Result<ExchangeRecords, Failed> {
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        self.get(&format!("/v1/gateway/refunds?since={}{after}", since.0)).await
    }

    /// A page of all exchanges of this gateway that were prepared within a time, in the order of their IDs.
    ///
    /// # Errors
    /// As [`Failed`] says; `Unknown` where the authority is from before it knew how.
    pub async fn by_id(&self, after: Option<&str>, during: &std::ops::Range<Timestamp>) -> Result<ExchangeRecords, Failed> {
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        self.get(&format!("/v1/gateway/reconcile?from={}&until={}{after}", during.start.0, during.end.0)).await
    }

    /// Passes a request on; what is answered, whatever it is, is passed back.
    ///
    /// # Errors
    /// `Away`, `Shut`.
    pub async fn pass(&self, request: impl FnOnce(&Client, &str) -> reqwest::RequestBuilder) -> Result<Response, Failed> {
        let line = self.line()?;
        self.noted(request(&line.client, &self.0.url).send().await)
    }

    /// Whether the last request was answered.
    pub fn answers(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed)
    }

    /// The name at the authority, and from when until when the certificate is good.
    ///
    /// # Errors
    /// `Unusable`: there is none.
    pub fn identity(&self) -> Result<(String, Timestamp, Timestamp), IdentityError> {
        let line = self.line().map_err(|error| IdentityError::Unusable(error.to_string()))?;
        let (from, until) = line.identity.validity()?;
        Ok((line.identity.enrolled.map(|enrolled| enrolled.gateway).unwrap_or_default(), from, until))
    }

    async fn ask<B: Serialize + ?Sized, T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&B>) -> Result<T, Failed> {
        let line = self.line()?;
        let mut request = line.client.request(method, format!("{}{path}", self.0.url)).timeout(self.0.timeout);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.noted(request.send().await)?;
        told(response).await
    }

    fn noted(&self, sent: reqwest::Result<Response>) -> Result<Response, Failed> {
        self.0.answered.store(sent.is_ok(), Ordering::Relaxed);
        sent.map_err(|error| Failed::Away(causes(&error)))
    }

    fn line(&self) -> Result<Line, Failed> {
        let line = self.0.line.read().unwrap_or_else(PoisonError::into_inner);
        line.clone().ok_or_else(|| Failed::Shut("this gateway is not enrolled: `counterfoild gateway enrol TOKEN`".to_owned()))
    }

    fn change(&self, line: Line) {
        *self.0.line.write().unwrap_or_else(PoisonError::into_inner) = Some(line);
    }

    /// Takes over what a command has put into the file, and renews the certificate where it is due; says whether it was renewed.
    ///
    /// # Errors
    /// What went wrong; the old certificate stays in use.
    pub async fn look_after(&self) -> Result<bool, String> {
        let now = self.0.clock.now();
        if self.0.path.exists() {
            let read = Identity::read(&self.0.path).map_err(|error| error.to_string())?;
            if read.enrolled.is_some() && self.line().ok().is_none_or(|line| line.identity != read) {
                self.change(Line::open(read, &self.0.clock).map_err(|error| error.to_string())?);
            }
        }
        let Ok(line) = self.line() else { return Ok(false) };
        let (from, until) = line.identity.validity().map_err(|error| error.to_string())?;
        if now < identity::renewal_due(from, until) {
            return Ok(false);
        }
        // The old certificate is good beside the new one until its end: whatever is under way goes on.
        let fresh = Identity::generate().map_err(|error| error.to_string())?;
        let wanted = Enrol { token: None, request: fresh.request().map_err(|error| error.to_string())? };
        let enrolled: Enrolled = self.ask(Method::POST, "/v1/gateway/renew", Some(&wanted)).await.map_err(|error| error.to_string())?;
        let fresh = fresh.with(enrolled);
        let line = Line::open(fresh.clone(), &self.0.clock).map_err(|error| error.to_string())?;
        fresh.write(&self.0.path).map_err(|error| error.to_string())?;
        self.change(line);
        Ok(true)
    }
}

impl Line {
    fn open(identity: Identity, clock: &Clock) -> Result<Self, IdentityError> {
        Ok(Self { client: client(identity.tls(clock)?)?, identity })
    }
}

/// Gets a certificate by a one-time token. The key is kept before the token is used, and with it for which token it was, so that a repeat asks for the
/// same wherever the one before was cut off.
///
/// # Errors
/// What the authority says, or the file.
pub async fn enrol(config: &config::Authority, token: &EnrolToken, clock: &Clock) -> Result<Enrolled, EnrolError> {
    let path = &config.identity_file;
    let begun = path.with_extension("new");
    let done = Identity::read(path).ok().filter(|identity| identity.is_for(token));
    let fresh = match done.or_else(|| Identity::read(&begun).ok()) {
        Some(before) => before,
        None => Identity::generate()?,
    };
    let fresh = fresh.for_token(token);
    fresh.write(&begun)?;
    let wanted = Enrol { token: Some(token.reveal()), request: fresh.request()? };
    let url = format!("{}/v1/gateway/enrol", config.url);
    let sent = client(identity::pinned(token.pin, clock)?)?.post(url).timeout(config.timeout()).json(&wanted).send().await;
    let enrolled: Enrolled = told(sent.map_err(|error| Failed::Away(causes(&error)))?).await?;
    let fresh = fresh.with(enrolled.clone());
    // It can be used, before what is there is replaced.
    fresh.tls(clock)?;
    fresh.write(path)?;
    std::fs::remove_file(&begun).map_err(|error| IdentityError::File(format!("{}: {error}", begun.display())))?;
    Ok(enrolled)
}

/// Why a gateway was not enrolled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The authority, or the way to it.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// The file, or what is in it.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// One connection for each stream: HTTP/2 would put them all on one, which has room for only so many.
fn client(tls: rustls::ClientConfig) -> Result<Client, IdentityError> {
    let builder = Client::builder().tls_backend_preconfigured(tls).http1_only().https_only(true).no_proxy();
    let builder = builder.connect_timeout(CONNECT).read_timeout(SILENCE).redirect(redirect::Policy::none());
    let named = builder.referer(false).user_agent(concat!("Counterfoil-Gateway/", env!("CARGO_PKG_VERSION")));
    named.build().map_err(|error| IdentityError::Unusable(causes(&error)))
}

/// Reads an answer: what was asked for, or a problem.
async fn told<T: DeserializeOwned>(response: Response) -> Result<T, Failed> {
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Failed::Busy(wait(response.headers())));
    }
    let body = response.bytes().await.map_err(|error| Failed::Away(causes(&error)))?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| Failed::Away(format!("an answer that cannot be read: {error}")));
    }
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |member: &str| problem[member].as_str().map(str::to_owned);
    let code = text("code").unwrap_or_default();
    let said = format!("{} {code} {}", status.as_u16(), text("detail").unwrap_or_default());
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failed::Shut(said),
        StatusCode::NOT_FOUND if code == ApiCode::NotFound.as_str() => Failed::Unknown,
        StatusCode::REQUEST_TIMEOUT | StatusCode::NOT_FOUND => Failed::Away(said),
        status if status.is_client_error() => match known(&code) {
            Some(problem) => Failed::Refused(Problem { status, detail: text("detail"), ..problem }),
            None => Failed::Away(said),
        },
        _ => Failed::Away(said),
    })
}

/// How long to wait, in seconds (RFC 9110 §10.2.3); a moment where nothing is said that can be read.
pub(super) fn wait(headers: &HeaderMap) -> u32 {
    let said = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
    said.unwrap_or(1).clamp(1, LONGEST_WAIT)
}

/// The problem of a code, where this program knows it.
fn known(code: &str) -> Option<Problem> {
    let refusal = || Code::ALL.iter().copied().find(|known| known.as_str() == code).map(Problem::from);
    ApiCode::ALL.iter().copied().find(|known| known.as_str() == code).map(Problem::from).or_else(refusal)
}

/// The whole chain: what matters is at its end.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Keeps the way open for as long as the gateway runs.
pub async fn keep_forever(app: App) {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut not_before = Timestamp(0);
    loop {
        every.tick().await;
        let now = app.clock.now();
        if now < not_before {
            continue;
        }
        match app.authority.look_after().await {
            Ok(false) => {}
            Ok(true) => tracing::info!("the certificate for the authority was renewed"),
            Err(error) => {
                tracing::warn!(error, "the certificate for the authority could not be looked after; the old one stays in use");
                not_before = Timestamp(now.0 + AGAIN);
            }
        }
    }
}
