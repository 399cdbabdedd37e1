//! `/console/audit`: what was done, by whom, newest first; whether the log is whole; and all of it for a spreadsheet.

use askama::Template;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use counterfoil_core::Timestamp;
use futures_util::stream;

use super::staff::{Sees, Staff};
use super::table::{Asked, Pager, ROWS};
use super::timeline::Event;
use super::{Frame, Section};
use crate::api::page::rfc3339;
use crate::app::App;
use crate::auditor::LastAudit;
use crate::csv;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::audit_search::{self, Place, Results, Wanted};
use crate::web::{filters, page};

/// Records in one table; who needs more asks for other days.
const MOST: usize = 100_000;
/// Records that become bytes together.
const PIECE: usize = 1_000;

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    frame: Frame,
    asked: Typed,
    state: Verified,
    records: Vec<Shown>,
    /// It has looked at enough, and found less than a page.
    tired: bool,
    pager: Pager,
}

/// The filter as it was typed.
struct Typed {
    family: String,
    actor: String,
    event: String,
    from: String,
    until: String,
    wrong: Option<&'static str>,
}

/// A record with what it is about.
struct Shown {
    family: String,
    name: String,
    event: Event,
}

/// Whether the log is what was signed.
struct Verified {
    audit: Option<LastAudit>,
    /// When the auditor ran.
    at: String,
    checkpoint: Option<String>,
    hours: u32,
    minutes: u32,
}

impl Typed {
    fn read(asked: &Asked) -> (Self, Wanted) {
        let text = |name: &str| asked.text(name).to_owned();
        let mut typed = Self {
            family: text("family"),
            actor: text("actor"),
            event: text("event"),
            from: text("from"),
            until: text("until"),
            wrong: None,
        };
        let day = |text: &str| text.parse::<jiff::civil::Date>().ok().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
        let mut moment = |text: &str, none: i64, days: i64| match (text, day(text)) {
            ("", _) => none,
            (_, Some(day)) => day.timestamp().as_millisecond() + days * Timestamp::DAY,
            _ => {
                typed.wrong = Some("A day is written as 2026-11-22.");
                none
            }
        };
        let (from, until) = (moment(asked.text("from"), 0, 0), moment(asked.text("until"), i64::MAX, 1));
        let wanted = Wanted { family: family(&typed.family), actor: typed.actor.clone(), event: typed.event.clone(), from, until };
        (typed, wanted)
    }
}

/// What people write for a family: `medium:med-…` as the API has it, or just the ID.
fn family(typed: &str) -> String {
    match typed.split_once(':') {
        Some((kind @ ("title" | "batch" | "publisher"), id)) => format!("/{kind}/{id}"),
        Some(("medium" | "user" | "holder" | "device" | "card", id)) => id.to_owned(),
        _ => typed.to_owned(),
    }
}

/// `/console/audit`
///
/// # Errors
/// `not_found` for whoever is no operator; a failure of the database.
pub async fn list(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Operators)?;
    let asked = Asked::new("/console/audit", query.as_deref());
    let (typed, wanted) = Typed::read(&asked);
    let place = Place::parse(&asked.after()).unwrap_or_else(|| Place::end(wanted.until));
    let results = read(&app, wanted, place, ROWS).await?;
    let pager = Pager {
        first: (!asked.after().is_empty()).then(|| asked.address(None)),
        next: results.next.as_ref().map(|place| asked.address(Some(&place.text()))),
        csv: Some(asked.address(None).replacen("/console/audit", "/console/audit.csv", 1)),
    };
    let records = results.found.into_iter().map(|found| Shown {
        name: found.family.trim_start_matches('/').to_owned(),
        family: found.family,
        event: Event::of(found.record, true),
    });
    let state = Verified::load(&app).await?;
    page(&AuditPage {
        frame: Frame::new(&app, &staff, Section::Audit),
        asked: typed,
        state,
        records: records.collect(),
        tired: results.tired,
        pager,
    })
}

async fn read(app: &App, wanted: Wanted, place: Place, most: usize) -> Result<Results, DbError> {
    let search = async move |tx: &mut Tx| -> Result<Results, DbError> { audit_search::search(tx, &wanted, &place, most).await };
    app.db.read_lagging("search audit", search).await
}

impl Verified {
    async fn load(app: &App) -> Result<Self, Problem> {
        let audit = LastAudit::load(&app.db).await?;
        let last = async |tx: &mut Tx| -> Result<Option<i64>, DbError> { crate::store::audit::last_checkpoint_at(tx).await };
        let checkpoint = app.db.read("last checkpoint", last).await?.map(rfc3339);
        let at = audit.as_ref().map_or_else(String::new, |audit| rfc3339(audit.at.0));
        Ok(Self { audit, at, checkpoint, hours: app.config.audit.verify_hours, minutes: app.config.audit.checkpoint_minutes })
    }
}

/// `/console/audit.csv`: the same filter, as a table; streamed, newest first.
///
/// # Errors
/// As for [`list`].
pub async fn table(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Operators)?;
    let (_, wanted) = Typed::read(&Asked::new("/console/audit.csv", query.as_deref()));
    let first = Some((Place::end(wanted.until), 0, true));
    let pieces = stream::unfold(first, move |at| {
        let (app, wanted) = (app.clone(), wanted.clone());
        async move {
            let (place, sent, heading) = at?;
            let results = match read(&app, wanted, place, PIECE).await {
                Ok(results) => results,
                Err(error) => return Some((Err(Problem::from(error)), None)),
            };
            let sent = sent + results.found.len();
            let next = results.next.clone().filter(|_| sent < MOST).map(|place| (place, sent, false));
            Some((rows(heading, results), next))
        }
    });
    let headers = [(CONTENT_TYPE, csv::MEDIA_TYPE), (CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\"")];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

fn rows(heading: bool, results: Results) -> Result<bytes::Bytes, Problem> {
    let mut table = csv::Table::default();
    if heading {
        table.row(["at", "family", "seq", "actor", "event", "detail", "hash"].map(csv::text))?;
    }
    for audit_search::Found { family, record } in results.found {
        let (at, seq, hash) = (rfc3339(record.at), record.seq.to_string(), blake3::Hash::from_bytes(record.hash).to_hex());
        table.row([&*at, &family, &seq, &record.actor, &record.event, &record.detail, hash.as_str()].map(csv::text))?;
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use super::family;

    #[test]
    fn families_are_found_as_the_api_writes_them_and_as_ids() {
        for (typed, meant) in [
            ("title:sky-raider", "/title/sky-raider"),
            ("batch:bat-1", "/batch/bat-1"),
            ("medium:med-1", "med-1"),
            ("user:usr-1", "usr-1"),
            ("/tokens", "/tokens"),
            ("SERIAL:1", "SERIAL:1"),
            ("", ""),
        ] {
            assert_eq!(family(typed), meant);
        }
    }
}
