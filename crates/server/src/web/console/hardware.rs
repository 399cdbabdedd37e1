//! `/console/devices`, `/console/drives`, `/console/cards`: in whose entries a device, drive or card is, or was.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::{CardId, DeviceId, DriveId, HolderId};

use super::thing::{Cell, Link, Notice, Panel, Table, Thing};
use super::timeline::{self, Timeline};
use super::words::{self, Chip};
use super::{Frame, Section, Sees, Staff};
use crate::actions::entry;
use crate::api::entries::document::EntrySummary;
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::audit_log::Record;
use crate::store::repair::{self, RepairRow};
use crate::store::{device_info, holder, user};

/// Entries whose record is read for what names a device or drive.
const ENTRIES: usize = 4;

/// What a device, drive or card is found with.
struct Found {
    entries: Vec<EntrySummary>,
    records: Vec<Record>,
    /// Where it was taken out.
    repairs: Vec<RepairRow>,
}

async fn find(app: &App, id: &str, family: Option<String>, before: Option<i64>) -> Result<Found, Problem> {
    let entries = entry::find(app, id).await?;
    let families: Vec<String> = match family {
        Some(family) => vec![family],
        None => entries.iter().take(ENTRIES).map(|found| user::family(found.user_id)).collect(),
    };
    let own = families.len() == 1 && entries.first().is_none_or(|found| user::family(found.user_id) != families[0]);
    let named = id.to_owned();
    let (records, repairs) = app
        .db
        .read("console hardware", async move |tx: &mut Tx| -> Result<_, Problem> {
            let mut records = vec![];
            for family in &families {
                records.extend(match own {
                    true => timeline::read(tx, family, before).await?,
                    false => timeline::read_naming(tx, family, &named, before).await?,
                });
            }
            let repairs = repair::by_old(tx, &named).await?.into_iter().map(|(_, row)| row).collect();
            Ok((records, repairs))
        })
        .await?;
    let mut records: Vec<Record> = records;
    records.sort_by_key(|record| std::cmp::Reverse(record.at));
    Ok(Found { entries, records, repairs })
}

fn entries(found: &Found, empty: &'static str) -> Table {
    let rows = found.entries.iter().map(|entry| {
        let name = entry.name.clone().unwrap_or_else(|| "Not written down".to_owned());
        let state = if entry.gone { Chip::bad("was in it") } else { Chip::good("in it") };
        vec![
            Cell::text(name).to(format!("/console/users/{}", entry.user_id)).below(Cell::id(entry.user_id)),
            Cell::some(entry.email.as_deref()),
            Cell::chip(state),
            Cell::text(format!("{} devices, {} drives", entry.devices, entry.drives)),
        ]
    });
    Table { heading: "Entries", columns: vec!["User", "E-mail", "It", "Entry"], rows: rows.collect(), empty, ..Table::default() }
}

fn exchanged(found: &Found) -> Vec<Notice> {
    let told = found.repairs.iter().map(|row| {
        let new = row.new_id.as_deref().map_or_else(|| "nothing".to_owned(), str::to_owned);
        let text = format!(
            "It was exchanged for {new} on {} (UTC): {}. If it turns up, it is refused.",
            words::moment(&words::at(row.created_at)),
            row.reason.trim_end_matches('.')
        );
        Notice { tone: "warn", text, link: None }
    });
    told.collect()
}

fn actions(staff: &Staff, found: &Found, kind: &str, id: &str) -> Vec<Link> {
    let holding = found.entries.iter().find(|entry| !entry.gone).filter(|_| staff.sees(Sees::Repairers));
    let link = |entry: &EntrySummary| Link::new("Exchange it…", format!("/console/users/{}/exchange?kind={kind}&old={id}", entry.user_id));
    holding.map(link).into_iter().collect()
}

fn known(found: &Found) -> Result<(), Problem> {
    if found.entries.is_empty() && found.repairs.is_empty() && found.records.is_empty() {
        return Err(ApiCode::NotFound.into());
    }
    Ok(())
}

