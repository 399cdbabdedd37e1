//! Resellers as their operators see them (C16, C17): terms, prices and tokens; what the doctor finds; months that both sides settle alike; what the bank
//! takes back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use counterfoil_core::Code;
use serde_json::{Value, json};

use crate::gateway::{Gateway, TITLE, copy, engine_of, holds, period};
use crate::world::{Outcome, World, counterfoild, outcome, outcome_of, scenario};

impl Gateway {
    /// A command at another time than now.
    fn run_at(&self, shift: &str, arguments: &[&str]) -> Outcome {
        let mut command = Command::new("faketime");
        command.args(["-f", shift]).arg(counterfoild()).arg("gateway").args(arguments).arg("--data").arg(&self.data);
        outcome(command)
    }

    /// Whether the doctor finds it, says so, and how the command ends.
    #[track_caller]
    fn doctor_says(&self, shift: &str, status: i32, words: &[&str]) {
        let said = self.run_at(shift, &["doctor"]);
        assert_eq!(said.output.status.code(), Some(status), "{said}");
        for words in words {
            assert!(said.stdout().contains(words), "no {words:?} in {said}");
        }
    }

    fn configured(&self) -> PathBuf {
        self.data.join("gateway.toml")
    }
}

/// Discs that are paid for when they are copied.
fn given(world: &World, count: &str) -> PathBuf {
    let tree = world.small_tree();
    world.publish(TITLE, "1.0.0", &tree, &["--entry", "bin/game", "--kind", "game"]).done();
    let out = world.path("given");
    let mut press = world.publisher().command(["press", "--title", TITLE, "--count", count, "--paid-on-copy", "--out"]);
    press.arg(&out);
    outcome(press).done();
    out
}

// proves: C16, C17
scenario!(c17_a_reseller_is_managed_from_the_command_line, |world| {
    given(world, "1");
    let engine = engine_of(world);
    let mut gateway = Gateway::stranger(world, engine);
    let clerk = world.publisher();
    let id = gateway.id.clone();
    let shown = |arguments: &[&str]| clerk.run(arguments.iter().copied().chain(["--json"])).done().json();

    assert_eq!(shown(&["reseller", "list"])["items"][0]["gateway"], json!(id));
    clerk.run(["reseller", "price", &id, TITLE, "11.50 USD"]).done();
    let prices = shown(&["reseller", "price", &id]);
    let of = |prices: &Value| prices["items"].as_array().expect("a list").iter().map(|one| one["currency"].clone()).collect::<Vec<_>>();
    assert_eq!(of(&prices), ["EUR", "USD"]);
    assert_eq!(of(&shown(&["reseller", "price", &id, "--currency", "USD"])), ["USD"]);
    clerk.run(["reseller", "price", &id, TITLE, "--remove", "--currency", "USD"]).done();
    assert_eq!(of(&shown(&["reseller", "price", &id, TITLE])), ["EUR"]);
    assert!(clerk.run(["reseller", "price", &id, TITLE]).done().stdout().contains("9.99 EUR"));

    // A share from now on, and one from a day on.
    clerk.run(["reseller", "terms", &id, "--share", "35"]).done();
    clerk.run(["reseller", "terms", &id, "--share", "40", "--from", "2099-01-01"]).done();
    clerk.run(["reseller", "terms", &id, "--share", "45", "--from", "2020-01-01"]).failed(1, "has passed");
    clerk.run(["reseller", "terms", &id, "--share", "45", "--from", "soon"]).failed(2, "2026-12-01");
    let terms = shown(&["reseller", "terms", &id]);
    let shares: Vec<_> = terms["items"].as_array().expect("a list").iter().map(|one| one["share"].as_i64().expect("a share")).collect();
    assert_eq!(shares, [3000, 3500, 4000]);
    let show = clerk.run(["reseller", "show", &id]).done().stdout();
    assert!(show.contains("share 35.00 %") && show.contains("40.00 % since 2099-01-01"), "{show}");

    // A token is good once, and is read from where nobody else sees it.
    let token = gateway.token(world);
    let file = world.path("token.txt");
    fs::write(&file, format!("{token}\n")).expect("written");
    gateway.run(["enrol"]).failed(2, "TOKEN");
    outcome_of(&mut gateway.command(["enrol", "-"]), "no token").failed(2, "no token of enrolment");
    let by_file = |file: &Path| outcome(gateway.command(["enrol", "--token-file", file.to_str().expect("a readable path")]));
    by_file(&world.path("nothing")).failed(3, "nothing");
    by_file(&file).done();
    // Cut off before it has said so, it is repeated, and is the same enrolment.
    by_file(&file).done();
    // With a key of its own somebody else gets nothing by it.
    fs::remove_file(gateway.data.join("identity.json")).expect("removed");
    by_file(&file).failed(1, "was used");
    outcome_of(&mut gateway.command(["enrol", "-"]), &gateway.token(world)).done();
    gateway.start();
    assert!(shown(&["reseller", "show", &id])["gateway"]["certificate_until"].is_string());
    gateway.doctor_says("+0", 0, &["good     configuration", "good     certificate", "answers"]);

    clerk.run(["reseller", "end", &id]).failed(1, "nothing was done");
    clerk.run(["reseller", "end", &id, "--yes"]).done();
    gateway.doctor_says("+0", 3, &["WRONG", "whether this gateway has ended"]);
    // A token that is made from then on lets it in again.
    outcome_of(&mut gateway.command(["enrol", "-"]), &gateway.token(world)).done();
    gateway.doctor_says("+0", 0, &["good     authority"]);
});

