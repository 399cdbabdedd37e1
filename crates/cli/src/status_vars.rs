//! `status show|set|unset`: progress variables of a title (A6), kept in the library or on a writable medium.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_core::TitleId;
use counterfoil_core::wire::{Variable, Variables};
use counterfoil_terminal::status::{self, Change, parse_value, write_value};
use counterfoil_terminal::{Library, Medium, Terminal};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::library::Which;

/// What is noted of a title's progress
#[derive(Subcommand, Debug)]
pub enum StatusCommand {
    Show(Show),
    Set(Set),
    Unset(Unset),
}

impl StatusCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            StatusCommand::Show(command) => command.run(context),
            StatusCommand::Set(command) => command.run(context),
            StatusCommand::Unset(command) => command.run(context),
        }
    }
}

/// Show the progress variables of a title, or of all titles that have some (offline)
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil status show sky-raider --json
  counterfoil status show sky-raider --medium ./stick")]
pub struct Show {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: Option<TitleId>,
    #[command(flatten)]
    place: Place,
}

/// Note how far you are in a title: it is reported at the next update, and selects what fits (offline)
///
/// Programs that were started by `counterfoil run` or `play --run` note the same themselves, by this command without TITLE, or by
/// appending a line `NAME=VALUE` to the file that COUNTERFOIL_STATUS names.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil status set sky-raider chapter=3 mode=hard
  counterfoil status set sky-raider chapter=3 --medium ./stick")]
pub struct Set {
    /// Which title; may be left out inside of a program that was started from the library
    #[arg(value_name = "[TITLE] NAME=VALUE", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// Forget what was noted under these names (offline)
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil status unset sky-raider chapter")]
pub struct Unset {
    /// Which title; left out inside of a program that was started from the library
    #[arg(value_name = "[TITLE] NAME", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// Where variables are kept.
#[derive(Args, Debug)]
struct Place {
    #[command(flatten)]
    which: Which,
    /// On this stick or directory, under its medium ID, and not in the library
    #[arg(long, value_name = "DIR", conflicts_with = "library")]
    medium: Option<PathBuf>,
}

/// The title of the program that runs this command.
const TITLE: &str = "COUNTERFOIL_TITLE";

impl Show {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let place = self.place.open(&terminal)?;
        let titles = match self.title {
            Some(title) => vec![title],
            None => place.titles()?,
        };
        let mut shown = vec![];
        for title in &titles {
            shown.push((title, place.variables(&terminal, title)?));
        }
        if titles.len() > 1 {
            shown.retain(|(_, variables)| !variables.is_empty());
        }
        let value: Vec<_> = shown.iter().map(|(title, variables)| json!({ "title": title, "variables": variables })).collect();
        context.output.result(&json!({ "titles": value }), || match shown.iter().all(|(_, variables)| variables.is_empty()) {
            true => "nothing is noted\n".to_owned(),
            false => shown.iter().flat_map(|(title, variables)| variables.iter().map(move |of| line(title, of))).collect(),
        })
    }
}

fn line(title: &TitleId, (name, value): (&String, &Variable)) -> String {
    format!("{:<24} {name}={}\n", title.as_str(), write_value(value))
}

impl Set {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let mut words = self.words.into_iter().peekable();
        let title = match words.next_if(|word| !word.contains('=')) {
            Some(title) => parse_title(&title)?,
            None => inside()?,
        };
        let changes = words.map(|word| set(&word)).collect::<Result<Vec<_>, _>>()?;
        if changes.is_empty() {
            return Err(Failure::usage("nothing is set").hint("`counterfoil status set TITLE NAME=VALUE`."));
        }
        self.place.change(context, &title, &changes)
    }
}

/// `NAME=VALUE`.
pub fn set(word: &str) -> Result<Change, Failure> {
    let (name, value) =
        word.split_once('=').ok_or_else(|| Failure::usage(format!("`{}` is not of the form NAME=VALUE", word.escape_debug())))?;
    Ok(Change::Set(name.to_owned(), parse_value(value)))
}

impl Unset {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let mut names = self.words;
        let title = match inside() {
            Ok(title) if names.first() != Some(&title.to_string()) => title,
            _ => parse_title(&names.remove(0))?,
        };
        if names.is_empty() {
            return Err(Failure::usage("no name is given").hint("`counterfoil status unset TITLE NAME`."));
        }
        let changes: Vec<Change> = names.into_iter().map(Change::Unset).collect();
        self.place.change(context, &title, &changes)
    }
}

/// The title that this command runs inside of.
fn inside() -> Result<TitleId, Failure> {
    match std::env::var(TITLE) {
        Ok(title) if !title.is_empty() => parse_title(&title),
        _ => Err(Failure::usage("no title is named").hint("`counterfoil status set TITLE NAME=VALUE`.")),
    }
}

fn parse_title(text: &str) -> Result<TitleId, Failure> {
    text.parse().map_err(|error| Failure::usage(format!("`{}`: {error}", text.escape_debug())))
}

impl Place {
    fn open(&self, terminal: &Terminal) -> Result<Opened, Failure> {
        Ok(match &self.medium {
            Some(path) => Opened::Medium(Box::new(Medium::open(terminal, path)?)),
            None => Opened::Library(self.which.open(terminal)?),
        })
    }

    fn change(&self, context: &Context, title: &TitleId, changes: &[Change]) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let variables = match self.open(&terminal)? {
            Opened::Library(library) => status::change(&terminal, &library, title, changes)?,
            Opened::Medium(medium) => status::change_on_medium(&terminal, &medium, title, changes)?,
        };
        let value = json!({ "title": title, "variables": variables });
        context.output.result(&value, || variables.iter().map(|of| line(title, of)).collect())
    }
}

enum Opened {
    Library(Library),
    Medium(Box<Medium>),
}

impl Opened {
    fn titles(&self) -> Result<Vec<TitleId>, Failure> {
        Ok(match self {
            Opened::Library(library) => library.list()?.into_iter().map(|listed| listed.title).collect(),
            Opened::Medium(medium) => medium.identity().titles.iter().map(|on| on.title.clone()).collect(),
        })
    }

    fn variables(&self, terminal: &Terminal, title: &TitleId) -> Result<Variables, Failure> {
        Ok(match self {
            Opened::Library(library) => status::variables(terminal, library, title)?,
            Opened::Medium(medium) => status::variables_on_medium(terminal, medium, title)?,
        })
    }
}
