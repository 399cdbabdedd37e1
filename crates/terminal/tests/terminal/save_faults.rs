//! Rows 3, 4 and 5 of the reliability plan for saves: every I/O fails, the drive fills up, the process dies, the power goes, the line is cut, at every
//! point of a push and of a pull; then the command is repeated. Nothing is handed in twice, no half save lies anywhere, and neither key nor
//! plaintext lies outside of the user's own files. Each harness is run once more with a planted bug, which it must notice.

use crate::common;
use crate::saving::{SAVE, Two, push, read, write};

use common::authority::State;
use common::buggy::{Bug, Buggy};
use common::*;
use counterfoil_terminal::io::Io;
use counterfoil_terminal::io::faults::{Counts, FaultyIo, Plan};
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::save::{self, Pull};
use counterfoil_terminal::*;
use std::path::Path;
use std::result::Result;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Of the second version, by the device that has handed in the first.
    Push,
    /// Of the second version, by the device that has the first.
    Pull,
}

struct Start {
    act: Act,
    two: Two,
    disk: DiskModel,
    state: State,
    /// What lies there before, and what is to lie there in the end.
    old: Vec<(String, String)>,
    new: Vec<(String, String)>,
}

/// Says on which side of every fault the save is whole.
impl Start {
    fn new(act: Act) -> Self {
        let two = Two::new();
        let canary = String::from_utf8(CANARY.to_vec()).unwrap();
        two.write(0, &[("one", &canary), ("sub/two", &"level 1 ".repeat(2000)), ("sub/gone", "soon")]);
        push(&two.terminal(0), false).unwrap();
        pull(&two.terminal(1)).unwrap();
        let old = two.read(0);
        two.disks[0].remove_file(&Path::new(SAVE).join("sub/gone")).unwrap();
        two.disks[0].sync_dir(&Path::new(SAVE).join("sub")).unwrap();
        two.write(0, &[("sub/two", &format!("{canary}, level 2 ").repeat(200)), ("sub/three", "new")]);
        let new = two.read(0);
        if act == Act::Pull {
            push(&two.terminal(0), false).unwrap();
        }
        let disk = two.disks[act as usize].clone();
        let state = two.world.authority.state.lock().unwrap().clone();
        Self { act, two, disk, state, old, new }
    }

    fn run(&self, io: Arc<dyn Io>) -> counterfoil_terminal::Result<()> {
        let terminal = self.two.world.try_terminal(io, &self.two.devices[self.act as usize])?;
        match self.act {
            Act::Push => push(&terminal, false).map(drop),
            Act::Pull => pull(&terminal),
        }
    }

    fn attempt(&self, plan: Plan, bug: Bug) -> (counterfoil_terminal::Result<()>, Counts, DiskModel) {
        *self.two.world.authority.state.lock().unwrap() = self.state.clone();
        let disk = self.disk.snapshot();
        let below: Arc<dyn Io> = Arc::new(Buggy { inner: Arc::new(disk.clone()), bug });
        let faulty = Arc::new(FaultyIo::new(below, plan));
        let above = if bug == Bug::SwallowsErrors { Bug::SwallowsErrorsAbove } else { Bug::None };
        let result = self.run(Arc::new(Buggy { inner: faulty.clone(), bug: above }));
        (result, faulty.counts(), disk)
    }

    /// What must hold at any time; then the command is repeated, and what must hold in the end.
    fn repeat(&self, disk: &DiskModel) -> Result<(), String> {
        self.check_private(disk)?;
        let lies = read(disk);
        let aside = disk.named_files().iter().any(|(path, _)| path.starts_with("/saves/.slot.counterfoil-old"));
        if lies != self.old && lies != self.new && !(lies.is_empty() && aside) {
            return Err(format!("half a save: {:?}", lies.iter().map(|(name, _)| name).collect::<Vec<_>>()));
        }
        self.run(Arc::new(disk.clone())).map_err(|error| format!("the repeated command fails: {error}"))?;
        self.check_done(disk)
    }

