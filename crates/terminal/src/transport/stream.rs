//! Answers as they come: server-sent events (WHATWG HTML §9.2), as much of them as an authority sends.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use counterfoil_format::encoding::parse_strict;

use super::download::patience;
use super::{LONGEST_ANSWER, Polled, TransportError, explanation, problem, unreachable};

/// Longest silence after which the line is taken for cut: the authority says something every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing new; the line is still there.
    Heartbeat,
    /// A signed answer, a compact JWS that nobody has verified yet.
    Answer(String),
}

/// A stream of events.
pub struct Events {
    url: String,
    lines: Box<dyn BufRead + Send>,
}

impl Events {
    /// From what a server sends.
    pub fn new(url: &str, body: impl Read + Send + 'static) -> Self {
        Self { url: url.to_owned(), lines: Box::new(BufReader::new(body)) }
    }

    /// Waits for the next event; none where the server has ended the stream.
    ///
    /// # Errors
    /// `Unreachable`: the line was cut or has been silent for too long; `NotAnAuthority`: what comes is no such stream.
    #[expect(clippy::should_implement_trait, reason = "it fails, and ends, as a reader does")]
    pub fn next(&mut self) -> Result<Option<Event>, TransportError> {
        let mut data: Option<String> = None;
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            match line.split_once(':') {
                None if line.is_empty() => {
                    if let Some(data) = data.take() {
                        return Ok(Some(Event::Answer(data)));
                    }
                }
                Some(("", _)) => return Ok(Some(Event::Heartbeat)),
                Some(("data", value)) => {
                    let value = value.strip_prefix(' ').unwrap_or(value);
                    let data = data.get_or_insert_default();
                    if data.len() + value.len() > longest() {
                        return Err(self.not_an_authority("its answer is longer than any"));
                    }
                    data.push_str(value);
                }
                // Names and numbers of events are not used.
                _ => {}
            }
        }
    }

    fn line(&mut self) -> Result<Option<String>, TransportError> {
        let mut line = Vec::new();
        let limit = LONGEST_ANSWER + 64;
        let read = (&mut self.lines).take(limit).read_until(b'\n', &mut line);
        let read = read.map_err(|error| TransportError::Unreachable { url: self.url.clone(), reason: error.to_string() })?;
        if read == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            // Half a line at the end of the stream is no event; a longer one is none either.
            return if read < longest() { Ok(None) } else { Err(self.not_an_authority("its answer is longer than any")) };
        }
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).map(Some).map_err(|_| self.not_an_authority("its answer is not text"))
    }

    fn not_an_authority(&self, reason: &str) -> TransportError {
        TransportError::NotAnAuthority { url: self.url.clone(), reason: reason.into() }
    }
}

fn longest() -> usize {
    usize::try_from(LONGEST_ANSWER).unwrap_or(usize::MAX)
}

/// Asks for a stream at one address.
///
/// # Errors
/// `NoStream` where there is none; `Later`, `Unreachable`, and whatever else the answer says.
pub(super) fn listen(agent: &ureq::Agent, url: &str, envelope: &[u8]) -> Result<Events, TransportError> {
    let request = agent.post(url).config().timeout_per_read(Some(SILENCE)).build();
    let request = request.content_type("application/json").header("accept", "text/event-stream");
    let answer = request.send(envelope).map_err(|error| unreachable(url, &error))?;
    let answer = granted(url, answer, "text/event-stream", patience(agent))?;
    Ok(Events::new(url, answer.into_body().into_reader()))
}

/// One answer in place of a stream.
///
/// # Errors
/// `NoStream` where the server does not do that either; `Later`, `Unreachable`, and whatever else the answer says.
pub(super) fn polled(url: &str, answer: ureq::http::Response<ureq::Body>) -> Result<Polled, TransportError> {
    let mut answer = granted(url, answer, "application/json", SILENCE)?;
    let body = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec().map_err(|error| unreachable(url, &error))?;
    parse_strict(&body).map_err(|error| TransportError::NotAnAuthority { url: url.into(), reason: error.to_string() })
}

/// The answer, where it is of the kind that was asked for; why not is waited for so long.
fn granted(
    url: &str,
    answer: ureq::http::Response<ureq::Body>,
    wanted: &str,
    within: Duration,
) -> Result<ureq::http::Response<ureq::Body>, TransportError> {
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (status, kind, later) = (answer.status().as_u16(), header("content-type").unwrap_or_default(), header("retry-after"));
    match status {
        200 if kind.starts_with(wanted) => return Ok(answer),
        200 | 404 | 405 | 501 => return Err(TransportError::NoStream { url: url.into() }),
        429 | 503 => {
            if let Some(seconds) = later.and_then(|later| later.trim().parse().ok()) {
                return Err(TransportError::Later { url: url.into(), after: Duration::from_secs(seconds) });
            }
        }
        _ => {}
    }
    Err(problem(url, status, &explanation(answer, within)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &'static [u8]) -> (Vec<Event>, Option<TransportError>) {
        let mut stream = Events::new("https://a.example", text);
        let mut found = Vec::new();
        loop {
            match stream.next() {
                Ok(Some(event)) => found.push(event),
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            }
        }
    }

    #[test]
    fn answers_and_heartbeats_are_told_apart_and_half_an_event_is_none() {
        let answer = |text: &str| Event::Answer(text.into());
        let (found, error) = events(b": open\n\ndata: a.b.c\n\nevent: x\nid: 1\r\ndata:d.\r\ndata: e.f\r\n\r\n\n:\n\ndata: half");
        assert_eq!(found, [Event::Heartbeat, answer("a.b.c"), answer("d.e.f"), Event::Heartbeat]);
        assert!(error.is_none());
        assert_eq!(events(b"data: never.ended.\n").0, []);
    }

    #[test]
    fn a_stream_without_end_fills_no_memory() {
        let mut one_line = Events::new("https://a.example", std::io::repeat(b'a'));
        assert!(matches!(one_line.next(), Err(TransportError::NotAnAuthority { .. })));
        let many = b"data: ".iter().copied().chain([b'a'; 1 << 16]).chain([b'\n']).collect::<Vec<u8>>().repeat(23);
        assert!(matches!(Events::new("https://a.example", std::io::Cursor::new(many)).next(), Err(TransportError::NotAnAuthority { .. })));
        assert!(matches!(events(b"data: \xff\n\n").1, Some(TransportError::NotAnAuthority { .. })));
    }
}
