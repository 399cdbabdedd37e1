//! A reseller between terminals and authority (C16–C18): sold once, whatever is killed; the books of both sides alike; nothing seen that is not its.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::ports;
use crate::world::{
    Device, Engine, Outcome, World, counterfoild, create_database, drop_database, files_below, files_with, outcome, outcome_of, scenario,
    wait_until,
};

mod by_card;

pub const TITLE: &str = "sky-raider";

/// A gateway's process, with what it keeps.
pub struct Gateway {
    pub data: PathBuf,
    ready: PathBuf,
    log: PathBuf,
    database: Option<String>,
    process: Option<Child>,
    pub id: String,
    url: String,
}

impl Gateway {
    /// Registered at the authority at 30 %, enrolled, with a price for the title; it runs.
    pub fn new(world: &mut World, engine: Engine) -> Self {
        let mut gateway = Self::stranger(world, engine);
        let token = gateway.token(world);
        let mut enrol = gateway.command(["enrol", "-"]);
        outcome_of(&mut enrol, &token).done();
        gateway.start();
        gateway
    }

    /// A token that lets it in once.
    pub fn token(&self, world: &World) -> String {
        world.publisher().run(["reseller", "token", &self.id, "--json"]).done().json()["token"].as_str().expect("a token").to_owned()
    }

    /// The same, and nobody has let it in yet.
    pub fn stranger(world: &mut World, engine: Engine) -> Self {
        let private = ports::address().to_string();
        world.kill();
        world.configure("COUNTERFOILD__GATEWAYS__LISTEN", &private);
        world.start();
        let clerk = world.publisher();
        let made = clerk.run(["reseller", "new", "Corner Shop", "--share", "30", "--json"]).done().json();
        let id = made["gateway"].as_str().expect("an ID").to_owned();
        clerk.run(["reseller", "price", &id, TITLE, "9.99 EUR"]).done();
        let database = (engine == Engine::Postgres).then(|| create_database(None));
        let (data, ready, log) = (world.path("gateway"), world.path("gateway-ready"), world.path("gateway.log"));
        let gateway = Self { data, ready, log, database, process: None, id, url: String::new() };
        let mut init = gateway.command(["init", "--authority", &format!("https://{private}"), "--listen", &ports::address().to_string()]);
        init.args(gateway.database.iter().flat_map(|database| ["--database", database]));
        outcome(init).done();
        gateway
    }

    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Command {
        let mut command = Command::new(counterfoild());
        command.arg("gateway").args(arguments).arg("--data").arg(&self.data).stdin(Stdio::null());
        command
    }

    pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Outcome {
        outcome(self.command(arguments))
    }

    pub fn start(&mut self) {
        let _ = fs::remove_file(&self.ready);
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let mut serve = self.command(["serve"]);
        serve.arg("--ready-file").arg(&self.ready).stdout(log.try_clone().expect("the same log")).stderr(log);
        let mut process = serve.spawn().expect("the gateway starts");
        wait_until("the gateway is ready", || {
            if let Some(status) = process.try_wait().expect("asked") {
                panic!("the gateway ended: {status}\n{}", fs::read_to_string(&self.log).unwrap_or_default());
            }
            fs::read(&self.ready).is_ok_and(|text| serde_json::from_slice::<Value>(&text).is_ok())
        });
        let ready: Value = serde_json::from_slice(&fs::read(&self.ready).expect("ready")).expect("JSON");
        self.url = ready["url"].as_str().expect("an address").to_owned();
        self.process = Some(process);
    }

    /// `SIGKILL`, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("killed");
            process.wait().expect("gone");
        }
    }

    /// A customer with an account that holds so much, whose device knows nobody but the gateway.
    pub fn customer(&self, world: &World, name: &str, money: &str) -> Device {
        let mut device = world.device(name);
        // Nobody answers there.
        device.url = "http://127.0.0.1:9".to_owned();
        device.variables =
            vec![("COUNTERFOIL_VIA".to_owned(), self.url.clone()), ("COUNTERFOIL_PASSWORD".to_owned(), "correct horse".to_owned())];
        device.run(["account", "new", "--name", name]).done();
        self.run(["top-up", name, money, "--reference", name]).done();
        device.run(["card", "new"]).done();
        device.run([OsStr::new("register"), OsStr::new("--library"), device.library.as_os_str()]).done();
        device
    }

    /// Both databases say the same, the books come to nothing, and so much was charged and kept by whom.
    pub fn agrees(&self, world: &World, charges: i64, operator: i64, gateway: i64) {
        // What has just changed it takes for under way; the figures below are of both sides, and of everything.
        let compared = self.run(["reconcile", "--json"]).done().json();
        assert_eq!(compared["differences"], Value::Array(vec![]), "{compared}");
        let books = self.run(["books", "--check", "--json"]).done().json();
        let total = &books["totals"][0];
        assert_eq!((total["operator"].as_i64(), total["gateway"].as_i64()), (Some(operator), Some(gateway)), "{books}");
        let period = period();
        let told = world.publisher().run(["reseller", "statement", &self.id, "--period", &period, "--json"]).done().json();
        let items = told["items"].as_array().expect("a list");
        let sum = |of: &str| items.iter().filter_map(|item| item[of].as_i64()).sum::<i64>();
        assert_eq!((sum("charges"), sum("operator_part"), sum("gateway_part")), (charges, operator, gateway), "{told}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        if let Some(database) = self.database.take() {
            drop_database(&database);
        }
    }
}

