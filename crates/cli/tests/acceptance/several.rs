//! One authority in three processes: authority and console, license server, contents server; each does its own, and is away without the others.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::ports;
use crate::world::{Device, Engine, Outcome, World, files_below, outcome, wait_until, write};

/// A process beside the world's own server.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(world: &World, name: &str, mut serve: Command) -> Self {
        let ready = world.path(&format!("{name}.ready"));
        let _ = fs::remove_file(&ready);
        let log = File::options().create(true).append(true).open(world.path(&format!("{name}.log"))).expect("a log");
        serve.arg("--ready-file").arg(&ready).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = serve.spawn().expect("it starts");
        let mut started = Value::Null;
        wait_until(name, || {
            if let Some(status) = child.try_wait().expect("asked") {
                panic!("{name} ended: {status}\n{}", fs::read_to_string(world.path(&format!("{name}.log"))).unwrap_or_default());
            }
            started = fs::read(&ready).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
            !started.is_null()
        });
        assert_eq!(started["roles"], serde_json::json!([name]));
        Self { child, url: started["url"].as_str().expect("an address").to_owned() }
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and text of an answer.
fn get(url: &str, path: &str) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.get(format!("{url}{path}")).call().unwrap_or_else(|error| panic!("{url}{path}: {error}"));
    (answer.status().as_u16(), answer.body_mut().read_to_string().expect("text"))
}

