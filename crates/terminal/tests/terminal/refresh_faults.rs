//! A refresh that is interrupted in every way (B7): every I/O fails, the process dies at every byte, the power goes after every step, on file
//! systems that keep the order of names and on those that lose a name when it is replaced. The medium opens and proves itself each time, and
//! has its new identity after the next contact. Each harness is run once more with a planted bug, which it must notice.

use crate::common;
use crate::refreshing::{changed_rights, inspect_at};

use common::authority::State;
use common::buggy::{Bug, Buggy};
use common::*;
use counterfoil_terminal::io::faults::{Counts, FaultyIo, Plan};
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::io::{Create, File, Io, Lock, Metadata};
use counterfoil_terminal::*;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::result::Result;
use std::sync::Arc;

/// What the medium's file system is like, and what is wrong with who writes it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file takes another's name in one step.
    Journal,
    /// The name is gone for a moment.
    Fat,
    /// Planted bug: the identity is written where it stands.
    InPlace,
}

/// A file system of that kind below the medium.
struct Below {
    inner: Arc<dyn Io>,
    kind: Kind,
}

impl Below {
    fn path(&self, path: &Path) -> PathBuf {
        if self.kind == Kind::InPlace && path.ends_with(layout::NEXT_IDENTITY) {
            path.with_file_name(layout::IDENTITY)
        } else {
            path.into()
        }
    }
}

