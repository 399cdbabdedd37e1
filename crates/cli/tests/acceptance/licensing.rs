//! Licenses and devices: run where the license is for and nowhere else, verified offline by anybody, moved between devices (D6–D10).

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use counterfoil_core::Code;
use serde_json::Value;

use crate::world::{Device, Outcome, World, outcome, scenario, set_mode, write};

const TITLE: &str = "sky-raider";

/// Puts a title on sale whose program shows its license where it is asked for it.
fn on_sale(world: &World, terms: &str) {
    let tree = world.path("licensed");
    write(&tree.join("bin/game"), b"#!/bin/sh\necho \"played with $*\"\n[ -z \"$SHOW\" ] || cat \"$COUNTERFOIL_LICENSE\"\n");
    set_mode(&tree.join("bin/game"), 0o755);
    write(&tree.join("data/level"), &crate::world::noise(3, 300_000));
    world.publish(TITLE, "1.0.0", &tree, &["--entry", "bin/game", "--kind", "game", "--name", "Sky Raider"]).done();
    let policy = world.path("terms.toml");
    write(&policy, terms.as_bytes());
    let edit = ["title", "edit", TITLE, "--summary", "A game", "--price", "5.00 EUR", "--on-sale", "--policy-file"];
    let mut edit = world.publisher().command(edit);
    edit.arg(&policy);
    outcome(edit).done();
}

/// Anna's desk, registered with a card.
fn desk(world: &World) -> Device {
    let desk = world.device("desk");
    desk.run(["card", "new"]).done();
    in_library(&desk, &["register", "--name", "desk"]).done();
    desk
}

/// Another device of hers, with the same card.
fn another(world: &World, desk: &Device, name: &str) -> Device {
    let device = world.device(name);
    let user = desk.run(["card", "show", "--json"]).done().json()["user_id"].as_str().expect("registered").to_owned();
    write(&device.home.join("card.json"), &fs::read(desk.home.join("card.json")).expect("her card"));
    set_mode(&device.home.join("card.json"), 0o600);
    in_library(&device, &["register", "--user", &user, "--name", name]).done();
    device
}

