//! Status variables (A6, A12): all of a change or none of it, whatever fails; from programs, by several at once, and on media.

use crate::common;

use common::*;
use counterfoil_core::wire::{Variable, Variables};
use counterfoil_terminal::io::faults::{FaultyIo, Plan};
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::status::{self, Change, ProgramStatus};
use counterfoil_terminal::*;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

fn set(name: &str, value: i64) -> Change {
    Change::Set(name.to_owned(), Variable::Number(value))
}

fn of(pairs: &[(&str, i64)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Variable::Number(*value))).collect()
}

/// A disk with a title in its library, and `chapter=1` noted.
fn noted(world: &World, device: &Device) -> DiskModel {
    let disk = registered(world, device);
    let terminal = world.terminal(Arc::new(disk.clone()), device);
    copy_once(&terminal).unwrap();
    let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
    status::change(&terminal, &library, &title(), &[set("chapter", 1)]).unwrap();
    disk
}

fn read(world: &World, device: &Device, disk: &DiskModel) -> Variables {
    let terminal = world.terminal(Arc::new(disk.clone()), device);
    let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
    status::variables(&terminal, &library, &title()).unwrap()
}

#[test]
fn a6_a_change_is_whole_or_not_there_whatever_fails() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = noted(&world, &device);
    let (old, new) = (of(&[("chapter", 1)]), of(&[("chapter", 2), ("level", 7)]));
    let attempt = |plan: Plan| {
        let disk = disk.snapshot();
        let faulty = Arc::new(FaultyIo::new(Arc::new(disk.clone()), plan));
        let terminal = world.try_terminal(faulty.clone(), &device);
        let changed = terminal.and_then(|terminal| {
            let library = Library::open(&terminal, Path::new(LIBRARY))?;
            status::change(&terminal, &library, &title(), &[set("chapter", 2), set("level", 7)])
        });
        (changed, faulty.counts(), disk)
    };
    let (whole, counts, after) = attempt(Plan::default());
    assert_eq!((whole.unwrap(), read(&world, &device, &after)), (new.clone(), new.clone()));
    assert!(counts.operations > 10 && counts.syncs >= 2, "{counts:?}");
    for operation in 0..counts.operations {
        let (changed, _, after) = attempt(Plan { fail_at: Some(operation), ..Plan::default() });
        let found = read(&world, &device, &after);
        match changed {
            Ok(changed) => assert_eq!((changed, found), (new.clone(), new.clone()), "operation {operation}"),
            // The name may be changed already when its directory cannot be synced.
            Err(_) => assert!(found == old || found == new, "operation {operation}: {found:?}"),
        }
    }
    for written in 0..counts.written {
        let (changed, _, after) = attempt(Plan { space: Some(written), ..Plan::default() });
        assert_eq!(changed.unwrap_err().code(), "no_space", "{written} bytes");
        assert_eq!(read(&world, &device, &after), old);
    }
    for sync in 0..counts.syncs {
        for seed in 0..seeds(5) {
            let (_, _, after) = attempt(Plan { kill_at_sync: Some(sync), ..Plan::default() });
            let found = read(&world, &device, &after.lose_power(seed));
            assert!(found == old || found == new, "sync {sync}, seed {seed}: {found:?}");
        }
    }
    for seed in 0..seeds(5) {
        let (changed, _, after) = attempt(Plan::default());
        changed.unwrap();
        assert_eq!(read(&world, &device, &after.lose_power(seed)), new, "what was said to be noted is");
    }
}

#[test]
fn a6_several_at_once_lose_nothing_of_each_other() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = noted(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (terminal, library) = (&terminal, &library);
            scope.spawn(move || {
                for number in 0..4 {
                    status::change(terminal, library, &title(), &[set(&format!("w{writer}.{number}"), number)]).unwrap();
                }
            });
        }
    });
    assert_eq!(read(&world, &device, &disk).len(), 33);
    // An update, which holds the library for long, keeps nobody from noting something.
    let _update = library.lock().unwrap();
    status::change(&terminal, &library, &title(), &[Change::Unset("chapter".to_owned())]).unwrap();
}

#[test]
fn a6_what_is_no_variable_changes_nothing_and_is_named() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = noted(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
    let long = |count: usize| Variable::Text("x".repeat(count));
    for (bad, word) in [
        (vec![set("level", 2), set("Chapter", 1)], "Chapter"),
        (vec![set("", 1)], "a name is"),
        (vec![Change::Unset("a b".to_owned())], "a b"),
        (vec![Change::Set("name".to_owned(), long(1025))], "`name`"),
        ((0..300).map(|number| set(&number.to_string(), 1)).collect(), "301 variables"),
        ((0..9).map(|number| Change::Set(number.to_string(), long(1000))).collect(), "together"),
    ] {
        let error = status::change(&terminal, &library, &title(), &bad).unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("bad_variable", 1));
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(read(&world, &device, &disk), of(&[("chapter", 1)]));
    }
    let other = "atlas".parse().unwrap();
    assert_eq!(status::change(&terminal, &library, &other, &[set("a", 1)]).unwrap_err().code(), "no_title");
    // With the title goes what was noted of it.
    library.remove(&title()).unwrap();
    assert_eq!(read(&world, &device, &disk), Variables::new());
}

#[test]
fn a6_a_program_appends_lines_which_count_when_they_are_whole() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = noted(&world, &device);
    let terminal = world.terminal(Arc::new(disk), &device);
    let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("status");
    let mut program = ProgramStatus::begin(&terminal, &library, &title(), &path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "chapter=1\n");
    let append = |bytes: &[u8]| std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(bytes).unwrap();
    let now = || status::variables(&terminal, &library, &title()).unwrap();
    assert!(!program.take_in().unwrap(), "what was there is nothing new");
    append(b"chapter=2\nlev");
    assert!(program.take_in().unwrap());
    assert_eq!(now(), of(&[("chapter", 2)]));
    assert!(!program.take_in().unwrap(), "half a line is none");
    append(b"el=3\n-chapter\n");
    assert!(program.take_in().unwrap());
    assert_eq!((now(), program.refused()), (of(&[("level", 3)]), None));
    append(b"\xff\xff\n");
    append("x".repeat(3 << 20).as_bytes());
    append(b"\nlevel=4\n");
    while program.take_in().unwrap() {}
    assert_eq!(now(), of(&[("level", 4)]), "megabytes of nothing are passed over");
    assert!(program.refused().is_some());
}

/// proves: A6, A12
#[test]
fn a12_a_stick_keeps_variables_under_its_medium_id() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    let medium = Medium::open_online(&terminal, Path::new(MEDIUM)).unwrap();
    assert_eq!(status::variables_on_medium(&terminal, &medium, &title()).unwrap(), Variables::new());
    status::change_on_medium(&terminal, &medium, &title(), &[set("chapter", 5)]).unwrap();
    let again = Medium::open_online(&terminal, Path::new(MEDIUM)).unwrap();
    assert_eq!(status::variables_on_medium(&terminal, &again, &title()).unwrap(), of(&[("chapter", 5)]));
    copy_once(&terminal).unwrap();
    let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
    assert_eq!(status::variables(&terminal, &library, &title()).unwrap(), Variables::new(), "the stick's are the stick's");
}
