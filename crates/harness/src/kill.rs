//! SIGKILL under load (testing.md rows 1 and 2): nothing acknowledged is lost, nothing is granted twice, and every request whose answer
//! was lost comes to one definite outcome when it is repeated: after a restart, or at once at another process.

use crate::{
    Common,
    authority::{Authority, Failure, Reply},
    cluster::Cluster,
    database::Database,
    ground,
    random::Dice,
    terminal::{Medium, Terminal},
};
use counterfoil_core::{
    Code, GrantId, UserId,
    wire::{Answer, ClaimResult, ConfirmResult, RegisterResult},
};
use counterfoil_format::envelope::Envelope;
use serde::de::DeserializeOwned;
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// Half way, the database forgets one claim: a second grant for the medium becomes possible.
    ForgetClaim,
    /// Half way, the database is put back to what it was some kills before: acknowledged effects are gone.
    StaleDatabase,
}

/// How long the jobs may take to deliver what is due once nobody kills any more: the lease of a job whose process died, and that of the
/// messages which it had taken.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// What everybody has been told, to hold every further answer against.
pub(crate) struct World {
    media: Vec<Medium>,
    /// Per medium, what was told of it last.
    pub(crate) granted: Mutex<HashMap<usize, Holding>>,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) lost: AtomicU64,
    /// Asked to come again later.
    pub(crate) busy: AtomicU64,
    elsewhere: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) stop: AtomicBool,
    /// Counts starts of the server; who lost an answer waits for the next.
    starts: (Mutex<u64>, Condvar),
    pub(crate) finding: Mutex<Option<Failure>>,
    /// How long a terminal rests between two requests.
    pause: Duration,
}

impl World {
    /// In which nobody has been told anything about these media.
    pub(crate) fn new(media: Vec<Medium>, pause: Duration) -> Self {
        World {
            media,
            granted: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            elsewhere: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            starts: (Mutex::new(1), Condvar::new()),
            finding: Mutex::default(),
            pause,
        }
    }
}

/// How long a terminal waits that was asked to come again.
const COME_AGAIN: Duration = Duration::from_millis(50);

/// Who was granted a medium.
pub(crate) struct Holding {
    user: UserId,
    grants: Vec<GrantId>,
    confirmed: bool,
}

/// A request that was answered, and what the answer must be when it is sent again.
enum Told {
    User(UserId),
    Granted { medium: usize, grants: Vec<GrantId> },
    Spent,
    Settled(Vec<GrantId>),
}

/// Runs until `kills` processes have been killed.
///
/// # Errors
/// What was lost or granted twice, what the auditor complains of, or a planted bug that was not found.
pub fn run(common: &Common, kills: u32, servers: usize, plant: Option<Plant>) -> Result<(), Failure> {
    if plant == Some(Plant::StaleDatabase) && common.database.is_some() {
        return Err(Failure::Broken("this plant needs SQLite".into()));
    }
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(common, directory.path(), servers)?;
    cluster.start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let media = ground::prepare(&authority, cluster.token(), u64::from(kills) * 20 + 100)?;
    let world = World::new(media, Duration::ZERO);
    let processes: Vec<Authority> = cluster.urls().iter().map(|url| authority.at(url)).collect();
    let killing = std::thread::scope(|scope| {
        for stream in 0..common.terminals {
            let (world, processes) = (&world, processes.clone());
            let dice = Dice::new(common.seed, 1 + stream as u64);
            scope.spawn(move || {
                if let Err(failure) = Worker::new(world, processes, stream, dice).work() {
                    world.finding.lock().expect("no holder panics").get_or_insert(failure);
                    world.stop.store(true, SeqCst);
                }
            });
        }
        let killing = kill_again_and_again(common, kills, plant, &mut cluster, &world);
        world.stop.store(true, SeqCst);
        world.starts.1.notify_all();
        killing
    });
    killing?;
    judge(common, kills, plant, &cluster, world)
}

