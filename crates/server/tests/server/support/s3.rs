//! Contents stores of tests: a directory, and a real S3 server, which comes from `COUNTERFOIL_TEST_S3`; without it the tests fail.
//!
//! `store_test!(name, async |db, store| { … });` makes the tests `name::directory` and `name::s3`, each over a store of its own.

#![allow(clippy::disallowed_methods, reason = "waits for a real process, and gives up after a while")]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use counterfoil_server::blobs::Blobs;
use counterfoil_server::config::Contents;
use serde::Deserialize;

/// A store that nobody else uses.
pub struct TestStore {
    pub contents: Contents,
    pub blobs: Blobs,
    pub s3: Option<OwnS3>,
    directory: tempfile::TempDir,
}

impl TestStore {
    pub fn directory() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let contents = Contents { dir: directory.path().to_owned(), ..Contents::default() };
        Self { blobs: Blobs::connect(&contents).unwrap(), contents, s3: None, directory }
    }

    pub fn s3() -> Self {
        let s3 = OwnS3::start();
        let contents = s3.contents("some/prefix");
        Self { blobs: Blobs::connect(&contents).unwrap(), contents, s3: Some(s3), directory: tempfile::tempdir().unwrap() }
    }

    /// Files with content of objects, finished or not, wherever the store keeps them.
    pub fn files(&self) -> Vec<PathBuf> {
        let root = self.s3.as_ref().map_or(self.directory.path(), |s3| s3.root.path());
        // What s3s-fs notes about objects and buckets, besides the objects themselves and the parts of uploads.
        everything_below(root).into_iter().filter(|path| path.extension().is_none_or(|extension| extension != "json")).collect()
    }
}

fn everything_below(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// What `scripts/s3 start` prints.
#[derive(Clone, Deserialize)]
pub struct Settings {
    pub endpoint: String,
    pub bucket: String,
    pub access_key: String,
    pub secret_key: String,
    pub binary: PathBuf,
}

impl Settings {
    pub fn of_environment() -> Self {
        let text = std::env::var("COUNTERFOIL_TEST_S3").expect(
            "COUNTERFOIL_TEST_S3 is not set: it must hold what `scripts/s3 start` prints; \
             run `export COUNTERFOIL_TEST_S3=$(scripts/s3 start)` or ./test",
        );
        serde_json::from_str(&text).expect("COUNTERFOIL_TEST_S3 holds what `scripts/s3 start` prints")
    }

    pub fn contents(&self, prefix: &str) -> Contents {
        let mut contents = Contents { url: Some(format!("s3://{}/{prefix}", self.bucket)), ..Contents::default() };
        for (name, value) in [
            ("aws_endpoint", self.endpoint.as_str()),
            ("aws_access_key_id", &self.access_key),
            ("aws_secret_access_key", &self.secret_key),
            ("aws_region", "us-east-1"),
            ("allow_http", "true"),
        ] {
            contents.options.0.insert(name.to_owned(), value.to_owned());
        }
        contents
    }
}

/// An S3 server that this test may kill.
pub struct OwnS3 {
    pub settings: Settings,
    pub root: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl OwnS3 {
    pub fn start() -> Self {
        let settings = Settings::of_environment();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(&settings.bucket)).unwrap();
        let mut own = Self { settings, root, port: 0, child: None };
        // A port is free when it is chosen; where somebody else takes it meanwhile, another one is.
        for _ in 0..10 {
            own.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            own.settings.endpoint = format!("http://127.0.0.1:{}", own.port);
            if own.run() {
                return own;
            }
        }
        panic!("s3s-fs does not start");
    }

    /// Starts it, again on the port that it had.
    pub fn run(&mut self) -> bool {
        let mut child = Command::new(&self.settings.binary)
            .args(["--host", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--access-key", &self.settings.access_key, "--secret-key", &self.settings.secret_key])
            .arg(self.root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.settings.binary.display()));
        let begun = Instant::now();
        loop {
            if child.try_wait().unwrap().is_some() || begun.elapsed() > Duration::from_secs(20) {
                let _ = child.kill();
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                self.child = Some(child);
                return true;
            }
            std::thread::yield_now();
        }
    }

    /// SIGKILL, in the midst of whatever it does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn contents(&self, prefix: &str) -> Contents {
        self.settings.contents(prefix)
    }
}

impl Drop for OwnS3 {
    fn drop(&mut self) {
        self.kill();
    }
}

macro_rules! store_test {
    ($name:ident, $body:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "what the body names comes from the file")]
            use super::*;

            #[test]
            fn directory() {
                let body = $body;
                on(Engine::Sqlite, |_| (), async |db| body(db, TestStore::directory()).await);
            }

            #[test]
            fn s3() {
                let body = $body;
                on(Engine::Sqlite, |_| (), async |db| body(db, TestStore::s3()).await);
            }
        }
    };
}
pub(crate) use store_test;
