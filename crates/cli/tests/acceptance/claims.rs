//! One managed copy per medium: what is granted, and what is refused to whom (C7–C13).

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use counterfoil_core::Code;
use counterfoil_format::encoding::{from_base64url, to_base64url};
use serde_json::{Value, json};

use crate::world::{Device, copy_tree, files_below, scenario, write};

fn copy_arguments<'a>(device: &'a Device, medium: &'a Path) -> [&'a OsStr; 4] {
    [OsStr::new("copy"), medium.as_os_str(), OsStr::new("--library"), device.library.as_os_str()]
}

fn play_arguments(device: &Device) -> [&OsStr; 5] {
    [OsStr::new("play"), OsStr::new("sky-raider"), OsStr::new("data/text"), OsStr::new("--library"), device.library.as_os_str()]
}

// proves: C1, C7, C9, C11, C12, B3, B8
scenario!(c7_c11_c12_a_medium_is_claimed_copied_and_played_without_medium_and_network, |world| {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    let copied = anna.run(copy_arguments(&anna, &disc).iter().copied().chain([OsStr::new("--json")])).done().json();
    assert_eq!(copied["titles"][0]["title"], "sky-raider", "{copied}");
    // C11: the content key is gone from the card, and the card says so.
    let card = anna.run(["card", "show", "--json"]).done().json();
    assert_eq!(card["grants"][0]["copy_finished"], true, "{card}");

    let list = anna.run([OsStr::new("list"), OsStr::new("--library"), anna.library.as_os_str(), OsStr::new("--json")]).done().json();
    assert_eq!((&list["titles"][0]["title"], &list["titles"][0]["complete"]), (&"sky-raider".into(), &true.into()), "{list}");
    // C12: as often as the user likes, with neither medium nor network.
    fs::remove_dir_all(&disc).expect("put away");
    world.kill();
    for _ in 0..2 {
        anna.plays_all("sky-raider", &world.small_tree());
    }
});

// proves: C8, C13
scenario!(c8_second_user_with_borrowed_medium_is_refused, |world| {
    let disc = world.discs(1).remove(0);
    let (anna, ben) = (world.person("anna"), world.person("ben"));
    anna.copy(&disc).done();
    ben.refuses(&copy_arguments(&ben, &disc), Code::MediumSpent);
    assert_eq!(grants(&ben), json!([]), "no key was sent");
    anna.plays_all("sky-raider", &world.small_tree());
});

fn grants(device: &Device) -> Value {
    device.run(["card", "show", "--json"]).done().json()["grants"].take()
}

// proves: C8, C13
scenario!(c8_the_same_user_on_a_second_device_is_refused, |world| {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    anna.copy(&disc).done();
    let user = anna.run(["card", "show", "--json"]).done().json()["user_id"].as_str().expect("registered").to_owned();

    let laptop = world.device("annas-laptop");
    write(&laptop.home.join("card.json"), &fs::read(anna.home.join("card.json")).expect("her card"));
    crate::world::set_mode(&laptop.home.join("card.json"), 0o600);
    let register = ["register", "--user", &user, "--library", laptop.library.to_str().expect("UTF-8")];
    laptop.run(register).done();
    laptop.refuses(&copy_arguments(&laptop, &disc), Code::MediumSpent);
});

// proves: C8
scenario!(c8_a_repeat_after_the_copy_is_refused, |world| {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    anna.copy(&disc).done();
    anna.refuses(&copy_arguments(&anna, &disc), Code::MediumSpent);
    anna.plays_all("sky-raider", &world.small_tree());
});

scenario!(a_second_medium_of_the_same_release_keeps_its_copy_unless_told_otherwise, |world| {
    let discs = world.discs(3);
    let (anna, ben) = (world.person("anna"), world.person("ben"));
    anna.copy(&discs[0]).done();
    let refused = anna.run(copy_arguments(&anna, &discs[1]).iter().copied().chain([OsStr::new("--json")]));
    assert_eq!((refused.output.status.code(), &refused.json()["error"]["code"]), (Some(1), &json!("present")), "{refused}");
    // Nothing was used up: it is Ben's to copy.
    ben.copy(&discs[1]).done();

    anna.run(copy_arguments(&anna, &discs[2]).iter().copied().chain([OsStr::new("--again")])).done();
    ben.refuses(&copy_arguments(&ben, &discs[2]).into_iter().chain([OsStr::new("--again")]).collect::<Vec<_>>(), Code::MediumSpent);
    anna.plays_all("sky-raider", &world.small_tree());
});

