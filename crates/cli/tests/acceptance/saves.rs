//! Saves of one user on two devices: what a program has saved is handed in on one and taken on the other, in conflict, restored, over the
//! quota (A4).

use std::fs;
use std::path::Path;

use counterfoil_core::Code;

use crate::household::{TITLE, desk, laptop, sell, with_library};
use crate::world::{Device, World, files_with, noise, outcome, scenario, set_mode, write};

/// A title whose buyers may hand in a MiB, and whose program saves where it is told to.
fn on_sale(world: &World, terms: &str) {
    let tree = world.path("tree");
    write(&tree.join("bin/game"), b"#!/bin/sh\necho \"$1\" >\"$COUNTERFOIL_SAVE_DIR/progress\"\n");
    set_mode(&tree.join("bin/game"), 0o755);
    world.publish(TITLE, "1.0.0", &tree, &["--entry", "bin/game", "--kind", "game"]).done();
    sell(world, terms);
}

fn progress(device: &Device) -> String {
    fs::read_to_string(device.home.join("saved").join(TITLE).join("progress")).expect("saved")
}

fn save(device: &Device, text: &str) {
    write(&device.home.join("saved").join(TITLE).join("progress"), text.as_bytes());
}

// proves: A4
scenario!(a4_what_a_program_saves_on_one_device_is_played_on_from_on_another, |world| {
    on_sale(world, "devices = 2\nupload_mib = 1\n");
    let desk = desk(world);
    let laptop = laptop(world, &desk);
    desk.run(with_library(&desk, &["install", TITLE])).done();
    let mut run = desk.command(with_library(&desk, &["run", TITLE]));
    run.args(["--", "level 7 of the desk"]);
    outcome(run).done();
    let pushed = desk.run(["save", "push", TITLE, "--note", "before the bridge", "--json"]).done().json();
    assert_eq!((pushed["version"].as_u64(), pushed["sealed"].as_bool()), (Some(1), Some(true)), "{pushed}");
    assert!(pushed["quota"] == 1 << 20 && pushed["used"].as_u64() > Some(1000), "{pushed}");
    // Nobody who holds the server's disks reads it.
    assert!(files_with(&world.path("server"), b"level 7 of the desk").is_empty());

    laptop.run(["save", "pull", TITLE]).done();
    assert_eq!(progress(&laptop), "level 7 of the desk\n");
    let list = laptop.run(["save", "list", TITLE, "--json"]).done().json();
    let version = &list["versions"][0];
    assert_eq!((version["device"].as_str(), version["note"].as_str()), (Some("desk"), Some("before the bridge")), "{list}");
    assert!(laptop.run(["save", "push", TITLE]).done().stdout().contains("has it already"));

    // Both go on; the second to hand in is told, and nothing is lost.
    save(&laptop, "level 8 of the laptop");
    save(&desk, "level 9 of the desk");
    laptop.run(["save", "push", TITLE]).done();
    let conflict = desk.run(["save", "push", TITLE]);
    assert!(
        conflict.stderr().contains("slot main has version 2, saved ")
            && conflict.stderr().contains(" by laptop; what lies here follows version 1")
    );
    conflict.refused(Code::SaveConflict);
    desk.run(["save", "pull", TITLE]).failed(1, "was changed here and not pushed");
    assert_eq!(progress(&desk), "level 9 of the desk");
    desk.run(["save", "push", TITLE, "--over"]).done();

    // Back to the laptop's, on both.
    let restored = laptop.run(["save", "restore", TITLE, "--version", "2", "--json"]).done().json();
    assert_eq!(restored["newest"], 4, "{restored}");
    desk.run(["save", "pull", TITLE]).done();
    assert_eq!(progress(&desk), "level 8 of the laptop");
    let elsewhere = world.path("look");
    let mut pull = desk.command(["save", "pull", TITLE, "--version", "3"]);
    pull.arg(&elsewhere);
    outcome(pull).done();
    assert_eq!(fs::read_to_string(elsewhere.join("progress")).expect("taken"), "level 9 of the desk");

    desk.run(["save", "remove", TITLE, "--version", "1", "--version", "2", "--yes"]).done();
    let left = laptop.run(["save", "list", TITLE, "--json"]).done().json();
    let left: Vec<_> = left["versions"].as_array().expect("a list").iter().map(|version| version["version"].clone()).collect();
    assert_eq!(left, [3, 4]);
    desk.run(["save", "pull", TITLE, "--version", "1"]).failed(1, "there is no version 1 in the slot `main`");
});

// proves: A4
scenario!(a4_saves_over_the_quota_and_without_a_right_are_refused, |world| {
    on_sale(world, "devices = 2\nupload_mib = 1\n");
    let desk = desk(world);
    let path = world.path("saves");
    write(&path.join("large"), &noise(5, 800_000));
    let push = |path: &Path, slot: &str| {
        let mut push = desk.command(["save", "push", TITLE, "--slot", slot]);
        push.arg(path);
        outcome(push)
    };
    push(&path, "one").done();
    push(&path, "two").refused(Code::QuotaExceeded);
    desk.run(["save", "remove", TITLE, "--slot", "one", "--all", "--yes"]).done();
    push(&path, "two").done();
    push(&path, "../up").failed(2, "a slot is called 1 to 100 of a-z");
    // Nothing that was sealed to be sent is left behind.
    assert!(!crate::world::files_below(&desk.home).iter().any(|file| file.ends_with("push.sealed")));

    // Somebody who has no such title.
    let stranger = world.person("stranger");
    stranger.run(["save", "list", TITLE]).refused(Code::RightMissing);
});
