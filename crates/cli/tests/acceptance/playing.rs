//! Ways to play (B8, C12): standard output with ranges, a read-only view, a program in it, and over HTTP on this computer.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::world::{CANARY, Device, World, files_below, outcome, scenario, set_mode, wait_until, write};

/// Anna, with the small title in her library and the authority gone.
fn offline(world: &mut World) -> Device {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    anna.copy(&disc).done();
    world.kill();
    anna
}

fn play(device: &Device, more: &[&str]) -> Command {
    let mut play = device.command(["play", "sky-raider", "--library"]);
    play.arg(&device.library).args(more);
    play
}

// proves: C12
scenario!(c12_ranges_of_a_file_come_to_standard_output, |world| {
    let anna = offline(world);
    let whole = fs::read(world.small_tree().join("data/level-1")).expect("there");
    for (range, expected) in [("0-0", 0..1), ("65530-131080", 65530..131_081), ("199999-", 199_999..200_000), ("-5", 199_995..200_000)] {
        let played = outcome(play(&anna, &["data/level-1", "--range", range])).done().output.stdout;
        assert!(played == whole[expected], "{range}");
    }
    outcome(play(&anna, &["data/level-1", "--range", "200000-"])).failed(2, "lies outside");
    assert_eq!(outcome(play(&anna, &["empty"])).done().stdout(), "");
    outcome(play(&anna, &["data/nothing"])).failed(3, "data/nothing");
    let listed = outcome(play(&anna, &["data/"])).done().stdout();
    assert!(listed.contains("level-1") && listed.contains("200000"), "{listed}");
});

// proves: C12
scenario!(c12_a_reader_that_goes_away_is_no_error, |world| {
    let anna = offline(world);
    let mut player = play(&anna, &["data/level-1"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut first = [0; 10];
    player.stdout.take().expect("piped").read_exact(&mut first).expect("ten bytes");
    let ended = player.wait_with_output().expect("ended");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
});

fn mounted(at: &Path) -> bool {
    fs::read_to_string("/proc/self/mounts").expect("mounts").lines().any(|line| line.split(' ').nth(1) == at.to_str())
}

fn no_view_is_left(device: &Device) {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(device.home.to_str().expect("UTF-8")), "a view is left mounted");
}

// proves: C12, B8
scenario!(c12_a_view_shows_the_tree_as_it_was_published, |world| {
    let tree = world.path("every-kind");
    write(&tree.join("bin/tool"), b"#!/bin/sh\n");
    set_mode(&tree.join("bin/tool"), 0o755);
    write(&tree.join("empty"), b"");
    fs::create_dir_all(tree.join("empty directory")).expect("made");
    write(&tree.join("Müsik/日本語 – ünïcode, with a long name ".repeat(4).trim()), CANARY);
    std::os::unix::fs::symlink("bin/tool", tree.join("link")).expect("linked");
    std::os::unix::fs::symlink("../empty", tree.join("bin/up")).expect("linked");
    let sparse = fs::File::create(tree.join("sparse")).expect("made");
    sparse.set_len(70 << 20).expect("sparse");
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"island", 50 << 20).expect("written");
    world.publish("all", "1", &tree, &[]).done();
    let disc = world.press("all", 1).remove(0);
    let anna = world.person("anna");
    anna.copy(&disc).done();
    world.kill();

    let view = world.path("view");
    fs::create_dir(&view).expect("made");
    let mut mount = anna.command(["play", "all", "--library"]);
    mount.arg(&anna.library).arg("--mount").arg(&view).stdout(Stdio::null());
    let mut mount = Running(mount.spawn().expect("started"));
    wait_until("the view is there", || mounted(&view) || mount.0.try_wait().expect("asked").is_some());
    let mut diff = Command::new("diff");
    diff.arg("--recursive").arg("--no-dereference").arg(&tree).arg(&view);
    outcome(diff).done();
    assert_eq!(files_below(&view).len(), files_below(&tree).len());
    let mode = |path: &str| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(view.join(path)).expect("there").permissions());
    assert!(mode("bin/tool") & 0o111 != 0 && mode("empty") & 0o111 == 0);
    assert!(fs::write(view.join("new"), b"x").is_err() && fs::remove_file(view.join("empty")).is_err(), "the view can be written");

    mount.signal("INT");
    assert!(mount.0.wait().expect("ended").success());
    assert!(!mounted(&view), "it is still mounted");

    // Unmounted with other tools, it ends by itself.
    let mut again = anna.command(["play", "all", "--library"]);
    again.arg(&anna.library).arg("--mount").arg(&view).stdout(Stdio::null());
    let mut again = Running(again.spawn().expect("started"));
    wait_until("the view is there again", || mounted(&view) || again.0.try_wait().expect("asked").is_some());
    let mut unmount = Command::new("fusermount3");
    unmount.arg("-u").arg(&view);
    outcome(unmount).done();
    let mut status = None;
    wait_until("the command ends", || {
        status = again.0.try_wait().expect("asked");
        status.is_some()
    });
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
});

/// A program that is ended with the test.
struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args(["-s", name, &self.0.id().to_string()]);
        outcome(kill).done();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is fine as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// proves: C12, B8
scenario!(c12_the_entry_runs_inside_a_private_view, |world| {
    let anna = offline(world);
    let ran = outcome(play(&anna, &["--run", "--", "one", "--two"])).done();
    assert_eq!(ran.stdout(), "played with one --two\n");
    let mut failing = play(&anna, &["--run"]);
    failing.env("STATUS", "7");
    let failing = outcome(failing);
    assert_eq!((failing.output.status.code(), failing.stderr().as_str()), (Some(7), ""), "{failing}");
    outcome(play(&anna, &["data/text", "--run"])).failed(1, "not a program");
    no_view_is_left(&anna);
});

