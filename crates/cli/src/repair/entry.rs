//! `repair find` and `repair show`: whose it is, and what the user entry holds (C14).

use clap::Args;
use counterfoil_core::{CardId, DeviceId, DriveId, LicenseId, ReissueId, RepairId, UserId};
use serde::Deserialize;
use serde_json::Value;

use super::Access;
use crate::context::Context;
use crate::failure::Failure;
use crate::publisher::api::Api;
use crate::units;

/// Find a user entry by card, user, device, drive or medium ID, e-mail address or name
///
/// Devices, drives and cards that were exchanged lead to the entry that they were in.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil repair find crd-…
  counterfoil repair find ada@example.org")]
pub struct Find {
    /// What is known
    #[arg(value_name = "TEXT")]
    text: String,
    #[command(flatten)]
    access: Access,
}

/// Show a user entry: person, card, devices, drives, what it holds, what was exchanged and what was refused
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil repair show usr-…")]
pub struct Show {
    /// Whose
    #[arg(value_name = "USER-ID")]
    user: UserId,
    #[command(flatten)]
    access: Access,
}

#[derive(Deserialize)]
struct Found {
    entries: Vec<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    user_id: UserId,
    #[serde(default)]
    card_id: Option<CardId>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
}

/// A user entry, as far as people are shown it here.
#[derive(Deserialize)]
pub struct Entry {
    user_id: UserId,
    #[serde(default)]
    person: Option<Person>,
    #[serde(default)]
    card: Option<Card>,
    generation: u32,
    #[serde(default)]
    devices: Vec<Device>,
    #[serde(default)]
    drives: Vec<Drive>,
    #[serde(default)]
    holds: Vec<Held>,
    #[serde(default)]
    licenses: Vec<License>,
    #[serde(default)]
    repairs: Vec<Repair>,
    #[serde(default)]
    reissues: Vec<Asked>,
    #[serde(default)]
    refusals: Vec<Refused>,
    exchanges: Left,
}

/// What the policy leaves.
#[derive(Deserialize)]
struct Left {
    left: u32,
    #[serde(default)]
    next_at: Option<String>,
}

#[derive(Deserialize)]
struct Person {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
}

#[derive(Deserialize)]
struct Card {
    card_id: CardId,
    #[serde(default)]
    dead: bool,
}

#[derive(Deserialize)]
struct Device {
    device_id: DeviceId,
    #[serde(default)]
    name: Option<String>,
    state: String,
}

#[derive(Deserialize)]
struct Drive {
    drive_id: DriveId,
}

#[derive(Deserialize)]
struct Held {
    title: String,
    #[serde(default)]
    medium_id: Option<String>,
    #[serde(default)]
    order_id: Option<String>,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    drive_id: Option<String>,
    state: String,
}

#[derive(Deserialize)]
struct License {
    license_id: LicenseId,
    title: String,
    #[serde(default)]
    device_id: Option<String>,
    state: String,
}

#[derive(Deserialize)]
struct Repair {
    repair_id: RepairId,
    kind: String,
    old: String,
    #[serde(default)]
    new: Option<String>,
    reason: String,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    overridden: bool,
    actor: String,
    at: String,
}

#[derive(Deserialize)]
struct Asked {
    reissue_id: ReissueId,
    state: String,
    at: String,
    #[serde(default)]
    contact: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    at: String,
    event: String,
    #[serde(default)]
    code: Option<String>,
}

/// Where an entry is.
pub fn path(user: UserId) -> String {
    format!("/v1/entries/{user}")
}

/// The one entry that is found by something.
pub fn found_by(api: &Api, text: &str) -> Result<UserId, Failure> {
    let found: Found = api.get_where("/v1/entries", "find", text)?;
    match found.entries.as_slice() {
        [one] => Ok(one.user_id),
        [] => Err(Failure::refused("not_found", format!("no user entry is found by {text}"))
            .hint("`counterfoil repair find` looks by other IDs as well.")),
        several => Err(Failure::refused("not_found", format!("{} user entries are found by {text}", several.len()))
            .hint("Say which: `--user USER-ID`. `counterfoil repair find` shows them.")),
    }
}

impl Find {
    /// Asks the authority.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let api = self.access.connect(context)?;
        let document: Value = api.get_where("/v1/entries", "find", &self.text)?;
        let found: Found = read(&document)?;
        context.output.result(&document, || match found.entries.is_empty() {
            true => "nothing is found\n".to_owned(),
            false => found.entries.iter().map(Summary::words).collect(),
        })
    }
}

impl Show {
    /// Asks the authority.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let api = self.access.connect(context)?;
        let document: Value = api.get(&path(self.user))?;
        let entry: Entry = read(&document)?;
        context.output.result(&document, || entry.words())
    }
}

