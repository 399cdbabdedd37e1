//! `card`: makes a card in a file, and shows what is on one (C2).

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_core::{CardId, UserId};
use counterfoil_terminal::{CardInfo, card_new, card_show};
use serde::Serialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// Your card: the file that holds your keys
#[derive(Subcommand, Debug)]
pub enum CardCommand {
    New(New),
    Show(Show),
}

/// Make a card; its ID is printed to be written down
///
/// The key never leaves the file. Who has the file can play what is in your library on your device, so keep it to yourself;
/// who loses it needs the card ID and the user ID to get another.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  counterfoil card new\n  counterfoil card new --out /media/stick/card")]
pub struct New {
    /// Where to [default: `card.json` in the home]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Show the card's ID, whose it is, and what it opens
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil card show --card /media/stick/card")]
pub struct Show {}

#[derive(Serialize)]
struct Shown {
    card_id: CardId,
    path: PathBuf,
    registered: bool,
    user_id: Option<UserId>,
    grants: Vec<Value>,
}

impl CardCommand {
    /// Does either.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        match self {
            CardCommand::New(new) => {
                let out = new.out.or_else(|| context.card.clone());
                let shown = shown(card_new(&terminal, out.as_deref())?);
                context.output.result(&shown, || {
                    format!(
                        "made a card at {}\ncard ID  {}\nWrite the card ID down: it is needed if the card is lost.\n",
                        shown.path.display(),
                        shown.card_id
                    )
                })
            }
            CardCommand::Show(_) => {
                let info = card_show(&terminal, &context.card_choice(false))?;
                let words = words(&info);
                context.output.result(&shown(info), || words)
            }
        }
    }
}

fn shown(info: CardInfo) -> Shown {
    let grant = |grant: counterfoil_terminal::CardGrant| {
        json!({ "title": grant.title, "medium_id": grant.origin.medium(), "license_id": grant.origin.license(), "grant_id": grant.grant_id,
                "copy_finished": !grant.content_key, "issued_at": units::moment(grant.issued_at) })
    };
    let grants = info.grants.into_iter().map(grant).collect();
    Shown { card_id: info.card_id, path: info.path, registered: info.registered, user_id: info.user_id, grants }
}

fn words(info: &CardInfo) -> String {
    let mut text = format!("card ID  {}\nfile     {}\n", info.card_id, info.path.display());
    match (&info.user_id, info.registered) {
        (Some(user), _) => text += &format!("user ID  {user}\n"),
        (None, true) => text += "registered\n",
        (None, false) => text += "not registered: run `counterfoil register`\n",
    }
    for grant in &info.grants {
        let state = if grant.content_key { "copy not finished" } else { "copied" };
        text += &format!("opens    {} from {} ({state})\n", grant.title, grant.origin);
    }
    text
}
