//! Paying by card, through the real programs (C17): terminal, gateway, authority, and a payment provider that behaves as Stripe's published API does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{Gateway, TITLE, copy, engine_of, holds};
use crate::world::{Device, World, scenario, wait_until};

/// The example's process.
struct Provider {
    process: Child,
    told: Value,
}

impl Provider {
    fn start(world: &World) -> Self {
        let path = Path::new(env!("CARGO_BIN_EXE_counterfoil")).with_file_name("payment-provider");
        assert!(path.exists(), "{} is missing: run `cargo build -p payment-provider` first", path.display());
        let ready = world.path("provider.json");
        let process =
            Command::new(path).arg("--ready-file").arg(&ready).stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
        wait_until("the provider is ready", || fs::read(&ready).is_ok_and(|text| serde_json::from_slice::<Value>(&text).is_ok()));
        let told = serde_json::from_slice(&fs::read(&ready).expect("ready")).expect("JSON");
        Self { process, told }
    }

    fn control(&self, what: &str, body: &Value) -> Value {
        let url = format!("{}/control/{what}", self.told["url"].as_str().expect("an address"));
        let text = ureq::post(&url).send(body.to_string()).expect("answered").body_mut().read_to_string().expect("read");
        serde_json::from_str(&text).expect("JSON")
    }

    /// How much was taken from cards, in minor units.
    fn taken(&self) -> i64 {
        let intents = self.control("intents", &json!({}));
        intents.as_object().expect("by name").values().map(|intent| intent["amount_received"].as_i64().expect("a number")).sum()
    }

    fn configure(&self, gateway: &Gateway) {
        let told = |name: &str| self.told[name].as_str().expect("told").to_owned();
        for (file, secret) in [("stripe-secret-key", "secret_key"), ("stripe-webhook-secret", "webhook_secret")] {
            let file = gateway.data.join(file);
            fs::write(&file, told(secret)).expect("written");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its own");
        }
        let path = gateway.data.join("gateway.toml");
        let text = fs::read_to_string(&path).expect("a configuration");
        let text = text
            .replace("# secret_key_file =", "secret_key_file =")
            .replace("# webhook_secret_file =", "webhook_secret_file =")
            .replace("publishable_key = \"\"", &format!("publishable_key = \"{}\"", told("publishable_key")))
            .replace("https://api.stripe.com", &told("url"))
            .replace("https://js.stripe.com/v3/", &told("script_url"));
        fs::write(&path, text).expect("written");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Somebody opens the page and enters a card.
fn enter_card(gateway: &Gateway, provider: &Provider, payment: &str, number: &str) -> Value {
    let all = gateway.run(["payments", "--json"]).done().json();
    let all = all["payments"].as_array().expect("a list");
    let intent = all.iter().find(|one| one["payment"] == payment).expect("listed")["intent"].clone();
    provider.control("pay", &json!({ "payment_intent": intent, "number": number }))
}

fn paid(gateway: &Gateway, state: &str) -> usize {
    let all = gateway.run(["payments", "--json"]).done().json();
    all["payments"].as_array().expect("a list").iter().filter(|one| one["state"] == state).count()
}

fn begin(ada: &Device) -> String {
    let begun = ada.run(["account", "top-up", "5.00 EUR", "--keep-card", "--no-wait", "--json"]).done().json();
    assert_eq!(begun["state"], "waiting", "{begun}");
    begun["payment"].as_str().expect("an ID").to_owned()
}

// proves: C17
scenario!(c17_a_card_pays_in_and_pays_the_rest_of_a_price_whatever_is_killed, |world| {
    let tree = world.small_tree();
    world.publish(TITLE, "1.0.0", &tree, &["--entry", "bin/game", "--kind", "game"]).done();
    let out = world.path("given");
    let mut press = world.publisher().command(["press", "--title", TITLE, "--count", "2", "--paid-on-copy", "--out"]);
    press.arg(&out);
    crate::world::outcome(press).done();
    let engine = engine_of(world);
    let mut gateway = Gateway::new(world, engine);
    let provider = Provider::start(world);
    let ada = gateway.customer(world, "ada", "1.00 EUR");
    // Without a provider, no card is taken.
    assert!(!ada.run(["account", "top-up", "5.00 EUR", "--no-wait"]).output.status.success());
    gateway.kill();
    provider.configure(&gateway);
    gateway.start();

    let payment = begin(&ada);
    assert_eq!(enter_card(&gateway, &provider, &payment, "4000000000000002")["error"]["code"], "card_declined");
    assert_eq!(enter_card(&gateway, &provider, &payment, "4242424242424242")["status"], "succeeded");
    // The gateway is gone when it is paid: it learns of it when it is back, with nobody asking.
    gateway.kill();
    gateway.start();
    wait_until("the money is booked", || paid(&gateway, "succeeded") == 1);
    assert_eq!(holds(&ada), 600);
    let cards = ada.run(["account", "cards", "--json"]).done().json();
    assert_eq!((&cards["cards"][0]["brand"], &cards["cards"][0]["last4"]), (&json!("visa"), &json!("4242")));

    // The provider does what it is asked and its answers get lost; then both processes are killed before the rest is taken.
    provider.control("faults", &json!({ "kind": "cut_after", "path": "POST /v1/payment_intents", "times": 1 }));
    assert_eq!(copy(&ada, &out.join("0001"), &["--yes"]).output.status.code(), Some(3));
    assert_eq!(holds(&ada), 600);
    provider.control("faults", &json!({ "kind": "error500", "path": "/capture", "times": 3 }));
    copy(&ada, &out.join("0001"), &["--yes"]).done();
    gateway.kill();
    world.kill();
    gateway.start();
    world.start();
    wait_until("the rest is taken", || paid(&gateway, "succeeded") == 2);
    ada.plays_all(TITLE, &tree);
    assert_eq!((holds(&ada), provider.taken()), (0, 500 + 399));
    // Removed, it pays for nothing.
    let card = cards["cards"][0]["card"].as_str().expect("a name").to_owned();
    ada.run(["account", "cards", "--remove", &card]).done();
    copy(&ada, &out.join("0002"), &["--yes", "--again"]).refused(counterfoil_core::Code::PaymentRefused);
    // The money that was only on the account goes back to the card.
    let second = begin(&ada);
    assert_eq!(enter_card(&gateway, &provider, &second, "5555555555554444")["status"], "succeeded");
    wait_until("the money is booked", || paid(&gateway, "succeeded") == 3);
    gateway.run(["repay", &second]).done();
    assert_eq!(holds(&ada), 0);
    gateway.agrees(world, 1, 700, 299);
});