// proves: C8
scenario!(c8_a_cloned_medium_counts_as_the_medium, |world| {
    let disc = world.discs(1).remove(0);
    let clone = world.path("clone");
    copy_tree(&disc, &clone);
    let (anna, ben) = (world.person("anna"), world.person("ben"));
    ben.copy(&clone).done();
    anna.refuses(&copy_arguments(&anna, &disc), Code::MediumSpent);
});

// proves: C7, C8
scenario!(c8_as_many_copies_as_the_rights_say_and_no_more, |world| {
    world.publish("sky-raider", "1.0.0", &world.small_tree(), &[]).done();
    let out = world.path("two");
    let mut press = world.publisher().command(["press", "--title", "sky-raider", "--count", "1", "--copies", "2", "--out"]);
    press.arg(&out);
    crate::world::outcome(press).done();
    let disc = out.join("0001");
    for name in ["anna", "ben"] {
        world.person(name).copy(&disc).done();
    }
    let cleo = world.person("cleo");
    cleo.refuses(&copy_arguments(&cleo, &disc), Code::MediumSpent);
});

/// Puts a copy of somebody's card into somebody's hands.
fn lend_card(from: &Device, to: &Device) -> String {
    let lent = to.home.join("lent-card");
    write(&lent, &fs::read(from.home.join("card.json")).expect("a card"));
    crate::world::set_mode(&lent, 0o600);
    lent.to_str().expect("UTF-8").to_owned()
}

// proves: C13
scenario!(c13_a_lent_card_on_another_device_claims_nothing, |world| {
    let disc = world.discs(1).remove(0);
    let (anna, ben) = (world.person("anna"), world.person("ben"));
    let card = lend_card(&anna, &ben);
    let mut arguments = copy_arguments(&ben, &disc).to_vec();
    arguments.extend([OsStr::new("--card"), OsStr::new(&card)]);
    let json = ben.run(arguments.iter().copied().chain([OsStr::new("--json")]));
    let code = json.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
    assert!(json.output.status.code() == Some(1) && ["device_not_registered", "user_invalid"].contains(&code.as_str()), "{json}");
    assert!(!ben.library.join("titles/sky-raider").exists(), "something was written");
    anna.copy(&disc).done();
});

// proves: C12, C13
scenario!(c13_a_lent_card_with_its_drive_does_not_play_on_another_device, |world| {
    let disc = world.discs(1).remove(0);
    let (anna, ben) = (world.person("anna"), world.person("ben"));
    anna.copy(&disc).done();
    // Her drive in his computer: the drive ID is right, the device ID is not.
    let card = lend_card(&anna, &ben);
    let plugged = Device { library: anna.library.clone(), ..ben.clone() };
    plugged.set_hardware("ben's computer", "anna's drive");
    let mut arguments = play_arguments(&plugged).to_vec();
    arguments.extend([OsStr::new("--card"), OsStr::new(&card)]);
    plugged.refuses(&arguments, Code::PlayNotPermitted);
    // Even if his computer says it were hers, it lacks the secret that her computer made.
    plugged.set_hardware("anna's computer", "anna's drive");
    plugged.refuses(&arguments, Code::PlayNotPermitted);
});

// proves: C12, C13
scenario!(c13_a_cloned_library_does_not_play_from_another_drive, |world| {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    anna.copy(&disc).done();
    let clone = Device { library: world.path("clone"), ..anna.clone() };
    copy_tree(&anna.library, &clone.library);
    clone.set_hardware("anna's computer", "another drive");
    clone.refuses(&play_arguments(&clone), Code::PlayNotPermitted);
    // The one who owns it still plays the original.
    anna.set_hardware("anna's computer", "anna's drive");
    anna.plays_all("sky-raider", &world.small_tree());
});

// proves: C13
scenario!(c13_a_library_without_its_card_does_not_play, |world| {
    let disc = world.discs(1).remove(0);
    let (anna, ben) = (world.person("anna"), world.person("ben"));
    anna.copy(&disc).done();
    let stolen = Device { library: anna.library.clone(), ..ben };
    stolen.refuses(&play_arguments(&stolen), Code::PlayNotPermitted);
});

