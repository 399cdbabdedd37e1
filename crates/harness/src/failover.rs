//! The primary of PostgreSQL changes, dies and freezes under load (testing.md row 20): terminals are told to come again, nothing that was
//! acknowledged is lost, nothing is granted twice, and the servers follow without a restart.

use crate::{
    Common,
    authority::{Authority, Failure},
    cluster::Cluster,
    ground, kill,
    work::{self, Store, World},
};
use std::{
    path::PathBuf,
    process::{self, Command},
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

/// What to break, and with which script.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Starts and breaks the database.
    #[arg(long, default_value = "scripts/patroni")]
    patroni: PathBuf,
    /// How often all faults are gone through.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Which faults, in this order.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = FAULTS)]
    faults: Vec<Fault>,
    /// Server processes.
    #[arg(long, default_value_t = 2)]
    servers: usize,
    /// Plant a bug that the run must catch; it then succeeds only if it does.
    #[arg(long)]
    plant: Option<Plant>,
}

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// Commits are acknowledged before the standby has them, and a standby that missed some becomes primary.
    Asynchronous,
    /// The new primary has forgotten one claim.
    ForgetClaim,
}

/// What happens to the primary.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Fault {
    /// An operator makes the standby primary, in good order.
    Switchover,
    /// SIGKILL to the postmaster.
    KillPrimary,
    /// SIGKILL to everything on the primary's host.
    KillNode,
    /// SIGSTOP to everything on the primary's host, and after its place was taken SIGCONT: it still believes to be the primary.
    FreezeNode,
}

const FAULTS: [Fault; 4] = [Fault::Switchover, Fault::KillPrimary, Fault::KillNode, Fault::FreezeNode];

/// Answers between two faults, so that each strikes a system at work.
const STEADY: u64 = 150;
/// How long a terminal rests between two requests: the run is about the moments of failure, not about throughput.
const PAUSE: Duration = Duration::from_millis(60);
/// How long the database, and then the servers, may take to be back: Patroni's ttl is 20 s.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Runs through all faults.
///
/// # Errors
/// What was lost or granted twice, what the auditor complains of, a server that ended, or a planted bug that was not found.
pub fn run(common: &Common, options: &Options) -> Result<(), Failure> {
    let nodes = Nodes::start(options)?;
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let common = Common { database: Some(nodes.run(&["url"])?), ..common.clone() };
    let mut cluster = Cluster::init(&common, directory.path(), options.servers)?;
    cluster.start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let media = ground::prepare(&authority, cluster.token(), u64::from(options.rounds) * 4000)?;
    let world = World::new(media, Store::open(&authority, cluster.token())?, PAUSE);
    let processes: Vec<Authority> = cluster.urls().iter().map(|url| authority.at(url)).collect();
    let breaking = work::side_by_side(&common, &world, &processes, || break_everything(options, &nodes, &cluster, &world));
    judge(&common, options, &cluster, world, breaking)
}

fn judge(common: &Common, options: &Options, cluster: &Cluster, world: World, breaking: Result<u64, Failure>) -> Result<(), Failure> {
    let finding = world.finding.into_inner().expect("no holder panics");
    // What a terminal was told goes first: a run that it ended early may fail of that.
    let faults = match (&finding, breaking) {
        (None, Err(failure)) => return Err(failure),
        (_, faults) => faults.unwrap_or(0),
    };
    let finding = finding.map_or_else(|| alive(cluster).and_then(|()| kill::drained(cluster)).and_then(|()| cluster.audit()), Err);
    let (acknowledged, lost, busy) = (world.acknowledged.into_inner(), world.lost.into_inner(), world.busy.into_inner());
    let tally = world.tally.into_inner().expect("no holder panics");
    let granted = world.granted.into_inner().expect("no holder panics").len();
    println!(
        "failover: {faults} faults, {} processes never restarted, {acknowledged} acknowledged, {granted} granted, {busy} asked to come again, \
         {lost} answers lost, {} repeats of answered requests; {tally}; seed {}",
        cluster.servers.len(),
        world.repeated.into_inner(),
        common.seed
    );
    let enough = acknowledged >= faults * STEADY && granted >= 100 && busy > 0 && tally.is_plenty(50);
    work::verdict("failover", options.plant, finding, enough)
}

/// Goes through the faults; answers with how many there were.
fn break_everything(options: &Options, nodes: &Nodes, cluster: &Cluster, world: &World) -> Result<u64, Failure> {
    if options.plant == Some(Plant::Asynchronous) {
        promote_who_missed_something(nodes, world)?;
        return Ok(2);
    }
    let mut faults = 0;
    for _ in 0..options.rounds {
        for &fault in &options.faults {
            steady(world)?;
            nodes.run(&["wait-standby"])?;
            let pause = strike(fault, nodes, world)?;
            faults += 1;
            println!("failover: {fault:?}: nobody was answered for {:.1} s", pause.as_secs_f64());
            // Before the first fault so much was done that there is one.
            if options.plant == Some(Plant::ForgetClaim) && kill::forget_a_claim(&cluster.database, world)? {
                steady(world)?;
                return Ok(faults);
            }
        }
    }
    steady(world)?;
    Ok(faults)
}