fn with_library<'a>(device: &'a Device, arguments: &[&'a str]) -> Vec<&'a OsStr> {
    let mut all: Vec<&OsStr> = arguments.iter().map(|argument| OsStr::new(*argument)).collect();
    all.extend([OsStr::new("--library"), device.library.as_os_str()]);
    all
}

fn in_library(device: &Device, arguments: &[&str]) -> Outcome {
    device.run(with_library(device, arguments))
}

fn bought(device: &Device) {
    device.run(["buy", TITLE, "--yes"]).done();
    in_library(device, &["install", TITLE]).done();
}

fn run(device: &Device) -> Outcome {
    in_library(device, &["run", TITLE])
}

fn refuses_to_run(device: &Device, code: Code) {
    device.refuses(&with_library(device, &["run", TITLE]), code);
}

/// The same at another time.
fn run_at(device: &Device, shift: &str) -> Outcome {
    let mut run = Command::new("faketime");
    run.args(["-f", shift, env!("CARGO_BIN_EXE_counterfoil")]).args(with_library(device, &["run", TITLE]));
    device.environment(&mut run);
    outcome(run)
}

fn license_file(world: &World, device: &Device) -> PathBuf {
    let token = in_library(device, &["license", "show", TITLE, "--token"]).done().stdout();
    let path = world.path("license.jwt");
    write(&path, token.as_bytes());
    path
}

fn keys_file(world: &World) -> PathBuf {
    let path = world.path("jwks.json");
    write(&path, world.api("GET", "/.well-known/jwks.json", None).1.to_string().as_bytes());
    path
}

// proves: D6, D7
scenario!(d7_it_runs_offline_on_its_own_hardware_and_on_no_other, |world| {
    on_sale(world, "lease_days = 30\ngrace_days = 7\n[attributes]\nedition = \"gold\"\n");
    let anna = desk(world);
    bought(&anna);
    let mut show = anna.command(with_library(&anna, &["run", TITLE]));
    show.args(["--", "one", "--two"]).env("SHOW", "1");
    let said = outcome(show).done().stdout();
    let (played, token) = said.split_once('\n').expect("two lines");
    assert_eq!(played, "played with one --two");
    // The program has its license in hand, and can verify it as anybody can.
    let own = world.path("own.jwt");
    write(&own, token.as_bytes());
    let keys = keys_file(world);
    let verified = anna.run([
        OsStr::new("license"),
        OsStr::new("verify"),
        own.as_os_str(),
        OsStr::new("--json"),
        OsStr::new("--keys"),
        keys.as_os_str(),
    ]);
    assert_eq!(verified.done().json()["attributes"]["edition"], "gold");

    world.kill();
    assert_eq!(run(&anna).done().stdout(), "played with \n");
    anna.set_hardware("somebody else's computer", "desk's drive");
    refuses_to_run(&anna, Code::RunNotPermitted);
    // Played in any other way, it is the same.
    anna.refuses(&with_library(&anna, &["play", TITLE, "data/level"]), Code::RunNotPermitted);
    anna.set_hardware("desk's computer", "desk's drive");
    run(&anna).done();
    // Edited in the library, it is none any more.
    let license = crate::world::files_below(&anna.library).into_iter().find(|path| path.ends_with("license.json")).expect("a license");
    let text = fs::read_to_string(&license).expect("text");
    let mut file: Value = serde_json::from_str(&text).expect("JSON");
    file["license"] = file["license"].as_str().expect("a token").replacen("eyJ", "eyK", 2).into();
    write(&license, file.to_string().as_bytes());
    refuses_to_run(&anna, Code::LicenseInvalid);
    fs::remove_file(&license).expect("removed");
    refuses_to_run(&anna, Code::LicenseInvalid);
    write(&license, text.as_bytes());
    run(&anna).done();
});

// proves: D6
scenario!(d6_anybody_verifies_a_license_offline_with_the_published_keys, |world| {
    on_sale(world, "lease_days = 30\ngrace_days = 7\n");
    let anna = desk(world);
    bought(&anna);
    let (license, keys) = (license_file(world, &anna), keys_file(world));
    let shown = in_library(&anna, &["license", "show", TITLE, "--json"]).done().json();
    let device = shown["device_id"].as_str().expect("an ID").to_owned();
    world.kill();

    let nobody = world.device("nobody");
    let verify = |file: &Path, more: &[&str]| {
        let mut verify = nobody.command(["license", "verify"]);
        verify.arg(file).arg("--keys").arg(&keys).args(more);
        outcome(verify)
    };
    verify(&license, &[]).done();
    verify(&license, &["--device", &device]).done();
    assert!(!nobody.home.exists(), "nothing was made for that");
    let stranger = nobody.run(["status", "--json"]).done().json()["device"]["id"].as_str().expect("an ID").to_owned();
    verify(&license, &["--device", &stranger]).refused(Code::RunNotPermitted);
    verify(&license, &["--at", "2020-01-01"]).refused(Code::LicenseInvalid);
    verify(&license, &["--at", "2120-01-01"]).refused(Code::LicenseExpired);
    verify(&license, &["--at", "soon"]).failed(2, "neither a date");

    let token = fs::read_to_string(&license).expect("text").trim().to_owned();
    let parts: Vec<&str> = token.split('.').collect();
    let edited = world.path("edited.jwt");
    write(&edited, format!("{}.{}.{}", parts[0], parts[1].replacen(&parts[1][20..24], "AAAA", 1), parts[2]).as_bytes());
    verify(&edited, &[]).refused(Code::LicenseInvalid);
    let cut = world.path("cut.jwt");
    write(&cut, &token.as_bytes()[..token.len() - 10]);
    verify(&cut, &[]).refused(Code::LicenseInvalid);
    verify(&keys, &[]).refused(Code::LicenseInvalid);
    // Of another authority: well made, and not by the one that is asked for.
    let elsewhere = World::new(crate::world::Engine::Sqlite);
    let mut other = nobody.command(["license", "verify"]);
    other.arg(&license).arg("--keys").arg(keys_file(&elsewhere));
    outcome(other).refused(Code::LicenseInvalid);
    outcome(nobody.command([OsStr::new("license"), OsStr::new("verify"), license.as_os_str()])).failed(2, "no authority is known");
});

// proves: D7
scenario!(d7_a_lease_ends_offline_and_clocks_that_are_turned_stretch_nothing, |world| {
    on_sale(world, "lease_days = 30\ngrace_days = 7\n");
    let anna = desk(world);
    bought(&anna);
    world.kill();
    run_at(&anna, "+29d").done();
    let warned = run_at(&anna, "+33d").done();
    assert!(warned.stderr().contains("warning: the license could not be renewed in time"), "{warned}");
    run_at(&anna, "+40d").refused(Code::LicenseExpired);
    run_at(&anna, "+10y").refused(Code::LicenseExpired);
    // Nobody is locked out by a clock that was wrong, in either direction.
    run(&anna).done();
    run_at(&anna, "-10y").done();
    world.start();
    let behind = run_at(&anna, "-10y").done();
    assert!(behind.stderr().contains("clock of this device"), "{behind}");
    run(&anna).done();
    let shown = in_library(&anna, &["list", "--json"]).done().json();
    assert_eq!(shown["titles"][0]["license"]["state"], "good", "{shown}");
});

// proves: D8, D9, D10
scenario!(d8_d9_d10_a_title_moves_with_its_license_and_without_a_charge, |world| {
    on_sale(world, "transfers = 2\n");
    let desk = desk(world);
    let laptop = another(world, &desk, "laptop");
    bought(&desk);
    run(&desk).done();

    desk.run(["transfer", TITLE, "--to", "somebody"]).failed(2, "none of your devices");
    let preview = desk.run(["transfer", TITLE, "--to", "laptop", "--preview"]).done().stdout();
    for part in ["From desk to laptop, without charge", "1 transfer left", "online at once", "without a network at the latest from"] {
        assert!(preview.contains(part), "{part}: {preview}");
    }
    // Nobody to ask, so nothing is done.
    desk.run(["transfer", TITLE, "--to", "laptop"]).failed(1, "nothing was moved");
    run(&desk).done();
    // From the device that receives: it asks for itself.
    let moved = laptop.run(["transfer", TITLE, "--from", "desk", "--to", "laptop", "--yes", "--json"]).done().json();
    assert_eq!((&moved["charged"], &moved["source_deregistered"]), (&false.into(), &false.into()), "{moved}");

    // The source learns it when it asks, and remembers.
    refuses_to_run(&desk, Code::LicenseEnded);
    let text = in_library(&desk, &["list"]).done().stdout();
    assert!(text.contains("ended"), "{text}");
    in_library(&desk, &["install", TITLE, "--again"]).refused(Code::NotEntitled);
    in_library(&laptop, &["agent", "--once"]).done();
    run(&laptop).done();
    let ordered = world.api("GET", "/v1/orders?state=due", None).1;
    assert_eq!(ordered["items"].as_array().map(Vec::len), Some(1), "charged once: {ordered}");
    let before = crate::world::files_below(&desk.library).len();
    world.kill();
    refuses_to_run(&desk, Code::LicenseEnded);
    run(&laptop).done();
    assert_eq!(crate::world::files_below(&desk.library).len(), before, "nothing was deleted");
    world.start();

    // And back again: installed anew, by the same license.
    laptop.run(["transfer", TITLE, "--to", "desk", "--yes"]).done();
    refuses_to_run(&laptop, Code::LicenseEnded);
    in_library(&desk, &["agent", "--once"]).done();
    run(&desk).done();
    in_library(&desk, &["agent", "--once"]).done();
    run(&desk).done();
    desk.run(["transfer", TITLE, "--to", "laptop", "--yes"]).refused(Code::TransferNotAllowed);
    run(&desk).done();
});

// proves: D10
scenario!(d10_a_device_that_is_moved_away_from_altogether_neither_runs_nor_orders, |world| {
    on_sale(world, "");
    let desk = desk(world);
    let laptop = another(world, &desk, "laptop");
    bought(&desk);
    let all = ["transfer", "--all", "--from", "desk", "--to", "laptop"];
    let preview = laptop.run(all.iter().copied().chain(["--preview"])).done().stdout();
    assert!(preview.contains("taken out of your devices"), "{preview}");
    laptop.run(all.iter().copied().chain(["--yes"])).done();
    refuses_to_run(&desk, Code::LicenseEnded);
    desk.refuses(&["buy", TITLE, "--yes"], Code::DeviceNotRegistered);
    desk.refuses(&["transfer", TITLE, "--to", "desk", "--from", "laptop", "--yes"], Code::DeviceNotRegistered);
    in_library(&laptop, &["agent", "--once"]).done();
    run(&laptop).done();
    // It cannot receive either.
    laptop.run(["transfer", TITLE, "--to", "desk", "--yes"]).failed(2, "none of your devices");
    let service = in_library(&desk, &["agent"]);
    service.refused(Code::DeviceNotRegistered);
});

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is fine as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lines of an agent until an event; the event.
fn await_event(lines: &mut impl BufRead, name: &str) -> Value {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(lines.read_line(&mut line).expect("readable") > 0, "it ended before {name}");
        let event: Value = serde_json::from_str(&line).expect("a line of JSON");
        if event["event"] == name {
            return event;
        }
    }
}

