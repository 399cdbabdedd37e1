//! The example of a provider in a process of its own, and a client of it that is not ours to trust.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::ports;
use crate::world::{Device, World, outcome, write};

/// A provider that runs.
pub struct Service {
    running: Option<Child>,
    directory: PathBuf,
    arguments: Vec<String>,
    pub id: String,
    pub url: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The example's binary, which `cargo build --workspace --bins` puts beside the client's.
fn example() -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_counterfoil")).with_file_name("provider");
    assert!(path.exists(), "{} is missing: run `cargo build -p provider` first", path.display());
    Command::new(path)
}

impl Service {
    /// Registers one and starts it: the address is needed first, so it is registered at a free port.
    pub fn start(world: &World, name: &str, more: &[&str]) -> Self {
        let address = ports::address().to_string();
        let url = format!("http://{address}");
        let added =
            world.publisher().run(["provider", "add", &url, "--name", name, "--publisher", "acme", "--token", "--json"]).done().json();
        let (id, token) = (added["provider"].as_str().expect("an ID").to_owned(), added["token"].as_str().expect("a token"));
        let directory = world.path(name);
        write(&directory.join("token"), token.as_bytes());
        write(&directory.join("contents/sky-raider/map"), b"a map of the sky");
        write(&directory.join("contents/sky-raider/chapter-4"), b"what comes after");
        write(&directory.join("contents/night-garden/frogs"), b"another title's");
        write(&directory.join("contents/offers.toml"), b"['sky-raider/chapter-4']\nstatus = { chapter = 3 }\n");
        let fixed = ["--authority", &world.url, "--token-file", "token", "--id", &id, "--contents", "contents", "--uploads", "uploads"];
        let arguments = fixed.iter().chain(&["--listen", &address]).chain(more).map(|one| (*one).to_owned()).collect();
        let mut service = Self { running: None, directory, arguments, id, url };
        service.run();
        service
    }

    /// Starts it, at its address.
    pub fn run(&mut self) {
        let mut serve = example();
        serve.current_dir(&self.directory).args(&self.arguments).stdout(Stdio::piped());
        let mut running = serve.spawn().expect("started");
        let mut line = String::new();
        BufReader::new(running.stdout.take().expect("piped")).read_line(&mut line).expect("it says where");
        assert!(line.starts_with(&format!("listening on {}", self.url)), "{line}");
        self.running = Some(running);
    }

    /// `SIGKILL`, as a power cut would.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It may have ended by itself.
            let _ = running.kill();
            let _ = running.wait();
        }
    }

    /// What has been handed in, by `<holder>/<name>`, without what is under way.
    pub fn received(&self) -> Vec<(String, Vec<u8>)> {
        let uploads = self.directory.join("uploads");
        let files = crate::world::files_below(&uploads).into_iter().map(|path| {
            let name = path.strip_prefix(&uploads).expect("below").to_str().expect("UTF-8").to_owned();
            (name, fs::read(&path).expect("readable"))
        });
        files.filter(|(name, _)| !name.contains("/.open/")).collect()
    }

    /// The one holder that has handed something in.
    pub fn holder(&self) -> String {
        let received = self.received();
        let (name, _) = received.first().unwrap_or_else(|| panic!("nothing was handed in"));
        name.split_once('/').expect("<holder>/<name>").0.to_owned()
    }

    /// Another provider's token in this one's place, from the next start on.
    pub fn take_token_of(&self, other: &Service) {
        fs::copy(other.directory.join("token"), self.directory.join("token")).expect("copied");
    }

    /// A fresh challenge.
    pub fn challenge(&self) -> String {
        let (status, given) = self.post("/v1/challenge", &json!({}));
        assert_eq!(status, 200, "{given}");
        given["challenge"].as_str().expect("a challenge").to_owned()
    }

    /// Presents by hand.
    pub fn present(&self, challenge: &str, presentation: &Value) -> (u16, Value) {
        self.post("/v1/present", &json!({ "challenge": challenge, "presentation": presentation }))
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        post(&format!("{}{path}", self.url), None, body)
    }

    /// A session by hand, of whoever has this medium.
    pub fn session(&self, device: &Device, medium: &Path) -> String {
        let challenge = self.challenge();
        let (status, session) = self.present(&challenge, &presentation(device, medium, &self.id, &challenge, &self.url));
        assert_eq!(status, 200, "{session}");
        session["session"].as_str().expect("a session").to_owned()
    }

    /// A request with a session. Status, a header, body.
    pub fn request(&self, method: &str, path: &str, session: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        request = request.header("authorization", format!("Bearer {session}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match method {
            "POST" | "PATCH" => agent().run(request.body(body).expect("a request")),
            _ => agent().run(request.body(()).expect("a request")),
        };
        let mut answer = sent.expect("the provider answers");
        let body = answer.body_mut().read_to_vec().expect("a body");
        Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
    }
}

/// What a provider answers.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// Refused with this code.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{body}");
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

/// Asks with JSON. Status and document.
pub fn post(url: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let mut request = agent().post(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut answer = request.send_json(body).expect("it answers");
    (answer.status().as_u16(), answer.body_mut().read_json().unwrap_or(Value::Null))
}

/// What a terminal would hand over to whoever says at `url` that it is `provider`, and gives this challenge.
pub fn presentation(device: &Device, medium: &Path, provider: &str, challenge: &str, url: &str) -> Value {
    let mut command = device.command(["present"]);
    command.arg(medium).args(["--to", url, "--provider", provider, "--challenge", challenge, "--print"]);
    outcome(command).done().json()
}
