//! The authority's HTTP API as the publisher's tools use it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use counterfoil_core::wire::AuthorityDocument;
use counterfoil_terminal::transport::{Elsewhere, Part, TransportError, download, explanation, is_guarded, reason, resuming};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::{Body, ResponseExt as _};
use zeroize::Zeroizing;

use super::profile::Profile;
use crate::context::Context;
use crate::failure::Failure;

/// Longest answer that is held in memory, in bytes.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;
/// How long such an answer may take to come, over a line that is slow, and one that is read as it comes may stand still.
const PATIENCE: Duration = Duration::from_secs(300);

/// One authority, spoken to with one token. Cheap to share between threads.
#[derive(Clone)]
pub struct Api {
    agent: ureq::Agent,
    server: String,
    token: Zeroizing<String>,
    ca: Option<PathBuf>,
    patience: Duration,
    /// Where contents are fetched, best first; asked for at first use.
    contents: Arc<OnceLock<Vec<String>>>,
}

/// RFC 9457, as far as people are told of it.
#[derive(serde::Deserialize)]
struct Problem {
    code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    hint: Option<String>,
    request_id: Option<String>,
}

impl Api {
    /// As the profile and the command line say.
    pub fn connect(context: &Context) -> Result<(Self, Profile), Failure> {
        let mut profile = Profile::load(&context.home)?;
        let server = context.server.clone().or_else(|| profile.as_ref().map(|profile| profile.server.clone())).ok_or_else(not_logged_in)?;
        let token = match (context.environment_token(), &profile) {
            (Some(token), _) => token,
            (None, Some(profile)) => profile.token_for(&server)?,
            (None, None) => return Err(not_logged_in()),
        };
        let ca = context.ca.clone().or_else(|| profile.as_ref().and_then(|profile| profile.ca.clone()));
        let api = Self::new(&server, &token, ca.as_deref())?;
        let publisher = profile.as_mut().and_then(|profile| profile.publisher.take());
        Ok((api, Profile { server, token, publisher, ca }))
    }

    /// With everything said.
    ///
    /// # Errors
    /// `usage`: no address; `not_guarded`: one where others would hear the token.
    pub fn new(server: &str, token: &str, ca: Option<&Path>) -> Result<Self, Failure> {
        let server = server.trim_end_matches('/').to_owned();
        if !server.starts_with("https://") && !server.starts_with("http://") {
            return Err(Failure::usage(format!("{server} is not an address: it begins with neither https:// nor http://")));
        }
        if !is_guarded(&server) {
            let unguarded = TransportError::Unguarded { url: server };
            return Err(Failure::operation(unguarded.code(), unguarded.to_string()).hint(unguarded.hint()));
        }
        let token = Zeroizing::new(token.to_owned());
        let (agent, ca) = (crate::context::agent(ca)?, ca.map(Path::to_owned));
        Ok(Self { agent, server, token, ca, patience: PATIENCE, contents: Arc::default() })
    }

