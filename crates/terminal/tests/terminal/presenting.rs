//! Providers (B4–B6): what they are told, what is taken from them and where it lies; and providers that lie.

mod provider;

use crate::common;

use common::*;
use counterfoil_core::wire::{Operation, Presentation};
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::present::{Session, Taken, Who, give, offered, place, present, take};
use counterfoil_terminal::received::Keeper;
use counterfoil_terminal::*;
use provider::{CHALLENGE, Does, provider, sent, track};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A medium that was copied, so that the library holds its title too.
struct Scene {
    world: World,
    disk: DiskModel,
    terminal: Terminal,
    /// Its hardware is looked at again and again.
    _device: Device,
}

impl Scene {
    fn new() -> Self {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        let terminal = world.terminal(Arc::new(disk.clone()), &device);
        copy_once(&terminal).unwrap();
        Self { world, disk, terminal, _device: device }
    }

    fn medium(&self) -> Medium {
        Medium::open(&self.terminal, Path::new(MEDIUM)).unwrap()
    }

    fn library(&self) -> Library {
        Library::open(&self.terminal, Path::new(LIBRARY)).unwrap()
    }

    fn present(&self, url: &str) -> counterfoil_terminal::Result<Session> {
        present(&self.terminal, url, &Who { medium: Some(&self.medium()), user: None, status: true })
    }

    /// Takes what is offered first.
    fn take(&self, url: &str, into_library: bool) -> counterfoil_terminal::Result<Taken> {
        let (medium, library) = (self.medium(), self.library());
        let session = self.present(url)?;
        let who = Who { medium: Some(&medium).filter(|_| !into_library), user: None, status: false };
        let content = offered(&session, &[])?[0];
        let place = place(&self.terminal, &who, Some(&library), &CardChoice::Default, &content.title)?;
        take(&self.terminal, &session, content, &place, &|_, _| {})
    }

    fn got(&self, keeper: &Keeper<'_>) -> Vec<u8> {
        let listed = keeper.list(&self.terminal).unwrap();
        assert_eq!((listed.len(), listed[0].name.as_str(), listed[0].length), (1, "track", track().len() as u64));
        let mut bytes = Vec::new();
        keeper.get(&self.terminal, &listed[0], &mut bytes).unwrap();
        bytes
    }
}

/// proves: B4
#[test]
fn b4_a_provider_sees_the_id_and_a_proof_for_itself_alone() {
    let (scene, (url, did)) = (Scene::new(), Does::well().run());
    let session = scene.present(&format!("{url}/")).unwrap();
    assert_eq!((session.scope.as_str(), session.message.as_deref()), ("download upload", Some("hello")));
    assert_eq!(session.contents[0].description.as_deref(), Some("a[2J track"));
    let asked = did.asked.lock().unwrap();
    let body: Value = serde_json::from_slice(&asked[1].1).unwrap();
    assert_eq!(body["challenge"], CHALLENGE);
    let presentation: Presentation = serde_json::from_value(body["presentation"].clone()).unwrap();
    assert_eq!(presentation.medium_id.as_ref(), Some(&scene.medium().identity().medium_id));
    let request = scene.world.authority.opened(&presentation.envelope).expect("proven by the medium");
    let Operation::Present(sealed) = request.operation else { panic!("another request") };
    assert_eq!((sealed.provider, sealed.url, sealed.challenge.as_str()), (provider(), url, CHALLENGE));
    assert_eq!((sealed.user_id, sealed.device_id), (None, None), "nobody said so");
    // Nothing that proves it is to be read.
    let text = String::from_utf8(asked[1].1.clone()).unwrap();
    assert!(!text.contains(&scene.medium().area().claim_secret) && !text.contains("\"url\""));
}

