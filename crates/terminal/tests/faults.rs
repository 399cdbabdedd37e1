//! Rows 3, 4 and 5 of the reliability plan for the terminal: every I/O fails, the drive fills up, the process dies, the power goes, at every
//! point of a copy; then the command is repeated. Nothing is lost, issued twice or left in plain. Each harness is run once more over a disk
//! with a planted bug, which it must notice.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use common::authority::State;
use common::buggy::{Bug, Buggy};
use common::*;
use counterfoil_format::content::ReadAt as _;
use counterfoil_terminal::io::faults::{Counts, FaultyIo, Plan};
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::io::{Create, Io};
use counterfoil_terminal::*;
use std::path::Path;
use std::result::Result;
use std::sync::Arc;

/// A registered user with a medium, to start from again and again.
struct Start {
    world: World,
    device: Device,
    disk: DiskModel,
    state: State,
}

impl Start {
    fn new() -> Self {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        let state = world.authority.state.lock().unwrap().clone();
        Self { world, device, disk, state }
    }

    /// A copy under a plan, on a disk with a bug (or none). What came of it, what was counted, and the disk afterwards.
    fn attempt(&self, plan: Plan, bug: Bug) -> (counterfoil_terminal::Result<Copied>, Counts, DiskModel) {
        *self.world.authority.state.lock().unwrap() = self.state.clone();
        let disk = self.disk.snapshot();
        let below: Arc<dyn Io> = Arc::new(Buggy { inner: Arc::new(disk.clone()), bug });
        let faulty = Arc::new(FaultyIo::new(below, plan));
        let above =
            Arc::new(Buggy { inner: faulty.clone(), bug: if bug == Bug::SwallowsErrors { Bug::SwallowsErrorsAbove } else { Bug::None } });
        let result = self.world.try_terminal(above, &self.device).and_then(|terminal| copy_once(&terminal));
        (result, faulty.counts(), disk)
    }

    fn terminal(&self, disk: &DiskModel, bug: Bug) -> Terminal {
        self.world.terminal(Arc::new(Buggy { inner: Arc::new(disk.clone()), bug }), &self.device)
    }

    /// Repeats the command on a disk that works, then plays: `Err` says what was lost.
    fn repeat(&self, disk: &DiskModel, bug: Bug) -> Result<Option<Copied>, String> {
        for bytes in disk.all_bytes() {
            if has_plaintext(&bytes) {
                return Err("plaintext on the disk".into());
            }
        }
        let terminal = self.terminal(disk, bug);
        let repeated = match copy_once(&terminal) {
            Ok(copied) => Some(copied),
            // It had come to its end, and only its last word was lost.
            Err(Error::Refused(refusal)) if refusal.code == counterfoil_core::Code::MediumSpent => None,
            Err(error) => return Err(format!("the repeated command fails: {error}")),
        };
        self.check_complete(&terminal)?;
        Ok(repeated)
    }

    /// Claimed once, confirmed once, content key gone, everything plays.
    fn check_complete(&self, terminal: &Terminal) -> Result<(), String> {
        if self.world.effects("claim") != 1 {
            return Err(format!("{} claims", self.world.effects("claim")));
        }
        let card = card_show(terminal, &CardChoice::Default).map_err(|error| error.to_string())?;
        if card.grants.len() != 1 || card.grants[0].content_key {
            return Err("the content key is still on the card".into());
        }
        let opened = open(terminal).map_err(|error| error.to_string())?;
        for (path, bytes) in &self.world.contents[0].files {
            let mut read = Vec::new();
            let file = opened.file(path).map_err(|error| error.to_string())?;
            opened.copy_range(&file, 0..u64::MAX, &mut read).map_err(|error| error.to_string())?;
            if read != *bytes {
                return Err(format!("{path} differs"));
            }
        }
        Ok(())
    }

    fn packed(&self) -> u64 {
        self.world.contents[0].packs.values().map(|pack| pack.len() as u64).sum()
    }
}

/// Bytes of packs in the library, finished or not.
fn bytes_there(disk: &DiskModel) -> u64 {
    let pack = |path: &Path| path.starts_with(LIBRARY) && path.extension().is_some_and(|name| name == "pack" || name == "partial");
    disk.named_files().iter().filter(|(path, _)| pack(path)).map(|(_, bytes)| bytes.len() as u64).sum()
}

fn every_operation_fails(start: &Start, for_good: bool, bug: Bug, step: u64) -> Result<u64, String> {
    let (result, counts, _) = start.attempt(Plan::default(), Bug::None);
    result.map_err(|error| error.to_string())?;
    let mut failed = 0;
    for number in (0..counts.operations).step_by(step as usize) {
        let plan = Plan { fail_at: Some(number), for_good, ..Plan::default() };
        let (result, counts, disk) = start.attempt(plan, bug);
        if !counts.struck {
            return Err(format!("operation {number} was not reached"));
        }
        failed += u64::from(result.is_err());
        if result.is_ok() {
            start
                .check_complete(&start.terminal(&disk, Bug::None))
                .map_err(|lost| format!("after success with operation {number}: {lost}"))?;
        }
        start.repeat(&disk, Bug::None).map_err(|lost| format!("operation {number}: {lost}"))?;
    }
    Ok(failed)
}

#[test]
fn row_3_every_io_fails_once() {
    let start = Start::new();
    let failed = every_operation_fails(&start, false, Bug::None, 1).unwrap();
    assert!(failed > 50, "only {failed} failures were noticed");
}

#[test]
fn row_3_every_io_and_all_after_it_fail() {
    let start = Start::new();
    let failed = every_operation_fails(&start, true, Bug::None, 3).unwrap();
    assert!(failed > 20, "only {failed} failures were noticed");
}

