//! What becomes of contents when their store is away, slow, full or damaged, and how much memory they take.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "support/catalogue.rs"]
mod catalogue;
#[path = "support/s3.rs"]
mod s3;
mod support;

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use catalogue::{TestServer, request};
use counterfoil_format::content::ObjectName;
use counterfoil_server::blobs::{BlobError, Blobs};
use counterfoil_server::config::Contents;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use s3::{OwnS3, Settings, TestStore};
use serde_json::Value;
use support::{Engine, TestDb, on};
use tokio::sync::watch;
use tower::ServiceExt as _;

const MIB: usize = 1 << 20;
/// How long anything may take before it counts as never happening.
const NEVER: Duration = Duration::from_secs(60);

/// `length` bytes that no other seed has.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A server, its clients and the store that comes and goes.
struct Load {
    server: TestServer,
    /// Whether the store is there; whoever was refused waits for it.
    up: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
    uploaded: AtomicUsize,
    downloaded: AtomicUsize,
    refused_uploads: AtomicUsize,
    refused_downloads: AtomicUsize,
}

impl Load {
    async fn ask(&self, request: axum::http::Request<Body>) -> Response {
        self.server.router.clone().oneshot(request).await.unwrap()
    }

    /// A refusal that says that the request may be repeated, and when; anything else is a failure of the test.
    async fn retryable(&self, answer: Response, count: &AtomicUsize) {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"], "5");
        let body = axum::body::to_bytes(answer.into_body(), MIB).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["code"], "contents_unavailable");
        count.fetch_add(1, Ordering::SeqCst);
        self.up.clone().wait_for(|up| *up).await.unwrap();
    }

    /// Puts objects one after the other, each until it is taken. Answers with those that were.
    async fn upload(&self, client: u64) -> Vec<(ObjectName, usize)> {
        let mut taken = vec![];
        for number in 0.. {
            if *self.stop.borrow() {
                break;
            }
            let length = [500, 3 * MIB, 17 * MIB, 200_000][(number % 4) as usize];
            let bytes = Bytes::from(noise(length, client << 32 | number));
            let name = ObjectName::of(&bytes);
            loop {
                let pieces = stream::iter((0..length).step_by(100_000).map({
                    let bytes = bytes.clone();
                    move |at| Ok::<_, std::io::Error>(bytes.slice(at..length.min(at + 100_000)))
                }));
                let put = request(Method::PUT, &format!("/v1/contents/{name}"), &self.server.fox).body(Body::from_stream(pieces)).unwrap();
                let answer = self.ask(put).await;
                if answer.status().is_success() {
                    break;
                }
                self.retryable(answer, &self.refused_uploads).await;
            }
            taken.push((name, length));
            self.uploaded.fetch_add(1, Ordering::SeqCst);
        }
        taken
    }

    /// Fetches an object again and again; what breaks off goes on by range.
    async fn download(&self, bytes: &[u8]) {
        let path = format!("/contents/{}", ObjectName::of(bytes));
        while !*self.stop.borrow() {
            let mut got = vec![];
            while got.len() < bytes.len() {
                let get = request(Method::GET, &path, "").header("range", format!("bytes={}-", got.len())).body(Body::empty()).unwrap();
                let answer = self.ask(get).await;
                if answer.status() != StatusCode::PARTIAL_CONTENT {
                    self.retryable(answer, &self.refused_downloads).await;
                    continue;
                }
                let mut body = answer.into_body().into_data_stream();
                while let Some(Ok(piece)) = body.next().await {
                    got.extend_from_slice(&piece);
                }
            }
            assert!(got == bytes);
            self.downloaded.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Waits until `count` has grown by `more`.
async fn grows(count: &AtomicUsize, more: usize) {
    let (begun, before) = (Instant::now(), count.load(Ordering::SeqCst));
    while count.load(Ordering::SeqCst) < before + more {
        assert!(begun.elapsed() < NEVER, "{before} + {more} was not reached");
        tokio::task::yield_now().await;
    }
}

/// testing.md, row 20: the S3 endpoint is gone and back, under load.
#[test]
fn a_store_that_is_gone_and_back_loses_nothing_and_every_refusal_can_be_repeated() {
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let mut store = TestStore::s3();
            let server = TestServer::with(&db, |config| config.contents = store.contents.clone()).await;
            let (set_up, up) = watch::channel(true);
            let (set_stop, stop) = watch::channel(false);
            let zero = AtomicUsize::default;
            let load = Arc::new(Load {
                server,
                up,
                stop,
                uploaded: zero(),
                downloaded: zero(),
                refused_uploads: zero(),
                refused_downloads: zero(),
            });
            let fetched: Vec<_> =
                [300, 5 * MIB, 20 * MIB].into_iter().zip(1 << 60..).map(|(length, seed)| Arc::new(noise(length, seed))).collect();
            for bytes in &fetched {
                let pieces = stream::iter([Ok::<_, String>(Bytes::copy_from_slice(bytes))]);
                store.blobs.put(ObjectName::of(bytes), pieces).await.unwrap();
            }
            let uploads: Vec<_> = (0..3)
                .map(|client| {
                    tokio::spawn({
                        let load = Arc::clone(&load);
                        async move { load.upload(client).await }
                    })
                })
                .collect();
            let downloads: Vec<_> = fetched
                .iter()
                .cloned()
                .map(|bytes| {
                    tokio::spawn({
                        let load = Arc::clone(&load);
                        async move { load.download(&bytes).await }
                    })
                })
                .collect();
            for _ in 0..3 {
                grows(&load.uploaded, 3).await;
                grows(&load.downloaded, 3).await;
                set_up.send(false).unwrap();
                store.s3.as_mut().unwrap().kill();
                grows(&load.refused_uploads, 1).await;
                grows(&load.refused_downloads, 1).await;
                // Decisions need no contents: the process stays in service, and says what is missing.
                let ready = load.server.get("", "/readyz").await.expect(200);
                assert_eq!((&ready["status"], &ready["missing"]), (&"degraded".into(), &serde_json::json!(["contents"])));
                assert!(store.s3.as_mut().unwrap().run());
                set_up.send(true).unwrap();
            }
            grows(&load.uploaded, 3).await;
            grows(&load.downloaded, 3).await;
            set_stop.send(true).unwrap();
            for download in downloads {
                download.await.unwrap();
            }
            let mut taken = vec![];
            for upload in uploads {
                taken.extend(upload.await.unwrap());
            }
            let (uploads, downloads) = (load.refused_uploads.load(Ordering::SeqCst), load.refused_downloads.load(Ordering::SeqCst));
            println!("{} uploads taken, {uploads} refused meanwhile; {downloads} downloads refused meanwhile", taken.len());
            // Asked by somebody who remembers nothing.
            let blobs = Blobs::connect(&store.contents).unwrap();
            for (name, length) in taken {
                let pieces = blobs.read(name, 0..length as u64).await.unwrap().expect("what was taken is there");
                let hash = pieces
                    .try_fold(blake3::Hasher::new(), async |mut hasher, piece| {
                        hasher.update(&piece);
                        Ok(hasher)
                    })
                    .await
                    .unwrap();
                assert_eq!(ObjectName(*hash.finalize().as_bytes()), name);
            }
            assert_eq!(load.server.get("", "/readyz").await.expect(200)["status"], "ok");
        },
    );
}

