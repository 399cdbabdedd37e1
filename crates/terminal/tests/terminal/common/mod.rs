//! What the terminal's tests share: an authority, media with real content, devices that differ in their hardware, disks in memory.

pub mod authority;
pub mod buggy;
pub mod deltas;
pub mod gate;
pub mod interrupted;
pub mod releases;

use authority::{Authority, Faults, Link, NOW, PressedMedium};
use counterfoil_core::wire::{IdentityArea, IdentityClaims, PublisherOnMedium, TitleOnMedium};
use counterfoil_core::*;
use counterfoil_format::content::{ContentKey, Manifest, ObjectName, PackSink, PackedObject, PublishOptions, Release, publish};
use counterfoil_format::jws::sign_compact;
use counterfoil_format::secret::{Secret, SystemRandom};
use counterfoil_format::sign::SigningKey;
use counterfoil_terminal::clock::FixedClock;
use counterfoil_terminal::io::{Create, Io, create_dirs, model::DiskModel, parent};
use counterfoil_terminal::transport::Transport;
use counterfoil_terminal::*;
use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// As many seeds as are tried with every change, and `COUNTERFOIL_TEST_LONG` times as many by hand.
pub fn seeds(short: u64) -> u64 {
    short * std::env::var("COUNTERFOIL_TEST_LONG").map_or(1, |times| times.parse::<u64>().expect("a number"))
}

/// Stands in every file of the test title; must never be found on a disk.
pub const CANARY: &[u8] = b"CANARY-of-plaintext-that-must-not-lie-on-any-disk";
pub const TITLE: &str = "sky-raider";
pub const HOME: &str = "/home";
pub const LIBRARY: &str = "/library";
pub const MEDIUM: &str = "/medium";

pub fn title() -> TitleId {
    TITLE.parse().unwrap()
}

/// A title that was published: release document, objects, and what its files hold.
pub struct Content {
    pub title: TitleOnMedium,
    pub token: String,
    pub release: Release,
    pub manifest: Vec<u8>,
    pub packs: BTreeMap<ObjectName, Vec<u8>>,
    pub files: BTreeMap<String, Vec<u8>>,
    pub key: Secret<32>,
}

#[derive(Default)]
struct Memory {
    partial: Vec<u8>,
    packs: BTreeMap<ObjectName, Vec<u8>>,
}

impl PackSink for Memory {
    fn write(&mut self, sealed: &[u8]) -> io::Result<()> {
        self.partial.extend_from_slice(sealed);
        Ok(())
    }

    fn finish(&mut self, object: PackedObject) -> io::Result<()> {
        self.packs.insert(object.name, std::mem::take(&mut self.partial));
        Ok(())
    }
}

/// Publishes a small tree of several packs: stored and compressed chunks, an empty file, an executable, a link, a directory.
pub fn content(name: &str) -> Content {
    release_of(name, "1.0.0", Secret::random(&mut SystemRandom), &[])
}

/// A release of it with further files, under a key that may be another release's.
pub fn release_of(name: &str, version: &str, key: Secret<32>, more: &[(&str, Vec<u8>)]) -> Content {
    let mut noise = vec![0; 600_000];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut noise);
    let mut prose = Vec::new();
    while prose.len() < 300_000 {
        prose.extend_from_slice(CANARY);
        prose.extend_from_slice(prose.len().to_string().as_bytes());
    }
    noise[1000..1000 + CANARY.len()].copy_from_slice(CANARY);
    let mut files: BTreeMap<String, Vec<u8>> = [
        ("bin/game".to_owned(), [b"#!/bin/sh\necho ".as_slice(), CANARY, b"\n"].concat()),
        ("data/noise.bin".to_owned(), noise),
        ("data/größe.txt".to_owned(), prose),
        ("empty".to_owned(), Vec::new()),
    ]
    .into();
    files.extend(more.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())));
    let content = published(name, version, key, files, &[]);
    assert!(content.packs.len() >= 3, "several packs are needed to try anything");
    content
}

