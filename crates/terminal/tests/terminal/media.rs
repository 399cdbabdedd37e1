//! Media that are images, and titles that are mounted: on the real file system.

use crate::common;

use common::*;
use counterfoil_terminal::io::RealIo;
use counterfoil_terminal::*;
use hadris_fs::{Content as FileContent, Node, Tree};
use hadris_iso::IsoOptions;
use hadris_storage::host::FileDevice;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A terminal with its home, library and media below a temporary directory.
pub struct Real {
    directory: tempfile::TempDir,
    pub world: World,
    device: Device,
}

impl Real {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), world: World::new(), device: Device::new("pc 1", "disk 1") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn terminal(&self) -> Terminal {
        let setup = Setup {
            home: self.path("home"),
            hardware_root: self.device.root.path().to_owned(),
            server: Some("memory:".into()),
            ca: None,
            card: None,
            via: None,
        };
        self.world.terminal_at(Arc::new(RealIo), setup).unwrap()
    }

    /// Registers, and copies from the medium at `medium`.
    pub fn copied(&self, medium: &Path) -> (Terminal, Library) {
        let terminal = self.terminal();
        card_new(&terminal, None).unwrap();
        let options = RegisterOptions { library: Some(self.path("library")), ..RegisterOptions::default() };
        register(&terminal, &options).unwrap();
        let library = Library::create_or_open(&terminal, &self.path("library")).unwrap();
        let medium = Medium::open(&terminal, medium).unwrap();
        copy(&terminal, &medium, &library, &CopyOptions::default(), &|_| {}).unwrap();
        (terminal, library)
    }

    pub fn pressed_directory(&self) -> PathBuf {
        self.pressed(1, "medium")
    }

    pub fn pressed(&self, serial: u64, name: &str) -> PathBuf {
        for (file, bytes) in self.world.press(serial) {
            let path = self.path(name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        self.path(name)
    }
}

fn press_image(files: &[(String, Vec<u8>)], at: &Path) {
    let mut tree = Tree::new();
    for (name, bytes) in files {
        tree.insert(name, Node::file(FileContent::bytes(bytes.clone()))).unwrap();
    }
    let options = IsoOptions::default().with_joliet().with_rock_ridge();
    let file = File::options().read(true).write(true).create_new(true).open(at).unwrap();
    hadris_iso::sync::write(FileDevice::new(file).unwrap(), &tree, &options).unwrap();
}

#[test]
fn b9_a_medium_that_is_an_image_is_copied_in_place() {
    let real = Real::new();
    let image = real.path("medium.iso");
    // So many files that their directory takes several sectors.
    let mut files = real.world.press(1);
    files.extend((0..200).map(|number| (format!("content/other/{number:064}.pack"), vec![number as u8; 3])));
    press_image(&files, &image);
    let (terminal, library) = real.copied(&image);
    let medium = Medium::open(&terminal, &image).unwrap();
    let packed: u64 = real.world.contents[0].packs.values().map(|pack| pack.len() as u64).sum();
    assert_eq!(medium.packed_size(&title()).unwrap(), packed);
    assert_eq!(medium.packed_size(&"other".parse().unwrap()).unwrap(), 600);
    assert_eq!(medium.packed_size(&"none".parse().unwrap()).unwrap_err().code(), "no_content");

    let opened = open_title(&terminal, &library, &title(), &CardChoice::Default).unwrap();
    for (path, bytes) in &real.world.contents[0].files {
        let mut read = Vec::new();
        opened.copy_range(&opened.file(path).unwrap(), 0..u64::MAX, &mut read).unwrap();
        assert!(read == *bytes, "{path} differs");
    }
}

#[test]
fn an_image_that_is_cut_or_changed_anywhere_does_no_harm() {
    let real = Real::new();
    let image = real.path("medium.iso");
    press_image(&real.world.press(1), &image);
    let original = fs::read(&image).unwrap();
    let terminal = real.terminal();
    let try_all = |bytes: &[u8]| {
        let path = real.path("changed.iso");
        fs::write(&path, bytes).unwrap();
        if let Ok(medium) = Medium::open(&terminal, &path) {
            let _ = medium.release(&medium.identity().titles[0]);
            let _ = medium.packed_size(&title());
        }
    };
    for length in (0..80).map(|sector| sector * 1024) {
        try_all(&original[..length]);
    }
    // Descriptors and directories: every 13th byte of the first 200 KiB that is not zero, inverted.
    let places: Vec<usize> = (16 * 2048..200_000).filter(|place| original[*place] != 0).step_by(13).collect();
    assert!(places.len() > 100);
    for place in places.into_iter().take(600) {
        let mut changed = original.clone();
        changed[place] ^= 0xFF;
        try_all(&changed);
    }
}

#[test]
fn what_is_no_medium_is_said_to_be_none() {
    let real = Real::new();
    let terminal = real.terminal();
    let code = |path: &Path| Medium::open(&terminal, path).map(|_| ()).unwrap_err().code();
    fs::write(real.path("text"), "hello").unwrap();
    fs::create_dir(real.path("empty")).unwrap();
    assert_eq!(code(&real.path("text")), "not_a_medium");
    assert_eq!(code(&real.path("empty")), "not_a_medium");
    assert_eq!(code(&real.path("nowhere")), "not_a_medium");
}

#[test]
fn b8_c12_a_mounted_title_looks_like_its_directory_and_nothing_is_in_plain_on_disk() {
    let real = Real::new();
    let (terminal, library) = real.copied(&real.pressed_directory());
    let opened = Arc::new(open_title(&terminal, &library, &title(), &CardChoice::Default).unwrap());
    let at = real.path("view");
    fs::create_dir(&at).unwrap();
    let mounted = mount(opened.clone(), &at).unwrap();

    for (path, bytes) in &real.world.contents[0].files {
        assert!(fs::read(at.join(path)).unwrap() == *bytes, "{path} differs");
    }
    let file = File::open(at.join("data/noise.bin")).unwrap();
    let mut part = vec![0; 100_000];
    file.read_exact_at(&mut part, 123_456).unwrap();
    assert!(part == real.world.contents[0].files["data/noise.bin"][123_456..223_456]);
    assert_eq!(fs::read_link(at.join("bin/link")).unwrap(), Path::new("../data/größe.txt"));
    assert_eq!(fs::read(at.join("bin/link")).unwrap(), real.world.contents[0].files["data/größe.txt"]);
    let names = |path: &str| {
        let mut names: Vec<_> = fs::read_dir(at.join(path)).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["bin", "data", "empty", "nothing"]);
    assert_eq!(names("data"), ["größe.txt", "noise.bin"]);
    assert!(names("nothing").is_empty());
    assert_eq!(fs::metadata(at.join("bin/game")).unwrap().permissions().mode() & 0o777, 0o555);
    assert_eq!(fs::metadata(at.join("empty")).unwrap().permissions().mode() & 0o777, 0o444);
    assert!(fs::write(at.join("new"), "x").is_err() && fs::remove_file(at.join("empty")).is_err());

    drop(file);
    assert!(!mounted.ended());
    mounted.unmount().unwrap();
    assert!(fs::read_dir(&at).unwrap().next().is_none());

    // Mounted privately, and damaged: the reader gets an error, never other bytes.
    let noise = real.path("library/titles/sky-raider");
    for pack in walk(&noise).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "pack")) {
        let file = File::options().write(true).open(&pack).unwrap();
        let length = file.metadata().unwrap().len();
        for place in (0..length).step_by(20_000) {
            file.write_all_at(b"XXXX", place).unwrap();
        }
    }
    let opened = Arc::new(open_title(&terminal, &library, &title(), &CardChoice::Default).unwrap());
    let mounted = mount_private(opened, &terminal).unwrap();
    let inside = mounted.path().to_owned();
    assert!(fs::read(inside.join("data/noise.bin")).is_err());
    assert_eq!(fs::read(inside.join("empty")).unwrap(), b"");
    drop(mounted);
    assert!(!inside.exists());

    for path in walk(real.directory.path()) {
        let bytes = fs::read(&path).unwrap();
        let own_secret = path.ends_with("home/device.json");
        assert!(find_canary(&real.world, &bytes).is_none() || own_secret, "{}", path.display());
    }
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for item in fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

