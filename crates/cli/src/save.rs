//! `save`: what a title's user has made, handed in from one device and taken on another (A4).

mod words;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_core::TitleId;
use counterfoil_core::wire::SlotVersion;
use counterfoil_terminal::save::{self, Pull, Push, SaveError, Slot};
use counterfoil_terminal::{CardChoice, Error, Terminal};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::progress::Progress;
use words::{listed, of_pulled, of_pushed, of_saves, pulled, pushed};

/// Hand in what you have saved, and take it on your other devices
///
/// What is handed in is sealed on this device under a key that only your devices get, unless the medium's rights say that providers are to
/// read it; then you are told so. The last ten versions of each slot are kept. Nothing is put over what another device has saved meanwhile.
#[derive(Subcommand, Debug)]
pub enum SaveCommand {
    Push(PushSave),
    Pull(PullSave),
    List(ListSaves),
    Restore(RestoreSave),
    Remove(RemoveSaves),
}

impl SaveCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Push(command) => command.run(context),
            Self::Pull(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Restore(command) => command.run(context),
            Self::Remove(command) => command.run(context),
        }
    }
}

/// What a save belongs to
#[derive(Args, Debug)]
struct Of {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: TitleId,
    /// Which of its slots
    #[arg(long, value_name = "NAME", default_value_t)]
    slot: Slot,
    /// Use the keys in the device's own store
    #[arg(long)]
    no_card: bool,
}

impl Of {
    fn at(&self, context: &Context) -> Result<(Terminal, CardChoice), Failure> {
        Ok((context.terminal()?, context.card_choice(self.no_card)))
    }
}

/// Hand in a file or directory as the newest version of a slot
///
/// Cut off, the same command goes on where it was. Where another device has saved since, both are told and nothing is handed in.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil save push sky-raider ~/.sky-raider/saves
  counterfoil save push sky-raider                       the same path again
  counterfoil save push sky-raider --slot settings ~/.sky-raider/settings.ini")]
pub struct PushSave {
    #[command(flatten)]
    of: Of,
    /// File or directory [default: the one of the last push or pull, else where `counterfoil run` has the program save]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// What the list shows beside it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Put it above what another device has saved since; that is kept
    #[arg(long)]
    over: bool,
}

/// Take the newest version of a slot, or an older one
///
/// It is verified and opened beside its place before anything there changes. What was changed here and not pushed is kept, unless `--over` is
/// given.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil save pull sky-raider ~/.sky-raider/saves
  counterfoil save pull sky-raider --version 3 /tmp/look")]
pub struct PullSave {
    #[command(flatten)]
    of: Of,
    /// Where to [default: the path of the last push or pull, else where `counterfoil run` has the program save]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Which version [default: the newest]
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// Lose what was changed here and not pushed
    #[arg(long)]
    over: bool,
}

/// Show what there is, on whichever device it was saved
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil save list sky-raider")]
pub struct ListSaves {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: TitleId,
    /// Only this slot
    #[arg(long, value_name = "NAME")]
    slot: Option<Slot>,
    /// Use the keys in the device's own store
    #[arg(long)]
    no_card: bool,
}

/// Go back to an older version, here and on your other devices
///
/// Takes that version, as `save pull` does, and hands it in as the newest. The ones in between are kept.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil save restore sky-raider --version 3")]
pub struct RestoreSave {
    #[command(flatten)]
    of: Of,
    /// Where to [default: the path of the last push or pull, else where `counterfoil run` has the program save]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Which version
    #[arg(long, value_name = "N")]
    version: u32,
    /// Lose what was changed here and not pushed
    #[arg(long)]
    over: bool,
}

/// Remove versions for good, for all your devices
///
/// What lies on a device stays there.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil save remove sky-raider --version 3
  counterfoil save remove sky-raider --slot settings --all")]