impl Io for Below {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.inner.open(path)
    }

    fn create(&self, path: &Path, how: Create, mode: u32) -> io::Result<Box<dyn File>> {
        let how = if self.path(path) == path { how } else { Create::Truncate };
        self.inner.create(&self.path(path), how, mode)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.inner.metadata(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.inner.list(path)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.inner.create_dir(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.path(from) != from {
            return Ok(());
        }
        if self.kind == Kind::Fat && to.starts_with(MEDIUM) {
            match self.inner.remove_file(to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.inner.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename_new(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.inner.lock(path)
    }
}

struct Start {
    world: World,
    device: Device,
    disk: DiskModel,
    state: State,
    kind: Kind,
}

impl Start {
    fn new(kind: Kind) -> Self {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        world.order_refresh();
        let state = world.authority.state.lock().unwrap().clone();
        Self { world, device, disk, state, kind }
    }

    fn attempt(&self, plan: Plan, bug: Bug) -> (counterfoil_terminal::Result<Option<Refreshing>>, Counts, DiskModel) {
        *self.world.authority.state.lock().unwrap() = self.state.clone();
        let disk = self.disk.snapshot();
        let faulty = Arc::new(FaultyIo::new(Arc::new(Buggy { inner: Arc::new(disk.clone()), bug }), plan));
        let above = if bug == Bug::SwallowsErrors { Bug::SwallowsErrorsAbove } else { Bug::None };
        let io = Below { inner: Arc::new(Buggy { inner: faulty.clone(), bug: above }), kind: self.kind };
        let result = self.world.try_terminal(Arc::new(io), &self.device).and_then(|terminal| inspect_at(&terminal, MEDIUM));
        (result, faulty.counts(), disk)
    }

    /// The medium opens, proves itself, and has its new identity then, and nothing besides.
    fn goes_on(&self, disk: &DiskModel) -> Result<(), String> {
        let io = Below { inner: Arc::new(disk.clone()), kind: if self.kind == Kind::InPlace { Kind::Journal } else { self.kind } };
        let terminal = self.world.terminal(Arc::new(io), &self.device);
        inspect_at(&terminal, MEDIUM).map_err(|error| format!("the medium does not prove itself: {error}"))?;
        let medium = Medium::open(&terminal, Path::new(MEDIUM)).map_err(|error| error.to_string())?;
        if medium.identity().epoch != 2 || medium.identity().rights != changed_rights() {
            return Err(format!("it is at epoch {}", medium.identity().epoch));
        }
        let names = disk.list(Path::new(MEDIUM)).map_err(|error| error.to_string())?;
        // The terminal's own small files are used again.
        let known = |name: &OsString| {
            [layout::IDENTITY, layout::CONTENT].contains(&&*name.to_string_lossy()) || name.to_string_lossy().starts_with(".counterfoil.")
        };
        let left = names.iter().find(|name| !known(name));
        if self.world.seen() != 2 {
            return Err("the authority has not seen the new one".into());
        }
        left.map_or(Ok(()), |name| Err(format!("{} is left", name.display())))
    }
}

fn every_operation_fails(start: &Start, for_good: bool, bug: Bug) -> Result<u64, String> {
    let (result, counts, _) = start.attempt(Plan::default(), Bug::None);
    result.map_err(|error| error.to_string())?;
    let mut times = 0;
    for number in 0..counts.operations {
        let (_, counts, disk) = start.attempt(Plan { fail_at: Some(number), for_good, ..Plan::default() }, bug);
        if !counts.struck {
            return Err(format!("operation {number} was not reached"));
        }
        start.goes_on(&disk.snapshot()).map_err(|lost| format!("operation {number}: {lost}"))?;
        times += 1;
    }
    Ok(times)
}

fn killed(start: &Start, bug: Bug) -> Result<u64, String> {
    let (_, counts, _) = start.attempt(Plan::default(), Bug::None);
    let mut times = 0;
    for bytes in (0..counts.written).step_by(23) {
        let (_, counts, disk) = start.attempt(Plan { kill_after: Some(bytes), ..Plan::default() }, bug);
        if counts.struck {
            start.goes_on(&disk.snapshot()).map_err(|lost| format!("killed after {bytes} bytes: {lost}"))?;
            times += 1;
        }
    }
    Ok(times)
}

fn power_goes(start: &Start, seeds: u64, bug: Bug) -> Result<u64, String> {
    let (_, counts, _) = start.attempt(Plan::default(), Bug::None);
    let mut times = 0;
    // After the last one as well: what was reported as done is there.
    for number in 0..=counts.operations {
        let (_, _, disk) = start.attempt(Plan { fail_at: Some(number), for_good: true, ..Plan::default() }, bug);
        let state = start.world.authority.state.lock().unwrap().clone();
        for seed in 0..seeds {
            *start.world.authority.state.lock().unwrap() = state.clone();
            start.goes_on(&disk.lose_power(seed * 1000 + number)).map_err(|lost| format!("operation {number}, seed {seed}: {lost}"))?;
            times += 1;
        }
    }
    Ok(times)
}

/// proves: B7
#[test]
fn b7_every_io_of_a_refresh_fails_once_and_for_good() {
    for kind in [Kind::Journal, Kind::Fat] {
        let start = Start::new(kind);
        for for_good in [false, true] {
            let times = every_operation_fails(&start, for_good, Bug::None).unwrap();
            assert!(times > 40, "only {times}");
        }
    }
}

#[test]
fn b7_notices_a_refresh_that_swallows_errors() {
    every_operation_fails(&Start::new(Kind::Journal), false, Bug::SwallowsErrors).expect_err("planted bug");
}

/// proves: B7
#[test]
fn b7_a_refresh_that_is_killed_at_any_byte_leaves_the_old_identity_or_the_new_one() {
    for kind in [Kind::Journal, Kind::Fat] {
        let times = killed(&Start::new(kind), Bug::None).unwrap();
        assert!(times > 100, "only {times}");
    }
}

#[test]
fn b7_notices_a_refresh_that_writes_in_place() {
    killed(&Start::new(Kind::InPlace), Bug::None).expect_err("planted bug");
}

/// proves: B7
#[test]
fn b7_the_power_goes_after_every_step_of_a_refresh() {
    for kind in [Kind::Journal, Kind::Fat] {
        let times = power_goes(&Start::new(kind), seeds(6), Bug::None).unwrap();
        assert!(times > 240, "only {times}");
    }
}

#[test]
fn b7_notices_a_refresh_whose_file_is_not_synced() {
    power_goes(&Start::new(Kind::Journal), 6, Bug::NoSync).expect_err("planted bug");
}

#[test]
fn b7_notices_a_refresh_whose_names_are_not_synced() {
    for kind in [Kind::Journal, Kind::Fat] {
        power_goes(&Start::new(kind), 6, Bug::NoDirSync).expect_err("planted bug");
    }
}
