//! `/console/titles`: what is published.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use counterfoil_core::TitleId;

use super::table::{Asked, Paged, Pager};
use super::thing::{Cell, Link, Panel, Table, Thing};
use super::timeline::{self, Timeline};
use super::words::{self, Chip};
use super::{Frame, Section, Sees, Staff};
use crate::api::page::rfc3339;
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::audit_log::Record;
use crate::store::find;
use crate::store::listing::{self, Listing};
use crate::store::release::{self, Release};
use crate::store::title::{self, Title};
use crate::store::word::Named;
use crate::web::{filters, page};

/// Batches on the page of a title.
const BATCHES: i64 = 20;

#[derive(Template)]
#[template(path = "console/titles.html")]
struct TitlesPage {
    frame: Frame,
    titles: Vec<Title>,
    pager: Pager,
}

/// The titles, a page at a time.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn list(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Catalogue)?;
    let asked = Asked::new("/console/titles", query.as_deref());
    let (scope, after, rows) = (staff.scope(), asked.after(), asked.rows());
    let found = app.db.read("console titles", async move |tx: &mut Tx| title::list(tx, &scope, &after, rows).await).await?;
    let Paged { items: titles, pager } = Paged::of(found, &asked, |title| title.id.to_string());
    page(&TitlesPage { frame: Frame::told(&app, &staff, Section::Titles, query.as_deref()), titles, pager })
}

/// What a title's page is made of.
struct Known {
    title: Title,
    listing: Option<(Listing, i64)>,
    releases: Vec<Release>,
    batches: Vec<Named>,
    records: Vec<Record>,
}

/// `/console/titles/{title}`: one, with its releases.
///
/// # Errors
/// `not_found`, for another publisher's as well; a failure of the database.
pub async fn show(State(app): State<App>, staff: Staff, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Catalogue)?;
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let path = format!("/console/titles/{id}");
    let asked = Asked::new(path.clone(), query.as_deref());
    // Newest first: the cursor is the number of the last one shown.
    let (scope, before, number, rows) =
        (staff.scope(), timeline::before(query.as_deref()), asked.after().parse().unwrap_or(i64::MAX), asked.rows());
    let known = app
        .db
        .read("console title", async move |tx: &mut Tx| -> Result<Known, Problem> {
            let title = title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
            Ok(Known {
                listing: listing::get(tx, &id).await?,
                releases: release::list(tx, &id, number, rows).await?,
                batches: find::batches_of_title(tx, &id, BATCHES).await?,
                records: timeline::read(tx, &title::family(&id), before).await?,
                title,
            })
        })
        .await?;
    let Known { title, listing, releases, batches, records } = known;
    let persons = staff.sees(Sees::Entries);
    let timeline = if persons { Timeline::of(records, before, &path) } else { Timeline::without_persons(records, before, &path) };
    let on_sale = listing.as_ref().is_some_and(|(listing, _)| listing.on_sale);
    let thing = Thing {
        crumbs: vec![Link::new("Titles", "/console/titles")],
        kind: "Title",
        heading: title.name.clone(),
        id: Some(title.id.to_string()),
        chips: vec![if on_sale { Chip::good("on sale") } else { Chip::plain("not on sale") }],
        actions: if on_sale { vec![Link::new("See it in the store", format!("/store/{}", title.id))] } else { vec![] },
        panels: vec![about(&title), offer(listing.as_ref())],
        tables: vec![releases_of(&title, Paged::of(releases, &asked, |release| release.number.to_string())), pressed(&batches)],
        timeline: Some(timeline),
        ..Thing::default()
    };
    thing.page(Frame::told(&app, &staff, Section::Titles, query.as_deref()))
}

fn about(title: &Title) -> Panel {
    Panel {
        heading: "Title",
        facts: vec![
            ("Title ID", Cell::id(&title.id)),
            ("Publisher", Cell::text(title.publisher.as_str())),
            ("Kind", Cell::text(words::kind(title.kind))),
            ("Content key", Cell::text(format!("generation {}", title.generation))),
            ("Since", Cell::at(&rfc3339(title.created_at))),
        ],
    }
}

fn offer(listing: Option<&(Listing, i64)>) -> Panel {
    let Some((listing, at)) = listing else {
        return Panel { heading: "Offer", facts: vec![("Store", Cell::text("not listed"))] };
    };
    let prices: Vec<String> = listing.prices.iter().map(ToString::to_string).collect();
    Panel {
        heading: "Offer",
        facts: vec![
            ("Summary", Cell::text(&listing.summary)),
            ("Prices", Cell::text(prices.join(", "))),
            ("Devices", Cell::text(listing.policy.devices.to_string())),
            ("Changed", Cell::at(&rfc3339(*at))),
        ],
    }
}

fn releases_of(title: &Title, Paged { items, pager }: Paged<Release>) -> Table {
    let rows = items.iter().map(|release| {
        let version = release.version.to_string();
        let critical = if release.said.critical { Cell::chip(Chip::warn("critical")) } else { Cell::text("") };
        vec![
            Cell::text(&version).to(super::media::release(title.id.as_str(), &version)),
            Cell::text(release.channel.as_str()),
            Cell::chip(super::releases::state(release)),
            critical,
            Cell::at(&rfc3339(release.created_at)),
        ]
    });
    let columns = vec!["Release", "Channel", "Offered", "", "Published"];
    Table { heading: "Releases", columns, rows: rows.collect(), empty: "Nothing was published yet.", pager }
}

fn pressed(batches: &[Named]) -> Table {
    let rows = batches.iter().map(|batch| {
        let name = if batch.name.is_empty() { "Without a name" } else { &batch.name };
        vec![Cell::text(name).to(format!("/console/batches/{}", batch.id)), Cell::id(&batch.id)]
    });
    let columns = vec!["Batch", "ID"];
    Table { heading: "Newest batches", columns, rows: rows.collect(), empty: "It was not pressed.", ..Table::default() }
}
