//! Claims per second, their latency, and what one costs the servers (bench.md, "Server").

use crate::{
    Common,
    authority::{Authority, Failure, Reply},
    cluster::Cluster,
    ground,
    licenses::side_by_side,
    race,
    random::Dice,
    terminal::Medium,
};
use counterfoil_core::wire::ClaimResult;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many claims to make.
    #[arg(long, default_value_t = 10_000)]
    pub claims: u64,
    /// Server processes; more than one needs PostgreSQL.
    #[arg(long, default_value_t = 1)]
    pub servers: usize,
    /// Claims a second, in even steps; a latency then counts from when its claim was due. Without it, as fast as each terminal is answered.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Directory of an installation that stays: made when it is not there, used again when it is, with all that its database holds.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Runs each server process with this part of a core at most (0.25), through the cgroup of that name; needs root.
    #[arg(long)]
    pub quota: Option<f64>,
}

/// Every terminal claims its share of the media, one after the other.
///
/// # Errors
/// A claim that was not granted, or a server that does not run.
#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
pub fn run(common: &Common, options: &Options) -> Result<(), Failure> {
    let temporary = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init_or_open(common, options.data.as_deref().unwrap_or(temporary.path()), options.servers)?;
    cluster.start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let media = ground::prepare(&authority, cluster.token(), options.claims)?;
    let _quota = options.quota.map(|part| cluster.limit(part)).transpose()?;
    let mut streams = streams(common, &authority, &cluster.urls(), &media);
    // What a terminal computes is not the servers' work, but would be done on their cores here: it is done before and after.
    side_by_side(&mut streams, |stream| stream.prepare())?;

    let (cpu, database_cpu, begun) = (cluster.cpu_seconds(), cluster.database.cpu_seconds(), Instant::now());
    let due = |number: usize| options.rate.map(|rate| begun + Duration::from_secs_f64(number as f64 / rate));
    side_by_side(&mut streams, |stream| {
        let offset = stream.number;
        stream.claim(|number| due(number * common.terminals + offset))
    })?;
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cluster.cpu_seconds() - cpu);
    let database_cpu = cluster.database.cpu_seconds().zip(database_cpu).map(|(after, before)| after - before);

    side_by_side(&mut streams, |stream| stream.check())?;
    let mut latencies: Vec<_> = streams.into_iter().flat_map(|stream| stream.latencies).collect();
    latencies.sort_unstable();
    let claims = latencies.len() as f64;
    let at = |permille: usize| latencies[(latencies.len() - 1) * permille / 1000].as_secs_f64() * 1e3;
    println!(
        "{}",
        serde_json::json!({
            "claims": latencies.len(), "terminals": common.terminals, "servers": options.servers, "rate": options.rate,
            "engine": if common.database.is_some() { "postgres" } else { "sqlite" },
            "per_second": claims / wall, "server_cpu_us_per_claim": cpu * 1e6 / claims,
            "database_cpu_us_per_claim": database_cpu.map(|cpu| cpu * 1e6 / claims),
            "p50_ms": at(500), "p99_ms": at(990), "p999_ms": at(999), "resident_mb": cluster.resident() as f64 / 1e6,
        })
    );
    Ok(())
}

/// One terminal, the media that it claims, and what came of them.
struct Stream<'a> {
    number: usize,
    authority: Authority,
    dice: Dice,
    media: &'a [Medium],
    envelopes: Vec<Vec<u8>>,
    answers: Vec<String>,
    latencies: Vec<Duration>,
}

fn streams<'a>(common: &Common, authority: &Authority, urls: &[String], media: &'a [Medium]) -> Vec<Stream<'a>> {
    let share = media.len().div_ceil(common.terminals).max(1);
    let stream = |(number, media): (usize, &'a [Medium])| Stream {
        number,
        authority: authority.at(&urls[number % urls.len()]).apart(),
        dice: Dice::new(common.seed, 2 << 32 | number as u64),
        media,
        envelopes: Vec::with_capacity(media.len()),
        answers: Vec::with_capacity(media.len()),
        latencies: Vec::with_capacity(media.len()),
    };
    media.chunks(share).enumerate().map(stream).collect()
}

impl Stream<'_> {
    fn prepare(&mut self) -> Result<(), Failure> {
        let terminal = race::registered(&self.authority, &mut self.dice)?;
        for medium in self.media {
            self.envelopes.push(terminal.claim(&self.authority, medium, &mut self.dice).to_json());
        }
        Ok(())
    }

    /// One claim after the other, each when `due` says, or at once.
    #[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
    fn claim(&mut self, due: impl Fn(usize) -> Option<Instant>) -> Result<(), Failure> {
        for (number, envelope) in self.envelopes.iter().enumerate() {
            let from = due(number).unwrap_or_else(Instant::now);
            std::thread::sleep(from.saturating_duration_since(Instant::now()));
            self.answers.push(race::until_taken(|| self.authority.send(envelope))?);
            self.latencies.push(from.elapsed());
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), Failure> {
        self.answers.iter().try_for_each(|answer| match self.authority.answer(answer)? {
            Reply::Answer(answer) => match answer.outcome.into_result::<ClaimResult>() {
                Ok(Ok(_)) => Ok(()),
                other => Err(Failure::Broken(format!("a claim was not granted: {other:?}"))),
            },
            Reply::Lost | Reply::Busy => Err(Failure::Broken(format!("an answer that is none: {answer}"))),
        })
    }
}