/// `/console/devices/{device_id}`
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn device(State(app): State<App>, staff: Staff, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Entries)?;
    let id: DeviceId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let before = timeline::before(query.as_deref());
    let found = find(&app, &id.to_string(), None, before).await?;
    known(&found)?;
    let described = match found.entries.first().map(|entry| entry.user_id) {
        Some(user) => app.db.read("described", async move |tx: &mut Tx| device_info::find(tx, user, id).await).await?,
        None => None,
    };
    let told = described.as_ref().map(|info| &info.described);
    let state = match described.as_ref() {
        _ if !found.repairs.is_empty() && found.entries.iter().all(|entry| entry.gone) => Chip::bad("exchanged"),
        Some(info) if info.registered => Chip::good("registered"),
        Some(info) if info.is_expected() => Chip::warn("expected"),
        _ => Chip::bad("retired"),
    };
    let facts = vec![
        ("Device ID", Cell::id(id)),
        ("Name", Cell::some(told.and_then(|told| told.name.as_deref()))),
        ("Maker", Cell::some(told.and_then(|told| told.maker.as_deref()))),
        ("Model", Cell::some(told.and_then(|told| told.model.as_deref()))),
        ("Since", Cell::maybe_at(described.as_ref().map(|info| words::at(info.since)).as_deref())),
    ];
    let named = told.and_then(|told| told.name.clone());
    let thing = Thing {
        kind: "Device",
        id: named.is_some().then(|| id.to_string()),
        heading: named.unwrap_or_else(|| id.to_string()),
        chips: vec![state],
        actions: actions(&staff, &found, "device", &id.to_string()),
        notices: exchanged(&found),
        panels: vec![Panel { heading: "Device", facts }],
        tables: vec![entries(&found, "It is in no entry.")],
        timeline: Some(Timeline::of(found.records, before, &format!("/console/devices/{id}"))),
        ..Thing::default()
    };
    thing.page(Frame::told(&app, &staff, Section::Things, query.as_deref()))
}

/// `/console/drives/{drive_id}`
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn drive(State(app): State<App>, staff: Staff, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Entries)?;
    let id: DriveId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let before = timeline::before(query.as_deref());
    let found = find(&app, &id.to_string(), None, before).await?;
    known(&found)?;
    let state = if found.entries.iter().any(|entry| !entry.gone) { Chip::good("registered") } else { Chip::bad("exchanged") };
    let thing = Thing {
        kind: "Drive",
        heading: id.to_string(),
        chips: vec![state],
        actions: actions(&staff, &found, "drive", &id.to_string()),
        notices: exchanged(&found),
        tables: vec![entries(&found, "It is in no entry.")],
        timeline: Some(Timeline::of(found.records, before, &format!("/console/drives/{id}"))),
        ..Thing::default()
    };
    thing.page(Frame::told(&app, &staff, Section::Things, query.as_deref()))
}

/// `/console/cards/{card_id}`
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn card(State(app): State<App>, staff: Staff, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Entries)?;
    let id: CardId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let (before, holding) = (timeline::before(query.as_deref()), HolderId::from(id));
    let facts = app.db.read("holder", async move |tx: &mut Tx| holder::facts(tx, holding).await).await?;
    let found = find(&app, &id.to_string(), Some(holder::family(holding)), before).await?;
    let (state, said) = match facts {
        HolderFacts::Unknown => {
            known(&found)?;
            (Chip::plain("unknown"), "It was never registered here.")
        }
        HolderFacts::Issued => (Chip::warn("issued"), "The operator has issued it; nobody has registered with it yet."),
        HolderFacts::Registered(_) => (Chip::good("live"), "It holds the keys of its user."),
        HolderFacts::Dead => (Chip::bad("dead"), "It was lost, replaced or revoked, and is refused everywhere."),
    };
    let dead = facts == HolderFacts::Dead;
    let mut actions = vec![];
    if !dead && staff.sees(Sees::Operators) {
        actions.push(Link::new("Revoke the card…", format!("/console/cards/{id}/revoke")));
    }
    let user = found.entries.iter().find(|entry| !entry.gone);
    if let Some(entry) = user.filter(|_| staff.sees(Sees::Repairers)) {
        actions.push(Link::new("Replace the card…", format!("/console/users/{}/reissue", entry.user_id)));
    }
    let thing = Thing {
        kind: "Card",
        heading: id.to_string(),
        chips: vec![state],
        actions,
        notices: exchanged(&found),
        panels: vec![Panel {
            heading: "Card",
            facts: vec![("Card ID", Cell::id(id)), ("Key holder", Cell::id(holding)), ("State", Cell::text(said))],
        }],
        tables: vec![entries(&found, "It is in no entry.")],
        timeline: Some(Timeline::of(found.records, before, &format!("/console/cards/{id}"))),
        ..Thing::default()
    };
    thing.page(Frame::told(&app, &staff, Section::Things, query.as_deref()))
}
