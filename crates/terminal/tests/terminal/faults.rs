//! Rows 3, 4 and 5 of the reliability plan for the terminal: every I/O fails, the drive fills up, the process dies, the power goes, at every
//! point of a copy and of an installation; then the command is repeated. Nothing is lost, issued twice or left in plain. Each harness is run once more over a disk
//! with a planted bug, which it must notice.

use crate::common;

use common::authority::State;
use common::buggy::Bug;
use common::interrupted::*;
use common::*;
use counterfoil_format::content::ReadAt as _;
use counterfoil_terminal::io::faults::{FaultyIo, Plan};
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::io::{Create, Io};
use counterfoil_terminal::*;
use std::sync::Arc;

/// Makes a test of a copy and one of an installation.
macro_rules! interrupted {
    ($name:ident, |$act:ident| $body:block) => {
        mod $name {
            use super::*;

            fn of($act: Act) $body

            #[test]
            fn copy() {
                of(Act::Copy);
            }

            #[test]
            fn install() {
                of(Act::Install);
            }
        }
    };
}

interrupted!(row_3_every_io_fails_once, |act| {
    let start = Start::new(act);
    let failed = every_operation_fails(&start, false, Bug::None, 1).unwrap();
    assert!(failed > 50, "only {failed} failures were noticed");
});

interrupted!(row_3_every_io_and_all_after_it_fail, |act| {
    let start = Start::new(act);
    let failed = every_operation_fails(&start, true, Bug::None, 3).unwrap();
    assert!(failed > 20, "only {failed} failures were noticed");
});

interrupted!(row_3_notices_a_terminal_that_swallows_errors, |act| {
    every_operation_fails(&Start::new(act), false, Bug::SwallowsErrors, 1).expect_err("planted bug");
});

interrupted!(row_5_a_drive_that_is_full_at_any_point_loses_nothing, |act| {
    let full = drive_fills_up(&Start::new(act), Bug::None).unwrap();
    assert!(full > 100, "only {full}");
});

interrupted!(row_5_notices_a_full_drive_that_nobody_tells, |act| {
    drive_fills_up(&Start::new(act), Bug::SwallowsErrors).expect_err("planted bug");
});

interrupted!(row_5_a_copy_that_is_killed_anywhere_goes_on_and_does_a_chunk_again_at_most, |act| {
    let resumed = killed(&Start::new(act), Bug::None).unwrap();
    assert!(resumed > 40, "only {resumed}");
});

interrupted!(row_5_notices_a_copy_that_begins_again, |act| {
    killed(&Start::new(act), Bug::ForgetsPartial).expect_err("planted bug");
});

interrupted!(row_5_notices_plaintext_on_the_disk, |act| {
    let start = Start::new(act);
    let (_, _, disk) = start.attempt(Plan { kill_after: Some(400_000), ..Plan::default() }, Bug::LeaksPlaintext);
    assert_eq!(start.repeat(&disk, Bug::None).unwrap_err(), "plaintext on the disk");
});

interrupted!(row_4_power_goes_at_every_sync_and_everything_is_still_there, |act| {
    let times = power_goes(&Start::new(act), seeds(3), Bug::None).unwrap();
    assert!(times > 60, "only {times}");
});

interrupted!(row_4_notices_files_that_are_not_synced, |act| {
    power_goes(&Start::new(act), 3, Bug::NoSync).expect_err("planted bug");
});

interrupted!(row_4_notices_directories_that_are_not_synced, |act| {
    power_goes(&Start::new(act), 3, Bug::NoDirSync).expect_err("planted bug");
});

#[test]
fn power_goes_at_every_sync_of_a_registration() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let run = |disk: &DiskModel, plan: Plan| {
        *world.authority.state.lock().unwrap() = State::default();
        let faulty = Arc::new(FaultyIo::new(Arc::new(disk.clone()), plan));
        let result = world.try_terminal(faulty.clone(), &device).and_then(|terminal| {
            card_new(&terminal, None)?;
            register_default(&terminal)
        });
        (result, faulty.counts())
    };
    let (done, counts) = run(&DiskModel::new(), Plan::default());
    done.unwrap();
    assert!(counts.syncs > 10);
    for sync in 0..counts.syncs {
        for seed in 0..seeds(3) {
            let disk = DiskModel::new();
            run(&disk, Plan { kill_at_sync: Some(sync), ..Plan::default() }).0.unwrap_err();
            let after = disk.lose_power(seed);
            let terminal = world.terminal(Arc::new(after.clone()), &device);
            if after.metadata(&card_path()).is_err() {
                card_new(&terminal, None).unwrap();
            }
            let registered = register_default(&terminal).unwrap_or_else(|error| panic!("sync {sync}, seed {seed}: {error}"));
            assert_eq!(card_show(&terminal, &CardChoice::Default).unwrap().user_id, Some(registered.user_id));
        }
    }
}

#[test]
fn a_library_that_is_read_only_and_a_medium_that_is_pulled_out_are_told_and_used_up_nothing() {
    let start = Start::new(Act::Copy);
    let (result, _, _) = start.attempt(Plan { read_only: Some(LIBRARY.into()), ..Plan::default() }, Bug::None);
    assert_eq!(result.unwrap_err().code(), "read_only");
    assert_eq!(start.world.effects("claim"), 0, "the medium's one copy is still there");

    let whole: u64 = start.packed();
    for read in [0, 100, 3000, whole / 3, whole / 2, whole - 1] {
        let (result, _, disk) = start.attempt(Plan { pulled_out: Some((MEDIUM.into(), read)), ..Plan::default() }, Bug::None);
        let error = result.unwrap_err();
        assert_eq!(error.code(), "medium_unreadable", "{error}");
        start.repeat(&disk, Bug::None).unwrap();
    }
}

#[test]
fn a_damaged_chunk_on_the_medium_is_named_with_file_and_offset() {
    let start = Start::new(Act::Copy);
    let path = start
        .disk
        .named_files()
        .into_iter()
        .map(|(path, _)| path)
        .find(|path| path.starts_with(MEDIUM) && path.extension().is_some_and(|e| e == "pack"));
    let path = path.unwrap();
    let file = start.disk.create(&path, Create::Resume, 0o644).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 50).unwrap();
    file.write_all_at(&[byte[0] ^ 4], 50).unwrap();
    let (result, _, disk) = start.attempt(Plan::default(), Bug::None);
    let error = result.unwrap_err();
    assert_eq!(error.code(), "medium_damaged");
    let name = path.strip_prefix(MEDIUM).unwrap().to_str().unwrap().to_owned();
    assert!(error.to_string().contains(&format!("{name} at 0")), "{error}");
    // Another medium of the same kind would do; here the same one, cleaned.
    disk.create(&path, Create::Resume, 0o644).unwrap().write_all_at(&byte, 50).unwrap();
    start.repeat(&disk, Bug::None).unwrap();
}