    /// The address, as in the profile.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The further certificate authority that is trusted there.
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// A resource.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(self.answered(self.authorized(self.agent.get(self.url(path))).call())?)
    }

    /// A resource that something is looked for in.
    pub fn get_where<T: DeserializeOwned>(&self, path: &str, name: &str, value: &str) -> Result<T, Failure> {
        self.json(self.answered(self.authorized(self.agent.get(self.url(path)).query(name, value)).call())?)
    }

    /// A resource that may not exist.
    pub fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        let response = self.authorized(self.agent.get(self.url(path))).call();
        match response {
            Ok(response) if response.status() == 404 => Ok(None),
            response => self.json(self.answered(response)?).map(Some),
        }
    }

    /// Makes something. `key` makes it safe to send twice.
    pub fn post<T: DeserializeOwned>(&self, path: &str, key: Option<&str>, body: &impl Serialize) -> Result<T, Failure> {
        let mut request = self.authorized(self.agent.post(self.url(path)));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.json(self.answered(request.send_json(body))?)
    }

    /// Lines of JSON to the authority.
    pub fn post_lines<T: DeserializeOwned>(&self, path: &str, lines: &str) -> Result<T, Failure> {
        let request = self.authorized(self.agent.post(self.url(path))).header("content-type", "application/x-ndjson");
        self.json(self.answered(request.send(lines))?)
    }

    /// Sets something.
    pub fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.json(self.answered(self.authorized(self.agent.put(self.url(path))).send_json(body))?)
    }

    /// Changes what is named of something.
    pub fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.json(self.answered(self.authorized(self.agent.patch(self.url(path))).send_json(body))?)
    }

    /// Puts a file of this media type at a place.
    pub fn put_bytes(&self, path: &str, kind: &str, bytes: &[u8]) -> Result<(), Failure> {
        let request = self.authorized(self.agent.put(self.url(path))).header("content-type", kind);
        self.answered(request.send(bytes)).map(|_| ())
    }

    /// Takes something away; nothing where it is gone already.
    pub fn remove(&self, path: &str) -> Result<(), Failure> {
        match self.authorized(self.agent.delete(self.url(path))).call() {
            Ok(response) if response.status() == 404 => Ok(()),
            response => self.answered(response).map(|_| ()),
        }
    }

    /// Whether the contents server holds an object.
    pub fn has_object(&self, object: &str) -> Result<bool, Failure> {
        let response = self.authorized(self.agent.head(self.url(&format!("/v1/contents/{object}")))).call();
        match response {
            Ok(response) if response.status() == 404 => Ok(false),
            response => self.answered(response).map(|_| true),
        }
    }

    /// Stores an object of the contents server.
    pub fn put_object(&self, object: &str, length: u64, bytes: File) -> Result<(), Failure> {
        let request = self.authorized(self.agent.put(self.url(&format!("/v1/contents/{object}"))));
        let request = request.header("content-type", "application/octet-stream").header("content-length", length.to_string());
        let response = request.send(ureq::SendBody::from_owned_reader(bytes));
        self.answered(response).map(|_| ())
    }

    /// An object's bytes from `from` on, from wherever the authority says; the token goes to the authority only.
    pub fn object(&self, object: &str, from: u64) -> Result<Box<dyn Read + Send>, Failure> {
        let mut places = self.contents.get_or_init(|| self.contents_urls()).iter();
        let (url, response) = loop {
            // The list is never empty: the authority itself ends it.
            let url = format!("{}/contents/{object}", places.next().unwrap_or(&self.server).trim_end_matches('/'));
            match download(&self.agent, &url, Part::from(from), Elsewhere::Follow) {
                Err(TransportError::Unreachable { .. }) if places.len() > 0 => {}
                answered => break (url, answered?.1),
            }
        };
        let response = self.answered(Ok(response))?;
        if from > 0 && response.status() != 206 {
            return Err(Failure::operation("range_ignored", format!("{} does not answer with parts of objects", self.server)));
        }
        Ok(Box::new(resuming(&self.agent, &url, Part::from(from), Elsewhere::Follow, response)))
    }

    /// The contents servers that the authority names, then the authority itself.
    fn contents_urls(&self) -> Vec<String> {
        let document = self.get::<AuthorityDocument>("/.well-known/counterfoil");
        let mut urls = document.map(|document| document.contents_urls).unwrap_or_default();
        urls.push(self.server.clone());
        urls
    }

    /// An answer of any length, read as it comes.
    pub fn stream(&self, path: &str) -> Result<Box<dyn Read + Send>, Failure> {
        let request = self.agent.get(self.url(path)).config().timeout_per_read(Some(self.patience)).build();
        let response = self.answered(self.shown(request).call())?;
        Ok(Box::new(response.into_body().into_reader()))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        self.shown(request.config().timeout_recv_body(Some(self.patience)).build())
    }

    fn shown<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        request.header("authorization", format!("Bearer {}", *self.token)).header("accept", "application/json")
    }

    /// The answer, if it is one that says yes.
    fn answered(&self, response: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failure> {
        let response = response.map_err(|error| unreachable(&self.server, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let path = response.get_uri().path().to_owned();
        let problem = serde_json::from_slice::<Problem>(&explanation(response, self.patience)).ok();
        Err(failed(&self.server, &path, status.as_u16(), problem))
    }

    fn json<T: DeserializeOwned>(&self, mut response: Response<Body>) -> Result<T, Failure> {
        response.body_mut().with_config().limit(MAX_ANSWER).read_json().map_err(|error| {
            Failure::operation("answer_invalid", format!("{} answered with something else than was asked for: {error}", self.server))
        })
    }
}

/// A request that got no answer.
fn unreachable(server: &str, error: &ureq::Error) -> Failure {
    Failure::operation("unreachable", format!("cannot reach {server}: {}", reason(error)))
        .hint("Check the address and the network; for a private certificate authority give `--ca FILE`. Repeating the command is safe.")
}

const ANOTHER_TOKEN: &str = "The token is wrong or was taken back. Ask the operator for another; publishers give it to `counterfoil publisher login`, shops and repair centres with `--token-file`.";

/// A "no", or a failure of the server, to a request for `path`.
fn failed(server: &str, path: &str, status: u16, problem: Option<Problem>) -> Failure {
    let mut problem = problem.unwrap_or(Problem { code: None, title: None, detail: None, hint: None, request_id: None });
    match (problem.code.as_deref(), &problem.detail) {
        // Title and hint say no more than that there is a detail.
        (Some("unprocessable"), Some(_)) => (problem.title, problem.hint) = (None, None),
        (Some("not_found"), None) => {
            problem.title = Some(format!("{server} has nothing at {path}"));
            problem.hint = Some("Check the names, versions and IDs in it; what belongs to others is not shown either.".to_owned());
        }
        _ => {}
    }
    let mut message = match (problem.title, problem.detail) {
        (Some(title), Some(detail)) if title != detail => format!("{title}: {detail}"),
        (Some(text), _) | (None, Some(text)) => text,
        (None, None) => format!("{server} answered with status {status}"),
    };
    if status == 401 {
        // The server's own speaks of headers.
        problem.hint = Some(ANOTHER_TOKEN.to_owned());
    }
    if status < 500 {
        let hint = problem.hint.or_else(|| match status {
            403 => Some("This takes a token with another role; the operator hands them out.".to_owned()),
            _ => None,
        });
        let code = problem.code.unwrap_or_else(|| format!("http_{status}"));
        let failure = Failure::refused(&code, message);
        return match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        };
    }
    if let Some(request) = problem.request_id {
        message = format!("{message} (request {request})");
    }
    let code = problem.code.unwrap_or_else(|| format!("http_{status}"));
    Failure::operation(&code, message)
        .hint(problem.hint.unwrap_or_else(|| "Repeat the command; if it stays, tell the operator the request ID.".to_owned()))
}

fn not_logged_in() -> Failure {
    Failure::operation("not_logged_in", "no authority and token are known to the publisher's tools")
        .hint("Run `counterfoil publisher login --server URL --token TOKEN`.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_becomes_fact_and_remedy() {
        let problem = serde_json::from_str(r#"{"title":"release exists","code":"release_exists","hint":"use another version"}"#).ok();
        let failure = failed("http://x", "/", 409, problem);
        assert_eq!((failure.code.as_str(), failure.message.as_str()), ("release_exists", "release exists"));
        assert_eq!(failure.hint.as_deref(), Some("use another version"));
        let problem = serde_json::from_str(r#"{"title":"a token is needed","code":"unauthorized","hint":"Send a header."}"#).ok();
        assert_eq!(failed("http://x", "/", 401, problem).hint.as_deref(), Some(ANOTHER_TOKEN));
    }

    #[test]
    fn what_was_wrong_and_what_is_missing_is_named() {
        let problem =
            r#"{"title":"the request is wrong","code":"unprocessable","detail":"there is no title moon","hint":"The detail says what."}"#;
        let failure = failed("http://x", "/v1/batches", 422, serde_json::from_str(problem).ok());
        assert_eq!((failure.message.as_str(), failure.hint), ("there is no title moon", None));
        let problem = r#"{"title":"there is nothing here","code":"not_found","hint":"Check."}"#;
        let failure = failed("http://x", "/v1/titles/moon/releases/1.0", 404, serde_json::from_str(problem).ok());
        assert_eq!(failure.message, "http://x has nothing at /v1/titles/moon/releases/1.0");
    }

    #[test]
    fn an_answer_that_is_no_problem_document_still_says_something() {
        let failure = failed("http://x", "/", 502, None);
        assert_eq!((failure.code.as_str(), failure.message.as_str()), ("http_502", "http://x answered with status 502"));
    }

    #[test]
    fn an_address_without_a_scheme_is_wrong_usage() {
        assert_eq!(Api::new("example.org", "t", None).map(|_| ()).expect_err("no scheme").code, "usage");
    }

    #[test]
    fn an_answer_that_comes_for_ever_is_not_waited_for() {
        use std::io::{BufRead as _, BufReader, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.expect("somebody asks");
                let lines = BufReader::new(stream.try_clone().expect("a stream")).lines().map_while(Result::ok);
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let status = ["200 OK", "500 Internal Server Error"][number % 2];
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: 1000000\r\n\r\n");
                stream.write_all(head.as_bytes()).expect("still there");
                // A byte now and then, until nobody listens any more.
                while stream.write_all(b" ").is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        });
        let api = Api { patience: Duration::from_millis(300), ..Api::new(&url, "t", None).expect("an address") };
        for code in ["answer_invalid", "http_500"] {
            assert_eq!(api.get::<serde_json::Value>("/v1/titles").expect_err("it never ends").code, code);
        }
    }

    #[test]
    fn no_token_goes_where_others_listen() {
        for heard in ["http://example.org", "http://10.0.0.1:7480", "http://127.0.0.1.example.org"] {
            assert_eq!(Api::new(heard, "t", None).map(|_| ()).expect_err("in the clear").code, "not_guarded", "{heard}");
        }
        for guarded in ["https://example.org", "http://127.0.0.1:7480", "http://localhost:7480", "http://[::1]:7480/"] {
            Api::new(guarded, "t", None).map(|_| ()).expect("TLS, or this computer");
        }
    }

    #[test]
    fn a_token_that_is_known_is_not_sent_elsewhere() {
        let home = tempfile::tempdir().expect("a directory");
        let profile = Profile { server: "https://a.example".into(), token: "cft_x".into(), publisher: None, ca: None };
        profile.save(home.path()).expect("saved");
        profile.save_to(home.path(), crate::publisher::profile::SHOP).expect("saved");
        let context = |server: Option<&str>| Context {
            home: home.path().to_owned(),
            card: None,
            pin_file: None,
            server: server.map(str::to_owned),
            via: None,
            ca: None,
            output: crate::output::Output { json: false, quiet: true },
        };
        let desk = crate::desk::Desk { profile: crate::publisher::profile::SHOP, whose: "the shop's", roles: &["shop"], otherwise: "" };
        let other = context(Some("https://b.example"));
        assert_eq!(Api::connect(&other).map(|_| ()).expect_err("another").code, "other_server");
        assert_eq!(desk.connect(&other, None).map(|_| ()).expect_err("another").code, "other_server");
        Api::connect(&context(None)).map(|_| ()).expect("the one that it is for");
        desk.connect(&context(Some("https://a.example/")), None).map(|_| ()).expect("the same, named");
    }
}
