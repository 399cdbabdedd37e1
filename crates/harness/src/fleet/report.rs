//! What a fleet has seen, for people and for programs.

use super::life::{Kind, Outcome};
use crate::authority::Failure;
use hdrhistogram::Histogram;
use std::{collections::BTreeMap, fmt, time::Duration};

/// Latencies by operation, refusals by code.
#[derive(Default)]
pub struct Tally {
    latencies: BTreeMap<Kind, Histogram<u64>>,
    refused: BTreeMap<String, u64>,
    busy: u64,
}

impl Tally {
    /// Counts one request that took so long.
    pub fn count(&mut self, outcome: &Outcome, took: Duration) {
        if let Some(code) = &outcome.refused {
            *self.refused.entry(code.clone()).or_default() += 1;
        }
        if outcome.busy {
            self.busy += 1;
            return;
        }
        let latencies = self.latencies.entry(outcome.kind).or_insert_with(latencies_of_none);
        latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts what another has counted.
    pub fn add(&mut self, other: &Tally) {
        for (kind, latencies) in &other.latencies {
            let own = self.latencies.entry(*kind).or_insert_with(latencies_of_none);
            own.add(latencies).expect("both grow as they must");
        }
        for (code, count) in &other.refused {
            *self.refused.entry(code.clone()).or_default() += count;
        }
        self.busy += other.busy;
    }

    /// Requests that were answered.
    pub fn answered(&self) -> u64 {
        self.latencies.values().map(Histogram::len).sum()
    }

    /// Answers to requests of a kind.
    pub fn of(&self, kind: &str) -> u64 {
        self.latencies.iter().filter(|(one, _)| one.as_str() == kind).map(|(_, latencies)| latencies.len()).sum()
    }
}

/// A run.
pub struct Report {
    /// How many there were.
    pub terminals: usize,
    /// Processes that served them.
    pub servers: usize,
    /// Requests a second that were sent; none: as fast as they were answered.
    pub rate: Option<f64>,
    /// How long the load lasted.
    pub wall: Duration,
    /// User and system seconds of the servers.
    pub cpu: f64,
    /// And of PostgreSQL.
    pub database_cpu: Option<f64>,
    /// Bytes of the largest server.
    pub resident: u64,
    /// What was seen.
    pub tally: Tally,
    /// What the auditor says in the end.
    pub verdict: Result<(), Failure>,
}

const PERCENTILES: [(&str, f64); 4] = [("p50_ms", 50.0), ("p95_ms", 95.0), ("p99_ms", 99.0), ("p999_ms", 99.9)];

impl Report {
    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let operations: serde_json::Map<String, serde_json::Value> = (self.tally.latencies.iter())
            .map(|(kind, latencies)| {
                let mut figures = serde_json::json!({ "count": latencies.len(), "per_second": self.per_second(latencies.len()) });
                for (name, percent) in PERCENTILES {
                    figures[name] = milliseconds(latencies, percent).into();
                }
                (kind.as_str().to_owned(), figures)
            })
            .collect();
        serde_json::json!({
            "terminals": self.terminals, "servers": self.servers, "rate": self.rate, "seconds": self.wall.as_secs_f64(),
            "requests": self.tally.answered(), "per_second": self.per_second(self.tally.answered()), "operations": operations,
            "refused": self.tally.refused, "server_cpu_us_per_request": self.each(self.cpu),
            "database_cpu_us_per_request": self.database_cpu.map(|cpu| self.each(cpu)), "resident_mb": self.resident as f64 / 1e6,
            "auditor": self.verdict.as_ref().map_or_else(ToString::to_string, |()| "clean".to_owned()),
        })
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.wall.as_secs_f64()
    }

    fn each(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.tally.answered().max(1) as f64
    }
}

/// In microseconds, up to ten minutes.
fn latencies_of_none() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are in order, and 3 digits are allowed")
}

fn milliseconds(latencies: &Histogram<u64>, percent: f64) -> f64 {
    latencies.value_at_percentile(percent) as f64 / 1e3
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = self.tally.answered();
        let pace = self.rate.map_or_else(|| "as fast as answered".to_owned(), |rate| format!("{rate:.0} requests/s sent"));
        writeln!(f, "{} terminals, {} server processes, {:.0} s, {pace}", self.terminals, self.servers, self.wall.as_secs_f64())?;
        writeln!(
            f,
            "\n{:<10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "operation", "count", "per s", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms"
        )?;
        for (kind, latencies) in &self.tally.latencies {
            write!(f, "{:<10} {:>9} {:>9.1}", kind.as_str(), latencies.len(), self.per_second(latencies.len()))?;
            for (_, percent) in PERCENTILES {
                write!(f, " {:>9.1}", milliseconds(latencies, percent))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{:<10} {answered:>9} {:>9.1}\n", "all", self.per_second(answered))?;
        for (code, count) in &self.tally.refused {
            writeln!(f, "refused as {code}: {count}")?;
        }
        write!(f, "server CPU {:.0} µs a request", self.each(self.cpu))?;
        if let Some(cpu) = self.database_cpu {
            write!(f, ", PostgreSQL {:.0} µs", self.each(cpu))?;
        }
        writeln!(f, "; largest server {:.0} MB", self.resident as f64 / 1e6)?;
        match &self.verdict {
            Ok(()) => write!(f, "the auditor finds nothing"),
            Err(error) => write!(f, "{error}"),
        }
    }
}
