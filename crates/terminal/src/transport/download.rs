//! A GET of content, followed to wherever the authority sends it: its object store, a CDN.
//!
//! Whoever answers there is not believed more than anybody else: content is encrypted, and every chunk has a hash.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::header::LOCATION;
use ureq::http::{Response, Uri};
use ureq::{Body, BodyReader};

use super::pace::instant;
use super::{TransportError, unreachable};

/// Whoever sends fewer bytes than this for each second that is waited for them sends nothing.
const LEAST_A_SECOND: f64 = 64.0;
/// How long is waited for bytes where the client says nothing else.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often one is sent on before that counts as going in circles.
const REDIRECTS: usize = 5;

/// What of an object is asked for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// From here on.
    pub from: u64,
    /// Up to but not including here; to its end where nothing is said.
    pub to: Option<u64>,
}

impl Part {
    /// From `from` to the object's end.
    pub fn from(from: u64) -> Self {
        Self { from, to: None }
    }

    /// Whether it is all of the object.
    pub fn is_whole(self) -> bool {
        self == Self::default()
    }

    /// RFC 9110 §14.2.
    pub(crate) fn header(self) -> Option<String> {
        match self {
            Part { from: 0, to: None } => None,
            Part { from, to: None } => Some(format!("bytes={from}-")),
            Part { from, to: Some(to) } => Some(format!("bytes={from}-{}", to.saturating_sub(1))),
        }
    }
}

/// Whether content is fetched from wherever it lies, or only from who was asked, as through a gateway (C16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Elsewhere {
    /// From wherever.
    #[default]
    Follow,
    /// From who was asked; who sends one on is not followed.
    Stay,
}

/// Asks for a part of an object, and follows. Nothing but the range goes along: no token, no cookie.
///
/// Answers with the last answer, whatever it says, and with who gave it, without the signature in the address. An address that is over when
/// it is used is asked for once more.
///
/// # Errors
/// `Unreachable`; `NotAnAuthority` for a redirect that cannot be followed.
pub fn download(agent: &ureq::Agent, url: &str, part: Part, elsewhere: Elsewhere) -> Result<(String, Response<Body>), TransportError> {
    let (end, answer) = follow(agent, url, part, elsewhere)?;
    if end != url && answer.status().is_client_error() {
        return follow(agent, url, part, elsewhere);
    }
    Ok((end, answer))
}

/// The bytes of an answer of [`download`], which is asked for anew, from where it was, when it breaks off after it has brought something: the
/// line was cut, an address was over, nothing came for as long as is waited for an answer. Where next to nothing comes, it is a failure.
pub fn resuming(agent: &ureq::Agent, url: &str, part: Part, elsewhere: Elsewhere, answer: Response<Body>) -> impl Read + Send + use<> {
    Resuming {
        elsewhere,
        agent: agent.clone(),
        url: url.to_owned(),
        left: part,
        body: answer.into_body().into_reader(),
        fresh: true,
        waited: Duration::ZERO,
        came: 0,
    }
}

struct Resuming {
    elsewhere: Elsewhere,
    agent: ureq::Agent,
    url: String,
    /// What has not been read yet.
    left: Part,
    body: BodyReader<'static>,
    /// Nothing came since it was asked for.
    fresh: bool,
    /// How long was waited for bytes since it was last looked how many come, and how many came.
    waited: Duration,
    came: u64,
}

impl Resuming {
    /// Reads, and looks at how fast they come: what the reader does with them takes the time that it takes.
    fn next(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = instant();
        let read = self.body.read(buffer);
        self.waited += instant() - begun;
        self.came += *read.as_ref().unwrap_or(&0) as u64;
        if self.waited >= patience(&self.agent) {
            let a_second = self.came as f64 / self.waited.as_secs_f64();
            (self.waited, self.came) = (Duration::ZERO, 0);
            if matches!(read, Ok(1..)) && a_second < LEAST_A_SECOND {
                self.fresh = true;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "next to nothing comes"));
            }
        }
        read
    }
}

/// How long is waited for bytes.
pub(super) fn patience(agent: &ureq::Agent) -> Duration {
    agent.config().timeouts().recv_response.unwrap_or(PATIENCE)
}

impl Read for Resuming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.next(buffer) {
                Ok(read) => {
                    self.left.from += read as u64;
                    self.fresh &= read == 0;
                    return Ok(read);
                }
                Err(error) if self.fresh || error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => {
                    let (_, answer) = download(&self.agent, &self.url, self.left, self.elsewhere).map_err(io::Error::other)?;
                    if answer.status() != 206 {
                        return Err(error);
                    }
                    self.body = answer.into_body().into_reader();
                    self.fresh = true;
                }
            }
        }
    }
}

