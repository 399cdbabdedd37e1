//! Handing bytes in by the tus protocol 1.0, core and creation (<https://tus.io/protocols/resumable-upload>): what was cut off goes on where the
//! server has it.
//!
//! The server is not believed: it answers shortly, on its own address, and never has more than was sent.

use crate::error::Result;
use crate::io::IoFailure;
use crate::transport::{TransportError, explanation, problem, reason};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_format::content::ReadAt;
use std::path::Path;
use std::time::Duration;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body, RequestBuilder};

const VERSION: &str = "1.0.0";
/// Bytes of one request, and so the most that are kept in memory.
const SEGMENT: u64 = 8 << 20;
/// Requests in a row that bring nothing before it is given up.
const TRIES: u32 = 3;
/// Longest address of an upload, in bytes.
const LONGEST_ADDRESS: usize = 4096;
/// Slowest line that is waited for, in bytes a second, and how long besides.
const SLOWEST: u64 = 16 * 1024;
const BESIDES: Duration = Duration::from_secs(60);

/// Longest that a body of so many bytes may take on its way: whoever is slower than that holds one up.
pub(crate) fn patience(bytes: u64) -> Duration {
    BESIDES + Duration::from_secs(bytes / SLOWEST)
}

/// An upload that has an address.
pub(crate) struct TusUpload<'a> {
    agent: &'a Agent,
    url: String,
    bearer: Option<&'a str>,
}

impl<'a> TusUpload<'a> {
    /// One that was made before. `bearer` goes along as `Authorization: Bearer …`.
    pub fn at(agent: &'a Agent, url: String, bearer: Option<&'a str>) -> Self {
        Self { agent, url, bearer }
    }

    /// Makes one of `length` bytes at `endpoint` (extension `creation`), with metadata by key, each key of ASCII without blank and comma.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn create(
        agent: &'a Agent,
        endpoint: &str,
        bearer: Option<&'a str>,
        length: u64,
        metadata: &[(&str, &str)],
    ) -> std::result::Result<Self, TransportError> {
        let mut request = asked(agent, agent.post(endpoint), bearer).header("upload-length", length.to_string());
        if !metadata.is_empty() {
            let pairs: Vec<String> = metadata.iter().map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).collect();
            request = request.header("upload-metadata", pairs.join(","));
        }
        let answer = request.send_empty().map_err(|error| unreachable(endpoint, &error))?;
        if answer.status() != 201 {
            return Err(refused(endpoint, answer));
        }
        let location = answer.headers().get("location").and_then(|location| location.to_str().ok());
        let url = location.and_then(|location| beside(endpoint, location));
        let url = url.ok_or_else(|| strange(endpoint, "it does not say where the upload goes, or names another server"))?;
        Ok(Self { agent, url, bearer })
    }

    /// Bytes that the server has.
    ///
    /// # Errors
    /// [`TransportError`]; a status of 404 or 410 where it is over.
    pub fn offset(&self) -> std::result::Result<u64, TransportError> {
        let answer = asked(self.agent, self.agent.head(&self.url), self.bearer).call().map_err(|error| unreachable(&self.url, &error))?;
        match answer.status().as_u16() {
            200 | 204 => offset_of(&self.url, &answer),
            status => Err(TransportError::Status { url: shown(&self.url), status, detail: "the upload is not there any more".into() }),
        }
    }

    /// Sends what the server has not got of the `length` bytes of `source`, and tells how many it has by now. Goes on by itself where the line
    /// is cut; when it returns, the server has all of them.
    ///
    /// # Errors
    /// [`TransportError`]: repeated, it goes on where it was. What the system said of `source`.
    pub fn send(&self, source: &dyn ReadAt, length: u64, told: &dyn Fn(u64)) -> Result<()> {
        let mut at = self.within(self.offset()?, length)?;
        let mut buffer = Vec::new();
        let mut tries = 0;
        told(at);
        while at < length {
            let count = SEGMENT.min(length - at);
            buffer.resize(usize::try_from(count).map_err(|_| strange(&self.url, "too much at once"))?, 0);
            source.read_exact_at(&mut buffer, at).map_err(IoFailure::at("read", Path::new("what is handed in")))?;
            let (failed, now) = match self.patch(&buffer, at) {
                Ok(now) => (None, now),
                // What has got through is known to the server only.
                Err(error @ (TransportError::Unreachable { .. } | TransportError::Status { status: 409, .. })) => {
                    (Some(error), self.offset().unwrap_or(at))
                }
                Err(error) => return Err(error.into()),
            };
            let now = self.within(now, length)?;
            tries = if now > at { 0 } else { tries + 1 };
            if tries == TRIES {
                return Err(failed.unwrap_or_else(|| strange(&self.url, "it takes nothing")).into());
            }
            at = now;
            told(at);
        }
        Ok(())
    }

    /// Sends bytes that belong at `offset`; answers with how many the server has then.
    fn patch(&self, bytes: &[u8], offset: u64) -> std::result::Result<u64, TransportError> {
        let request = asked(self.agent, self.agent.patch(&self.url), self.bearer).header("upload-offset", offset.to_string());
        let request = request.content_type("application/offset+octet-stream");
        let request = request.config().timeout_send_body(Some(patience(bytes.len() as u64))).build();
        let answer = request.send(bytes).map_err(|error| unreachable(&self.url, &error))?;
        match answer.status().as_u16() {
            204 | 200 => offset_of(&self.url, &answer),
            // One that says why, such as a conflict with what somebody else has handed in, is for good.
            409 => Err(match refused(&self.url, answer) {
                refusal @ TransportError::Refused(_) => refusal,
                _ => TransportError::Status { url: shown(&self.url), status: 409, detail: "it has another part already".into() },
            }),
            _ => Err(refused(&self.url, answer)),
        }
    }

    /// Gives it up (extension `termination`).
    ///
    /// # Errors
    /// [`TransportError`]; a status of 404 or 410 where it is over.
    pub fn take_back(&self) -> std::result::Result<(), TransportError> {
        let answer = asked(self.agent, self.agent.delete(&self.url), self.bearer).call().map_err(|error| unreachable(&self.url, &error))?;
        if answer.status().is_success() { Ok(()) } else { Err(refused(&self.url, answer)) }
    }

    fn within(&self, offset: u64, length: u64) -> std::result::Result<u64, TransportError> {
        if offset > length { Err(strange(&self.url, "it says that it has more than there is")) } else { Ok(offset) }
    }
}

