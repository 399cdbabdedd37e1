//! A card is lost: the new one is asked for with what was written down, and the existing library plays with it, offline (C15).

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use counterfoil_core::Code;
use serde_json::{Value, json};

use crate::repair::{Centre, a_lent_card_gets_nothing, grants, id};
use crate::world::{Device, World, outcome, scenario, set_mode, write};

/// A person with a copied title and what she has written down.
struct Anna {
    device: Device,
    user: String,
    code: String,
    disc: PathBuf,
    other_disc: PathBuf,
}

impl Anna {
    fn new(world: &World) -> Self {
        let mut discs = world.discs(2);
        let device = world.device("anna");
        device.run(["card", "new"]).done();
        let mut register = device.command(["register", "--json", "--library"]);
        register.arg(&device.library);
        let registered = outcome(register).done().json();
        let text = |name: &str| registered[name].as_str().unwrap_or_else(|| panic!("no {name} in {registered}")).to_owned();
        let (user, code) = (text("user_id"), text("recovery_code"));
        device.copy(&discs[0]).done();
        let other_disc = discs.remove(1);
        Self { device, user, code, disc: discs.remove(0), other_disc }
    }

    fn card(&self) -> PathBuf {
        self.device.home.join("card.json")
    }

    /// The card, as whoever finds it has it.
    fn lose_card(&self, world: &World) -> PathBuf {
        let found = world.path("found-card.json");
        fs::copy(self.card(), &found).expect("a card");
        set_mode(&found, 0o600);
        fs::remove_file(self.card()).expect("lost");
        found
    }

    fn replace(&self) -> crate::world::Outcome {
        self.device.run(["card", "replace", "--user", &self.user, "--recovery-code", &self.code, "--contact", "by phone"])
    }

    /// The new card is asked for and granted, and not yet filled.
    fn granted(&self, centre: &Centre) -> Value {
        self.replace().refused(Code::ReissueWaiting);
        let waiting = centre.repair(&["requests", "--json"]).done().json();
        let request = waiting["items"][0]["reissue_id"].as_str().unwrap_or_else(|| panic!("nobody waits: {waiting}")).to_owned();
        let reissue = ["reissue", "--user", &self.user, "--request", &request, "--reason", "shown a passport", "--yes", "--json"];
        centre.repair(&reissue).done().json()
    }
}

fn with_card<'a>(arguments: &[&'a OsStr], card: &'a Path) -> Vec<&'a OsStr> {
    arguments.iter().copied().chain([OsStr::new("--card"), card.as_os_str()]).collect()
}

// proves: C15, C13, C8
scenario!(c15_a_lost_card_is_replaced_and_the_library_plays_offline_with_the_new_one, |world| {
    let (anna, centre) = (Anna::new(world), Centre::new(world));
    let old_card = id(&anna.device, "card");
    // Registering again shows no other code, and the one that is written down stays good.
    let mut again = anna.device.command(["register", "--json", "--library"]);
    again.arg(&anna.device.library);
    assert_eq!(outcome(again).done().json()["recovery_code"], Value::Null);
    let found = anna.lose_card(world);
    let device = &anna.device;
    assert!(!device.play("sky-raider", "data/text").output.status.success());

    // A typing error is told before anything is sent or made; a code that is somebody else's is refused.
    let mistyped = format!("{}{}", &anna.code[..anna.code.len() - 1], if anna.code.ends_with('0') { "1" } else { "0" });
    let typed = device.run(["card", "replace", "--user", &anna.user, "--recovery-code", &mistyped]);
    assert!(typed.output.status.code() == Some(2) && typed.stderr().contains("check characters"), "{typed}");
    device.run(["card", "replace"]).failed(2, "the user ID is missing");
    assert!(!anna.card().exists());
    let wrong = counterfoil_core::RecoveryCode::from_bytes([7; 10]).to_string();
    device.refuses(&["card", "replace", "--user", &anna.user, "--recovery-code", &wrong], Code::UserInvalid);

    anna.replace().refused(Code::ReissueWaiting);
    // Nothing is typed again, and one request waits.
    device.refuses(&["card", "replace"], Code::ReissueWaiting);
    // Until it is decided, the old card is as good as it was.
    device.run(with_card(&[OsStr::new("card"), OsStr::new("collect")], &found)).done();
    let done = anna.granted(&centre);
    assert_eq!(done["old_card_id"].as_str(), Some(old_card.as_str()), "{done}");
    assert_eq!(centre.repair(&["requests", "--json"]).done().json()["items"], json!([]));

    // From the decision on, whether the new card is filled or not.
    device.run(with_card(&[OsStr::new("card"), OsStr::new("collect")], &found)).refused(Code::CardUnknown);
    let replaced = device.run(["card", "replace", "--json"]).done().json();
    assert_eq!((&replaced["card_id"], &replaced["grants"]), (&done["card_id"], &json!(1)), "{replaced}");
    assert!(replaced["recovery_code"].as_str().is_some_and(|code| code != anna.code), "{replaced}");
    device.refuses(
        &with_card(
            &[OsStr::new("copy"), anna.other_disc.as_os_str(), OsStr::new("--library"), device.library.as_os_str(), OsStr::new("--again")],
            &found,
        ),
        Code::UserInvalid,
    );
    let register = [OsStr::new("register"), OsStr::new("--library"), device.library.as_os_str()];
    device.run(with_card(&register, &found)).refused(Code::CardUnknown);
    let put = ["card", "replace", "--user", &anna.user, "--recovery-code", &anna.code, "--card", found.to_str().expect("UTF-8")];
    device.run(put).failed(1, "there is a card of somebody's");

    world.kill();
    device.plays_all("sky-raider", &world.small_tree());
    world.start();
    // The new card does what the old one did, and no more.
    device
        .run([OsStr::new("copy"), anna.other_disc.as_os_str(), OsStr::new("--library"), device.library.as_os_str(), OsStr::new("--again")])
        .done();
    device.plays_all("sky-raider", &world.small_tree());
    device.refuses(
        &[OsStr::new("copy"), anna.disc.as_os_str(), OsStr::new("--library"), device.library.as_os_str(), OsStr::new("--again")],
        Code::MediumSpent,
    );
    a_lent_card_gets_nothing(world, device, &anna.disc);
});

