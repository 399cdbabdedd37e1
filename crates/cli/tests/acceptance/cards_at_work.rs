//! Cards in tokens and TPMs do what comes after the main job as well: licenses move, saves go from device to device, media are presented to
//! providers (C2).

use std::fs;

use crate::cards::Hardware;
use crate::household::{TITLE, bought, laptop, sell, with_library};
use crate::providers::service::Service;
use crate::world::{Device, World, files_with, outcome, scenario, set_mode, write};

fn run(device: &Device, more: &[&str]) -> crate::world::Outcome {
    let mut run = device.command(with_library(device, &["run", TITLE]));
    run.args(more);
    outcome(run)
}

fn at_work(world: &World, hardware: &Hardware) {
    let tree = world.path("tree");
    write(&tree.join("bin/game"), b"#!/bin/sh\n[ -z \"$1\" ] || echo \"$1\" >\"$COUNTERFOIL_SAVE_DIR/progress\"\n");
    set_mode(&tree.join("bin/game"), 0o755);
    world.publish(TITLE, "1.0.0", &tree, &["--entry", "bin/game", "--kind", "game"]).done();
    sell(world, "devices = 1\ntransfers = 2\nupload_mib = 1\n");
    let desk = bought(hardware.device(world, "desk"));
    let laptop = laptop(world, &desk);
    assert!(files_with(&laptop.home, b"signing_seed").len() == 1, "only the device's own keys are in a file");

    // Installed, played, saved.
    desk.run(with_library(&desk, &["install", TITLE])).done();
    run(&desk, &["--", "level 7 of the desk"]).done();
    desk.run(["save", "push", TITLE]).done();
    assert!(files_with(&world.path("server"), b"level 7 of the desk").is_empty());

    // Moved, with the save, to the other device; the first one runs it no more.
    desk.run(["transfer", TITLE, "--to", "laptop", "--yes"]).done();
    laptop.run(with_library(&laptop, &["install", TITLE])).done();
    laptop.run(["save", "pull", TITLE]).done();
    let taken = laptop.home.join("saved").join(TITLE).join("progress");
    assert_eq!(fs::read_to_string(taken).expect("taken"), "level 7 of the desk\n");
    run(&laptop, &["--", "level 8 of the laptop"]).done();
    laptop.run(["save", "push", TITLE]).done();
    assert_eq!(run(&desk, &[]).output.status.code(), Some(1));

    // A stick of hers, presented with her card: the provider has a name for her, and for no stick.
    let out = world.path("sticks");
    let mut press = world.publisher().command(["press", "--title", TITLE, "--count", "1", "--right", "upload=yes", "--out"]);
    press.arg(&out);
    outcome(press).done();
    let north = Service::start(world, "north", &[]);
    let mut copy = laptop.command(with_library(&laptop, &["copy", "--again"]));
    copy.arg(out.join("0001"));
    outcome(copy).done();
    let level = world.path("level.map");
    write(&level, b"a level of hers");
    let mut present = laptop.command(["present"]);
    present.arg(out.join("0001")).args(["--to", &north.url, "--take-all", "--give"]).arg(&level);
    outcome(present).done();
    assert!(north.holder().starts_with("user-"), "{}", north.holder());
    outcome(world.operator(["audit", "verify"])).done();
}

// proves: C2, D8, A4, B4
scenario!(c2_a_card_in_a_token_transfers_saves_and_presents, |world| {
    at_work(world, &Hardware::token(world, "desk"));
});

// proves: C2, D8, A4, B4
scenario!(c2_a_card_in_a_tpm_transfers_saves_and_presents, |world| {
    at_work(world, &Hardware::tpm(world, "desk"));
});
