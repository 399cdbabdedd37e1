//! Who is registered, and who is not (C2–C6).

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;

use counterfoil_core::Code;

use crate::world::{Device, Engine, World, scenario};

fn register<'a>(device: &'a Device, more: &'a [&'a str]) -> Vec<&'a OsStr> {
    let mut arguments = vec![OsStr::new("register"), OsStr::new("--library"), device.library.as_os_str()];
    arguments.extend(more.iter().map(OsStr::new));
    arguments
}

// proves: C2, C3
scenario!(c2_c3_a_card_is_made_shown_and_registered, |world| {
    let anna = world.device("anna");
    let made = anna.run(["card", "new", "--json"]).done().json();
    let card_id = made["card_id"].as_str().expect("its ID is shown").to_owned();
    let file = anna.home.join("card.json");
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    anna.run(["card", "new"]).failed(if cfg!(unix) { 3 } else { 1 }, "");

    let arguments = register(&anna, &["--json"]);
    let registered = anna.run(&arguments).done().json();
    assert_eq!(registered["card_id"], card_id.as_str());
    let user = registered["user_id"].as_str().expect("a user ID");
    let shown = anna.run(["card", "show", "--json"]).done().json();
    assert_eq!((shown["card_id"].as_str(), shown["user_id"].as_str()), (Some(card_id.as_str()), Some(user)));
    // Registering again is the same registration.
    assert_eq!(anna.run(&arguments).done().json()["user_id"], user);
});

/// What the operator demands is demanded: C4 and C5 by policy.
fn with_policy(key: &str, check: impl Fn(&World)) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        check(&World::with_settings(engine, &[(&format!("COUNTERFOILD__REGISTRATION__{key}"), "true")]));
    }
}

// proves: C4
#[test]
fn c4_a_card_that_the_operator_has_not_issued_is_refused() {
    with_policy("ISSUED_CARDS_ONLY", |world| {
        let anna = world.device("anna");
        let made = anna.run(["card", "new", "--json"]).done().json();
        anna.refuses(&register(&anna, &[]), Code::CardUnknown);
        let card = serde_json::json!({ "card_id": made["card_id"] });
        let (status, answer) = world.api("POST", "/v1/cards", Some(serde_json::json!({ "cards": [card] })));
        assert!((200..300).contains(&status), "{status} {answer}");
        anna.run(register(&anna, &[])).done();
    });
}

// proves: C4
scenario!(c4_a_revoked_card_is_dead, |world| {
    let anna = world.person("anna");
    let card = anna.run(["card", "show", "--json"]).done().json()["card_id"].as_str().expect("an ID").to_owned();
    let reason = serde_json::json!({ "reason": "lost" });
    let (status, answer) = world.api("POST", &format!("/v1/cards/{card}/revoke"), Some(reason));
    assert!((200..300).contains(&status), "{status} {answer}");
    anna.refuses(&register(&anna, &[]), Code::CardUnknown);
});

// proves: C5
#[test]
fn c5_the_operator_can_demand_a_card() {
    with_policy("REQUIRE_CARD", |world| {
        let anna = world.device("anna");
        anna.refuses(&register(&anna, &["--no-card"]), Code::RegistrationNotAllowed);
        anna.run(["card", "new"]).done();
        anna.run(register(&anna, &[])).done();
    });
}

// proves: C5
scenario!(c5_every_combination_registers_copies_and_plays, |world| {
    let combinations: [(&str, &[&str]); 7] = [
        ("card", &["--no-device", "--no-drive"]),
        ("device", &["--no-card", "--no-drive"]),
        ("drive", &["--no-card", "--no-device"]),
        ("card-device", &["--no-drive"]),
        ("card-drive", &["--no-device"]),
        ("device-drive", &["--no-card"]),
        ("all", &[]),
    ];
    let discs = world.discs(combinations.len());
    for ((name, without), disc) in combinations.iter().zip(&discs) {
        let person = world.device(name);
        let no_card = without.contains(&"--no-card");
        if !no_card {
            person.run(["card", "new"]).done();
        }
        person.run(register(&person, without)).done();
        let card: &[&str] = if no_card { &["--no-card"] } else { &[] };
        let mut copy = person.command(["copy", "--library"]);
        copy.arg(&person.library).arg(disc).args(card);
        crate::world::outcome(copy).done();
        let mut play = person.command(["play", "sky-raider", "data/text", "--library"]);
        play.arg(&person.library).args(card);
        assert!(crate::world::outcome(play).done().stdout().starts_with("the canary"), "{name}");
    }
});

