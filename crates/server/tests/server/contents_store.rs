//! Contents in a directory and in a real S3 server: the same tests on both.

#![allow(clippy::disallowed_methods, reason = "waits for real processes, and gives up after a while")]

use crate::support;
use crate::support::catalogue;
use crate::support::s3;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use bytes::Bytes;
use catalogue::{NOW, TestServer, request};
use counterfoil_core::Timestamp;
use counterfoil_format::content::ObjectName;
use counterfoil_server::blobs::{BlobError, Blobs, Put};
use counterfoil_server::config::{Contents, Redirect};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use s3::{TestStore, store_test};
use support::{Engine, TestDb, on};

const MIB: usize = 1 << 20;
/// Bytes of a part of an upload, as in blobs/remote.rs: objects around it take the other way.
const PART: usize = 8 * MIB;

/// Bytes that differ from place to place and from seed to seed.
fn noise(length: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn pieces(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
    // Odd, so that no piece ends where a part does.
    stream::iter(bytes.chunks(60_001).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>())
}

async fn read(blobs: &Blobs, name: ObjectName, range: Range<u64>) -> Vec<u8> {
    let stream = blobs.read(name, range).await.unwrap().expect("it is there");
    stream
        .try_fold(vec![], async |mut all, piece| {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
        .unwrap()
}

store_test!(objects_of_every_length_are_stored_once_listed_and_read_by_range, async |_db: TestDb, store: TestStore| {
    let mut expected = BTreeMap::new();
    for (seed, length) in [0, 1, 100_001, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 12_345].into_iter().enumerate() {
        let bytes = noise(length, seed as u8);
        let (name, end) = (ObjectName::of(&bytes), length as u64);
        assert_eq!(store.blobs.length(name).await.unwrap(), None);
        assert!(store.blobs.read(name, 0..1).await.unwrap().is_none());
        assert_eq!(store.blobs.put(name, pieces(&bytes)).await.unwrap(), Put::Stored, "{length}");
        assert_eq!(store.blobs.put(name, pieces(&bytes)).await.unwrap(), Put::Present, "{length}");
        assert_eq!(store.blobs.length(name).await.unwrap(), Some(end));
        assert!(read(&store.blobs, name, 0..end).await == bytes, "{length}");
        for range in [0..end.min(1), end / 2..end / 2, end / 3..end / 2, end.saturating_sub(1)..end, end.saturating_sub(PART as u64)..end] {
            let whole = range.start as usize..range.end as usize;
            assert!(read(&store.blobs, name, range).await == bytes[whole.clone()], "{length}: {whole:?}");
        }
        expected.insert(name, end);
    }
    assert_eq!(store.blobs.list().try_collect::<BTreeMap<_, _>>().await.unwrap(), expected);
    // A process that is started later finds them all.
    let later = Blobs::connect(&store.contents).unwrap();
    assert_eq!(later.list().try_collect::<BTreeMap<_, _>>().await.unwrap(), expected);
    store.blobs.reach().await.unwrap();
    store.blobs.probe(".probe", true).await.unwrap();
    assert_eq!(store.files().len(), expected.len());
});

store_test!(wrong_and_broken_uploads_leave_nothing, async |_db: TestDb, store: TestStore| {
    for length in [1000, 3 * PART + 5] {
        let (right, wrong) = (noise(length, 1), noise(length, 2));
        let name = ObjectName::of(&right);
        assert!(matches!(store.blobs.put(name, pieces(&wrong)).await, Err(BlobError::Name(found)) if found == ObjectName::of(&wrong)));
        // Cut exactly at the end: all the bytes came, and yet nobody said that it was all.
        let cut = pieces(&right).map(|piece| piece.map_err(|never| match never {})).chain(stream::iter([Err("cable cut")]));
        assert!(matches!(store.blobs.put(name, cut).await, Err(BlobError::Upload(reason)) if reason == "cable cut"));
        // A caller that goes away in the midst of it, after the first part is on its way.
        let stops = pieces(&right).take(length / 60_001).chain(stream::pending());
        let gone = tokio::time::timeout(Duration::from_millis(500), store.blobs.put(name, stops)).await;
        assert!(gone.is_err());
        assert_eq!(store.blobs.length(name).await.unwrap(), None);
        // What was received goes when the task that receives has noticed.
        let begun = std::time::Instant::now();
        while !store.files().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", store.files());
            tokio::task::yield_now().await;
        }
        assert_eq!(store.blobs.put(name, pieces(&right)).await.unwrap(), Put::Stored);
        assert_eq!(store.files().len(), 1);
        for path in store.files() {
            std::fs::remove_file(path).unwrap();
        }
    }
});

store_test!(one_object_eight_times_at_once, async |_db: TestDb, store: TestStore| {
    for length in [200_000, PART + MIB] {
        let bytes = noise(length, 3);
        let name = ObjectName::of(&bytes);
        let uploads = (0..8).map(|_| store.blobs.put(name, pieces(&bytes)));
        for result in futures_util::future::join_all(uploads).await {
            result.unwrap();
        }
        assert!(read(&store.blobs, name, 0..length as u64).await == bytes);
    }
    assert_eq!(store.files().len(), 2);
});

store_test!(the_same_answers_over_http, async |db: TestDb, store: TestStore| {
    let server = TestServer::with(&db, |config| config.contents = store.contents.clone()).await;
    let bytes = noise(PART + 1000, 4);
    let (name, length) = (ObjectName::of(&bytes), bytes.len());
    let (inside, outside) = (format!("/v1/contents/{name}"), format!("/contents/{name}"));
    let head = async |path: &str, token: &str| server.send(request(Method::HEAD, path, token).body(Body::empty()).unwrap()).await;
    assert_eq!(server.get("", &outside).await.code(), "not_found");
    assert_eq!(head(&outside, "").await.status, 404);
    assert_eq!(head(&inside, &server.fox).await.status, 404);
    assert_eq!(server.put(&server.fox, &inside, bytes[1..].to_vec()).await.code(), "object_mismatch");
    assert_eq!(server.put(&server.fox, &inside, bytes.clone()).await.expect(201)["length"], length);
    assert_eq!(server.put(&server.fox, &inside, bytes.clone()).await.status, 200);
    for answer in [head(&outside, "").await, head(&inside, &server.fox).await] {
        assert_eq!((answer.status.as_u16(), answer.header("content-length")), (200, length.to_string().as_str()));
        assert_eq!(answer.header("etag"), format!("\"{name}\""));
    }
    let whole = server.get("", &outside).await;
    assert!(whole.status == 200 && whole.body == bytes);
    let ranged =
        async |range: &str| server.send(request(Method::GET, &outside, "").header("range", range).body(Body::empty()).unwrap()).await;
    let part = ranged(&format!("bytes={}-", PART - 10)).await;
    assert_eq!((part.status.as_u16(), part.header("content-length"), &part.body[..]), (206, "1010", &bytes[PART - 10..]));
    assert_eq!(part.header("content-range"), format!("bytes {}-{}/{length}", PART - 10, length - 1));
    assert_eq!(ranged("bytes=-1").await.body, bytes[length - 1..]);
    assert_eq!(ranged(&format!("bytes={length}-")).await.status, 416);
});

fn plain_get(url: &str, range: Option<&str>) -> (u16, Vec<u8>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let mut request = agent.get(url);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let mut answer = request.call().unwrap();
    (answer.status().as_u16(), answer.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap())
}

async fn get_elsewhere(url: &str, range: Option<&'static str>) -> (u16, Vec<u8>) {
    let url = url.to_owned();
    tokio::task::spawn_blocking(move || plain_get(&url, range)).await.unwrap()
}

#[test]
fn a_get_is_sent_to_the_store_by_an_address_that_is_good_for_a_while() {
    on(
        Engine::Sqlite,
        |_| (),
        async |db| {
            let store = TestStore::s3();
            let contents = Contents { redirect: Redirect::Store, signed_seconds: 60, ..store.contents.clone() };
            let server = TestServer::with(&db, |config| config.contents = contents).await;
            let bytes = noise(300_000, 5);
            let (name, other) = (ObjectName::of(&bytes), ObjectName::of(b"other"));
            store.blobs.put(name, pieces(&bytes)).await.unwrap();
            store.blobs.put(other, pieces(b"other")).await.unwrap();
            let answer = server.get("", &format!("/contents/{name}")).await;
            assert_eq!((answer.status.as_u16(), answer.header("cache-control"), answer.body.len()), (307, "private, max-age=30", 0));
            let url = answer.header("location");
            assert!(url.starts_with(&store.s3.as_ref().unwrap().settings.endpoint), "{url}");
            assert!(get_elsewhere(url, None).await == (200, bytes.clone()));
            assert!(get_elsewhere(url, Some("bytes=1000-1999")).await == (206, bytes[1000..2000].to_vec()));
            // For no other object, for no longer, and for nobody without it.
            let (hex, path) = (name.to_string(), other.to_string());
            let moved = url.replace(&format!("{}/{}/{hex}", &hex[..2], &hex[2..4]), &format!("{}/{}/{path}", &path[..2], &path[2..4]));
            let longer = url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000");
            let bare = url.split_once('?').unwrap().0;
            for altered in [&moved, &longer, bare] {
                assert_ne!(altered, url);
                assert_eq!(get_elsewhere(altered, None).await.0, 403, "{altered}");
            }
            // Nor is it good for writing.
            let (target, body) = (url.to_owned(), noise(10, 6));
            let put = tokio::task::spawn_blocking(move || {
                let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
                agent.put(&target).send(&body[..]).unwrap().status().as_u16()
            });
            assert_eq!(put.await.unwrap(), 403);
            // What can be answered without the bytes is answered here.
            let head = server.send(request(Method::HEAD, &format!("/contents/{name}"), "").body(Body::empty()).unwrap()).await;
            assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "300000"));
            assert_eq!(server.get("", &format!("/contents/{}", ObjectName([9; 32]))).await.code(), "not_found");

            let short = store.blobs.signed_url(name, Duration::from_secs(1)).await.unwrap().unwrap();
            let begun = std::time::Instant::now();
            while get_elsewhere(&short, None).await.0 == 200 {
                assert!(begun.elapsed() < Duration::from_secs(10), "an address for one second is good for ten");
            }
            assert_eq!(get_elsewhere(&short, None).await.0, 403);
        },
    );
}

