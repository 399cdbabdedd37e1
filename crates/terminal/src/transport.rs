//! How requests reach an authority, and content comes from a contents server: HTTP, or whatever a test puts in its place.

use counterfoil_core::wire::{AuthorityDocument, ChargeOnOffer};
use counterfoil_core::{Code, Refusal};
use counterfoil_format::encoding::parse_strict;
use counterfoil_format::envelope::MAX_SEALED_ANSWER;
use serde::Deserialize;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::io::words;
use crate::price::Unpaid;
use crate::tus::TusUpload;
use counterfoil_format::content::ReadAt;

pub use agent::{Timeouts, agent};
pub use download::{Elsewhere, Part, download, resuming};
pub use error::TransportError;
pub use gateway::{Charged, Passage, Passed};
pub use pace::Pace;
pub(crate) use pace::Paced;
pub use stream::{Event, Events};

mod agent;
mod download;
mod error;
mod gateway;
mod pace;
mod stream;

/// Longest answer that is read, in bytes: a sealed answer with grants for every title that a medium can carry, and what is around it.
const LONGEST_ANSWER: u64 = MAX_SEALED_ANSWER as u64 + 4096;
/// Longest public document that is read, in bytes: a release of some terabytes with the names of its packs.
const LONGEST_DOCUMENT: u64 = 16 << 20;

/// Longest explanation of a "no" that is read, in bytes.
const LONGEST_PROBLEM: u64 = 16 << 10;
/// Longest answer of a contents server of somebody else's, in bytes, so that it can be handed in sealed; and longest that it is waited for.
const LONGEST_SELECTION: u64 = 16 << 10;
const STRANGERS: Duration = Duration::from_secs(10);

/// A way to an authority.
pub trait Transport: Send + Sync {
    /// What the authority says of itself (`/.well-known/counterfoil`).
    fn document(&self) -> Result<AuthorityDocument, TransportError>;
    /// Sends an envelope (JSON), returns the signed answer (compact JWS), which is not believed before it was verified.
    fn exchange(&self, envelope: &[u8]) -> Result<String, TransportError>;
    /// Sends an envelope through a gateway, and returns what came back.
    fn pass(&self, _envelope: &[u8], _passage: &Passage<'_>) -> Result<Passed, TransportError> {
        Err(TransportError::NoAddress)
    }
    /// Reads an object, from a contents server.
    fn fetch(&self, object: &str, part: Part) -> Result<Box<dyn io::Read + Send>, TransportError>;
    /// Reads a public document (JSON) at a path.
    fn get(&self, path: &str) -> Result<Vec<u8>, TransportError>;
    /// Shows a contents server a status (JSON), returns what it answers, which is not believed before the authority has seen it.
    fn show(&self, _shown: &[u8]) -> Result<Vec<u8>, TransportError> {
        Err(TransportError::NoAddress)
    }
    /// Hands in the `length` bytes of `source` at a path (tus 1.0) from where the server has them, and tells how many it has by now. It has all
    /// of them when this returns.
    fn upload(&self, _path: &str, _source: &dyn ReadAt, _length: u64, _told: &dyn Fn(u64)) -> crate::Result<()> {
        Err(TransportError::NoAddress.into())
    }
    /// Gives up what was to be handed in at a path (tus 1.0, `DELETE`).
    fn take_back(&self, _path: &str) -> Result<(), TransportError> {
        Err(TransportError::NoAddress)
    }
    /// Whether nobody in between can answer in the authority's place: TLS, or this computer itself.
    fn is_guarded(&self) -> bool;
    /// Sends an envelope, and returns signed answers as they come. Where there is no such stream, [`exchange`](Self::exchange) asks again and again.
    fn listen(&self, _envelope: &[u8]) -> Result<Events, TransportError> {
        Err(TransportError::NoStream { url: "the authority".into() })
    }
    /// Sends an envelope, and waits a while for a signed answer that differs from the one that is `known`, where something in between lets no
    /// stream through.
    fn poll(&self, _envelope: &[u8], _known: Option<&str>) -> Result<Polled, TransportError> {
        Err(TransportError::NoStream { url: "the authority".into() })
    }
}

