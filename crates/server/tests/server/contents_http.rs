//! Contents over HTTP: stored by hash, fetched by range, in constant memory.

use crate::support;
use crate::support::catalogue;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::Method;
use bytes::Bytes;
use catalogue::{TestServer, request};
use counterfoil_format::content::ObjectName;
use futures_util::stream;
use support::{TestDb, db_test};

fn stored_files(path: &std::path::Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        count += if path.is_dir() { stored_files(&path) } else { 1 };
    }
    count
}

db_test!(an_object_is_put_once_and_fetched_by_everybody, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let bytes: Vec<u8> = (0..100_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let name = ObjectName::of(&bytes);
    let (inside, outside) = (format!("/v1/contents/{name}"), format!("/contents/{name}"));
    assert_eq!(server.get("", &outside).await.code(), "not_found");
    assert_eq!(server.send(request(Method::HEAD, &inside, &server.fox).body(Body::empty()).unwrap()).await.status, 404);
    assert_eq!(server.put("", &inside, bytes.clone()).await.status, 401);
    let stored = server.put(&server.fox, &inside, bytes.clone()).await.expect(201);
    assert_eq!(stored, serde_json::json!({ "object": name, "length": 400_000 }));
    assert_eq!(server.put(&server.owl, &inside, bytes.clone()).await.status, 200);
    assert_eq!(
        server.send(request(Method::HEAD, &inside, &server.fox).body(Body::empty()).unwrap()).await.header("content-length"),
        "400000"
    );

    let whole = server.get("", &outside).await;
    assert_eq!((whole.status.as_u16(), &whole.body), (200, &bytes));
    assert_eq!(whole.header("etag"), format!("\"{name}\""));
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert!(whole.header("cache-control").contains("immutable"));
    let head = server.send(request(Method::HEAD, &outside, "").body(Body::empty()).unwrap()).await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.body.len()), (200, "400000", 0));

    let ranged =
        async |range: &str| server.send(request(Method::GET, &outside, "").header("range", range).body(Body::empty()).unwrap()).await;
    let part = ranged("bytes=1000-1999").await;
    assert_eq!((part.status.as_u16(), part.header("content-range"), &part.body[..]), (206, "bytes 1000-1999/400000", &bytes[1000..2000]));
    let tail = ranged("bytes=-7").await;
    assert_eq!((tail.status.as_u16(), &tail.body[..]), (206, &bytes[399_993..]));
    let rest = ranged("bytes=399999-").await;
    assert_eq!((rest.status.as_u16(), rest.header("content-length"), rest.body.len()), (206, "1", 1));
    let beyond = ranged("bytes=400000-").await;
    assert_eq!(
        (beyond.status.as_u16(), beyond.header("content-range"), beyond.code().as_str()),
        (416, "bytes */400000", "range_not_satisfiable")
    );
    let known =
        server.send(request(Method::GET, &outside, "").header("if-none-match", format!("\"{name}\"")).body(Body::empty()).unwrap()).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    let stale =
        request(Method::GET, &outside, "").header("range", "bytes=0-0").header("if-range", "\"other\"").body(Body::empty()).unwrap();
    assert_eq!(server.send(stale).await.status, 200);
    for odd in ["/contents/x", "/contents/..%2f..%2fetc%2fpasswd", &format!("/contents/{}", "0".repeat(63))] {
        assert_eq!(server.get("", odd).await.status, 404, "{odd}");
    }
});

db_test!(wrong_and_broken_uploads_leave_nothing_behind, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let path = format!("/v1/contents/{}", ObjectName::of(b"right"));
    assert_eq!(server.put(&server.fox, &path, b"wrong".to_vec()).await.code(), "object_mismatch");
    let broken = stream::iter([Ok(Bytes::from_static(b"right")), Err("the line went dead")]);
    let answer = server.send(request(Method::PUT, &path, &server.fox).body(Body::from_stream(broken)).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_request"));
    assert_eq!(stored_files(server.contents()), 0);
    assert_eq!(server.put(&server.fox, &path, b"right".to_vec()).await.status, 201);
    assert_eq!(stored_files(server.contents()), 1);
});

db_test!(concurrent_uploads_of_one_object_are_all_fine, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let bytes = vec![5u8; 200_000];
    let path = format!("/v1/contents/{}", ObjectName::of(&bytes));
    let uploads = (0..20).map(|_| server.put(&server.fox, &path, bytes.clone()));
    for answer in futures_util::future::join_all(uploads).await {
        assert!(answer.status.is_success(), "{}", answer.status);
    }
    assert_eq!(stored_files(server.contents()), 1);
});

db_test!(an_upload_larger_than_any_body_limit_waits_for_the_disk, async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.limits.body_bytes = 64 * 1024).await;
    // 64 MiB in pieces that are counted when they are made and when they are gone: only a few are ever in memory.
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 1024;
    struct Piece(Vec<u8>, Arc<AtomicUsize>);
    impl AsRef<[u8]> for Piece {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Piece {
        fn drop(&mut self) {
            self.1.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let content = |n: usize| vec![(n % 251) as u8; PIECE];
    let mut hasher = blake3::Hasher::new();
    for n in 0..PIECES {
        hasher.update(&content(n));
    }
    let name = ObjectName(*hasher.finalize().as_bytes());
    let pieces = stream::iter((0..PIECES).map({
        let (alive, most) = (Arc::clone(&alive), Arc::clone(&most));
        move |n| {
            most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Ok::<_, Infallible>(Bytes::from_owner(Piece(content(n), Arc::clone(&alive))))
        }
    }));
    let path = format!("/v1/contents/{name}");
    let answer = server.send(request(Method::PUT, &path, &server.fox).body(Body::from_stream(pieces)).unwrap()).await;
    assert_eq!(answer.expect(201)["length"], PIECE * PIECES);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert!(most.load(Ordering::SeqCst) <= 8, "{most:?} pieces were in memory at once");
});
