//! What the world around does: full disks, read-only drives, wrong clocks, no network. Clear words, nothing lost, nothing in plain.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use counterfoil_core::Code;

use crate::world::{CANARY, Device, Engine, Outcome, World, files_with, outcome, scenario};

/// Runs a command of the client in a mount namespace of its own, after `prepare`; `$LIBRARY` is the library.
fn in_namespace(device: &Device, prepare: &str, arguments: &[&OsStr]) -> Outcome {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-ec", &format!("{prepare}\nexec \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_counterfoil")).args(arguments);
    device.environment(&mut command);
    command.env("LIBRARY", &device.library);
    outcome(command)
}

scenario!(a_full_disk_is_said_and_the_copy_goes_on_with_room, |world| {
    let tree = world.large_tree(20 << 20);
    world.publish("film", "1", &tree, &["--level", "1"]).done();
    let disc = world.press("film", 1).remove(0);
    let anna = world.person("anna");
    fs::create_dir_all(&anna.library).expect("made");
    let arguments = [OsStr::new("copy"), disc.as_os_str(), OsStr::new("--library"), anna.library.as_os_str()];
    let full = in_namespace(&anna, "mount -t tmpfs -o size=4m none \"$LIBRARY\"", &arguments);
    assert!(full.stderr().contains("hint: "), "{full}");
    full.failed(3, "space");
    anna.copy(&disc).done();
    anna.plays_all("film", &tree);
});

scenario!(a_read_only_library_is_said, |world| {
    let discs = world.discs(2);
    let anna = world.person("anna");
    anna.copy(&discs[0]).done();
    let read_only = "mount --bind \"$LIBRARY\" \"$LIBRARY\"\nmount -o remount,bind,ro \"$LIBRARY\"";
    let arguments = [OsStr::new("copy"), discs[1].as_os_str(), OsStr::new("--library"), anna.library.as_os_str()];
    in_namespace(&anna, read_only, &arguments).failed(3, "");
    // Playing writes nothing.
    let play = [OsStr::new("play"), OsStr::new("sky-raider"), OsStr::new("data/text"), OsStr::new("--library"), anna.library.as_os_str()];
    in_namespace(&anna, read_only, &play).done();
    anna.plays_all("sky-raider", &world.small_tree());
});

scenario!(a_clock_wrong_by_a_year_is_said_and_nothing_is_lost, |world| {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    for off in ["-1y", "+1y"] {
        let mut copy = Command::new("faketime");
        copy.args(["-f", off, env!("CARGO_BIN_EXE_counterfoil"), "copy", "--library"]).arg(&anna.library).arg(&disc);
        anna.environment(&mut copy);
        outcome(copy).refused(Code::ClockSkewed);
    }
    anna.copy(&disc).done();
    // Playing asks nobody for the time.
    let mut play = Command::new("faketime");
    play.args(["-f", "+1y", env!("CARGO_BIN_EXE_counterfoil"), "play", "sky-raider", "data/text", "--library"]).arg(&anna.library);
    anna.environment(&mut play);
    outcome(play).done();
});

// proves: C9
scenario!(c9_a_server_that_cannot_be_reached_is_said_and_the_command_repeated, |world| {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    world.kill();
    let failed = anna.copy(&disc).failed(3, &anna.url);
    assert!(failed.stderr().contains("hint: "), "{failed}");
    let offline = anna.run([OsStr::new("inspect"), OsStr::new("--offline"), disc.as_os_str()]).done().stdout();
    assert!(offline.contains("sky-raider"), "{offline}");
    let json = anna.run([OsStr::new("copy"), disc.as_os_str(), OsStr::new("--library"), anna.library.as_os_str(), OsStr::new("--json")]);
    assert_eq!((json.output.status.code(), &json.json()["error"]["code"]), (Some(3), &"unreachable".into()), "{json}");
    world.start();
    anna.copy(&disc).done();
    assert!(files_with(&anna.library, CANARY).is_empty());
    anna.plays_all("sky-raider", &world.small_tree());
});

scenario!(what_was_mistyped_is_named, |world| {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    let all = disc.parent().expect("a directory of media");
    anna.run([OsStr::new("inspect"), all.as_os_str()]).failed(3, &format!("{} does", disc.display()));
    let file = world.path("a-file");
    fs::write(&file, "").expect("written");
    let into_file = [OsStr::new("copy"), disc.as_os_str(), OsStr::new("--library"), file.as_os_str()];
    anna.run(into_file).failed(3, "Name a directory");
    let other = Device { url: world.url.replace("http:", "https:"), ..world.device("ben") };
    other.run([OsStr::new("register"), OsStr::new("--library"), other.library.as_os_str()]).failed(3, "http:// address");
    let publisher = world.publisher();
    publisher.run(["publisher", "login", "--publisher", "Acme Inc"]).failed(2, "blue-fox");
    publisher.run(["release", "withdraw", "sky-raider", "9.9.9"]).failed(1, "/v1/titles/sky-raider/releases/9.9.9");
    let nowhere = world.path("nowhere");
    let press = ["press", "--title", "moon-base", "--count", "1", "--out"].map(OsStr::new);
    publisher.run(press.into_iter().chain([nowhere.as_os_str()])).failed(1, "error: there is no title moon-base");
    anna.copy(&disc).done();
});

// proves: C19
#[test]
fn c19_everything_goes_over_tls_and_only_to_the_authority_that_is_trusted() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let world = World::with_tls(engine);
        assert!(world.url.starts_with("https://"), "{}", world.url);
        let disc = world.discs(1).remove(0);
        let stranger = Device { ca: None, ..world.device("stranger") };
        stranger.run(["card", "new"]).done();
        let register = [OsStr::new("register"), OsStr::new("--library"), stranger.library.as_os_str()];
        // Whoever does not know its certificate authority tells it nothing, and nobody speaks to it in plain.
        stranger.run(register).failed(3, &world.url);
        let plain = Device { url: world.url.replace("https:", "http:"), ..stranger.clone() };
        plain.run(register).failed(3, &plain.url);

        let anna = world.person("anna");
        anna.copy(&disc).done();
        anna.plays_all("sky-raider", &world.small_tree());
    }
}
