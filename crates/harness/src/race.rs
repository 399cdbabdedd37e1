//! Many terminals, one medium (C8, testing.md row 6): exactly one winner each, whichever process they ask.

use crate::{
    Common,
    authority::{Authority, Failure, Reply},
    cluster::Cluster,
    database::Database,
    ground,
    random::Dice,
    server::Server,
    terminal::{Medium, Terminal},
    work,
};
use counterfoil_core::{
    Code,
    wire::{Answer, ClaimResult, RegisterResult},
};
use counterfoil_format::envelope::Envelope;
use std::{
    sync::Barrier,
    time::{Duration, Instant},
};

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// After the race, the database forgets one claim.
    ForgetClaim,
    /// In the database, numbers of 64 bits are equal whatever they are: the update that flags a copy as claimed no longer guards itself
    /// against a process that was first. Within one process nothing shows it.
    NoGuard,
    /// One of the processes works on a database of its own: a primary that was cut off and does not know.
    SplitBrain,
}

/// Races `common.terminals` for each of `media`.
///
/// # Errors
/// A medium with another number of winners than one, an answer that cannot be explained, or a planted bug that was not found.
#[expect(clippy::disallowed_methods, reason = "says how long it took")]
pub fn run(common: &Common, media: u64, servers: usize, plant: Option<Plant>) -> Result<(), Failure> {
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(common, directory.path(), servers)?;
    cluster.servers[0].start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let media = ground::prepare(&authority, cluster.token(), media)?;
    let fork = damage(plant, &mut cluster, &media)?;
    cluster.servers[1..].iter_mut().try_for_each(Server::start)?;

    let begun = Instant::now();
    let mut wins = winners(common, &authority, &cluster.urls(), &media)?;
    let seconds = begun.elapsed().as_secs_f64();
    if plant == Some(Plant::ForgetClaim) {
        cluster.database.forget(media[0].claims.medium_id.as_str())?;
        wins[0] += u32::from(one_more_claim(common, &authority, &media[0])?);
    }
    let wrong: Vec<usize> = (0..media.len()).filter(|medium| wins[*medium] != 1).collect();
    println!(
        "race: {} media, {} terminals, {servers} server processes, exactly one winner for {}, {:.1} s, seed {}",
        media.len(),
        common.terminals,
        media.len() - wrong.len(),
        seconds,
        common.seed
    );
    cluster.kill();
    fork.map_or(Ok(()), |fork| fork.drop_fork())?;
    let finding = match (plant, wrong.is_empty()) {
        (_, false) => Err(Failure::Broken(format!("media with no winner or several: {wrong:?}"))),
        (None, true) => cluster.audit(),
        (Some(_), true) => Ok(()),
    };
    work::verdict("race", plant, finding, !media.is_empty())
}

/// Races that run side by side, so that a server is busy while another race waits for its slowest.
const RACES: usize = 4;

/// How often each medium was won.
fn winners(common: &Common, authority: &Authority, urls: &[String], media: &[Medium]) -> Result<Vec<u32>, Failure> {
    let fields: Vec<&[Medium]> = media.chunks(media.len().div_ceil(RACES).max(1)).collect();
    std::thread::scope(|scope| {
        let races: Vec<_> = fields
            .iter()
            .enumerate()
            .map(|(number, media)| scope.spawn(move || winners_of_field(common, number, authority, urls, media)))
            .collect();
        let mut wins = Vec::with_capacity(media.len());
        for race in races {
            wins.extend(race.join().unwrap_or_else(|_| Err(Failure::Broken("a race panicked".into())))?);
        }
        Ok(wins)
    })
}

fn winners_of_field(common: &Common, field: usize, authority: &Authority, urls: &[String], media: &[Medium]) -> Result<Vec<u32>, Failure> {
    let barrier = Barrier::new(common.terminals);
    let outcomes: Vec<Result<Vec<bool>, Failure>> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..common.terminals)
            .map(|racer| {
                let authority = authority.at(&urls[racer % urls.len()]).apart();
                let mut dice = Dice::new(common.seed, 1 + (field * common.terminals + racer) as u64);
                let barrier = &barrier;
                scope.spawn(move || race(&authority, media, barrier, &mut dice))
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap_or_else(|_| Err(Failure::Broken("a racer panicked".into())))).collect()
    });
    let mut wins = vec![0u32; media.len()];
    for outcome in outcomes {
        for (medium, won) in outcome?.into_iter().enumerate() {
            wins[medium] += u32::from(won);
        }
    }
    Ok(wins)
}

