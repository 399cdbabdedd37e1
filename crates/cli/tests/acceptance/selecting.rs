//! What a program, a user or a medium notes of their progress selects what comes next: by rules, and by contents servers of others (A6, A8, A10, A12).

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::world::{Device, Outcome, World, outcome, scenario, set_mode, wait_until, write};

const TITLE: &str = "sky-raider";
const NEXT: &str = "chapter-4";

/// A game that notes which chapter it was told, and a supplement beside it that nobody can buy.
fn published(world: &World) {
    let tree = world.path("game");
    let game =
        b"#!/bin/sh\nfor said in \"$@\"; do echo \"$said\" >> \"$COUNTERFOIL_STATUS\"; done\nhead -n 1 \"$COUNTERFOIL_STATUS\"\nexit 0\n";
    write(&tree.join("bin/game"), game);
    set_mode(&tree.join("bin/game"), 0o755);
    world.publish(TITLE, "1.0.0", &tree, &["--entry", "bin/game", "--kind", "game", "--name", "Sky Raider"]).done();
    let next = world.path("next");
    write(&next.join("level"), b"what comes after");
    world.publish(NEXT, "1.0.0", &next, &["--name", "Chapter 4"]).done();
    let policy = world.path("terms.toml");
    write(&policy, b"devices = 1\n");
    let mut edit = world.publisher().command(["title", "edit", TITLE, "--on-sale", "--price", "5.00 EUR", "--policy-file"]);
    edit.arg(&policy);
    outcome(edit).done();
}

fn in_library(device: &Device, arguments: &[&str]) -> Outcome {
    let arguments = arguments.iter().map(|argument| OsStr::new(*argument));
    device.run(arguments.chain([OsStr::new("--library"), device.library.as_os_str()]))
}

fn bought(world: &World, name: &str) -> Device {
    let device = world.person(name);
    device.run(["buy", TITLE, "--yes"]).done();
    in_library(&device, &["install", TITLE]).done();
    device
}

fn runs(device: &Device, arguments: &[&str]) -> Outcome {
    let mut run = device.command(["run", TITLE, "--library"]);
    run.arg(&device.library).arg("--").args(arguments);
    outcome(run)
}

/// Titles that an update has installed because they were selected.
fn installs(device: &Device) -> Vec<String> {
    let updated = in_library(device, &["update", "--json"]).done().json();
    let installed = updated["installed"].as_array().unwrap_or_else(|| panic!("{updated}")).clone();
    installed.iter().map(|one| one["title"].as_str().unwrap_or_else(|| panic!("{updated}")).to_owned()).collect()
}

fn noted(device: &Device) -> Value {
    in_library(device, &["status", "show", TITLE, "--json"]).done().json()["titles"][0]["variables"].clone()
}

