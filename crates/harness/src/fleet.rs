//! Many thousand terminals that live their lives against several servers: throughput, latency, refusals, and the auditor's verdict.

use crate::{
    Common,
    authority::{Failure, TITLE},
    cluster::Cluster,
    database::Throwaway,
    ground, kill,
    random::Dice,
};
use life::{Asked, Life, Places};
pub use report::{Report, Tally};
use std::{
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    time::{Duration, Instant},
};

mod life;
mod report;

/// How many, how fast, how long, on what.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Server processes; more than one run on PostgreSQL, a throw-away one unless --database names one.
    #[arg(long, default_value_t = 1)]
    pub servers: usize,
    /// Roles of a process, separated by commas; given once for each process, or not at all: then each has all.
    #[arg(long, value_name = "ROLES")]
    pub roles: Vec<String>,
    /// How long the load lasts.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Requests a second, in even steps whether or not the servers keep up (open loop); without it, as fast as they answer.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Requests under way at once.
    #[arg(long, default_value_t = 64)]
    pub at_once: usize,
}

/// Runs the fleet.
///
/// # Errors
/// A wrong answer, work left over, or what the auditor complains of.
pub fn run(common: &Common, options: &Options, terminals: usize, progress: bool) -> Result<Report, Failure> {
    let throwaway = if options.servers > 1 && common.database.is_none() { Some(Throwaway::start()?) } else { None };
    let mut common = common.clone();
    common.database = common.database.or_else(|| throwaway.as_ref().map(|postgres| postgres.url.clone()));
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(&common, directory.path(), options.servers)?;
    for (server, roles) in cluster.servers.iter_mut().zip(&options.roles) {
        server.set("server__roles", roles);
    }
    cluster.start()?;
    let places = Places::of(&cluster, &options.roles)?;
    say(progress, &format!("{} server processes run; pressing {} media", options.servers, terminals));
    let objects = ground::publish_title(&places.authority[0], cluster.token(), TITLE)?;
    let media = ground::press(&places.authority[0], cluster.token(), terminals as u64)?;
    let object = objects.iter().max_by_key(|(_, bytes)| bytes.len()).ok_or_else(|| broken("no objects"))?;

    let workers = options.at_once.clamp(1, terminals.max(1));
    let mut lives: Vec<Vec<Life>> = (0..workers).map(|_| Vec::new()).collect();
    for (number, medium) in media.into_iter().enumerate() {
        lives[number % workers].push(Life::new(medium));
    }
    let load = Load { over: AtomicBool::new(false), done: AtomicU64::new(0), rate: options.rate, workers, object };
    let (cpu, database_cpu) = (cluster.cpu_seconds(), cluster.database.cpu_seconds());
    let (tally, wall) = drive(&common, options, &places, lives, &load, progress)?;
    let cpu = cluster.cpu_seconds() - cpu;
    let database_cpu = cluster.database.cpu_seconds().zip(database_cpu).map(|(after, before)| after - before);
    let resident = cluster.resident();
    say(progress, "the load is over; waiting for what is due, then auditing");
    let verdict = kill::drained(&cluster).and_then(|()| cluster.audit());
    Ok(Report { terminals, servers: options.servers, rate: options.rate, wall, cpu, database_cpu, resident, tally, verdict })
}

fn say(progress: bool, text: &str) {
    if progress {
        eprintln!("fleet: {text}");
    }
}

fn broken(what: &str) -> Failure {
    Failure::Broken(what.to_owned())
}

/// What all workers share.
struct Load<'a> {
    over: AtomicBool,
    done: AtomicU64,
    rate: Option<f64>,
    workers: usize,
    object: &'a (String, Vec<u8>),
}

#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn drive(
    common: &Common,
    options: &Options,
    places: &Places,
    lives: Vec<Vec<Life>>,
    load: &Load,
    progress: bool,
) -> Result<(Tally, Duration), Failure> {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = lives
            .into_iter()
            .enumerate()
            .map(|(number, lives)| {
                let dice = Dice::new(common.seed, 1 + number as u64);
                scope.spawn(move || {
                    let outcome = work(number, &places.apart(number), lives, load, begun, dice);
                    if outcome.is_err() {
                        load.over.store(true, SeqCst);
                    }
                    outcome
                })
            })
            .collect();
        let mut last = 0;
        while begun.elapsed() < Duration::from_secs(options.seconds) && !load.over.load(SeqCst) {
            std::thread::sleep(Duration::from_secs(1).min(Duration::from_secs(options.seconds).saturating_sub(begun.elapsed())));
            let done = load.done.load(Relaxed);
            say(progress, &format!("{} s: {done} requests, {} in the last second", begun.elapsed().as_secs(), done - last));
            last = done;
        }
        load.over.store(true, SeqCst);
        let wall = begun.elapsed();
        let mut tally = Tally::default();
        for worker in workers {
            tally.add(&worker.join().unwrap_or_else(|_| Err(broken("a worker panicked")))?);
        }
        Ok((tally, wall))
    })
}

/// The next request of one terminal, which may borrow the medium of the one before it.
fn ask(lives: &mut [Life], which: usize, places: &Places, load: &Load, dice: &mut Dice) -> Asked {
    let (before, rest) = lives.split_at_mut(which);
    let lender = before.last().filter(|life| life.has_claimed());
    rest[0].ask(places, lender.map(Life::medium), load.object, dice)
}

/// One request after the other, each of the next terminal of this worker's, each when it is due.
#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn work(number: usize, places: &Places, mut lives: Vec<Life>, load: &Load, begun: Instant, mut dice: Dice) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    for turn in 0.. {
        let which = turn % lives.len();
        let asked = ask(&mut lives, which, places, load, &mut dice);
        // Counted from when it was due, and not from when a worker was free to send it: late is late for whoever waits.
        let due = load.rate.map(|rate| begun + Duration::from_secs_f64((turn * load.workers + number) as f64 / rate));
        let from = due.unwrap_or_else(Instant::now);
        std::thread::sleep(from.saturating_duration_since(Instant::now()));
        if load.over.load(SeqCst) {
            return Ok(tally);
        }
        let outcome = lives[which].send(places, asked, load.object)?;
        tally.count(&outcome, from.elapsed());
        load.done.fetch_add(1, Relaxed);
    }
    Ok(tally)
}