#[test]
fn a_contents_server_without_its_store_is_not_ready_and_recovers_by_itself() {
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let mut store = TestStore::s3();
            let authority = TestServer::with(&db, |config| config.contents = store.contents.clone()).await;
            let content = authority.beside(|_| ());
            let bytes = noise(1000, 1);
            let name = ObjectName::of(&bytes);
            store.blobs.put(name, stream::iter([Ok::<_, String>(Bytes::copy_from_slice(&bytes))])).await.unwrap();
            assert_eq!(content.get("", "/readyz").await.status, 200);
            store.s3.as_mut().unwrap().kill();
            assert_eq!(content.get("", "/readyz").await.code(), "contents_unavailable");
            let answer = content.get("", &format!("/contents/{name}")).await;
            assert_eq!((answer.code().as_str(), answer.header("retry-after")), ("contents_unavailable", "5"));
            assert!(store.s3.as_mut().unwrap().run());
            assert!(content.get("", &format!("/contents/{name}")).await.body == bytes);
            assert_eq!(content.get("", "/readyz").await.status, 200);
        },
    );
}

/// An S3 server with a fault that s3s-fs cannot have: it answers every request in one way, or never.
async fn faulty(answer: Option<StatusCode>) -> Contents {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings { endpoint: format!("http://{}", listener.local_addr().unwrap()), ..Settings::of_environment() };
    let router = axum::Router::new().fallback(async move |method: Method, _body: Bytes| match (method, answer) {
        (_, None) => std::future::pending().await,
        (Method::HEAD, _) => StatusCode::NOT_FOUND,
        (_, Some(answer)) => answer,
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    settings.contents("p")
}

#[tokio::test]
async fn a_store_that_is_full_says_so_and_one_that_never_answers_is_given_up() {
    let put = async |contents: &Contents| {
        let pieces = stream::iter([Ok::<_, String>(Bytes::from_static(b"bytes"))]);
        Blobs::connect(contents).unwrap().put(ObjectName::of(b"bytes"), pieces).await
    };
    let contents = faulty(Some(StatusCode::INSUFFICIENT_STORAGE)).await;
    assert!(matches!(put(&contents).await, Err(BlobError::Full)));
    let contents = faulty(Some(StatusCode::FORBIDDEN)).await;
    assert!(matches!(put(&contents).await, Err(BlobError::Away(reason)) if reason.contains("403")));
    let contents = faulty(None).await;
    let begun = Instant::now();
    assert!(matches!(put(&contents).await, Err(BlobError::Away(reason)) if reason.contains("no answer")));
    assert!(begun.elapsed() < Duration::from_secs(15));
}

/// The program itself, with a store of its own.
struct Place {
    directory: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

impl Place {
    fn new(s3: &OwnS3) -> Self {
        let Settings { endpoint, bucket, access_key, secret_key, .. } = &s3.settings;
        let settings = [
            ("COUNTERFOILD__CONTENTS__URL", format!("s3://{bucket}/p")),
            ("COUNTERFOILD__LIMITS__REQUESTS_PER_SECOND", "0".to_owned()),
            ("AWS_ENDPOINT_URL", endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", secret_key.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ];
        Self { directory: tempfile::tempdir().unwrap(), settings: settings.map(|(name, value)| (name.to_owned(), value)).to_vec() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoild"));
        command.args(arguments).arg("--data").arg(self.directory.path().join("data")).env_remove("COUNTERFOILD_CONFIG");
        command.envs(self.settings.iter().cloned());
        command
    }

    /// Status, what it printed as JSON, and what it said.
    fn run(&self, arguments: &[&str]) -> (i32, Value, String) {
        let output = self.command(arguments).arg("--json").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
    }
}

struct Served(Child);

impl Served {
    fn start(place: &Place) -> (Self, String) {
        let mut child = place.command(&["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self(child), line.split_whitespace().nth(2).unwrap().trim_end_matches(',').to_owned())
    }

    /// The most memory that the process ever had, in bytes.
    fn peak(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_object_of_200_mb_passes_through_a_server_in_little_memory() {
    let s3 = OwnS3::start();
    let place = Place::new(&s3);
    let (status, made, said) = place.run(&["init"]);
    assert_eq!(status, 0, "{said}");
    let (served, url) = Served::start(&place);
    let token = made["token"].as_str().unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let content = |length: u64| blake3::Hasher::new().update(&length.to_le_bytes()).finalize_xof().take(length);
    let through = |length: u64| {
        let name = blake3::Hasher::new().update_reader(content(length)).unwrap().finalize().to_string();
        let put = agent.put(format!("{url}/v1/contents/{name}")).header("authorization", format!("Bearer {token}"));
        let put = put.header("content-length", length.to_string()).send(ureq::SendBody::from_owned_reader(content(length)));
        assert_eq!(put.unwrap().status(), 201);
        let mut answer = agent.get(format!("{url}/contents/{name}")).call().unwrap();
        let body = answer.body_mut().with_config().limit(u64::MAX).reader();
        assert_eq!(blake3::Hasher::new().update_reader(body).unwrap().finalize().to_string(), name);
    };
    through(1000);
    let before = served.peak();
    through(200_000_000);
    let more = served.peak() - before;
    println!("{} MiB more than before, {} MiB in all", more / MIB, served.peak() / MIB);
    assert!(more < 64 * MIB, "{} MiB", more / MIB);
}

#[test]
fn a_server_starts_without_its_store() {
    let mut s3 = OwnS3::start();
    let place = Place::new(&s3);
    s3.kill();
    assert_eq!(place.run(&["init"]).0, 0);
    let (_served, url) = Served::start(&place);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let get = |path: &str| {
        let mut answer = agent.get(format!("{url}{path}")).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json::<Value>().unwrap())
    };
    let (status, ready) = get("/readyz");
    assert_eq!((status, &ready["status"], &ready["missing"]), (200, &"degraded".into(), &serde_json::json!(["contents"])));
    assert_eq!(get(&format!("/contents/{}", "0".repeat(64))).1["code"], "contents_unavailable");
    let (status, checks, _) = place.run(&["doctor"]);
    let contents = checks.as_array().unwrap().iter().find(|check| check["what"] == "contents").unwrap();
    assert_eq!((status, contents["verdict"].as_str()), (3, Some("wrong")), "{contents}");
    assert!(s3.run());
    assert_eq!(get("/readyz").1["status"], "ok");
    assert_eq!(get(&format!("/contents/{}", "0".repeat(64))).1["code"], "not_found");
    assert_eq!(place.run(&["doctor"]).0, 0);
}

#[test]
fn contents_are_moved_there_and_back_and_what_is_damaged_is_named() {
    let s3 = OwnS3::start();
    let place = Place::new(&s3);
    let here = place.directory.path().join("contents");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let blobs = Blobs::open(&here).unwrap();
    let objects: Vec<_> =
        [0, 10, 1000, 300_000, 9 * MIB, 20 * MIB].into_iter().zip(0..).map(|(length, seed)| noise(length, seed)).collect();
    let mut total = 0;
    for bytes in &objects {
        let pieces = stream::iter([Ok::<_, String>(Bytes::copy_from_slice(bytes))]);
        runtime.block_on(blobs.put(ObjectName::of(bytes), pieces)).unwrap();
        total += bytes.len();
    }
    std::fs::write(here.join("unfinished/x"), b"half").unwrap();
    std::fs::create_dir_all(here.join("ab/cd")).unwrap();
    std::fs::write(here.join("ab/cd/readme"), b"nobody's object").unwrap();
    let path = |root: &std::path::Path, bytes: &[u8]| {
        let name = ObjectName::of(bytes).to_string();
        root.join(&name[..2]).join(&name[2..4]).join(name)
    };
    let (from, to) = (format!("dir:{}", here.display()), format!("s3://{}/p", s3.settings.bucket));
    let there = s3.root.path().join(&s3.settings.bucket).join("p");

    let (status, moved, said) = place.run(&["migrate-store", "--from", &from, "--to", &to]);
    assert_eq!((status, &moved["copied"], &moved["bytes"]), (0, &Value::from(6), &Value::from(total)), "{said}");
    assert_eq!((&moved["from"]["digest"], &moved["to"]["objects"]), (&moved["to"]["digest"], &Value::from(6)));
    for bytes in &objects {
        assert!(std::fs::read(path(&there, bytes)).unwrap() == *bytes);
    }
    // Killed half-way, a run leaves objects out, and never a part of one; a part is what somebody else may have made of it.
    std::fs::remove_file(path(&there, &objects[3])).unwrap();
    std::fs::write(path(&there, &objects[4]), b"short").unwrap();
    let (status, moved, _) = place.run(&["migrate-store", "--from", &from, "--to", &to]);
    assert_eq!((status, &moved["copied"]), (0, &Value::from(2)));
    assert!(std::fs::read(path(&there, &objects[4])).unwrap() == objects[4]);
    assert_eq!(place.run(&["migrate-store", "--from", &from, "--to", &to]).1["copied"], 0);

    // And back, with damage of the same length on the way.
    let back = place.directory.path().join("back");
    let damaged = path(&there, &objects[5]);
    let mut bytes = objects[5].clone();
    bytes[7 * MIB] ^= 1;
    std::fs::write(&damaged, &bytes).unwrap();
    let home = format!("dir:{}", back.display());
    let (status, moved, said) = place.run(&["migrate-store", "--from", &to, "--to", &home]);
    assert_eq!((status, &moved["copied"]), (1, &Value::from(5)), "{said}");
    assert_eq!(moved["damaged"], serde_json::json!([ObjectName::of(&objects[5]).to_string()]));
    assert!(said.contains("\"hint\""), "{said}");
    assert!(damaged.exists() && !path(&back, &objects[5]).exists());
    std::fs::write(&damaged, &objects[5]).unwrap();
    let (status, moved, _) = place.run(&["migrate-store", "--from", &to, "--to", &home]);
    assert_eq!((status, &moved["copied"], &moved["from"]["digest"]), (0, &Value::from(1), &moved["to"]["digest"]));
    assert_eq!(place.run(&["migrate-store", "--from", &from, "--to", &from]).0, 2);
    assert_eq!(place.run(&["migrate-store", "--from", "dir:/nowhere", "--to", &to]).0, 3);
    drop(s3);
    assert_eq!(place.run(&["migrate-store", "--from", &from, "--to", &to]).0, 3);
}
