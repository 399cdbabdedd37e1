//! What becomes of contents when their store is away, slow or full.

#![allow(clippy::disallowed_methods, reason = "waits for real processes, and gives up after a while")]

use crate::support;
use crate::support::catalogue;
use crate::support::s3;

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
use s3::{Settings, TestStore};
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

#[tokio::test]
async fn what_a_store_breaks_off_is_asked_for_again_from_there() {
    // Says how long it is, sends 1,000 bytes of it, and cuts the line; the second store cuts it before the first byte.
    for (sent, whole) in [(1000, true), (0, false)] {
        let bytes = Bytes::from(noise(4500, 1));
        let name = ObjectName::of(&bytes);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = Settings { endpoint: format!("http://{}", listener.local_addr().unwrap()), ..Settings::of_environment() };
        let asked = Arc::new(AtomicUsize::new(0));
        let router = axum::Router::new().fallback({
            let (bytes, asked) = (bytes.clone(), Arc::clone(&asked));
            async move |request: axum::extract::Request| {
                asked.fetch_add(1, Ordering::SeqCst);
                let range = request.headers()["range"].to_str().unwrap().strip_prefix("bytes=").unwrap().to_owned();
                let (first, last): (usize, usize) = range.split_once('-').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap();
                let piece = bytes.slice(first..(first + sent).min(last + 1));
                // What was sent is on its way before the line is cut.
                let cut = stream::once(async { tokio::task::yield_now().await }).map(|()| Err(std::io::Error::other("cut")));
                let cut = stream::iter((sent > 0).then_some(Ok(piece))).chain(cut);
                Response::builder()
                    .status(206)
                    .header("content-range", format!("bytes {range}/4500"))
                    .header("content-length", last + 1 - first)
                    .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
                    .body(Body::from_stream(cut))
                    .unwrap()
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        let blobs = Blobs::connect(&settings.contents("p")).unwrap();
        let read = blobs.read(name, 0..4500).await.unwrap().unwrap();
        let read = read
            .try_fold(vec![], async |mut all, piece| {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await;
        assert_eq!(read.is_ok(), whole, "{read:?}");
        assert!(!whole || read.unwrap() == bytes);
        assert_eq!(asked.load(Ordering::SeqCst), if whole { 5 } else { 1 });
    }
}