#[test]
fn row_3_notices_a_terminal_that_swallows_errors() {
    every_operation_fails(&Start::new(), false, Bug::SwallowsErrors, 1).expect_err("planted bug");
}

fn drive_fills_up(start: &Start, bug: Bug) -> Result<u64, String> {
    let (_, counts, _) = start.attempt(Plan::default(), Bug::None);
    let mut full = 0;
    // Every part of the small files before and after, and points all over the packs.
    let points = (0..counts.written).step_by((counts.written / 80) as usize).chain((0..6000).step_by(97)).chain([counts.written - 1]);
    for space in points {
        let (result, counts, disk) = start.attempt(Plan { space: Some(space), ..Plan::default() }, bug);
        match result {
            Err(error) if error.code() == "no_space" => full += 1,
            Err(error) => return Err(format!("{space} bytes: {} is not how a full drive is told", error.code())),
            Ok(_) if counts.struck => return Err(format!("{space} bytes: nobody noticed")),
            Ok(_) => {}
        }
        start.repeat(&disk, Bug::None).map_err(|lost| format!("{space} bytes: {lost}"))?;
    }
    Ok(full)
}

#[test]
fn row_5_a_drive_that_is_full_at_any_point_loses_nothing() {
    let full = drive_fills_up(&Start::new(), Bug::None).unwrap();
    assert!(full > 100, "only {full}");
}

#[test]
fn row_5_notices_a_full_drive_that_nobody_tells() {
    drive_fills_up(&Start::new(), Bug::SwallowsErrors).expect_err("planted bug");
}

fn killed(start: &Start, bug: Bug) -> Result<u64, String> {
    let (_, counts, _) = start.attempt(Plan::default(), Bug::None);
    // Every chunk boundary, with a byte to either side, and points in between.
    let before = counts.written - start.packed();
    let mut points: Vec<u64> = (0..counts.written).step_by((counts.written / 40) as usize).collect();
    let lengths = chunk_lengths(start);
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut at = 0;
    for length in lengths {
        at += length;
        points.extend([at + before / 2, at + before / 2 - 1, at + before / 2 + 1, at]);
    }
    let mut resumed = 0;
    for point in points {
        let (result, counts, disk) = start.attempt(Plan { kill_after: Some(point), ..Plan::default() }, Bug::None);
        if !counts.struck {
            continue;
        }
        result.map(|_| ()).expect_err("a process that is killed does not succeed");
        let there = bytes_there(&disk);
        let copied = start.repeat(&disk, bug).map_err(|lost| format!("killed after {point} bytes: {lost}"))?;
        let Some(copied) = copied else { continue };
        let title = &copied.titles[0];
        if title.reused + title.written != start.packed() {
            return Err("reused and written are not the whole".into());
        }
        if title.reused + longest < there {
            return Err(format!("killed after {point} bytes: of {there} only {} were used", title.reused));
        }
        resumed += u64::from(title.reused > 0);
    }
    Ok(resumed)
}

fn chunk_lengths(start: &Start) -> Vec<u64> {
    let (_, _, disk) = start.attempt(Plan::default(), Bug::None);
    let opened = open(&start.terminal(&disk, Bug::None)).unwrap();
    opened.manifest().chunks().iter().map(|chunk| u64::from(chunk.sealed_len)).collect()
}

#[test]
fn row_5_a_copy_that_is_killed_anywhere_goes_on_and_does_a_chunk_again_at_most() {
    let resumed = killed(&Start::new(), Bug::None).unwrap();
    assert!(resumed > 40, "only {resumed}");
}

#[test]
fn row_5_notices_a_copy_that_begins_again() {
    killed(&Start::new(), Bug::ForgetsPartial).expect_err("planted bug");
}

#[test]
fn row_5_notices_plaintext_on_the_disk() {
    let start = Start::new();
    let (_, _, disk) = start.attempt(Plan { kill_after: Some(400_000), ..Plan::default() }, Bug::LeaksPlaintext);
    assert_eq!(start.repeat(&disk, Bug::None).unwrap_err(), "plaintext on the disk");
}

fn power_goes(start: &Start, seeds: u64, bug: Bug) -> Result<u64, String> {
    let (_, counts, _) = start.attempt(Plan::default(), Bug::None);
    let mut lost_power = 0;
    for sync in 0..=counts.syncs {
        let (result, _, disk) = start.attempt(Plan { kill_at_sync: Some(sync), ..Plan::default() }, bug);
        let state = start.world.authority.state.lock().unwrap().clone();
        for seed in 0..seeds {
            *start.world.authority.state.lock().unwrap() = state.clone();
            let after = disk.lose_power(seed * 1000 + sync);
            if result.is_ok() {
                // What was reported as done survives.
                start.check_complete(&start.terminal(&after, Bug::None)).map_err(|lost| format!("after the end, seed {seed}: {lost}"))?;
            }
            start.repeat(&after, Bug::None).map_err(|lost| format!("sync {sync}, seed {seed}: {lost}"))?;
            lost_power += 1;
        }
    }
    Ok(lost_power)
}

#[test]
fn row_4_power_goes_at_every_sync_and_everything_is_still_there() {
    let times = power_goes(&Start::new(), 3, Bug::None).unwrap();
    assert!(times > 60, "only {times}");
}

#[test]
fn row_4_notices_files_that_are_not_synced() {
    power_goes(&Start::new(), 3, Bug::NoSync).expect_err("planted bug");
}

#[test]
fn row_4_notices_directories_that_are_not_synced() {
    power_goes(&Start::new(), 3, Bug::NoDirSync).expect_err("planted bug");
}

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
        for seed in 0..3 {
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
    let start = Start::new();
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
    let start = Start::new();
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
