//! `/console/media/{medium_id}`: what a medium is, what it allows, who has copied it, and what happened to it.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use counterfoil_core::{MediumId, Rights, Timestamp};

use super::thing::{Cell, Link, Notice, Panel, Table, Thing};
use super::timeline::{self, Timeline};
use super::users::encoded;
use super::words::{self, Chip};
use super::{Frame, Section, Sees, Staff};
use crate::actions::entry;
use crate::api::entries::document::EntrySummary;
use crate::api::media::{self, MediumDocument};
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::medium;

/// `/console/media/{medium_id}`: for publishers without a word of users.
///
/// # Errors
/// `not_found`, for another publisher's as well; a failure of the database.
pub async fn show(State(app): State<App>, staff: Staff, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Things)?;
    let id: MediumId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let (scope, before, named) = (staff.scope(), timeline::before(query.as_deref()), id.clone());
    let (found, records) = app
        .db
        .read("console medium", async move |tx: &mut Tx| -> Result<_, Problem> {
            let found = media::load(tx, &scope, &named).await?;
            Ok((found, timeline::read(tx, &medium::family(&named), before).await?))
        })
        .await?;
    let path = format!("/console/media/{}", encoded(id.as_str()));
    let persons = staff.sees(Sees::Entries);
    let owners = if persons { entry::find(&app, id.as_str()).await.unwrap_or_default() } else { vec![] };
    let mut thing = thing(&staff, &found, &path);
    if persons {
        thing.tables.push(copied_by(&owners));
    }
    thing.timeline = Some(if persons { Timeline::of(records, before, &path) } else { Timeline::without_persons(records, before, &path) });
    thing.page(Frame::told(&app, &staff, Section::Things, query.as_deref()))
}

fn thing(staff: &Staff, found: &MediumDocument, path: &str) -> Thing {
    let mut notices = vec![];
    if found.superseded_presented > 0 {
        let text = format!("An old copy of this medium, or a clone, was presented {} times, and refused.", found.superseded_presented);
        notices.push(Notice { tone: "bad", text, link: None });
    }
    if found.target_epoch > found.epoch {
        let text = "A refresh is ordered: a writable medium gets it when it is next heard of.".to_owned();
        notices.push(Notice { tone: "warn", text, link: None });
    }
    let mut actions = vec![];
    if staff.sees(Sees::Publishers) {
        actions.push(Link::new("Change its rights…", format!("{path}/rights")));
    }
    if staff.sees(Sees::Operators) && found.state != "retired" {
        actions.push(Link::new("Take it out of use…", format!("{path}/retire")));
    }
    let catalogue = staff.sees(Sees::Catalogue);
    let titles = found.titles.iter().map(|on| {
        vec![
            Cell::id(&on.title).to_if(catalogue, format!("/console/titles/{}", on.title)),
            Cell::text(on.version.to_string()).to_if(catalogue, release(&on.title.to_string(), &on.version.to_string())),
        ]
    });
    let titles = Table {
        heading: "What lies on it",
        columns: vec!["Title", "Release"],
        rows: titles.collect(),
        empty: "Nothing.",
        ..Table::default()
    };
    Thing {
        kind: "Medium",
        heading: found.medium_id.to_string(),
        chips: vec![Chip::of(&found.state)],
        actions,
        notices,
        panels: vec![facts(found, catalogue), Panel { heading: "Rights", facts: rights(&found.rights) }],
        tables: vec![titles],
        ..Thing::default()
    }
}

/// The page of a release.
pub(super) fn release(title: &str, version: &str) -> String {
    format!("/console/titles/{title}/releases/{}", encoded(version))
}

fn facts(found: &MediumDocument, catalogue: bool) -> Panel {
    let batch = Cell::id(found.batch).to_if(catalogue, format!("/console/batches/{}", found.batch));
    Panel {
        heading: "Medium",
        facts: vec![
            ("Batch", batch),
            ("Number", Cell::text(found.serial.to_string())),
            ("Copies", Cell::text(format!("{} of {} claimed", found.copies_claimed, found.rights.copies))),
            ("Pressed", Cell::at(&found.pressed_at)),
            ("First seen", Cell::maybe_at(found.first_seen_at.as_deref())),
            ("Claimed", Cell::maybe_at(found.claimed_at.as_deref())),
            ("Refreshed", Cell::maybe_at(found.refreshed_at.as_deref())),
        ],
    }
}

/// What a medium or a batch allows.
pub(super) fn rights(rights: &Rights) -> Vec<(&'static str, Cell)> {
    let yes = |allowed: bool| Cell::text(if allowed { "yes" } else { "no" });
    let mut facts = vec![
        ("Copies", Cell::text(rights.copies.to_string())),
        ("Play", yes(rights.play)),
        ("Update", yes(rights.update)),
        ("Download", yes(rights.download)),
        ("Upload", yes(rights.upload)),
        ("Transfer", yes(rights.transfer)),
    ];
    if let Some(Timestamp(at)) = rights.expires_at {
        facts.push(("Copied until", Cell::at(&words::at(Timestamp(at)))));
    }
    facts
}

fn copied_by(owners: &[EntrySummary]) -> Table {
    let rows = owners.iter().map(|owner| {
        let name = owner.name.clone().unwrap_or_else(|| "Not written down".to_owned());
        let state = if owner.gone { Chip::bad("taken back") } else { Chip::good("has a copy") };
        vec![
            Cell::text(name).to(format!("/console/users/{}", owner.user_id)).below(Cell::id(owner.user_id)),
            Cell::some(owner.email.as_deref()),
            Cell::chip(state),
        ]
    });
    let columns = vec!["User", "E-mail", "Copy"];
    Table { heading: "Copied by", columns, rows: rows.collect(), empty: "Nobody has copied it.", ..Table::default() }
}
