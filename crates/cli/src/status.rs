//! `status`: who and what this is, without asking anybody.

use std::path::{Path, PathBuf};

use clap::Args;
use counterfoil_core::TitleId;
use counterfoil_terminal::{Library, Terminal, card_show, default_library, registered_user};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::license::State;
use crate::status_vars::StatusCommand;

/// Show who you are here: home, authority, card, user, device, drive (offline)
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  counterfoil status --json
  counterfoil status set sky-raider chapter=3")]
pub struct Status {
    #[command(subcommand)]
    variables: Option<StatusCommand>,
    /// The library whose drive is shown [default: the one used last]
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
}

impl Status {
    /// Reads what is here; what cannot be read is said, and is no failure.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(variables) = self.variables {
            return variables.run(context);
        }
        let terminal = context.terminal()?;
        let mut rows: Vec<(&str, Value, String)> = Vec::new();
        let mut row = |name, value: Value, words: String| rows.push((name, value, words));
        row("home", json!(context.home), context.home.display().to_string());
        match terminal.authority() {
            Ok(Some(authority)) => row("authority", json!(authority.document.name), authority.document.name.clone()),
            Ok(None) => row("authority", Value::Null, "none met yet".to_owned()),
            Err(error) => row("authority", Value::Null, error.to_string()),
        }
        match card_show(&terminal, &context.card_choice(false)) {
            Ok(card) => row("card", json!(card.card_id), card.card_id.to_string()),
            Err(error) => row("card", Value::Null, error.to_string()),
        }
        match terminal.hardware().device() {
            Ok(read) => row("device", json!({ "id": read.id, "source": read.source }), format!("{} (from {})", read.id, read.source)),
            Err(error) => row("device", Value::Null, error.to_string()),
        }
        let library = match self.library {
            Some(path) => Some(path),
            None => default_library(&terminal).ok().flatten(),
        };
        match registered_user(&terminal, &context.card_choice(false), library.as_deref()) {
            Ok(user) => row("user", json!(user), user.to_string()),
            Err(_) => row("user", Value::Null, "not registered".to_owned()),
        }
        if let Some(library) = library {
            row("library", json!(library), library.display().to_string());
            match terminal.hardware().drive(&library) {
                Ok(read) => row("drive", json!({ "id": read.id, "source": read.source }), format!("{} (from {})", read.id, read.source)),
                Err(error) => row("drive", Value::Null, error.to_string()),
            }
            let licensed = licenses(&terminal, &library);
            if !licensed.is_empty() {
                let value: Vec<Value> = licensed.iter().map(|(title, state)| json!({ "title": title, "license": state.value() })).collect();
                let words: Vec<String> = licensed.iter().map(|(title, state)| format!("{title}: {}", state.words)).collect();
                row("licenses", value.into(), words.join(&format!("\n{:<10} ", "")));
            }
        }
        let value: serde_json::Map<String, Value> = rows.iter().map(|(name, value, _)| ((*name).to_owned(), value.clone())).collect();
        context.output.result(&value, || rows.iter().map(|(name, _, words)| format!("{name:<10} {words}\n")).collect())
    }
}

/// Titles of the library that have a license, and how it stands as far as is known here.
fn licenses(terminal: &Terminal, library: &Path) -> Vec<(TitleId, State)> {
    let Ok(library) = Library::open(terminal, library) else { return vec![] };
    let listed = library.list().unwrap_or_default();
    listed.into_iter().filter_map(|title| Some((title.title.clone(), State::of(terminal, &library, &title)?))).collect()
}