// proves: C12
scenario!(c12_what_a_launcher_has_started_keeps_its_view_until_it_ends_or_somebody_says_so, |world| {
    let tree = world.path("launching");
    // The game waits until it is told to go on, and looks for its level only then, by its whole path.
    write(&tree.join("bin/launch"), b"#!/bin/sh\n\"$PWD/bin/game\" \"$PWD/level\" \"$1\" </dev/null >/dev/null 2>&1 &\n");
    write(&tree.join("bin/game"), b"#!/bin/sh\nread -r word <\"$2.go\"\ncat \"$1\" >\"$2\"\n");
    for program in ["bin/launch", "bin/game"] {
        set_mode(&tree.join(program), 0o755);
    }
    write(&tree.join("level"), CANARY);
    world.publish("launching", "1", &tree, &["--entry", "bin/launch"]).done();
    let disc = world.press("launching", 1).remove(0);
    let anna = world.person("anna");
    anna.copy(&disc).done();
    world.kill();
    let launched = |name: &str| {
        let done = world.path(name);
        let go = world.path(&format!("{name}.go"));
        let mut mkfifo = Command::new("mkfifo");
        mkfifo.arg(&go);
        outcome(mkfifo).done();
        let mut play = anna.command(["play", "launching", "--run", "--library"]);
        play.arg(&anna.library).arg("--").arg(&done).stderr(fs::File::create(world.path(&format!("{name}.said"))).expect("made"));
        let run = Running(play.spawn().expect("started"));
        // Whoever opens it to write waits until the game reads.
        (run, done, fs::File::options().write(true).open(&go).expect("the game waits"))
    };

    let (mut run, done, mut go) = launched("played");
    go.write_all(b"on\n").expect("told");
    assert!(run.0.wait().expect("ended").success());
    assert_eq!(fs::read(&done).expect("played"), CANARY, "it ended before the game");

    let (mut run, _, _waits) = launched("left");
    wait_until("somebody is told what is waited for", || {
        fs::read_to_string(world.path("left.said")).expect("said").contains("still running")
    });
    run.signal("TERM");
    assert!(run.0.wait().expect("ended").success());
    no_view_is_left(&anna);
});

// proves: C12, B8
scenario!(c12_a_media_player_can_seek_over_http, |world| {
    let anna = offline(world);
    let mut serve = play(&anna, &["--serve", "--json"]);
    let mut serve = Running(serve.stdout(Stdio::piped()).spawn().expect("started"));
    let mut lines = BufReader::new(serve.0.stdout.take().expect("piped"));
    let mut said = String::new();
    let url = loop {
        assert!(lines.read_line(&mut said).expect("readable") > 0, "it ended: {said}");
        if let Ok(value) = serde_json::from_str::<Value>(&said) {
            break value["url"].as_str().expect("an address").to_owned();
        }
    };
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let whole = fs::read(world.small_tree().join("data/level-1")).expect("there");
    let level = format!("{url}data/level-1");

    let mut all = agent.get(&level).call().expect("answered");
    assert_eq!((all.status().as_u16(), all.headers()["accept-ranges"].to_str().ok()), (200, Some("bytes")));
    assert!(all.body_mut().read_to_vec().expect("read") == whole);
    let mut part = agent.get(&level).header("range", "bytes=100000-100009").call().expect("answered");
    assert_eq!((part.status().as_u16(), part.headers()["content-range"].to_str().ok()), (206, Some("bytes 100000-100009/200000")));
    assert_eq!(part.body_mut().read_to_vec().expect("read"), whole[100_000..100_010]);
    assert_eq!(agent.get(&level).header("range", "bytes=200000-").call().expect("answered").status(), 416);
    let head = agent.head(&level).call().expect("answered");
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().ok()), (200, Some("200000")));
    let mut page = agent.get(&url).call().expect("answered");
    assert!(page.body_mut().read_to_string().expect("text").contains("href=\"./data/\""));
    assert_eq!(agent.get(format!("{url}nothing")).call().expect("answered").status(), 404);

    // Neither without the secret path nor under a name that a web page gave us.
    let host = url.trim_start_matches("http://").split('/').next().expect("a host");
    assert_eq!(agent.get(format!("http://{host}/data/level-1")).call().expect("answered").status(), 404);
    assert_eq!(agent.get(&level).header("host", "evil.example").call().expect("answered").status(), 421);
    serve.signal("TERM");
    assert!(serve.0.wait().expect("ended").success());
    outcome(play(&anna, &["--serve", "0.0.0.0:0"])).failed(2, "not an address of this computer alone");
});

scenario!(a_title_that_is_removed_is_gone, |world| {
    let anna = offline(world);
    let remove = [OsStr::new("remove"), OsStr::new("sky-raider"), OsStr::new("--library"), anna.library.as_os_str()];
    anna.run(remove).failed(1, "was not removed");
    anna.play("sky-raider", "data/text").done();
    anna.run(remove.into_iter().chain([OsStr::new("--yes")])).done();
    anna.play("sky-raider", "data/text").failed(3, "sky-raider");
    let list = anna.run([OsStr::new("list"), OsStr::new("--library"), anna.library.as_os_str(), OsStr::new("--json")]).done().json();
    assert_eq!(list["titles"], serde_json::json!([]));
});
