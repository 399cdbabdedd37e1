//! `counterfoild config`

use clap::Subcommand;

use super::{Failure, Global};

/// What to do with the configuration.
#[derive(Subcommand)]
pub enum Command {
    /// Print what is understood, environment included, without secrets
    #[command(
        after_help = "Examples:\n  counterfoild config show --data ./data\n  COUNTERFOILD__SERVER__ROLES=content,license counterfoild config show --data ./data"
    )]
    Show,
    /// Print the commented example: every value in it is the default
    #[command(after_help = "Example:\n  counterfoild config example > counterfoild.toml")]
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