/// A figure of a process; 0 where nothing was counted yet.
fn figure(url: &str, labels: &str) -> u64 {
    let figures = get(url, "/metrics").1;
    figures.lines().filter(|line| line.contains(labels)).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn operations(url: &str, operation: &str, outcome: &str) -> u64 {
    figure(url, &format!("counterfoil_operations_total{{operation=\"{operation}\",outcome=\"{outcome}\"}}"))
}

/// A command that goes by what the device has learned of the authority, and not by an address that it is given.
fn by_itself(device: &Device, arguments: &[&OsStr]) -> Outcome {
    let mut command = device.command(arguments);
    command.env_remove("COUNTERFOIL_SERVER");
    outcome(command)
}

fn copy_by_itself(device: &Device, disc: &Path) -> Outcome {
    by_itself(device, &[OsStr::new("copy"), disc.as_os_str(), OsStr::new("--library"), device.library.as_os_str()])
}

/// Three processes and where they are.
struct Three {
    world: World,
    license: Process,
    content: Process,
    license_address: SocketAddr,
}

impl Three {
    fn start() -> Self {
        let [license_address, content_address] = [(); 2].map(|()| ports::address());
        let world = World::with_settings(
            Engine::Postgres,
            &[
                ("COUNTERFOILD__SERVER__ROLES", "authority,console"),
                ("COUNTERFOILD__SERVER__LICENSE_URLS", &format!("http://{license_address}")),
                ("COUNTERFOILD__SERVER__CONTENTS_URLS", &format!("http://{content_address}")),
            ],
        );
        let license = Self::license(&world, license_address);
        // The contents server's host holds the contents, and nothing else of the authority's.
        let config = world.path("content-host/counterfoild.toml");
        let contents = world.path("server/contents");
        write(&config, format!("[contents]\ndir = \"{}\"\n", contents.display()).as_bytes());
        let mut serve = Command::new(world.operator([""]).get_program());
        serve.arg("--config").arg(&config).args(["serve", "--roles", "content", "--listen", &content_address.to_string()]);
        let content = Process::start(&world, "content", serve);
        assert_eq!(files_below(config.parent().expect("its directory")), [config.as_path()], "it makes neither key nor database");
        Self { world, license, content, license_address }
    }

    fn license(world: &World, address: SocketAddr) -> Process {
        let mut serve = world.operator(["serve", "--roles", "license", "--listen", &address.to_string()]);
        serve.env("COUNTERFOILD__SERVER__PUBLIC_URLS", &world.url);
        Process::start(world, "license", serve)
    }
}

// proves: D11
#[test]
fn d11_three_processes_divide_the_work() {
    let three = Three::start();
    let (world, license, content) = (&three.world, &three.license.url, &three.content.url);
    let discs = world.discs(2);
    assert!(figure(content, "counterfoil_http_requests_total{route=\"/contents/{object}\",method=\"GET\",status=\"200\"}") > 0);

    // Anna's terminal is told the authority's address each time, and sent on from there.
    let anna = world.person("anna");
    anna.copy(&discs[0]).done();
    assert_eq!((operations(&world.url, "claim", "granted"), operations(&world.url, "confirm", "misdirected")), (1, 1));
    assert_eq!((operations(license, "confirm", "granted"), operations(license, "claim", "granted")), (1, 0));
    anna.plays_all("sky-raider", &world.small_tree());
    // Ben's knows where to go.
    let ben = world.person("ben");
    copy_by_itself(&ben, &discs[1]).done();
    assert_eq!((operations(&world.url, "claim", "granted"), operations(&world.url, "confirm", "misdirected")), (2, 1));
    assert_eq!(operations(license, "confirm", "granted"), 2);
    assert_eq!(operations(&world.url, "register", "granted"), 2);

    heal(&ben, &discs[1]);
    assert_eq!((operations(license, "heal", "granted"), operations(&world.url, "heal", "misdirected")), (1, 0));
    ben.plays_all("sky-raider", &world.small_tree());

    who_does_not_serve_it_says_so(&three);
    wait_until("the title shows in the user's entry", || {
        anna.run(["inspect", "--json"]).done().json()["authority"]["user"]["titles"][0]["title"] == "sky-raider"
    });
    outcome(world.operator(["audit", "verify"])).done();
}

/// Damages the largest pack of the library, and has it healed from the medium.
fn heal(device: &Device, disc: &Path) {
    let pack = files_below(&device.library).into_iter().max_by_key(|path| fs::metadata(path).expect("there").len()).expect("files");
    let mut bytes = fs::read(&pack).expect("readable");
    bytes[100_000] ^= 1;
    fs::write(&pack, bytes).expect("written");
    let library = device.library.as_os_str();
    let arguments = ["verify", "sky-raider", "--library"].map(OsStr::new);
    let damaged = by_itself(device, &[&arguments[..], &[library]].concat());
    damaged.failed(1, "is damaged");
    by_itself(device, &[&arguments[..], &[library, OsStr::new("--repair-from"), disc.as_os_str()]].concat()).done();
}

fn who_does_not_serve_it_says_so(three: &Three) {
    let (world, license, content) = (&three.world, &three.license.url, &three.content.url);
    for (url, path, role, elsewhere) in [
        (content, "/v1/titles", "authority", None),
        (content, "/.well-known/counterfoil", "authority, license, console", None),
        (license, "/v1/titles", "authority", Some(&world.url)),
        (license, "/", "console", Some(&world.url)),
        (&world.url, "/contents/00", "content", Some(content)),
    ] {
        let (status, text) = get(url, path);
        let problem: Value = serde_json::from_str(&text).expect("a problem");
        assert_eq!((status, problem["code"].as_str()), (404, Some("not_served")), "{text}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(&format!("the role {role};"))), "{text}");
        assert_eq!(problem["urls"][0].as_str(), elsewhere.map(String::as_str), "{text}");
    }
    let roles = |url: &str| serde_json::from_str::<Value>(&get(url, "/readyz").1).expect("JSON");
    assert_eq!(roles(content)["roles"], serde_json::json!(["content"]));
    assert_eq!(roles(content).get("jobs"), None);
    assert_eq!(roles(&world.url)["roles"], serde_json::json!(["authority", "console"]));
    assert!(get(license, "/metrics").1.contains("counterfoil_roles{role=\"license\"} 1"));
}

// proves: D11
#[test]
fn d11_without_the_license_server_media_are_claimed_and_confirmed_later() {
    let mut three = Three::start();
    let discs = three.world.discs(2);
    let (anna, ben) = (three.world.person("anna"), three.world.person("ben"));
    three.license.kill();
    let license_url = format!("http://{}", three.license_address);
    let (sent_on, by_document) = (anna.copy(&discs[0]), copy_by_itself(&ben, &discs[1]));
    for tried in [sent_on, by_document] {
        let words = tried.failed(3, &license_url).stderr();
        assert!(words.contains("hint: "), "{words}");
    }
    assert_eq!(operations(&three.world.url, "claim", "granted"), 2);
    // What was copied plays; the next copy only confirms it.
    anna.plays_all("sky-raider", &three.world.small_tree());
    three.license = Three::license(&three.world, three.license_address);
    anna.copy(&discs[0]).done();
    copy_by_itself(&ben, &discs[1]).done();
    assert_eq!(operations(&three.license.url, "confirm", "granted"), 2);
    outcome(three.world.operator(["audit", "verify"])).done();
}
