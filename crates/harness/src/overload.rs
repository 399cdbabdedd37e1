//! Far more terminals than a server can serve (testing.md row 19): it refuses with a time to come again, tells nobody anything wrong, loses
//! nothing that it acknowledged, stays small and quick for those it serves, and is itself again soon after.

use crate::{
    Common,
    authority::{Authority, Failure, Reply},
    cluster::Cluster,
    ground, race,
    random::Dice,
    terminal::{Medium, Terminal},
    work,
};
use counterfoil_core::{
    Code,
    wire::{Answer, ClaimResult},
};
use counterfoil_format::envelope::Envelope;
use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

/// How much is too much.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Terminals that ask again as soon as they are answered or refused, however long they were told to wait.
    #[arg(long, default_value_t = 256)]
    pub crowd: usize,
    /// For how long.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Requests that the server may work on at once; few, so that too many are soon there.
    #[arg(long, default_value_t = 16)]
    pub at_once: usize,
    /// Plant a bug that the run must catch; it then succeeds only if it does.
    #[arg(long)]
    pub plant: Option<Plant>,
}

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// The server takes on whatever comes: answers come late instead of not at all.
    NoLimit,
    /// After the load, the database forgets one claim that was acknowledged.
    ForgetClaim,
}

/// Those who are served wait no longer than so many times what they wait when as many come as are taken on at once, plus a second that
/// two busy cores are granted.
const SLOWER: f64 = 10.0;
/// A server is back when its latency is no more than so many times what it was before.
const RECOVERED: f64 = 3.0;
const RECOVERS_WITHIN: Duration = Duration::from_secs(30);
/// Bytes by which the server may grow while it is overrun.
const GROWTH: u64 = 128 << 20;
/// Media that terminals take in turn; each is wanted by several.
const MEDIA: u64 = 6144;
/// Claims that a median is taken of.
const SAMPLE: usize = 15;

/// What happened while the crowd was there.
#[derive(Default)]
struct Seen {
    latencies: Mutex<Vec<Duration>>,
    refused: AtomicU64,
    over: AtomicBool,
    /// Who was granted what: a medium that two were granted is a wrong answer.
    granted: Mutex<HashMap<usize, Granted>>,
}

struct Granted {
    by: Terminal,
    envelope: Envelope,
    grants: Vec<counterfoil_core::GrantId>,
}

/// Overruns one server.
///
/// # Errors
/// An answer that is wrong or late, a refusal that does not say when to come again, an acknowledged effect that is lost, a server that
/// grows or does not recover, or a planted bug that was not found.
pub fn run(common: &Common, options: &Options) -> Result<(), Failure> {
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(common, directory.path(), 1)?;
    let limit = if options.plant == Some(Plant::NoLimit) { 0 } else { options.at_once };
    cluster.servers[0].set("limits__requests_at_once", &limit.to_string());
    cluster.start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let media = ground::prepare(&authority, cluster.token(), MEDIA)?;

    let finding = overrun(common, options, &cluster, &authority, &media);
    // A run that served or refused too little has said so.
    work::verdict("overload", options.plant, finding, true)
}

fn overrun(common: &Common, options: &Options, cluster: &Cluster, authority: &Authority, media: &[Medium]) -> Result<(), Failure> {
    let (spare, media) = media.split_at(media.len() / 4);
    let mut spare = spare.iter();
    let before = quiet(common, authority, &mut spare)?;
    let (usual_media, wanted) = media.split_at(media.len() / 4);
    let normal = crowd(common, authority, options.at_once, Duration::from_secs(2), usual_media, 1)?;
    let (usual, resident) = (percentile(&normal.latencies, 990), cluster.resident());

    let seen = crowd(common, authority, options.crowd, Duration::from_secs(options.seconds), wanted, 2)?;
    let (grown, refused) = (cluster.resident().saturating_sub(resident), seen.refused.load(SeqCst));
    let served = seen.latencies.lock().expect("no holder panics").len();
    let p99 = percentile(&seen.latencies, 990);
    let recovered = recovery(common, authority, &mut spare, before)?;
    println!(
        "overload: {} terminals where {} are taken on, {served} served, {refused} asked to come again, p99 of the served {:.0} ms (usual {:.0} ms), \
         grew by {} MB, recovered in {:.1} s, seed {}",
        options.crowd,
        options.at_once,
        p99.as_secs_f64() * 1e3,
        usual.as_secs_f64() * 1e3,
        grown >> 20,
        recovered.as_secs_f64(),
        common.seed
    );
    if options.plant == Some(Plant::ForgetClaim) {
        let medium = *seen.granted.lock().expect("no holder panics").keys().next().ok_or_else(|| broken("nothing was granted"))?;
        cluster.database.forget(wanted[medium].claims.medium_id.as_str())?;
    }
    for (medium, granted) in
        normal.granted.into_inner().expect("no holder panics").into_iter().chain(seen.granted.into_inner().expect("no holder panics"))
    {
        still_granted(authority, medium, &granted)?;
    }
    cluster.audit()?;
    if p99 > usual.mul_f64(SLOWER) + Duration::from_secs(1) {
        return Err(broken(&format!("those who were served waited {p99:?}, usually {usual:?}")));
    }
    if grown > GROWTH {
        return Err(broken(&format!("the server grew by {} MB", grown >> 20)));
    }
    if refused < options.crowd as u64 || served < options.crowd / 4 {
        return Err(broken(&format!("{served} served and {refused} refused is too little to prove anything")));
    }
    Ok(())
}

fn broken(what: &str) -> Failure {
    Failure::Broken(what.to_owned())
}

