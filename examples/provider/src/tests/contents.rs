//! What is handed out, to whom, in which parts (B5).

use super::*;

async fn fetch(world: &World, session: &str, name: &str, range: Option<&str>) -> Answer {
    let authorization = bearer(session);
    let mut headers = vec![("authorization", authorization.as_str())];
    headers.extend(range.map(|range| ("range", range)));
    send(&world.app, Method::GET, &format!("/v1/contents/{name}"), &headers, Body::empty()).await
}

#[tokio::test]
async fn b5_whoever_may_download_gets_what_fits_in_parts_if_wanted() {
    let world = World::new().await;
    let session = world.session("download play update", "anna").await;
    assert_eq!(fetch(&world, &session, "map", None).await.body, b"0123456789");
    assert_eq!(fetch(&world, &session, "patch-notes", None).await.body, b"for those who may update");
    let part = fetch(&world, &session, "map", Some("bytes=4-6")).await;
    assert_eq!((part.status, part.body.as_slice(), part.headers["content-range"].to_str().unwrap()), (206, &b"456"[..], "bytes 4-6/10"));
    let rest = fetch(&world, &session, "map", Some("bytes=7-")).await;
    assert_eq!((rest.status, rest.body.as_slice()), (206, &b"789"[..]));
    let outside = fetch(&world, &session, "map", Some("bytes=10-")).await;
    outside.refused(416, "range_not_satisfiable");
    assert_eq!(outside.headers["content-range"], "bytes */10");
}

#[tokio::test]
async fn b5_without_the_right_the_title_or_the_status_there_is_nothing() {
    let world = World::new().await;
    let session = world.session("play upload", "anna").await;
    fetch(&world, &session, "map", None).await.refused(403, "right_missing");
    let session = world.session("download", "anna").await;
    for name in ["frogs", "patch-notes", "chapter-4", "no-such-file"] {
        fetch(&world, &session, name, None).await.refused(404, "not_found");
    }
    for session in ["", "x", "0123456789abcdef0123456789abcdef"] {
        let refused = fetch(&world, session, "map", None).await;
        refused.refused(401, "session_unknown");
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
    }
}

#[tokio::test]
async fn b5_names_lead_nowhere_else() {
    let world = World::new().await;
    let session = world.session("download", "anna").await;
    for name in ["..%2f..%2fsecret", "%2e%2e%2fsecret", "offers.toml", "sky-raider%2Fmap", "..%2foffers.toml", "map%00", ".%2fmap", "%ff"] {
        let refused = fetch(&world, &session, name, None).await;
        assert!(matches!(refused.status, 400 | 404), "{name}: {refused:?}");
        assert!(!refused.body.windows(6).any(|bytes| bytes == b"nobody"), "{name}");
    }
}

#[test]
fn b5_contents_that_are_not_as_they_should_be_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let fails = |words: &str| {
        let error = Contents::read(directory.path()).err().unwrap_or_else(|| panic!("it is read, and {words} is not said"));
        assert!(error.contains(words), "{error}");
    };
    write("one/file", "1");
    assert_eq!(Contents::read(directory.path()).unwrap().len(), 1);
    write("offers.toml", "['one/other']\n");
    fails("one/other");
    write("offers.toml", "['one/file']\nscop = ['update']\n");
    fails("scop");
    write("offers.toml", "");
    write("two/file", "2");
    fails("another title has a file of that name");
    std::fs::remove_file(directory.path().join("two/file")).unwrap();
    write("two/.hidden", "");
    fails(".hidden");
    std::fs::remove_file(directory.path().join("two/.hidden")).unwrap();
    write("No Title/file-3", "");
    fails("No Title");
}
