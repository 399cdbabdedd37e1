//! Damage is found, named and healed; a medium that fails costs nothing.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use counterfoil_core::Code;

use crate::world::{Device, files_below, outcome, scenario, set_mode};

/// The largest file below a directory: a pack.
fn pack(directory: &Path) -> PathBuf {
    let size = |path: &PathBuf| fs::metadata(path).expect("there").len();
    files_below(directory).into_iter().max_by_key(size).expect("files")
}

/// Turns over one byte. Media share files, so the file is made the medium's own first.
fn flip(path: &Path, at: u64) {
    let bytes = fs::read(path).expect("readable");
    fs::remove_file(path).expect("unlinked");
    fs::write(path, bytes).expect("its own");
    set_mode(path, 0o644);
    let file = fs::File::options().read(true).write(true).open(path).expect("writable");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

fn verify(device: &Device, more: &[&OsStr]) -> crate::world::Outcome {
    let mut verify = device.command(["verify", "sky-raider", "--library"]);
    verify.arg(&device.library).args(more);
    outcome(verify)
}

scenario!(a_damaged_library_is_found_named_and_healed_from_the_medium, |world| {
    let discs = world.discs(2);
    let (anna, ben) = (world.person("anna"), world.person("ben"));
    anna.copy(&discs[0]).done();
    ben.copy(&discs[1]).done();
    verify(&anna, &[]).done();
    verify(&anna, &[OsStr::new("--repair-from"), world.path("nowhere").as_os_str()]).failed(3, "nowhere");

    let damaged = pack(&anna.library);
    flip(&damaged, 100_000);
    let name = damaged.file_stem().and_then(OsStr::to_str).expect("a name").to_owned();
    let found = verify(&anna, &[]).failed(1, "is damaged in 1 place").stderr();
    assert!(found.contains(&format!("pack {name} at offset ")) && found.contains("in data/level-1 from offset "), "{found}");
    anna.play("sky-raider", "data/level-1").failed(3, "damaged");
    // What is whole plays.
    anna.play("sky-raider", "data/text").done();

    verify(&anna, &[OsStr::new("--repair-from"), discs[0].as_os_str()]).done();
    anna.plays_all("sky-raider", &world.small_tree());
    assert!(crate::world::files_with(&anna.library, crate::world::CANARY).is_empty());
});

scenario!(a_title_whose_record_is_damaged_is_listed_as_that_and_can_be_removed, |world| {
    let discs = world.discs(1);
    let anna = world.person("anna");
    anna.copy(&discs[0]).done();
    let in_library = |words: &[&str]| {
        let mut command = anna.command(words);
        command.arg("--library").arg(&anna.library);
        outcome(command)
    };
    fs::write(anna.library.join("titles/sky-raider/current"), "{").expect("written");
    let words = in_library(&["list"]).done().stdout();
    assert!(words.contains("sky-raider") && words.contains("cannot be read"), "{words}");
    let listed = in_library(&["list", "--json"]).done().json();
    assert_eq!(listed["titles"].as_array().map(Vec::len), Some(0));
    assert_eq!(listed["damaged"][0]["title"], "sky-raider");
    in_library(&["remove", "sky-raider", "--yes"]).done();
    // What is not there is not asked about.
    let nothing = in_library(&["remove", "sky-raider"]).failed(3, "sky-raider").stderr();
    assert!(!nothing.contains("--yes") && !nothing.contains("warning"), "{nothing}");
});

scenario!(a_library_is_not_healed_for_somebody_else, |world| {
    let discs = world.discs(2);
    let (anna, ben) = (world.person("anna"), world.person("ben"));
    anna.copy(&discs[0]).done();
    ben.copy(&discs[1]).done();
    flip(&pack(&anna.library), 100_000);
    let thief = Device { library: anna.library.clone(), ..ben };
    verify(&thief, &[OsStr::new("--repair-from"), discs[0].as_os_str()]).refused(Code::PlayNotPermitted);
});

scenario!(a_damaged_medium_is_named_and_what_was_copied_is_kept, |world| {
    let discs = world.discs(2);
    let anna = world.person("anna");
    let damaged = pack(&discs[0]);
    flip(&damaged, 100_000);
    let outcome = anna.copy(&discs[0]).failed(3, "damaged");
    let name = damaged.file_name().and_then(OsStr::to_str).expect("a name");
    assert!(outcome.stderr().contains(&name[..16]), "the pack is not named: {outcome}");
    // Cleaned, it reads again: the copy goes on.
    fs::copy(pack(&discs[1]), &damaged).expect("the same pack from another disc");
    anna.copy(&discs[0]).done();
    anna.plays_all("sky-raider", &world.small_tree());
});

scenario!(a_medium_that_is_pulled_out_loses_nothing, |world| {
    let disc = world.discs(1).remove(0);
    let anna = world.person("anna");
    let away = world.path("away");
    let pack = pack(&disc);
    fs::rename(&pack, &away).expect("pulled out");
    anna.copy(&disc).failed(3, "");
    fs::rename(&away, &pack).expect("put in again");
    anna.copy(&disc).done();
    anna.plays_all("sky-raider", &world.small_tree());
});