/// What the terminals found, else the jobs, else the auditor; and whether enough happened.
fn judge(common: &Common, kills: u32, plant: Option<Plant>, cluster: &Cluster, world: World) -> Result<(), Failure> {
    let finding = world.finding.into_inner().expect("no holder panics");
    let finding = finding.map_or_else(|| drained(cluster).and_then(|()| cluster.audit()), Err);
    let (acknowledged, lost) = (world.acknowledged.into_inner(), world.lost.into_inner());
    let granted = world.granted.into_inner().expect("no holder panics").len();
    let (elsewhere, repeated) = (world.elsewhere.into_inner(), world.repeated.into_inner());
    println!(
        "kill: {kills} kills among {} processes, {acknowledged} acknowledged, {granted} granted, {lost} answers lost and repeated, \
         {elsewhere} of them answered by another process, {repeated} repeats of answered requests, seed {}",
        cluster.servers.len(),
        common.seed
    );
    let too_little = acknowledged < u64::from(kills) * 5
        || granted < kills as usize
        || lost == 0
        || (cluster.servers.len() > 1 && elsewhere < u64::from(kills) / 4);
    match (plant, finding) {
        (Some(plant), Err(found)) => {
            println!("kill: planted {plant:?} was found: {found}");
            Ok(())
        }
        (Some(plant), Ok(())) => Err(Failure::Broken(format!("the planted {plant:?} was not found"))),
        (None, Err(found)) => Err(found),
        (None, Ok(())) if too_little => Err(Failure::Broken("too little happened for this run to prove anything".into())),
        (None, Ok(())) => Ok(()),
    }
}

