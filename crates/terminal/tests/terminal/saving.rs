//! Saves of two devices of one user: handed in, taken, in conflict, restored, removed (A4).

use crate::common;

use common::authority::State;
use common::*;
use counterfoil_core::rules::upload::Allowed;
use counterfoil_core::wire::SlotVersion;
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::io::{Io, RealIo};
use counterfoil_terminal::save::{self, Pull, Pulled, Push, Pushed, SaveError};
use counterfoil_terminal::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const SAVE: &str = "/saves/slot";

/// Two devices of one user, who may hand in a MiB.
pub struct Two {
    pub world: World,
    pub devices: [Device; 2],
    pub disks: [DiskModel; 2],
}

impl World {
    /// So many messages from now on, one does not arrive.
    pub fn lose_request(&self, later: u64) {
        let mut faults = self.faults.lock().unwrap();
        faults.lose_requests = vec![faults.sent + later];
    }

    /// The same, where it does and its answer does not.
    pub fn lose_answer(&self, later: u64) {
        let mut faults = self.faults.lock().unwrap();
        faults.lose_answers = vec![faults.sent + later];
    }
}

impl Two {
    pub fn new() -> Self {
        Self::with(Some(Allowed { bytes: 1 << 20, readable: false }))
    }

    pub fn with(allowed: Option<Allowed>) -> Self {
        let world = World::new();
        let devices = [Device::new("pc 1", "disk 1"), Device::new("pc 2", "disk 2")];
        let first = registered(&world, &devices[0]);
        let user = card_show(&world.terminal(Arc::new(first.clone()), &devices[0]), &CardChoice::Default).unwrap().user_id;
        let second = first.snapshot();
        second.remove_file(Path::new("/home/device.json")).unwrap();
        let options = RegisterOptions { user, library: Some(LIBRARY.into()), ..RegisterOptions::default() };
        register(&world.terminal(Arc::new(second.clone()), &devices[1]), &options).unwrap();
        world.authority.state.lock().unwrap().uploads.allowed = allowed;
        Self { world, devices, disks: [first, second] }
    }

    pub fn terminal(&self, which: usize) -> Terminal {
        self.world.terminal(Arc::new(self.disks[which].clone()), &self.devices[which])
    }

    /// What lies on a device: text by name.
    pub fn write(&self, which: usize, files: &[(&str, &str)]) {
        write(&self.disks[which], files);
    }

    pub fn read(&self, which: usize) -> Vec<(String, String)> {
        read(&self.disks[which])
    }

    pub fn push(&self, which: usize) -> Result<Pushed> {
        self.push_with(which, false)
    }

    pub fn push_with(&self, which: usize, over: bool) -> Result<Pushed> {
        push(&self.terminal(which), over)
    }

    pub fn pull(&self, which: usize) -> Result<Pulled> {
        self.pull_with(which, None, false)
    }

    pub fn pull_with(&self, which: usize, version: Option<u32>, over: bool) -> Result<Pulled> {
        let wanted = Pull { path: Some(SAVE.into()), version, over, ..Pull::default() };
        save::pull(&self.terminal(which), &CardChoice::Default, &title(), &wanted, &|_, _| {})
    }

    pub fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.world.authority.state.lock().unwrap())
    }
}

pub fn push(terminal: &Terminal, over: bool) -> Result<Pushed> {
    let wanted = Push { path: Some(SAVE.into()), over, ..Push::default() };
    save::push(terminal, &CardChoice::Default, &title(), &wanted, &|_, _| {})
}

pub fn write(disk: &DiskModel, files: &[(&str, &str)]) {
    let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    put(disk, SAVE, &files);
}

/// All files of the save, by name.
pub fn read(disk: &DiskModel) -> Vec<(String, String)> {
    let files = disk.named_files().into_iter().filter(|(path, _)| path.starts_with(SAVE));
    let mut files: Vec<_> = files
        .map(|(path, bytes)| (path.strip_prefix(SAVE).unwrap().to_str().unwrap().to_owned(), String::from_utf8(bytes).unwrap()))
        .collect();
    files.sort();
    files
}

pub fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

pub const FIRST: &[(&str, &str)] = &[("a/deep/one.sav", "level 1"), ("options", "loud")];

