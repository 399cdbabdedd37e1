//! A medium brought up to date in place, and carried to a machine whose network is gone (A12).

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use counterfoil_core::Code;

use crate::world::{Device, Outcome, World, files_below, files_with, noise, scenario, set_mode, write};

const TITLE: &str = "sky-raider";

fn publish(world: &World, version: &str) -> std::path::PathBuf {
    let tree = world.path(&format!("tree-{version}"));
    write(&tree.join("bin/game"), format!("#!/bin/sh\necho {version}\n").as_bytes());
    set_mode(&tree.join("bin/game"), 0o755);
    write(&tree.join("data/level"), &noise(3, 300_000));
    write(&tree.join("data/new"), &noise(version.len() as u64 + u64::from(version.as_bytes()[2]), 50_000));
    write(&tree.join("data/text"), &crate::world::CANARY.repeat(2000));
    world.publish(TITLE, version, &tree, &["--entry", "bin/game", "--kind", "game"]).done();
    tree
}

fn update_medium(device: &Device, medium: &Path) -> Outcome {
    device.run([OsStr::new("update"), medium.as_os_str(), OsStr::new("--library"), device.library.as_os_str(), OsStr::new("--json")])
}

fn update_from(device: &Device, medium: &Path) -> Outcome {
    let from = [OsStr::new("update"), OsStr::new("--from"), medium.as_os_str(), OsStr::new("--json"), OsStr::new("--library")];
    device.run(from.into_iter().chain([device.library.as_os_str()]))
}

// proves: A12
scenario!(a12_a_stick_is_brought_up_to_date_and_brings_a_library_up_to_date_without_a_network, |world| {
    publish(world, "1.0.0");
    let mut sticks = world.press(TITLE, 2);
    let stick = sticks.remove(0);
    let ada = world.person("ada");
    ada.copy(&stick).done();
    let identity = fs::read(stick.join("identity.json")).expect("there");

    let newer = publish(world, "1.1.0");
    let updated = update_medium(&ada, &stick).done().json();
    let title = &updated["titles"][0];
    assert_eq!((title["from"].as_str(), title["to"].as_str(), &title["keys"]), (Some("1.0.0"), Some("1.1.0"), &true.into()), "{updated}");
    assert!(title["fetched"].as_u64().is_some_and(|bytes| bytes > 0) && title["freed"].as_u64().is_some(), "{updated}");
    assert_eq!(fs::read(stick.join("identity.json")).expect("there"), identity, "it stays who it is");
    assert!(!files_below(&stick).iter().any(|path| path.extension().is_some_and(|end| end == "partial")));
    assert_eq!(files_with(&stick, crate::world::CANARY), Vec::<std::path::PathBuf>::new(), "only ciphertext");
    let again = update_medium(&ada, &stick).done().json();
    assert_eq!((again["titles"][0]["from"].as_str(), &again["titles"][0]["fetched"]), (Some("1.1.0"), &0.into()), "{again}");

    // The network is cut.
    world.kill();
    let brought = update_from(&ada, &stick).done().json();
    let title = &brought["titles"][0];
    assert_eq!((title["from"].as_str(), title["to"].as_str(), &title["fetched"]), (Some("1.0.0"), Some("1.1.0"), &0.into()), "{brought}");
    ada.plays_all(TITLE, &newer);
    let again = update_from(&ada, &stick).done().json();
    assert_eq!(again["titles"][0]["to"], "1.1.0", "{again}");
    world.start();
    assert_eq!(files_with(&ada.library, crate::world::CANARY), Vec::<std::path::PathBuf>::new());

    // One that nobody has copied yet is copied with the release that it carries now.
    let other = sticks.remove(0);
    update_medium(&ada, &other).done();
    let ben = world.person("ben");
    ben.copy(&other).done();
    ben.plays_all(TITLE, &newer);
});

// proves: A12
scenario!(a12_whoever_has_no_copy_brings_the_content_alone_and_a_damaged_stick_is_not_believed, |world| {
    let first = publish(world, "1.0.0");
    let discs = world.press(TITLE, 2);
    let ada = world.person("ada");
    ada.copy(&discs[0]).done();
    publish(world, "1.1.0");
    // Somebody else's device: nobody has to be registered to write what anybody may have.
    let kiosk = world.device("kiosk");
    let updated = kiosk.run([OsStr::new("update"), discs[0].as_os_str(), OsStr::new("--json")]).done().json();
    assert_eq!((updated["titles"][0]["to"].as_str(), &updated["titles"][0]["keys"]), (Some("1.1.0"), &false.into()), "{updated}");
    world.kill();
    // Without keys on it, the authority has to be asked, which is not there.
    assert_eq!(update_from(&ada, &discs[0]).output.status.code(), Some(3));
    ada.plays_all(TITLE, &first);
    world.start();

    // A stick that carries keys, and whose content was spoilt on the way.
    update_medium(&ada, &discs[1]).done();
    let files = files_below(&discs[1].join("content"));
    let packs: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|end| end == "pack")).collect();
    assert!(packs.len() > 1, "{packs:?}");
    // All of them: what the library has already is not read from the stick.
    for pack in packs {
        let spoilt: Vec<u8> = fs::read(pack).expect("readable").iter().map(|byte| byte ^ 1).collect();
        fs::write(pack, spoilt).expect("written");
    }
    world.kill();
    let spoilt = update_from(&ada, &discs[1]);
    assert!(!spoilt.output.status.success(), "{spoilt}");
    ada.plays_all(TITLE, &first);
});

// proves: A12
scenario!(a12_a_medium_that_cannot_be_written_says_so_and_one_without_the_right_gets_nothing, |world| {
    publish(world, "1.0.0");
    let out = world.path("image");
    let mut press = world.publisher().command(["press", "--title", TITLE, "--count", "1", "--as", "iso", "--out"]);
    press.arg(&out);
    crate::world::outcome(press).done();
    let image = files_below(&out).into_iter().find(|path| path.extension().is_some_and(|end| end == "iso")).expect("an image");
    let fixed = world.path("fixed");
    let mut press = world.publisher().command(["press", "--title", TITLE, "--count", "1", "--out"]);
    press.arg(&fixed).args(["--right", "update=no"]);
    crate::world::outcome(press).done();
    publish(world, "1.1.0");
    let ada = world.person("ada");
    let refused = ada.run([OsStr::new("update"), image.as_os_str()]);
    refused.failed(3, "cannot write to");
    ada.run([OsStr::new("update"), fixed.join("0001").as_os_str()]).refused(Code::RightMissing);
});