/// Set for whoever mounts a view and is killed over it: where its runtime directory is.
const KILLED: &str = "COUNTERFOIL_TEST_KILLED";

#[test]
fn a_view_whose_terminal_was_killed_is_gone_with_the_next_one() {
    let real = Real::new();
    let (terminal, library) = real.copied(&real.pressed_directory());
    let opened = Arc::new(open_title(&terminal, &library, &title(), &CardChoice::Default).unwrap());
    if std::env::var_os(KILLED).is_some() {
        let mounted = mount_private(opened, &terminal).unwrap();
        println!("\n{KILLED}{}", mounted.path().display());
        // Until it is killed.
        loop {
            std::thread::park();
        }
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir()).unwrap_or(real.path("home"));
    let mut other = std::process::Command::new(std::env::current_exe().unwrap());
    other.args(["--exact", "media::a_view_whose_terminal_was_killed_is_gone_with_the_next_one", "--nocapture"]);
    // What it leaves besides goes with this directory.
    fs::create_dir(real.path("tmp")).unwrap();
    other.env(KILLED, "yes").env("TMPDIR", real.path("tmp")).env("XDG_RUNTIME_DIR", &runtime).stdout(std::process::Stdio::piped());
    let mut other = other.spawn().unwrap();
    let said = BufReader::new(other.stdout.take().unwrap())
        .lines()
        .map_while(std::result::Result::ok)
        .find_map(|line| line.strip_prefix(KILLED).map(PathBuf::from));
    other.kill().unwrap();
    other.wait().unwrap();
    let left = said.expect("it was mounted");
    assert_eq!(fs::metadata(&left).unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    let mounted = mount_private(opened.clone(), &terminal).unwrap();
    assert_eq!(fs::metadata(&left).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    // And one that is shown stays.
    let second = mount_private(opened, &terminal).unwrap();
    assert!(mounted.path().join("bin/game").exists() && second.path().join("bin/game").exists());
}
