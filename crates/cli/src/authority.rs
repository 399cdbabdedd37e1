//! `authority`: which authority this device knows, and renewing what it knows of it.

use clap::{Args, Subcommand};
use counterfoil_terminal::{Authority, KeysBy};
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

/// Show its name, addresses, keys and their fingerprint
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil authority show --json")]
pub struct Show {}

/// Fetch its keys and addresses again
///
/// Accepted only if the name is the same and one of its keys is known here, and never if they are older than those; through a gateway, or from an
/// address without TLS, only if the keys known here vouch for all of them, or the fingerprint is the one that you have been told. Where no
/// authority is known yet, the one at `--server` is met.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil authority refresh
  counterfoil authority refresh --fingerprint 3f2a-…     through a gateway, as the operator tells it")]
pub struct Refresh {
    /// The fingerprint of its keys, as the operator tells it
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
}

impl AuthorityCommand {
    /// Does either.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let authority = match self {
            AuthorityCommand::Refresh(refresh) => terminal.refresh(refresh.fingerprint.as_deref())?,
            AuthorityCommand::Show(_) => terminal.authority()?.ok_or_else(|| {
                Failure::operation("no_authority", "this device has not met an authority yet")
                    .hint("It does so at the first `counterfoil register`, `inspect` or `copy`.")
            })?,
        };
        let profile = terminal.home().profile()?;
        let (value, words) = shown(&authority, profile.keys_by.as_ref(), terminal.via()?.as_deref());
        context.output.result(&value, || words)
    }
}

fn shown(authority: &Authority, keys_by: Option<&KeysBy>, via: Option<&str>) -> (Value, String) {
    let document = &authority.document;
    let mut words = format!("authority  {}\n", document.name);
    for url in &document.urls {
        words += &format!("address    {url}\n");
    }
    if let Some(gateway) = via {
        words += &format!("through    {gateway}\n");
    }
    words += &format!("known      since {}\n", units::moment(authority.pinned_at));
    words += &format!("keys by    {}\n", told_by(keys_by));
    words += &format!("fingerprint {}\n", authority.fingerprint());
    for key in &document.keys.sealing {
        let retired = if key.retired_at.is_some() { " (retired)" } else { "" };
        words += &format!("seals to   {}{retired}\n", key.kid);
    }
    let value = json!({
        "authority": document, "known_since": units::moment(authority.pinned_at), "fingerprint": authority.fingerprint(),
        "keys_by": keys_by, "via": via,
    });
    (value, words)
}

fn told_by(keys_by: Option<&KeysBy>) -> String {
    match keys_by {
        Some(KeysBy::Medium) => "a medium that it was met by".to_owned(),
        Some(KeysBy::Contact(url)) => format!("{url}, which was believed at first contact"),
        None => "whoever it was met by, before that was noted".to_owned(),
    }
}