/// What a poll has brought.
#[derive(Clone, Debug, Deserialize)]
pub struct Polled {
    /// A signed answer, a compact JWS that nobody has verified yet.
    pub answer: String,
    /// Names it, for the next poll.
    pub id: String,
}

/// HTTP, to the first address that answers.
pub struct HttpTransport {
    agent: ureq::Agent,
    urls: Vec<String>,
    timeouts: Timeouts,
    elsewhere: Elsewhere,
}

/// RFC 9457, as much of it as matters here.
#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    title: String,
    detail: Option<String>,
    code: Option<String>,
    hint: Option<String>,
    #[serde(default)]
    urls: Vec<String>,
    /// What a gateway would charge.
    charge: Option<ChargeOnOffer>,
}

impl Problem {
    /// Anybody may have written it: nothing in it moves a cursor, and no list of addresses keeps anybody busy.
    fn harmless(self) -> Self {
        let shown = |text: String| text.chars().filter(|character| !character.is_control()).take(SHOWN).collect::<String>();
        let is_url = |url: &String| {
            let url = url.parse::<ureq::http::Uri>();
            url.is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
        };
        Self {
            title: shown(self.title),
            detail: self.detail.map(shown),
            code: self.code,
            hint: self.hint.map(shown),
            urls: self.urls.into_iter().filter(is_url).take(ELSEWHERE).collect(),
            charge: self.charge.map(|charge| ChargeOnOffer { name: shown(charge.name), ..charge }),
        }
    }
}

impl HttpTransport {
    /// To `urls`, best first.
    ///
    /// # Errors
    /// [`TransportError::NoAddress`], [`TransportError::Certificates`].
    pub fn new(urls: Vec<String>, ca: Option<&Path>, timeouts: Timeouts) -> Result<Self, TransportError> {
        if urls.is_empty() {
            return Err(TransportError::NoAddress);
        }
        Ok(Self { agent: agent(ca, timeouts)?, urls, timeouts, elsewhere: Elsewhere::Follow })
    }

    /// The same, and how far content is followed that lies elsewhere.
    #[must_use]
    pub fn going(self, elsewhere: Elsewhere) -> Self {
        Self { elsewhere, ..self }
    }

    /// Tries address after address while nobody answers there at all.
    fn first<T>(&self, path: &str, ask: impl Fn(&str) -> Result<T, TransportError>) -> Result<T, TransportError> {
        // Behind an address, `@` or `.` would make another host of it.
        if !path.starts_with('/') {
            let (url, reason) = (self.urls.join(" "), "it names a path that is none".to_owned());
            return Err(TransportError::NotAnAuthority { url, reason });
        }
        let mut last = TransportError::NoAddress;
        for base in &self.urls {
            match ask(&format!("{}{path}", base.trim_end_matches('/'))) {
                Err(error @ TransportError::Unreachable { .. }) => last = error,
                // It names those who have not answered just now: that is what is wrong.
                Err(TransportError::Misdirected { urls, .. })
                    if matches!(last, TransportError::Unreachable { .. }) && urls.iter().all(|url| self.urls.contains(url)) => {}
                other => return other,
            }
        }
        Err(last)
    }

    fn body(
        &self,
        url: &str,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        limit: u64,
    ) -> Result<Vec<u8>, TransportError> {
        let mut answer = answer.map_err(|error| unreachable(url, &error))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| unreachable(url, &error))?;
        if status == 200 { Ok(body) } else { Err(problem(url, status, &body)) }
    }
}

impl Transport for HttpTransport {
    fn document(&self) -> Result<AuthorityDocument, TransportError> {
        self.first("/.well-known/counterfoil", |url| {
            let answer = self.agent.get(url).config().timeout_global(Some(self.timeouts.exchange)).build().call();
            let body = self.body(url, answer, LONGEST_ANSWER)?;
            parse_strict(&body).map_err(|error| TransportError::NotAnAuthority { url: url.into(), reason: error.to_string() })
        })
    }

    fn exchange(&self, envelope: &[u8]) -> Result<String, TransportError> {
        #[derive(Deserialize)]
        struct Sealed {
            answer: String,
        }
        self.first("/v1/terminal/exchange", |url| {
            let request = self.agent.post(url).config().timeout_global(Some(self.timeouts.exchange)).build();
            let body = self.body(url, request.content_type("application/json").send(envelope), LONGEST_ANSWER)?;
            let sealed: Sealed =
                parse_strict(&body).map_err(|error| TransportError::NotAnAuthority { url: url.into(), reason: error.to_string() })?;
            Ok(sealed.answer)
        })
    }