/// proves: B6
#[test]
fn b6_what_a_provider_gives_lies_on_the_medium_or_sealed_in_the_library() {
    for into_library in [false, true] {
        let (scene, (url, did)) = (Scene::new(), Does::well().run());
        let taken = scene.take(&url, into_library).unwrap();
        assert_eq!((taken.fetched, taken.sealed), (track().len() as u64, into_library));
        assert_eq!(scene.take(&url, into_library).unwrap().fetched, 0, "it is there");
        assert_eq!(did.ranges(), Vec::<String>::new());
        let (medium, library) = (scene.medium(), scene.library());
        let keeper = if into_library { Keeper::Library(&library, &CardChoice::Default) } else { Keeper::Medium(&medium) };
        assert!(scene.got(&keeper) == track());
        assert_eq!(scene.disk.all_bytes().iter().any(|bytes| has_plaintext(bytes)), !into_library, "in plain on the medium alone");
        let received = keeper.list(&scene.terminal).unwrap().remove(0);
        assert_eq!(keeper.damaged(&scene.terminal, &received.title).unwrap(), []);
        if into_library {
            damage(&scene.disk, &taken.path);
            assert_eq!(keeper.damaged(&scene.terminal, &received.title).unwrap(), std::slice::from_ref(&received));
            assert_eq!(keeper.get(&scene.terminal, &received, &mut Vec::new()).unwrap_err().code(), "received_damaged");
            assert!(scene.take(&url, into_library).unwrap().fetched > 0, "and is fetched again");
            assert_plays(&scene.world, &scene.terminal);
            library.remove(&received.title).unwrap();
            assert!(!scene.disk.named_files().iter().any(|(path, _)| path == &taken.path), "it goes with its title");
        } else {
            keeper.remove(&scene.terminal, &received).unwrap();
            assert_eq!(keeper.list(&scene.terminal).unwrap(), []);
        }
    }
}

fn damage(disk: &DiskModel, path: &Path) {
    use counterfoil_terminal::io::{Create, Io};
    let file = disk.create(path, Create::Resume, 0o644).unwrap();
    file.write_all_at(&[0xFF; 7], 1_500_000).unwrap();
}

/// proves: B6
#[test]
fn b6_what_breaks_off_goes_on_where_it_was_and_nothing_of_it_shows_before() {
    for into_library in [false, true] {
        let cut = Arc::new(Mutex::new(vec![1_700_000, 100, 300_001]));
        let cuts = Arc::clone(&cut);
        let contents = Box::new(move |from: u64| {
            let rest = &track()[from as usize..];
            let most = cuts.lock().unwrap().pop().unwrap_or(rest.len());
            sent(from, &rest[..most.min(rest.len())], rest.len())
        });
        let (scene, (url, did)) = (Scene::new(), Does { contents, ..Does::well() }.run());
        for _ in 0..3 {
            assert_eq!(scene.take(&url, into_library).unwrap_err().code(), "unreachable");
            let (medium, library) = (scene.medium(), scene.library());
            let keeper = if into_library { Keeper::Library(&library, &CardChoice::Default) } else { Keeper::Medium(&medium) };
            assert_eq!(keeper.list(&scene.terminal).unwrap(), [], "half of it shows nowhere");
            assert!(!into_library || !scene.disk.all_bytes().iter().any(|bytes| has_plaintext(bytes)));
        }
        assert_eq!(scene.take(&url, into_library).unwrap().fetched, track().len() as u64 - 2_000_101);
        assert_eq!(did.ranges(), ["bytes=300001-", "bytes=300101-", "bytes=2000101-"]);
        let (medium, library) = (scene.medium(), scene.library());
        let keeper = if into_library { Keeper::Library(&library, &CardChoice::Default) } else { Keeper::Medium(&medium) };
        assert!(scene.got(&keeper) == track());
        let left = scene
            .disk
            .named_files()
            .into_iter()
            .find(|(path, _)| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".track")));
        assert!(left.is_none(), "{left:?}");
    }
}

/// What an earlier attempt left was of something else by that name: it is begun anew, once.
#[test]
fn b6_what_was_left_of_something_else_is_not_gone_on_with() {
    for into_library in [false, true] {
        let other = Box::new(|from: u64| sent(from, &vec![7; 1_300_000], track().len()));
        let (scene, (url, _)) = (Scene::new(), Does { contents: other, ..Does::well() }.run());
        scene.take(&url, into_library).unwrap_err();
        let (url, did) = Does::well().run();
        let taken = scene.take(&url, into_library).unwrap();
        assert_eq!(did.ranges(), ["bytes=1300000-"]);
        assert_eq!(taken.fetched, 2 * track().len() as u64 - 1_300_000);
    }
}

