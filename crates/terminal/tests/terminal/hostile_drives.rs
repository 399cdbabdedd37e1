//! Media and libraries on drives that somebody has prepared: links that lead elsewhere, pipes in the place of files. And several who write the
//! same file at once.

use crate::common;
use crate::media::Real;

use common::releases::next_release;
use common::*;
use counterfoil_core::wire::{ContentOnOffer, ObjectOnOffer};
use counterfoil_terminal::io::{Create, Io as _, RealIo, read_small, remove_all, replace, write_new};
use counterfoil_terminal::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A directory with something of the user's in it.
fn victim(real: &Real, name: &str) -> PathBuf {
    let victim = real.path(name);
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("notes.pack"), b"mine").unwrap();
    victim
}

fn is_unharmed(victim: &Path) -> bool {
    fs::read(victim.join("notes.pack")).is_ok_and(|bytes| bytes == b"mine") && fs::read_dir(victim).unwrap().count() == 1
}

#[test]
fn of_a_link_only_the_link_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("all/inner")).unwrap();
    fs::create_dir(path("mine")).unwrap();
    fs::write(path("mine/file"), b"mine").unwrap();
    fs::write(path("all/inner/file"), b"four").unwrap();
    symlink(path("mine"), path("all/inner/directory")).unwrap();
    symlink(path("mine/file"), path("all/file")).unwrap();
    symlink(path("nowhere"), path("all/nothing")).unwrap();
    symlink(path("mine"), path("link")).unwrap();
    assert_eq!(remove_all(&RealIo, &path("all")).unwrap(), 4);
    assert_eq!(remove_all(&RealIo, &path("link")).unwrap(), 0);
    assert_eq!(remove_all(&RealIo, &path("link")).unwrap(), 0);
    assert!(!path("all").exists() && !path("link").is_symlink());
    assert_eq!(fs::read(path("mine/file")).unwrap(), b"mine");
}

/// proves: C11
#[test]
fn c11_no_title_is_removed_through_links_in_a_library() {
    let real = Real::new();
    let (terminal, library) = real.copied(&real.pressed_directory());
    let (inner, other, grant) = (victim(&real, "inner"), victim(&real, "other"), victim(&real, "grant"));
    let at = real.path("library/titles").join(TITLE);
    symlink(&inner, at.join("extra")).unwrap();
    symlink(&other, real.path("library/titles/moon-base")).unwrap();
    // Another copy takes the place of this one, and of all that is called like one.
    symlink(&grant, at.join(uuid_like(&library))).unwrap();
    let medium = Medium::open(&terminal, &real.pressed(2, "other medium")).unwrap();
    let options = CopyOptions { again: true, ..CopyOptions::default() };
    copy(&terminal, &medium, &library, &options, &|_| {}).unwrap();
    assert!(is_unharmed(&grant), "what a link leads to is not an older copy");
    assert!(library.remove(&title()).unwrap() > 0);
    library.remove(&"moon-base".parse().unwrap()).unwrap();
    assert!(is_unharmed(&inner) && is_unharmed(&other));
    assert_eq!(fs::read_dir(real.path("library/titles")).unwrap().count(), 0);
}

/// The name of a directory of a copy under a grant that is nobody's.
fn uuid_like(library: &Library) -> String {
    let grant = library.list().unwrap()[0].grant_id.to_string();
    let (last, other) = (grant.len() - 1, if grant.ends_with('0') { "1" } else { "0" });
    format!("{}{other}", &grant[..last])
}

/// proves: C11
#[test]
fn c11_nothing_is_written_or_swept_through_links_in_a_library() {
    let real = Real::new();
    let (terminal, library) = real.copied(&real.pressed_directory());
    let medium = Medium::open(&terminal, &real.pressed(2, "other medium")).unwrap();
    let again = || copy(&terminal, &medium, &library, &CopyOptions { again: true, ..CopyOptions::default() }, &|_| {});
    let victim = victim(&real, "victim");
    // What was there goes aside, and a link takes its place.
    let titles = real.path("library/titles");
    fs::rename(&titles, real.path("aside")).unwrap();
    fs::create_dir(&titles).unwrap();
    symlink(&victim, titles.join(TITLE)).unwrap();
    let refused = again().unwrap_err();
    assert!(refused.to_string().contains("link"), "{refused}");
    assert!(is_unharmed(&victim));
    fs::remove_dir_all(&titles).unwrap();
    symlink(&victim, &titles).unwrap();
    again().unwrap_err();
    assert!(is_unharmed(&victim));
    fs::create_dir(victim.join(TITLE)).unwrap();
    library.remove(&title()).unwrap_err();
    assert!(victim.join(TITLE).exists());
}

