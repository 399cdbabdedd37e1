//! `store`: what is sold, and what it costs (D2).

use clap::{Args, Subcommand};
use counterfoil_core::{Kind, TitleId};
use counterfoil_terminal::store::{self, Shelved, Shown};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// Titles that are listed at once.
const MOST: usize = 1000;

/// Look around in the store: everything, or what fits some words; `store show TITLE` for one title
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  counterfoil store
  counterfoil store raider
  counterfoil store show sky-raider
  counterfoil buy sky-raider")]
pub struct Store {
    #[command(subcommand)]
    command: Option<StoreCommand>,
    /// Words in name, summary or publisher
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
}

/// Below `store`.
#[derive(Subcommand, Debug)]
enum StoreCommand {
    /// Show all that the store says of a title: description, releases, prices, terms
    Show {
        /// The title, by name
        title: TitleId,
    },
}

impl Store {
    /// Asks the authority that is known here, or the one at `--server`; nothing is remembered of it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        match self.command {
            Some(StoreCommand::Show { title }) => {
                let shown = store::show(&terminal, &title)?;
                context.output.result(&shown, || one(&shown))
            }
            None => {
                let words = self.words.join(" ");
                let (found, more) = store::search(&terminal, &words, MOST)?;
                if more {
                    context.output.note(&format!("only the first {MOST} are shown; say more words"));
                }
                context.output.result(&json!({ "items": found, "more": more }), || list(&found, &words))
            }
        }
    }
}

fn list(found: &[Shelved], words: &str) -> String {
    if found.is_empty() {
        return if words.is_empty() { "nothing is sold here yet".to_owned() } else { format!("nothing fits “{words}”") };
    }
    let wide = found.iter().map(|title| title.title.as_str().len()).max().unwrap_or_default();
    let mut text = String::new();
    for title in found {
        text += &format!("{:<wide$}  {}, {}\n", title.title, title.name, prices(&title.prices));
        text += &format!("{:<wide$}  {}{}\n", "", what(title.kind, &title.publisher), said(&title.summary));
    }
    text
}

fn said(summary: &str) -> String {
    if summary.is_empty() { String::new() } else { format!(": {summary}") }
}

fn what(kind: Kind, publisher: &str) -> String {
    format!("{kind} by {publisher}")
}

fn one(shown: &Shown) -> String {
    let mut text =
        format!("{}\n{}{}\n\nprice     {}\n", shown.name, what(shown.kind, &shown.publisher), said(&shown.summary), prices(&shown.prices));
    for (number, release) in shown.releases.iter().enumerate() {
        let (head, day) = (if number == 0 { "releases" } else { "" }, release.created_at.split('T').next().unwrap_or_default());
        text += &format!("{head:<8}  {} ({}), {day}, {}\n", release.version, release.channel, units::bytes(release.size));
    }
    for (number, term) in shown.terms.iter().enumerate() {
        text += &format!("{:<8}  {term}\n", if number == 0 { "terms" } else { "" });
    }
    if !shown.description.is_empty() {
        text += &format!("\n{}\n", shown.description);
    }
    text
}

/// `19.99 EUR or 21.99 USD`; `free` where nothing is charged.
pub fn prices(prices: &[counterfoil_core::Money]) -> String {
    if prices.iter().all(|price| price.amount == 0) {
        return "free".to_owned();
    }
    prices.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
