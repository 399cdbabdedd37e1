//! Claims per second, their latency, and what one costs the server (bench.md, "Server").

use crate::{
    Common,
    authority::{Authority, Failure},
    ground, race,
    random::Dice,
    server::Server,
    terminal::Medium,
};
use counterfoil_core::wire::ClaimResult;
use std::time::{Duration, Instant};

/// Every terminal claims its share of `claims` media, one after the other, without pause.
#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
pub fn run(common: &Common, claims: u64, before: u64) -> Result<(), Failure> {
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut server = Server::init(common, directory.path())?;
    server.start()?;
    let authority = Authority::meet(&server.url)?;
    let media = ground::prepare(&authority, &server.token, claims + before)?;
    let (fill, measured) = media.split_at(before as usize);
    side_by_side(common, &authority, fill, 1)?;

    let (cpu, begun) = (server.cpu_seconds().unwrap_or(0.0), Instant::now());
    let mut latencies = side_by_side(common, &authority, measured, 2)?;
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), server.cpu_seconds().unwrap_or(0.0) - cpu);

    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{}",
        serde_json::json!({
            "claims": latencies.len(), "before": before, "terminals": common.terminals, "engine": if common.database.is_some() { "postgres" } else { "sqlite" },
            "per_second": latencies.len() as f64 / wall, "server_cpu_us_per_claim": cpu * 1e6 / latencies.len() as f64,
            "p50_ms": at(50), "p99_ms": at(99), "resident_mb": server.resident().unwrap_or(0) as f64 / 1e6,
        })
    );
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn side_by_side(common: &Common, authority: &Authority, media: &[Medium], round: u64) -> Result<Vec<Duration>, Failure> {
    let share = media.len().div_ceil(common.terminals).max(1);
    std::thread::scope(|scope| {
        let terminals: Vec<_> = media
            .chunks(share)
            .enumerate()
            .map(|(stream, media)| {
                let mut dice = Dice::new(common.seed, round << 32 | stream as u64);
                scope.spawn(move || -> Result<Vec<Duration>, Failure> {
                    let terminal = race::registered(authority, &mut dice)?;
                    let mut latencies = Vec::with_capacity(media.len());
                    for medium in media {
                        let envelope = terminal.claim(authority, medium, &mut dice);
                        let begun = Instant::now();
                        let answer = race::send(authority, &envelope)?;
                        latencies.push(begun.elapsed());
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