/// The jobs of killed processes are done by others: in the end no message is left.
pub(crate) fn drained(cluster: &Cluster) -> Result<(), Failure> {
    let mut left = 0;
    for _ in 0..DRAINED_WITHIN.as_millis() / 250 {
        left = cluster.database.number("SELECT count(*) FROM outbox")?;
        if left == 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Err(Failure::Broken(format!("{left} messages of the outbox were not delivered within {} s", DRAINED_WITHIN.as_secs())))
}

fn kill_again_and_again(common: &Common, kills: u32, plant: Option<Plant>, cluster: &mut Cluster, world: &World) -> Result<(), Failure> {
    let mut dice = Dice::new(common.seed, 0);
    let data = cluster.servers[0].data.clone();
    let snapshot = data.with_file_name("snapshot");
    for kill in 1..=kills {
        let target = world.acknowledged.load(SeqCst) + 1 + dice.below(40);
        while world.acknowledged.load(SeqCst) < target && !world.stop.load(SeqCst) {
            std::thread::sleep(Duration::from_micros(200));
        }
        if world.stop.load(SeqCst) {
            return Ok(());
        }
        let which = dice.below(cluster.servers.len() as u64) as usize;
        cluster.servers[which].kill();
        match plant {
            Some(Plant::ForgetClaim) if kill == kills / 2 => forget_a_claim(&cluster.database, world)?,
            Some(Plant::StaleDatabase) if kill == kills / 3 => copy(&data, &snapshot)?,
            Some(Plant::StaleDatabase) if kill == kills / 2 => copy(&snapshot, &data)?,
            _ => {}
        }
        cluster.servers[which].start()?;
        *world.starts.0.lock().expect("no holder panics") += 1;
        world.starts.1.notify_all();
    }
    Ok(())
}

pub(crate) struct Worker<'a> {
    world: &'a World,
    processes: Vec<Authority>,
    /// Which process it asks at present.
    at: usize,
    dice: Dice,
    people: Vec<Terminal>,
    /// Everything answered, by whom it was asked.
    told: Vec<(usize, Envelope, Told)>,
    open: Vec<(usize, usize, Vec<GrantId>)>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(world: &'a World, processes: Vec<Authority>, stream: usize, dice: Dice) -> Self {
        Worker { world, at: stream % processes.len(), processes, dice, people: Vec::new(), told: Vec::new(), open: Vec::new() }
    }

    /// Works until told to stop, and then asks once more for everything that it was ever told.
    pub(crate) fn work(mut self) -> Result<(), Failure> {
        self.register()?;
        while !self.world.stop.load(SeqCst) {
            std::thread::sleep(self.world.pause);
            match self.dice.below(100) {
                0..5 => self.register()?,
                5..65 => self.claim()?,
                65..85 => self.confirm()?,
                _ => {
                    let which = self.dice.below(self.told.len() as u64) as usize;
                    self.repeat(which)?;
                }
            }
        }
        // The server is up and nobody kills it any more: everything that was ever answered must still be so.
        for which in 0..self.told.len() {
            self.repeat(which)?;
        }
        Ok(())
    }

    fn register(&mut self) -> Result<(), Failure> {
        let mut person = Terminal::new(&mut self.dice);
        let envelope = person.register(&self.processes[0], &mut self.dice);
        let answer = self.send(&envelope)?;
        let result: RegisterResult = expect(answer, "register")?;
        let user = person.registered(&result).map_err(|error| Failure::Broken(format!("a user ID that does not open: {error}")))?;
        self.people.push(person);
        self.told.push((self.people.len() - 1, envelope, Told::User(user)));
        Ok(())
    }

    fn claim(&mut self) -> Result<(), Failure> {
        // Close together, so that many want the same; now and then one that is long gone.
        let reached = self.world.granted.lock().expect("no holder panics").len() as u64;
        let window = if self.dice.chance(10) { self.dice.below(reached + 1) } else { reached.saturating_sub(4) + self.dice.below(12) };
        let medium = (window as usize).min(self.world.media.len() - 1);
        let person = self.dice.below(self.people.len() as u64) as usize;
        let envelope = self.people[person].claim(&self.processes[0], &self.world.media[medium], &mut self.dice);
        let answer = self.send(&envelope)?;
        let told = self.hold_against(person, medium, answer)?;
        if let Told::Granted { grants, .. } = &told {
            self.open.push((person, medium, grants.clone()));
        }
        self.told.push((person, envelope, told));
        Ok(())
    }

    /// A claim's answer against what anybody has been told about the medium.
    fn hold_against(&self, person: usize, medium: usize, answer: Answer) -> Result<Told, Failure> {
        let user = self.people[person].user.expect("registered before it claims");
        let mut granted = self.world.granted.lock().expect("no holder panics");
        match definite::<ClaimResult>(answer)? {
            Ok(result) => {
                let grants = self.people[person]
                    .granted(&result)
                    .map_err(|error| Failure::Broken(format!("a grant that does not open: {error}")))?;
                match granted.get(&medium) {
                    Some(known) if known.user != user || known.grants != grants || known.confirmed => Err(Failure::Broken(format!(
                        "medium {medium}: granted to {user} with {grants:?}, and before to {} with {:?}, confirmed: {}",
                        known.user, known.grants, known.confirmed
                    ))),
                    _ => {
                        granted.insert(medium, Holding { user, grants: grants.clone(), confirmed: false });
                        Ok(Told::Granted { medium, grants })
                    }
                }
            }
            Err(Code::MediumSpent) => match granted.get(&medium) {
                Some(known) if known.user == user && !known.confirmed => {
                    Err(Failure::Broken(format!("medium {medium}: its holder {user} was told that it is spent before confirming")))
                }
                // Whoever has it may not have heard yet.
                _ => Ok(Told::Spent),
            },
            Err(code) => Err(Failure::Broken(format!("medium {medium}: refused as {code}"))),
        }
    }

    fn confirm(&mut self) -> Result<(), Failure> {
        if self.open.is_empty() {
            return Ok(());
        }
        let (person, medium, grants) = self.open.swap_remove(self.dice.below(self.open.len() as u64) as usize);
        let envelope = self.people[person].confirm(&self.processes[0], &self.world.media[medium], &grants, &mut self.dice);
        // From here on a claim may be told either: it may overtake the confirmation.
        let answer = self.send(&envelope)?;
        let result: ConfirmResult = expect(answer, "confirm")?;
        if result.settled != grants {
            return Err(Failure::Broken(format!("confirmed {grants:?}, settled {:?}", result.settled)));
        }
        if let Some(entry) = self.world.granted.lock().expect("no holder panics").get_mut(&medium) {
            entry.confirmed = true;
        }
        self.told.push((person, envelope, Told::Settled(grants)));
        Ok(())
    }

    /// The same bytes again: the same answer, but that keys are not handed out after the confirmation.
    fn repeat(&mut self, which: usize) -> Result<(), Failure> {
        self.world.repeated.fetch_add(1, SeqCst);
        let envelope = self.told[which].1.clone();
        let answer = self.send(&envelope)?;
        let (person, _, told) = &self.told[which];
        let same = match told {
            Told::User(user) => {
                let result: RegisterResult = expect(answer, "register, repeated")?;
                let again = self.people[*person].open_user(&result);
                again.map_err(|error| Failure::Broken(format!("a user ID that does not open: {error}")))? == *user
            }
            Told::Settled(grants) => expect::<ConfirmResult>(answer, "confirm, repeated")?.settled == *grants,
            Told::Spent => definite::<ClaimResult>(answer)?.err() == Some(Code::MediumSpent),
            Told::Granted { medium, grants } => {
                let confirmed = self.world.granted.lock().expect("no holder panics").get(medium).is_some_and(|entry| entry.confirmed);
                match definite::<ClaimResult>(answer)? {
                    Ok(result) => !confirmed && result.grants.iter().map(|grant| grant.grant_id).eq(grants.iter().copied()),
                    Err(code) => confirmed && code == Code::MediumSpent,
                }
            }
        };
        if same { Ok(()) } else { Err(Failure::Broken("a repeated request was answered otherwise than before".into())) }
    }

    /// Until there is a definite answer: the same envelope again, at another process where there is one, else after the next start.
    fn send(&mut self, envelope: &Envelope) -> Result<Answer, Failure> {
        let first = self.at;
        let mut doubt = false;
        loop {
            let starts = *self.world.starts.0.lock().expect("no holder panics");
            match self.processes[self.at].exchange(envelope)? {
                Reply::Answer(answer) => {
                    self.world.acknowledged.fetch_add(1, SeqCst);
                    if doubt && self.at != first {
                        self.world.elsewhere.fetch_add(1, SeqCst);
                    }
                    return Ok(answer);
                }
                Reply::Busy => {
                    self.world.busy.fetch_add(1, SeqCst);
                    std::thread::sleep(COME_AGAIN);
                }
                Reply::Lost => {
                    self.world.lost.fetch_add(1, SeqCst);
                    doubt = true;
                    self.at = (self.at + 1) % self.processes.len();
                    if self.at == first {
                        let guard = self.world.starts.0.lock().expect("no holder panics");
                        // With a limit: the loss may have been seen before the kill was over, or after the start.
                        drop(self.world.starts.1.wait_timeout_while(guard, Duration::from_millis(200), |now| *now == starts));
                    }
                }
            }
        }
    }
}

