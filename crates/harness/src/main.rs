//! Proves that a server keeps its word: what it acknowledged survives being killed, and no race gives a medium to two.
//!
//! Works on real `counterfoild` processes over loopback. Every run prints its seed, the work it did and what it found, fails when it did
//! too little to prove anything, and can be run with a planted bug (`--plant`) that it must catch.

mod authority;
mod claims;
mod ground;
mod kill;
mod race;
mod random;
mod server;
mod terminal;

use clap::{Args, Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

#[derive(Parser)]
#[command(about, version)]
struct Command {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    what: What,
}

/// Which server to drive, and how.
#[derive(Args, Clone)]
struct Common {
    /// The server binary.
    #[arg(long, global = true, default_value = "target/debug/counterfoild")]
    counterfoild: PathBuf,
    /// `postgres://…` of an empty database; without it, SQLite in a temporary directory.
    #[arg(long, global = true)]
    database: Option<String>,
    /// Repeats a run: the same choices of users, media and moments (threads still interleave as they like).
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// Terminals at work side by side.
    #[arg(long, global = true, default_value_t = 8)]
    terminals: usize,
}

#[derive(Subcommand)]
enum What {
    /// SIGKILL the server after random acknowledgements, under mixed register, claim and confirm (testing.md rows 1 and 2).
    Kill {
        /// How often.
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// Plant a bug that the run must catch; it then succeeds only if it does.
        #[arg(long)]
        plant: Option<kill::Plant>,
    },
    /// Every medium claimed by all terminals at once (testing.md row 6).
    Race {
        /// How many media.
        #[arg(long, default_value_t = 1000)]
        media: u64,
        /// Server processes; more than one needs PostgreSQL.
        #[arg(long, default_value_t = 1)]
        servers: usize,
        /// Plant a bug that the run must catch.
        #[arg(long)]
        plant: bool,
    },
    /// Claims per second, latency and CPU of the server per claim (bench.md).
    Claims {
        /// How many claims to make.
        #[arg(long, default_value_t = 10_000)]
        claims: u64,
        /// Media pressed and claimed before measuring begins, to fill the database.
        #[arg(long, default_value_t = 0)]
        before: u64,
    },
}

fn main() -> ExitCode {
    let command = Command::parse();
    let outcome = match command.what {
        What::Kill { kills, plant } => kill::run(&command.common, kills, plant),
        What::Race { media, servers, plant } => race::run(&command.common, media, servers, plant),
        What::Claims { claims, before } => claims::run(&command.common, claims, before),
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