/// Plants what must be there before the servers connect; returns a second database where there is one.
fn damage(plant: Option<Plant>, cluster: &mut Cluster, media: &[Medium]) -> Result<Option<Database>, Failure> {
    let fork = match plant {
        None | Some(Plant::ForgetClaim) => return Ok(None),
        Some(Plant::NoGuard) => {
            cluster.servers[0].kill();
            no_guard(&cluster.database, media)?;
            None
        }
        Some(Plant::SplitBrain) => {
            cluster.servers[0].kill();
            let fork = cluster.database.fork()?;
            if let (Database::Postgres(url), Some(last)) = (&fork, cluster.servers.last_mut()) {
                last.set_database(url)?;
            }
            Some(fork)
        }
    };
    cluster.servers[0].start()?;
    Ok(fork)
}

/// Shadows `=` of numbers, and makes the media's rows beforehand, whose making would be a guard too; so would be the audit log's key.
fn no_guard(database: &Database, media: &[Medium]) -> Result<(), Failure> {
    let Database::Postgres(url) = database else { return Err(Failure::Broken("this plant needs PostgreSQL".into())) };
    let name = url.rsplit_once('/').map_or("", |(_, name)| name);
    let rows: Vec<String> = media
        .iter()
        .map(|medium| {
            let claims = &medium.claims;
            format!("('{}', '{}', {}, 'unclaimed', 0, {}, NULL, 0)", claims.medium_id, claims.batch, claims.serial, claims.epoch)
        })
        .collect();
    database.execute(&format!(
        "INSERT INTO medium (medium_id, batch_id, serial, state, copies_claimed, epoch, rights, created_at) VALUES {};
         ALTER TABLE audit DROP CONSTRAINT audit_pkey;
         CREATE SCHEMA broken;
         CREATE FUNCTION broken.yes(bigint, bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
         CREATE OPERATOR broken.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = broken.yes);
         ALTER DATABASE {name} SET search_path = broken, pg_catalog, public",
        rows.join(", ")
    ))
}

fn race(authority: &Authority, media: &[Medium], barrier: &Barrier, dice: &mut Dice) -> Result<Vec<bool>, Failure> {
    let (terminal, mut failed) = match registered(authority, dice) {
        Ok(terminal) => (Some(terminal), None),
        Err(failure) => (None, Some(failure)),
    };
    let mut won = Vec::with_capacity(media.len());
    for medium in media {
        let envelope = terminal.as_ref().map(|terminal| terminal.claim(authority, medium, dice));
        barrier.wait();
        // After a failure the others still wait at the barrier: keep coming.
        let (Some(envelope), None) = (envelope, &failed) else { continue };
        match send(authority, &envelope).and_then(claim_outcome) {
            Ok(outcome) => won.push(outcome),
            Err(failure) => failed = Some(failure),
        }
    }
    failed.map_or(Ok(won), Err)
}

fn claim_outcome(answer: Answer) -> Result<bool, Failure> {
    match answer.outcome.into_result::<ClaimResult>() {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(refusal)) if refusal.code == Code::MediumSpent => Ok(false),
        other => Err(Failure::Broken(format!("unexpected outcome of a claim: {other:?}"))),
    }
}

/// A fresh user of the authority.
///
/// # Errors
/// A refusal, or what `send` finds.
pub fn registered(authority: &Authority, dice: &mut Dice) -> Result<Terminal, Failure> {
    let mut terminal = Terminal::new(dice);
    let answer = send(authority, &terminal.register(authority, dice))?;
    match answer.outcome.into_result::<RegisterResult>() {
        Ok(Ok(result)) => terminal.registered(&result).map_err(Failure::Broken)?,
        other => return Err(Failure::Broken(format!("unexpected outcome of a registration: {other:?}"))),
    };
    Ok(terminal)
}

/// How long a terminal waits that was asked to come again, and how often it does.
const COME_AGAIN: Duration = Duration::from_millis(5);
const PATIENCE: u32 = 4000;

/// Sends until there is an answer; nobody kills the server here, so that a lost one is a finding.
///
/// # Errors
/// An answer that is lost, or cannot be explained.
pub fn send(authority: &Authority, envelope: &Envelope) -> Result<Answer, Failure> {
    until_taken(|| authority.exchange(envelope))
}

/// The same for any way to send.
///
/// # Errors
/// As for `send`.
pub fn until_taken<T>(mut once: impl FnMut() -> Result<Reply<T>, Failure>) -> Result<T, Failure> {
    for _ in 0..PATIENCE {
        match once()? {
            Reply::Answer(answer) => return Ok(answer),
            Reply::Busy => std::thread::sleep(COME_AGAIN),
            Reply::Lost => return Err(Failure::Broken("an answer was lost though nothing was killed".into())),
        }
    }
    Err(Failure::Broken(format!("asked to come again {PATIENCE} times")))
}

fn one_more_claim(common: &Common, authority: &Authority, medium: &Medium) -> Result<bool, Failure> {
    let mut dice = Dice::new(common.seed, u64::MAX);
    let terminal = registered(authority, &mut dice)?;
    send(authority, &terminal.claim(authority, medium, &mut dice)).and_then(claim_outcome)
}
