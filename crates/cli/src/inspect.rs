//! `inspect`: what a medium is and allows, and what the authority says of it, of you and of this device (A1, A3, A7, A11, B3).

mod without;

use std::cell::RefCell;
use std::path::PathBuf;

use clap::Args;
use counterfoil_core::Rights;
use counterfoil_core::wire::{IdentityClaims, InspectResult};
use counterfoil_terminal::{Medium, Opened, Refreshing, Signature, inspect};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// Show what a medium is and whether it can be copied; without a medium, what the authority knows of you and this device
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil inspect ./discs/0001             who pressed it, what is on it, whether it can still be copied
  counterfoil inspect --offline ./disc.iso     without asking the authority
  counterfoil inspect                          your devices and titles")]
pub struct Inspect {
    /// The medium: a directory, a mounted drive, or a disc image
    #[arg(value_name = "MEDIUM", required_if_eq("offline", "true"))]
    medium: Option<PathBuf>,
    /// Do not ask the authority
    #[arg(long)]
    offline: bool,
    /// Leave the card out
    #[arg(long)]
    no_card: bool,
}

impl Inspect {
    /// Reads, verifies, asks.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let open = if self.offline { Opened::open } else { Opened::open_online };
        let mut medium = match self.medium.as_deref().map(|path| open(&terminal, path)).transpose()? {
            Some(Opened::WithoutIdentity(medium)) => return without::run(context, &terminal, &medium, self.offline),
            Some(Opened::Medium(medium)) => Some(*medium),
            None => None,
        };
        let refreshing = RefCell::new(None);
        let told = |told| *refreshing.borrow_mut() = Some(told);
        let online = match self.offline {
            true => None,
            false => Some(inspect(&terminal, medium.as_ref(), &context.card_choice(self.no_card), &told)?),
        };
        let refreshing = refreshing.into_inner();
        if matches!(refreshing, Some(Refreshing::Written { .. })) {
            medium = self.medium.as_deref().map(|path| Medium::open(&terminal, path)).transpose()?;
        }
        let writable = online.is_some() && medium.as_ref().is_some_and(|medium| medium.is_writable(&terminal));
        let mut value = json!({});
        if let Some(refreshing) = &refreshing {
            value["refresh"] = json!(refreshing);
        }
        if let Some(medium) = &medium {
            if online.is_some() {
                value["writable"] = json!(writable);
            }
            let identity = medium.identity();
            value["identity"] = json!(identity);
            value["signature"] = json!(match medium.verdict() {
                Signature::Pinned => "known_authority",
                _ => "first_contact",
            });
        }
        if let Some(online) = &online {
            value["authority"] = serde_json::to_value(online).unwrap_or(Value::Null);
        }
        context.output.result(&value, || {
            let now = online.as_ref().and_then(|online| online.medium.as_ref()).map(|medium| &medium.rights);
            let words = |medium: &Medium| medium_words(medium.identity(), medium.verdict(), now, writable);
            let mut text = medium.as_ref().map_or_else(String::new, words);
            text += &refreshing.as_ref().map_or_else(String::new, refresh_words);
            if let Some(online) = &online {
                text += &online_words(online);
            }
            text
        })
    }
}

/// What it says of itself, and beside that what it allows `now`, where the authority was asked.
fn medium_words(identity: &IdentityClaims, signature: Signature, now: Option<&Rights>, writable: bool) -> String {
    let mut text = format!("medium     {} (number {} of {})\n", identity.medium_id, identity.serial, identity.batch);
    for title in &identity.titles {
        text +=
            &format!("title      {}, {} ({}), release {}, of {}\n", title.title, title.name, title.kind, title.release, title.publisher.id);
    }
    text += &format!("rights     {}\n", rights(now.unwrap_or(&identity.rights)));
    if now.is_some_and(|now| *now != identity.rights) {
        let why = if writable { "the database decides" } else { "read-only: the rights on it stay as pressed, the database decides" };
        text += &format!("on medium  {} ({why})\n", rights(&identity.rights));
    }
    text + &signed(signature, &identity.iss)
}

fn signed(signature: Signature, by: &str) -> String {
    match signature {
        Signature::Pinned => format!("signature  good, by {by}\n"),
        _ => format!("signature  good by the keys on the medium, which say {by}; this device has not met that authority yet\n"),
    }
}