// proves: A6, A10
scenario!(a6_a10_what_a_program_notes_selects_what_comes_next, |world| {
    published(world);
    let publisher = world.publisher();
    publisher.run(["rules", "set", TITLE, NEXT, "vars.chapter >"]).failed(1, "condition: at 1:");
    publisher.run(["rules", "set", TITLE, NEXT, "user == 'anna'"]).failed(1, "there is no `user`");
    publisher.run(["rules", "set", TITLE, NEXT, "vars.chapter >= 3 && !vars.easy"]).done();
    let tried = publisher.run(["rules", "test", TITLE, "--set", "chapter=3", "--set", "easy=false", "--json"]).done().json();
    assert_eq!(tried["items"][0]["selects"], true, "{tried}");
    let untold = publisher.run(["rules", "test", TITLE, "--set", "chapter=3"]).done().stdout();
    assert!(untold.contains("not selected") && untold.contains("it cannot be told") && untold.contains("easy"), "{untold}");

    let anna = bought(world, "anna");
    assert_eq!(installs(&anna), Vec::<String>::new());
    // By hand, and offline: nothing of it needs the authority.
    in_library(&anna, &["status", "set", TITLE, "chapter=2", "easy=false", "name=Ada L."]).done();
    assert_eq!(noted(&anna), json!({ "chapter": 2, "easy": false, "name": "Ada L." }));
    in_library(&anna, &["status", "set", TITLE, "Chapter=2"]).failed(1, "a name is 1 to 64 of a-z");
    in_library(&anna, &["status", "set", "no-such-title", "chapter=2"]).failed(3, "does not hold");
    in_library(&anna, &["status", "unset", TITLE, "name"]).done();
    assert_eq!(installs(&anna), Vec::<String>::new());

    // By the program: it reads what is noted, and appends.
    let ran = runs(&anna, &["chapter=3", "-easy", "easy=false", "No such name=1"]).done();
    assert_eq!(ran.stdout(), "chapter=2\n");
    assert!(ran.stderr().contains("warning: the program noted something that is no status variable"), "{ran}");
    assert_eq!(noted(&anna), json!({ "chapter": 3, "easy": false }));
    assert_eq!(installs(&anna), [NEXT]);
    assert_eq!(anna.play(NEXT, "level").done().stdout(), "what comes after");
    assert_eq!(installs(&anna), Vec::<String>::new(), "once");

    // Ben has not come so far, and it was taken away when he has.
    let ben = bought(world, "ben");
    publisher.run(["rules", "remove", TITLE, NEXT]).done();
    in_library(&ben, &["status", "set", TITLE, "chapter=9", "easy=false"]).done();
    assert_eq!(installs(&ben), Vec::<String>::new());
    // What is removed with its title is forgotten.
    in_library(&ben, &["remove", TITLE, "--yes"]).done();
    in_library(&ben, &["install", TITLE, "--again"]).done();
    assert_eq!(noted(&ben), json!({}));
});

// proves: A6
scenario!(a6_what_a_program_notes_is_kept_while_it_runs, |world| {
    published(world);
    let tree = world.path("game");
    // It waits until somebody else sees what it has noted.
    write(&tree.join("bin/game"), b"#!/bin/sh\necho chapter=7 >> \"$COUNTERFOIL_STATUS\"\necho noted\nread end\n");
    world.publish(TITLE, "1.0.1", &tree, &["--entry", "bin/game", "--kind", "game"]).done();
    let anna = bought(world, "anna");
    let mut run = anna.command(["run", TITLE, "--library"]);
    let mut running = run.arg(&anna.library).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    let mut line = String::new();
    BufReader::new(running.stdout.take().expect("piped")).read_line(&mut line).expect("it says so");
    wait_until("what it noted is kept", || noted(&anna) == json!({ "chapter": 7 }));
    drop(running.stdin.take());
    assert!(running.wait().expect("ended").code().is_some());
});

// proves: A6
scenario!(a6_a_batch_selects, |world| {
    published(world);
    let discs = world.press(TITLE, 1);
    let batch = world.api("GET", "/v1/batches", None).1["items"][0]["batch"].as_str().expect("a batch").to_owned();
    let condition = format!("batch == '{batch}' && medium != '' && rights.update");
    world.publisher().run(["rules", "set", TITLE, NEXT, &condition]).done();
    let (anna, ben) = (world.person("anna"), bought(world, "ben"));
    anna.copy(&discs[0]).done();
    // The medium's family tells the user's of the copy a moment later.
    let mut installed = vec![];
    wait_until("it is selected", || {
        installed = installs(&anna);
        !installed.is_empty()
    });
    assert_eq!(installed, [NEXT]);
    assert_eq!(installs(&ben), Vec::<String>::new(), "he has it from no batch");
});

// proves: A6, A12
scenario!(a12_a_stick_keeps_variables_under_its_medium_id, |world| {
    published(world);
    let discs = world.press(TITLE, 2);
    let anna = world.device("anna");
    let on = |disc: &Path, arguments: &[&str]| {
        let mut command = anna.command(arguments.iter().copied());
        command.arg("--medium").arg(disc);
        outcome(command)
    };
    on(&discs[0], &["status", "set", TITLE, "chapter=5"]).done();
    assert_eq!(on(&discs[0], &["status", "show", TITLE, "--json"]).done().json()["titles"][0]["variables"], json!({ "chapter": 5 }));
    on(&discs[0], &["status", "set", "other", "chapter=5"]).failed(3, "carries no content for `other`");
    // Copied to another stick, the file says nothing of that one.
    let file = |disc: &Path| disc.join("content").join(TITLE).join("status.json");
    fs::copy(file(&discs[0]), file(&discs[1])).expect("copied");
    assert_eq!(on(&discs[1], &["status", "show", TITLE, "--json"]).done().json()["titles"][0]["variables"], json!({}));
    // Neither the identity nor the content minds.
    let (ben, medium) = (world.person("ben"), &discs[0]);
    ben.run([OsStr::new("inspect"), medium.as_os_str()]).done();
    ben.copy(medium).done();
    write(&file(medium), b"{\"counterfoil_status\":1,\"variables\":{\"A\":1}}");
    on(medium, &["status", "show", TITLE]).failed(3, "is damaged or was edited");
});

