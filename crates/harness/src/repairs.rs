//! Two repair centres exchange one device at once while others claim its medium, each at another process (C8, C14, testing.md rows 6 and 9):
//! one exchange takes effect, and the copy that it takes back is given to exactly one.

use crate::{
    Common,
    authority::{Authority, Failure, Reply},
    cluster::Cluster,
    ground, kill,
    race::{registered, send},
    random::Dice,
    terminal::{Medium, Terminal},
    work,
};
use counterfoil_core::{Code, DeviceId, wire::ClaimResult, wire::ConfirmResult};
use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

/// How much to race for.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many media, each copied at a device that is then exchanged.
    #[arg(long, default_value_t = 60)]
    pub media: u64,
    /// Server processes; more than one needs PostgreSQL.
    #[arg(long, default_value_t = 1)]
    pub servers: usize,
    /// Plant a bug that the run must catch; it then succeeds only if it does.
    #[arg(long)]
    pub plant: Option<Plant>,
}

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// A copy that was taken back is taken back once more, when somebody else has it.
    FreeTwice,
}

/// Races side by side, so that a server is busy while another race waits for its slowest.
const RACES: usize = 4;
/// The two repair centres.
const CENTRES: usize = 2;
/// What was taken back is free within this: the jobs of one process after the other.
const FREE_WITHIN: Duration = Duration::from_secs(60);

/// What the races came to.
#[derive(Default)]
struct Tally {
    /// Granted while repair centres were still at it, or later.
    granted: AtomicU32,
    spent: AtomicU32,
    exchanged: AtomicU32,
    refused: AtomicU32,
}

/// Races for every medium.
///
/// # Errors
/// A device that was exchanged twice or not at all, a copy that two have or nobody gets, what the auditor complains of, or a planted bug that was not found.
#[expect(clippy::disallowed_methods, reason = "says how long it took")]
pub fn run(common: &Common, options: &Options) -> Result<(), Failure> {
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(common, directory.path(), options.servers)?;
    cluster.start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let media = ground::prepare(&authority, cluster.token(), options.media)?;
    let processes: Vec<Authority> = cluster.urls().iter().map(|url| authority.at(url).apart()).collect();
    let (begun, tally) = (Instant::now(), Tally::default());
    let field = |(number, media): (usize, &[Medium])| -> Result<(), Failure> {
        let mut dice = Dice::new(common.seed, 11 << 32 | number as u64);
        media.iter().try_for_each(|medium| race(common, &cluster, &processes, medium, options.plant, &tally, &mut dice))
    };
    let raced = std::thread::scope(|scope| {
        let field = &field;
        let fields = media.chunks(media.len().div_ceil(RACES).max(1)).enumerate();
        let running: Vec<_> = fields.map(|part| scope.spawn(move || field(part))).collect();
        let join =
            |one: std::thread::ScopedJoinHandle<'_, _>| one.join().unwrap_or_else(|_| Err(Failure::Broken("a race panicked".into())));
        running.into_iter().map(join).collect::<Vec<_>>().into_iter().collect::<Result<Vec<()>, _>>()
    });
    let [granted, spent, exchanged, refused] =
        [&tally.granted, &tally.spent, &tally.exchanged, &tally.refused].map(|count| u64::from(count.load(SeqCst)));
    println!(
        "repairs: {} media, {} server processes: {exchanged} exchanges carried out and {refused} refused, {granted} copies given anew and {spent} claims \
         refused, {:.1} s, seed {}",
        media.len(),
        cluster.servers.len(),
        begun.elapsed().as_secs_f64(),
        common.seed
    );
    let finding = raced.and_then(|_| kill::drained(&cluster)).and_then(|()| cluster.audit());
    let all = options.media;
    work::verdict("repairs", options.plant, finding, granted == all && exchanged == all && refused == all && spent >= all)
}