// proves: C16
scenario!(c16_the_doctor_of_a_gateway_says_what_is_wrong_and_what_to_do, |world| {
    let out = given(world, "1");
    let engine = engine_of(world);
    let mut gateway = Gateway::stranger(world, engine);
    gateway.doctor_says("+0", 3, &["identity.json is not there", "gateway enrol", "not enrolled"]);
    outcome_of(&mut gateway.command(["enrol", "-"]), &gateway.token(world)).done();
    gateway.doctor_says("+0", 0, &["for this machine only"]);
    let identity = gateway.data.join("identity.json");
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o644)).expect("changed");
    gateway.doctor_says("+0", 3, &["can be read by others", "chmod 600"]);
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).expect("changed");
    // Nobody looks after the certificate; then it has ended.
    gateway.doctor_says("+22d", 0, &["warning  certificate", "It is not being renewed"]);
    gateway.doctor_says("+31d", 3, &["WRONG    certificate", "it has ended", "gateway enrol"]);

    let good = fs::read_to_string(gateway.configured()).expect("a configuration");
    let listens = good.lines().find(|line| line.trim_start().starts_with("listen")).expect("where it listens");
    fs::write(gateway.configured(), good.replace(listens, "listen = \"0.0.0.0:0\"")).expect("written");
    gateway.doctor_says("+0", 0, &["warning  address", "public_urls"]);
    fs::write(gateway.configured(), good.replace("gateway.db", "elsewhere/gateway.db").replace("dbname=", "dbname=no_")).expect("written");
    if engine_of(world) == crate::world::Engine::Sqlite {
        gateway.doctor_says("+0", 3, &["WRONG    database", "gateway migrate"]);
    }
    fs::write(gateway.configured(), &good).expect("written");

    // The authority is gone.
    gateway.start();
    let ada = gateway.customer(world, "ada", "20.00 EUR");
    copy(&ada, &out.join("0001"), &[]).refused(Code::ChargeUnconfirmed);
    world.kill();
    assert_eq!(copy(&ada, &out.join("0001"), &["--yes"]).output.status.code(), Some(3));
    gateway.doctor_says("+0", 3, &["WRONG    authority", "[gateways] listen", "0 on their way"]);
    world.start();
});