/// A request of the protocol. What it is answered has no body, or a short one.
fn asked<B>(agent: &Agent, request: RequestBuilder<B>, bearer: Option<&str>) -> RequestBuilder<B> {
    let waited = agent.config().timeouts().recv_response.unwrap_or(BESIDES);
    let request = request.header("tus-resumable", VERSION).config().timeout_recv_body(Some(waited)).build();
    match bearer {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    }
}

fn offset_of(url: &str, answer: &Response<Body>) -> std::result::Result<u64, TransportError> {
    let offset = answer.headers().get("upload-offset").and_then(|offset| offset.to_str().ok()?.parse().ok());
    offset.ok_or_else(|| strange(url, "it does not say how much it has"))
}

/// Where `location` leads from `endpoint`, on the same server: what goes along is for nobody else. RFC 9110 §10.2.2.
fn beside(endpoint: &str, location: &str) -> Option<String> {
    let base: Uri = endpoint.parse().ok()?;
    let (scheme, host) = (base.scheme_str()?, base.authority()?);
    let bad = location.len() > LONGEST_ADDRESS || location.is_empty() || location.starts_with("//");
    let url = match location.parse::<Uri>() {
        _ if bad => return None,
        Ok(target) if target.scheme().is_some() => Some(location.to_owned()).filter(|_| target.authority() == Some(host))?,
        _ if location.contains("://") => return None,
        _ if location.starts_with('/') => format!("{scheme}://{host}{location}"),
        _ => format!("{}/{location}", endpoint.rsplit_once('/')?.0),
    };
    let target: Uri = url.parse().ok()?;
    (target.scheme_str() == Some(scheme) && target.authority() == Some(host)).then_some(url)
}

fn refused(url: &str, answer: Response<Body>) -> TransportError {
    let status = answer.status().as_u16();
    problem(&shown(url), status, &explanation(answer, BESIDES))
}

fn strange(url: &str, reason: &str) -> TransportError {
    TransportError::Status { url: shown(url), status: 200, detail: reason.into() }
}

fn unreachable(url: &str, error: &ureq::Error) -> TransportError {
    TransportError::Unreachable { url: shown(url), reason: reason(error) }
}

/// An address may hold the right to hand in: only who it is at is told.
fn shown(url: &str) -> String {
    let known = url.parse::<Uri>().ok().and_then(|url| Some(format!("{}://{}", url.scheme_str()?, url.authority()?)));
    known.unwrap_or_else(|| "the server".into())
}

#[cfg(test)]
mod tests;
