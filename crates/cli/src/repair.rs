//! `repair`: what repair centres do: find a user entry, exchange a device or drive in it, give out a new card for a lost one (C14, C15).

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::context::Context;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::publisher::api::Api;
use crate::publisher::profile;

mod entry;
mod exchange;
mod reissue;
mod requests;

/// For repair centres: exchange devices and drives, give out new cards for lost ones
///
/// With a token of role repair or operator; role support finds and shows.
#[derive(Subcommand, Debug)]
pub enum RepairCommand {
    Find(entry::Find),
    Show(entry::Show),
    Exchange(exchange::Exchange),
    Requests(requests::Requests),
    Reissue(reissue::Reissue),
    Decline(requests::Decline),
}

impl RepairCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            RepairCommand::Find(command) => command.run(context),
            RepairCommand::Show(command) => command.run(context),
            RepairCommand::Exchange(command) => command.run(context),
            RepairCommand::Requests(command) => command.run(context),
            RepairCommand::Reissue(command) => command.run(context),
            RepairCommand::Decline(command) => command.run(context),
        }
    }
}

/// How a repair centre is known to its authority.
#[derive(Args, Debug)]
pub struct Access {
    /// A file that holds the token, which is remembered [default: COUNTERFOIL_TOKEN, or the one remembered]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

const DESK: Desk = Desk {
    profile: profile::REPAIR,
    whose: "the repair centre's",
    roles: &["repair", "operator", "support"],
    otherwise: "repairs nothing",
};

impl Access {
    /// The authority, spoken to with the repair centre's token.
    fn connect(&self, context: &Context) -> Result<Api, Failure> {
        DESK.connect(context, self.token_file.as_deref())
    }
}

/// A key that follows from what is asked for, so that the same again, after an answer that was lost, has no second effect.
fn key(path: &str, body: &impl Serialize) -> String {
    let body = serde_json::to_vec(body).expect("what is asked for is plain text fields");
    let mut hasher = blake3::Hasher::new();
    hasher.update(path.as_bytes()).update(&[0]).update(&body);
    format!("repair-{}", hasher.finalize().to_hex())
}

/// Shows what will happen, and asks where there is somebody to ask.
fn confirm(context: &Context, yes: bool, what: &str, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    context.output.note(what.trim_end());
    match context.output.agreed(question)? {
        true => Ok(()),
        false => Err(Failure::refused("not_confirmed", "nothing was done").hint("To do it, add `--yes`.")),
    }
}
