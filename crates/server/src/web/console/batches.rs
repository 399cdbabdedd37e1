//! `/console/batches`: pressing runs, and what is known of their media.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use counterfoil_core::BatchId;

use super::media::{release, rights};
use super::table::{Asked, Paged, whole};
use super::thing::{Cell, Link, Panel, Table, Thing};
use super::timeline::{self, Timeline};
use super::users::encoded;
use super::words::{self, Chip};
use super::{Frame, Section, Sees, Staff};
use crate::api::page::rfc3339;
use crate::app::App;
use crate::auth::Scope;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::batch::{self, Batch, BatchTitle, Origin};
use crate::store::find::{self, MediumOfBatch};

/// `/console/batches`: a page at a time.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn list(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Catalogue)?;
    let asked = Asked::new("/console/batches", query.as_deref());
    let read = {
        let (app, scope) = (app.clone(), staff.scope());
        move |after: String, rows: i64| read(app.clone(), scope.clone(), after, rows)
    };
    let cursor = |row: &Batch| row.id.to_string();
    if asked.wants_table() {
        return whole("batches", ["batch", "name", "publisher", "media", "made_by", "at"], read, cursor, cells);
    }
    let Paged { items, pager } = Paged::of(read(asked.after(), asked.rows()).await?, &asked, cursor).with_csv(&asked);
    let rows = items.iter().map(|row| {
        vec![
            Cell::text(if row.name.is_empty() { "Without a name" } else { &row.name })
                .to(format!("/console/batches/{}", row.id))
                .below(Cell::id(row.id)),
            Cell::text(row.publisher.as_str()),
            Cell::text(row.count.to_string()),
            Cell::chip(Chip::plain(row.origin.as_str())),
            Cell::at(&rfc3339(row.created_at)),
        ]
    });
    let table = Table {
        heading: "All batches",
        columns: vec!["Batch", "Publisher", "Media", "Made by", "When"],
        rows: rows.collect(),
        empty: "Nothing was pressed yet.",
        pager,
    };
    let actions = if staff.sees(Sees::Publishers) { vec![Link::new("Press media…", "/console/press")] } else { vec![] };
    let thing = Thing { kind: "Catalogue", heading: "Batches".to_owned(), actions, tables: vec![table], ..Thing::default() };
    thing.page(Frame::told(&app, &staff, Section::Batches, query.as_deref()))
}

async fn read(app: App, scope: Scope, after: String, rows: i64) -> Result<Vec<Batch>, DbError> {
    app.db.read("console batches", async move |tx: &mut Tx| batch::list(tx, &scope, &after, rows).await).await
}

/// As a row of CSV.
fn cells(row: &Batch) -> [String; 6] {
    let (id, origin) = (row.id.to_string(), row.origin.as_str().to_owned());
    [id, row.name.clone(), row.publisher.to_string(), row.count.to_string(), origin, rfc3339(row.created_at)]
}

/// `/console/batches/{batch}`: one, with its media that were heard of, by number.
///
/// # Errors
/// `not_found`, for another publisher's as well; a failure of the database.
pub async fn show(State(app): State<App>, staff: Staff, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Catalogue)?;
    let id: BatchId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let path = format!("/console/batches/{id}");
    let asked = Asked::new(path.clone(), query.as_deref());
    let (scope, before, after, rows) =
        (staff.scope(), timeline::before(query.as_deref()), asked.after().parse().unwrap_or(0), asked.rows());
    let (row, titles, media, records) = app
        .db
        .read("console batch", async move |tx: &mut Tx| -> Result<_, Problem> {
            let row = batch::get(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
            let (titles, media) = (batch::titles(tx, id).await?, find::media(tx, id, after, rows).await?);
            Ok((row, titles, media, timeline::read(tx, &batch::family(id), before).await?))
        })
        .await?;
    if asked.wants_table() {
        let read = move |after: String, rows: i64| media_after(app.clone(), id, after, rows);
        return whole("media", ["medium", "number", "state", "copies", "first_heard_of"], read, place, medium_cells);
    }
    let media = Paged::of(media, &asked, place).with_csv(&asked);
    let mut thing = thing(&staff, &row, &titles, media);
    let persons = staff.sees(Sees::Entries);
    thing.timeline = Some(if persons { Timeline::of(records, before, &path) } else { Timeline::without_persons(records, before, &path) });
    thing.page(Frame::told(&app, &staff, Section::Batches, query.as_deref()))
}