/// Does it, waits until there is another primary and answers come again, and mends what can be mended. Answers with the longest time for
/// which no terminal was answered.
fn strike(fault: Fault, nodes: &Nodes, world: &World) -> Result<Duration, Failure> {
    let before = nodes.run(&["primary"])?;
    std::thread::scope(|scope| {
        let pause = scope.spawn(|| longest_pause(nodes, world, &before));
        match fault {
            Fault::Switchover => nodes.run(&["switchover"])?,
            Fault::KillPrimary => nodes.run(&["kill-primary"])?,
            Fault::KillNode => nodes.run(&["kill-node", &before])?,
            Fault::FreezeNode => nodes.run(&["freeze", &before])?,
        };
        let pause = pause.join().unwrap_or_else(|_| Err(Failure::Broken("the watch panicked".into())));
        match fault {
            Fault::KillNode => nodes.run(&["start-node", &before])?,
            Fault::FreezeNode => nodes.run(&["thaw", &before])?,
            Fault::Switchover | Fault::KillPrimary => String::new(),
        };
        pause
    })
}

/// Watches until another node than `before` is the primary and `STEADY` answers came after that.
#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn longest_pause(nodes: &Nodes, world: &World, before: &str) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let (mut last, mut changed, mut longest) = ((begun, world.acknowledged.load(SeqCst)), None, Duration::ZERO);
    let mut looked = begun;
    while !world.stop.load(SeqCst) {
        let (now, count) = (Instant::now(), world.acknowledged.load(SeqCst));
        longest = longest.max(now - last.0);
        if count > last.1 {
            last = (now, count);
        }
        if changed.is_none() && now - looked > Duration::from_millis(500) {
            looked = now;
            changed = nodes.run(&["primary"]).ok().filter(|primary| primary != before).map(|_| count);
        }
        if changed.is_some_and(|since| count >= since + STEADY) {
            return Ok(longest);
        }
        if now - last.0 > BACK_WITHIN {
            return Err(Failure::Broken(format!("nobody was answered for {} s", BACK_WITHIN.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(longest)
}

/// The planted bug: the standby is away while claims are acknowledged; then it is all that is left.
fn promote_who_missed_something(nodes: &Nodes, world: &World) -> Result<(), Failure> {
    steady(world)?;
    let (primary, standby) = (nodes.run(&["primary"])?, nodes.run(&["standby"])?);
    nodes.run(&["kill-node", &standby])?;
    steady(world)?;
    nodes.run(&["kill-node", &primary])?;
    nodes.run(&["start-node", &standby])?;
    steady(world)
}

/// Returns when `STEADY` more answers have come.
#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn steady(world: &World) -> Result<(), Failure> {
    let (begun, before) = (Instant::now(), world.acknowledged.load(SeqCst));
    while world.acknowledged.load(SeqCst) < before + STEADY {
        if world.stop.load(SeqCst) {
            return Err(Failure::Broken("a terminal stopped".into()));
        }
        if begun.elapsed() > BACK_WITHIN {
            return Err(Failure::Broken(format!("fewer than {STEADY} answers within {} s", BACK_WITHIN.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether the processes that were started are those that run.
fn alive(cluster: &Cluster) -> Result<(), Failure> {
    for pid in cluster.servers.iter().filter_map(|server| server.pid()) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state is the field after the name (proc(5)); Z is a process that has ended and was not waited for.
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().to_owned()).unwrap_or_default();
        if state.is_empty() || state.starts_with('Z') {
            return Err(Failure::Broken(format!("the server process {pid} has ended")));
        }
    }
    Ok(())
}

/// PostgreSQL under Patroni: started with this, ended when dropped.
struct Nodes {
    script: PathBuf,
    place: PathBuf,
}

impl Nodes {
    fn start(options: &Options) -> Result<Nodes, Failure> {
        let place = std::env::temp_dir().join(format!("counterfoil-patroni-harness-{}", process::id()));
        let nodes = Nodes { script: options.patroni.clone(), place };
        match options.plant {
            Some(Plant::Asynchronous) => nodes.run(&["start", "--asynchronous"])?,
            _ => nodes.run(&["start"])?,
        };
        Ok(nodes)
    }

    fn run(&self, what: &[&str]) -> Result<String, Failure> {
        let output = Command::new(&self.script)
            .args(what)
            .env("COUNTERFOIL_PATRONI_DIR", &self.place)
            .output()
            .map_err(|error| Failure::Io("starting the script of Patroni", error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(Failure::Broken(format!("{} {what:?}: {}", self.script.display(), String::from_utf8_lossy(&output.stderr))))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["stop"]) {
            eprintln!("error: {error}");
        }
    }
}
