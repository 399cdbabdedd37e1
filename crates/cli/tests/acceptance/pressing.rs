//! Issuing media (B1–B3, B9, C20): every form, imported IDs, interruptions.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use counterfoil_core::Code;
use serde_json::Value;

use crate::world::{Outcome, World, copy_tree, outcome, scenario, wait_until, write};

fn press(world: &World, out: &Path, more: &[&str]) -> Outcome {
    let mut press = world.publisher().command(["press", "--title", "sky-raider", "--json", "--out"]);
    press.arg(out).args(more);
    outcome(press)
}

fn publish(world: &World) {
    world.publish("sky-raider", "1.0.0", &world.small_tree(), &["--entry", "bin/game", "--kind", "game"]).done();
}

fn media(out: &Path) -> Vec<Vec<String>> {
    let list = fs::read_to_string(out.join("media.csv")).expect("a list");
    let rows: Vec<&str> = list.lines().collect();
    assert_eq!(rows[0], "serial,medium_id,path");
    rows[1..].iter().map(|row| row.split(',').map(str::to_owned).collect()).collect()
}

// proves: B1, B2, B3, B9, C20
scenario!(b1_b9_c20_a_pressed_directory_carries_identity_content_launcher_and_client, |world| {
    publish(world);
    let out = world.path("discs");
    let pressed = press(world, &out, &["--count", "2", "--with-client", "--name", "first run"]).done().json();
    assert_eq!((&pressed["media"], &pressed["pressed_now"]), (&2.into(), &2.into()), "{pressed}");
    let disc = out.join("0001");
    let readme = fs::read_to_string(disc.join("README.txt")).expect("a page");
    let listed = media(&out);
    assert_eq!(listed.len(), 2);
    assert!(readme.contains(&listed[0][1]) && readme.contains("sky-raider"), "{readme}");
    // The authority has it in its database (B1).
    let (status, document) = world.api("GET", &format!("/v1/media/{}", listed[0][1]), None);
    assert_eq!((status, document["medium_id"].as_str()), (200, Some(listed[0][1].as_str())), "{document}");
    // The launcher finds the client on the medium and says what to do (C20).
    let anna = world.device("anna");
    let start = |arguments: &[&OsStr]| {
        let mut start = Command::new(disc.join("START"));
        start.args(arguments).env("PATH", "/usr/bin:/bin");
        anna.environment(&mut start);
        // Whoever has the medium has been told no address.
        start.env_remove("COUNTERFOIL_SERVER");
        outcome(start)
    };
    let said = start(&[]).done().stdout();
    assert!(said.contains(&listed[0][1]) && said.contains("START\" copy --library"), "{said}");
    start(&[OsStr::new("card"), OsStr::new("new")]).done();
    start(&[OsStr::new("register"), OsStr::new("--library"), anna.library.as_os_str()]).done();
    start(&[OsStr::new("copy"), OsStr::new("--library"), anna.library.as_os_str()]).done();
    anna.plays_all("sky-raider", &world.small_tree());
    fs::remove_dir_all(disc.join("client")).expect("removed");
    start(&[]).failed(3, "neither on this medium nor on this computer");
    assert!(!out.join(".content").exists(), "what was fetched is left behind");
});

// proves: B1, B9, C1
scenario!(b9_a_disc_image_is_listed_by_ordinary_tools_and_copied_from, |world| {
    publish(world);
    let out = world.path("images");
    press(world, &out, &["--count", "2", "--as", "iso"]).done();
    let image = out.join("0001.iso");
    let mut list = Command::new("xorriso");
    list.arg("-indev").arg(&image).args(["-find"]);
    let listed = outcome(list).done().stdout();
    for name in ["identity.json", "README.txt", "START", "content/sky-raider/release.jws", ".pack", ".manifest"] {
        assert!(listed.contains(name), "{name} is missing: {listed}");
    }
    // Joliet as well, for those who read that.
    let mut joliet = Command::new("xorriso");
    joliet.args(["-read_fs", "norock", "-indev"]).arg(&image).arg("-find");
    let listed = outcome(joliet).done().stdout();
    assert!(listed.contains("'./identity.json'") && listed.contains("'./README.txt'"), "{listed}");
    // Unpacked by another program, it is the medium.
    let unpacked = world.path("unpacked");
    let mut extract = Command::new("xorriso");
    extract.args(["-osirrox", "on", "-indev"]).arg(&image).args(["-extract", "/"]).arg(&unpacked);
    outcome(extract).done();
    let anna = world.person("anna");
    let shown = anna.run([OsStr::new("inspect"), image.as_os_str(), OsStr::new("--json")]).done().json();
    let same = anna.run([OsStr::new("inspect"), unpacked.as_os_str(), OsStr::new("--json")]).done().json();
    assert_eq!(shown["identity"], same["identity"]);
    anna.copy(&image).done();
    anna.plays_all("sky-raider", &world.small_tree());
    // The other image is another medium.
    let ben = world.person("ben");
    ben.copy(&unpacked).refused(Code::MediumSpent);
    ben.copy(&out.join("0002.iso")).done();
});

