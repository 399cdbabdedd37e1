//! What is handed in (B6): by whom, how much, cut off and gone on with.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use futures_util::stream;

use super::*;

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");

async fn upload(app: &Arc<App>, session: &str, method: Method, path: &str, more: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let authorization = bearer(session);
    let headers: Vec<_> = [("authorization", authorization.as_str()), TUS].into_iter().chain(more.iter().copied()).collect();
    send(app, method, path, &headers, body).await
}

async fn create(app: &Arc<App>, session: &str, name: &str, length: u64) -> Answer {
    let encoded = BASE64_STANDARD.encode(name);
    let headers = [("upload-length", length.to_string()), ("upload-metadata", format!("name {encoded}"))];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    upload(app, session, Method::POST, "/v1/uploads", &headers, Body::empty()).await
}

async fn created(app: &Arc<App>, session: &str, name: &str, length: u64) -> String {
    let made = create(app, session, name, length).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(made.headers.contains_key("upload-expires"));
    made.headers["location"].to_str().unwrap().to_owned()
}

async fn patch(app: &Arc<App>, session: &str, path: &str, offset: u64, body: impl Into<Body>) -> Answer {
    let headers = [("content-type", "application/offset+octet-stream"), ("upload-offset", &offset.to_string())];
    upload(app, session, Method::PATCH, path, &headers, body).await
}

async fn offset(app: &Arc<App>, session: &str, path: &str) -> u64 {
    let head = upload(app, session, Method::HEAD, path, &[], Body::empty()).await;
    assert_eq!((head.status, head.headers["cache-control"].to_str().unwrap()), (200, "no-store"), "{head:?}");
    head.headers["upload-offset"].to_str().unwrap().parse().unwrap()
}

/// So many pieces of a body, and then its sender is gone.
fn cut(bytes: &[u8], pieces: usize) -> Body {
    let sent: Vec<_> = bytes.chunks(1000).take(pieces).map(|piece| Ok(piece.to_vec())).collect();
    Body::from_stream(stream::iter(sent.into_iter().chain([Err(std::io::Error::other("cut"))])))
}

#[tokio::test]
async fn b6_what_is_handed_in_arrives_in_parts_and_under_its_name() {
    let world = World::new().await;
    let session = world.session("upload", "anna").await;
    let options = send(&world.app, Method::OPTIONS, "/v1/uploads", &[], Body::empty()).await;
    assert_eq!((options.status, options.headers["tus-max-size"].to_str().unwrap()), (204, "100000"));
    let path = created(&world.app, &session, "level.map", 10).await;
    assert_eq!(offset(&world.app, &session, &path).await, 0);
    let first = patch(&world.app, &session, &path, 0, "01234").await;
    assert_eq!((first.status, first.headers["upload-offset"].to_str().unwrap()), (204, "5"), "{first:?}");
    // Sent twice: the second knows where to go on.
    patch(&world.app, &session, &path, 0, "01234").await.refused(409, "offset_conflict");
    assert_eq!(patch(&world.app, &session, &path, 5, "56789").await.status, 204);
    assert_eq!(offset(&world.app, &session, &path).await, 10);
    patch(&world.app, &session, &path, 5, "56789").await.refused(409, "offset_conflict");
    let uploads = world.directory.path().join("uploads");
    assert_eq!(std::fs::read(uploads.join("user-anna/level.map")).unwrap(), b"0123456789");
    // A second one of that name is another file, and none is overwritten.
    let path = created(&world.app, &session, "level.map", 0).await;
    assert_eq!(offset(&world.app, &session, &path).await, 0);
    let kept = files(&uploads);
    assert_eq!((kept.get("user-anna/level.map"), kept.get("user-anna/level.map.2")), (Some(&10), Some(&0)), "{kept:?}");
    upload(&world.app, &session, Method::DELETE, &path, &[], Body::empty()).await.refused(410, "gone");
}

