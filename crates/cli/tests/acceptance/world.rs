//! A world for one scenario: an authority, publishers and people with devices, all in one directory that goes with it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::ports;

mod database;
mod device;
mod files;
mod outcome;

pub use database::{create_database, drop_database};
pub use device::Device;
pub use files::{copy_tree, files_below, files_with, noise, set_mode, write};
pub use outcome::{Outcome, outcome, outcome_of};

use database::partitioned;

/// Makes a test of a scenario for each database engine.
macro_rules! scenario {
    ($name:ident, |$world:ident| $body:block) => {
        mod $name {
            #[allow(unused_imports, reason = "not every scenario needs what its file imports")]
            use super::*;

            fn scenario($world: &mut $crate::world::World) $body

            #[test]
            fn sqlite() {
                scenario(&mut $crate::world::World::new($crate::world::Engine::Sqlite));
            }

            #[test]
            fn postgres() {
                scenario(&mut $crate::world::World::new($crate::world::Engine::Postgres));
            }
        }
    };
}
pub(crate) use scenario;

/// What the authority keeps its data in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Longest that anything is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct World {
    dir: TempDir,
    database: Option<String>,
    server: Option<Child>,
    settings: Vec<(String, String)>,
    pub url: String,
    pub token: String,
    /// Of an authority that speaks TLS.
    ca: Option<PathBuf>,
}

impl World {
    /// With an authority that runs.
    pub fn new(engine: Engine) -> Self {
        Self::with_settings(engine, &[])
    }

    /// With an authority that is configured by environment variables.
    pub fn with_settings(engine: Engine, settings: &[(&str, &str)]) -> Self {
        Self::with(engine, settings, &[])
    }

    /// With an authority that speaks HTTPS, under a certificate authority of its own.
    pub fn with_tls(engine: Engine) -> Self {
        Self::with(engine, &[], &["--tls-self-signed"])
    }

    fn with(engine: Engine, settings: &[(&str, &str)], how: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("counterfoil-world-").tempdir().expect("a directory");
        let partitions = std::env::var("COUNTERFOIL_TEST_PARTITIONS").ok();
        let template = partitions.filter(|_| engine == Engine::Postgres).map(|partitions| partitioned(&partitions));
        let database = (engine == Engine::Postgres).then(|| create_database(template.as_deref()));
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut world = Self { dir, database, server: None, settings, url: String::new(), token: String::new(), ca: None };
        let mut init = Command::new(counterfoild());
        init.args(["init", "--json", "--data"]).arg(world.path("server")).args(how);
        if let Some(database) = &world.database {
            init.arg("--database").arg(database);
        }
        let init = outcome(init).done().json();
        world.token = init["token"].as_str().expect("init prints the first operator token").to_owned();
        world.ca = init["ca_file"].as_str().map(PathBuf::from);
        world.start();
        world
    }

    /// A command of the authority's operator, on the authority's machine.
    pub fn operator<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Command {
        let mut command = Command::new(counterfoild());
        command.arg("--data").arg(self.path("server")).args(arguments).stdin(Stdio::null());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Makes an empty database, which goes with the world.
    pub fn make_database(&mut self) -> String {
        let database = create_database(None);
        self.database = Some(database.clone());
        database
    }

    /// Whether the authority keeps its data in PostgreSQL.
    pub fn is_on_postgres(&self) -> bool {
        self.database.is_some()
    }

    /// The address of that database.
    pub fn database(&self) -> &str {
        self.database.as_deref().expect("a world with a database in PostgreSQL")
    }

    /// Changes the configuration from the next start on.
    pub fn configure(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts the server, at the same address as before if it has had one.
    pub fn start(&mut self) {
        let ready = self.path("ready");
        let _ = fs::remove_file(&ready);
        let listen = match self.url.rsplit('/').next().filter(|address| !address.is_empty()) {
            Some(address) => address.to_owned(),
            None => ports::address().to_string(),
        };
        let log = File::options().create(true).append(true).open(self.path("server.log")).expect("a log");
        let mut serve = Command::new(counterfoild());
        serve.args(["serve", "--listen", &listen, "--data"]).arg(self.path("server")).arg("--ready-file").arg(&ready);
        serve.envs(self.settings.iter().map(|(name, value)| (name, value)));
        serve.stdout(log.try_clone().expect("the same log")).stderr(log).stdin(Stdio::null());
        let mut server = serve.spawn().expect("the server starts");
        wait_until("the server is ready", || {
            if let Some(status) = server.try_wait().expect("asked") {
                panic!("the server ended: {status}\n{}", fs::read_to_string(self.path("server.log")).unwrap_or_default());
            }
            fs::read(&ready).is_ok_and(|text| serde_json::from_slice::<Value>(&text).is_ok())
        });
        let ready: Value = serde_json::from_slice(&fs::read(&ready).expect("ready")).expect("JSON");
        self.url = ready["url"].as_str().expect("an address").to_owned();
        self.server = Some(server);
    }

    /// `SIGKILL`, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("killed");
            server.wait().expect("gone");
        }
    }

