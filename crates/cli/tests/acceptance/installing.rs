//! Installing what was bought: over the network, from a file, from a bare medium; its control program; healing and removal (D4–D6, D9, C18).

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use counterfoil_core::Code;
use serde_json::Value;

use crate::world::{CANARY, Device, Outcome, World, copy_tree, files_below, files_with, outcome, scenario, set_mode, wait_until, write};

/// Several packs.
const LARGE: usize = 70 << 20;

/// Publishes a title and puts it on sale.
fn on_sale(world: &World, title: &str, version: &str, tree: &Path, more: &[&str], terms: &str) {
    world.publish(title, version, tree, &[&["--level", "1"], more].concat()).done();
    let policy = world.path("terms.toml");
    write(&policy, terms.as_bytes());
    let mut edit =
        world.publisher().command(["title", "edit", title, "--summary", "x", "--price", "5.00 EUR", "--on-sale", "--policy-file"]);
    edit.arg(&policy);
    outcome(edit).done();
}

fn in_library(device: &Device, arguments: &[&str]) -> Outcome {
    outcome(command(device, arguments))
}

fn command(device: &Device, arguments: &[&str]) -> std::process::Command {
    let mut command = device.command(arguments);
    command.arg("--library").arg(&device.library);
    command
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn bytes_in(directory: &Path) -> u64 {
    // A file may be renamed while it is looked at.
    let look = || files_below(directory).iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum();
    if directory.exists() { std::panic::catch_unwind(look).unwrap_or(0) } else { 0 }
}

// proves: D4, D5, D6, D9
scenario!(d4_an_installation_that_is_killed_goes_on_where_it_was_and_fetches_only_what_is_missing, |world| {
    let tree = world.large_tree(LARGE);
    on_sale(world, "film", "1", &tree, &[], "");
    let anna = world.person("anna");
    anna.refuses(&["install", "film", "--library", anna.library.to_str().expect("UTF-8")], Code::NotEntitled);
    anna.run(["buy", "film", "--yes"]).done();

    let mut killed = 0;
    for step in 1..=4 {
        let before = bytes_in(&anna.library);
        let mut install = command(&anna, &["install", "film"]);
        let mut install = install.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        let mut ended = false;
        wait_until("the installation gets on", || {
            ended = install.try_wait().expect("asked").is_some();
            ended || bytes_in(&anna.library) >= before + step * (LARGE as u64 / 40)
        });
        if ended {
            break;
        }
        install.kill().expect("killed");
        install.wait().expect("gone");
        killed += 1;
        let plain = files_with(&anna.library, CANARY);
        assert!(plain.is_empty(), "plaintext in {plain:?}");
    }
    assert!(killed >= 2, "it was killed {killed} times only");
    let done = in_library(&anna, &["install", "film", "--json"]).done().json();
    assert_eq!(done["resumed"], true, "{done}");
    assert!(number(&done, "reused") > 0 && number(&done, "downloaded") > 0, "{done}");
    assert!(number(&done, "reused") + number(&done, "downloaded") <= number(&done, "packed"), "{done}");
    anna.plays_all("film", &tree);
    let again = in_library(&anna, &["install", "film", "--json"]).done().json();
    assert_eq!((&again["already"], &again["license_id"]), (&true.into(), &done["license_id"]));

    // Another release, of which little is new.
    write(&tree.join("extra"), &crate::world::noise(9, 300_000));
    world.publish("film", "2", &tree, &["--level", "1"]).done();
    let update = in_library(&anna, &["install", "film", "--again", "--json"]).done().json();
    assert_eq!((&update["release"], &update["transaction_id"]), (&"2".into(), &done["transaction_id"]));
    assert!(number(&update, "downloaded") < 1 << 20 && number(&update, "reused") > LARGE as u64 / 2, "{update}");
    anna.plays_all("film", &tree);
});

// proves: C18, D4
scenario!(c18_content_is_carried_freely_and_charged_when_the_key_is_delivered, |world| {
    on_sale(world, "sky-raider", "1.0.0", &world.small_tree(), &["--entry", "bin/game", "--kind", "game"], "");
    let file = world.path("carried/sky-raider.cfoil");
    fs::create_dir_all(file.parent().expect("a parent")).expect("made");
    // Whoever downloads it is nobody's user.
    let stranger = world.device("stranger");
    let download = |device: &Device| {
        device.run([OsStr::new("download"), OsStr::new("sky-raider"), OsStr::new("--json"), OsStr::new("--file"), file.as_os_str()])
    };
    let done = download(&stranger).done().json();
    assert_eq!(number(&done, "size"), fs::metadata(&file).expect("there").len());
    assert_eq!(number(&download(&stranger).done().json(), "downloaded"), 0);

    // Nobody serves contents any more.
    let (anna, ben) = (world.person("anna"), world.person("ben"));
    for object in files_below(&world.path("server/contents")) {
        fs::remove_file(object).expect("removed");
    }
    let library = anna.library.to_str().expect("UTF-8").to_owned();
    let from = file.to_str().expect("UTF-8").to_owned();
    anna.refuses(&["install", "sky-raider", "--library", &library, "--from", &from], Code::NotEntitled);
    assert_eq!(world.api("GET", "/v1/orders", None).1["items"].as_array().map(Vec::len), Some(0), "nothing was charged");
    anna.run(["buy", "sky-raider", "--yes"]).done();
    let installed = in_library(&anna, &["install", "sky-raider", "--json", "--from", &from]).done().json();
    assert_eq!(number(&installed, "downloaded"), 0);
    assert_eq!(world.api("GET", "/v1/orders", None).1["items"].as_array().map(Vec::len), Some(1));
    anna.plays_all("sky-raider", &world.small_tree());

    // A directory without an identity, as any tar unpacks it, does as well.
    let unpacked = world.path("unpacked");
    fs::create_dir_all(&unpacked).expect("made");
    let mut tar = std::process::Command::new("tar");
    tar.arg("-xf").arg(&file).arg("-C").arg(&unpacked);
    outcome(tar).done();
    let medium = world.path("medium");
    copy_tree(&unpacked, &medium);
    ben.run(["buy", "sky-raider", "--yes"]).done();
    in_library(&ben, &["install", "sky-raider", "--from", medium.to_str().expect("UTF-8")]).done();
    ben.plays_all("sky-raider", &world.small_tree());

    // Edited, it is refused and says so.
    let mut bytes = fs::read(&file).expect("read");
    bytes[600] ^= 1;
    let edited = world.path("edited.cfoil");
    write(&edited, &bytes);
    in_library(&anna, &["install", "sky-raider", "--again", "--from", edited.to_str().expect("UTF-8")])
        .failed(3, "cannot be installed from");
});

/// Tries all that it must not be able to do, and says in its data directory what it could.
const CONTROL: &[u8] = br#"#!/bin/sh
echo "$1" >> /data/log
[ "$COUNTERFOIL_TITLE/data/level" -ef /title/data/level ] && grep -q level /title/data/level && echo sees-title >> /data/log
(echo x > /title/x) 2>/dev/null && echo wrote-title >> /data/log
(echo x > /usr/x) 2>/dev/null && echo wrote-system >> /data/log
(echo x > /tmp/x) 2>/dev/null && echo wrote-tmp >> /data/log
ls / > /data/root
cat /proc/net/dev > /data/net
command -v curl > /dev/null && echo has-curl >> /data/log
curl -s -m 5 SERVER/healthz > /dev/null && echo reached-server >> /data/log
grep -E '^(NoNewPrivs|CapEff)' /proc/self/status > /data/status
ls /proc | grep -c '^[0-9]' > /data/processes
env > /data/env
[ -e /data/fail ] && { echo "no room for it" >&2; exit 7; }
exit 0
"#;

// proves: D4
scenario!(d4_a_control_program_runs_on_installation_and_removal_and_reaches_nothing_else, |world| {
    let tree = world.path("controlled");
    write(&tree.join("bin/game"), b"#!/bin/sh\necho played\n");
    write(&tree.join("setup"), String::from_utf8_lossy(CONTROL).replace("SERVER", &world.url).as_bytes());
    set_mode(&tree.join("bin/game"), 0o755);
    set_mode(&tree.join("setup"), 0o755);
    write(&tree.join("data/level"), b"level one\n");
    on_sale(world, "sky-raider", "1.0.0", &tree, &["--entry", "bin/game", "--control", "setup"], "control_program = true\n");
    on_sale(world, "quiet", "1.0.0", &tree, &["--entry", "bin/game", "--control", "setup"], "");
    let anna = world.person("anna");
    let data = anna.home.join("data/sky-raider");
    for title in ["sky-raider", "quiet"] {
        anna.run(["buy", title, "--yes"]).done();
    }
    let installed = in_library(&anna, &["install", "sky-raider", "--json"]).done();
    assert_eq!(installed.json()["control"], "ran", "{installed}");
    let read = |name: &str| fs::read_to_string(data.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(read("log"), "install\nsees-title\nwrote-tmp\nhas-curl\n");
    let root: Vec<String> = read("root").lines().map(str::to_owned).collect();
    assert!(
        root.iter()
            .all(|name| ["bin", "data", "dev", "etc", "lib", "lib32", "lib64", "proc", "sbin", "title", "tmp", "usr"]
                .contains(&name.as_str())),
        "{root:?}"
    );
    let interfaces: Vec<String> = read("net").lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect();
    assert!(interfaces.iter().all(|name| name == "lo"), "{interfaces:?}");
    let status = read("status");
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("CapEff:\t0000000000000000"), "{status}");
    assert!(!Path::new("/usr/x").exists());
    assert!(read("processes").trim().parse::<u32>().is_ok_and(|count| count < 10), "{}", read("processes"));
    assert!(!read("env").contains("COUNTERFOIL_HOME") && !read("env").contains("COUNTERFOIL_SERVER"), "{}", read("env"));
    // Once.
    assert_eq!(in_library(&anna, &["install", "sky-raider", "--json"]).done().json()["control"], "ran");
    assert_eq!(read("log").matches("install").count(), 1);

    // The license says no; the user says no.
    assert_eq!(in_library(&anna, &["install", "quiet", "--json"]).done().json()["control"], "not_allowed");
    assert!(!anna.home.join("data/quiet").exists());
    let removed = in_library(&anna, &["remove", "sky-raider", "--yes", "--json"]).done().json();
    assert_eq!((&removed["control"], read("log").lines().any(|line| line == "uninstall")), (&"ran".into(), true));
    assert_eq!(in_library(&anna, &["install", "sky-raider", "--again", "--no-control", "--json"]).done().json()["control"], "left_out");
    in_library(&anna, &["remove", "sky-raider", "--yes"]).done();
    assert_eq!(read("log").matches("uninstall").count(), 1, "what did not run on installation does not run on removal");

    // It fails: the installation stands.
    write(&data.join("fail"), b"");
    let failed = in_library(&anna, &["install", "sky-raider", "--again"]).done();
    assert!(failed.stderr().contains("no room for it"), "{failed}");
    assert_eq!(in_library(&anna, &["run", "sky-raider"]).done().stdout(), "played\n");
});

// proves: D4
scenario!(d4_an_installed_title_is_healed_over_the_network_and_comes_back_after_removal, |world| {
    let tree = world.small_tree();
    on_sale(world, "sky-raider", "1.0.0", &tree, &["--entry", "bin/game", "--kind", "game"], "");
    let anna = world.person("anna");
    anna.run(["buy", "sky-raider", "--yes"]).done();
    in_library(&anna, &["install", "sky-raider"]).done();
    let pack = files_below(&anna.library).into_iter().find(|path| path.extension().is_some_and(|name| name == "pack")).expect("a pack");
    let mut bytes = fs::read(&pack).expect("read");
    bytes[100] ^= 1;
    write(&pack, &bytes);
    in_library(&anna, &["verify", "sky-raider"]).failed(1, "damaged in 1 place").failed(1, "--repair");
    in_library(&anna, &["verify", "sky-raider", "--repair"]).done();
    anna.plays_all("sky-raider", &tree);
    let license = files_with(&anna.library, b"transaction_id");
    assert_eq!(license.len(), 1, "{license:?}");
    in_library(&anna, &["remove", "sky-raider", "--yes"]).done();
    assert!(files_with(&anna.library, b"transaction_id").is_empty(), "the license goes with the title");
    in_library(&anna, &["install", "sky-raider"]).failed(1, Code::TransactionSpent.message());
    in_library(&anna, &["install", "sky-raider", "--again"]).done();
    anna.plays_all("sky-raider", &tree);
});