/// The media of a batch that the caller may see.
async fn media_after(app: App, batch: BatchId, after: String, rows: i64) -> Result<Vec<MediumOfBatch>, DbError> {
    let after = after.parse().unwrap_or(0);
    app.db.read("console media", async move |tx: &mut Tx| find::media(tx, batch, after, rows).await).await
}

fn place(row: &MediumOfBatch) -> String {
    row.serial.to_string()
}

/// As a row of CSV.
fn medium_cells(row: &MediumOfBatch) -> [String; 5] {
    [row.medium.to_string(), row.serial.to_string(), row.state.clone(), row.copies.to_string(), words::at(row.created_at)]
}

fn thing(staff: &Staff, row: &Batch, titles: &[BatchTitle], media: Paged<MediumOfBatch>) -> Thing {
    let path = format!("/console/batches/{}", row.id);
    let mut actions = vec![];
    if staff.sees(Sees::Publishers) {
        if row.origin == Origin::Pressed {
            actions.push(Link::new("Identities…", format!("{path}/identities")));
        }
        actions.push(Link::new("Change the rights…", format!("{path}/rights")));
    }
    let about = Panel {
        heading: "Batch",
        facts: vec![
            ("Batch ID", Cell::id(row.id)),
            ("Publisher", Cell::text(row.publisher.as_str())),
            ("Media", Cell::text(row.count.to_string())),
            ("Made by", Cell::text(row.origin.as_str())),
            ("Keys paid for", Cell::text(if row.paid_on_copy { "when they are copied" } else { "with the medium" })),
            ("Refreshes ordered", Cell::text(row.refreshes.to_string())),
            ("When", Cell::at(&rfc3339(row.created_at))),
        ],
    };
    let on = titles.iter().map(|on| {
        let version = on.version.to_string();
        vec![Cell::id(&on.title).to(format!("/console/titles/{}", on.title)), Cell::text(&version).to(release(on.title.as_str(), &version))]
    });
    let on = Table {
        heading: "What lies on each",
        columns: vec!["Title", "Release"],
        rows: on.collect(),
        empty: "Nothing.",
        ..Table::default()
    };
    Thing {
        crumbs: vec![Link::new("Batches", "/console/batches")],
        kind: "Batch",
        heading: if row.name.is_empty() { row.id.to_string() } else { row.name.clone() },
        id: (!row.name.is_empty()).then(|| row.id.to_string()),
        chips: vec![Chip::plain(format!("{} media", row.count))],
        actions,
        panels: vec![about, Panel { heading: "Rights", facts: rights(&row.rights) }],
        tables: vec![on, heard_of(media)],
        ..Thing::default()
    }
}

fn heard_of(Paged { items, pager }: Paged<MediumOfBatch>) -> Table {
    let rows = items.iter().map(|row| {
        vec![
            Cell::id(&row.medium).to(format!("/console/media/{}", encoded(row.medium.as_str()))),
            Cell::text(row.serial.to_string()),
            Cell::chip(Chip::of(&row.state)),
            Cell::text(row.copies.to_string()),
            Cell::at(&words::at(row.created_at)),
        ]
    });
    Table {
        heading: "Media that were heard of",
        columns: vec!["Medium", "Number", "State", "Copies", "First heard of"],
        rows: rows.collect(),
        empty: "None yet: a medium is heard of when it is first looked at or copied.",
        pager,
    }
}
