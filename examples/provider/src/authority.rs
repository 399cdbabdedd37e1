//! The authority: judges presentations, over HTTP, and has published the keys that its verdicts are signed by.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use counterfoil_core::ProviderId;
use counterfoil_core::wire::{Presentation, VERDICT_TYP, Verdict};
use counterfoil_format::jwt::{self, Demands, KeyList};
use reqwest::header::RETRY_AFTER;
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use crate::problem::{Code, Problem};

/// How long a whole answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer, in bytes: a verdict names every title that a user has.
const LONGEST: usize = 1 << 20;
/// Keys are asked for again when one is not known, and not more often than this, in seconds.
const KEYS_AGE: i64 = 60;

/// One authority, and this provider's token there.
pub struct Authority {
    url: String,
    token: String,
    id: ProviderId,
    client: Client,
    name: OnceCell<String>,
    /// As fetched last, and when.
    keys: Mutex<Option<(KeyList, i64)>>,
}

/// What the authority says of a presentation.
pub enum Judged {
    /// It vouches for it.
    Active {
        /// What it says.
        verdict: Box<Verdict>,
        /// The same, signed.
        signed: String,
    },
    /// It does not.
    Inactive {
        /// Its code.
        reason: String,
        /// Its words.
        detail: Option<String>,
    },
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
struct Answer {
    active: bool,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    verdict: Option<String>,
}

impl Authority {
    /// At `url`, where `id` shows `token`.
    ///
    /// # Errors
    /// The certificate authority's file cannot be read, or the client not be made.
    pub fn new(url: &str, token: String, id: ProviderId, ca: Option<&Path>) -> Result<Self, String> {
        let mut client = Client::builder().timeout(PATIENCE).connect_timeout(Duration::from_secs(4)).redirect(redirect::Policy::none());
        if let Some(file) = ca {
            let pem = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            client = client.tls_certs_merge([Certificate::from_pem(&pem).map_err(|error| format!("{}: {error}", file.display()))?]);
        }
        let client = client.build().map_err(|error| error.to_string())?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Authority { url, token, id, client, name: OnceCell::new(), keys: Mutex::new(None) })
    }

    /// What it calls itself in its verdicts; asked once.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn name(&self) -> Result<&str, Problem> {
        let asked = async { Ok(self.ask::<Name>(self.client.get(format!("{}/.well-known/counterfoil", self.url))).await?.name) };
        self.name.get_or_try_init(|| asked).await.map(String::as_str)
    }

    /// Has a presentation judged that answers `challenge`: `POST /v1/verify`.
    ///
    /// # Errors
    /// It does not answer, does not admit this provider, or says something else than it was asked.
    pub async fn verify(&self, presentation: &Presentation, challenge: &str) -> Result<Judged, Problem> {
        let body = serde_json::json!({ "presentation": presentation, "challenge": challenge });
        let request = self.client.post(format!("{}/v1/verify", self.url)).bearer_auth(&self.token).json(&body);
        let answer: serde_json::Value = self.ask(request).await?;
        let no_verdict = |what: &str| Problem::new(Code::AuthorityFailed, what.to_owned());
        let said = Answer::deserialize(&answer).map_err(|error| no_verdict(&error.to_string()))?;
        if !said.active {
            return Ok(Judged::Inactive { reason: said.reason.unwrap_or_else(|| "unknown".to_owned()), detail: said.detail });
        }
        let verdict = Verdict::deserialize(answer).map_err(|error| no_verdict(&error.to_string()))?;
        if verdict.aud != self.id || verdict.nonce != challenge || verdict.iss != self.name().await? {
            return Err(no_verdict("it is on another presentation, or for another provider"));
        }
        let signed = said.verdict.ok_or_else(|| no_verdict("the verdict is not signed"))?;
        Ok(Judged::Active { verdict: Box::new(verdict), signed })
    }

    /// Checks a verdict by the authority's published keys, without asking it for more than those.
    ///
    /// # Errors
    /// It is not the authority's, for somebody else, or over; or the keys cannot be had.
    pub async fn verify_offline(&self, signed: &str, now: i64) -> Result<Verdict, Problem> {
        let audience = self.id.to_string();
        let demands = Demands { typ: VERDICT_TYP, now, audience: Some(&audience), holder: None, must_expire: true };
        let known = self.known_keys();
        let checked = known.as_ref().map(|(keys, _)| jwt::verify::<Verdict>(signed, keys, &demands));
        let verdict = match (checked, known) {
            (Some(Ok(verdict)), _) => verdict,
            // Perhaps it is signed by a key that is new.
            (_, None) => self.verify_by_new_keys(signed, &demands).await?,
            (_, Some((_, at))) if now - at >= KEYS_AGE => self.verify_by_new_keys(signed, &demands).await?,
            _ => return Err(Code::SessionUnknown.into()),
        };
        // Clocks may differ by a minute there; a verdict is good for ten, and not longer here.
        if verdict.iss != self.name().await? || verdict.exp <= now || !verdict.active {
            return Err(Code::SessionUnknown.into());
        }
        Ok(verdict)
    }

    async fn verify_by_new_keys(&self, signed: &str, demands: &Demands<'_>) -> Result<Verdict, Problem> {
        let bytes = self.fetch(self.client.get(format!("{}/.well-known/jwks.json", self.url))).await?;
        let keys = KeyList::parse(&bytes).map_err(|error| Problem::new(Code::AuthorityFailed, error.to_string()))?;
        let verdict = jwt::verify(signed, &keys, demands);
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some((keys, demands.now));
        verdict.map_err(|_| Code::SessionUnknown.into())
    }

    fn known_keys(&self) -> Option<(KeyList, i64)> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Problem> {
        let bytes = self.fetch(request).await?;
        serde_json::from_slice(&bytes).map_err(|error| Problem::new(Code::AuthorityFailed, error.to_string()))
    }

    async fn fetch(&self, request: RequestBuilder) -> Result<Vec<u8>, Problem> {
        let silent = |error: reqwest::Error| Problem::passing(Code::AuthorityUnreachable, error.without_url().to_string(), 5);
        let mut response = request.send().await.map_err(silent)?;
        let status = response.status();
        match status {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let wait = response.headers().get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
                return Err(Problem::passing(Code::AuthorityUnreachable, "it is too busy", wait.unwrap_or(5)));
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Code::NotAdmitted.into()),
            other => return Err(Problem::new(Code::AuthorityFailed, format!("it answers with {other}"))),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silent)? {
            if body.len() + chunk.len() > LONGEST {
                return Err(Problem::new(Code::AuthorityFailed, format!("it is longer than {LONGEST} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
