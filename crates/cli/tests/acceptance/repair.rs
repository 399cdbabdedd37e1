//! A device or drive breaks and is exchanged at a repair centre; the user copies again, and the old one gets nothing more (C14).

use std::ffi::OsStr;
use std::path::Path;

use counterfoil_core::Code;
use serde_json::{Value, json};

use crate::world::{Device, Outcome, World, copy_tree, outcome, scenario, set_mode, write};

/// A repair centre with its token.
pub struct Centre {
    pub device: Device,
    token: std::path::PathBuf,
}

impl Centre {
    pub fn new(world: &World) -> Self {
        let (status, made) = world.api("POST", "/v1/tokens", Some(json!({ "role": "repair", "name": "north repair" })));
        assert_eq!(status, 201, "{made}");
        let token = world.path("repair-token.txt");
        write(&token, made["token"].as_str().expect("a token").as_bytes());
        set_mode(&token, 0o600);
        Self { device: world.device("centre"), token }
    }

    /// `counterfoil repair …`
    pub fn repair(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.device.command(["repair"]);
        command.args(arguments).arg("--token-file").arg(&self.token);
        outcome(command)
    }
}

/// What `status` says: `card`, `user`, and `device` and `drive` with their IDs.
pub fn id(device: &Device, what: &str) -> String {
    let mut status = device.command(["status", "--json", "--library"]);
    status.arg(&device.library);
    let status = outcome(status).done().json();
    let found = if status[what].is_object() { &status[what]["id"] } else { &status[what] };
    found.as_str().unwrap_or_else(|| panic!("no {what} in {status}")).to_owned()
}

pub fn grants(device: &Device) -> Vec<Value> {
    let mut shown = device.run(["card", "show", "--json"]).done().json();
    shown["grants"].take().as_array().expect("a list").clone()
}

/// Somebody's device as it was, with all that was on it: turned up again, or stolen.
fn as_it_was(world: &World, of: &Device, name: &str) -> Device {
    let old = Device { home: world.path(&format!("{name}/home")), root: world.path(&format!("{name}/root")), ..of.clone() };
    copy_tree(&of.home, &old.home);
    copy_tree(&of.root, &old.root);
    old
}

fn list(device: &Device) -> Outcome {
    device.run([OsStr::new("list"), OsStr::new("--library"), device.library.as_os_str(), OsStr::new("--json")]).done()
}

fn copy_arguments<'a>(device: &'a Device, medium: &'a Path) -> [&'a OsStr; 4] {
    [OsStr::new("copy"), medium.as_os_str(), OsStr::new("--library"), device.library.as_os_str()]
}

fn play_arguments(device: &Device) -> [&OsStr; 5] {
    [OsStr::new("play"), OsStr::new("sky-raider"), OsStr::new("data/text"), OsStr::new("--library"), device.library.as_os_str()]
}

fn register(device: &Device, user: &str) -> Outcome {
    device.run([OsStr::new("register"), OsStr::new("--user"), OsStr::new(user), OsStr::new("--library"), device.library.as_os_str()])
}

/// Her card in his hands, on his computer.
pub fn a_lent_card_gets_nothing(world: &World, anna: &Device, disc: &Path) {
    let ben = world.person("ben");
    let lent = ben.home.join("lent-card");
    write(&lent, &std::fs::read(anna.home.join("card.json")).expect("her card"));
    crate::world::set_mode(&lent, 0o600);
    let mut copy = copy_arguments(&ben, disc).to_vec();
    copy.extend([OsStr::new("--card"), lent.as_os_str(), OsStr::new("--json")]);
    let refused = ben.run(copy);
    let code = refused.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
    assert!(refused.output.status.code() == Some(1) && ["device_not_registered", "user_invalid"].contains(&code.as_str()), "{refused}");
    // With her drive in his computer, which says it were hers: it lacks what her computer has.
    let plugged = Device { library: anna.library.clone(), ..ben };
    plugged.set_hardware("anna's computer", "anna's drive");
    let mut play = play_arguments(&plugged).to_vec();
    play.extend([OsStr::new("--card"), lent.as_os_str()]);
    plugged.refuses(&play, Code::PlayNotPermitted);
}

