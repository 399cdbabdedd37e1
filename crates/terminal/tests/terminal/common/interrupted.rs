//! A copy or an installation that is interrupted in every way, and repeated; each says how often that was tried, or what was lost.

use super::authority::State;
use super::buggy::{Bug, Buggy};
use super::*;
use counterfoil_terminal::io::faults::{Counts, FaultyIo, Plan};
use std::result::Result;

/// A registered user with a medium, to start from again and again.
pub struct Start {
    pub act: Act,
    pub world: World,
    pub device: Device,
    pub disk: DiskModel,
    pub state: State,
}

/// What is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// From a medium.
    Copy,
    /// Over the network.
    Install,
    /// From one release to the next, by a patch.
    Update,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Brought {
    pub written: u64,
    pub reused: u64,
    /// It had been done before, to its end.
    pub already: bool,
}

impl Act {
    fn carry_out(self, terminal: &Terminal) -> counterfoil_terminal::Result<Brought> {
        let (title, already) = match self {
            Act::Copy => match copy_once(terminal) {
                Ok(mut copied) => (copied.titles.remove(0), false),
                Err(Error::Refused(refusal)) if refusal.code == Code::MediumSpent => {
                    return Ok(Brought { written: 0, reused: 0, already: true });
                }
                Err(error) => return Err(error),
            },
            Act::Install => install_once(terminal).map(|installed| (installed.title, installed.already))?,
            Act::Update => {
                let brought = releases::update_once(terminal)?;
                return Ok(brought.map_or(Brought { written: 0, reused: 0, already: true }, |brought| Brought {
                    written: brought.written,
                    reused: brought.reused,
                    already: false,
                }));
            }
        };
        Ok(Brought { written: title.written, reused: title.reused, already })
    }

    /// What keys are issued by.
    fn effect(self) -> &'static str {
        match self {
            Act::Copy => "claim",
            // An update issues nothing: the keys are those that there were.
            Act::Install | Act::Update => "redeem",
        }
    }
}

impl Start {
    pub fn new(act: Act) -> Self {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        world.sell(&world.contents[0]);
        if act == Act::Update {
            return Self::installed(world, device, disk, None);
        }
        let state = world.authority.state.lock().unwrap().clone();
        Self { act, world, device, disk, state }
    }

    /// An update by deltas in place of a patch, which are written against the release that is there, or against nothing.
    pub fn by_deltas(against_file: bool) -> Self {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        world.sell(&world.contents[0]);
        Self::installed(world, device, disk, Some(against_file))
    }

    /// With the first release installed and the second on offer. What is to play in the end is the second one.
    fn installed(mut world: World, device: Device, disk: DiskModel, by_deltas: Option<bool>) -> Self {
        install_once(&world.terminal(Arc::new(disk.clone()), &device)).unwrap();
        let next = releases::next_release(&world.contents[0], "1.1.0", releases::usual_change);
        world.release(&next);
        let old = &world.contents[0];
        let ways = match by_deltas {
            Some(near) => world.ways_by_deltas(old, &next, world.deltas(old, &next, deltas::parts(old, &next, near).seal(&next))),
            None => releases::ways(old, &next, vec![world.patch(old, &next)]),
        };
        world.offer(&world.contents[0], &next, ways);
        world.contents.insert(0, next);
        let state = world.authority.state.lock().unwrap().clone();
        Self { act: Act::Update, world, device, disk, state }
    }

    /// The act under a plan, on a disk with a bug (or none). What came of it, what was counted, and the disk afterwards.
    pub fn attempt(&self, plan: Plan, bug: Bug) -> (counterfoil_terminal::Result<Brought>, Counts, DiskModel) {
        *self.world.authority.state.lock().unwrap() = self.state.clone();
        let disk = self.disk.snapshot();
        let below: Arc<dyn Io> = Arc::new(Buggy { inner: Arc::new(disk.clone()), bug });
        let faulty = Arc::new(FaultyIo::new(below, plan));
        let above =
            Arc::new(Buggy { inner: faulty.clone(), bug: if bug == Bug::SwallowsErrors { Bug::SwallowsErrorsAbove } else { Bug::None } });
        let result = self.world.try_terminal(above, &self.device).and_then(|terminal| self.act.carry_out(&terminal));
        (result, faulty.counts(), disk)
    }

    pub fn terminal(&self, disk: &DiskModel, bug: Bug) -> Terminal {
        self.world.terminal(Arc::new(Buggy { inner: Arc::new(disk.clone()), bug }), &self.device)
    }

    /// Repeats the command on a disk that works, then plays: `Err` says what was lost.
    pub fn repeat(&self, disk: &DiskModel, bug: Bug) -> Result<Option<Brought>, String> {
        for bytes in disk.all_bytes() {
            if has_plaintext(&bytes) {
                return Err("plaintext on the disk".into());
            }
        }
        let terminal = self.terminal(disk, bug);
        if self.act == Act::Update {
            let played = self.world.contents.iter().any(|content| releases::plays(content, &terminal).is_ok());
            if !played {
                return Err("neither the old release plays nor the new one".into());
            }
        }
        let repeated = self.act.carry_out(&terminal).map_err(|error| format!("the repeated command fails: {error}"))?;
        self.check_complete(&terminal)?;
        if self.act == Act::Update {
            self.check_tidy(disk)?;
        }
        Ok(Some(repeated).filter(|repeated| !repeated.already))
    }

    /// Nothing is left of the update but the two releases.
    fn check_tidy(&self, disk: &DiskModel) -> Result<(), String> {
        let needed = |name: &str| self.world.contents.iter().any(|content| content.packs.keys().any(|pack| format!("{pack}.pack") == name));
        for (path, _) in disk.named_files() {
            let name = path.file_name().unwrap().to_str().unwrap();
            let below =
                path.starts_with(LIBRARY) && path.components().any(|part| part.as_os_str() == "packs" || part.as_os_str() == "update");
            if below && !needed(name) {
                return Err(format!("{} is left", path.display()));
            }
        }
        Ok(())
    }

    /// Claimed once, confirmed once, content key gone, everything plays.
    pub fn check_complete(&self, terminal: &Terminal) -> Result<(), String> {
        let effect = self.act.effect();
        if self.world.effects(effect) != 1 {
            return Err(format!("{effect}: {} times", self.world.effects(effect)));
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

    pub fn packed(&self) -> u64 {
        self.world.contents[0].packs.values().map(|pack| pack.len() as u64).sum()
    }
}

/// Bytes of packs in the library, finished or not.
pub fn bytes_there(disk: &DiskModel) -> u64 {
    let pack = |path: &Path| path.starts_with(LIBRARY) && path.extension().is_some_and(|name| name == "pack" || name == "partial");
    disk.named_files().iter().filter(|(path, _)| pack(path)).map(|(_, bytes)| bytes.len() as u64).sum()
}

pub fn every_operation_fails(start: &Start, for_good: bool, bug: Bug, step: u64) -> Result<u64, String> {
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

pub fn drive_fills_up(start: &Start, bug: Bug) -> Result<u64, String> {
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

pub fn killed(start: &Start, bug: Bug) -> Result<u64, String> {
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
        let title = copied;
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

pub fn chunk_lengths(start: &Start) -> Vec<u64> {
    let (_, _, disk) = start.attempt(Plan::default(), Bug::None);
    let opened = open(&start.terminal(&disk, Bug::None)).unwrap();
    opened.manifest().chunks().iter().map(|chunk| u64::from(chunk.sealed_len)).collect()
}

pub fn power_goes(start: &Start, seeds: u64, bug: Bug) -> Result<u64, String> {
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
