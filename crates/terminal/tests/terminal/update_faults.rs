//! Rows 3, 4 and 5 of the reliability plan for updates: every I/O fails, the drive fills up, the process dies, the power goes, at every point of
//! an update by a patch; then the command is repeated. The old release plays until the new one does, nothing is left in plain, and nothing is
//! left over. Each harness is run once more with a planted bug, which it must notice.

use crate::common;

use common::buggy::Bug;
use common::interrupted::*;
use common::releases::*;
use common::{LIBRARY, seeds};
use counterfoil_terminal::io::faults::Plan;
use counterfoil_terminal::io::model::DiskModel;
use std::result::Result;

fn start() -> Start {
    Start::new(Act::Update)
}

/// proves: A5
#[test]
fn row_3_every_io_of_an_update_fails_once() {
    let failed = every_operation_fails(&start(), false, Bug::None, 1).unwrap();
    assert!(failed > 50, "only {failed} failures were noticed");
}

#[test]
fn row_3_every_io_of_an_update_and_all_after_it_fail() {
    let failed = every_operation_fails(&start(), true, Bug::None, 3).unwrap();
    assert!(failed > 30, "only {failed} failures were noticed");
}

#[test]
fn row_3_notices_an_update_that_swallows_errors() {
    every_operation_fails(&start(), false, Bug::SwallowsErrors, 1).expect_err("planted bug");
}

/// proves: A5
#[test]
fn row_5_a_drive_that_is_full_at_any_point_of_an_update_loses_nothing() {
    let full = drive_fills_up(&start(), Bug::None).unwrap();
    assert!(full > 60, "only {full}");
}

#[test]
fn row_5_notices_a_full_drive_that_nobody_tells() {
    drive_fills_up(&start(), Bug::SwallowsErrors).expect_err("planted bug");
}

/// proves: A5
#[test]
fn row_5_an_update_that_is_killed_anywhere_goes_on_with_every_chunk_that_it_has_made() {
    let resumed = killed_anywhere(&start(), Bug::None).unwrap();
    assert!(resumed > 40, "only {resumed}");
}

#[test]
fn row_5_notices_an_update_that_begins_again() {
    killed_anywhere(&start(), Bug::ForgetsPartial).expect_err("planted bug");
}

/// proves: A5
#[test]
fn row_4_power_goes_at_every_sync_of_an_update_and_one_of_the_two_releases_plays() {
    let times = power_goes(&start(), seeds(3), Bug::None).unwrap();
    assert!(times > 60, "only {times}");
}

#[test]
fn row_4_notices_an_update_whose_files_are_not_synced() {
    power_goes(&start(), 3, Bug::NoSync).expect_err("planted bug");
}

#[test]
fn row_4_notices_an_update_whose_directories_are_not_synced() {
    power_goes(&start(), 3, Bug::NoDirSync).expect_err("planted bug");
}

/// proves: A5
#[test]
fn row_3_every_io_of_an_update_by_deltas_fails_once() {
    let failed = every_operation_fails(&Start::by_deltas(true), false, Bug::None, 1).unwrap();
    assert!(failed > 50, "only {failed} failures were noticed");
}

#[test]
fn row_3_notices_deltas_that_swallow_errors() {
    every_operation_fails(&Start::by_deltas(true), false, Bug::SwallowsErrors, 1).expect_err("planted bug");
}

/// proves: A5
#[test]
fn row_5_an_update_by_deltas_that_is_killed_anywhere_goes_on_with_every_chunk_that_it_has_made() {
    let resumed = killed_anywhere(&Start::by_deltas(true), Bug::None).unwrap();
    assert!(resumed > 40, "only {resumed}");
}

#[test]
fn row_5_notices_deltas_that_begin_again() {
    killed_anywhere(&Start::by_deltas(true), Bug::ForgetsPartial).expect_err("planted bug");
}

/// proves: A5
#[test]
fn row_4_power_goes_at_every_sync_of_an_update_by_deltas() {
    let times = power_goes(&Start::by_deltas(true), seeds(3), Bug::None).unwrap();
    assert!(times > 50, "only {times}");
}

/// Bytes of chunks of packs that only the new release has, finished packs or not. Patches leave holes where other chunks belong.
fn new_there(start: &Start, disk: &DiskModel) -> u64 {
    let [new, old] = [&start.world.contents[0], &start.world.contents[1]];
    let manifest = manifest_of(new);
    let files = disk.named_files();
    let mut there = 0;
    for (index, pack) in manifest.packs().iter().enumerate().filter(|(_, pack)| !old.packs.contains_key(&pack.name)) {
        let name = pack.name.to_string();
        let found = files.iter().find(|(path, _)| path.starts_with(LIBRARY) && path.to_str().unwrap().contains(&name));
        let Some((_, bytes)) = found else { continue };
        for chunk in manifest.pack_chunks(index) {
            let region = bytes.get(chunk.offset as usize..(chunk.offset + chunk.sealed_len) as usize);
            there += region.filter(|region| region.iter().any(|byte| *byte != 0)).map_or(0, |region| region.len() as u64);
        }
    }
    there
}

fn killed_anywhere(start: &Start, bug: Bug) -> Result<u64, String> {
    let (result, counts, _) = start.attempt(Plan::default(), Bug::None);
    result.map_err(|error| error.to_string())?;
    let [new, old] = [&start.world.contents[0], &start.world.contents[1]];
    let (packed, fresh) = (start.packed(), new_bytes(old, new));
    let longest = manifest_of(new).chunks().iter().map(|chunk| u64::from(chunk.sealed_len)).max().unwrap_or(0);
    let mut resumed = 0;
    for point in (0..counts.written).step_by((counts.written / 150) as usize).chain(counts.written - 300..counts.written) {
        let (result, counts, disk) = start.attempt(Plan { kill_after: Some(point), ..Plan::default() }, Bug::None);
        if !counts.struck {
            continue;
        }
        result.map(|_| ()).expect_err("a process that is killed does not succeed");
        let there = new_there(start, &disk);
        let brought = start.repeat(&disk, bug).map_err(|lost| format!("killed after {point} bytes: {lost}"))?;
        let Some(brought) = brought else { continue };
        if brought.reused + brought.written != packed {
            return Err(format!("killed after {point} bytes: reused and written are not the whole: {brought:?}"));
        }
        if brought.reused + longest < packed - fresh + there {
            return Err(format!("killed after {point} bytes: of {there} only {} were used", brought.reused - (packed - fresh)));
        }
        resumed += u64::from(brought.reused > packed - fresh);
    }
    Ok(resumed)
}