    fn check_done(&self, disk: &DiskModel) -> Result<(), String> {
        if read(disk) != self.new {
            return Err("it is not the new save".into());
        }
        let versions = self.two.world.authority.state.lock().unwrap().uploads.versions.len();
        if versions != 2 {
            return Err(format!("{versions} versions"));
        }
        if let Some((path, _)) =
            disk.named_files().iter().find(|(path, _)| path.to_string_lossy().contains(".counterfoil-") || path.ends_with("push.sealed"))
        {
            return Err(format!("{} is left", path.display()));
        }
        self.check_private(disk)?;
        // Handed in as it lies there: the other device has it.
        if self.act == Act::Push {
            let other = self.two.disks[1].snapshot();
            let terminal = self.two.world.terminal(Arc::new(other.clone()), &self.two.devices[1]);
            pull(&terminal).map_err(|error| format!("the other device: {error}"))?;
            if read(&other) != self.new {
                return Err("the other device has something else".into());
            }
        }
        Ok(())
    }

    /// No key anywhere, and no plaintext but where the user's own files are.
    fn check_private(&self, disk: &DiskModel) -> Result<(), String> {
        for (path, bytes) in disk.named_files() {
            let canary = find_canary(&self.two.world, &bytes);
            let own = path.starts_with("/saves") && canary == Some("plaintext");
            if let (Some(what), false) = (canary, own || path.starts_with(MEDIUM) || path.ends_with("device.json")) {
                return Err(format!("{what} in {}", path.display()));
            }
        }
        Ok(())
    }
}

fn pull(terminal: &Terminal) -> counterfoil_terminal::Result<()> {
    let wanted = Pull { path: Some(SAVE.into()), ..Pull::default() };
    save::pull(terminal, &CardChoice::Default, &title(), &wanted, &|_, _| {}).map(drop)
}

fn every_operation_fails(act: Act, for_good: bool, bug: Bug) -> Result<u64, String> {
    let start = Start::new(act);
    let (result, counts, _) = start.attempt(Plan::default(), Bug::None);
    result.map_err(|error| error.to_string())?;
    let mut failed = 0;
    for number in 0..counts.operations {
        let (result, _, disk) = start.attempt(Plan { fail_at: Some(number), for_good, ..Plan::default() }, bug);
        failed += u64::from(result.is_err());
        if result.is_ok() {
            start.check_done(&disk).map_err(|lost| format!("after success with operation {number}: {lost}"))?;
        }
        start.repeat(&disk).map_err(|lost| format!("operation {number}: {lost}"))?;
    }
    Ok(failed)
}

fn drive_fills_up(act: Act, bug: Bug) -> Result<u64, String> {
    let start = Start::new(act);
    let (_, counts, _) = start.attempt(Plan::default(), Bug::None);
    let mut full = 0;
    for space in (0..counts.written).step_by(137) {
        let (result, counts, disk) = start.attempt(Plan { space: Some(space), ..Plan::default() }, bug);
        match result {
            Err(error) if error.code() == "no_space" => full += 1,
            Err(error) => return Err(format!("{space} bytes: {} is not how a full drive is told", error.code())),
            Ok(()) if counts.struck => return Err(format!("{space} bytes: nobody noticed")),
            Ok(()) => {}
        }
        start.repeat(&disk).map_err(|lost| format!("{space} bytes: {lost}"))?;
    }
    Ok(full)
}

fn killed(act: Act) -> Result<u64, String> {
    let start = Start::new(act);
    let (_, counts, _) = start.attempt(Plan::default(), Bug::None);
    let mut killed = 0;
    for point in (0..counts.written).step_by(61) {
        let (result, counts, disk) = start.attempt(Plan { kill_after: Some(point), ..Plan::default() }, Bug::None);
        if counts.struck {
            result.expect_err("a process that is killed does not succeed");
            killed += 1;
        }
        start.repeat(&disk).map_err(|lost| format!("killed after {point} bytes: {lost}"))?;
    }
    Ok(killed)
}

fn power_goes(act: Act, bug: Bug) -> Result<u64, String> {
    let start = Start::new(act);
    let (_, counts, _) = start.attempt(Plan::default(), Bug::None);
    let mut times = 0;
    for sync in 0..=counts.syncs {
        let (result, _, disk) = start.attempt(Plan { kill_at_sync: Some(sync), ..Plan::default() }, bug);
        let state = start.two.world.authority.state.lock().unwrap().clone();
        for seed in 0..seeds(5) {
            *start.two.world.authority.state.lock().unwrap() = state.clone();
            let after = disk.lose_power(seed * 1000 + sync);
            if result.is_ok() {
                start.check_done(&after).map_err(|lost| format!("after the end, seed {seed}: {lost}"))?;
            }
            start.repeat(&after).map_err(|lost| format!("sync {sync}, seed {seed}: {lost}"))?;
            times += 1;
        }
    }
    Ok(times)
}

