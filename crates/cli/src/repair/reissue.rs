//! `repair reissue`: a new card in place of a lost one (C15).

use std::path::PathBuf;

use clap::Args;
use counterfoil_core::wire::HolderKeys;
use counterfoil_core::{CardId, ReissueId, RepairId, UserId};
use counterfoil_terminal::{CardChoice, Collected, Terminal, card_to_issue, collect};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::entry::{self, Entry};
use super::{Access, confirm, key};
use crate::card::replace;
use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// Give a user a new card in place of a lost one
///
/// With `--request`, the card that the user has asked with: it is filled by the user's own terminal. With `--out`, a card that is made and
/// filled here, to be handed over; where the request was made on the web, without a card, both. The old card is dead in the same moment,
/// and the user's library plays with the new one. Look at who asks first: whoever has the new card and the user's device has the library.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil repair requests
  counterfoil repair reissue --user usr-… --request rei-… --reason 'shown a passport'
  counterfoil repair reissue --user usr-… --out /media/stick/card.json --reason 'card broken, at the counter' --reference R-4712")]
pub struct Reissue {
    /// Whose card is lost
    #[arg(long, value_name = "USER-ID")]
    user: UserId,
    /// The request that is granted; `counterfoil repair requests` shows what waits
    #[arg(long, value_name = "REQUEST", required_unless_present = "out")]
    request: Option<ReissueId>,
    /// Make the new card here, and fill it
    #[arg(long, value_name = "NEW-FILE")]
    out: Option<PathBuf>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Your own number for it
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    access: Access,
}

#[derive(Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    reissue_id: Option<ReissueId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<HolderKeys>,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Reissued {
    user_id: UserId,
    repair_id: RepairId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    reissue_id: Option<ReissueId>,
    old_card_id: Option<CardId>,
    card_id: CardId,
    generation: u32,
}

impl Reissue {
    /// Shows what will happen, asks, carries it out, and fills the card where it is made here.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let api = self.access.connect(context)?;
        if !self.yes {
            let entry: Entry = api.get(&entry::path(self.user))?;
            let what = format!("{}{}", entry.person_line(), entry.new_card());
            confirm(context, false, &what, "Give out a new card?")?;
        }
        // On disk before anything is sent: whatever happens then, the same command goes on with the same card.
        let made = self.out.as_deref().map(|path| -> Result<_, Failure> {
            let terminal = context.terminal_with(&api)?;
            let (card, keys) = card_to_issue(&terminal, path)?;
            Ok((terminal, CardChoice::File(path.to_owned()), card, keys))
        });
        let made = made.transpose()?;
        if let Some((terminal, choice, card, _)) = &made
            && card.registered
        {
            return self.again(context, terminal, choice);
        }
        let path = format!("{}/reissue", entry::path(self.user));
        let keys = made.as_ref().map(|(.., keys)| keys.clone());
        let body = Body { reissue_id: self.request, card: keys, reason: self.reason, reference: self.reference };
        let done: Reissued = api.post(&path, Some(&key(&path, &body)), &body)?;
        let filled = made.map(|(terminal, choice, ..)| fill(&terminal, &choice)).transpose()?;
        let mut value = json!(done);
        value["card"] = filled.as_ref().map(replace::value).into();
        context.output.result(&value, || words(&done, filled.as_ref(), self.out.as_deref()))
    }

    /// The card is somebody's: this user's, by an earlier attempt, or it is in the way.
    fn again(&self, context: &Context, terminal: &Terminal, choice: &CardChoice) -> Result<(), Failure> {
        let collected = collect(terminal, choice).ok().filter(|collected| collected.user_id == self.user);
        let path = self.out.as_deref().unwrap_or_else(|| std::path::Path::new("")).display();
        let taken = || {
            Failure::refused("exists", format!("there is a card of somebody's at {path}"))
                .hint("Name another place for the new card: `--out NEW-FILE`.")
        };
        let collected = collected.ok_or_else(taken)?;
        let value = json!({ "user_id": self.user, "card_id": collected.card_id, "generation": collected.generation,
                            "card": replace::value(&collected), "already": true });
        context.output.result(&value, || format!("the card at {path} is that user's already\n{}", replace::words(&collected)))
    }
}

fn fill(terminal: &Terminal, choice: &CardChoice) -> Result<Collected, Failure> {
    collect(terminal, choice).map_err(|error| {
        Failure::operation(error.code(), format!("the new card is the user's, and could not be filled yet: {error}"))
            .hint("Repeat the command: it goes on. Or fill it later: `counterfoil card collect --card NEW-FILE`.")
    })
}

fn words(done: &Reissued, filled: Option<&Collected>, out: Option<&std::path::Path>) -> String {
    let mut text = format!("reissued\nrepair    {}\nuser      {}\nnew card  {}\n", done.repair_id, done.user_id, done.card_id);
    if let Some(old) = done.old_card_id {
        text += &format!("old card  {old}: dead\n");
    }
    match (filled, out) {
        (Some(collected), Some(path)) => {
            let grants = units::count((collected.kept + collected.added.len()) as u64, "grant", "grants");
            text += &format!("file      {}, filled with {grants}\n", path.display());
            text + "Hand it over. At home: `counterfoil card recovery-code` for a new recovery code.\n"
        }
        _ => text + "The user repeats `counterfoil card replace`, which fills the card.\n",
    }
}