#[tokio::test]
async fn b6_an_upload_goes_on_wherever_it_was_cut_also_at_another_process() {
    let world = World::new().await;
    let session = world.session("upload", "anna").await;
    let bytes: Vec<u8> = (0..9500u32).map(|number| (number * 7 % 251) as u8).collect();
    for pieces in 0..=10 {
        let path = created(&world.app, &session, &format!("cut-{pieces}"), 9500).await;
        patch(&world.app, &session, &path, 0, cut(&bytes, pieces)).await;
        // Nothing of it is in memory: another process, and a session of the same holder that began later.
        let app = world.restarted(true);
        world.judges(|asked| active(&verdict("upload", asked)));
        let later = present(&app, &challenge(&app).await).await.json()["session"].as_str().unwrap().to_owned();
        let received = offset(&app, &later, &path).await;
        assert_eq!(received, bytes.len().min(pieces * 1000) as u64);
        if received < 9500 {
            let rest = bytes[usize::try_from(received).unwrap()..].to_vec();
            assert_eq!(patch(&app, &later, &path, received, rest).await.status, 204);
        }
        assert_eq!(std::fs::read(world.directory.path().join(format!("uploads/user-anna/cut-{pieces}"))).unwrap(), bytes);
    }
}

#[tokio::test]
async fn b6_without_the_right_nothing_is_taken() {
    let world = World::new().await;
    let session = world.session("download play update transfer", "anna").await;
    let refused = create(&world.app, &session, "level.map", 10).await;
    refused.refused(403, "right_missing");
    assert_eq!(refused.headers["tus-resumable"], "1.0.0");
    create(&world.app, "nobody", "level.map", 10).await.refused(401, "session_unknown");
    assert_eq!(files(&world.directory.path().join("uploads")), BTreeMap::new());
    // Where nobody knows whose it is, there is nowhere to put it.
    world.judges(|asked| active(&Verdict { sub: None, ..verdict("upload", asked) }));
    let presented = present(&world.app, &challenge(&world.app).await).await.json();
    assert_eq!(presented["upload_bytes"], Value::Null);
    create(&world.app, presented["session"].as_str().unwrap(), "level.map", 10).await.refused(403, "right_missing");
}

#[tokio::test]
async fn b6_another_holders_upload_is_not_there() {
    let world = World::new().await;
    let anna = world.session("upload", "anna").await;
    let path = created(&world.app, &anna, "level.map", 10).await;
    let ben = world.session("upload", "ben").await;
    for method in [Method::HEAD, Method::DELETE] {
        let refused = upload(&world.app, &ben, method, &path, &[], Body::empty()).await;
        assert_eq!(refused.status, 404, "{refused:?}");
    }
    patch(&world.app, &ben, &path, 0, "0123456789").await.refused(404, "not_found");
    assert_eq!(offset(&world.app, &anna, &path).await, 0);
    // Not by a way around either.
    let id = path.rsplit('/').next().unwrap();
    for path in [format!("..%2f..%2fuser-anna%2f.open%2f{id}"), format!("%2e%2e/{id}"), format!("{id}.json"), "..".into(), "%2e%2e".into()]
    {
        let refused = upload(&world.app, &ben, Method::HEAD, &format!("/v1/uploads/{path}"), &[], Body::empty()).await;
        assert_eq!(refused.status, 404, "{path}: {refused:?}");
    }
}

#[tokio::test]
async fn b6_a_forged_name_makes_no_file() {
    let world = World::new().await;
    let session = world.session("upload", "anna").await;
    let long = "x".repeat(101);
    for name in ["", ".", "..", "../secret", "a/b", "/etc/passwd", ".open", "a\0b", "a\nb", "ä", "a b", &long] {
        create(&world.app, &session, name, 1).await.refused(400, "invalid_request");
    }
    assert_eq!(files(&world.directory.path().join("uploads")), BTreeMap::new());
    // Names of holders are the authority's; what is no name of a directory is hashed.
    for holder in ["../ben", "a/b", "..", "%2e%2e"] {
        let session = world.session("upload", holder).await;
        created(&world.app, &session, "level.map", 0).await;
    }
    let made: Vec<_> =
        files(world.directory.path()).into_keys().filter(|path| !path.starts_with("contents/") && path != "secret").collect();
    assert!(
        made.len() == 8 && made.iter().all(|path| path.starts_with("uploads/blake3.") || path.starts_with("uploads/user-")),
        "{made:?}"
    );
}

