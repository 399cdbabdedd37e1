//! A title in five versions: installed at the first, brought to each other one and back, healed, killed on the way, rolled back (A5).

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::world::{CANARY, Device, Outcome, World, copy_tree, files_below, files_with, noise, outcome, scenario, wait_until, write};

const TITLE: &str = "engine";
const VERSIONS: [&str; 5] = ["1.0", "1.1", "1.2", "1.3", "1.4"];

/// The tree of a version: each changes a few bytes in many chunks of a large file, adds a file and takes one away.
fn tree(world: &World, at: usize) -> PathBuf {
    let tree = world.path(&format!("tree-{at}"));
    if tree.exists() {
        return tree;
    }
    if at == 0 {
        write(&tree.join("lib/engine"), &noise(7, 4 << 20));
        write(&tree.join("data/level"), &noise(8, 1 << 20));
        write(&tree.join("text"), &CANARY.repeat(5000));
        write(&tree.join("news-0"), CANARY);
        return tree;
    }
    copy_tree(&self::tree(world, at - 1), &tree);
    let engine = tree.join("lib/engine");
    let mut bytes = fs::read(&engine).expect("readable");
    for byte in bytes.iter_mut().skip(at * 1000).step_by(300_000) {
        *byte = byte.wrapping_add(1);
    }
    bytes.splice(2_000_000..2_000_000, format!("inserted in {at}").into_bytes());
    fs::write(engine, bytes).expect("written");
    fs::remove_file(tree.join(format!("news-{}", at - 1))).expect("removed");
    write(&tree.join(format!("news-{at}")), &CANARY.repeat(at + 1));
    tree
}

fn publish(world: &World, at: usize, more: &[&str]) -> Value {
    let options = [&["--level", "1"], more].concat();
    world.publish(TITLE, VERSIONS[at], &tree(world, at), &options).done().json()
}

/// The first version installed by somebody who has bought it.
fn installed(world: &World) -> Device {
    publish(world, 0, &[]);
    let terms = world.path("terms.toml");
    write(&terms, b"");
    let mut edit =
        world.publisher().command(["title", "edit", TITLE, "--summary", "x", "--price", "5.00 EUR", "--on-sale", "--policy-file"]);
    edit.arg(&terms);
    outcome(edit).done();
    let anna = world.person("anna");
    anna.run(["buy", TITLE, "--yes"]).done();
    in_library(&anna, &["install", TITLE]).done();
    anna
}

fn in_library(device: &Device, arguments: &[&str]) -> Outcome {
    outcome(command(device, arguments))
}

fn command(device: &Device, arguments: &[&str]) -> std::process::Command {
    let mut command = device.command(arguments);
    command.arg("--library").arg(&device.library);
    command
}