#[test]
fn a_get_is_sent_to_a_contents_server_that_takes_signed_addresses_only() {
    on(
        Engine::Sqlite,
        |_| (),
        async |db| {
            let store = TestStore::s3();
            let key = tempfile::tempdir().unwrap();
            let file = key.path().join("contents.key");
            counterfoil_server::keys::root::write_private(&file, &format!("{}\n", "07".repeat(32))).unwrap();
            let cdn = Contents {
                redirect: Redirect::Cdn,
                cdn_url: Some("https://cdn.example/contents".to_owned()),
                signing_key_file: Some(file.clone()),
                ..store.contents.clone()
            };
            let authority = TestServer::with(&db, |config| config.contents = cdn).await;
            let behind = Contents { require_signature: true, signing_key_file: Some(file), ..store.contents.clone() };
            let content = TestServer::beside(&authority, |config| config.contents = behind);
            let bytes = noise(70_000, 7);
            let name = ObjectName::of(&bytes);
            authority.put(&authority.fox, &format!("/v1/contents/{name}"), bytes.clone()).await.expect(201);

            let answer = authority.get("", &format!("/contents/{name}")).await;
            assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (307, "private, max-age=300"));
            let path = answer.header("location").strip_prefix("https://cdn.example").unwrap();
            let served = content.get("", path).await;
            assert!(served.status == 200 && served.body == bytes);
            let part = content.send(request(Method::GET, path, "").header("range", "bytes=-9").body(Body::empty()).unwrap()).await;
            assert_eq!((part.status.as_u16(), &part.body[..]), (206, &bytes[69_991..]));
            assert_eq!(content.send(request(Method::HEAD, path, "").body(Body::empty()).unwrap()).await.status, 200);
            // The authority itself serves what it has signed, so that it can stand behind its own CDN.
            assert_eq!(authority.get("", path).await.status, 200);

            let plain = format!("/contents/{name}");
            for refused in
                [&plain, &path.replace("expires=1", "expires=2"), &path.replace(&name.to_string(), &"0".repeat(64)), &format!("{path}A")]
            {
                assert_eq!(content.get("", refused).await.code(), "signature_invalid", "{refused}");
                assert_eq!(content.send(request(Method::HEAD, refused, "").body(Body::empty()).unwrap()).await.status, 403);
            }
            content.app.clock.set(Timestamp(NOW.0 + 599_999));
            assert_eq!(content.get("", path).await.status, 200);
            content.app.clock.set(Timestamp(NOW.0 + 600_000));
            assert_eq!(content.get("", path).await.code(), "url_expired");
        },
    );
}