/// So many terminals claim and claim, whatever they are told.
fn crowd(common: &Common, authority: &Authority, size: usize, time: Duration, media: &[Medium], round: u64) -> Result<Seen, Failure> {
    let seen = Seen::default();
    std::thread::scope(|scope| {
        let terminals: Vec<_> = (0..size)
            .map(|stream| {
                let (seen, authority) = (&seen, authority.apart());
                let mut dice = Dice::new(common.seed, round << 32 | stream as u64);
                scope.spawn(move || insist(&authority, media, seen, &mut dice))
            })
            .collect();
        std::thread::sleep(time);
        seen.over.store(true, SeqCst);
        terminals.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err(broken("a terminal panicked"))))
    })?;
    Ok(seen)
}

fn insist(authority: &Authority, media: &[Medium], seen: &Seen, dice: &mut Dice) -> Result<(), Failure> {
    while !seen.over.load(SeqCst) {
        // A user each, as terminals have; registered here, so that both kinds of requests are in the crowd.
        let mut terminal = Terminal::new(dice);
        let Some(answer) = until_answered(authority, &terminal.register(authority, dice), seen)? else { return Ok(()) };
        match answer.outcome.into_result() {
            Ok(Ok(result)) => terminal.registered(&result).map_err(Failure::Broken)?,
            other => return Err(broken(&format!("unexpected outcome of a registration: {other:?}"))),
        };
        let medium = dice.below(media.len() as u64) as usize;
        let envelope = terminal.claim(authority, &media[medium], dice);
        let Some(answer) = until_answered(authority, &envelope, seen)? else { return Ok(()) };
        judge(terminal, envelope, medium, answer, seen)?;
    }
    Ok(())
}

/// The same envelope until there is an answer; none when the crowd goes home. Each try that is answered counts with its own latency.
#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn until_answered(authority: &Authority, envelope: &Envelope, seen: &Seen) -> Result<Option<Answer>, Failure> {
    loop {
        let begun = Instant::now();
        match authority.exchange(envelope)? {
            Reply::Answer(answer) => {
                seen.latencies.lock().expect("no holder panics").push(begun.elapsed());
                return Ok(Some(answer));
            }
            Reply::Busy => {
                seen.refused.fetch_add(1, Relaxed);
            }
            Reply::Lost => return Err(broken("an answer was lost though nothing was killed")),
        }
        if seen.over.load(SeqCst) {
            return Ok(None);
        }
    }
}

/// A claim's answer against what others were told.
fn judge(terminal: Terminal, envelope: Envelope, medium: usize, answer: Answer, seen: &Seen) -> Result<(), Failure> {
    match answer.outcome.into_result::<ClaimResult>() {
        Ok(Ok(result)) => {
            let grants = terminal.granted(&result).map_err(|error| broken(&format!("a grant that does not open: {error}")))?;
            let before = seen.granted.lock().expect("no holder panics").insert(medium, Granted { by: terminal, envelope, grants });
            before.map_or(Ok(()), |_| Err(broken(&format!("medium {medium} was granted to two"))))
        }
        Ok(Err(refusal)) if refusal.code == Code::MediumSpent => Ok(()),
        other => Err(broken(&format!("unexpected outcome of a claim: {other:?}"))),
    }
}

/// The same request again gets the same grants, and another of the same user says that they are there.
fn still_granted(authority: &Authority, medium: usize, granted: &Granted) -> Result<(), Failure> {
    let answer = race::send(authority, &granted.envelope)?;
    match answer.outcome.into_result::<ClaimResult>() {
        Ok(Ok(result)) => {
            let again = granted.by.granted(&result).map_err(|error| broken(&format!("a grant that does not open: {error}")))?;
            if again == granted.grants {
                Ok(())
            } else {
                Err(broken(&format!("medium {medium}: granted {:?}, now {again:?}", granted.grants)))
            }
        }
        other => Err(broken(&format!("medium {medium} was granted, and is now {other:?}"))),
    }
}

/// Median of claims by one terminal with the server to itself.
#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn quiet<'a>(common: &Common, authority: &Authority, media: &mut impl Iterator<Item = &'a Medium>) -> Result<Duration, Failure> {
    let mut dice = Dice::new(common.seed, u64::MAX);
    let terminal = race::registered(authority, &mut dice)?;
    let latencies: Mutex<Vec<Duration>> = Mutex::default();
    for medium in media.take(SAMPLE) {
        let envelope = terminal.claim(authority, medium, &mut dice);
        let begun = Instant::now();
        race::send(authority, &envelope)?;
        latencies.lock().expect("no holder panics").push(begun.elapsed());
    }
    let enough = latencies.lock().expect("no holder panics").len() == SAMPLE;
    if enough { Ok(percentile(&latencies, 500)) } else { Err(broken("no media are left to measure with")) }
}

/// How long it takes until claims are as quick as before.
#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn recovery<'a>(
    common: &Common,
    authority: &Authority,
    media: &mut impl Iterator<Item = &'a Medium>,
    before: Duration,
) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let mut last = Duration::ZERO;
    while begun.elapsed() < RECOVERS_WITHIN {
        let so_far = begun.elapsed();
        last = quiet(common, authority, media)?;
        // A few milliseconds more are the machine's.
        if last <= before.mul_f64(RECOVERED) + Duration::from_millis(5) {
            return Ok(so_far);
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Err(broken(&format!("{} s after the load a claim takes {last:?}, before it {before:?}", RECOVERS_WITHIN.as_secs())))
}

fn percentile(latencies: &Mutex<Vec<Duration>>, permille: usize) -> Duration {
    let mut sorted = latencies.lock().expect("no holder panics").clone();
    sorted.sort_unstable();
    sorted.len().checked_sub(1).map_or(Duration::ZERO, |last| sorted[last * permille / 1000])
}
