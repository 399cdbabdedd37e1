//! Exchanges through a gateway beside direct claims, in the same run and of the same authority: how long one takes, how many a second, and what
//! each process spends on it (bench.md, "Server").

use crate::{
    Common,
    authority::{Authority, Failure},
    cluster::Cluster,
    gateway::{
        counter::{Counter, Said, agreed},
        house::{self, COPY, House},
    },
    ground, race,
    random::Dice,
    terminal::{Medium, Terminal},
};
use counterfoil_core::wire::{ClaimResult, Outcome};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many of each.
    #[arg(long, default_value_t = 2_000)]
    pub exchanges: u64,
}

/// How a medium is copied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    /// Through the gateway, at a price that the person has agreed to.
    Agreed,
    /// Through the gateway, after having been told the price: two requests.
    Asked,
}

/// A terminal with its connections, and an account.
struct Stream {
    authority: Authority,
    counter: Counter,
    token: String,
    terminal: Terminal,
    dice: Dice,
}

/// Claims directly, then through a gateway whose price is known, then through one that is asked for the price first.
///
/// # Errors
/// A copy that was not given or not charged, or a server that does not run.
pub fn run(common: &Common, options: &Options) -> Result<(), Failure> {
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(common, directory.path(), 1)?;
    let listeners = house::listeners(&mut cluster)?;
    cluster.start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let mut media: Vec<Arc<Medium>> =
        ground::prepare(&authority, cluster.token(), options.exchanges * 3)?.into_iter().map(Arc::new).collect();
    let mut house = House::open(common, &cluster, &authority, &[], &listeners)?;
    house.start()?;
    let mut streams = (0..common.terminals)
        .map(|stream| Stream::open(common, &house, &authority, stream, options.exchanges * 2 * COPY))
        .collect::<Result<Vec<_>, _>>()?;
    let mut figures = json!({
        "terminals": common.terminals, "exchanges": options.exchanges, "engine": if common.database.is_some() { "postgres" } else { "sqlite" },
    });
    for (name, way) in [("direct", Way::Direct), ("agreed", Way::Agreed), ("asked", Way::Asked)] {
        let some = media.split_off(media.len() - options.exchanges as usize);
        figures[name] = measured(&cluster, &house, &mut streams, some, way)?;
    }
    println!("{figures}");
    drop(streams);
    house.kill();
    house.database.drop_fork()
}

#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn measured(cluster: &Cluster, house: &House, streams: &mut [Stream], media: Vec<Arc<Medium>>, way: Way) -> Result<Value, Failure> {
    let share = media.len().div_ceil(streams.len()).max(1);
    let cpu = || (cluster.cpu_seconds(), house.cpu_seconds());
    let (before, begun) = (cpu(), Instant::now());
    let barrier = Barrier::new(streams.len());
    let latencies = std::thread::scope(|scope| {
        let parts = media.chunks(share).map(<[_]>::to_vec).chain(std::iter::repeat(vec![]));
        let running: Vec<_> = streams
            .iter_mut()
            .zip(parts)
            .map(|(stream, media)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    media.into_iter().map(|medium| stream.copy(medium, way)).collect::<Result<Vec<Duration>, _>>()
                })
            })
            .collect();
        let join =
            |one: std::thread::ScopedJoinHandle<'_, _>| one.join().unwrap_or_else(|_| Err(Failure::Broken("a terminal panicked".into())));
        running.into_iter().map(join).collect::<Vec<_>>().into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let (wall, after) = (begun.elapsed().as_secs_f64(), cpu());
    let mut latencies: Vec<Duration> = latencies.into_iter().flatten().collect();
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    let at = |permille: usize| latencies[(latencies.len() - 1) * permille / 1000].as_secs_f64() * 1e3;
    Ok(json!({
        "per_second": count / wall, "p50_ms": at(500), "p99_ms": at(990),
        "authority_cpu_us": (after.0 - before.0) * 1e6 / count, "gateway_cpu_us": (after.1 - before.1) * 1e6 / count,
    }))
}

impl Stream {
    /// A registered terminal with money enough.
    fn open(common: &Common, house: &House, authority: &Authority, number: usize, cents: u64) -> Result<Stream, Failure> {
        let mut dice = Dice::new(common.seed, 13 << 32 | number as u64);
        let (authority, counter, name) = (authority.apart(), Counter::new(&house.desks[0].url), format!("customer-{number}"));
        let Said::Done(token) = counter.account(&name)? else { return Err(Failure::Broken("no account was made".into())) };
        house.said(&["top-up", &name, &format!("{}.{:02} EUR", cents / 100, cents % 100)])?;
        let terminal = race::registered(&authority, &mut dice)?;
        Ok(Stream { authority, counter, token, terminal, dice })
    }

    /// Copies one medium; how long that took, from the sealed envelope to the opened answer.
    #[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
    fn copy(&mut self, medium: Arc<Medium>, way: Way) -> Result<Duration, Failure> {
        if way == Way::Direct {
            let envelope = self.terminal.claim(&self.authority, &medium, &mut self.dice);
            let begun = Instant::now();
            let answer = race::send(&self.authority, &envelope)?;
            let took = begun.elapsed();
            return match answer.outcome.into_result::<ClaimResult>() {
                Ok(Ok(_)) => Ok(took),
                other => Err(Failure::Broken(format!("a claim was not granted: {other:?}"))),
            };
        }
        let kept = self.terminal.keep_claim(medium, &mut self.dice);
        let sealed = self.terminal.seal_kept(&self.authority, &kept, &mut self.dice);
        let begun = Instant::now();
        if way == Way::Asked {
            match self.counter.exchange(&self.authority, &sealed, &self.token, None)? {
                Said::No(code, _) if code == "charge_unconfirmed" => {}
                other => return Err(Failure::Broken(format!("a price was not told: {other:?}"))),
            }
        }
        let said = self.counter.exchange(&self.authority, &sealed, &self.token, agreed(COPY))?;
        let took = begun.elapsed();
        match said {
            Said::Done(done) if done.charged.is_some() && matches!(done.answer.outcome, Outcome::Result(_)) => Ok(took),
            other => Err(Failure::Broken(format!("an exchange was not carried out and charged: {other:?}"))),
        }
    }
}
