//! Cards whose keys are in a token or TPM (C2): they do what a card in a file does, on the same server, and their keys cannot be had.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use counterfoil_core::Code;
use serde_json::Value;

use crate::world::{CANARY, Device, Outcome, World, files_below, files_with, outcome, scenario, set_mode, wait_until, write};

const PIN: &str = "123456";
/// A title of several packs.
const LARGE: usize = 80 << 20;

/// A token or TPM of its own, in software, which ends with it.
pub struct Hardware {
    dir: PathBuf,
    /// What makes a card in it.
    make: Vec<String>,
    /// What its users find in their environment.
    variables: Vec<(String, String)>,
    tpm: bool,
}

fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(name))
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Hardware {
    pub fn token(world: &World, name: &str) -> Self {
        let dir = world.path(&format!("token of {name}"));
        let mut made = script("softhsm");
        made.arg(&dir).args([name, PIN]);
        let said = outcome(made).done().stdout();
        let mut lines = said.lines();
        let (module, settings) = (lines.next().expect("a module"), lines.next().expect("settings"));
        Self {
            dir,
            make: owned(&["card", "new", "--pkcs11", module, "--token", name]),
            variables: vec![("SOFTHSM2_CONF".to_owned(), settings.to_owned()), ("COUNTERFOIL_PIN".to_owned(), PIN.to_owned())],
            tpm: false,
        }
    }

    pub fn tpm(world: &World, name: &str) -> Self {
        let dir = world.path(&format!("tpm of {name}"));
        let mut started = script("swtpm");
        started.arg("start").arg(&dir);
        let tcti = outcome(started).done().stdout().trim().to_owned();
        let silent = ("TSS2_LOG".to_owned(), "all+none".to_owned());
        Self {
            dir,
            make: owned(&["card", "new", "--tpm", &tcti]),
            variables: vec![silent, ("COUNTERFOIL_PIN".to_owned(), PIN.to_owned())],
            tpm: true,
        }
    }

    /// A device that this is plugged into, with a card in it that nobody has registered.
    pub fn device(&self, world: &World, name: &str) -> Device {
        let device = Device { variables: self.variables.clone(), ..world.device(name) };
        device.run(&self.make).done();
        device
    }

    fn person(&self, world: &World, name: &str) -> Device {
        let device = self.device(world, name);
        device.run([OsStr::new("register"), OsStr::new("--library"), device.library.as_os_str()]).done();
        device
    }

    /// Takes the token out, or puts it back.
    fn plug(&self, there: bool) {
        let (inside, outside) = (self.dir.join("tokens"), self.dir.join("taken out"));
        if there {
            fs::remove_dir(&inside).expect("an empty place");
            fs::rename(&outside, &inside).expect("put back");
        } else {
            fs::rename(&inside, &outside).expect("taken out");
            fs::create_dir(&inside).expect("an empty place");
        }
    }
}

impl Drop for Hardware {
    fn drop(&mut self) {
        if self.tpm {
            let mut stop = script("swtpm");
            let _ = stop.arg("stop").arg(&self.dir).status();
        }
    }
}

fn with(device: &Device, name: &str, value: &str) -> Device {
    let mut device = device.clone();
    device.variables.retain(|(known, _)| known != name);
    if !value.is_empty() {
        device.variables.push((name.to_owned(), value.to_owned()));
    }
    device
}

fn in_library(device: &Device, arguments: &[&str]) -> Outcome {
    let mut command = device.command(arguments);
    command.arg("--library").arg(&device.library);
    outcome(command)
}

/// Fails for a reason of its own, no refusal, and says what to do: by the code that programs are told.
#[track_caller]
fn fails_with(device: &Device, arguments: &[&str], code: &str) {
    let words = device.run(arguments).failed(3, "error: ");
    assert!(words.stderr().contains("hint: "), "no hint in {words}");
    let json = device.run(arguments.iter().chain([&"--json"]));
    assert_eq!((json.output.status.code(), &json.json()["error"]["code"]), (Some(3), &Value::from(code)), "{json}");
}