// proves: B1, B9
scenario!(b1_identities_for_a_plant_make_media_with_what_is_common, |world| {
    publish(world);
    let out = world.path("plant");
    press(world, &out, &["--count", "3000", "--as", "identity"]).done();
    let listed = media(&out);
    let ids: HashSet<&String> = listed.iter().map(|row| &row[1]).collect();
    assert_eq!((listed.len(), ids.len()), (3000, 3000));
    // The plant puts the common part and one identity together.
    let disc = world.path("assembled");
    copy_tree(&out.join("common"), &disc);
    fs::copy(out.join(&listed[2998][2]), disc.join("identity.json")).expect("copied");
    let anna = world.person("anna");
    let shown = anna.run([OsStr::new("inspect"), disc.as_os_str(), OsStr::new("--json")]).done().json();
    assert_eq!(shown["identity"]["medium_id"], listed[2998][1].as_str());
    anna.copy(&disc).done();
    anna.plays_all("sky-raider", &world.small_tree());
});

// proves: B1
scenario!(b1_an_interrupted_pressing_goes_on_and_presses_nothing_twice, |world| {
    publish(world);
    let out = world.path("plant");
    let arguments = ["press", "--title", "sky-raider", "--count", "30000", "--as", "identity", "--out"];
    let mut interrupted = world.publisher().command(arguments);
    let mut interrupted = interrupted.arg(&out).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    // The first mark is at 10,000.
    wait_until("some are pressed", || interrupted.try_wait().expect("asked").is_some() || out.join("identities/011/11000.json").exists());
    interrupted.kill().expect("killed");
    assert!(!interrupted.wait().expect("gone").success(), "it was done before it could be killed");

    let resumed = press(world, &out, &["--count", "30000", "--as", "identity"]).done().json();
    assert!(resumed["pressed_now"].as_u64().is_some_and(|now| now <= 20_000), "{resumed}");
    let listed = media(&out);
    let ids: HashSet<&String> = listed.iter().map(|row| &row[1]).collect();
    assert_eq!((listed.len(), ids.len(), crate::world::files_below(&out.join("identities")).len()), (30_000, 30_000, 30_000));
    let (_, batches) = world.api("GET", "/v1/batches", None);
    assert_eq!(batches["items"].as_array().map(Vec::len), Some(1), "{batches}");
    // And once more: all is done.
    let again = press(world, &out, &["--count", "30000", "--as", "identity"]).done().json();
    assert_eq!(again["pressed_now"], 0);
    press(world, &out, &["--count", "5", "--as", "identity"]).failed_json(1, "other_press");
});

// proves: B1
scenario!(b1_imported_ids_are_pressed_and_bad_lines_named, |world| {
    publish(world);
    let file = world.path("ids.csv");
    write(&file, b"label,medium_id\nx,DISC-0001\ny,DISC 0002\nz,DISC-0003\nz,DISC-0001\n");
    let ids = ["--ids", file.to_str().expect("UTF-8")];
    let out = world.path("imported");
    let refused = press(world, &out, &ids).failed_json(1, "ids_invalid");
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.contains("line 3: \"DISC 0002\"") && message.contains("line 5: \"DISC-0001\": it stands in line 2"), "{message}");
    assert!(!out.join("media.csv").exists() && !out.join("0001").exists(), "something was pressed");
    let (_, batches) = world.api("GET", "/v1/batches", None);
    assert_eq!(batches["items"], serde_json::json!([]), "a batch was made");

    let pressed = press(world, &out, &[ids[0], ids[1], "--skip-bad"]).done().json();
    assert_eq!((&pressed["media"], pressed["left_out"].as_array().map(Vec::len)), (&2.into(), Some(2)), "{pressed}");
    let listed = media(&out);
    assert_eq!(listed.iter().map(|row| row[1].as_str()).collect::<HashSet<_>>(), ["DISC-0001", "DISC-0003"].into());
    let anna = world.person("anna");
    anna.copy(&out.join("0002")).done();
    anna.plays_all("sky-raider", &world.small_tree());
});

impl Outcome {
    /// Exit status and code, as programs see them.
    #[track_caller]
    fn failed_json(self, status: i32, code: &str) -> Value {
        assert_eq!(self.output.status.code(), Some(status), "{self}");
        let value = self.json();
        assert_eq!(value["error"]["code"], code, "{self}");
        value
    }
}
