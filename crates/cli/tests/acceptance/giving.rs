//! Media that are given away (C18): without an identity, or paid for when they are copied at the authority itself; charged once, when the key is
//! delivered.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use counterfoil_core::Code;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::world::{Device, Outcome, World, copy_tree, outcome, scenario};

const TITLE: &str = "sky-raider";
const PREPAID: (&str, &str) = ("COUNTERFOILD__STORE__PAYMENT", "balance");

fn published(world: &World) {
    world.publish(TITLE, "1.0.0", &world.small_tree(), &["--entry", "bin/game", "--kind", "game", "--name", "Sky Raider"]).done();
}

fn on_sale(world: &World, policy: &str) {
    let terms = world.path("terms.toml");
    fs::write(&terms, policy).expect("written");
    let mut edit =
        world.publisher().command(["title", "edit", TITLE, "--on-sale", "--price", "19.99 EUR", "--price", "21.00 USD", "--policy-file"]);
    edit.arg(&terms);
    outcome(edit).done();
}

fn press(world: &World, out: &Path, more: &[&str]) -> Outcome {
    let mut press = world.publisher().command(["press", "--title", TITLE]);
    press.args(more).arg("--out").arg(out);
    outcome(press)
}

fn copy(device: &Device, medium: &Path, more: &[&str]) -> Outcome {
    let mut copy = device.command(["copy"]);
    copy.arg(medium).arg("--library").arg(&device.library).args(more);
    outcome(copy)
}

fn user(device: &Device) -> String {
    device.run(["card", "show", "--json"]).done().json()["user_id"].as_str().expect("registered").to_owned()
}

fn top_up(world: &World, device: &Device, money: &str) {
    let path = format!("/v1/users/{}/balance", user(device));
    let (amount, currency) = money.split_once(' ').expect("money");
    let amount: u64 = amount.replace('.', "").parse().expect("minor units");
    let body = json!({ "amount": amount, "currency": currency, "note": "at the desk" });
    let (status, answer) = world.api("POST", &path, Some(body));
    assert!(status < 300, "{status} {answer}");
}

fn orders(device: &Device) -> Value {
    device.run(["orders", "--json"]).done().json()
}

fn bytes(of: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = crate::world::files_below(of);
    files.into_iter().map(|path| (path.strip_prefix(of).expect("below").to_owned(), fs::read(&path).expect("read"))).collect()
}

// proves: C18
scenario!(c18_a_medium_without_identity_is_everybodys_and_its_key_is_bought_when_it_is_copied, |world| {
    published(world);
    let out = world.path("giveaway");
    // What nobody could buy is not given away.
    press(world, &out, &["--without-identity"]).refused(Code::NotForSale);
    on_sale(world, "devices = 2\n");
    press(world, &out, &["--without-identity", "--count", "2"]).failed(2, "cannot be used with");
    press(world, &out, &["--without-identity", "--as", "identity"]).failed(2, "nothing but content");
    press(world, &out, &["--without-identity"]).done();
    press(world, &out, &["--without-identity", "--as", "iso"]).done();
    let (medium, image) = (out.join("medium"), out.join("medium.iso"));
    // The same bytes whenever and wherever it is pressed.
    let other = world.path("other");
    press(world, &other, &["--without-identity"]).done();
    press(world, &other, &["--without-identity", "--as", "iso"]).done();
    assert_eq!(bytes(&medium), bytes(&other.join("medium")));
    assert!(fs::read(&image).expect("read") == fs::read(other.join("medium.iso")).expect("read"), "two images of one medium differ");

    let stranger = world.device("stranger");
    let shown = outcome({
        let mut inspect = stranger.command(["inspect", "--offline"]);
        inspect.arg(&image);
        inspect
    });
    assert!(shown.done().stdout().contains("without an identity"));
    let anna = world.person("anna");
    let mut inspect = anna.command(["inspect", "--json"]);
    inspect.arg(&medium);
    let seen = outcome(inspect).done().json();
    assert_eq!((&seen["without_identity"], &seen["store"][0]["prices"][0]["amount"]), (&json!(true), &json!(1999)), "{seen}");
    // It proves nothing of itself, so it is not presented, nor brought up to date.
    let mut update = anna.command(["update"]);
    update.arg(&medium);
    outcome(update).failed(3, "medium without an identity");

    // Nobody has agreed, or not to so much.
    copy(&anna, &medium, &["--currency", "EUR"]).failed(1, "nothing was ordered");
    copy(&anna, &medium, &["--yes", "--max-price", "19.98 EUR"]).failed(1, "more than 19.98 EUR");
    assert_eq!(orders(&anna)["orders"], json!([]));
    let copied = copy(&anna, &medium, &["--yes", "--max-price", "20 EUR", "--json"]).done().json();
    assert_eq!((&copied["titles"][0]["downloaded"], &copied["charged"][0]["price"]["amount"]), (&json!(0), &json!(1999)), "{copied}");
    anna.plays_all(TITLE, &world.small_tree());
    // Again, and from the image that somebody passed on: nothing more is charged.
    assert_eq!(copy(&anna, &image, &["--yes", "--json"]).done().json()["charged"], json!([]));
    // Her other device: her license has room for it.
    let laptop = world.device("laptop");
    fs::create_dir_all(&laptop.home).expect("made");
    fs::copy(anna.home.join("card.json"), laptop.home.join("card.json")).expect("her card");
    let mut register = laptop.command(["register", "--user", &user(&anna), "--library"]);
    register.arg(&laptop.library);
    outcome(register).done();
    assert_eq!(copy(&laptop, &medium, &["--yes", "--json"]).done().json()["charged"], json!([]));
    laptop.plays_all(TITLE, &world.small_tree());
    // Somebody else has the same medium, and pays for the key.
    let ben = world.person("ben");
    let given = world.path("bens");
    copy_tree(&medium, &given);
    copy(&ben, &given, &["--yes", "--currency", "USD"]).done();
    assert_eq!(orders(&ben)["orders"][0]["charged"], json!({ "amount": 2100, "currency": "USD" }));
    let (_, due) = world.api("GET", "/v1/orders?state=due", None);
    assert_eq!(due["items"].as_array().map(Vec::len), Some(2), "{due}");
    // Edited, it is nobody's.
    let notice = fs::read_to_string(given.join("notice.json")).expect("a notice");
    fs::write(given.join("notice.json"), notice.replace("\"counterfoil\":1", "\"counterfoil\":2")).expect("written");
    copy(&ben, &given, &["--yes"]).refused(Code::MediumUnknown);
});