/// Register, copy, play; buy, install, run; damage, heal. Whatever holds the card's keys.
fn main_job(world: &World, hardware: &Hardware) {
    let discs = world.discs(1);
    let anna = hardware.person(world, "anna");
    let card = anna.run(["card", "show", "--json"]).done().json();
    assert!(card["keys_in"].as_str().is_some_and(|place| place.contains(if hardware.tpm { "TPM" } else { "anna" })), "{card}");
    assert_eq!(card["registered"], true, "{card}");
    assert_eq!(files_with(&anna.home, b"signing_seed"), [anna.home.join("device.json")], "only the device's own keys are in a file");

    anna.copy(&discs[0]).done();
    anna.plays_all("sky-raider", &world.small_tree());
    let ben = world.person("ben");
    ben.refuses(&[OsStr::new("copy"), discs[0].as_os_str(), OsStr::new("--library"), ben.library.as_os_str()], Code::MediumSpent);
    // Ben's own card plays nothing of hers, on her own device.
    let borrowed = ben.home.join("card.json");
    let lent = [OsStr::new("play"), OsStr::new("sky-raider"), OsStr::new("bin/game"), OsStr::new("--card"), borrowed.as_os_str()];
    let mut lent = anna.command(lent);
    lent.arg("--library").arg(&anna.library);
    assert_eq!(outcome(lent).output.status.code(), Some(1));

    world.publish("lander", "1", &world.small_tree(), &["--entry", "bin/game", "--kind", "game"]).done();
    let policy = world.path("terms.toml");
    write(&policy, b"");
    let mut edit =
        world.publisher().command(["title", "edit", "lander", "--summary", "x", "--price", "5.00 EUR", "--on-sale", "--policy-file"]);
    edit.arg(&policy);
    outcome(edit).done();
    anna.run(["buy", "lander", "--yes"]).done();
    in_library(&anna, &["install", "lander"]).done();
    assert!(in_library(&anna, &["run", "lander"]).done().stdout().contains("played with"));

    let packs = files_below(&anna.library.join("titles/sky-raider"));
    let pack = packs.into_iter().max_by_key(|path| fs::metadata(path).map_or(0, |file| file.len())).expect("a pack");
    let mut bytes = fs::read(&pack).expect("readable");
    bytes[100_000] ^= 1;
    set_mode(&pack, 0o644);
    fs::write(&pack, bytes).expect("damaged");
    in_library(&anna, &["verify", "sky-raider"]).failed(1, "is damaged in 1 place");
    in_library(&anna, &["verify", "sky-raider", "--repair-from", discs[0].to_str().expect("UTF-8")]).done();
    anna.plays_all("sky-raider", &world.small_tree());
    assert!(files_with(&anna.library, CANARY).is_empty());
    outcome(world.operator(["audit", "verify"])).done();
}

// proves: C2, C3, C7, C8, C11, D4, D5
scenario!(c2_a_card_in_a_token_does_the_main_job, |world| {
    main_job(world, &Hardware::token(world, "anna"));
});

// proves: C2, C3, C7, C8, C11, D4, D5
scenario!(c2_a_card_in_a_tpm_does_the_main_job, |world| {
    main_job(world, &Hardware::tpm(world, "anna"));
});

// proves: C2
scenario!(c2_keys_in_a_token_cannot_be_had, |world| {
    let token = Hardware::token(world, "anna");
    let anna = token.device(world, "anna");
    let card: Value = serde_json::from_slice(&fs::read(anna.home.join("card.json")).expect("a card")).expect("JSON");
    let place = &card["keys"]["keys_in"]["pkcs11"];
    let tool = |arguments: &[&str]| {
        let mut tool = Command::new("pkcs11-tool");
        tool.arg("--module").arg(place["module"].as_str().expect("a module")).args(["--login", "--pin", PIN]).args(arguments);
        tool.envs(token.variables.iter().map(|(name, value)| (name, value)));
        outcome(tool)
    };
    let listed = tool(&["--list-objects", "--type", "privkey"]).done().stdout();
    assert_eq!(listed.matches("sensitive, always sensitive, never extractable, local").count(), 2, "{listed}");
    for id in ["signing_id", "sealing_id"] {
        let id = place[id].as_str().expect("an ID");
        tool(&["--read-object", "--type", "pubkey", "--id", id]).done();
    }

    // A copy of the card's file, where the token is not, and where there is one of the same name.
    let ben = world.device("ben");
    write(&ben.home.join("card.json"), &fs::read(anna.home.join("card.json")).expect("a card"));
    set_mode(&ben.home.join("card.json"), 0o600);
    let other = Hardware::token(world, "ben");
    fails_with(&Device { variables: other.variables.clone(), ..ben.clone() }, &["card", "show"], "no_token");
    let namesake = world.path("namesake");
    let mut made = script("softhsm");
    made.arg(&namesake).args(["anna", PIN]);
    outcome(made).done();
    let namesake = with(&anna, "SOFTHSM2_CONF", namesake.join("softhsm2.conf").to_str().expect("UTF-8"));
    fails_with(&Device { home: ben.home.clone(), ..namesake }, &["card", "show"], "no_token");
    // In the right token, after its keys were deleted.
    tool(&["--delete-object", "--type", "privkey", "--id", place["sealing_id"].as_str().expect("an ID")]).done();
    fails_with(&anna, &["card", "show"], "other_token_keys");
});

