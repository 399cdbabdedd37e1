//! Claims per second, their latency, and what one costs the servers (bench.md, "Server").

use crate::{
    Common,
    authority::{Authority, Failure},
    cluster::Cluster,
    ground, race,
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
    // Registrations and the first claims of every connection are not measured.
    let _quota = options.quota.map(|part| cluster.limit(part)).transpose()?;

    let (cpu, database_cpu, begun) = (cluster.cpu_seconds(), cluster.database.cpu_seconds(), Instant::now());
    let mut latencies = side_by_side(common, options.rate, &authority, &cluster.urls(), &media)?;
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cluster.cpu_seconds() - cpu);
    let database_cpu = cluster.database.cpu_seconds().zip(database_cpu).map(|(after, before)| after - before);

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

#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn side_by_side(
    common: &Common,
    rate: Option<f64>,
    authority: &Authority,
    urls: &[String],
    media: &[Medium],
) -> Result<Vec<Duration>, Failure> {
    let share = media.len().div_ceil(common.terminals).max(1);
    let ready = std::sync::Barrier::new(media.len().div_ceil(share));
    std::thread::scope(|scope| {
        let terminals: Vec<_> = media
            .chunks(share)
            .enumerate()
            .map(|(stream, media)| {
                let mut dice = Dice::new(common.seed, 2 << 32 | stream as u64);
                let (authority, ready) = (authority.at(&urls[stream % urls.len()]).apart(), &ready);
                // Claim `number` of this terminal is due after so long.
                let due = rate.map(|rate| move |number: usize| Duration::from_secs_f64((number * common.terminals + stream) as f64 / rate));
                scope.spawn(move || -> Result<Vec<Duration>, Failure> {
                    let registered = race::registered(&authority, &mut dice);
                    ready.wait();
                    let (terminal, begun) = (registered?, Instant::now());
                    let mut latencies = Vec::with_capacity(media.len());
                    for (number, medium) in media.iter().enumerate() {
                        let envelope = terminal.claim(&authority, medium, &mut dice);
                        let from = due.as_ref().map_or_else(Instant::now, |due| begun + due(number));
                        std::thread::sleep(from.saturating_duration_since(Instant::now()));
                        let answer = race::send(&authority, &envelope)?;
                        latencies.push(from.elapsed());
                        match answer.outcome.into_result::<ClaimResult>() {
                            Ok(Ok(_)) => {}
                            other => return Err(Failure::Broken(format!("a claim was not granted: {other:?}"))),
                        }
                    }
                    Ok(latencies)
                })
            })
            .collect();
        let mut all = Vec::with_capacity(media.len());
        for terminal in terminals {
            all.extend(terminal.join().unwrap_or_else(|_| Err(Failure::Broken("a terminal panicked".into())))?);
        }
        Ok(all)
    })
}