/// A release of these files; packs of earlier ones are used again.
fn published(name: &str, version: &str, key: Secret<32>, files: BTreeMap<String, Vec<u8>>, earlier: &[&Manifest]) -> Content {
    let root = tempfile::tempdir().unwrap();
    for (path, bytes) in &files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::create_dir(root.path().join("nothing")).unwrap();
    std::os::unix::fs::symlink("../data/größe.txt", root.path().join("bin/link")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(root.path().join("bin/game"), mode).unwrap();

    let mut sink = Memory::default();
    let options = PublishOptions { level: 1, threads: 1, pack_bytes: 240_000, earlier };
    let published = publish(root.path(), &ContentKey::new(key.clone()), &options, &mut sink, &mut |_| {}).unwrap();
    let publisher = SigningKey::from_seed(&Secret::new([0xB1; 32]));
    let release = Release {
        title: name.to_owned(),
        version: version.into(),
        kind: counterfoil_format::content::Kind::Game,
        entry: Some("bin/game".into()),
        control: None,
        generation: 1,
        size: published.manifest.size(),
        files: published.manifest.files(),
        manifest: published.reference,
    };
    let title = TitleOnMedium {
        title: name.parse().unwrap(),
        name: format!("Title {name}"),
        kind: Kind::Game,
        release: version.parse().unwrap(),
        publisher: PublisherOnMedium { id: "acme".into(), key: publisher.verifying_key().to_string() },
    };
    Content { title, token: release.sign("acme", &publisher), release, manifest: published.sealed_manifest, packs: sink.packs, files, key }
}

/// An authority, what it has published, and the network.
pub struct World {
    pub authority: Arc<Authority>,
    pub faults: Arc<Mutex<Faults>>,
    pub contents: Vec<Content>,
}

impl World {
    pub fn new() -> Self {
        Self::with(vec![content(TITLE)])
    }

    pub fn with(contents: Vec<Content>) -> Self {
        let authority = Authority::new();
        for content in &contents {
            authority.state.lock().unwrap().content.insert(content.title.title.clone(), content.key.clone());
        }
        Self { authority, faults: Arc::default(), contents }
    }

    /// Puts a release on sale: its objects at the contents servers, its document at the authority, as the newest.
    pub fn sell(&self, content: &Content) {
        let mut objects = self.authority.contents.objects.lock().unwrap();
        objects.insert(content.release.manifest.object.to_string(), content.manifest.clone());
        objects.extend(content.packs.iter().map(|(name, bytes)| (name.to_string(), bytes.clone())));
        let mut state = self.authority.state.lock().unwrap();
        state.content.insert(content.title.title.clone(), content.key.clone());
        state.on_sale.insert(content.title.title.clone(), (content.title.clone(), content.token.clone()));
    }

    /// Presses a medium: identity area and content area, as a list of files.
    pub fn press(&self, serial: u64) -> Vec<(String, Vec<u8>)> {
        let batch = BatchId([7; 8]);
        let medium_id = MediumId::pressed(batch, serial);
        let secret = Secret::random(&mut SystemRandom);
        let claims = IdentityClaims {
            iss: "test-authority".into(),
            iat: NOW.seconds(),
            medium_id: medium_id.clone(),
            batch,
            serial,
            epoch: 1,
            titles: self.contents.iter().map(|content| content.title.clone()).collect(),
            rights: Rights::default(),
        };
        let (kid, key) = self.authority.signing_now();
        let area = IdentityArea {
            counterfoil: 1,
            identity: sign_compact(IDENTITY_TYP, kid, &claims, &key),
            claim_secret: authority::claim_secret(&secret),
            authority: self.authority.document_of(),
        };
        let pressed = PressedMedium::new(secret, claims);
        self.authority.state.lock().unwrap().media.insert(medium_id, pressed);

        let mut files = vec![(layout::IDENTITY.to_owned(), serde_json::to_vec(&area).unwrap())];
        for content in &self.contents {
            let title = &content.title.title;
            files.push((layout::release(title), content.token.clone().into_bytes()));
            files.push((layout::manifest(title, &content.release.manifest.object), content.manifest.clone()));
            files.extend(content.packs.iter().map(|(name, bytes)| (layout::pack(title, name), bytes.clone())));
        }
        files
    }

    /// A terminal on this disk, with the hardware of `device`.
    pub fn terminal(&self, io: Arc<dyn Io>, device: &Device) -> Terminal {
        self.try_terminal(io, device).unwrap()
    }

    pub fn try_terminal(&self, io: Arc<dyn Io>, device: &Device) -> counterfoil_terminal::Result<Terminal> {
        self.terminal_at(io, device.setup())
    }

    pub fn terminal_at(&self, io: Arc<dyn Io>, setup: Setup) -> counterfoil_terminal::Result<Terminal> {
        self.terminal_when(io, setup, NOW)
    }

    /// The same, with its clock at `now`.
    pub fn terminal_when(&self, io: Arc<dyn Io>, setup: Setup, now: Timestamp) -> counterfoil_terminal::Result<Terminal> {
        self.terminal_by(io, setup, Arc::new(FixedClock::at(now)))
    }

    /// The same, by a clock that can be moved.
    pub fn terminal_by(&self, io: Arc<dyn Io>, setup: Setup, clock: Arc<FixedClock>) -> counterfoil_terminal::Result<Terminal> {
        let (authority, faults) = (self.authority.clone(), self.faults.clone());
        let connect: Connect =
            Box::new(move |_, _| Ok(Arc::new(Link { authority: authority.clone(), faults: faults.clone() }) as Arc<dyn Transport>));
        let parts = Parts { io, clock, random: Box::new(SystemRandom), connect };
        Terminal::with_parts(setup, parts)
    }

    /// Changes the rights of medium 1, and orders a new identity for it.
    pub fn order_refresh(&self) {
        let id = MediumId::pressed(BatchId([7; 8]), 1);
        let rights = crate::refreshing::changed_rights();
        self.authority.state.lock().unwrap().media.get_mut(&id).unwrap().refresh(rights);
    }

    /// The latest epoch that medium 1 was proven in.
    pub fn seen(&self) -> u32 {
        self.authority.state.lock().unwrap().media[&MediumId::pressed(BatchId([7; 8]), 1)].seen
    }

    pub fn effects(&self, name: &str) -> usize {
        self.authority.state.lock().unwrap().effects.iter().filter(|effect| **effect == name).count()
    }
}

/// Hardware that can be told apart: labels below a root of its own.
pub struct Device {
    pub root: tempfile::TempDir,
}

impl Device {
    pub fn new(device: &str, drive: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let labels = root.path().join("etc/counterfoil");
        std::fs::create_dir_all(&labels).unwrap();
        std::fs::write(labels.join("device-id"), device).unwrap();
        std::fs::write(labels.join("drive-id"), drive).unwrap();
        Self { root }
    }

    /// The usual home on it.
    pub fn setup(&self) -> Setup {
        Setup {
            home: HOME.into(),
            hardware_root: self.root.path().to_owned(),
            server: Some("memory:".into()),
            ca: None,
            card: None,
            via: None,
        }
    }
}

/// Writes files below a directory, durably.
pub fn put(io: &dyn Io, directory: &str, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        let path = Path::new(directory).join(name);
        create_dirs(io, parent(&path), 0o755).unwrap();
        let file = io.create(&path, Create::Truncate, 0o644).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file.sync().unwrap();
        io.sync_dir(parent(&path)).unwrap();
    }
}