fn follow(agent: &ureq::Agent, asked: &str, part: Part, elsewhere: Elsewhere) -> Result<(String, Response<Body>), TransportError> {
    let mut url = asked.to_owned();
    for _ in 0..=REDIRECTS {
        let mut request = agent.get(&url).config().timeout_per_read(Some(patience(agent))).build();
        if let Some(range) = part.header() {
            request = request.header("range", range);
        }
        let shown = url.split('?').next().unwrap_or_default().to_owned();
        let answer = request.call().map_err(|error| unreachable(&shown, &error))?;
        if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok((shown, answer));
        }
        if elsewhere == Elsewhere::Stay {
            let reason = "it sends one on to somebody else, whom nobody asks who goes through a gateway".into();
            return Err(TransportError::NotAnAuthority { url: shown, reason });
        }
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
        url = resolve(&url, location).map_err(|reason| TransportError::NotAnAuthority { url: shown, reason: reason.into() })?;
    }
    Err(TransportError::NotAnAuthority { url: asked.to_owned(), reason: "it sends one on and on".into() })
}

/// Where `base` sends one: absolute, or absolute on the same host (RFC 3986 §4.2); nobody sends content anywhere by a path that is relative.
fn resolve(base: &str, location: &str) -> Result<String, &'static str> {
    const NOWHERE: &str = "it sends one on, and does not say where";
    let base: Uri = base.parse().map_err(|_| NOWHERE)?;
    if location.starts_with('/') && !location.starts_with("//") {
        let (scheme, authority) = base.scheme_str().zip(base.authority()).ok_or(NOWHERE)?;
        return Ok(format!("{scheme}://{authority}{location}"));
    }
    let target: Uri = location.parse().map_err(|_| NOWHERE)?;
    match (base.scheme_str(), target.scheme_str()) {
        (Some("https"), Some("http")) => Err("it sends one on to an address without TLS"),
        (_, Some("http" | "https")) => Ok(location.to_owned()),
        _ => Err(NOWHERE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{HttpTransport, Timeouts, Transport};
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// A host that answers so many requests, one a connection, and then tells what was asked.
    fn host(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            answers
                .iter()
                .map(|answer| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                    let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                    stream.write_all(answer.as_bytes()).unwrap();
                    request.join("\n")
                })
                .collect()
        });
        (url, asked)
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
    }

    fn fetched(url: &str, from: u64) -> Result<String, TransportError> {
        let transport = HttpTransport::new(vec![url.to_owned()], None, Timeouts::default()).unwrap();
        let mut text = String::new();
        transport.fetch("abcd", Part::from(from))?.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn content_is_fetched_where_the_authority_says_from_where_it_broke_off() {
        let (store, at_store) = host(vec![answer("206 Partial Content", "", "tail")]);
        let (authority, at_authority) = host(vec![answer("307 Temporary Redirect", &format!("location: {store}/b/abcd?sig=1\r\n"), "")]);
        assert_eq!(fetched(&authority, 7).unwrap(), "tail");
        for (asked, path) in [(at_authority, "GET /contents/abcd "), (at_store, "GET /b/abcd?sig=1 ")] {
            let asked = asked.join().unwrap().join("\n").to_ascii_lowercase();
            assert!(asked.contains(&path.to_ascii_lowercase()) && asked.contains("range: bytes=7-"), "{asked}");
            assert!(!asked.contains("authorization") && !asked.contains("referer"), "{asked}");
        }
    }

    #[test]
    fn a_part_of_an_object_is_asked_for_and_nothing_behind_it() {
        let (authority, asked) = host(vec![answer("206 Partial Content", "", "middle")]);
        let transport = HttpTransport::new(vec![authority], None, Timeouts::default()).unwrap();
        let mut text = String::new();
        transport.fetch("abcd", Part { from: 0, to: Some(6) }).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "middle");
        assert!(asked.join().unwrap()[0].to_ascii_lowercase().contains("range: bytes=0-5"));
        // Somebody who does not know of parts would send the wrong bytes.
        let (authority, _) = host(vec![answer("200 OK", "", "all of it")]);
        let transport = HttpTransport::new(vec![authority], None, Timeouts::default()).unwrap();
        assert!(transport.fetch("abcd", Part { from: 2, to: Some(6) }).is_err());
    }

    #[test]
    fn an_address_that_is_over_is_asked_for_once_more() {
        let over = answer("403 Forbidden", "", "<Error><Code>AccessDenied</Code></Error>");
        let (store, at_store) = host(vec![over.clone(), answer("200 OK", "", "whole")]);
        let sent_on = |n: u8| answer("307 Temporary Redirect", &format!("location: {store}/abcd?sig={n}\r\n"), "");
        let (authority, _) = host(vec![sent_on(1), sent_on(2)]);
        assert_eq!(fetched(&authority, 0).unwrap(), "whole");
        let asked = at_store.join().unwrap();
        assert!(asked[0].contains("sig=1") && asked[1].contains("sig=2"), "{asked:?}");

        let (store, _at_store) = host(vec![over.clone(), over]);
        let sent_on = |n: u8| answer("307 Temporary Redirect", &format!("location: {store}/abcd?sig={n}\r\n"), "");
        let (authority, _) = host(vec![sent_on(1), sent_on(2)]);
        let error = fetched(&authority, 0).unwrap_err();
        assert!(matches!(&error, TransportError::Status { status: 403, url, .. } if !url.contains("sig")), "{error}");
    }

    #[test]
    fn what_breaks_off_goes_on_at_a_fresh_address() {
        let cut = answer("200 OK", "", "head and tail").replace(" and tail", "");
        let (store, at_store) = host(vec![cut, answer("206 Partial Content", "", " and tail")]);
        let sent_on = |n: u8| answer("307 Temporary Redirect", &format!("location: {store}/abcd?sig={n}\r\n"), "");
        let (authority, _) = host(vec![sent_on(1), sent_on(2)]);
        assert_eq!(fetched(&authority, 0).unwrap(), "head and tail");
        let asked = at_store.join().unwrap();
        assert!(asked[1].contains("sig=2") && asked[1].to_ascii_lowercase().contains("range: bytes=4-"), "{asked:?}");
        // Twice in one place is a failure.
        let cut = || answer("206 Partial Content", "", "some").replace("\r\n\r\nsome", "\r\n\r\n");
        let (authority, _) = host(vec![answer("200 OK", "", "head and tail").replace(" and tail", ""), cut()]);
        let transport = HttpTransport::new(vec![authority], None, Timeouts::default()).unwrap();
        assert!(transport.fetch("abcd", Part::default()).unwrap().read_to_string(&mut String::new()).is_err());
    }

    /// Fetches from a host that does as it is told with each connection; gives what came, why it ended, and after how long.
    fn fetched_from(hold: impl Fn(usize, &mut std::net::TcpStream) + Send + 'static) -> (usize, io::Error, Duration) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut held = vec![];
            for number in 0.. {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                hold(number, &mut stream);
                held.push(stream);
            }
        });
        let timeouts = Timeouts { connect: Duration::from_secs(5), exchange: Duration::from_millis(400) };
        let transport = HttpTransport::new(vec![url], None, timeouts).unwrap();
        let begun = instant();
        let mut bytes = vec![];
        let error = transport.fetch("abcd", Part::default()).unwrap().read_to_end(&mut bytes).unwrap_err();
        (bytes.len(), error, instant() - begun)
    }

    /// proves: A5
    #[test]
    fn a_contents_server_that_stalls_is_asked_once_more_and_then_given_up() {
        let (came, error, took) = fetched_from(|number, stream| {
            // The second time not even the head of an answer.
            if number == 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome").unwrap();
            }
        });
        assert_eq!(came, 4, "{error}");
        assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(20), "{took:?}");
    }

    /// proves: A5
    #[test]
    fn a_contents_server_that_sends_a_byte_now_and_then_is_given_up() {
        let (came, error, took) = fetched_from(|_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").unwrap();
            // Slower than it may be: ten bytes a second. It goes on until nobody listens any more.
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(came > 0 && came < 200, "{came} bytes");
        assert!(took < Duration::from_secs(20), "{took:?}");
    }

    #[test]
    fn nobody_is_sent_in_circles_or_nowhere() {
        for (location, reason) in
            [("location: /contents/abcd\r\n", "on and on"), ("", "where"), ("location: file:///etc/passwd\r\n", "where")]
        {
            let (authority, _) = host(vec![answer("307 Temporary Redirect", location, ""); 10]);
            let error = fetched(&authority, 0).unwrap_err();
            assert!(matches!(&error, TransportError::NotAnAuthority { .. }) && error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn nobody_is_sent_from_tls_to_none() {
        assert_eq!(resolve("https://a.example:8443/x/y", "/z?q").unwrap(), "https://a.example:8443/z?q");
        assert_eq!(resolve("https://a.example/x", "HTTPS://b.example/z").unwrap(), "HTTPS://b.example/z");
        assert_eq!(resolve("http://a.example/x", "http://b.example/z").unwrap(), "http://b.example/z");
        for (location, reason) in
            [("http://a.example/x", "TLS"), ("HTTP://b.example/", "TLS"), ("//b.example/z", "where"), ("z", "where"), ("", "where")]
        {
            assert!(resolve("https://a.example/x", location).unwrap_err().contains(reason), "{location}");
        }
    }
}