// proves: C14, C13, C8
scenario!(c14_a_broken_device_is_exchanged_the_title_copied_again_and_the_old_device_refused, |world| {
    let disc = world.discs(2).remove(0);
    let (anna, centre) = (world.person("anna"), Centre::new(world));
    anna.copy(&disc).done();
    let (user, card, old) = (id(&anna, "user"), id(&anna, "card"), id(&anna, "device"));
    let stolen = as_it_was(world, &anna, "stolen");
    anna.set_hardware("anna's new computer", "anna's drive");
    let new = id(&anna, "device");
    assert_ne!(old, new);

    // Found by what she has at hand; what will happen is shown before it does.
    let found = centre.repair(&["find", &card, "--json"]).done().json();
    assert_eq!(
        (found["entries"].as_array().map(Vec::len), found["entries"][0]["user_id"].as_str()),
        (Some(1), Some(user.as_str())),
        "{found}"
    );
    let exchange = ["exchange", "--user", &user, "--old", &old, "--new", &new, "--reason", "mainboard burnt", "--reference", "R-4711"];
    let unasked = centre.repair(&exchange).failed(1, "nothing was done");
    assert!(unasked.stderr().contains("sky-raider") && unasked.stderr().contains("taken back"), "{unasked}");
    stolen.refuses(&copy_arguments(&stolen, &disc), Code::MediumSpent);

    let yes: Vec<&str> = exchange.iter().copied().chain(["--yes", "--json"]).collect();
    let done = centre.repair(&yes).done().json();
    assert_eq!((&done["freed"][0]["title"], &done["generation"]), (&json!("sky-raider"), &json!(1)), "{done}");
    // An answer that was lost is asked for again: nothing is exchanged twice.
    assert_eq!(centre.repair(&yes).done().json(), done);

    // The old computer with a copy of her card, as whoever stole both has them.
    stolen.refuses(&copy_arguments(&stolen, &disc), Code::DeviceExchanged);
    register(&stolen, &user).refused(Code::DeviceExchanged);
    let entry = centre.repair(&["show", &user, "--json"]).done().json();
    assert!(entry["refusals"].to_string().contains("device.old_turned_up"), "{entry}");
    assert_eq!((&entry["repairs"][0]["old"], &entry["repairs"][0]["reference"]), (&json!(old), &json!("R-4711")), "{entry}");
    let words = centre.repair(&["show", &user]).done().stdout();
    assert!(words.contains("mainboard burnt (R-4711)"), "{words}");

    // The card hears of it at its next contact, the library says so, and one command brings the title back.
    register(&anna, &user).done();
    assert_eq!(grants(&anna), Vec::<Value>::new());
    assert_eq!(list(&anna).json()["titles"][0]["openable"], false);
    anna.refuses(&play_arguments(&anna), Code::PlayNotPermitted);
    anna.copy(&disc).done();
    anna.plays_all("sky-raider", &world.small_tree());
    assert_eq!(list(&anna).json()["titles"][0]["openable"], true);
    // One copy, as before.
    anna.refuses(&copy_arguments(&anna, &disc), Code::MediumSpent);
    stolen.refuses(&copy_arguments(&stolen, &disc), Code::DeviceExchanged);
    a_lent_card_gets_nothing(world, &anna, &disc);
});

