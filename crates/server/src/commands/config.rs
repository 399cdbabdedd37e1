//! `counterfoild config`

use clap::Subcommand;

use super::{Failure, Global};

/// What to do with the configuration.
#[derive(Subcommand)]
pub enum Command {
    /// Print what is understood, environment included, without secrets
    Show,
    /// Print the commented example: every value in it is the default
    Example,
}

impl Command {
    /// Does it.
    pub fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Show => global.print(&global.config()?.shown(), |shown| shown.to_string()),
            Self::Example => super::say(include_str!("../../counterfoild.example.toml").trim_end()),
        }
    }
}
