//! Titles are bought, tried and given back on the command line; each is charged once, at the price that was shown (D2, D3, C18).

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use counterfoil_core::Code;
use serde_json::{Value, json};

use crate::world::{Device, Engine, Outcome, World, outcome, scenario, write};

const TITLE: &str = "sky-raider";

/// Puts the small title on sale at these prices and under these terms.
fn on_sale(world: &World, prices: &[&str], terms: &str) {
    world.publish(TITLE, "1.0.0", &world.small_tree(), &["--entry", "bin/game", "--kind", "game", "--name", "Sky Raider"]).done();
    list(world, prices, terms);
}

fn list(world: &World, prices: &[&str], terms: &str) {
    let policy = world.path("terms.toml");
    write(&policy, terms.as_bytes());
    let mut edit = world.publisher().command(["title", "edit", TITLE, "--on-sale", "--policy-file"]);
    edit.arg(&policy).args(prices.iter().flat_map(|price| ["--price", price]));
    outcome(edit).done();
}

fn install(device: &Device, from: Option<&Path>) -> Outcome {
    let mut install = device.command(["install", TITLE, "--json", "--library"]);
    install.arg(&device.library);
    if let Some(from) = from {
        install.arg("--from").arg(from);
    }
    outcome(install)
}

fn orders(device: &Device) -> Value {
    device.run(["orders", "--json"]).done().json()
}

// proves: D2, D3
scenario!(d2_d3_a_title_is_bought_once_after_price_and_terms_were_shown, |world| {
    on_sale(world, &["19.99 EUR", "21.00 USD"], "refund_days = 14\ndevices = 1\n");
    let anna = world.person("anna");
    // Nobody is there to say yes.
    let unasked = anna.run(["buy", TITLE, "--currency", "EUR"]).failed(1, "nothing was ordered");
    for part in ["Sky Raider by Acme, for this device: 19.99 EUR", "It runs on one of your devices at a time."] {
        assert!(unasked.stderr().contains(part), "no {part} in {unasked}");
    }
    anna.run(["buy", TITLE, "--yes"]).failed(2, "costs 19.99 EUR or 21.00 USD");
    anna.run(["buy", TITLE, "--yes", "--price-limit", "19.98 EUR"]).failed(1, "19.99 EUR, which is more than 19.98 EUR");
    anna.run(["buy", "no-such-title", "--yes"]).refused(Code::NotForSale);
    anna.run(["buy", TITLE, "--trial", "--yes"]).refused(Code::NotForSale);
    assert_eq!(orders(&anna)["orders"], json!([]));
    assert_eq!(install(&anna, None).json()["error"]["code"], Code::NotEntitled.as_str());

    let bought = anna.run(["buy", TITLE, "--yes", "--price-limit", "20 EUR", "--json"]).done().json();
    assert_eq!(bought["charged"][0]["price"], json!({ "amount": 1999, "currency": "EUR" }));
    let order = bought["order_id"].as_str().expect("an order").to_owned();
    anna.run(["buy", TITLE, "--yes", "--currency", "EUR"]).refused(Code::AlreadyLicensed);
    let shown = anna.run(["orders"]).done().stdout();
    assert!(shown.contains(&order) && shown.contains("Sky Raider (sky-raider), 19.99 EUR, due"), "{shown}");
    install(&anna, None).done();

    // The charge is collected elsewhere, by whoever runs the authority.
    let (_, due) = world.api("GET", "/v1/orders?state=due", None);
    assert_eq!((&due["items"][0]["order_id"], &due["items"][0]["amount"]), (&json!(order), &json!(1999)));
    let user = due["items"][0]["user_id"].as_str().expect("whose").to_owned();
    let (status, paid) = world.api("POST", &format!("/v1/users/{user}/orders/{order}/paid"), Some(json!({})));
    assert_eq!((status, &paid["state"]), (200, &json!("paid")));

    // Given back, it has ended, and runs no more.
    anna.run(["refund", &order]).failed(1, "nothing was given back");
    let back = anna.run(["refund", &order, "--yes"]).done().stdout();
    assert!(back.contains("1 license has ended"), "{back}");
    assert_eq!(orders(&anna)["orders"][0]["state"], "ended");
    anna.run(["refund", &order, "--yes"]).refused(Code::RefundNotAllowed);
    let mut run = anna.command(["run", TITLE, "--library"]);
    run.arg(&anna.library);
    outcome(run).refused(Code::LicenseEnded);
});

