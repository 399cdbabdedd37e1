//! The harness's command line.

use clap::{Parser, Subcommand};
use counterfoil_harness::{Common, claims, contest, exchanges, failover, gateway, kill, licenses, overload, race, repairs, verify, walk};
use std::process::ExitCode;

/// Kills, races and measures real servers; fails when one of them did not keep its word.
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// SIGKILL servers after random acknowledgements, under mixed register, claim, confirm, order, license, transfer and refund (testing.md rows 1 and 2).
    Kill {
        /// How often.
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// Server processes; more than one needs PostgreSQL. Whoever got no answer repeats the request at another one.
        #[arg(long, default_value_t = 1)]
        servers: usize,
        /// Plant a bug that the run must catch; it then succeeds only if it does.
        #[arg(long)]
        plant: Option<kill::Plant>,
    },
    /// SIGKILL authority and gateway while customers buy and copy through the gateway, pay in, and get or take their money back (rows 1, 2, 7 and 9).
    Gateway(gateway::Options),
    /// Every medium claimed by all terminals at once (testing.md row 6).
    Race {
        /// How many media.
        #[arg(long, default_value_t = 1000)]
        media: u64,
        /// Server processes; more than one needs PostgreSQL.
        #[arg(long, default_value_t = 1)]
        servers: usize,
        /// Plant a bug that the run must catch; it then succeeds only if it does.
        #[arg(long)]
        plant: Option<race::Plant>,
    },
    /// Two repair centres exchange the device of a copy at once, and everybody wants its medium (rows 6 and 9).
    Repairs(repairs::Options),
    /// Licenses moved, fetched and asked for by several devices at once.
    Contest {
        /// How many licenses.
        #[arg(long, default_value_t = 300)]
        licenses: u64,
        /// Server processes; more than one needs PostgreSQL.
        #[arg(long, default_value_t = 1)]
        servers: usize,
        /// Plant a bug that the run must catch; it then succeeds only if it does.
        #[arg(long)]
        plant: Option<contest::Plant>,
    },
    /// Households order, license, transfer and give back at random, and a small model says what must come of it (testing.md row 9).
    Walk(walk::Options),
    /// The PostgreSQL primary changes, dies and freezes under load; nobody restarts the servers (testing.md row 20).
    Failover(failover::Options),
    /// Far more terminals than the server may work for at once (testing.md row 19).
    Overload(overload::Options),
    /// Claims per second, latency and CPU of the servers per claim (bench.md).
    Claims(claims::Options),
    /// Exchanges through a gateway a second beside direct claims, their latency, and CPU of each process (bench.md).
    Exchanges(exchanges::Options),
    /// Licenses issued and fetched a second, and CPU of the servers for each (bench.md).
    Licenses(licenses::Options),
    /// Presentations judged for a provider a second, CPU of the servers for each, and what a verdict costs to check offline (bench.md).
    Verify(verify::Options),
}

fn main() -> ExitCode {
    let command = Command::parse();
    let outcome = match command.what {
        What::Kill { kills, servers, plant } => kill::run(&command.common, kills, servers, plant),
        What::Gateway(options) => gateway::run(&command.common, &options),
        What::Race { media, servers, plant } => race::run(&command.common, media, servers, plant),
        What::Contest { licenses, servers, plant } => contest::run(&command.common, licenses, servers, plant),
        What::Repairs(options) => repairs::run(&command.common, &options),
        What::Walk(options) => walk::run(&command.common, &options),
        What::Failover(options) => failover::run(&command.common, &options),
        What::Overload(options) => overload::run(&command.common, &options),
        What::Claims(options) => claims::run(&command.common, &options),
        What::Exchanges(options) => exchanges::run(&command.common, &options),
        What::Licenses(options) => licenses::run(&command.common, &options),
        What::Verify(options) => verify::run(&command.common, &options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!("hint: repeat it with --seed {}", command.common.seed);
            ExitCode::FAILURE
        }
    }
}