fn refresh_words(refreshing: &Refreshing) -> String {
    format!("refreshed  {}\n", outcome(refreshing))
}

/// The same, of a command that has something else to say.
pub fn refresh_note(refreshing: &Refreshing) -> String {
    format!("medium refreshed: {}", outcome(refreshing))
}

fn outcome(refreshing: &Refreshing) -> String {
    match refreshing {
        Refreshing::Written { epoch, told: true } => format!("just now, to epoch {epoch}"),
        Refreshing::Written { epoch, told: false } => {
            format!("just now, to epoch {epoch}; the authority learns so when the medium is used next")
        }
        Refreshing::Failed { reason, .. } => format!("no, {reason}; it is as it was, and this is tried again the next time"),
    }
}

fn online_words(answer: &InspectResult) -> String {
    let mut text = String::new();
    if let Some(medium) = &answer.medium {
        text += &match (medium.copies_left, medium.yours) {
            (0, true) => "claimed    by you; no copies are left\n".to_owned(),
            (0, false) => "claimed    no copies are left\n".to_owned(),
            (left, true) => format!("claimed    by you; {} left\n", units::count(left.into(), "copy is", "copies are")),
            (left, false) => format!("claimed    no; {} left\n", units::count(left.into(), "copy is", "copies are")),
        };
        if medium.paid_on_copy && !medium.yours {
            text += &match medium.prices.as_slice() {
                [] => {
                    "price      its key is paid for when it is copied, at a gateway that sells it: `counterfoil copy … --via https://…`\n"
                        .to_owned()
                }
                prices => format!("price      {}, paid for when it is copied\n", crate::store::prices(prices)),
            };
        }
        for title in medium.titles.iter().filter(|title| title.newest.is_some()) {
            text += &format!("newest     {} {}\n", title.title, title.newest.as_ref().map_or("", |version| version.as_str()));
        }
    }
    if let Some(user) = &answer.user {
        text += &format!("user       registered, {}\n", units::count(user.devices.len() as u64, "device", "devices"));
        for device in &user.devices {
            let name = device.name.as_deref().unwrap_or("no name");
            text += &format!("device     {} ({name}), since {}\n", device.id, units::moment(device.registered_at));
        }
        for owned in &user.titles {
            let from = match (&owned.medium_id, &owned.order_id) {
                (Some(medium), _) => format!("medium {medium}"),
                (None, Some(order)) => format!("order {order}"),
                (None, None) => "an unknown source".to_owned(),
            };
            text += &format!("owns       {} from {from}, since {}\n", owned.title, units::moment(owned.since));
        }
    }
    if let Some(device) = &answer.device {
        text += &format!("this       {}, registered since {}\n", device.id, units::moment(device.registered_at));
    }
    if text.is_empty() { "the authority knows neither you nor this device: run `counterfoil register`\n".to_owned() } else { text }
}

/// "1 copy, download, update, play, transfer; until …"
pub fn rights(rights: &Rights) -> String {
    let mut words = vec![units::count(rights.copies.into(), "copy", "copies")];
    let flags = [
        (rights.download, "download"),
        (rights.upload, "upload"),
        (rights.update, "update"),
        (rights.play, "play"),
        (rights.transfer, "transfer"),
    ];
    words.extend(flags.iter().filter(|flag| flag.0).map(|flag| flag.1.to_owned()));
    if rights.upload {
        words.extend(rights.upload_mib.map(|mib| format!("up to {mib} MiB of uploads")));
        words.extend(rights.upload_readable.then(|| "uploads readable by providers".to_owned()));
    }
    words.extend(rights.attributes.iter().map(|(key, value)| format!("{key}={value}")));
    let mut text = words.join(", ");
    if let Some(end) = rights.expires_at {
        text += &format!("; to be claimed before {}", units::moment(end));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_core::Timestamp;

    #[test]
    fn rights_are_named_one_by_one() {
        let mut given = Rights { copies: 2, transfer: false, expires_at: Some(Timestamp(0)), ..Rights::default() };
        given.attributes.insert("region".into(), "eu".into());
        assert_eq!(rights(&given), "2 copies, download, update, play, region=eu; to be claimed before 1970-01-01T00:00:00Z");
    }
}