/// A disk with a medium on it, and a home whose user is registered with card, device and drive.
pub fn registered(world: &World, device: &Device) -> DiskModel {
    let disk = DiskModel::new();
    put(&disk, MEDIUM, &world.press(1));
    let terminal = world.terminal(Arc::new(disk.clone()), device);
    card_new(&terminal, None).unwrap();
    register_default(&terminal).unwrap();
    disk
}

pub fn register_default(terminal: &Terminal) -> counterfoil_terminal::Result<Registered> {
    register(terminal, &RegisterOptions { library: Some(LIBRARY.into()), ..RegisterOptions::default() })
}

pub fn copy_once(terminal: &Terminal) -> counterfoil_terminal::Result<Copied> {
    copy_with(terminal, 1, &|_| {})
}

pub fn install_once(terminal: &Terminal) -> counterfoil_terminal::Result<Installed> {
    install_as(terminal, &InstallOptions { jobs: NonZeroUsize::new(1), ..InstallOptions::default() })
}

pub fn install_as(terminal: &Terminal, options: &InstallOptions) -> counterfoil_terminal::Result<Installed> {
    let library = Library::create_or_open(terminal, Path::new(LIBRARY))?;
    install(terminal, &title(), &library, options, &|_| {})
}

/// Whether the library has it already or not.
pub fn copy_again(terminal: &Terminal) -> counterfoil_terminal::Result<Copied> {
    copy_as(terminal, &CopyOptions { again: true, ..CopyOptions::default() }, &|_| {})
}