// proves: C17, C18
scenario!(c17_c18_a_medium_without_identity_is_sold_through_a_gateway_in_the_currency_that_is_wanted, |world| {
    published(world);
    on_sale(world, "");
    let out = world.path("giveaway");
    press(world, &out, &["--without-identity", "--as", "iso"]).done();
    let engine = crate::gateway::engine_of(world);
    let mut gateway = Gateway::new(world, engine);
    world.publisher().run(["reseller", "price", &gateway.id, TITLE, "10.99 USD"]).done();
    let ada = gateway.customer(world, "ada", "20.00 USD");
    copy(&ada, &out.join("medium.iso"), &["--yes", "--max-price", "10.00 USD"]).refused(Code::ChargeUnconfirmed);
    let copied = copy(&ada, &out.join("medium.iso"), &["--yes", "--max-price", "10.99 USD", "--json"]).done().json();
    let charged = &copied["charged"][0];
    assert_eq!(
        (&charged["by"], &charged["price"]["amount"], &charged["balance"]["amount"]),
        (&json!("gateway"), &json!(1099), &json!(901))
    );
    assert!(charged["exchange"].is_string(), "{charged}");
    ada.plays_all(TITLE, &world.small_tree());
    // A typing error in a voucher is told here, whoever answers.
    gateway.kill();
    let mistyped = ada.run(["account", "voucher", "0000-0000-0000-0000-01"]);
    mistyped.refused(Code::VoucherInvalid);
    gateway.start();
});

// proves: C18
scenario!(c18_a_medium_that_is_paid_for_when_copied_is_charged_by_the_authority_itself, |world| {
    world.kill();
    world.configure(PREPAID.0, PREPAID.1);
    world.start();
    published(world);
    on_sale(world, "");
    let out = world.path("given");
    press(world, &out, &["--paid-on-copy", "--count", "2"]).done();
    let plant = world.path("plant");
    press(world, &plant, &["--paid-on-copy", "--count", "1", "--as", "identity"]).done();
    let anna = world.person("anna");
    copy(&anna, &out.join("0001"), &[]).refused(Code::ChargeUnconfirmed);
    copy(&anna, &out.join("0001"), &["--yes"]).refused(Code::PaymentRefused);
    top_up(world, &anna, "50.00 EUR");
    copy(&anna, &out.join("0001"), &["--yes", "--max-price", "19.98 EUR"]).refused(Code::ChargeUnconfirmed);
    assert_eq!(orders(&anna)["orders"], json!([]));
    // The authority goes away between two commands: the second one goes on.
    world.kill();
    assert_eq!(copy(&anna, &out.join("0001"), &["--yes"]).output.status.code(), Some(3));
    world.start();
    let copied = copy(&anna, &out.join("0001"), &["--yes", "--json"]).done().json();
    let charged = &copied["charged"][0];
    assert_eq!(
        (&charged["by"], &charged["price"]["amount"], &charged["balance"]["amount"]),
        (&json!("authority"), &json!(1999), &json!(3001))
    );
    anna.plays_all(TITLE, &world.small_tree());
    let ordered = orders(&anna);
    assert_eq!((&ordered["orders"][0]["kind"], &ordered["orders"][0]["state"]), (&json!("copy"), &json!("paid")), "{ordered}");
    copy(&anna, &out.join("0001"), &["--yes"]).refused(Code::MediumSpent);

    // A download: the identity by itself, the content from wherever it lies.
    let ben = world.person("ben");
    top_up(world, &ben, "30.00 EUR");
    let download = world.path("download");
    copy_tree(&plant.join("common"), &download);
    fs::copy(plant.join("identities/000/0001.json"), download.join("identity.json")).expect("the identity");
    let copied = copy(&ben, &download, &["--yes", "--max-price", "19.99 EUR", "--json"]).done().json();
    assert_eq!(copied["charged"][0]["balance"]["amount"], json!(1001), "{copied}");
    ben.plays_all(TITLE, &world.small_tree());
    let mut inspect = ben.command([OsStr::new("inspect")]);
    inspect.arg(out.join("0002"));
    assert!(outcome(inspect).done().stdout().contains("19.99 EUR or 21.00 USD, paid for when it is copied"));
});