/// proves: A4
#[test]
fn a4_what_one_device_saves_another_one_takes() {
    let two = Two::new();
    two.write(0, FIRST);
    let pushed = two.push(0).unwrap();
    assert_eq!((pushed.version, pushed.unchanged, pushed.sealed), (1, false, true));
    assert_eq!(pushed.used, two.state(|state| state.uploads.versions[0].item.length));
    let pulled = two.pull(1).unwrap();
    assert!(!pulled.unchanged && pulled.sealed);
    assert_eq!(two.read(1), owned(FIRST));
    // Neither has anything new.
    assert!(two.push(0).unwrap().unchanged && two.push(1).unwrap().unchanged && two.pull(1).unwrap().unchanged);
    assert_eq!(two.world.effects("upload"), 1);
    // The second goes on from there; what is gone there is gone here.
    two.disks[1].remove_file(Path::new("/saves/slot/options")).unwrap();
    two.write(1, &[("a/deep/one.sav", "level 2")]);
    assert_eq!(two.push(1).unwrap().version, 2);
    assert_eq!(two.pull(0).unwrap().version.version, 2);
    assert_eq!(two.read(0), owned(&[("a/deep/one.sav", "level 2")]));
    // Nothing is readable but where the user has put it.
    for version in two.state(|state| state.uploads.versions.clone()) {
        assert!(!String::from_utf8_lossy(&version.bytes).contains("level") && !String::from_utf8_lossy(&version.bytes).contains("ustar"));
    }
}

/// proves: A4
#[test]
fn a4_a_conflict_is_shown_and_nothing_is_put_over_anything() {
    let two = Two::new();
    two.write(0, &[("x", "base")]);
    two.push(0).unwrap();
    two.pull(1).unwrap();
    two.write(0, &[("x", "first")]);
    two.write(1, &[("x", "second")]);
    two.push(0).unwrap();
    let Err(Error::Save(SaveError::Conflict(conflict))) = two.push(1) else { panic!("a conflict") };
    assert_eq!((conflict.newest.version, conflict.follows), (2, 1));
    assert_eq!(two.pull(1).unwrap_err().code(), "local_changes");
    assert_eq!(two.read(1), owned(&[("x", "second")]));
    // One way: above the other. All three are kept.
    assert_eq!(two.push_with(1, true).unwrap().version, 3);
    assert_eq!(two.state(|state| state.uploads.versions.len()), 3);
    // The other way, on the other device: the newest in place of what lies there.
    two.write(0, &[("x", "third")]);
    assert_eq!(two.push(0).unwrap_err().code(), "save_conflict");
    assert_eq!(two.pull_with(0, None, true).unwrap().version.version, 3);
    assert_eq!(two.read(0), owned(&[("x", "second")]));
    two.write(0, &[("x", "fourth")]);
    assert_eq!(two.push(0).unwrap().version, 4);
}

/// A device that was never told of a save does not push its own over it.
#[test]
fn a4_a_device_that_has_never_pulled_is_in_conflict() {
    let two = Two::new();
    two.write(0, FIRST);
    two.push(0).unwrap();
    two.write(1, &[("new", "game")]);
    let Err(Error::Save(SaveError::Conflict(conflict))) = two.push(1) else { panic!("a conflict") };
    assert_eq!((conflict.newest.version, conflict.follows), (1, 0));
    assert_eq!(two.pull(1).unwrap_err().code(), "local_changes");
}

/// Both announce, both send: the second to be complete is told of the first.
#[test]
fn a4_of_two_pushes_at_once_one_is_in_conflict() {
    let two = Two::new();
    two.write(0, &[("x", "one")]);
    two.write(1, &[("x", "two")]);
    // The second device has announced (2 exchanges) and is cut off before its first bytes.
    two.world.lose_request(2);
    assert_eq!(two.push(1).unwrap_err().code(), "unreachable");
    assert_eq!(two.push(0).unwrap().version, 1);
    let Err(Error::Save(SaveError::Conflict(conflict))) = two.push(1) else { panic!("a conflict") };
    assert_eq!(conflict.newest.version, 1);
    assert_eq!(two.push_with(1, true).unwrap().version, 2);
}