#[tokio::test]
async fn b6_too_much_is_refused_before_and_while_it_comes() {
    let world = World::new().await;
    let session = world.session("upload", "anna").await;
    create(&world.app, &session, "too-large", 100_001).await.refused(413, "too_large");
    let path = created(&world.app, &session, "level.map", 2500).await;
    // It says so itself, or it just goes on: nothing of it is kept.
    let longer = vec![1; 2501];
    let headers = [("content-type", "application/offset+octet-stream"), ("upload-offset", "0"), ("content-length", "2501")];
    upload(&world.app, &session, Method::PATCH, &path, &headers, longer.clone()).await.refused(413, "too_large");
    let pieces: Vec<_> = longer.chunks(1000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    patch(&world.app, &session, &path, 0, Body::from_stream(stream::iter(pieces))).await.refused(413, "too_large");
    assert_eq!(offset(&world.app, &session, &path).await, 0);
    // What is announced counts: 2,500 and twice 100,000 of 250,000.
    created(&world.app, &session, "large", 100_000).await;
    let second = created(&world.app, &session, "large-too", 100_000).await;
    create(&world.app, &session, "one-more", 47_501).await.refused(413, "too_large");
    assert_eq!(upload(&world.app, &session, Method::DELETE, &second, &[], Body::empty()).await.status, 204);
    created(&world.app, &session, "one-more", 47_501).await;
    // Another holder has room, and where the authority allows less, that counts.
    world.judges(|asked| {
        let rights = Rights { upload: true, upload_mib: Some(0), ..Rights::default() };
        active(&Verdict { sub: Some("cara".into()), rights: Some(rights), ..verdict("upload", asked) })
    });
    let presented = present(&world.app, &challenge(&world.app).await).await.json();
    assert_eq!(presented["upload_bytes"], 0);
    create(&world.app, presented["session"].as_str().unwrap(), "level.map", 1).await.refused(413, "too_large");
}

#[tokio::test]
async fn b6_only_so_many_are_under_way_at_once() {
    let world = World::new().await;
    let session = world.session("upload", "anna").await;
    for number in 0..10 {
        created(&world.app, &session, &number.to_string(), 1).await;
    }
    create(&world.app, &session, "10", 1).await.refused(429, "too_many_uploads");
}

#[tokio::test]
async fn b6_of_two_bodies_at_once_one_is_written() {
    let world = World::new().await;
    let session = world.session("upload", "anna").await;
    let path = created(&world.app, &session, "level.map", 3).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let slow = Body::from_stream(stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))));
    let (app, holders, place) = (world.app.clone(), session.clone(), path.clone());
    let first = tokio::spawn(async move { patch(&app, &holders, &place, 0, slow).await });
    sender.send(Ok(b"a".to_vec())).await.unwrap();
    // The first is being written when its first byte has left the channel: the second of these waits for that.
    sender.send(Ok(b"b".to_vec())).await.unwrap();
    patch(&world.app, &session, &path, 0, "xyz").await.refused(423, "busy");
    sender.send(Ok(b"c".to_vec())).await.unwrap();
    drop(sender);
    assert_eq!(first.await.unwrap().status, 204);
    assert_eq!(std::fs::read(world.directory.path().join("uploads/user-anna/level.map")).unwrap(), b"abc");
}

#[test]
fn b6_what_nobody_finishes_is_taken_away_and_what_is_complete_stays() {
    let directory = tempfile::tempdir().unwrap();
    let uploads = Uploads::new(directory.path().to_owned(), 100, 100).unwrap();
    let wanted = |length| crate::uploads::Wanted { name: "a", length, metadata: String::new(), limit: None };
    uploads.create("user-anna", "00000000000000000000000000000001", wanted(100), 0).unwrap();
    uploads.create("user-anna", "00000000000000000000000000000002", wanted(0), 0).unwrap();
    assert!(uploads.create("user-anna", "00000000000000000000000000000003", wanted(1), 86_399).is_err(), "no room");
    uploads.sweep(86_399).unwrap();
    assert_eq!(files(directory.path()).len(), 4);
    uploads.sweep(86_400).unwrap();
    assert_eq!(files(directory.path()), BTreeMap::from([("user-anna/a".to_owned(), 0)]));
    assert!(uploads.state("user-anna", "00000000000000000000000000000001", 86_400).is_err());
}