// proves: C2
scenario!(c2_keys_of_a_tpm_are_of_no_use_to_another, |world| {
    let (tpm, other) = (Hardware::tpm(world, "anna"), Hardware::tpm(world, "ben"));
    let anna = tpm.device(world, "anna");
    anna.run(["card", "show"]).done();
    let path = anna.home.join("card.json");
    let card = fs::read_to_string(&path).expect("a card");
    let (hers, his) = (&tpm.make[3], &other.make[3]);
    assert!(card.contains(hers.as_str()));
    fs::write(&path, card.replace(hers.as_str(), his)).expect("moved to another TPM");
    fails_with(&anna, &["card", "show"], "other_token_keys");
    // The keys of another card, in the right TPM.
    let ben = Device { variables: tpm.variables.clone(), ..world.device("ben") };
    ben.run(&tpm.make).done();
    let mut mixed: Value = serde_json::from_str(&card).expect("JSON");
    let others: Value = serde_json::from_slice(&fs::read(ben.home.join("card.json")).expect("a card")).expect("JSON");
    mixed["keys"]["keys_in"] = others["keys"]["keys_in"].clone();
    fs::write(&path, mixed.to_string()).expect("mixed");
    fails_with(&anna, &["card", "show"], "other_token_keys");
    fs::write(&path, card).expect("as it was");
    anna.run(["card", "show"]).done();
    // Nobody there.
    let mut stop = script("swtpm");
    stop.arg("stop").arg(&tpm.dir);
    outcome(stop).done();
    fails_with(&anna, &["card", "show"], "no_token");
});

// proves: C2
scenario!(c2_pins_are_asked_for_checked_and_kept_secret, |world| {
    let (token, tpm) = (Hardware::token(world, "anna"), Hardware::tpm(world, "ben"));
    let (anna, ben) = (token.device(world, "anna"), tpm.device(world, "ben"));
    let file = world.path("pin");
    write(&file, format!("{PIN}\n").as_bytes());
    let named = ["card", "show", "--pin-file", file.to_str().expect("UTF-8")];
    for device in [&anna, &ben] {
        fails_with(&with(device, "COUNTERFOIL_PIN", "000000"), &["card", "show"], "pin_wrong");
        let silent = with(device, "COUNTERFOIL_PIN", "");
        // In a session of its own there is no terminal to ask at.
        let mut nobody = Command::new("setsid");
        silent.environment(&mut nobody);
        nobody.args(["-w", env!("CARGO_BIN_EXE_counterfoil"), "card", "show"]).stdin(Stdio::null());
        outcome(nobody).failed(3, "demands its PIN");
        set_mode(&file, 0o644);
        fails_with(&silent, &named, "pin_file");
        set_mode(&file, 0o600);
        silent.run(named).done();
        assert!(files_with(&device.home, PIN.as_bytes()).is_empty(), "the PIN is on disk");
    }
    // A TPM locks after so many, and says so.
    let mut tried = 0;
    let locked = loop {
        let shown = with(&ben, "COUNTERFOIL_PIN", "000000").run(["card", "show", "--json"]);
        tried += 1;
        match shown.json()["error"]["code"].as_str() {
            Some("pin_wrong") if tried < 50 => {}
            other => break other.map(str::to_owned),
        }
    };
    assert_eq!(locked.as_deref(), Some("pin_locked"));
    fails_with(&ben, &["card", "show"], "pin_locked");
});