// proves: C14
scenario!(c14_a_drive_is_exchanged_and_the_card_at_hand_is_wiped_at_once, |world| {
    let disc = world.discs(1).remove(0);
    let (anna, centre) = (world.person("anna"), Centre::new(world));
    anna.copy(&disc).done();
    let (user, old) = (id(&anna, "user"), id(&anna, "drive"));
    // A new drive, and on it what was saved from the old one.
    anna.set_hardware("anna's computer", "anna's new drive");
    let new = id(&anna, "drive");
    anna.refuses(&play_arguments(&anna), Code::PlayNotPermitted);
    anna.refuses(&copy_arguments(&anna, &disc), Code::DeviceNotRegistered);

    let card = anna.home.join("card.json");
    let card = card.to_str().expect("UTF-8");
    let exchange = ["exchange", "--card", card, "--old", &old, "--new", &new, "--reason", "disk failed", "--yes", "--json"];
    let done = centre.repair(&exchange).done().json();
    assert_eq!((done["user_id"].as_str(), done["kind"].as_str()), (Some(user.as_str()), Some("drive")), "{done}");
    assert_eq!(done["card"]["dropped"][0]["title"], "sky-raider", "{done}");
    assert_eq!(grants(&anna), Vec::<Value>::new());

    anna.copy(&disc).done();
    anna.plays_all("sky-raider", &world.small_tree());
    // Her old drive, found in a bin and put back in: nothing plays from it.
    anna.set_hardware("anna's computer", "anna's drive");
    anna.refuses(&play_arguments(&anna), Code::PlayNotPermitted);
});

// proves: C14
scenario!(c14_a_license_moves_to_the_new_device_and_is_installed_there, |world| {
    let terms = world.path("terms.toml");
    write(&terms, b"devices = 1\n");
    world.publish("sky-raider", "1.0.0", &world.small_tree(), &["--entry", "bin/game", "--kind", "game"]).done();
    let mut edit = world.publisher().command(["title", "edit", "sky-raider", "--on-sale", "--price", "19.99 EUR", "--policy-file"]);
    edit.arg(&terms);
    outcome(edit).done();
    let (anna, centre) = (world.person("anna"), Centre::new(world));
    anna.run(["buy", "sky-raider", "--yes"]).done();
    let install = [OsStr::new("install"), OsStr::new("sky-raider"), OsStr::new("--library"), anna.library.as_os_str()];
    anna.run(install).done();
    anna.plays_all("sky-raider", &world.small_tree());
    let (user, old) = (id(&anna, "user"), id(&anna, "device"));
    anna.set_hardware("anna's new computer", "anna's drive");
    let new = id(&anna, "device");
    let exchange = ["exchange", "--user", &user, "--old", &old, "--new", &new, "--reason", "stolen", "--yes", "--json"];
    let done = centre.repair(&exchange).done().json();
    assert_eq!(done["licenses"][0]["state"], "moved", "{done}");
    register(&anna, &user).done();
    anna.refuses(&play_arguments(&anna), Code::RunNotPermitted);
    anna.run(install).done();
    anna.plays_all("sky-raider", &world.small_tree());
});

// proves: C14
scenario!(c14_what_the_policy_does_not_allow_waits_for_the_operator, |world| {
    let (anna, centre) = (world.person("anna"), Centre::new(world));
    let user = id(&anna, "user");
    // What is not in the entry is not exchanged.
    let stranger = counterfoil_core::DriveId::from_bytes([7; 16]).to_string();
    centre.repair(&["exchange", "--user", &user, "--old", &stranger, "--reason", "x", "--yes"]).refused(Code::NotInEntry);
    let mut old = id(&anna, "drive");
    let mut last = None;
    for number in 0..4 {
        anna.set_hardware("anna's computer", &format!("drive number {number}"));
        let new = id(&anna, "drive");
        let exchange = ["exchange", "--user", &user, "--old", &old, "--new", &new, "--reason", "again", "--yes"];
        let outcome = centre.repair(&exchange);
        match number {
            3 => {
                outcome.refused(Code::RepairNotAllowed);
                // Not for a repair centre to override.
                let more: Vec<&str> = exchange.iter().copied().chain(["--override"]).collect();
                assert_eq!(centre.repair(&more).output.status.code(), Some(1));
                let mut operator = centre.device.command(["repair"]);
                operator.args(&more).arg("--json").env("COUNTERFOIL_TOKEN", &world.token);
                last = Some(crate::world::outcome(operator).done().json());
            }
            _ => {
                outcome.done();
            }
        }
        old = new;
    }
    assert_eq!(last.expect("overridden")["overridden"], true);
});
