//! `run`: starts a title from the library, if its license is for this device and good (D7).

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use counterfoil_core::rules::run::Permission;
use counterfoil_core::{Code, TitleId};
use counterfoil_terminal::{CardChoice, Contact, Library, Terminal, Title, open_title, renew};

use crate::context::Context;
use crate::failure::Failure;
use crate::library::Which;
use crate::play;
use crate::units;

/// Longest that is waited for the authority before a title starts.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Run a title from the library, if this is the device that it is licensed to
///
/// Its license is renewed on the way where the network is there, and nobody waits for that longer than two seconds. Without a network it runs
/// until the license's lease ends. The program finds its license in the file that COUNTERFOIL_LICENSE names. Titles that were copied from
/// a medium run as with `play --run`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil run sky-raider
  counterfoil run sky-raider -- --fullscreen")]
pub struct Run {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: TitleId,
    #[command(flatten)]
    which: Which,
    /// Use the keys in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
    /// For the program
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

impl Run {
    /// Opens it, and starts its entry.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal_within(PATIENCE)?;
        let library = self.which.open(&terminal)?;
        let title = open(context, &terminal, &library, &self.title, &context.card_choice(self.no_card))?;
        play::run::run(context.output, &terminal, &library, Arc::new(title), None, &self.arguments)
    }
}

/// Opens a title; of one that is licensed, asks first whether the license still stands, and renews it.
pub fn open(context: &Context, terminal: &Terminal, library: &Library, title: &TitleId, card: &CardChoice) -> Result<Title, Failure> {
    let contact = renew(terminal, library, title, card)?;
    let opened = open_title(terminal, library, title, card);
    if let (Contact::Unanswered(error), true) = (&contact, opened.is_ok()) {
        // Being offline is nothing to speak of; what a person can mend is.
        if error.refusal().is_some_and(|refusal| refusal.code == Code::ClockSkewed) {
            context.output.note(&format!("note: the license was not renewed: {error}"));
        }
    }
    let opened = opened?;
    if let Some(Permission::Grace { until }) = opened.permitted().map(|permitted| permitted.permission) {
        let until = units::moment(until);
        context
            .output
            .note(&format!("warning: the license could not be renewed in time; without the network {title} starts until {until}"));
    }
    Ok(opened)
}
