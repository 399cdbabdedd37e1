//! Rights that change after the press, media that are brought them, and old copies of media (B2, B5, B7).

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use counterfoil_core::Code;
use serde_json::Value;

use crate::world::{Device, World, copy_tree, files_below, outcome, scenario};

const TITLE: &str = "sky-raider";

fn inspect(device: &Device, medium: &Path) -> Value {
    device.run([OsStr::new("inspect"), medium.as_os_str(), OsStr::new("--json")]).done().json()
}

fn press(world: &World, count: &str, more: &[&str]) -> PathBuf {
    let out = world.path(&format!("out-{}", more.join("-").replace('=', "-")));
    let mut press = world.publisher().command(["press", "--title", TITLE, "--count", count, "--out"]);
    press.arg(&out).args(more);
    outcome(press).done();
    out
}

fn words<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_else(|| panic!("{at} in {value}"))
}

/// The texts of its timeline.
fn timeline(world: &World, medium: &str) -> Vec<String> {
    let shown = world.publisher().run(["medium", "show", medium, "--json"]).done().json();
    shown["timeline"].as_array().expect("a timeline").iter().map(|event| event["event"].as_str().expect("words").to_owned()).collect()
}

// proves: B2, B7
scenario!(b7_a_stick_is_brought_its_new_rights_and_an_old_copy_of_it_shows_as_a_clone, |world| {
    world.publish(TITLE, "1.0.0", &world.small_tree(), &[]).done();
    let stick = press(world, "2", &["--right", "upload_mib=32"]).join("0001");
    let ada = world.person("ada");
    let before = inspect(&ada, &stick);
    let medium = words(&before, "/identity/medium_id").to_owned();
    assert_eq!(
        (&before["identity"]["epoch"], &before["refresh"], &before["writable"]),
        (&1.into(), &Value::Null, &true.into()),
        "{before}"
    );
    let clone = world.path("clone");
    copy_tree(&stick, &clone);

    let publisher = world.publisher();
    publisher.run(["rights", "set", "--medium", &medium, "upload=yes", "copies=2", "--reason", "asked for"]).done();
    let shown = publisher.run(["rights", "show", "--medium", &medium]).done().stdout();
    assert!(shown.contains("2 copies") && shown.contains("upload") && shown.contains("under way"), "{shown}");

    // The next contact, whatever it is, brings them.
    let copied = ada.copy(&stick).done();
    assert!(copied.stderr().contains("medium refreshed: just now, to epoch 2"), "{copied}");
    let offline = ada.run([OsStr::new("inspect"), OsStr::new("--offline"), stick.as_os_str(), OsStr::new("--json")]).done().json();
    assert_eq!((&offline["identity"]["epoch"], &offline["identity"]["rights"]["upload"]), (&2.into(), &true.into()), "{offline}");
    assert_eq!(offline["identity"]["rights"]["upload_mib"], 32, "what was not changed stays");
    let after = inspect(&ada, &stick);
    assert_eq!((&after["refresh"], &after["authority"]["medium"]["copies_left"]), (&Value::Null, &1.into()), "{after}");
    ada.plays_all(TITLE, &world.small_tree());

    // Somebody made a copy of it before.
    let eve = world.person("eve");
    let refused = eve.run([OsStr::new("inspect"), clone.as_os_str()]).refused(Code::MediumSuperseded);
    assert!(refused.stderr().contains("hint:"), "{refused}");
    eve.copy(&clone).refused(Code::MediumSuperseded);
    let events = timeline(world, &medium);
    for event in ["medium.rights_changed", "medium.refreshed", "medium.superseded_presented"] {
        assert!(events.iter().any(|found| found == event), "{event} in {events:?}");
    }
    let shown = publisher.run(["medium", "show", &medium]).done().stdout();
    assert!(shown.contains("clones     old copies of it were presented 2 times"), "{shown}");
    // The right one goes on, and the authority was restarted meanwhile.
    world.kill();
    world.start();
    let ben = world.person("ben");
    ben.copy(&stick).done();
    eve.copy(&clone).refused(Code::MediumSuperseded);
});

// proves: B2, B7
scenario!(b7_a_whole_batch_or_part_of_it_is_changed_and_a_read_only_medium_stays_as_pressed, |world| {
    world.publish(TITLE, "1.0.0", &world.small_tree(), &[]).done();
    let out = press(world, "1", &["--as", "iso"]);
    let image = files_below(&out).into_iter().find(|path| path.extension().is_some_and(|end| end == "iso")).expect("an image");
    let ada = world.person("ada");
    let before = inspect(&ada, &image);
    assert_eq!(before["writable"], false, "{before}");
    let batch = words(&before, "/identity/batch").to_owned();
    let publisher = world.publisher();
    publisher.run(["rights", "set", "--batch", &batch, "transfer=no", "region=eu"]).done();
    let bytes = fs::read(&image).expect("readable");
    let shown = ada.run([OsStr::new("inspect"), image.as_os_str()]).done().stdout();
    assert!(shown.contains("rights     1 copy, download, update, play, region=eu"), "{shown}");
    assert!(shown.contains("on medium  1 copy, download, update, play, transfer"), "{shown}");
    assert!(shown.contains("read-only: the rights on it stay as pressed, the database decides"), "{shown}");
    assert_eq!(fs::read(&image).expect("readable"), bytes);
    ada.copy(&image).done();

    // Some of a batch; and a refresh that nobody asked for.
    let sticks = press(world, "3", &["--copies", "1"]);
    let batch = words(&inspect(&ada, &sticks.join("0001")), "/identity/batch").to_owned();
    let changed = publisher.run(["rights", "set", "--batch", &batch, "--from", "2", "upload=yes", "--no-refresh", "--json"]).done().json();
    assert_eq!((&changed["matched"], &changed["changed"]), (&2.into(), &2.into()), "{changed}");
    let rights = |stick: &str| inspect(&ada, &sticks.join(stick))["authority"]["medium"]["rights"]["upload"].clone();
    assert_eq!((rights("0001"), rights("0002"), rights("0003")), (false.into(), true.into(), true.into()));
    let shown = ada.run([OsStr::new("inspect"), sticks.join("0002").as_os_str()]).done().stdout();
    assert!(shown.contains("on medium") && shown.contains("(the database decides)"), "{shown}");
    publisher.run(["medium", "refresh", "--batch", &batch, "--reason", "lost boxes"]).done();
    let refreshed = inspect(&ada, &sticks.join("0002"));
    assert_eq!(
        (&refreshed["refresh"]["written"]["epoch"], &refreshed["identity"]["rights"]["upload"]),
        (&2.into(), &true.into()),
        "{refreshed}"
    );
    let updated = ada.run([OsStr::new("update"), sticks.join("0003").as_os_str()]).done();
    assert!(updated.stderr().contains("medium refreshed: just now, to epoch 2"), "{updated}");
});
