//! One user with two devices and one title that is on sale: what scenarios about software begin with.

use std::ffi::OsStr;
use std::fs;

use crate::world::{Device, World, outcome, set_mode, write};

/// The title.
pub const TITLE: &str = "sky-raider";

/// Puts the title, which is published, on sale under these terms.
pub fn sell(world: &World, terms: &str) {
    let policy = world.path("terms.toml");
    write(&policy, terms.as_bytes());
    let mut edit = world.publisher().command(["title", "edit", TITLE, "--price", "5.00 EUR", "--on-sale", "--policy-file"]);
    edit.arg(&policy);
    outcome(edit).done();
}

/// A command that is about the device's own library.
pub fn with_library<'a>(device: &'a Device, arguments: &[&'a str]) -> Vec<&'a OsStr> {
    let mut all: Vec<&OsStr> = arguments.iter().map(|argument| OsStr::new(*argument)).collect();
    all.extend([OsStr::new("--library"), device.library.as_os_str()]);
    all
}

/// Her first device, with a card in a file, and the title bought.
pub fn desk(world: &World) -> Device {
    let desk = world.device("desk");
    desk.run(["card", "new"]).done();
    bought(desk)
}

/// Registers the device that has her card, and buys.
pub fn bought(desk: Device) -> Device {
    desk.run(with_library(&desk, &["register", "--name", "desk"])).done();
    desk.run(["buy", TITLE, "--yes"]).done();
    desk
}

/// Her second one, with the same card; whatever holds its keys is plugged into both.
pub fn laptop(world: &World, desk: &Device) -> Device {
    let laptop = Device { variables: desk.variables.clone(), ..world.device("laptop") };
    let user = desk.run(["card", "show", "--json"]).done().json()["user_id"].as_str().expect("registered").to_owned();
    write(&laptop.home.join("card.json"), &fs::read(desk.home.join("card.json")).expect("her card"));
    set_mode(&laptop.home.join("card.json"), 0o600);
    laptop.run(with_library(&laptop, &["register", "--user", &user, "--name", "laptop"])).done();
    laptop
}