// proves: D9
scenario!(d9_an_agent_installs_what_is_moved_to_its_device_and_ends_what_is_moved_away, |world| {
    on_sale(world, "");
    let desk = desk(world);
    let laptop = another(world, &desk, "laptop");
    bought(&desk);
    let start = |device: &Device| {
        let mut agent = device.command(with_library(device, &["agent", "--json"]));
        let mut agent = Running(agent.stdout(Stdio::piped()).spawn().expect("started"));
        let lines = BufReader::new(agent.0.stdout.take().expect("piped"));
        (agent, lines)
    };
    let (mut on_laptop, mut lines) = start(&laptop);
    let (_on_desk, mut desk_lines) = start(&desk);
    await_event(&mut lines, "started");
    await_event(&mut desk_lines, "started");
    desk.run(["transfer", TITLE, "--to", "laptop", "--yes"]).done();
    assert_eq!(await_event(&mut lines, "installed")["title"], TITLE);
    // Other commands are not kept out by it.
    run(&laptop).done();
    refuses_to_run(&desk, Code::LicenseEnded);
    // The server goes and comes back; what happens then is noticed as before.
    world.kill();
    await_event(&mut lines, "lost");
    world.start();
    desk.run(["transfer", TITLE, "--from", "laptop", "--to", "desk", "--yes"]).done();
    await_event(&mut lines, "ended");
    await_event(&mut desk_lines, "installed");
    run(&desk).done();
    let mut kill = Command::new("kill");
    kill.args(["-s", "TERM", &on_laptop.0.id().to_string()]);
    outcome(kill).done();
    await_event(&mut lines, "stopped");
    assert!(on_laptop.0.wait().expect("ended").success());
});

// proves: D10
scenario!(d10_what_the_operator_takes_back_is_refused_at_the_next_contact_and_offline_from_then_on, |world| {
    on_sale(world, "lease_days = 0\n");
    let anna = desk(world);
    bought(&anna);
    run(&anna).done();
    let user = anna.run(["card", "show", "--json"]).done().json()["user_id"].as_str().expect("registered").to_owned();
    let license = in_library(&anna, &["license", "show", TITLE, "--json"]).done().json()["license_id"].as_str().expect("an ID").to_owned();
    let (status, said) =
        world.api("POST", &format!("/v1/users/{user}/licenses/{license}/revoke"), Some(serde_json::json!({ "note": "a test" })));
    assert!((200..300).contains(&status), "{status} {said}");
    refuses_to_run(&anna, Code::LicenseEnded);
    world.kill();
    refuses_to_run(&anna, Code::LicenseEnded);
    let shown = in_library(&anna, &["license", "show", TITLE]).done().stdout();
    assert!(shown.contains("ended"), "{shown}");
});
