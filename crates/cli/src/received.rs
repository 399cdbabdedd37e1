//! `received`: what providers have given, on a medium or in the library (B6).

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use counterfoil_core::{ProviderId, TitleId};
use counterfoil_terminal::received::{Keeper, Received};
use counterfoil_terminal::{CardChoice, Library, Medium, Terminal, default_library};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::unwritable;
use crate::present::not_there;
use crate::units;

/// What providers have given for your media and titles
#[derive(Subcommand, Debug)]
#[command(after_help = "Examples:
  counterfoil present ./usb-stick --to https://arcade.example --take-all
  counterfoil received list
  counterfoil received get new-track --to ./new-track.bin
  counterfoil received remove new-track --medium ./usb-stick")]
pub enum ReceivedCommand {
    List(List),
    Get(Get),
    Remove(Remove),
}

/// Where it is looked for.
#[derive(Args, Debug)]
pub struct Where {
    /// On this medium, not in the library
    #[arg(long, value_name = "DIR", conflicts_with = "library")]
    medium: Option<PathBuf>,
    /// The library [default: the one last registered or copied to]
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// Use the keys in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
}

/// Which of it.
#[derive(Args, Debug)]
pub struct Which {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Of which title, where several have one of this name
    #[arg(long, value_name = "TITLE")]
    title: Option<TitleId>,
    /// By which provider, likewise
    #[arg(long, value_name = "PRV-ID")]
    provider: Option<ProviderId>,
    #[command(flatten)]
    place: Where,
}

/// List it
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    place: Where,
}

/// Write it out as it was given
#[derive(Args, Debug)]
pub struct Get {
    #[command(flatten)]
    which: Which,
    /// The file to write, which must not be there yet [default: standard output]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Remove it
#[derive(Args, Debug)]
pub struct Remove {
    #[command(flatten)]
    which: Which,
}

impl ReceivedCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        match self {
            ReceivedCommand::List(List { place }) => place.with(context, &terminal, |keeper| {
                let all = keeper.list(&terminal)?;
                context.output.result(&json!({ "received": all }), || all.iter().map(line).collect())
            }),
            ReceivedCommand::Get(Get { which, to }) => which.with(context, &terminal, |keeper, found| match &to {
                Some(path) => {
                    let length = written(&terminal, keeper, found, path)?;
                    let value = json!({ "received": found, "file": path });
                    context.output.result(&value, || format!("{} in {}: {}\n", found.name, path.display(), units::bytes(length)))
                }
                None => {
                    let mut stdout = BufWriter::new(std::io::stdout().lock());
                    keeper.get(&terminal, found, &mut stdout)?;
                    stdout.flush().map_err(unwritable)
                }
            }),
            ReceivedCommand::Remove(Remove { which }) => which.with(context, &terminal, |keeper, found| {
                let freed = keeper.remove(&terminal, found)?;
                context.output.result(&json!({ "removed": found, "freed": freed }), || {
                    format!("removed {}: {} freed\n", found.name, units::bytes(freed))
                })
            }),
        }
    }
}

fn line(received: &Received) -> String {
    format!("{}  {}  from {}, {}\n", received.title, received.name, received.provider, units::bytes(received.length))
}

/// Writes a file that was not there; half of one is not left.
fn written(terminal: &Terminal, keeper: &Keeper<'_>, found: &Received, path: &Path) -> Result<u64, Failure> {
    let cannot = |error: std::io::Error| Failure::file("write", path, &error);
    let mut file: File = OpenOptions::new().write(true).create_new(true).open(path).map_err(cannot)?;
    let got = keeper.get(terminal, found, &mut file).map_err(Failure::from).and_then(|length| {
        file.sync_all().map_err(cannot)?;
        Ok(length)
    });
    got.inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })
}

impl Where {
    fn with<T>(&self, context: &Context, terminal: &Terminal, run: impl FnOnce(&Keeper<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let card: CardChoice = context.card_choice(self.no_card);
        if let Some(path) = &self.medium {
            return run(&Keeper::Medium(&Medium::open_online(terminal, path)?));
        }
        let path = match &self.library {
            Some(path) => path.clone(),
            None => default_library(terminal)?
                .ok_or_else(|| Failure::usage("no library is known yet").hint("Name it: `--library DIR`, or a medium: `--medium DIR`."))?,
        };
        run(&Keeper::Library(&Library::open(terminal, &path)?, &card))
    }
}

impl Which {
    fn with<T>(
        &self,
        context: &Context,
        terminal: &Terminal,
        run: impl FnOnce(&Keeper<'_>, &Received) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.place.with(context, terminal, |keeper| {
            let asked = |one: &Received| {
                one.name == self.name
                    && self.title.as_ref().is_none_or(|title| *title == one.title)
                    && self.provider.is_none_or(|provider| provider == one.provider)
            };
            let found: Vec<Received> = keeper.list(terminal)?.into_iter().filter(asked).collect();
            match &found[..] {
                [] => Err(not_there(&self.name)),
                [one] => run(keeper, one),
                [..] => {
                    let lines: String = found.iter().map(line).collect();
                    Err(Failure::usage(format!("there are several of this name:\n{lines}")).hint("Say which: `--title`, `--provider`."))
                }
            }
        })
    }
}