pub fn copy_with(terminal: &Terminal, jobs: usize, progress: &(dyn Fn(Step) + Sync)) -> counterfoil_terminal::Result<Copied> {
    copy_as(terminal, &CopyOptions { jobs: NonZeroUsize::new(jobs), ..CopyOptions::default() }, progress)
}

fn copy_as(terminal: &Terminal, options: &CopyOptions, progress: &(dyn Fn(Step) + Sync)) -> counterfoil_terminal::Result<Copied> {
    let medium = Medium::open_online(terminal, Path::new(MEDIUM))?;
    let library = Library::create_or_open(terminal, Path::new(LIBRARY))?;
    copy(terminal, &medium, &library, options, progress)
}

pub fn open(terminal: &Terminal) -> counterfoil_terminal::Result<Title> {
    let library = Library::open(terminal, Path::new(LIBRARY))?;
    open_title(terminal, &library, &title(), &CardChoice::Default)
}

/// Reads every file back, and compares.
pub fn assert_plays(world: &World, terminal: &Terminal) {
    let opened = open(terminal).unwrap();
    for (path, bytes) in &world.contents[0].files {
        let file = opened.file(path).unwrap();
        let mut read = Vec::new();
        opened.copy_range(&file, 0..u64::MAX, &mut read).unwrap();
        assert!(read == *bytes, "{path} differs");
    }
}

pub fn refusal<T>(result: counterfoil_terminal::Result<T>) -> Code {
    match result {
        Err(Error::Refused(refusal)) => refusal.code,
        Err(other) => panic!("not a refusal: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

/// Every secret in every spelling, and the plaintext: none of it may be in `bytes`.
pub fn find_canary(world: &World, bytes: &[u8]) -> Option<&'static str> {
    if has_plaintext(bytes) {
        return Some("plaintext");
    }
    let state = world.authority.state.lock().unwrap();
    let secrets = state.secrets.iter().chain(state.content.values());
    for secret in secrets {
        let raw = secret.expose();
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = counterfoil_format::encoding::to_base64url(raw);
        if contains(bytes, raw) || contains(bytes, hex.as_bytes()) || contains(bytes, base64.as_bytes()) {
            return Some("key");
        }
    }
    None
}

/// Whether the files' canary is in `bytes`.
pub fn has_plaintext(bytes: &[u8]) -> bool {
    contains(bytes, &CANARY[..24])
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    // By first bytes: searched megabytes are mostly ciphertext, and this runs thousands of times.
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| *byte == needle[0]) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

pub fn card_path() -> PathBuf {
    Path::new(HOME).join("card.json")
}