fn updated(device: &Device, more: &[&str]) -> Value {
    let done = in_library(device, &[&["update", TITLE, "--json"], more].concat()).done().json();
    done["titles"][0].clone()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn sealed(library: &Path) {
    let plain = files_with(library, CANARY);
    assert!(plain.is_empty(), "plaintext in {plain:?}");
}

// proves: A5
scenario!(a5_five_versions_one_after_the_other_by_patches_and_a_rollback_without_a_network, |world| {
    let anna = installed(world);
    for at in 1..VERSIONS.len() {
        publish(world, at, &["--notes", "Mends things"]);
        let offered = in_library(&anna, &["update", "--check", "--json"]).done().json();
        assert_eq!(offered["titles"][0]["to"]["version"], VERSIONS[at], "{offered}");
        let listed = in_library(&anna, &["list"]).done().stdout();
        assert!(listed.contains(&format!("(update: {}", VERSIONS[at])), "{listed}");
        let way = offered["titles"][0]["ways"][0].clone();

        let done = updated(&anna, &[]);
        assert_eq!((&done["from"], &done["to"], &done["way"]), (&VERSIONS[at - 1].into(), &VERSIONS[at].into(), &"patch".into()), "{done}");
        assert!(number(&done, "fetched") <= number(&way, "fetch"), "more than the plan said: {way} {done}");
        assert!(number(&done, "fetched") * 50 < number(&done, "written"), "{done}");
        assert!(number(&done, "written") < number(&done, "reused") + (4 << 20), "{done}");
        anna.plays_all(TITLE, &tree(world, at));
        in_library(&anna, &["verify", TITLE]).done();
        sealed(&anna.library);
    }
    let again = in_library(&anna, &["update"]).done().stdout();
    assert!(again.contains("engine 1.4 is up to date"), "{again}");
    // Two releases are kept, and nothing else.
    let releases = fs::read_dir(anna.library.join("titles").join(TITLE)).expect("there").flatten().find(|entry| entry.path().is_dir());
    let releases = releases.expect("a copy").path().join("releases");
    assert_eq!(fs::read_dir(releases).expect("there").count(), 2);

    world.kill();
    in_library(&anna, &["rollback", TITLE]).done();
    anna.plays_all(TITLE, &tree(world, 3));
    in_library(&anna, &["rollback", TITLE]).done();
    anna.plays_all(TITLE, &tree(world, 4));
});

// proves: A5
scenario!(a5_from_each_version_to_each_later_one_and_back_where_that_is_allowed, |world| {
    let anna = installed(world);
    for at in 1..VERSIONS.len() {
        publish(world, at, &["--patches", "1", "--deltas", "0"]);
    }
    let mut ways = Vec::new();
    // Far ahead, back to the beginning, to the middle, back one: forward by a chain or chunks, back only where the publisher says so.
    in_library(&anna, &["update", TITLE, "--to", "9.9"]).failed(1, "release");
    for to in [2, 4] {
        ways.push(updated(&anna, &["--to", VERSIONS[to]])["way"].clone());
        anna.plays_all(TITLE, &tree(world, to));
    }
    assert!(ways.contains(&"chain".into()), "{ways:?}");
    world.publisher().run(["release", "mark", TITLE, VERSIONS[0], "--no-way-back"]).done();
    in_library(&anna, &["update", TITLE, "--to", VERSIONS[0]]).failed(1, "");
    anna.plays_all(TITLE, &tree(world, 4));
    world.publisher().run(["release", "mark", TITLE, VERSIONS[0], "--way-back"]).done();
    for to in [0, 3, 1] {
        let done = updated(&anna, &["--to", VERSIONS[to]]);
        assert_eq!(done["to"], VERSIONS[to]);
        anna.plays_all(TITLE, &tree(world, to));
        in_library(&anna, &["verify", TITLE]).done();
    }
    sealed(&anna.library);
});

// proves: A5
scenario!(a5_from_a_release_without_a_patch_deltas_lead_forward_and_back, |world| {
    let anna = installed(world);
    for at in 1..4 {
        publish(world, at, &["--patches", "0", "--deltas", "0"]);
    }
    let said = publish(world, 4, &["--patches", "0", "--deltas", "4", "--back", "--dry-run"]);
    let made = publish(world, 4, &["--patches", "0", "--deltas", "4", "--back"]);
    assert_eq!(made["ways"], said["ways"], "what a dry run has made is sent");
    assert_eq!(made["ways"].as_array().expect("a list").len(), 8, "{made}");
    for (from, to) in [(0, 4), (4, 2), (2, 4), (4, 0)] {
        let way = made["ways"].as_array().expect("a list").iter().find(|way| way["from"] == VERSIONS[from] && way["to"] == VERSIONS[to]);
        let way = way.expect("one of them");
        let done = updated(&anna, &["--to", VERSIONS[to]]);
        assert_eq!((&done["from"], &done["to"], &done["way"]), (&VERSIONS[from].into(), &VERSIONS[to].into(), &"deltas".into()), "{done}");
        // What was kept to go back to is there already.
        assert!(number(&done, "fetched") <= number(way, "deltas") + 1000, "{way} {done}");
        assert!(number(way, "deltas") * 5 < number(way, "chunks"), "{way}");
        anna.plays_all(TITLE, &tree(world, to));
        in_library(&anna, &["verify", TITLE]).done();
    }
    sealed(&anna.library);
    let staging = files_below(&world.path("publisher/home/staging"));
    assert!(staging.is_empty(), "left behind: {staging:?}");
});

// proves: A5
scenario!(a5_an_update_that_is_killed_goes_on_and_damage_is_healed_on_the_way, |world| {
    let anna = installed(world);
    // Something large and new, so that there is time to kill it.
    let next = tree(world, 1);
    write(&next.join("film"), &noise(99, 12 << 20));
    publish(world, 1, &[]);
    let bytes = |device: &Device| {
        files_below(&device.library).iter().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum::<u64>()
    };
    let mut killed = 0;
    for _ in 0..3 {
        let before = bytes(&anna);
        let mut update = command(&anna, &["update", TITLE]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        let mut ended = false;
        wait_until("the update gets on", || {
            ended = update.try_wait().expect("asked").is_some();
            ended || std::panic::catch_unwind(|| bytes(&anna)).is_ok_and(|now| now >= before + (2 << 20))
        });
        if ended {
            break;
        }
        update.kill().expect("killed");
        update.wait().expect("gone");
        killed += 1;
        anna.plays_all(TITLE, &tree(world, 0));
        sealed(&anna.library);
    }
    assert!(killed >= 1, "it was never killed");
    let done = updated(&anna, &[]);
    assert_eq!(done["resumed"], true, "{done}");
    assert!(number(&done, "fetched") < 12 << 20, "{done}");
    anna.plays_all(TITLE, &next);

    // A byte turned over in the largest pack: found, reported, and healed by the next update.
    let pack = files_below(&anna.library).into_iter().max_by_key(|path| fs::metadata(path).expect("there").len()).expect("packs");
    let file = fs::File::options().read(true).write(true).open(&pack).expect("writable");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 100_000).expect("read");
    file.write_all_at(&[byte[0] ^ 1], 100_000).expect("written");
    in_library(&anna, &["verify", TITLE]).failed(1, "is damaged");
    let healed = updated(&anna, &[]);
    assert_eq!((&healed["way"], &healed["from"]), (&"heal".into(), &healed["to"]), "{healed}");
    assert!(number(&healed, "fetched") < 1 << 20, "{healed}");
    in_library(&anna, &["verify", TITLE]).done();
});

// proves: A5
scenario!(a5_what_was_copied_from_a_medium_is_updated_as_well, |world| {
    publish(world, 0, &[]);
    let disc = world.press(TITLE, 1).remove(0);
    let anna = world.person("anna");
    anna.copy(&disc).done();
    publish(world, 1, &[]);
    let done = updated(&anna, &[]);
    assert_eq!((&done["to"], &done["way"]), (&VERSIONS[1].into(), &"patch".into()), "{done}");
    anna.plays_all(TITLE, &tree(world, 1));
    sealed(&anna.library);
});
