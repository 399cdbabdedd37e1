//! `/console`: how things stand, what waits for somebody, and what happened lately as charts.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use counterfoil_core::{Code, Timestamp};

use super::table::Asked;
use super::words::Why;
use super::{Frame, Section, Sees, Staff};
use crate::app::App;
use crate::auditor::LastAudit;
use crate::auth::Scope;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::figures::{self, ACTIVE, Cursor, Figure, REFUSED};
use crate::store::title::Title;
use crate::web::charts::{Chart, Series, greatest, number};
use crate::web::{filters, page};

/// Days that can be looked at, and what they are called; the last are drawn by the week.
const RANGES: [(i64, &str); 4] = [(7, "7 days"), (30, "30 days"), (90, "90 days"), (364, "a year")];
const BY_WEEK: i64 = 364;
/// Titles whose progress can be chosen.
const TITLES: i64 = 200;

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    frame: Frame,
    /// Numbers that matter first: what, how many, where it leads.
    tiles: Vec<Tile>,
    charts: Vec<String>,
    ranges: Vec<(i64, &'static str, bool)>,
    titles: Vec<Title>,
    title: String,
    /// Until when is counted.
    through: Option<String>,
    seen: bool,
    presses: bool,
    finds: bool,
}

struct Tile {
    name: &'static str,
    value: String,
    tone: &'static str,
    path: Option<&'static str>,
}

/// What is read for it, in one go.
#[derive(Default)]
struct Read {
    series: Vec<Vec<Figure>>,
    refused: Vec<Figure>,
    active: Vec<Figure>,
    releases: Vec<Figure>,
    titles: Vec<Title>,
    title: String,
    through: Option<i64>,
    waiting: i64,
}

/// Charts of what happened: a title for each, and the events that it counts.
const EVENTS: [(&str, &[(&str, &str)]); 2] = [
    ("Claims and copies", &[("claim.granted", "claimed"), ("copy.confirmed", "copied")]),
    ("Repairs and new cards", &[("user.exchanged", "exchanged"), ("card.replaced", "new cards")]),
];

/// `/console`
///
/// # Errors
/// A failure of the database.
pub async fn overview(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::new("/console", query.as_deref());
    let days = asked.text("days").parse().ok().filter(|days| RANGES.iter().any(|(known, _)| known == days)).unwrap_or(30);
    let (seen, entries) = (staff.sees(Sees::Publishers), staff.sees(Sees::Entries));
    let today = figures::day(app.clock.now().0);
    let span = Span { from: today - days + 1, until: today, weeks: days >= BY_WEEK };
    let (scope, title) = (staff.scope(), asked.text("title").to_owned());
    let read = app
        .db
        .read_lagging("console overview", async move |tx: &mut Tx| -> Result<Read, DbError> {
            let mut read = if seen { Read::load(tx, &scope, span, &title).await? } else { Read::default() };
            read.waiting = if entries { waiting(tx).await? } else { 0 };
            Ok(read)
        })
        .await?;
    let mut tiles = vec![];
    if entries {
        let tone = if read.waiting > 0 { "warn" } else { "" };
        tiles.push(Tile { name: "Lost cards that wait", value: number(read.waiting), tone, path: Some("/console/reissues") });
    }
    if staff.sees(Sees::Operators) {
        tiles.push(audited(LastAudit::load(&app.db).await?));
    }
    let mut charts = vec![];
    if seen {
        read.tiles(&mut tiles);
        for chart in read.charts(span, today) {
            charts.push(chart.html().map_err(Problem::internal)?);
        }
    }
    let shown = OverviewPage {
        frame: Frame::told(&app, &staff, Section::Overview, query.as_deref()),
        tiles,
        charts,
        ranges: RANGES.iter().map(|(range, name)| (*range, *name, *range == days)).collect(),
        titles: read.titles,
        title: read.title,
        through: read.through.map(crate::api::page::rfc3339),
        seen,
        presses: seen,
        finds: staff.sees(Sees::Things),
    };
    page(&shown)
}

