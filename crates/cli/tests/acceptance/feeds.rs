//! The publisher's feed by the command line: signed with every release, shown, signed anew, and kept by the devices that were updated by it.

use std::fs;

use serde_json::Value;

use crate::world::{World, files_below, scenario, write};

fn shown(world: &World) -> Value {
    world.publisher().run(["feed", "show", "sky-raider", "--json"]).done().json()
}

fn versions(feed: &Value) -> Vec<String> {
    let releases = feed["releases"].as_array().expect("a list").iter();
    releases.map(|listed| listed["version"].as_str().expect("a version").to_owned()).collect()
}

/// The next release of the title that the world's discs carry.
fn publish(world: &World, version: &str) {
    let tree = world.path("next");
    write(&tree.join("bin/game"), format!("#!/bin/sh\necho {version}\n").as_bytes());
    world.publish("sky-raider", version, &tree, &["--entry", "bin/game", "--kind", "game"]).done();
}

// proves: A5
scenario!(a5_a_feed_is_signed_with_every_release_and_devices_remember_the_newest, |world| {
    let disc = world.discs(1).remove(0);
    let ben = world.person("ben");
    ben.copy(&disc).done();
    let first = shown(world);
    assert_eq!((&first["sequence"], versions(&first)), (&1.into(), vec!["1.0.0".to_owned()]));
    assert!(first["days_left"].as_i64().is_some_and(|days| (88..=90).contains(&days)), "{first}");

    publish(world, "1.1.0");
    let second = shown(world);
    assert_eq!((&second["sequence"], versions(&second)), (&2.into(), vec!["1.0.0".to_owned(), "1.1.0".to_owned()]));
    ben.run(["update", "sky-raider"]).done();
    let kept = || -> Vec<String> {
        let files = files_below(&ben.home.join("feeds")).into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "jws"));
        files.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
    };
    assert_eq!(kept(), ["2.jws"]);

    // Withdrawn by its publisher, on whose word alone the device goes back.
    world.publisher().run(["release", "withdraw", "sky-raider", "1.1.0"]).done();
    assert_eq!(shown(world)["releases"][1]["withdrawn"], true);
    ben.run(["update", "sky-raider"]).done();
    assert_eq!(kept(), ["3.jws"]);
    assert_eq!(ben.run(["list", "--json"]).done().json()["titles"][0]["release"], "1.0.0");
});

// proves: A5
scenario!(a5_a_feed_is_signed_anew_before_it_is_over_and_only_by_the_publishers_key, |world| {
    publish(world, "1.0.0");
    let publisher = world.publisher();
    let signed = publisher.run(["feed", "sign", "sky-raider", "--days", "3", "--json"]).done().json();
    assert_eq!((&signed["sequence"], &signed["releases"]), (&2.into(), &1.into()));
    let words = publisher.run(["feed", "show", "sky-raider"]).done();
    assert!(words.stderr().contains("is over in") && words.stderr().contains("counterfoil feed sign"), "{}", words.stderr());
    publisher.run(["feed", "sign", "sky-raider", "--days", "0"]).failed(2, "");

    let noted = publisher.home.join("feeds-signed/sky-raider.jws");
    assert!(fs::read_to_string(&noted).is_ok_and(|token| token.split('.').count() == 3));

    // Another key, in the publisher's name and with its token.
    let key = publisher.home.join("publisher.key");
    let own = fs::read(&key).expect("readable");
    fs::remove_file(&key).expect("removed");
    publisher.run(["feed", "sign", "sky-raider"]).failed(3, "there is no signing key");
    fs::remove_file(&noted).expect("removed");
    let stranger = counterfoil_format::holder::HolderKeys::generate(
        counterfoil_format::holder::HolderKind::Publisher,
        &mut counterfoil_format::secret::SystemRandom,
    );
    write(&key, &stranger.to_json());
    crate::world::set_mode(&key, 0o600);
    publisher.run(["feed", "sign", "sky-raider"]).failed(1, "is not yours");
    write(&key, &own);
    crate::world::set_mode(&key, 0o600);
    assert_eq!(shown(world)["sequence"], 2, "nothing came of it");
});