// proves: C2
scenario!(c2_what_is_missing_is_named, |world| {
    let token = Hardware::token(world, "anna");
    let anna = Device { variables: token.variables.clone(), ..world.device("anna") };
    fails_with(&anna, &["card", "new", "--pkcs11", "/nowhere/module.so", "--token", "anna"], "no_module");
    fails_with(&anna, &["card", "new", "--pkcs11", "/etc/hostname", "--token", "anna"], "no_module");
    fails_with(&anna, &["card", "new", "--pkcs11", &token.make[3], "--token", "nobody's"], "no_token");
    fails_with(&anna, &["card", "new", "--tpm", "swtpm:host=127.0.0.1,port=1"], "no_token");
    assert!(!anna.home.join("card.json").exists(), "a card was made of nothing");
    anna.run(&token.make).done();
    let before = fs::read(anna.home.join("card.json")).expect("a card");
    let objects = files_below(&token.dir).len();
    anna.run(&token.make).failed(3, "card.json");
    assert_eq!(fs::read(anna.home.join("card.json")).expect("a card"), before, "another card in its place");
    assert_eq!(files_below(&token.dir).len(), objects, "keys without a card were left in the token");
});

// proves: C2, C11
scenario!(c11_a_token_taken_out_during_the_copy_loses_nothing, |world| {
    let tree = world.large_tree(LARGE);
    world.publish("film", "1", &tree, &["--level", "1"]).done();
    let disc = world.press("film", 1).remove(0);
    let token = Hardware::token(world, "anna");
    let anna = token.person(world, "anna");
    let copying = || {
        let mut copy = anna.command([OsStr::new("copy"), disc.as_os_str(), OsStr::new("--library"), anna.library.as_os_str()]);
        copy.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started")
    };
    let size = || files_below(&anna.library).iter().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum::<u64>();
    let begun = || anna.library.exists() && std::panic::catch_unwind(size).unwrap_or(0) > LARGE as u64 / 40;

    let mut copy = copying();
    wait_until("the copy gets on", || copy.try_wait().expect("asked").is_some() || begun());
    token.plug(false);
    copy.kill().expect("killed");
    assert!(!copy.wait().expect("gone").success(), "it was over before the token was taken out");
    let before = size();
    fails_with(&anna, &["copy", disc.to_str().expect("UTF-8"), "--library", anna.library.to_str().expect("UTF-8")], "no_token");
    assert_eq!(size(), before, "what was copied is gone");
    assert!(files_with(&anna.library, CANARY).is_empty(), "plaintext");

    token.plug(true);
    let mut copy = anna.command(["copy", "--json", "--library"]);
    copy.arg(&anna.library).arg(&disc);
    let done = outcome(copy).done().json();
    assert!(done["titles"][0]["reused"].as_u64().is_some_and(|reused| reused > 0), "nothing was reused: {done}");
    anna.plays_all("film", &tree);
    token.plug(false);
    anna.play("film", "text").failed(3, "is not there");
    token.plug(true);
    anna.play("film", "text").done();
});

// proves: C2, C15
scenario!(c15_a_card_in_a_tpm_takes_the_place_of_a_lost_token, |world| {
    let discs = world.discs(1);
    let (token, tpm) = (Hardware::token(world, "anna"), Hardware::tpm(world, "anna"));
    let anna = token.person(world, "anna");
    anna.copy(&discs[0]).done();
    let user = anna.run(["card", "show", "--json"]).done().json()["user_id"].as_str().expect("hers").to_owned();
    let code = anna.run(["card", "recovery-code", "--json"]).done().json()["recovery_code"].as_str().expect("a code").to_owned();
    token.plug(false);

    let new = world.path("new.json").to_str().expect("UTF-8").to_owned();
    let anna = with(&Device { variables: tpm.variables.clone(), ..anna }, "COUNTERFOIL_CARD", &new);
    anna.run(&tpm.make).done();
    let waits = anna.run(["card", "replace", "--user", &user, "--recovery-code", &code]);
    assert_eq!(waits.output.status.code(), Some(1), "{waits}");
    let requests = world.publisher().run(["repair", "requests", "--json"]).done().stdout();
    let request = requests.split('"').find(|text| text.starts_with("rei-")).expect("it waits").to_owned();
    world.publisher().run(["repair", "reissue", "--user", &user, "--request", &request, "--reason", "lost", "--yes"]).done();
    anna.run(["card", "replace"]).done();
    world.kill();
    anna.plays_all("sky-raider", &world.small_tree());
});