/// proves: A12
#[test]
fn a12_nothing_is_written_through_links_on_a_medium() {
    let mut real = Real::new();
    let path = real.pressed_directory();
    let terminal = real.terminal();
    let next = next_release(&real.world.contents[0], "1.1.0", |files| {
        files.insert("data/news.txt".to_owned(), vec![7; 50_000]);
    });
    real.world.release(&next);
    real.world.offer(&real.world.contents[0], &next, vec![]);
    let objects = next.packs.iter().map(|(name, bytes)| ObjectOnOffer { object: name.to_string(), length: bytes.len() as u64 }).collect();
    let carried = ContentOnOffer { document: next.token.clone(), objects };
    real.world.authority.state.lock().unwrap().carried.insert(title(), carried);
    let update = || update_medium(&terminal, &path, None, &CardChoice::Default, &|_| {});

    let victim = victim(&real, "victim");
    let content = path.join("content").join(TITLE);
    fs::rename(&content, real.path("aside")).unwrap();
    fs::create_dir(victim.join("content")).unwrap();
    copy_files(&real.path("aside"), &victim.join("content"));
    symlink(victim.join("content"), &content).unwrap();
    let before = fs::read_dir(victim.join("content")).unwrap().count();
    let refused = update().unwrap_err();
    assert!(refused.to_string().contains("link"), "{refused}");
    assert_eq!(fs::read_dir(victim.join("content")).unwrap().count(), before);
    fs::remove_dir_all(victim.join("content")).unwrap();
    fs::remove_file(&content).unwrap();
    fs::rename(real.path("aside"), &content).unwrap();

    // Everybody can know what the objects of the next release are called.
    for name in next.packs.keys() {
        symlink(victim.join("notes.pack"), content.join(format!("{name}.pack.partial"))).unwrap();
    }
    symlink(victim.join("fresh"), content.join(format!("{}.manifest.partial", next.release.manifest.object))).unwrap();
    let updated = update().unwrap();
    assert_eq!(updated[0].to, Some("1.1.0".parse().unwrap()));
    assert!(is_unharmed(&victim));
    assert!(fs::read_dir(&content).unwrap().all(|file| file.unwrap().file_type().unwrap().is_file()));
    for (name, bytes) in &next.packs {
        assert!(fs::read(content.join(format!("{name}.pack"))).unwrap() == *bytes);
    }
    real.world.contents.push(next);
}

fn copy_files(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_file_is_not_made_locked_or_gone_on_with_through_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("mine"), b"mine").unwrap();
    symlink(path("mine"), path("link")).unwrap();
    symlink(path("fresh"), path("dangling")).unwrap();
    for link in ["link", "dangling"] {
        for how in [Create::New, Create::Resume, Create::Truncate] {
            RealIo.create(&path(link), how, 0o644).map(|_| ()).unwrap_err();
        }
        RealIo.lock(&path(link)).map(|_| ()).unwrap_err();
    }
    assert_eq!(fs::read(path("mine")).unwrap(), b"mine");
    assert!(!path("fresh").exists());
    // What is a file itself is.
    RealIo.create(&path("mine"), Create::Truncate, 0o644).unwrap();
    assert_eq!(fs::read(path("mine")).unwrap(), b"");
}

fn pipe(at: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(at).status().unwrap().success());
}

/// proves: A11
#[test]
fn a11_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting() {
    let real = Real::new();
    let medium = real.pressed_directory();
    let identity = medium.join(layout::IDENTITY);
    fs::remove_file(&identity).unwrap();
    pipe(&identity);
    let refused = Medium::open(&real.terminal(), &medium).map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), "medium_unreadable", "{refused}");
    pipe(&real.path("library.json"));
    let error = read_small(&RealIo, &real.path("library.json"), 100).unwrap_err();
    assert!(error.to_string().contains("no file"), "{error}");
    for how in [Create::Resume, Create::Truncate] {
        RealIo.create(&real.path("library.json"), how, 0o644).map(|_| ()).unwrap_err();
    }
}

/// proves: C5
#[test]
fn c5_of_several_who_make_a_card_at_once_one_has_made_it() {
    for _ in 0..20 {
        let real = Real::new();
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| card_new(&real.terminal(), None))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let (done, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(std::result::Result::is_ok);
        assert_eq!(done.len(), 1);
        assert!(refused.into_iter().all(|refused| refused.unwrap_err().code() == "exists"));
        let card = card_show(&real.terminal(), &CardChoice::Default).unwrap();
        assert_eq!(card.card_id, done.into_iter().next().unwrap().unwrap().card_id);
    }
}

#[test]
fn those_who_write_the_same_file_at_once_write_it_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let whole = |number: u8| vec![number; 10_000];
    std::thread::scope(|scope| {
        for number in 0..6 {
            let path = &path;
            scope.spawn(move || (0..50).for_each(|_| replace(&RealIo, path, &whole(number), 0o600).unwrap()));
        }
    });
    let found = fs::read(&path).unwrap();
    assert_eq!(found, whole(found[0]));
    // And of those who make a file that must not be there, one does.
    let new = directory.path().join("card.json");
    let made = std::thread::scope(|scope| {
        let new = &new;
        let threads: Vec<_> = (0..6).map(|number| scope.spawn(move || write_new(&RealIo, new, &whole(number), 0o600).is_ok())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let number = fs::read(&new).unwrap()[0];
    assert_eq!(made, (0..6).map(|other| other == number).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn what_was_left_by_a_process_that_was_killed_is_removed_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let left = [format!("a.{}-7.new", ended.id()), "a.new".to_owned()];
    let kept =
        [format!("a.{}-1000000.new", std::process::id()), format!("b.{}-7.new", ended.id()), "a.b.new".to_owned(), "a.0-1.new".to_owned()];
    for name in left.iter().chain(&kept) {
        fs::write(path(name), b"half").unwrap();
    }
    replace(&RealIo, &path("a"), b"whole", 0o600).unwrap();
    assert_eq!(fs::read(path("a")).unwrap(), b"whole");
    assert!(left.iter().all(|name| !path(name).exists()) && kept.iter().all(|name| path(name).exists()));
    // One that fails leaves nothing.
    write_new(&RealIo, &path("a"), b"other", 0o600).unwrap_err();
    assert_eq!(fs::read(path("a")).unwrap(), b"whole");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), kept.len() + 1);
}
