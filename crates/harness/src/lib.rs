//! Proves that a server keeps its word: what it acknowledged survives being killed, no race gives a medium or a license to two, too much
//! load makes it refuse and not lie, and whatever is bought, moved and given back, it thinks of it what a small model thinks.
//!
//! Works on real `counterfoild` processes over loopback. Every run prints its seed, the work it did and what it found, fails when it did
//! too little to prove anything, and can be run with a planted bug that it must catch.

pub mod authority;
pub mod bare;
pub mod claims;
pub mod cluster;
pub mod contest;
pub mod database;
pub mod exchanges;
pub mod failover;
pub mod fleet;
pub mod gateway;
pub mod goods;
pub mod ground;
mod household;
pub mod kill;
pub mod licenses;
pub mod overload;
pub mod quota;
pub mod race;
pub mod random;
pub mod repairs;
pub mod server;
pub mod terminal;
pub mod verify;
pub mod walk;
mod work;
mod worker;

use std::path::PathBuf;

/// Which server to drive, and how.
#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    /// The server binary.
    #[arg(long, global = true, default_value = "target/debug/counterfoild")]
    pub counterfoild: PathBuf,
    /// `postgres://…` of an empty database; without it, SQLite in a temporary directory.
    #[arg(long, global = true)]
    pub database: Option<String>,
    /// Repeats a run: the same choices of users, media and moments (threads still interleave as they like).
    #[arg(long, global = true, default_value_t = 1)]
    pub seed: u64,
    /// Terminals at work side by side.
    #[arg(long, global = true, default_value_t = 8)]
    pub terminals: usize,
    /// Sets a key of the servers' configuration: `section__key=value`; may be given several times.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
}

/// `section__key=value`, as the command line takes it.
///
/// # Errors
/// What it should look like.
pub fn setting(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "section__key=value".to_owned())
}