/// The days that are shown.
#[derive(Clone, Copy)]
struct Span {
    from: i64,
    until: i64,
    weeks: bool,
}

impl Span {
    fn points(self) -> usize {
        let days = self.until - self.from + 1;
        usize::try_from(if self.weeks { (days + 6) / 7 } else { days }).unwrap_or(0)
    }

    /// Which point a day belongs to; weeks are counted back from today.
    fn point(self, day: i64) -> usize {
        let place = if self.weeks { self.points() as i64 - 1 - (self.until - day) / 7 } else { day - self.from };
        usize::try_from(place).unwrap_or(0)
    }

    fn names(self) -> Vec<String> {
        let name = |point: usize| {
            let day = if self.weeks { self.until - 7 * (self.points() - 1 - point) as i64 - 6 } else { self.from + point as i64 };
            let zoned = jiff::Timestamp::from_millisecond(day * Timestamp::DAY).map(|at| at.to_zoned(jiff::tz::TimeZone::UTC));
            zoned.map_or_else(|_| String::new(), |zoned| zoned.strftime("%-d %b").to_string())
        };
        (0..self.points()).map(name).collect()
    }

    /// A value for each point: the days of a week together, or the greatest of them where they must not be added.
    fn values(self, figures: &[Figure], most: bool) -> Vec<i64> {
        let mut values = vec![0; self.points()];
        for figure in figures {
            if let Some(value) = values.get_mut(self.point(figure.day)) {
                *value = if most { figure.amount.max(*value) } else { *value + figure.amount };
            }
        }
        values
    }
}

async fn waiting(tx: &mut Tx) -> Result<i64, DbError> {
    Ok(tx.query("SELECT COUNT(*) FROM reissue WHERE state = 'waiting'").one::<(i64,)>().await?.0)
}

fn audited(audit: Option<LastAudit>) -> Tile {
    let (value, tone) = match audit {
        None => ("not checked yet".to_owned(), ""),
        Some(audit) if audit.found == 0 => ("whole".to_owned(), "good"),
        Some(audit) => (format!("{} findings", audit.found), "bad"),
    };
    Tile { name: "Audit log", value, tone, path: Some("/console/audit") }
}

impl Read {
    async fn load(tx: &mut Tx, scope: &Scope, span: Span, title: &str) -> Result<Self, DbError> {
        let Span { from, until, .. } = span;
        let mut read = Self { titles: figures::titles(tx, scope, TITLES).await?, ..Self::default() };
        for (name, _) in EVENTS.iter().flat_map(|(_, events)| *events) {
            read.series.push(figures::load(tx, scope, name, from, until).await?);
        }
        read.refused = figures::load(tx, scope, REFUSED, from, until).await?;
        read.active = figures::load(tx, scope, ACTIVE, from, until).await?;
        // Only of a title that may be seen; the first one where none is chosen.
        let chosen = read.titles.iter().find(|known| known.id.as_str() == title).or(read.titles.first());
        if let Some(chosen) = chosen.map(|title| title.id.to_string()) {
            read.releases = figures::load(tx, scope, &figures::releases_of(&chosen), from, until).await?;
            read.title = chosen;
        }
        read.through = Cursor::load(tx).await?.through;
        Ok(read)
    }

    fn tiles(&self, tiles: &mut Vec<Tile>) {
        let sum = |figures: &[Figure]| figures.iter().map(|figure| figure.amount).sum();
        let mut tile = |name, value, path| tiles.push(Tile { name, value: number(value), tone: "", path });
        tile("Copies claimed", self.series.first().map_or(0, |claims| sum(claims)), None);
        tile("Refused", sum(&self.refused), None);
        tile("Devices heard of today", self.active.last().map_or(0, |figure| figure.amount), None);
    }

