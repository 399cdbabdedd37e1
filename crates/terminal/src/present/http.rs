//! The provider's side of the line: challenge, presentation, contents, uploads; no answer is longer or slower than it may be, and nobody is
//! sent elsewhere.

use super::error::{PresentError, refused};
use crate::error::Result;
use crate::transport::{Part, TransportError, explanation, is_guarded, problem, reason};
use crate::tus::{TusUpload, patience};
use counterfoil_core::wire::{Challenge, Presentation, ProviderSession};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::io::{self, Read};
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};

/// Longest answer that is read, in bytes: an offer of some thousand things.
const LONGEST_ANSWER: u64 = 4 << 20;
/// How long an answer is waited for, its body included. The provider asks the authority meanwhile.
const ANSWERED: Duration = Duration::from_secs(45);

/// Where a provider is.
pub(super) struct Provider {
    agent: Agent,
    base: String,
}

impl Provider {
    /// # Errors
    /// [`PresentError::Address`].
    pub fn at(agent: Agent, url: &str) -> Result<Self> {
        let http = |url: ureq::http::Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
        let plain = !url.contains(['?', '#', '@']) && url.parse().is_ok_and(http);
        if !plain || !is_guarded(url) {
            return Err(PresentError::Address(url.to_owned()).into());
        }
        Ok(Self { agent, base: url.trim_end_matches('/').to_owned() })
    }

    pub fn challenge(&self) -> Result<Challenge> {
        self.post("/v1/challenge", &json!({}))
    }

    pub fn present(&self, challenge: &str, presentation: &Presentation) -> Result<ProviderSession> {
        self.post("/v1/present", &json!({ "challenge": challenge, "presentation": presentation }))
    }

    /// The bytes from `from` on of what is called so, `length` in all.
    ///
    /// # Errors
    /// [`PresentError::Refused`]; [`TransportError`]. Whoever does not know of parts sends all of it: [`PresentError::Strange`].
    pub fn fetch(&self, token: &str, name: &str, from: u64, length: u64) -> Result<Box<dyn Read + Send>> {
        let url = self.url(&format!("/v1/contents/{name}"));
        let mut request = self.agent.get(&url).header("authorization", format!("Bearer {token}"));
        if let Some(range) = Part::from(from).header() {
            request = request.header("range", range);
        }
        let request = request.config().timeout_recv_body(Some(patience(length - from))).build();
        let answer = request.call().map_err(|error| unreachable(&url, &error))?;
        match (answer.status().as_u16(), from) {
            (200, 0) | (206, 1..) => Ok(Box::new(answer.into_body().into_reader().take(length - from))),
            (200, _) => Err(PresentError::Strange("it sends all where a part was asked for".into()).into()),
            _ => Err(no(&url, answer)),
        }
    }

    pub fn upload<'a>(&'a self, token: &'a str, length: u64, metadata: &[(&str, &str)]) -> Result<TusUpload<'a>> {
        let endpoint = self.url("/v1/uploads");
        TusUpload::create(&self.agent, &endpoint, Some(token), length, metadata).map_err(|error| refused(error.into()))
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T> {
        let url = self.url(path);
        let request = self.agent.post(&url).config().timeout_global(Some(ANSWERED)).build();
        let answer = request.send_json(body).map_err(|error| unreachable(&url, &error))?;
        if answer.status() != 200 {
            return Err(no(&url, answer));
        }
        let read = answer.into_body().with_config().limit(LONGEST_ANSWER).read_to_vec();
        let read = read.map_err(|error| unreachable(&url, &error))?;
        serde_json::from_slice(&read).map_err(|error| PresentError::Strange(error.to_string()).into())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

fn no(url: &str, answer: Response<Body>) -> crate::Error {
    let status = answer.status().as_u16();
    if (300..400).contains(&status) {
        return PresentError::Strange("it sends one elsewhere".into()).into();
    }
    refused(problem(url, status, &explanation(answer, ANSWERED)).into())
}

fn unreachable(url: &str, error: &ureq::Error) -> TransportError {
    TransportError::Unreachable { url: url.to_owned(), reason: reason(error) }
}

/// A body that ends or breaks off before all of it is here.
pub(super) fn broken(name: &str, error: &io::Error) -> TransportError {
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        io::ErrorKind::TimedOut => "it is too slow".to_owned(),
        _ => crate::io::words(error),
    };
    TransportError::Unreachable { url: format!("the provider's `{name}`"), reason }
}