/// Changes what an identity area says.
fn edit(disc: &Path, change: impl Fn(&mut Value, &mut Value)) {
    let path = disc.join("identity.json");
    let mut area: Value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
    let signed = area["identity"].as_str().expect("a JWS").to_owned();
    let mut parts: Vec<String> = signed.split('.').map(str::to_owned).collect();
    let mut claims: Value = serde_json::from_slice(&from_base64url(&parts[1]).expect("base64url")).expect("JSON");
    change(&mut area, &mut claims);
    parts[1] = to_base64url(claims.to_string().as_bytes());
    if area["identity"] == signed.as_str() {
        area["identity"] = json!(parts.join("."));
    }
    fs::remove_file(&path).expect("not the file that other media share");
    fs::write(&path, area.to_string()).expect("written");
}

// proves: A1, C8
scenario!(a1_an_edited_or_guessed_identity_is_an_unknown_medium, |world| {
    let discs = world.discs(4);
    let anna = world.person("anna");
    let other: Value = serde_json::from_slice(&fs::read(discs[3].join("identity.json")).expect("there")).expect("JSON");
    edit(&discs[0], |_, claims| claims["rights"]["copies"] = json!(1000));
    // The number of another medium of the batch, guessed.
    edit(&discs[1], |_, claims| claims["serial"] = json!(4));
    // A signed identity, but not the secret that goes with it.
    edit(&discs[2], |area, _| area["identity"] = other["identity"].clone());
    for disc in &discs[..3] {
        anna.refuses(&copy_arguments(&anna, disc), Code::MediumUnknown);
    }
    let offline = [OsStr::new("inspect"), OsStr::new("--offline"), discs[0].as_os_str()];
    anna.refuses(&offline, Code::MediumUnknown);
    // None of that claimed the medium that was guessed.
    anna.copy(&discs[3]).done();
});

// proves: B2
scenario!(b2_rights_on_the_medium_that_were_ended_are_refused, |world| {
    world.publish("sky-raider", "1.0.0", &world.small_tree(), &[]).done();
    let out = world.path("expired");
    let rights = ["--right", "expires=2020-01-01", "--right", "region=eu"];
    let mut press = world.publisher().command(["press", "--title", "sky-raider", "--count", "1"]);
    press.args(rights).arg("--out").arg(&out);
    crate::world::outcome(press).done();
    let disc = out.join("0001");
    let anna = world.person("anna");
    let shown = anna.run([OsStr::new("inspect"), disc.as_os_str(), OsStr::new("--offline")]).done().stdout();
    assert!(shown.contains("region=eu") && shown.contains("2020-01-01"), "{shown}");
    anna.refuses(&copy_arguments(&anna, &disc), Code::RightMissing);
});

// proves: C8
scenario!(c8_a_retired_medium_is_refused, |world| {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    let shown = anna.run([OsStr::new("inspect"), disc.as_os_str(), OsStr::new("--offline"), OsStr::new("--json")]).done().json();
    let medium = shown["identity"]["medium_id"].as_str().expect("an ID");
    let (status, answer) = world.api("POST", &format!("/v1/media/{medium}/retire"), Some(json!({ "reason": "recalled" })));
    assert!((200..300).contains(&status), "{status} {answer}");
    anna.refuses(&copy_arguments(&anna, &disc), Code::MediumRetired);
});

// proves: C2, C7
scenario!(c2_no_key_and_no_plaintext_lies_anywhere_in_plain, |world| {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    anna.copy(&disc).done();
    anna.plays_all("sky-raider", &world.small_tree());
    let everywhere = crate::world::files_with(world.root(), crate::world::CANARY);
    assert!(everywhere.iter().all(|path| path.starts_with(world.small_tree())), "plaintext in {everywhere:?}");
    assert!(everywhere.len() == 1 && files_below(&anna.library).len() >= 3, "the search must have something to find");
    // The card's and the device's seeds are in their own files and nowhere else.
    let card: Value = serde_json::from_slice(&fs::read(anna.home.join("card.json")).expect("the card")).expect("JSON");
    let seeds = find_strings(&card, "seed");
    assert!(!seeds.is_empty(), "the card file has seeds: {:?}", card.as_object().map(|card| card.keys().collect::<Vec<_>>()));
    for seed in seeds {
        let found = crate::world::files_with(world.root(), seed.as_bytes());
        assert_eq!(found, [anna.home.join("card.json")]);
    }
});

/// Every text whose name ends so, at any depth.
fn find_strings(value: &Value, suffix: &str) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value {
                Value::String(text) if name.ends_with(suffix) => vec![text.clone()],
                other => find_strings(other, suffix),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(|item| find_strings(item, suffix)).collect(),
        _ => Vec::new(),
    }
}