    fn charts(&self, span: Span, today: i64) -> Vec<Chart> {
        let points = span.names();
        let mut charts = vec![];
        let mut series = self.series.iter();
        for (index, (title, events)) in EVENTS.iter().enumerate() {
            let of = |((_, name), figures): (&(&str, &str), &Vec<Figure>)| Series {
                name: (*name).to_owned(),
                values: span.values(figures, false),
            };
            let series: Vec<Series> = events.iter().zip(series.by_ref()).map(of).collect();
            let said = series.iter().map(|series| format!("{} {}", number(series.values.iter().sum()), series.name));
            let about = format!("{}.", said.collect::<Vec<_>>().join(", "));
            charts.push(Chart {
                id: format!("events-{index}"),
                title: (*title).to_owned(),
                about,
                points: points.clone(),
                series,
                stacked: false,
            });
        }
        charts.insert(1, self.refusals(span, &points));
        let values = span.values(&self.active, true);
        let most = values.iter().copied().max().unwrap_or(0);
        let about = format!("At most {} on one day.", number(most));
        let series = vec![Series { name: "devices".to_owned(), values }];
        charts.insert(
            2,
            Chart { id: "active".to_owned(), title: "Devices heard of".to_owned(), about, points: points.clone(), series, stacked: false },
        );
        if !self.title.is_empty() {
            charts.insert(3, self.progress(span, points, today));
        }
        charts
    }

    fn refusals(&self, span: Span, points: &[String]) -> Chart {
        let amounts: Vec<(usize, String, i64)> =
            self.refused.iter().map(|figure| (span.point(figure.day), figure.label.clone(), figure.amount)).collect();
        let series = greatest(&amounts, points.len(), reason);
        let all: i64 = amounts.iter().map(|(.., amount)| amount).sum();
        let first = series.first().map(|series| format!(" Most often: {} ({}).", series.name, number(series.values.iter().sum())));
        let about = format!("{} in all.{}", number(all), first.unwrap_or_default());
        Chart { id: "refused".to_owned(), title: "Refused, by reason".to_owned(), about, points: points.to_vec(), series, stacked: true }
    }

    /// How many devices have which release of a title; a week shows its last day.
    fn progress(&self, span: Span, points: Vec<String>, today: i64) -> Chart {
        let last_of = |figure: &&Figure| !span.weeks || (span.until - figure.day) % 7 == 0;
        let amounts: Vec<(usize, String, i64)> =
            self.releases.iter().filter(last_of).map(|figure| (span.point(figure.day), figure.label.clone(), figure.amount)).collect();
        let series = greatest(&amounts, points.len(), str::to_owned);
        let newest = self.releases.last().map_or(today, |figure| figure.day);
        let now: Vec<&Figure> = self.releases.iter().filter(|figure| figure.day == newest).collect();
        let all: i64 = now.iter().map(|figure| figure.amount).sum();
        let said = now.iter().map(|figure| format!("{} have {}", number(figure.amount), figure.label)).collect::<Vec<_>>();
        let about = if said.is_empty() { String::new() } else { format!("Of {} devices, {}.", number(all), said.join(", ")) };
        Chart { id: "progress".to_owned(), title: format!("Releases of {} on devices", self.title), about, points, series, stacked: true }
    }
}

/// What a code means, shortly.
fn reason(code: &str) -> String {
    let known = Code::ALL.iter().any(|known| known.as_str() == code);
    if known { Why::of(code, None).message } else { code.replace('_', " ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(day: i64, amount: i64) -> Figure {
        Figure { day, label: String::new(), amount }
    }

    #[test]
    fn days_and_weeks_fall_where_they_belong() {
        let days = Span { from: 20_770, until: 20_776, weeks: false };
        assert_eq!(days.values(&[figure(20_770, 1), figure(20_776, 2), figure(20_776, 3)], false), [1, 0, 0, 0, 0, 0, 5]);
        assert_eq!(days.names()[0], "13 Nov");
        let weeks = Span { from: 20_776 - 13, until: 20_776, weeks: true };
        let figures = [figure(20_763, 1), figure(20_769, 2), figure(20_770, 4), figure(20_776, 8)];
        assert_eq!(weeks.values(&figures, false), [3, 12]);
        assert_eq!(weeks.values(&figures, true), [2, 8], "devices of two days are not added");
    }
}