/// proves: A4
#[test]
fn a4_an_older_version_is_restored_for_all() {
    let two = Two::new();
    for text in ["one", "two", "three"] {
        two.write(0, &[("x", text)]);
        two.push(0).unwrap();
    }
    two.pull(1).unwrap();
    let wanted = Pull { path: Some(SAVE.into()), version: Some(1), ..Pull::default() };
    let (pulled, pushed) = save::restore(&two.terminal(1), &CardChoice::Default, &title(), &wanted, &|_, _| {}).unwrap();
    assert_eq!((pulled.version.version, pushed.unwrap().version), (1, 4));
    assert_eq!(two.read(1), owned(&[("x", "one")]));
    two.pull(0).unwrap();
    assert_eq!(two.read(0), owned(&[("x", "one")]));
    // The newest is only taken.
    let wanted = Pull { version: Some(4), ..wanted };
    let (_, pushed) = save::restore(&two.terminal(1), &CardChoice::Default, &title(), &wanted, &|_, _| {}).unwrap();
    assert_eq!(pushed, None);
}

#[test]
fn a4_versions_are_listed_and_removed() {
    let two = Two::new();
    two.write(0, &[("x", "one")]);
    two.push(0).unwrap();
    two.write(0, &[("x", "two")]);
    two.push(0).unwrap();
    let saves = save::list(&two.terminal(0), &CardChoice::Default, &title()).unwrap();
    let here: Vec<_> = saves.versions.iter().map(|listed| (listed.version.version, listed.here.clone(), listed.mine)).collect();
    assert_eq!(here, [(1, vec![], true), (2, vec![PathBuf::from(SAVE)], true)]);
    let elsewhere = save::list(&two.terminal(1), &CardChoice::Default, &title()).unwrap();
    assert!(elsewhere.versions.iter().all(|listed| listed.here.is_empty() && !listed.mine));
    let newest = vec![SlotVersion { slot: "main".into(), version: 2 }];
    let remove = |versions| save::remove(&two.terminal(1), &CardChoice::Default, &title(), versions);
    // The answer is lost: the same command gets it.
    two.world.lose_answer(1);
    assert_eq!(remove(newest.clone()).unwrap_err().code(), "unreachable");
    assert_eq!(remove(newest.clone()).unwrap().versions.len(), 1);
    assert_eq!(remove(newest).unwrap_err().code(), "upload_unknown");
    // What it stood at is gone, and nobody has saved since: no conflict.
    two.write(0, &[("x", "three")]);
    assert_eq!(two.push(0).unwrap().version, 3);
}

#[test]
fn a4_more_than_may_be_held_is_refused_and_leaves_nothing() {
    let two = Two::with(Some(Allowed { bytes: 5000, readable: false }));
    two.write(0, &[("x", &"much".repeat(2000))]);
    assert_eq!(refusal(two.push(0)), counterfoil_core::Code::QuotaExceeded);
    assert!(!two.disks[0].named_files().iter().any(|(path, _)| path.ends_with("push.sealed")));
    let none = Two::with(None);
    none.write(0, FIRST);
    assert_eq!(refusal(none.push(0)), counterfoil_core::Code::RightMissing);
}

/// What was announced and does not lie there any more takes no room.
#[test]
fn a4_a_push_that_was_cut_off_and_is_outdated_is_taken_back() {
    let two = Two::with(Some(Allowed { bytes: 12_000, readable: false }));
    two.write(0, &[("x", &"old ".repeat(1500))]);
    two.world.lose_request(4);
    two.push(0).unwrap_err();
    two.write(0, &[("x", &"new ".repeat(1500))]);
    assert_eq!(two.push(0).unwrap().version, 1);
    assert_eq!(two.state(|state| state.uploads.open.len()), 1, "the first one is gone");
    // Its answer lost, it is not known to be announced, and taken back all the same.
    two.write(1, &[("y", &"else".repeat(100))]);
    two.state(|state| state.uploads = Default::default());
    two.state(|state| state.uploads.allowed = Some(Allowed { bytes: 12_000, readable: false }));
    two.world.lose_answer(1);
    two.push(1).unwrap_err();
    two.write(1, &[("y", "something else")]);
    assert_eq!(two.push(1).unwrap().version, 1);
    assert_eq!(two.state(|state| state.uploads.open.len()), 1);
}

