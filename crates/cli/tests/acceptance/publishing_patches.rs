//! Releases after the first: what changed, which patches are made, what a dry run says before, and what an interruption leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::world::{CANARY, World, files_below, files_with, noise, outcome, scenario, wait_until, write};

/// A tree with a large file that hardly changes, one that does not, and some that come, go and move.
fn tree(world: &World) -> PathBuf {
    let tree = world.path("film-tree");
    write(&tree.join("lib/engine"), &noise(7, 3 << 20));
    write(&tree.join("data/level"), &noise(8, 1 << 20));
    write(&tree.join("old-name"), &noise(9, 100_000));
    write(&tree.join("goes"), &noise(10, 50_000));
    write(&tree.join("text"), &CANARY.repeat(3000));
    tree
}

/// Changes a few bytes in many chunks, as a build with a new version number does.
fn touch(path: &Path, seed: u8) {
    let mut bytes = fs::read(path).expect("readable");
    for at in (0..bytes.len()).step_by(200_000) {
        bytes[at] = bytes[at].wrapping_add(seed);
    }
    fs::write(path, bytes).expect("written");
}

fn second(tree: &Path) {
    touch(&tree.join("lib/engine"), 1);
    fs::rename(tree.join("old-name"), tree.join("new-name")).expect("moved");
    fs::remove_file(tree.join("goes")).expect("removed");
    write(&tree.join("comes"), &CANARY.repeat(10));
}

fn patches(world: &World) -> Vec<(String, String, String, u64)> {
    let (status, page) = world.api("GET", "/v1/titles/film/patches", None);
    assert_eq!(status, 200, "{page}");
    let text = |item: &Value, name: &str| item[name].as_str().expect("text").to_owned();
    let items = page["items"].as_array().expect("a list").iter();
    items.map(|item| (text(item, "from"), text(item, "to"), text(item, "object"), item["length"].as_u64().expect("bytes"))).collect()
}

fn way(of: &Value, number: usize) -> (String, String, String, u64, u64) {
    let way = &of["ways"][number];
    let text = |name: &str| way[name].as_str().unwrap_or_else(|| panic!("no {name} in {way}")).to_owned();
    (text("from"), text("to"), text("object"), way["patch"].as_u64().expect("bytes"), way["chunks"].as_u64().expect("bytes"))
}

// proves: A5
scenario!(a5_a_dry_run_says_what_publishing_then_does, |world| {
    let tree = tree(world);
    world.publish("film", "1", &tree, &["--level", "1"]).done();
    second(&tree);
    let said = world.publish("film", "2", &tree, &["--dry-run"]).done().json();
    assert_eq!(said["dry_run"], true);
    let changes = |of: &Value| ["new", "modified", "moved", "deleted", "same"].map(|name| of["changes"][name].as_u64().expect("a number"));
    assert_eq!(changes(&said), [1, 1, 1, 1, 2], "{said}");
    let moved = said["changes"]["files"].as_array().expect("a list").iter().find(|file| file["state"] == "moved").expect("one has moved");
    assert_eq!((&moved["path"], &moved["from"]), (&"new-name".into(), &"old-name".into()));
    let (from, to, object, patch, chunks) = way(&said, 0);
    assert_eq!((from.as_str(), to.as_str()), ("1", "2"));
    assert!(patch * 20 < chunks && chunks < said["full"].as_u64().expect("bytes"), "{said}");

    // Nothing of it has left the machine.
    assert_eq!(world.api("GET", "/v1/titles/film/releases/2", None).0, 404);
    assert_eq!(world.api("GET", &format!("/contents/{object}"), None).0, 404);
    assert_eq!(patches(world), []);
    assert!(files_with(&world.path("publisher/home/staging"), CANARY).is_empty(), "what waits is sealed");

    let done = world.publish("film", "2", &tree, &[]).done().json();
    for same in ["uploaded", "reused", "compressed", "full", "manifest", "encoder", "ways"] {
        assert_eq!(done[same], said[same], "{same}");
    }
    assert!(done["encoder"].as_str().expect("text").ends_with(" level 1"), "as the release before: {done}");
    assert_eq!(changes(&done), changes(&said));
    assert_eq!(patches(world), [(from, to, object, patch)]);
    let left: Vec<_> = files_below(&world.path("publisher/home/staging"));
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(files_with(&world.path("server"), CANARY).is_empty());
    // The same again sends nothing and makes nothing.
    let again = world.publish("film", "2", &tree, &[]).done().json();
    assert_eq!((&again["uploaded"], &again["ways"]), (&0.into(), &done["ways"]));
});

