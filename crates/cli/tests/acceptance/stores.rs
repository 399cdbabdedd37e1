//! Contents in a real S3 server, which hands them out itself (D11): the publisher's tools follow to it, and carry no token there.

use std::path::PathBuf;

use serde_json::Value;

use crate::world::{Engine, World, files_below};

/// What `scripts/s3 start` printed.
fn s3(name: &str) -> String {
    let text = std::env::var("COUNTERFOIL_TEST_S3").expect(
        "COUNTERFOIL_TEST_S3 is not set: it must hold what `scripts/s3 start` prints; \
         run `export COUNTERFOIL_TEST_S3=$(scripts/s3 start)` or ./test",
    );
    let settings: Value = serde_json::from_str(&text).expect("JSON");
    settings[name].as_str().expect("a setting").to_owned()
}

// proves: D11
#[test]
fn d11_media_are_pressed_with_content_that_the_store_hands_out() {
    let prefix = format!("acceptance-{}", std::process::id());
    let world = World::with_settings(
        Engine::Sqlite,
        &[
            ("COUNTERFOILD__CONTENTS__URL", &format!("s3://{}/{prefix}", s3("bucket"))),
            ("COUNTERFOILD__CONTENTS__REDIRECT", "store"),
            ("AWS_ENDPOINT_URL", &s3("endpoint")),
            ("AWS_ACCESS_KEY_ID", &s3("access_key")),
            ("AWS_SECRET_ACCESS_KEY", &s3("secret_key")),
            ("AWS_ALLOW_HTTP", "true"),
        ],
    );
    let tree = world.large_tree(30_000_000);
    world.publish("long-film", "1.0.0", &tree, &["--entry", "film.mkv", "--kind", "movie"]).done();
    // Nothing lies with the authority, everything in the bucket, and whoever asks the authority is sent there.
    assert!(files_below(&world.path("server/contents")).is_empty());
    let objects = files_below(&PathBuf::from(s3("root")).join(s3("bucket")).join(&prefix));
    assert!(objects.len() >= 2, "a manifest and a pack: {objects:?}");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    for object in &objects {
        let name = object.file_name().and_then(|name| name.to_str()).expect("a name");
        let answer = agent.get(format!("{}/contents/{name}", world.url)).call().expect("an answer");
        let location = answer.headers()["location"].to_str().expect("an address");
        assert!(answer.status() == 307 && location.starts_with(&s3("endpoint")), "{answer:?}");
    }
    let disc = world.press("long-film", 1).remove(0);
    let anna = world.person("anna");
    anna.copy(&disc).done();
    anna.plays_all("long-film", &tree);
    // The second version is published against the first, whose manifest comes from the store as well.
    world.publish("long-film", "1.0.1", &tree, &["--entry", "film.mkv", "--kind", "movie"]).done();
    std::fs::remove_dir_all(PathBuf::from(s3("root")).join(s3("bucket")).join(&prefix)).expect("removed");
}