fn definite<T: DeserializeOwned>(answer: Answer) -> Result<Result<T, Code>, Failure> {
    let outcome = answer.outcome.into_result::<T>().map_err(|error| Failure::Broken(format!("an answer of another shape: {error}")))?;
    Ok(outcome.map_err(|refusal| refusal.code))
}

fn expect<T: DeserializeOwned>(answer: Answer, what: &str) -> Result<T, Failure> {
    definite(answer)?.map_err(|code| Failure::Broken(format!("{what}: refused as {code}")))
}

pub(crate) fn forget_a_claim(database: &Database, world: &World) -> Result<(), Failure> {
    let granted = world.granted.lock().expect("no holder panics");
    let medium = granted
        .iter()
        .find(|(_, entry)| entry.confirmed)
        .map(|(medium, _)| *medium)
        .ok_or_else(|| Failure::Broken("nothing confirmed yet".into()))?;
    database.forget(world.media[medium].claims.medium_id.as_str())
}

/// The database's files only: keys and configuration stay.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let copied = || -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        for name in ["counterfoil.db", "counterfoil.db-wal", "counterfoil.db-shm"] {
            let _ = std::fs::remove_file(to.join(name));
            if from.join(name).exists() {
                std::fs::copy(from.join(name), to.join(name))?;
            }
        }
        Ok(())
    };
    copied().map_err(|error| Failure::Io("copying the database", error))
}