// proves: A5
scenario!(a5_patches_come_from_the_last_releases_and_lead_back_where_that_is_asked_for, |world| {
    let tree = tree(world);
    for version in 1..=4_u8 {
        touch(&tree.join("lib/engine"), version);
        let done = world.publish("film", &version.to_string(), &tree, &[]).done().json();
        assert_eq!(done["ways"].as_array().expect("a list").len(), usize::from(version - 1).min(3), "{done}");
    }
    touch(&tree.join("lib/engine"), 5);
    // On a channel of its own there is nothing to come from, but packs are used again.
    let beta = world.publish("film", "beta-1", &tree, &["--channel", "beta"]).done().json();
    assert_eq!(beta["ways"], json!([]));
    assert!(beta["reused"].as_u64().expect("bytes") > 1 << 20, "{beta}");
    world.publish("film", "5", &tree, &["--patches", "1", "--back"]).done();
    let made: Vec<(String, String)> = patches(world).into_iter().map(|(from, to, ..)| (from, to)).collect();
    let expected = [("1", "2"), ("1", "3"), ("1", "4"), ("2", "3"), ("2", "4"), ("3", "4"), ("4", "5"), ("5", "4")];
    assert_eq!(made, expected.map(|(from, to)| (from.to_owned(), to.to_owned())));
    // None at all, if that is said.
    touch(&tree.join("lib/engine"), 6);
    let none = world.publish("film", "6", &tree, &["--patches", "0", "--deltas", "0"]).done().json();
    assert_eq!((&none["ways"], &none["changes"]["modified"]), (&json!([]), &1.into()));
});

scenario!(a5_a_patch_that_saves_nothing_is_not_sent, |world| {
    let tree = world.path("noise");
    write(&tree.join("film.mkv"), &noise(1, 1 << 20));
    world.publish("film", "1", &tree, &[]).done();
    write(&tree.join("film.mkv"), &noise(2, 1 << 20));
    let done = world.publish("film", "2", &tree, &[]).done().json();
    assert_eq!(done["ways"][0]["patch"], Value::Null, "{done}");
    assert!(done["ways"][0]["without"].as_str().is_some_and(|why| why.contains("not be smaller than chunks")), "{done}");
    assert_eq!(patches(world), []);
});

// proves: A5
scenario!(a5_publishing_that_was_cut_off_goes_on, |world| {
    let tree = tree(world);
    world.publish("film", "1", &tree, &[]).done();
    second(&tree);
    let said = world.publish("film", "2", &tree, &["--dry-run"]).done().json();
    // The authority is away: nothing is lost of what was made.
    world.kill();
    let away = world.publish("film", "2", &tree, &[]);
    assert_eq!(away.output.status.code(), Some(3), "{away}");
    world.start();
    // Killed while it sends.
    let mut command = world.publisher().command(["publish", "--title", "film", "--version", "2"]);
    command.arg(&tree).stdout(Stdio::null()).stderr(Stdio::null());
    let before = files_below(&world.path("server/contents")).len();
    let mut child = command.spawn().expect("started");
    wait_until("something has been sent", || {
        files_below(&world.path("server/contents")).len() > before || child.try_wait().expect("asked").is_some()
    });
    child.kill().expect("killed");
    child.wait().expect("gone");
    let done = world.publish("film", "2", &tree, &[]).done().json();
    assert_eq!(done["ways"], said["ways"], "the patch is the one that was made first");
    let (from, to, object, patch, _) = way(&said, 0);
    assert_eq!(patches(world), [(from, to, object, patch)]);
});

scenario!(a5_what_is_said_of_a_release_goes_with_it, |world| {
    let tree = tree(world);
    let more = ["--notes", "Fixes a crash", "--critical", "--rollout", "10", "--hold"];
    world.publish("film", "1", &tree, &more).done();
    let (_, release) = world.api("GET", "/v1/titles/film/releases/1", None);
    let found = ["notes", "critical", "rollout", "held"].map(|name| release[name].clone());
    assert_eq!(found, [json!("Fixes a crash"), json!(true), json!(10), json!(true)], "{release}");
    assert!(release["encoder"].as_str().is_some_and(|encoder| encoder.starts_with("zstd ") && encoder.ends_with(" level 3")), "{release}");
    let mut words = world.publisher().command(["publish", "--title", "film", "--version", "2", "--dry-run", "--verbose"]);
    second(&tree);
    words.arg(&tree);
    let words = outcome(words).done().stdout();
    for expected in [
        "would publish film 2",
        "against 1: 1 new, 1 modified, 1 moved, 1 deleted, 2 the same",
        "MODIFIED",
        "(was old-name)",
        "from 1: patch ",
        "nothing was sent",
    ] {
        assert!(words.contains(expected), "no {expected:?} in {words}");
    }
});