    fn pass(&self, envelope: &[u8], passage: &Passage<'_>) -> Result<Passed, TransportError> {
        self.pass_on(envelope, passage)
    }

    fn fetch(&self, object: &str, part: Part) -> Result<Box<dyn io::Read + Send>, TransportError> {
        self.first(&format!("/contents/{object}"), |url| {
            let (end, answer) = download(&self.agent, url, part, self.elsewhere)?;
            let status = answer.status().as_u16();
            if status != if part.is_whole() { 200 } else { 206 } {
                return Err(problem(&end, status, &explanation(answer, self.timeouts.exchange)));
            }
            Ok(Box::new(resuming(&self.agent, url, part, self.elsewhere, answer)) as Box<dyn io::Read + Send>)
        })
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, TransportError> {
        self.first(path, |url| {
            let answer = self.agent.get(url).config().timeout_global(Some(self.timeouts.exchange)).build().call();
            self.body(url, answer, LONGEST_DOCUMENT)
        })
    }

    fn show(&self, shown: &[u8]) -> Result<Vec<u8>, TransportError> {
        self.first("/v1/select", |url| {
            let request = self.agent.post(url).config().timeout_global(Some(self.timeouts.exchange.min(STRANGERS))).build();
            self.body(url, request.content_type("application/json").send(shown), LONGEST_SELECTION)
        })
    }

    fn upload(&self, path: &str, source: &dyn ReadAt, length: u64, told: &dyn Fn(u64)) -> crate::Result<()> {
        self.first(path, |url| match TusUpload::at(&self.agent, url.to_owned(), None).send(source, length, told) {
            Err(crate::Error::Transport(error)) => Err(error),
            Err(crate::Error::Refused(refusal)) => Err(TransportError::Refused(refusal)),
            // What is wrong with the source is so everywhere.
            other => Ok(other),
        })?
    }

    fn take_back(&self, path: &str) -> Result<(), TransportError> {
        self.first(path, |url| TusUpload::at(&self.agent, url.to_owned(), None).take_back())
    }

    fn is_guarded(&self) -> bool {
        self.urls.iter().all(|url| is_guarded(url))
    }

    fn listen(&self, envelope: &[u8]) -> Result<Events, TransportError> {
        self.first("/v1/terminal/inbox", |url| stream::listen(&self.agent, url, envelope))
    }

    fn poll(&self, envelope: &[u8], known: Option<&str>) -> Result<Polled, TransportError> {
        self.first("/v1/terminal/inbox", |url| {
            let request = self.agent.post(url).config().timeout_global(Some(self.timeouts.exchange)).build();
            let mut request = request.content_type("application/json").header("accept", "application/json");
            if let Some(known) = known {
                request = request.header("last-event-id", known);
            }
            stream::polled(url, request.send(envelope).map_err(|error| unreachable(url, &error))?)
        })
    }
}

/// Whether it is `https:`, or stays on this computer.
pub fn is_guarded(url: &str) -> bool {
    let Ok(url) = url.parse::<ureq::http::Uri>() else { return false };
    let host = url.host().unwrap_or_default();
    let address: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    url.scheme_str() == Some("https") || host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

/// What an answer says of why it is a "no", as far as it has come after `within`: content takes as long as it takes, and a reason why there is
/// none does not. The request itself has to end a read that nothing comes in.
pub fn explanation(answer: ureq::http::Response<ureq::Body>, within: Duration) -> Vec<u8> {
    use io::Read as _;
    let mut body = answer.into_body().into_with_config().limit(LONGEST_PROBLEM).reader();
    let (begun, mut said, mut buffer) = (pace::instant(), Vec::new(), [0; 4096]);
    while pace::instant() - begun < within {
        match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    said
}

fn unreachable(url: &str, error: &ureq::Error) -> TransportError {
    TransportError::Unreachable { url: url.to_owned(), reason: reason(error) }
}

/// Why there was no answer, for people.
pub fn reason(error: &ureq::Error) -> String {
    let said = match error {
        ureq::Error::Io(error) => words(error),
        ureq::Error::Timeout(_) => "it does not answer in time".into(),
        ureq::Error::HostNotFound => "there is no host of this name".into(),
        other => other.to_string(),
    };
    // The alert's own words mean nothing to whoever mistook one scheme for the other.
    if said.contains("InvalidContentType") { "what answers there does not speak TLS; is it an http:// address?".into() } else { said }
}

/// Longest text of a problem that is shown, in characters, and most addresses in one that are tried.
const SHOWN: usize = 500;
const ELSEWHERE: usize = 8;

pub(crate) fn problem(url: &str, status: u16, body: &[u8]) -> TransportError {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return TransportError::Status { url: url.into(), status, detail: "no explanation".into() };
    };
    let problem = problem.harmless();
    // Of an operation it is told by the status, of a path, such as a content's, by the code.
    if status == 421 || problem.code.as_deref() == Some("not_served") {
        return TransportError::Misdirected { url: url.into(), urls: problem.urls };
    }
    let code: Option<Code> = problem.code.and_then(|code| serde_json::from_value(code.into()).ok());
    match code {
        Some(code) => {
            let mut refusal = Refusal::from(code);
            refusal.detail = problem.detail;
            refusal.hint = problem.hint.unwrap_or(refusal.hint);
            match problem.charge {
                Some(offer) => TransportError::Unpaid(Box::new(Unpaid { refusal, offer: offer.into() })),
                None => TransportError::Refused(refusal),
            }
        }
        None => TransportError::Status { url: url.into(), status, detail: problem.detail.unwrap_or(problem.title) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_a_server_names_stays_behind_its_address() {
        let way = HttpTransport::new(vec!["http://127.0.0.1:9".into()], None, Timeouts::default()).unwrap();
        for path in ["@127.0.0.1:8/v1/uploads", ".example/v1/uploads", "0/x", ""] {
            assert!(matches!(way.take_back(path), Err(TransportError::NotAnAuthority { .. })), "{path}");
            let sent = way.upload(path, &vec![1_u8; 9], 9, &|_| panic!("nothing is sent")).unwrap_err();
            assert_eq!(sent.code(), "not_an_authority", "{path}");
        }
    }

    #[test]
    fn what_anybody_may_have_written_moves_no_cursor_and_sends_nobody_around() {
        let text = "\u{1b}[2Jgone\r\u{9b}1A";
        let urls: Vec<String> = (0..1000).map(|n| format!("https://a.example/{n}")).collect();
        let body = |code: &str, urls: &[String]| {
            serde_json::json!({ "title": text, "detail": text, "hint": text, "code": code, "urls": urls }).to_string().into_bytes()
        };
        for code in ["internal", "user_invalid"] {
            let error = problem("https://a.example", 403, &body(code, &[]));
            let shown = format!("{error} {}", error.hint());
            assert!(shown.contains("gone") && !shown.chars().any(char::is_control), "{shown:?}");
        }
        for (status, code) in [(421, "misdirected"), (404, "not_served")] {
            let bad = ["\u{1b}[2J", "https://", "file:///etc/passwd", "//b.example"].map(str::to_owned);
            let TransportError::Misdirected { urls, .. } = problem("https://a.example", status, &body(code, &[&bad[..], &urls].concat()))
            else {
                panic!("{code}")
            };
            assert_eq!((urls.len(), urls[0].as_str()), (8, "https://a.example/0"));
        }
    }

    #[test]
    fn tls_and_this_computer_are_guarded_and_nothing_else() {
        for url in ["https://a.example", "HTTPS://a.example:8443/x", "http://127.0.0.1:7480", "http://[::1]:7480", "http://localhost/"] {
            assert!(is_guarded(url), "{url}");
        }
        for url in ["http://a.example", "http://10.0.0.1", "http://127.0.0.1.a.example", "http://localhost.a.example", "a.example", ""] {
            assert!(!is_guarded(url), "{url}");
        }
        let both = vec!["https://a.example".to_owned(), "http://a.example".to_owned()];
        assert!(!HttpTransport::new(both, None, Timeouts::default()).unwrap().is_guarded());
    }
}