/// proves: B6
#[test]
fn b6_what_is_not_as_announced_is_not_kept() {
    // Another file of the same length, and one that goes on behind what was announced.
    for endless in [false, true] {
        for into_library in [false, true] {
            let scene = Scene::new();
            let hash = blake3::hash(&track()).to_hex().to_string();
            let length = if endless { track().len() - 1 } else { track().len() };
            let offer = json!({ "name": "track", "title": TITLE, "length": length, "blake3": hash });
            let session = json!({ "session": "token", "scope": "", "contents": [offer] });
            let contents: Box<dyn Fn(u64) -> Vec<u8> + Send + Sync> = match endless {
                false => Box::new(|from| sent(from, &vec![1; track().len()], track().len())),
                true => Box::new(|from| sent(from, &track(), usize::MAX >> 2)),
            };
            let (url, _) = Does { session, contents, ..Does::well() }.run();
            assert_eq!(scene.take(&url, into_library).unwrap_err().code(), "received_damaged");
            let files = scene.disk.named_files();
            assert!(!files.iter().any(|(path, _)| path.to_string_lossy().contains("/received/")), "nothing of it is kept");
        }
    }
}

/// proves: B4, B6
#[test]
fn b6_answers_that_no_provider_gives_are_not_believed() {
    let scene = Scene::new();
    let good = Does::well().session["contents"][0].clone();
    let with = |change: Value| {
        let mut offer = good.clone();
        offer.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({ "session": "token", "scope": "", "contents": [offer] })
    };
    let sessions = [
        with(json!({ "name": "../../../etc/passwd" })),
        with(json!({ "name": ".profile" })),
        with(json!({ "name": "a/b" })),
        with(json!({ "name": "" })),
        with(json!({ "title": "../x" })),
        with(json!({ "length": -1 })),
        with(json!({ "blake3": "00" })),
        json!({ "session": "token", "scope": "", "contents": [good, good] }),
        json!({ "session": "to\r\nken: x", "scope": "" }),
        json!({ "session": "", "scope": "" }),
        json!([]),
    ];
    for session in sessions {
        let (url, _) = Does { session: session.clone(), ..Does::well() }.run();
        let error = scene.present(&url).err().unwrap_or_else(|| panic!("{session}"));
        assert_eq!(error.code(), "not_a_provider", "{session}");
    }
    let challenge = |authority: &str, challenge: &str| json!({ "provider": provider(), "authority": authority, "challenge": challenge });
    for (asked, code) in [
        (challenge("another", CHALLENGE), "other_authority"),
        (challenge("test-authority", "short"), "not_a_provider"),
        (challenge("test-authority", &"x".repeat(129)), "not_a_provider"),
        (challenge("test-authority", "sixteen and a \n blank"), "not_a_provider"),
    ] {
        let (url, did) = Does { challenge: asked.clone(), ..Does::well() }.run();
        assert_eq!(scene.present(&url).err().unwrap().code(), code, "{asked}");
        assert_eq!(did.asked.lock().unwrap().len(), 1, "nothing was presented to it");
    }
    for url in ["http://arcade.example", "ftp://127.0.0.1", "127.0.0.1:9", "https://user@arcade.example", "http://127.0.0.1?x=", ""] {
        assert_eq!(scene.present(url).err().unwrap().code(), "provider_address", "{url}");
    }
}

/// proves: B6
#[test]
fn b6_a_length_that_no_drive_has_room_for_is_refused_as_that() {
    let scene = Scene::new();
    let mut session = Does::well().session;
    session["contents"][0]["length"] = u64::MAX.into();
    for into_library in [false, true] {
        let (url, _) = Does { session: session.clone(), ..Does::well() }.run();
        assert_eq!(scene.take(&url, into_library).unwrap_err().code(), "no_space");
    }
}

#[test]
fn b6_nobody_is_sent_elsewhere_or_given_the_whole_for_a_part() {
    let scene = Scene::new();
    let elsewhere = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let (url, _) = Does { contents: Box::new(|_| elsewhere.to_vec()), ..Does::well() }.run();
    assert_eq!(scene.take(&url, false).unwrap_err().code(), "not_a_provider");
    let cut = |from: u64| if from == 0 { sent(0, &track()[..500_000], track().len()) } else { sent(0, &track(), track().len()) };
    let (url, _) = Does { contents: Box::new(cut), ..Does::well() }.run();
    assert_eq!(scene.take(&url, false).unwrap_err().code(), "unreachable");
    assert_eq!(scene.take(&url, false).unwrap_err().code(), "not_a_provider");
}

