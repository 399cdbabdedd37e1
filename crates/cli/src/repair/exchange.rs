//! `repair exchange`: another device or drive in a user entry (C14).

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use counterfoil_core::{CardId, DeviceId, DriveId, RepairId, UserId};
use counterfoil_terminal::{CardChoice, Collected, card_show, collect};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::entry::{self, Entry, found_by};
use super::{Access, confirm, key};
use crate::card::replace;
use crate::context::Context;
use crate::failure::Failure;
use crate::publisher::api::Api;
use crate::units;

/// Exchange a device or drive in a user's entry
///
/// The copies that are bound to the old one are taken back: the user copies them again from the same media, in one command. Licenses move
/// to the new device. The old one is refused from then on, wherever it turns up. A new device registers by itself: `counterfoil register
/// --user USER-ID` on it. With `--card FILE`, the card at hand is wiped of what has ended at once; else that happens when it is used next.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil repair exchange --user usr-… --old dev-… --new dev-… --reason 'mainboard burnt' --reference R-4711
  counterfoil repair exchange --card /media/stick/card.json --old drv-… --new drv-… --reason 'disk failed'
  counterfoil repair exchange --card crd-… --old dev-… --reason 'scrapped'      taken out, with nothing in its place")]
pub struct Exchange {
    /// Whose entry [default: that of `--card`, a card's file or its ID]
    #[arg(long, value_name = "USER-ID")]
    user: Option<UserId>,
    /// What is taken out: a device ID or drive ID
    #[arg(long, value_name = "ID")]
    old: Part,
    /// What takes its place; `counterfoil status` shows it on the new device
    #[arg(long, value_name = "ID")]
    new: Option<Part>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Your own number for it
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// Beyond what the operator's policy allows; for operators, and on record
    #[arg(long = "override")]
    overrides: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    access: Access,
}

/// What can be exchanged, by its ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Device(DeviceId),
    Drive(DriveId),
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let prefix = text.trim().get(..4).unwrap_or_default().to_ascii_lowercase();
        match prefix.as_str() {
            "dev-" => text.parse().map(Part::Device).map_err(|error: counterfoil_core::id::IdError| error.to_string()),
            "drv-" => text.parse().map(Part::Drive).map_err(|error: counterfoil_core::id::IdError| error.to_string()),
            _ => Err("it is neither a device ID (dev-…) nor a drive ID (drv-…)".to_owned()),
        }
    }
}

impl Part {
    fn kind(self) -> &'static str {
        match self {
            Part::Device(_) => "device",
            Part::Drive(_) => "drive",
        }
    }

    fn id(self) -> String {
        match self {
            Part::Device(id) => id.to_string(),
            Part::Drive(id) => id.to_string(),
        }
    }
}

/// As the authority takes it.
#[derive(Serialize)]
struct Body {
    kind: &'static str,
    old: String,
    new: Option<String>,
    reason: String,
    reference: Option<String>,
    #[serde(rename = "override")]
    overrides: bool,
}

#[derive(Deserialize, Serialize)]
struct Exchanged {
    repair_id: RepairId,
    user_id: UserId,
    kind: String,
    old: String,
    new: Option<String>,
    generation: u32,
    overridden: bool,
    freed: Vec<Freed>,
    licenses: Vec<Licensed>,
    exchanges_left: u32,
}

#[derive(Deserialize, Serialize)]
struct Freed {
    medium_id: String,
    title: String,
}

#[derive(Deserialize, Serialize)]
struct Licensed {
    license_id: String,
    title: String,
    state: String,
}

impl Exchange {
    /// Shows what will happen, asks, exchanges, and wipes the card where it is at hand.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        if self.new.is_some_and(|new| new.kind() != self.old.kind()) {
            return Err(Failure::usage(format!("a {} does not take the place of a {}", self.new.map_or("", Part::kind), self.old.kind())));
        }
        let api = self.access.connect(context)?;
        let card = Card::named(context)?;
        let user = self.whose(&api, card.as_ref())?;
        if !self.yes {
            let entry: Entry = api.get(&entry::path(user))?;
            confirm(context, false, &self.preview(&entry), "Exchange it?")?;
        }
        let path = format!("{}/exchange", entry::path(user));
        let body = Body {
            kind: self.old.kind(),
            old: self.old.id(),
            new: self.new.map(Part::id),
            reason: self.reason,
            reference: self.reference,
            overrides: self.overrides,
        };
        let done: Exchanged = api.post(&path, Some(&key(&path, &body)), &body)?;
        let wiped = card.and_then(|card| card.file).and_then(|file| wipe(context, &api, &file));
        let mut value = json!(done);
        value["card"] = wiped.as_ref().map(replace::value).into();
        context.output.result(&value, || words(&done, wiped.as_ref()))
    }

    /// The entry that is named, or that of the card.
    fn whose(&self, api: &Api, card: Option<&Card>) -> Result<UserId, Failure> {
        match (self.user, card) {
            (Some(user), _) => Ok(user),
            (None, Some(card)) => found_by(api, &card.id.to_string()),
            (None, None) => {
                Err(Failure::usage("it is not said whose entry").hint("Give `--user USER-ID`, or the card: `--card FILE-OR-ID`."))
            }
        }
    }

    fn preview(&self, entry: &Entry) -> String {
        let (kind, old) = (self.old.kind(), self.old.id());
        let mut text = entry.person_line();
        match self.new {
            Some(new) => text += &format!("{kind} {old}\nis exchanged for {}\n", new.id()),
            None => text += &format!("{kind} {old}\nis taken out, with nothing in its place\n"),
        }
        text += &entry.bound_to(&old);
        text + &format!("from then on the old {kind} is refused\n")
    }
}