/// One medium: its copy at a device that two centres exchange, and everybody else who wants it.
fn race(
    common: &Common,
    cluster: &Cluster,
    processes: &[Authority],
    medium: &Medium,
    plant: Option<Plant>,
    tally: &Tally,
    dice: &mut Dice,
) -> Result<(), Failure> {
    let owner = copied(&processes[0], medium, dice)?;
    let (user, old) = (owner.user_id(), owner.device_id());
    let others = common.terminals.max(CENTRES + 2) - CENTRES;
    let claimants = (0..others).map(|_| registered(&processes[0], dice)).collect::<Result<Vec<_>, _>>()?;
    let barrier = Barrier::new(CENTRES + others);
    let (won, exchanged, over) = (AtomicU32::new(0), AtomicU32::new(0), AtomicBool::new(false));
    let racers: Vec<Dice> = (0..CENTRES + others).map(|_| dice.apart()).collect();
    let found = std::thread::scope(|scope| {
        let (barrier, won, exchanged, over) = (&barrier, &won, &exchanged, &over);
        let mut running = Vec::new();
        for (number, mut dice) in racers.into_iter().enumerate() {
            let authority = &processes[number % processes.len()];
            let claimant = number.checked_sub(CENTRES).map(|which| &claimants[which]);
            running.push(scope.spawn(move || -> Result<(), Failure> {
                barrier.wait();
                let raced = match claimant {
                    Some(terminal) => claim_until(authority, terminal, medium, (won, over), tally, &mut dice),
                    None => exchange(authority, cluster.token(), (user, old), exchanged, &mut dice),
                };
                if raced.is_err() {
                    over.store(true, SeqCst);
                }
                raced
            }));
        }
        let join =
            |one: std::thread::ScopedJoinHandle<'_, _>| one.join().unwrap_or_else(|_| Err(Failure::Broken("a racer panicked".into())));
        running.into_iter().map(join).collect::<Vec<_>>().into_iter().collect::<Result<Vec<()>, _>>()
    });
    found?;
    if plant == Some(Plant::FreeTwice) {
        let id = &medium.claims.medium_id;
        cluster.database.execute(&format!("UPDATE medium SET copies_claimed = 0, state = 'unclaimed' WHERE medium_id = '{id}'"))?;
        let terminal = registered(&processes[0], dice)?;
        won.fetch_add(u32::from(claim(&processes[0], &terminal, medium, dice)?), SeqCst);
    }
    let (won, exchanged) = (won.load(SeqCst), exchanged.load(SeqCst));
    tally.granted.fetch_add(won, SeqCst);
    tally.exchanged.fetch_add(exchanged, SeqCst);
    tally.refused.fetch_add(CENTRES as u32 - exchanged.min(CENTRES as u32), SeqCst);
    match (won, exchanged) {
        (1, 1) => Ok(()),
        (won, exchanged) => Err(Failure::Broken(format!(
            "medium {}: its device was exchanged {exchanged} times, and its copy given to {won} others",
            medium.claims.medium_id
        ))),
    }
}

/// Somebody with the one copy, confirmed now and then.
fn copied(authority: &Authority, medium: &Medium, dice: &mut Dice) -> Result<Terminal, Failure> {
    let owner = registered(authority, dice)?;
    let claimed = send(authority, &owner.claim(authority, medium, dice))?.outcome.into_result::<ClaimResult>();
    let Ok(Ok(result)) = claimed else { return Err(Failure::Broken(format!("a first claim was not granted: {claimed:?}"))) };
    if dice.chance(50) {
        let grants: Vec<_> = result.grants.iter().map(|grant| grant.grant_id).collect();
        let confirmed = send(authority, &owner.confirm(authority, medium, &grants, dice))?.outcome.into_result::<ConfirmResult>();
        let Ok(Ok(_)) = confirmed else { return Err(Failure::Broken(format!("a copy was not confirmed: {confirmed:?}"))) };
    }
    Ok(owner)
}

/// A repair centre puts a device of its own choice in the place of the old one.
fn exchange(
    authority: &Authority,
    token: &str,
    (user, old): (counterfoil_core::UserId, DeviceId),
    exchanged: &AtomicU32,
    dice: &mut Dice,
) -> Result<(), Failure> {
    let new = Terminal::new(dice).device_id();
    loop {
        match authority.exchange_device_or_not(token, user, old, new, &format!("{user}-{new}"))? {
            Reply::Answer(done) => {
                exchanged.fetch_add(u32::from(done), SeqCst);
                return Ok(());
            }
            Reply::Busy => std::thread::sleep(Duration::from_millis(5)),
            Reply::Lost => return Err(Failure::Broken("an exchange was not answered though nothing was killed".into())),
        }
    }
}

/// Claims again and again until somebody has it, and then once more.
#[expect(clippy::disallowed_methods, reason = "nobody waits for ever")]
fn claim_until(
    authority: &Authority,
    terminal: &Terminal,
    medium: &Medium,
    (won, over): (&AtomicU32, &AtomicBool),
    tally: &Tally,
    dice: &mut Dice,
) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let last = over.load(SeqCst);
        if claim(authority, terminal, medium, dice)? {
            won.fetch_add(1, SeqCst);
            over.store(true, SeqCst);
            return Ok(());
        }
        tally.spent.fetch_add(1, SeqCst);
        if last {
            return Ok(());
        }
        if begun.elapsed() > FREE_WITHIN {
            return Err(Failure::Broken(format!(
                "medium {} was not free {} s after its device was exchanged",
                medium.claims.medium_id,
                FREE_WITHIN.as_secs()
            )));
        }
    }
}

fn claim(authority: &Authority, terminal: &Terminal, medium: &Medium, dice: &mut Dice) -> Result<bool, Failure> {
    match send(authority, &terminal.claim(authority, medium, dice))?.outcome.into_result::<ClaimResult>() {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(refusal)) if refusal.code == Code::MediumSpent => Ok(false),
        other => Err(Failure::Broken(format!("unexpected outcome of a claim: {other:?}"))),
    }
}
