//! What can be published, what is stored twice, and what is refused by name.

use std::fs;
use std::path::Path;

use crate::world::{CANARY, files_with, outcome, scenario, write};

// proves: C1
scenario!(c1_only_sealed_bytes_are_stored_and_the_same_bytes_once, |world| {
    let tree = world.large_tree(8 << 20);
    let first = world.publish("film", "1", &tree, &["--level", "1"]).done().json();
    assert!(first["uploaded"].as_u64().is_some_and(|bytes| bytes > 8 << 20), "{first}");
    // The same again resumes what is complete: nothing is sent.
    let again = world.publish("film", "1", &tree, &["--level", "1"]).done().json();
    assert_eq!((&again["uploaded"], &again["manifest"]), (&0.into(), &first["manifest"]), "{again}");
    // A change costs what it changes.
    write(&tree.join("readme"), b"new in version 2");
    let second = world.publish("film", "2", &tree, &["--level", "1"]).done().json();
    assert!(second["uploaded"].as_u64().is_some_and(|bytes| bytes < 1 << 20), "{second}");
    let plain = files_with(&world.path("server"), CANARY);
    assert!(plain.is_empty(), "{plain:?}");
    assert!(!world.path("publisher/home/staging/film.publish").exists(), "the staging directory is left behind");

    // Another content under a version that exists.
    write(&tree.join("readme"), b"changed");
    let refused = world.publish("film", "2", &tree, &["--level", "1"]);
    assert_eq!((refused.output.status.code(), &refused.json()["error"]["code"]), (Some(1), &"release_exists".into()), "{refused}");
    // The release that exists is as it was, and both can be pressed.
    let disc = world.press("film", 1).remove(0);
    let anna = world.person("anna");
    anna.copy(&disc).done();
    assert_eq!(anna.play("film", "readme").done().stdout(), "new in version 2");
});

scenario!(names_that_would_escape_or_fail_elsewhere_are_refused_by_path, |world| {
    type Make = fn(&Path);
    let bad: [(&str, Make); 9] = [
        ("CON.txt", |tree| write(&tree.join("CON.txt"), b"x")),
        ("a:b", |tree| write(&tree.join("a:b"), b"x")),
        ("trailing.", |tree| write(&tree.join("trailing."), b"x")),
        ("back\\slash", |tree| write(&tree.join("back\\slash"), b"x")),
        ("out", |tree| std::os::unix::fs::symlink("../../etc/passwd", tree.join("out")).expect("linked")),
        ("absolute", |tree| std::os::unix::fs::symlink("/etc/passwd", tree.join("absolute")).expect("linked")),
        ("pipe", |tree| {
            let mut make = std::process::Command::new("mkfifo");
            make.arg(tree.join("pipe"));
            outcome(make).done();
        }),
        ("Same", |tree| {
            write(&tree.join("Same"), b"x");
            write(&tree.join("same"), b"y");
        }),
        ("tab\\t", |tree| write(&tree.join("tab\t"), b"x")),
    ];
    for (number, (name, make)) in bad.into_iter().enumerate() {
        let tree = world.path(&format!("bad-{number}"));
        write(&tree.join("good/file"), b"x");
        make(&tree.join("good"));
        let refused = world.publish("bad", "1", &tree, &[]);
        assert_eq!(refused.output.status.code(), Some(1), "{name}: {refused}");
        let error = refused.json()["error"]["message"].as_str().expect("a message").to_ascii_lowercase();
        let plain = name.trim_end_matches("\\t").to_ascii_lowercase();
        assert!(error.contains(&plain) || error.contains(&plain.replace('\\', "\\\\")), "{name} is not named: {error}");
    }
});

scenario!(a_title_is_not_made_for_a_path_that_was_mistyped, |world| {
    let tree = world.small_tree();
    let lost = world.publish("sky-raider", "1", &world.path("small-typo"), &[]);
    assert_eq!((lost.output.status.code(), &lost.json()["error"]["code"]), (Some(3), &"io".into()), "{lost}");
    let lost = world.publish("sky-raider", "1", &tree, &["--entry", "bin/typo"]);
    assert_eq!(lost.output.status.code(), Some(2), "{lost}");
    let (status, answer) = world.api("GET", "/v1/titles/sky-raider", None);
    assert_eq!(status, 404, "{answer}");
    // Its kind can be said still.
    world.publish("sky-raider", "1", &tree, &["--kind", "game"]).done();
});

scenario!(a_publisher_needs_a_good_token_and_its_own_key, |world| {
    let stranger = world.device("stranger");
    let login = |token: &str, more: &[&str]| {
        let mut login = stranger.command(["publisher", "login", "--server", &world.url, "--token", token]);
        login.args(more);
        outcome(login)
    };
    login("cft_nobody_nothing", &[]).failed(1, "");
    stranger.run(["publish", ".", "--title", "x", "--version", "1"]).failed(3, "no authority and token are known");
    // Somebody else's key for a publisher that exists.
    world.publisher();
    login(&world.token, &["--publisher", "acme"]).failed(1, "signs with another key");
    let profile = world.path("publisher/home/publisher.toml");
    for private in [&profile, &world.path("publisher/home/publisher.key")] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(private).expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600, "{}", private.display());
    }
    crate::world::set_mode(&profile, 0o644);
    world.device("publisher").run(["publish", ".", "--title", "x", "--version", "1"]).failed(3, "can be read by others");
});

scenario!(a_publishers_token_publishes_for_that_publisher_only, |world| {
    let body = serde_json::json!({ "role": "publisher", "tenant": "moon", "name": "moon's build machine" });
    let (status, answer) = world.api("POST", "/v1/publishers", Some(serde_json::json!({ "id": "moon", "name": "Moon" })));
    assert!((200..300).contains(&status), "{status} {answer}");
    let (status, answer) = world.api("POST", "/v1/tokens", Some(body));
    assert!((200..300).contains(&status), "{status} {answer}");
    let moon = world.device("moon");
    let token = answer["token"].as_str().expect("shown once");
    moon.run(["publisher", "login", "--server", &world.url, "--token", token]).done();
    let tree = world.small_tree();
    let mut publish = moon.command(["publish", "--title", "moon-walk", "--version", "1"]);
    publish.arg(&tree);
    outcome(publish).done();
    // Of another publisher's title it learns nothing.
    world.publish("sky-raider", "1.0.0", &tree, &[]).done();
    let mut publish = moon.command(["publish", "--title", "sky-raider", "--version", "2"]);
    publish.arg(&tree);
    let outcome = outcome(publish);
    assert_eq!(outcome.output.status.code(), Some(1), "{outcome}");
});