/// The month of now, in UTC.
pub fn period() -> String {
    let now = outcome({
        let mut date = Command::new("date");
        date.args(["-u", "+%Y-%m"]);
        date
    });
    now.done().stdout().trim().to_owned()
}

pub fn engine_of(world: &World) -> Engine {
    if world.is_on_postgres() { Engine::Postgres } else { Engine::Sqlite }
}

pub fn holds(device: &Device) -> i64 {
    let account = device.run(["account", "show", "--json"]).done().json();
    account["balances"][0]["available"].as_i64().unwrap_or_else(|| panic!("{account}"))
}

pub fn copy(device: &Device, medium: &std::path::Path, agreed: &[&str]) -> Outcome {
    let mut copy = device.command(["copy"]);
    copy.arg(medium).arg("--library").arg(&device.library).args(agreed);
    outcome(copy)
}

// proves: C16, C17, C18
scenario!(c16_c17_c18_a_key_is_sold_once_whatever_is_killed, |world| {
    let tree = world.small_tree();
    world.publish(TITLE, "1.0.0", &tree, &["--entry", "bin/game", "--kind", "game"]).done();
    let out = world.path("given");
    let mut press = world.publisher().command(["press", "--title", TITLE, "--count", "2", "--paid-on-copy", "--out"]);
    press.arg(&out);
    outcome(press).done();
    let engine = engine_of(world);
    let mut gateway = Gateway::new(world, engine);
    let ada = gateway.customer(world, "ada", "20.00 EUR");
    let (first, second) = (out.join("0001"), out.join("0002"));

    // Nobody has agreed, or not to so much: nothing is charged.
    copy(&ada, &first, &[]).refused(counterfoil_core::Code::ChargeUnconfirmed);
    copy(&ada, &first, &["--yes", "--max-price", "5 EUR"]).refused(counterfoil_core::Code::ChargeUnconfirmed);
    assert_eq!(holds(&ada), 2000);
    // The authority is away: repeat it later.
    world.kill();
    assert_eq!(copy(&ada, &first, &["--yes"]).output.status.code(), Some(3));
    assert_eq!(holds(&ada), 2000);
    world.start();
    copy(&ada, &first, &["--yes"]).done();
    ada.plays_all(TITLE, &tree);
    assert_eq!(holds(&ada), 1001);
    // Both are killed and come again: the same, and no second charge for what was copied.
    gateway.kill();
    world.kill();
    gateway.start();
    world.start();
    copy(&ada, &first, &["--yes"]).refused(counterfoil_core::Code::MediumSpent);
    assert_eq!(holds(&ada), 1001);
    // Somebody else's account does not pay for hers, and one with nothing in it for nothing.
    let ben = gateway.customer(world, "ben", "1.00 EUR");
    copy(&ben, &second, &["--yes"]).refused(counterfoil_core::Code::PaymentRefused);
    assert_eq!(holds(&ben), 100);
    // Direct, the medium is not to be had for nothing.
    let dan = world.person("dan");
    dan.copy(&second).refused(counterfoil_core::Code::PaymentRequired);
    gateway.agrees(world, 1, 700, 299);
    // What the gateway keeps, on SQLite in its directory, names no user and no medium.
    for secret in [user_of(&ada), medium_of(&first)] {
        assert_eq!(files_with(&gateway.data, secret.as_bytes()), Vec::<PathBuf>::new(), "{secret}");
        assert!(!fs::read_to_string(&gateway.log).expect("a log").contains(&secret), "{secret}");
    }
    assert!(engine == Engine::Postgres || files_below(&gateway.data).iter().any(|path| path.ends_with("gateway.db")));
});

fn user_of(device: &Device) -> String {
    device.run(["card", "show", "--json"]).done().json()["user_id"].as_str().expect("registered").to_owned()
}

fn medium_of(disc: &std::path::Path) -> String {
    let name = disc.file_name().expect("a name").to_str().expect("UTF-8").trim_start_matches('0').to_owned();
    let list = fs::read_to_string(disc.with_file_name("media.csv")).expect("the list");
    let line = list.lines().find(|line| line.starts_with(&format!("{name},"))).expect("its line");
    line.split(',').nth(1).expect("its ID").to_owned()
}