// proves: C15
scenario!(c15_a_card_whose_filling_is_cut_off_anywhere_is_filled_by_the_same_command, |world| {
    let (anna, centre) = (Anna::new(world), Centre::new(world));
    anna.lose_card(world);
    // The authority is gone right after its decision, and is back.
    anna.granted(&centre);
    world.kill();
    anna.device.run(["card", "replace"]).failed(3, "");
    world.start();
    // Killed later and later, until it gets to its end.
    let mut cut = 0;
    for late in 0..200 {
        let mut replace = anna.device.command(["card", "replace"]).spawn().expect("started");
        std::thread::park_timeout(Duration::from_millis(late));
        let ended = replace.try_wait().expect("asked").is_some();
        replace.kill().expect("killed");
        replace.wait().expect("gone");
        if ended {
            break;
        }
        cut += 1;
    }
    assert!(cut > 2, "cut off {cut} times");
    anna.device.run(["card", "replace"]).done();
    assert_eq!(grants(&anna.device).len(), 1);
    world.kill();
    anna.device.plays_all("sky-raider", &world.small_tree());
});

// proves: C15
scenario!(c15_the_repair_centre_makes_the_card_and_what_was_bought_stays, |world| {
    let terms = world.path("terms.toml");
    write(&terms, b"devices = 1\n");
    let anna = Anna::new(world);
    world.publish("bought", "1.0.0", &world.small_tree(), &["--entry", "bin/game"]).done();
    let mut edit = world.publisher().command(["title", "edit", "bought", "--on-sale", "--price", "19.99 EUR", "--policy-file"]);
    edit.arg(&terms);
    outcome(edit).done();
    anna.device.run(["buy", "bought", "--yes"]).done();
    let install = [OsStr::new("install"), OsStr::new("bought"), OsStr::new("--library"), anna.device.library.as_os_str()];
    anna.device.run(install).done();
    let centre = Centre::new(world);
    anna.lose_card(world);

    let made = world.path("made-card.json");
    let out = made.to_str().expect("UTF-8");
    let reissue = ["reissue", "--user", &anna.user, "--out", out, "--reason", "broken, at the counter", "--reference", "R-4712"];
    centre.repair(&reissue).failed(1, "nothing was done");
    assert!(!made.exists());
    let yes: Vec<&str> = reissue.iter().copied().chain(["--yes", "--json"]).collect();
    let done = centre.repair(&yes).done().json();
    assert_eq!(done["card"]["added"].as_array().map(Vec::len), Some(2), "{done}");
    // The same once more finds it done.
    assert_eq!(centre.repair(&yes).done().json()["card_id"], done["card_id"]);
    assert_eq!(fs::metadata(&made).map(|file| std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o777).expect("there"), 0o600);

    fs::rename(&made, anna.card()).expect("handed over");
    world.kill();
    for title in ["sky-raider", "bought"] {
        anna.device.plays_all(title, &world.small_tree());
    }
    world.start();
    anna.device.run(["orders"]).done();
    anna.device.run(["card", "recovery-code"]).done();
});

// proves: C15
scenario!(c15_a_declined_request_leaves_the_card_in_use_as_it_is, |world| {
    let (anna, centre) = (Anna::new(world), Centre::new(world));
    let found = anna.lose_card(world);
    anna.replace().refused(Code::ReissueWaiting);
    let waiting = centre.repair(&["requests", "--json"]).done().json();
    let request = waiting["items"][0]["reissue_id"].as_str().expect("one waits").to_owned();
    assert_eq!(waiting["items"][0]["contact"], "by phone", "{waiting}");
    centre.repair(&["decline", "--user", &anna.user, "--request", &request, "--reason", "nobody answers"]).done();
    let declined = anna.device.run(["card", "replace"]).refused(Code::ReissueDeclined);
    assert!(declined.stderr().contains("card.json"), "{declined}");
    // It was found again after all.
    fs::remove_file(anna.card()).expect("the one that was declined");
    fs::rename(&found, anna.card()).expect("put back");
    anna.device.plays_all("sky-raider", &world.small_tree());
    anna.device.run(["card", "collect"]).done();
});