fn read<T: serde::de::DeserializeOwned>(document: &Value) -> Result<T, Failure> {
    serde_json::from_value(document.clone()).map_err(|error| {
        Failure::operation("answer_invalid", format!("the authority answered with something else than was asked for: {error}"))
    })
}

impl Summary {
    fn words(&self) -> String {
        let mut text = format!("{}  {}\n", self.user_id, who(self.name.as_deref(), self.email.as_deref()));
        if let Some(card) = self.card_id {
            text += &format!("    card {card}\n");
        }
        text
    }
}

fn who(name: Option<&str>, email: Option<&str>) -> String {
    match (name, email) {
        (Some(name), Some(email)) => format!("{name} <{email}>"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "(no name)".to_owned(),
    }
}

impl Entry {
    /// Whose it is, in a line.
    pub fn person_line(&self) -> String {
        let person = self.person.as_ref();
        let who = who(person.and_then(|person| person.name.as_deref()), person.and_then(|person| person.email.as_deref()));
        format!("user     {}  {who}\n", self.user_id)
    }

    /// What ends or moves where a device or drive goes.
    pub fn bound_to(&self, old: &str) -> String {
        let live = |state: &str| !matches!(state, "ended" | "revoked");
        let bound = |held: &&Held| {
            let here = held.device_id.as_deref() == Some(old) || held.drive_id.as_deref() == Some(old);
            here && held.medium_id.is_some() && live(&held.state)
        };
        let mut text = String::new();
        for held in self.holds.iter().filter(bound) {
            text += &format!(
                "copy     {} from {}: taken back, and can be copied again\n",
                held.title,
                held.medium_id.as_deref().unwrap_or_default()
            );
        }
        for license in self.licenses.iter().filter(|license| license.device_id.as_deref() == Some(old) && live(&license.state)) {
            text += &format!("license  {} of {}\n", license.license_id, license.title);
        }
        text
    }

    /// What a new card means.
    pub fn new_card(&self) -> String {
        let held = self.holds.iter().filter(|held| held.state != "ended").count();
        let titles = units::count(held as u64, "title", "titles");
        match &self.card {
            Some(card) => format!("card     {}\nis dead from then on; the new card has its {titles}\n", card.card_id),
            None => "this entry has no card\n".to_owned(),
        }
    }

    fn words(&self) -> String {
        let mut text = self.person_line();
        if let Some(card) = &self.card {
            text += &format!("card     {}{}\n", card.card_id, if card.dead { "  dead" } else { "" });
        }
        text += &format!("repaired {}\n", units::count(self.generation.into(), "time", "times"));
        let next = self.exchanges.next_at.as_deref().map(|at| format!(", the next one from {at}")).unwrap_or_default();
        text += &format!("left     {}{next}\n", units::count(self.exchanges.left.into(), "exchange", "exchanges"));
        for device in &self.devices {
            let name = device.name.as_deref().unwrap_or("(no name)");
            let state = if device.state == "registered" { String::new() } else { format!(", {}", device.state) };
            text += &format!("device   {}  {name}{state}\n", device.device_id);
        }
        for drive in &self.drives {
            text += &format!("drive    {}\n", drive.drive_id);
        }
        for held in &self.holds {
            let from = held.medium_id.as_deref().or(held.order_id.as_deref()).unwrap_or("a shop");
            text += &format!("holds    {} from {from}: {}\n", held.title, held.state);
        }
        for license in &self.licenses {
            let on = license.device_id.as_deref().map(|device| format!(" on {device}")).unwrap_or_default();
            text += &format!("license  {} of {}{on}: {}\n", license.license_id, license.title, license.state);
        }
        self.repairs.iter().for_each(|repair| text += &repair.words());
        self.reissues.iter().for_each(|asked| text += &asked.words());
        for refused in &self.refusals {
            text += &format!("refused  {}  {}\n", refused.at, refused.code.as_deref().unwrap_or(&refused.event));
        }
        text
    }
}

impl Asked {
    fn words(&self) -> String {
        let said = [self.contact.as_deref(), self.reason.as_deref()].into_iter().flatten().map(|text| format!("    {text}\n"));
        format!("new card {}  {}, asked {}\n{}", self.reissue_id, self.state, self.at, said.collect::<String>())
    }
}

impl Repair {
    fn words(&self) -> String {
        let new = self.new.as_deref().unwrap_or("nothing");
        let overridden = if self.overridden { ", beyond the policy" } else { "" };
        let reference = self.reference.as_deref().map(|reference| format!(" ({reference})")).unwrap_or_default();
        format!(
            "repair   {}  {} by {}{overridden}\n    {} {}\n    exchanged for {new}\n    {}{reference}\n",
            self.repair_id, self.at, self.actor, self.kind, self.old, self.reason
        )
    }
}