// proves: C5
scenario!(c5_a_typed_id_that_contradicts_the_hardware_is_refused, |world| {
    let anna = world.device("anna");
    anna.run(["card", "new"]).done();
    let other = counterfoil_core::DeviceId::from_bytes([7; 16]).to_string();
    anna.run(register(&anna, &["--device", &other])).failed(3, "is not this device's");
    // A typing error is told from an ID that is another's.
    let mistyped = if other.ends_with('0') { format!("{}1", &other[..other.len() - 1]) } else { format!("{}0", &other[..other.len() - 1]) };
    let outcome = anna.run(register(&anna, &["--device", &mistyped]));
    assert_eq!(outcome.output.status.code(), Some(2), "{outcome}");
    assert!(outcome.stderr().contains("check characters"), "{outcome}");
});

// proves: C6
scenario!(c6_the_user_id_of_someone_else_is_refused, |world| {
    let anna = world.person("anna");
    let user = anna.run(["card", "show", "--json"]).done().json()["user_id"].as_str().expect("registered").to_owned();
    let ben = world.person("ben");
    ben.refuses(&register(&ben, &["--user", &user]), Code::UserInvalid);
    let cleo = world.device("cleo");
    cleo.run(["card", "new"]).done();
    cleo.refuses(&register(&cleo, &["--user", &user]), Code::UserInvalid);
});

// proves: C6
scenario!(c6_a_claim_without_registration_is_refused, |world| {
    let disc = world.discs(1).remove(0);
    let ben = world.device("ben");
    ben.run(["card", "new"]).done();
    ben.refuses(&[OsStr::new("copy"), disc.as_os_str(), OsStr::new("--library"), ben.library.as_os_str()], Code::UserInvalid);
    // Nothing was claimed by that.
    let anna = world.person("anna");
    anna.copy(&disc).done();
});

// proves: A7, A11, A1, A3
scenario!(a1_a3_a7_a11_inspect_gives_the_verdict_on_medium_user_and_device, |world| {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    let disc_text = disc.to_str().expect("UTF-8");
    let before = anna.run(["inspect", disc_text, "--json"]).done().json();
    assert_eq!(before["authority"]["medium"]["copies_left"], 1, "{before}");
    assert_eq!(before["authority"]["medium"]["titles"][0]["title"], "sky-raider");
    assert!(before["authority"]["device"]["id"].as_str().is_some_and(|id| id.starts_with("dev-")), "{before}");

    anna.copy(&disc).done();
    let after = anna.run(["inspect", disc_text, "--json"]).done().json();
    assert_eq!((&after["authority"]["medium"]["copies_left"], &after["authority"]["medium"]["yours"]), (&0.into(), &true.into()));
    // Without a medium: the user and the device alone. What the user owns follows the claim by itself.
    crate::world::wait_until("the title shows in the user's entry", || {
        let alone = anna.run(["inspect", "--json"]).done().json();
        assert_eq!(alone["authority"]["user"]["devices"].as_array().map(Vec::len), Some(1), "{alone}");
        alone["authority"]["user"]["titles"][0]["title"] == "sky-raider"
    });
    // Somebody else sees that it is claimed, and not by whom.
    let ben = world.person("ben").run(["inspect", disc_text, "--json"]).done().json();
    assert_eq!((&ben["authority"]["medium"]["copies_left"], &ben["authority"]["medium"]["yours"]), (&0.into(), &false.into()));
    let user = anna.run(["card", "show", "--json"]).done().json()["user_id"].as_str().expect("registered").to_owned();
    assert!(!ben.to_string().contains(&user));
});
