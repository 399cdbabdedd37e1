//! `authority`: which authority this device knows, and renewing what it knows of it.

use clap::{Args, Subcommand};
use counterfoil_terminal::Authority;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// The authority that this device knows
#[derive(Subcommand, Debug)]
pub enum AuthorityCommand {
    Show(Show),
    Refresh(Refresh),
}

/// Show its name, addresses and keys
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil authority show --json")]
pub struct Show {}

/// Fetch its keys and addresses again
///
/// Accepted only if the name is the same and one of its keys is known here.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil authority refresh")]
pub struct Refresh {}

impl AuthorityCommand {
    /// Does either.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let authority = match self {
            AuthorityCommand::Refresh(_) => terminal.refresh()?,
            AuthorityCommand::Show(_) => terminal.authority()?.ok_or_else(|| {
                Failure::operation("no_authority", "this device has not met an authority yet")
                    .hint("It does so at the first `counterfoil register`, `inspect` or `copy`.")
            })?,
        };
        let (value, words) = shown(&authority);
        context.output.result(&value, || words)
    }
}

fn shown(authority: &Authority) -> (Value, String) {
    let document = &authority.document;
    let mut words = format!("authority  {}\n", document.name);
    for url in &document.urls {
        words += &format!("address    {url}\n");
    }
    words += &format!("known      since {}\n", units::moment(authority.pinned_at));
    for key in &document.keys.sealing {
        let retired = if key.retired_at.is_some() { " (retired)" } else { "" };
        words += &format!("seals to   {}{retired}\n", key.kid);
    }
    (json!({ "authority": document, "known_since": units::moment(authority.pinned_at) }), words)
}
