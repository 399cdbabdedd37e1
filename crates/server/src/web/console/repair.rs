//! `/console/users/{user_id}/exchange`: a device or drive exchanged in an entry (C14): what, what will happen, why.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use counterfoil_core::UserId;

use super::confirm::{Confirm, Field};
use super::staff::draw_once;
use super::tasks::{InAddress as _, mendable};
use super::{Frame, Section, Sees, Sent, Staff};
use crate::actions::entry;
use crate::actions::repair::exchange::{self, Exchange, Swap};
use crate::api::entries::document::EntryDocument;
use crate::app::App;
use crate::problem::{ApiCode, Problem};
use crate::web::visitor::{Fields, see_other};
use crate::web::{filters, page_as};

#[derive(Template)]
#[template(path = "console/exchange.html")]
struct ExchangePage<'a> {
    frame: Frame,
    entry: &'a EntryDocument,
    name: String,
    choices: Vec<Choice>,
    typed: &'a Fields,
    /// Whether they may override the policy.
    overrides: bool,
    error: Option<String>,
    once: String,
}

/// A device or drive that can be exchanged.
struct Choice {
    id: String,
    kind: &'static str,
    name: String,
    /// What it was copied to it, and is licensed for it.
    copies: usize,
    licenses: usize,
}

async fn entry_of(app: &App, staff: &Staff, id: &str) -> Result<EntryDocument, Problem> {
    staff.needs(Sees::Repairers)?;
    entry::load(app, UserId::read(id)?).await?.ok_or_else(|| ApiCode::NotFound.into())
}

/// As people call whose entry it is.
pub fn name(entry: &EntryDocument) -> String {
    entry.person.as_ref().map_or_else(|| entry.user_id.to_string(), |person| person.name.clone())
}

impl Choice {
    fn all(entry: &EntryDocument) -> Vec<Self> {
        let there = entry.devices.iter().filter(|one| !one.exchanged && one.device.state != "retired");
        let devices = there.map(|one| {
            let (id, device) = (one.device.device_id.to_string(), &one.device);
            let words = [&device.name, &device.maker, &device.model].into_iter().flatten();
            let name = words.map(String::as_str).collect::<Vec<_>>().join(", ");
            Self { copies: copies(entry, &id), licenses: licenses(entry, &id), kind: "Device", name, id }
        });
        let drives = entry.drives.iter().map(|drive| {
            let id = drive.drive_id.to_string();
            Self { copies: copies(entry, &id), licenses: 0, kind: "Drive", name: String::new(), id }
        });
        devices.chain(drives).collect()
    }
}

/// Copies from media that are bound to a device or drive.
fn copies(entry: &EntryDocument, id: &str) -> usize {
    let bound = |held: &&crate::api::entries::document::HeldTitle| {
        let of = |one: Option<String>| one.as_deref() == Some(id);
        held.state == "active"
            && held.medium_id.is_some()
            && (of(held.device_id.map(|id| id.to_string())) || of(held.drive_id.map(|id| id.to_string())))
    };
    entry.holds.iter().filter(bound).count()
}

fn licenses(entry: &EntryDocument, device: &str) -> usize {
    entry.licenses.iter().filter(|license| license.state != "ended" && license.device_id.to_string() == device).count()
}

fn show(app: &App, staff: &Staff, entry: &EntryDocument, typed: &Fields, error: Option<String>) -> Result<Response, Problem> {
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let shown = ExchangePage {
        frame: Frame::new(app, staff, Section::Things),
        name: name(entry),
        choices: Choice::all(entry),
        entry,
        typed,
        overrides: staff.sees(Sees::Operators),
        error,
        once: draw_once(&app.rng),
    };
    page_as(status, &shown)
}

/// The page with the form; `?old=` chooses what is exchanged.
///
/// # Errors
/// `not_found`.
pub async fn form(State(app): State<App>, staff: Staff, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let entry = entry_of(&app, &staff, &id).await?;
    show(&app, &staff, &entry, &Fields::parse(query.as_deref().unwrap_or_default().as_bytes()), None)
}