/// A contents server of somebody else's, in a process of its own.
struct Studio(Child);

impl Drop for Studio {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example's binary, which `cargo build --workspace --bins` puts beside the client's.
fn example() -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_counterfoil")).with_file_name("contents-server");
    assert!(path.exists(), "{} is missing: run `cargo build -p contents-server` first", path.display());
    Command::new(path)
}

impl Studio {
    /// Registers one and starts it: the address is needed first, so it is registered at a free port.
    fn start(world: &World, relayed: bool) -> Self {
        let directory = world.path("studio");
        fs::create_dir_all(&directory).expect("made");
        let key = example().arg("key").arg(directory.join("studio.key")).output().expect("run");
        let key = String::from_utf8(key.stdout).expect("text").trim().to_owned();
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let url = format!("http://127.0.0.1:{port}");
        let pair = format!("{TITLE}={NEXT}");
        let mut add = vec!["contents-server", "add", url.as_str(), "--name", "Studio North", "--key", &key, "--title", &pair, "--json"];
        add.extend(relayed.then_some("--relayed"));
        let operator = world.publisher();
        let id = operator.run(add).done().json()["server"].as_str().expect("an ID").to_owned();
        assert!(operator.run(["contents-server", "list"]).done().stdout().contains(&id));
        let name = world.api("GET", "/.well-known/counterfoil", None).1["name"].as_str().expect("a name").to_owned();
        write(&directory.join("jwks.json"), world.api("GET", "/.well-known/jwks.json", None).1.to_string().as_bytes());
        write(
            &directory.join("rules.json"),
            json!([{ "title": TITLE, "variable": "chapter", "at_least": 3, "select": NEXT }]).to_string().as_bytes(),
        );
        let mut serve = example();
        serve.current_dir(&directory).args(["serve", "--key", "studio.key", "--id", &id, "--authority", &name, "--jwks", "jwks.json"]);
        serve.args(["--rules", "rules.json", "--listen", &format!("127.0.0.1:{port}")]).stdout(Stdio::piped());
        let mut running = serve.spawn().expect("started");
        let mut line = String::new();
        BufReader::new(running.stdout.take().expect("piped")).read_line(&mut line).expect("it says where");
        assert!(line.starts_with("listening on http://"), "{line}");
        Self(running)
    }
}

// proves: A8, A10
scenario!(a8_a10_a_contents_server_of_somebody_else_selects, |world| {
    published(world);
    let studio = Studio::start(world, false);
    let anna = bought(world, "anna");
    in_library(&anna, &["status", "set", TITLE, "chapter=2"]).done();
    assert_eq!(installs(&anna), Vec::<String>::new());
    in_library(&anna, &["status", "set", TITLE, "chapter=3"]).done();
    assert_eq!(installs(&anna), [NEXT]);
    assert_eq!(installs(&anna), Vec::<String>::new(), "once");
    // Where it is not there, everything else goes on.
    drop(studio);
    let ben = bought(world, "ben");
    in_library(&ben, &["status", "set", TITLE, "chapter=3"]).done();
    let updated = in_library(&ben, &["update"]).done();
    assert!(updated.stderr().contains("selects nothing"), "{updated}");
    assert!(updated.stdout().contains("up to date"), "{updated}");
});

// proves: A8, A10
scenario!(a10_the_authority_asks_a_contents_server_that_devices_do_not_reach, |world| {
    published(world);
    let _studio = Studio::start(world, true);
    let anna = bought(world, "anna");
    in_library(&anna, &["status", "set", TITLE, "chapter=3"]).done();
    assert_eq!(installs(&anna), [NEXT]);
});