    /// A device that nobody has registered.
    pub fn device(&self, name: &str) -> Device {
        let device = Device {
            home: self.path(&format!("{name}/home")),
            root: self.path(&format!("{name}/root")),
            library: self.path(&format!("{name}/library")),
            url: self.url.clone(),
            ca: self.ca.clone(),
            variables: vec![],
        };
        device.set_hardware(&format!("{name}'s computer"), &format!("{name}'s drive"));
        device
    }

    /// A person with a card, registered with card, device and drive.
    pub fn person(&self, name: &str) -> Device {
        let device = self.device(name);
        device.run(["card", "new"]).done();
        device.run([OsStr::new("register"), OsStr::new("--library"), device.library.as_os_str()]).done();
        device
    }

    /// A publisher who is logged in; made on first use.
    pub fn publisher(&self) -> Device {
        let device = self.device("publisher");
        if !device.home.join("publisher.toml").exists() {
            let login = ["publisher", "login", "--server", &self.url, "--token", &self.token, "--publisher", "acme", "--name", "Acme"];
            device.run(login).done();
        }
        device
    }

    /// Publishes what is below `tree`.
    pub fn publish(&self, title: &str, version: &str, tree: &Path, more: &[&str]) -> Outcome {
        let publisher = self.publisher();
        let mut command = publisher.command(["publish", "--json", "--title", title, "--version", version]);
        command.arg(tree).args(more);
        outcome(command)
    }

    /// Presses directories, and gives them in order.
    pub fn press(&self, title: &str, count: usize) -> Vec<PathBuf> {
        let out = self.path(&format!("discs-{title}"));
        let count_text = count.to_string();
        let mut command = self.publisher().command(["press", "--title", title, "--count", &count_text, "--out"]);
        command.arg(&out);
        outcome(command).done();
        (1..=count).map(|serial| out.join(format!("{serial:04}"))).collect()
    }

    /// A small title, pressed on so many media: the usual beginning.
    pub fn discs(&self, count: usize) -> Vec<PathBuf> {
        self.publish("sky-raider", "1.0.0", &self.small_tree(), &["--entry", "bin/game", "--kind", "game"]).done();
        self.press("sky-raider", count)
    }

    /// A few files of many kinds, about 300 kB.
    pub fn small_tree(&self) -> PathBuf {
        let tree = self.path("small");
        if !tree.exists() {
            write(&tree.join("bin/game"), b"#!/bin/sh\necho \"played with $*\"\nexit ${STATUS:-0}\n");
            set_mode(&tree.join("bin/game"), 0o755);
            write(&tree.join("data/level-1"), &noise(1, 200_000));
            write(&tree.join("data/text"), &CANARY.repeat(3000));
            write(&tree.join("empty"), b"");
        }
        tree
    }

    /// One file of noise that fills several packs.
    pub fn large_tree(&self, bytes: usize) -> PathBuf {
        let tree = self.path("large");
        write(&tree.join("film.mkv"), &noise(2, bytes));
        write(&tree.join("text"), &CANARY.repeat(3000));
        tree
    }

    /// Asks the authority's API as the operator. Status and document.
    pub fn api(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("{}{path}", self.url);
        let token = format!("Bearer {}", self.token);
        let mut response = match (method, body) {
            ("POST", body) => agent.post(url).header("authorization", token).send_json(body.unwrap_or(Value::Null)),
            _ => agent.get(url).header("authorization", token).call(),
        }
        .expect("the authority answers");
        let document = response.body_mut().read_json().unwrap_or(Value::Null);
        (response.status().as_u16(), document)
    }

    /// The directory that everything of this world is in: of its devices, its media and its authority.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }
}

/// Text that must be on no disk but the publisher's own.
pub const CANARY: &[u8] = b"the canary sings in plain text. ";

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.path("server.log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("the server's last lines:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        if let Some(database) = self.database.take() {
            drop_database(&database);
        }
    }
}

/// Looks again and again, without holding the processor, until it is so.
#[track_caller]
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = now();
    while !so() {
        assert!(now() - begun < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[expect(clippy::disallowed_methods, reason = "limits how long a test waits")]
fn now() -> Instant {
    Instant::now()
}

/// The server's binary, which `cargo build --bins` puts beside the client's.
pub fn counterfoild() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_counterfoil")).with_file_name("counterfoild");
    assert!(path.exists(), "{} is missing: run `cargo build -p counterfoil-server` first", path.display());
    path
}