/// proves: A4
#[test]
fn row_3_every_io_of_a_push_fails() {
    assert!(every_operation_fails(Act::Push, false, Bug::None).unwrap() > 50);
    assert!(every_operation_fails(Act::Push, true, Bug::None).unwrap() > 50);
}

/// proves: A4
#[test]
fn row_3_every_io_of_a_pull_fails() {
    assert!(every_operation_fails(Act::Pull, false, Bug::None).unwrap() > 50);
    assert!(every_operation_fails(Act::Pull, true, Bug::None).unwrap() > 50);
}

#[test]
fn row_3_notices_a_push_and_a_pull_that_swallow_errors() {
    every_operation_fails(Act::Push, false, Bug::SwallowsErrors).expect_err("planted bug");
    every_operation_fails(Act::Pull, false, Bug::SwallowsErrors).expect_err("planted bug");
}

/// proves: A4
#[test]
fn row_5_a_drive_that_is_full_at_any_point_loses_no_save() {
    assert!(drive_fills_up(Act::Push, Bug::None).unwrap() > 50);
    assert!(drive_fills_up(Act::Pull, Bug::None).unwrap() > 50);
    drive_fills_up(Act::Push, Bug::SwallowsErrors).expect_err("planted bug");
}

/// proves: A4
#[test]
fn row_5_a_push_or_pull_that_is_killed_anywhere_goes_on() {
    assert!(killed(Act::Push).unwrap() > 100);
    assert!(killed(Act::Pull).unwrap() > 100);
}

/// proves: A4
#[test]
fn row_4_power_goes_at_every_sync_of_a_push_and_a_pull() {
    assert!(power_goes(Act::Push, Bug::None).unwrap() > 30);
    assert!(power_goes(Act::Pull, Bug::None).unwrap() > 30);
}

#[test]
fn row_4_notices_saves_that_are_not_synced() {
    power_goes(Act::Pull, Bug::NoSync).expect_err("planted bug");
    power_goes(Act::Pull, Bug::NoDirSync).expect_err("planted bug");
}

/// Every message of a push is lost, on its way or with its answer: the same command goes on where the authority is, and hands in once.
#[test]
fn row_2_every_message_of_a_push_is_lost_and_the_same_command_goes_on() {
    let start = Start::new(Act::Push);
    let faults = &start.two.world.faults;
    let messages = || {
        let before = faults.lock().unwrap().sent;
        let (result, _, _) = start.attempt(Plan::default(), Bug::None);
        result.unwrap();
        faults.lock().unwrap().sent - before
    };
    let all = messages();
    assert!(all > 8, "only {all} messages");
    for number in 0..all {
        for answer in [false, true] {
            match answer {
                true => start.two.world.lose_answer(number),
                false => start.two.world.lose_request(number),
            }
            let (result, _, disk) = start.attempt(Plan::default(), Bug::None);
            assert_eq!(result.unwrap_err().code(), "unreachable", "message {number}");
            let before = faults.lock().unwrap().sent;
            start.repeat(&disk).unwrap_or_else(|lost| panic!("message {number}, answer {answer}: {lost}"));
            // What the authority had was not sent again: never more than all, with the asking before and after, and the other device's pull.
            let sent = faults.lock().unwrap().sent - before;
            assert!(sent <= all + 2, "{sent} messages of {all} after number {number}");
            assert_eq!(start.two.world.effects("upload"), 2, "once for each version");
        }
    }
}

/// The save was changed between the cut and the repeat: what is there now is handed in, and what was not is not.
#[test]
fn row_2_what_was_changed_after_a_cut_is_handed_in_as_it_is_now() {
    let start = Start::new(Act::Push);
    for number in 2..8 {
        start.two.world.lose_request(number);
        let (result, _, disk) = start.attempt(Plan::default(), Bug::None);
        result.unwrap_err();
        write(&disk, &[("sub/three", "newer")]);
        start.run(Arc::new(disk.clone())).unwrap();
        let state = start.two.world.authority.state.lock().unwrap().clone();
        assert_eq!(state.uploads.versions.len(), 2);
        assert!(state.uploads.open.len() <= 2, "nothing is left open");
    }
}