pub struct RemoveSaves {
    #[command(flatten)]
    of: Of,
    /// Which versions
    #[arg(long, value_name = "N", required_unless_present = "all")]
    version: Vec<u32>,
    /// All of the slot
    #[arg(long, conflicts_with = "version")]
    all: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl PushSave {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (terminal, card) = self.of.at(context)?;
        let push = Push { slot: self.of.slot.clone(), path: self.path, note: self.note, over: self.over };
        let progress = Progress::new(&context.output, "handed in");
        let done = save::push(&terminal, &card, &self.of.title, &push, &|at, of| progress.at(at, of));
        progress.finish();
        let done = done.map_err(explained)?;
        let value = of_pushed(&self.of.title, &self.of.slot, &done);
        context.output.result(&value, || pushed(&self.of.title, &self.of.slot, &done))
    }
}

impl PullSave {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (terminal, card) = self.of.at(context)?;
        let pull = Pull { slot: self.of.slot.clone(), path: self.path, version: self.version, over: self.over };
        let progress = Progress::new(&context.output, "fetched");
        let done = save::pull(&terminal, &card, &self.of.title, &pull, &|at, of| progress.at(at, of));
        progress.finish();
        let done = done?;
        context.output.result(&of_pulled(&self.of.title, &done), || pulled(&self.of.title, &done))
    }
}

impl ListSaves {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let mut saves = save::list(&terminal, &context.card_choice(self.no_card), &self.title)?;
        saves.versions.retain(|listed| self.slot.as_ref().is_none_or(|slot| listed.version.slot == slot.as_str()));
        context.output.result(&of_saves(&self.title, &saves), || listed(&self.title, &saves))
    }
}

impl RestoreSave {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (terminal, card) = self.of.at(context)?;
        let pull = Pull { slot: self.of.slot.clone(), path: self.path.clone(), version: Some(self.version), over: self.over };
        let progress = Progress::new(&context.output, "moved");
        let done = save::restore(&terminal, &card, &self.of.title, &pull, &|at, of| progress.at(at, of));
        progress.finish();
        let (taken, handed_in) = done.map_err(explained)?;
        let newest = handed_in.as_ref().map_or(taken.version.version, |pushed| pushed.version);
        let mut value = of_pulled(&self.of.title, &taken);
        value["newest"] = newest.into();
        context.output.result(&value, || {
            let Self { of: Of { title, slot, .. }, version, .. } = &self;
            match &handed_in {
                Some(_) => format!(
                    "{title}: slot {slot} is version {version} again, handed in as version {newest}\npath  {}\n",
                    taken.path.display()
                ),
                None => pulled(title, &taken),
            }
        })
    }
}

impl RemoveSaves {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (terminal, card) = self.of.at(context)?;
        let slot = self.of.slot.as_str();
        let versions = match self.all {
            false => self.version,
            true => {
                let there = save::list(&terminal, &card, &self.of.title)?.versions;
                there.iter().filter(|listed| listed.version.slot == slot).map(|listed| listed.version.version).collect()
            }
        };
        if versions.is_empty() {
            return Err(Failure::refused("no_version", format!("there is no version in the slot `{slot}`"))
                .hint("`counterfoil save list` shows what there is."));
        }
        let shown: Vec<String> = versions.iter().map(u32::to_string).collect();
        let shown = shown.join(", ");
        if !self.yes && !context.output.agreed(&format!("Remove {shown} of slot {slot} of {} for good?", self.of.title))? {
            return Err(Failure::refused("not_confirmed", "nothing was removed").hint("To remove it, add `--yes`."));
        }
        let remove = versions.iter().map(|version| SlotVersion { slot: slot.to_owned(), version: *version }).collect();
        let left = save::remove(&terminal, &card, &self.of.title, remove)?;
        let mut value = of_saves(&self.of.title, &left);
        value["removed"] = json!(versions);
        context.output.result(&value, || format!("removed {shown} of slot {slot}\n"))
    }
}

/// A conflict is told with all that is known of both sides.
fn explained(error: Error) -> Failure {
    let words = match &error {
        Error::Save(SaveError::Conflict(conflict)) => Some(words::conflict(conflict)),
        _ => None,
    };
    let mut failure = Failure::from(error);
    if let Some(message) = words {
        failure.message = message;
    }
    failure
}