// proves: D3
scenario!(d3_only_a_user_and_a_device_that_are_registered_together_buy, |world| {
    on_sale(world, &["19.99 EUR"], "");
    let anna = world.person("anna");
    let stranger = world.device("ben");
    stranger.run(["card", "new"]).done();
    stranger.refuses(&["buy", TITLE, "--yes"], Code::UserInvalid);
    // Her card in his computer, which was never registered for her.
    let cleo = world.person("cleo");
    fs::copy(anna.home.join("card.json"), cleo.home.join("card.json")).expect("lent");
    cleo.refuses(&["buy", TITLE, "--yes"], Code::DeviceNotRegistered);
    // Another computer than the one that was registered.
    anna.set_hardware("another computer", "anna's drive");
    anna.refuses(&["buy", TITLE, "--yes"], Code::DeviceNotRegistered);
    let (_, all) = world.api("GET", "/v1/orders", None);
    assert_eq!(all["items"], json!([]));
});

// proves: D3
#[test]
fn d3_what_was_paid_in_advance_is_charged_and_given_back() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let world = World::with_settings(engine, &[("COUNTERFOILD__STORE__PAYMENT", "balance")]);
        on_sale(&world, &["19.99 EUR"], "trial_days = 7\n");
        let anna = world.person("anna");
        anna.run(["buy", TITLE, "--trial", "--yes"]).done();
        anna.refuses(&["buy", TITLE, "--trial", "--yes"], Code::TrialUsed);
        anna.refuses(&["buy", TITLE, "--yes"], Code::PaymentRefused);
        let user = anna.run(["card", "show", "--json"]).done().json()["user_id"].as_str().expect("registered").to_owned();
        let (status, topped) = world.api("POST", &format!("/v1/users/{user}/balance"), Some(json!({ "amount": 2000, "currency": "EUR" })));
        assert_eq!(status, 200, "{topped}");
        let order = anna.run(["buy", TITLE, "--yes", "--json"]).done().json()["order_id"].as_str().expect("an order").to_owned();
        assert_eq!(orders(&anna)["balance"], json!([{ "amount": 1, "currency": "EUR" }]));
        install(&anna, None).done();
        let back = anna.run(["refund", &order, "--yes"]).done().stdout();
        assert!(back.contains("19.99 EUR is on your balance again"), "{back}");
        assert_eq!(orders(&anna)["balance"], json!([{ "amount": 2000, "currency": "EUR" }]));
    }
}

// proves: C18
scenario!(c18_content_is_carried_free_of_charge_and_charged_when_the_key_is_delivered, |world| {
    on_sale(world, &["19.99 EUR"], "");
    // Anybody may have the content: as a file from a friend, and on a medium that has lost its identity.
    let friend = world.device("friend");
    let file = world.path("sky-raider.cfoil");
    let mut download = friend.command(["download", TITLE, "--file"]);
    download.arg(&file);
    outcome(download).done();
    let disc = world.press(TITLE, 1).remove(0);
    fs::remove_file(disc.join("identity.json")).expect("an identity area");
    for (name, from) in [("anna", &file), ("ben", &disc)] {
        let person = world.person(name);
        let refused = install(&person, Some(from));
        assert_eq!((refused.output.status.code(), &refused.json()["error"]["code"]), (Some(1), &json!("not_entitled")), "{refused}");
        person.run(["buy", TITLE, "--yes"]).done();
        let installed = install(&person, Some(from)).done().json();
        assert_eq!(installed["downloaded"], 0, "{installed}");
        let played = person.run([
            OsStr::new("play"),
            OsStr::new(TITLE),
            OsStr::new("data/text"),
            OsStr::new("--library"),
            person.library.as_os_str(),
        ]);
        assert!(played.done().stdout().starts_with("the canary"), "{name}");
    }
    let (_, due) = world.api("GET", "/v1/orders?state=due", None);
    assert_eq!(due["items"].as_array().map(Vec::len), Some(2), "each charged once: {due}");
});