#[test]
fn b6_what_is_given_is_what_is_taken() {
    let scene = Scene::new();
    let file = Path::new("/replay");
    put(&scene.disk, "/", &[("replay".to_owned(), vec![1; 99]), ("long".to_owned(), vec![1; 101])]);
    let (url, did) = Does::well().run();
    let session = scene.present(&url).unwrap();
    let code = |path: &Path, name: &str| give(&scene.terminal, &session, path, name, None, &|_, _| {}).unwrap_err();
    assert_eq!(code(Path::new("/long"), "long").code(), "not_taken");
    assert_eq!(code(file, "../x").code(), "not_taken");
    assert_eq!(did.asked.lock().unwrap().len(), 2, "nothing was sent");
    let refused = code(file, "replay");
    assert_eq!((refused.code(), refused.exit_code()), ("provider_refused", 1));
    assert!(refused.to_string().contains("that is too much"));
    let (url, _) = Does { session: json!({ "session": "token", "scope": "" }), ..Does::well() }.run();
    let session = scene.present(&url).unwrap();
    assert_eq!(give(&scene.terminal, &session, file, "replay", None, &|_, _| {}).unwrap_err().code(), "not_taken");
}

/// A stick may have been prepared to lead anywhere.
#[test]
fn b6_nothing_is_written_through_links_on_a_medium() {
    let directory = tempfile::tempdir().unwrap();
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let path = |name: &str| directory.path().join(name);
    for (name, bytes) in world.press(1) {
        std::fs::create_dir_all(path("medium").join(&name).parent().unwrap()).unwrap();
        std::fs::write(path("medium").join(name), bytes).unwrap();
    }
    let setup = Setup { home: path("home"), hardware_root: device.root.path().to_owned(), server: None, ca: None, card: None, via: None };
    let terminal = world.terminal_at(Arc::new(io::RealIo), setup).unwrap();
    let medium = Medium::open(&terminal, &path("medium")).unwrap();
    let who = Who { medium: Some(&medium), user: None, status: true };
    std::fs::create_dir(path("elsewhere")).unwrap();
    std::fs::write(path("profile"), b"mine").unwrap();
    let received = path("medium").join("content").join(TITLE).join("received");
    std::os::unix::fs::symlink(path("elsewhere"), &received).unwrap();
    std::os::unix::fs::symlink(path("profile"), path("medium").join(".counterfoil.probe")).unwrap();
    let (url, _) = Does::well().run();
    let taken = || {
        let session = present(&terminal, &url, &who)?;
        let place = place(&terminal, &who, None, &CardChoice::Default, &title())?;
        take(&terminal, &session, &session.contents[0], &place, &|_, _| {})
    };
    taken().unwrap_err();
    assert_eq!(std::fs::read_dir(path("elsewhere")).unwrap().count(), 0);
    std::fs::remove_file(&received).unwrap();
    let below = received.join(provider().to_string());
    std::fs::create_dir_all(&below).unwrap();
    std::os::unix::fs::symlink(path("profile"), below.join(".track.partial")).unwrap();
    std::os::unix::fs::symlink(path("profile"), below.join("track")).unwrap();
    let taken = taken().unwrap();
    assert!(std::fs::read(&taken.path).unwrap() == track() && !taken.path.is_symlink());
    assert_eq!(std::fs::read(path("profile")).unwrap(), b"mine");
    assert!(medium.is_writable(&terminal));
}

#[test]
fn b4_without_medium_or_registration_there_is_nothing_to_present() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let terminal = world.terminal(Arc::new(DiskModel::new()), &device);
    let (url, did) = Does::well().run();
    let who = Who { medium: None, user: Some(&CardChoice::Default), status: true };
    assert!(present(&terminal, &url, &who).is_err());
    assert_eq!(did.asked.lock().unwrap().iter().filter(|(head, _)| head.contains("/v1/present")).count(), 0);
}