#[test]
fn b6_what_providers_are_to_read_leaves_plain_and_says_so() {
    let two = Two::with(Some(Allowed { bytes: 1 << 20, readable: true }));
    two.write(0, FIRST);
    assert!(!two.push(0).unwrap().sealed);
    let bytes = two.state(|state| state.uploads.versions[0].bytes.clone());
    assert!(String::from_utf8_lossy(&bytes).contains("level 1"));
    let mut names: Vec<_> = Vec::new();
    for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().to_str().unwrap().to_owned());
    }
    assert_eq!(names, ["content", "content/a", "content/a/deep", "content/a/deep/one.sav", "content/options"]);
    assert!(!two.pull(1).unwrap().sealed);
    assert_eq!(two.read(1), owned(FIRST));
    // The right changed meanwhile: what was handed in before is still what it was.
    two.state(|state| state.uploads.allowed = Some(Allowed { bytes: 1 << 20, readable: false }));
    two.write(0, &[("options", "quiet")]);
    assert!(two.push(0).unwrap().sealed);
    assert!(!two.pull_with(1, Some(1), false).unwrap().sealed || two.pull_with(1, Some(1), true).unwrap().unchanged);
    assert!(two.pull(1).unwrap().sealed);
}

/// On a file system with everything that there is: a file by itself, links, long and hostile names, permissions.
#[test]
fn a4_files_and_directories_of_a_real_disk() {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let setup = Setup { home: at("home"), ..device.setup() };
    let terminal = world.terminal_at(Arc::new(RealIo), setup).unwrap();
    register(&terminal, &RegisterOptions::default()).unwrap();
    world.authority.state.lock().unwrap().uploads.allowed = Some(Allowed { bytes: 1 << 20, readable: false });
    let push = |path: PathBuf| {
        let wanted = Push { slot: "real".parse().unwrap(), path: Some(path), over: true, ..Push::default() };
        save::push(&terminal, &CardChoice::Default, &title(), &wanted, &|_, _| {})
    };
    let pull = |path: PathBuf, over: bool| {
        let wanted = Pull { slot: "real".parse().unwrap(), path: Some(path), over, ..Pull::default() };
        save::pull(&terminal, &CardChoice::Default, &title(), &wanted, &|_, _| {})
    };
    fs::write(at("one.sav"), "alone").unwrap();
    push(at("one.sav")).unwrap();
    pull(at("other/two.sav"), false).unwrap();
    assert_eq!(fs::read_to_string(at("other/two.sav")).unwrap(), "alone");
    // A directory in a file's place, with a name that needs two headers, an empty directory and a program.
    let long = "ä".repeat(90);
    fs::create_dir_all(at("tree").join(&long).join("empty")).unwrap();
    fs::write(at("tree").join(&long).join("run"), "#!/bin/sh").unwrap();
    fs::set_permissions(at("tree").join(&long).join("run"), fs::Permissions::from_mode(0o700)).unwrap();
    push(at("tree")).unwrap();
    assert_eq!(pull(at("one.sav"), false).unwrap().version.version, 2);
    assert!(at("one.sav").join(&long).join("empty").is_dir());
    assert_eq!(fs::metadata(at("one.sav").join(&long).join("run")).unwrap().permissions().mode() & 0o111, 0o111);
    assert!(push(at("one.sav")).unwrap().unchanged);
    // Nothing of it lies beside.
    let mut beside: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["home", "one.sav", "other", "tree"]);
    // A link is not followed: neither saved, nor removed with what it leads to.
    fs::create_dir(at("mine")).unwrap();
    fs::write(at("mine/kept"), "kept").unwrap();
    symlink(at("mine"), at("one.sav/link")).unwrap();
    assert_eq!(push(at("one.sav")).unwrap_err().code(), "not_savable");
    assert_eq!(pull(at("one.sav"), false).unwrap_err().code(), "not_savable");
    pull(at("one.sav"), true).unwrap();
    assert!(!at("one.sav/link").exists());
    symlink(at("mine"), at("linked")).unwrap();
    pull(at("linked"), true).unwrap();
    assert!(at("linked").join(&long).is_dir() && !at("linked").is_symlink());
    assert_eq!(fs::read_to_string(at("mine/kept")).unwrap(), "kept");
    // Names that not every system can hold.
    for (name, _) in [("a:b", ()), ("CON", ()), ("x ", ())] {
        let bad = at("bad");
        fs::create_dir_all(&bad).unwrap();
        fs::write(bad.join(name), "").unwrap();
        assert_eq!(push(bad.clone()).unwrap_err().code(), "not_savable", "{name}");
        fs::remove_dir_all(bad).unwrap();
    }
    assert_eq!(push(at("nothing")).unwrap_err().code(), "not_found");
}
