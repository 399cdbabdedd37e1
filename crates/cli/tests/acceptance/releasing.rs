//! What a publisher says of releases, by the command line, and what devices are offered by it.

use serde_json::{Value, json};

use crate::world::{Device, World, scenario, write};

/// A release and whether it is critical, as a check for updates shows it.
fn offered(ben: &Device) -> Option<(String, bool)> {
    let checked = ben.run(["update", "--check", "--json"]).done().json();
    let to = &checked["titles"][0]["to"];
    let version = to["version"].as_str()?.to_owned();
    Some((version, to["critical"].as_bool().unwrap_or_default()))
}

fn say(world: &World, arguments: &[&str]) -> Value {
    world.publisher().run([&["release"], arguments, &["--json"]].concat()).done().json()
}

// proves: A5
scenario!(a5_a_publisher_holds_stages_and_takes_back_releases_and_devices_go_by_it, |world| {
    let disc = world.discs(1).remove(0);
    let ben = world.person("ben");
    ben.copy(&disc).done();
    assert_eq!(offered(&ben), None);
    let tree = world.path("next");
    write(&tree.join("bin/game"), b"#!/bin/sh\necho the next one\n");
    for version in ["1.1.0", "1.2.0"] {
        write(&tree.join("NEWS"), version.as_bytes());
        world.publish("sky-raider", version, &tree, &["--entry", "bin/game", "--kind", "game"]).done();
    }
    assert_eq!(offered(&ben), Some(("1.2.0".into(), false)));
    assert_eq!(say(world, &["hold", "sky-raider", "1.2.0"])["held"], true);
    assert_eq!(offered(&ben), Some(("1.1.0".into(), false)));
    assert_eq!(say(world, &["resume", "sky-raider", "1.2.0"])["held"], false);
    assert_eq!(say(world, &["rollout", "sky-raider", "1.2.0", "0"])["rollout"], 0);
    assert_eq!(offered(&ben), Some(("1.1.0".into(), false)));
    say(world, &["rollout", "sky-raider", "1.2.0", "100"]);
    say(world, &["mark", "sky-raider", "1.1.0", "--critical"]);
    assert_eq!(offered(&ben), Some(("1.2.0".into(), true)), "one that it passes is critical");
    say(world, &["mark", "sky-raider", "1.1.0", "--not-critical"]);
    say(world, &["minimum", "sky-raider", "1.1.0"]);
    assert_eq!(offered(&ben), Some(("1.2.0".into(), true)), "what is there is below the minimum");
    say(world, &["minimum", "sky-raider", "--none"]);

    ben.run(["update", "sky-raider"]).done();
    assert_eq!(offered(&ben), None);
    assert_eq!(say(world, &["withdraw", "sky-raider", "1.2.0"])["withdrawn"], true);
    assert_eq!(offered(&ben), Some(("1.1.0".into(), true)), "back to the newest good one");
    say(world, &["withdraw", "sky-raider", "1.2.0", "--undo"]);
    assert_eq!(offered(&ben), None);

    say(world, &["notes", "sky-raider", "1.2.0", "The eastern valley is open."]);
    let shown = world.publisher().run(["release", "show", "sky-raider", "1.2.0"]).done().stdout();
    assert!(shown.contains("The eastern valley is open.") && shown.contains("offered"), "{shown}");
    let listed = say(world, &["list", "sky-raider"]);
    let versions: Vec<&Value> = listed["releases"].as_array().expect("a list").iter().map(|release| &release["version"]).collect();
    assert_eq!(versions, [&json!("1.2.0"), &json!("1.1.0"), &json!("1.0.0")]);
    world.publisher().run(["release", "hold", "sky-raider", "9.9"]).failed(1, "hint:");
});