// proves: C17
scenario!(c17_both_sides_settle_a_month_in_the_same_bytes_and_the_bank_takes_back_what_it_paid_for, |world| {
    let out = given(world, "3");
    let engine = engine_of(world);
    let mut gateway = Gateway::new(world, engine);
    let ada = gateway.customer(world, "ada", "5.00 EUR");
    let card = gateway.run(["top-up", "ada", "30.00 EUR", "--fee", "0.60 EUR", "--json"]).done().json();
    for disc in ["0001", "0002"] {
        copy(&ada, &out.join(disc), &["--yes", "--again"]).done();
    }
    world.publisher().run(["reseller", "terms", &gateway.id, "--share", "50"]).done();
    copy(&ada, &out.join("0003"), &["--yes", "--again"]).done();
    assert_eq!(holds(&ada), 3500 - 3 * 999);
    // 999 each: twice 30 %, once 50 %, rounded down for the gateway.
    gateway.agrees(world, 3, 700 + 700 + 500, 299 + 299 + 499);

    // The bank takes the second top-up back: what it has paid for ends, on both sides.
    let posting = card["posting"].as_str().expect("a posting");
    let ended = gateway.run(["chargeback", posting, "--fee", "15.00 EUR", "--json"]).done().json();
    assert_eq!(ended["ended"].as_array().map(Vec::len), Some(3), "{ended}");
    let states = gateway.run(["exchanges", "--json"]).done().json();
    assert!(states.as_array().expect("a list").iter().all(|one| one["state"] == "undone"), "{states}");
    assert!(gateway.run(["books", "--check"]).done().stdout().contains("nothing is wrong"));
    assert!(holds(&ada) >= 0 && holds(&ada) <= 500, "what she paid with something else is hers: {}", holds(&ada));
    gateway.run(["chargeback", posting]).done();
    gateway.agrees(world, 3, 0, 0);

    // The month is over, for both. Nothing was charged in the one before.
    let (period, files) = (period(), world.path("settlements"));
    world.publisher().run(["reseller", "settle", &gateway.id, "--period", &period]).failed(1, "before");
    gateway.run(["settle", &period]).failed(1, "not over");
    gateway.kill();
    world.kill();
    for (name, value) in [("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"), ("FAKETIME", "+40d")] {
        world.configure(name, value);
    }
    world.start();
    let clerk = world.publisher();
    let settle = |gateway: &Gateway, period: &str| {
        let files = files.display().to_string();
        gateway.run_at("+40d", &["settle", period, "--csv", &files]).done();
        fs::read(world.path("settlements").join(format!("{period}-totals.csv"))).expect("totals")
    };
    let ours = settle(&gateway, &period);
    let theirs = clerk.run(["reseller", "settle", &gateway.id, "--period", &period, "--csv"]).done();
    assert_eq!(String::from_utf8_lossy(&ours), theirs.stdout(), "byte for byte");
    assert!(theirs.stdout().contains(&format!("{period},EUR,3,3,0,0,0\r\n")), "{theirs}");
    // Again, from both: the same, of a month that is closed.
    assert_eq!(settle(&gateway, &period), ours);
    assert_eq!(clerk.run(["reseller", "settle", &gateway.id, "--period", &period, "--csv"]).done().output.stdout, ours);
    clerk.run(["reseller", "settle", &gateway.id, "--period", &period]).failed(1, "closed already");
    assert!(clerk.run(["reseller", "statement", &gateway.id, "--closed"]).done().stdout().contains(&period));
    let empty = clerk.run(["reseller", "settle", &gateway.id, "--period", "2025-01", "--csv"]).done().output.stdout;
    assert_eq!(empty, settle(&gateway, "2025-01"), "a month without a charge is settled as any other");
    assert_eq!(String::from_utf8_lossy(&empty).lines().count(), 1);
});