/// Shows what will happen, or does it.
///
/// # Errors
/// `not_found`.
pub async fn exchange(State(app): State<App>, Path(id): Path<String>, sent: Sent) -> Result<Response, Problem> {
    let entry = entry_of(&app, &sent.by, &id).await?;
    let swap = match swap(&sent.fields) {
        Ok(swap) => swap,
        Err(problem) => return show(&app, &sent.by, &entry, &sent.fields, Some(mendable(problem)?)),
    };
    if sent.fields.text("step") != "do" {
        return confirm(&entry, &sent.fields, None).page(&app, &sent.by);
    }
    let text = |name: &str| sent.fields.text(name).trim().to_owned();
    let wanted = Exchange {
        user: entry.user_id,
        swap,
        reason: text("reason"),
        reference: sent.fields.some("reference").map(str::to_owned),
        overrides: text("override") == "yes",
    };
    match exchange::run(&app, &sent.by.caller(), &sent.once, wanted).await {
        Ok(_) => Ok(see_other(&format!("/console/users/{}?done=exchanged", entry.user_id))),
        Err(problem) => confirm(&entry, &sent.fields, Some(mendable(problem)?)).page(&app, &sent.by),
    }
}

/// What is exchanged for what; the IDs say what they are of.
fn swap(fields: &Fields) -> Result<Swap, Problem> {
    let (old, new) = (fields.text("old").trim(), fields.some("new"));
    let wrong = |what: &str, error: &dyn std::fmt::Display| Problem::with(ApiCode::Unprocessable, format!("{what}: {error}"));
    if old.is_empty() {
        return Err(Problem::with(ApiCode::Unprocessable, "choose what is exchanged"));
    }
    if old.starts_with("drv-") {
        let id = |what: &str, text: &str| text.parse().map_err(|error| wrong(what, &error));
        return Ok(Swap::Drive { old: id("the old drive", old)?, new: new.map(|text| id("the new drive", text)).transpose()? });
    }
    let id = |what: &str, text: &str| text.parse().map_err(|error| wrong(what, &error));
    Ok(Swap::Device { old: id("the old device", old)?, new: new.map(|text| id("the new device", text)).transpose()? })
}

fn confirm(entry: &EntryDocument, fields: &Fields, error: Option<String>) -> Confirm {
    let (old, new) = (fields.text("old").trim(), fields.some("new"));
    let drive = old.starts_with("drv-");
    let what = if drive { "drive" } else { "device" };
    let (copies, licenses) = (copies(entry, old), licenses(entry, old));
    let count = |number: usize, one: &str, many: &str| if number == 1 { format!("1 {one}") } else { format!("{number} {many}") };
    let mut happens = vec![format!("The old {what} is out of the entry. If it turns up again, it is refused, and shown here.")];
    if copies > 0 {
        happens.push(format!(
            "{} on it end. Their media are free again, for the same user.",
            count(copies, "copy from a medium", "copies from media")
        ));
    }
    happens.extend(match (licenses, drive, new) {
        (0, ..) | (_, true, _) => None,
        (_, _, Some(_)) => Some(format!("{} move to the new device, and count as no transfer.", count(licenses, "license", "licenses"))),
        (_, _, None) => Some(format!("{} end on it; their places are free for another device.", count(licenses, "license", "licenses"))),
    });
    happens.push(match (new, drive) {
        (Some(_), false) => "The new device is expected: it registers with the user's card, or with the user ID.".to_owned(),
        (Some(_), true) => "The new drive is in the entry at once.".to_owned(),
        (None, _) => format!("Nothing takes its place for now; a new {what} can be registered as usual."),
    });
    happens
        .push("The card drops what has ended when it is next in contact, or at once with “counterfoil repair exchange --card”.".to_owned());
    let next = entry.exchanges.next_at.as_deref().map(|at| format!("The policy leaves none before {at}.")).unwrap_or_default();
    if entry.exchanges.left == 0 {
        happens.push(if fields.text("override") == "yes" { format!("{next} This overrides it, which is on record.") } else { next });
    }
    let mut hidden = vec![("old", old.to_owned()), ("step", "do".to_owned())];
    hidden.extend(new.map(|new| ("new", new.to_owned())));
    hidden.extend((fields.text("override") == "yes").then(|| ("override", "yes".to_owned())));
    Confirm {
        section: Section::Things,
        heading: format!("Exchange this {what}?"),
        facts: vec![("User", name(entry)), ("Old", old.to_owned()), ("New", new.unwrap_or("none").to_owned())],
        happens,
        fields: vec![Field::reason(fields.text("reason")), Field::reference(fields.text("reference"))],
        hidden,
        action: format!("/console/users/{}/exchange", entry.user_id),
        button: if drive { "Exchange the drive" } else { "Exchange the device" },
        danger: true,
        back: format!("/console/users/{}/exchange?old={old}", entry.user_id),
        error,
    }
}