/// The card that is meant, by its file or its ID.
struct Card {
    id: CardId,
    file: Option<PathBuf>,
}

impl Card {
    fn named(context: &Context) -> Result<Option<Self>, Failure> {
        let Some(named) = &context.card else { return Ok(None) };
        let id = named.to_str().filter(|_| !named.exists()).and_then(|text| text.parse().ok());
        if let Some(id) = id {
            return Ok(Some(Card { id, file: None }));
        }
        let shown = card_show(&context.terminal()?, &CardChoice::File(named.clone()))?;
        Ok(Some(Card { id: shown.card_id, file: Some(named.clone()) }))
    }
}

/// Has the card at hand forget what has ended. The exchange stands whether or not that can be done now.
fn wipe(context: &Context, api: &Api, file: &Path) -> Option<Collected> {
    let wiped = context.terminal_with(api).and_then(|terminal| Ok(collect(&terminal, &CardChoice::File(file.to_owned()))?));
    match wiped {
        Ok(collected) => Some(collected),
        Err(failure) => {
            let later = "that happens when it is used next, or by `counterfoil card collect`";
            context.output.note(&format!("note: exchanged, but the card could not be wiped now ({failure}); {later}"));
            None
        }
    }
}

fn words(done: &Exchanged, wiped: Option<&Collected>) -> String {
    let kind = &done.kind;
    let mut text = format!("exchanged\nrepair   {}\nuser     {}\nold      {}\n", done.repair_id, done.user_id, done.old);
    match &done.new {
        Some(new) => text += &format!("new      {new}\n"),
        None => text += "new      none\n",
    }
    for copy in &done.freed {
        text += &format!("free     {} from {}: can be copied again\n", copy.title, copy.medium_id);
    }
    for license in &done.licenses {
        text += &format!("license  {} of {}: {}\n", license.license_id, license.title, license.state);
    }
    if let Some(collected) = wiped {
        let (kept, gone) = (collected.kept as u64, collected.dropped.len() as u64);
        text += &format!(
            "card     wiped: {} taken off, {} left\n",
            units::count(gone, "grant", "grants"),
            units::count(kept, "grant", "grants")
        );
    }
    if done.overridden {
        text += "the operator's policy was overridden, which is on record\n";
    }
    text += &format!("left     {}\n", units::count(done.exchanges_left.into(), "exchange", "exchanges"));
    match (&done.new, kind.as_str()) {
        (Some(_), "device") => text + &format!("On the new device: `counterfoil register --user {}`, then copy again.\n", done.user_id),
        (Some(_), _) => text + "Copy again: `counterfoil copy MEDIUM`.\n",
        (None, _) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c14_what_is_exchanged_is_told_by_its_id_and_a_typing_error_from_another_kind() {
        let (device, drive) = (DeviceId::from_bytes([1; 16]), DriveId::from_bytes([2; 16]));
        assert_eq!(device.to_string().to_lowercase().parse(), Ok(Part::Device(device)));
        assert_eq!(format!(" {drive}").parse(), Ok(Part::Drive(drive)));
        let mistyped = device.to_string().replacen('1', "2", 1);
        assert!(mistyped.parse::<Part>().is_err_and(|error| error.contains("check characters")));
        let user = UserId::from_bytes([3; 16]).to_string();
        assert!(user.parse::<Part>().is_err_and(|error| error.contains("neither")));
    }

    #[test]
    fn the_same_exchange_has_the_same_key_and_another_has_another() {
        let body =
            |reason: &str| Body { kind: "device", old: "a".into(), new: None, reason: reason.into(), reference: None, overrides: false };
        assert_eq!(key("/a", &body("x")), key("/a", &body("x")));
        assert!(key("/a", &body("x")) != key("/a", &body("y")) && key("/a", &body("x")) != key("/b", &body("x")));
    }
}
