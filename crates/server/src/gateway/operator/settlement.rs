//! `/operator/settlement`: months, what each came to, closed once, and as tables for whoever keeps the accounts.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

use super::visitor::{Operator, Sent};
use super::{Desk, Section, frame};
use crate::clock::rfc3339;
use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::ledger::Period;
use crate::gateway::settlement::{self, COLUMNS, Party, SettleError, SettledLine, Share};
use crate::gateway::store::listed::{self, Month};
use crate::gateway::web::words::amount;
use crate::problem::{ApiCode, Problem};
use crate::web::console::confirm::Confirm;
use crate::web::console::staff::draw_once;
use crate::web::console::table::{Asked, Paged, whole};
use crate::web::console::thing::{Cell, Table, Thing};
use crate::web::console::words::Chip;
use crate::web::visitor::see_other;

/// `/operator/settlement`
///
/// # Errors
/// A failure of the database.
pub async fn list(State(desk): State<Desk>, by: Operator, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::new("/operator/settlement", query.as_deref());
    let (before, most) = (asked.after(), asked.rows());
    let read = async move |tx: &mut Tx| -> Result<_, DbError> {
        let mut months = vec![];
        for month in listed::months(tx, &before, most).await? {
            let shares = of(tx, month.period).await?;
            months.push((month, shares));
        }
        Ok(months)
    };
    let found = desk.db.read("operator's months", read).await?;
    let Paged { items, pager } = Paged::of(found, &asked, |(month, _): &(Month, _)| month.period.to_string());
    let now = Period::of(desk.clock.now());
    let rows = items.iter().map(|(month, shares)| line(month, shares, now));
    let columns = vec!["Month", "State", "Operator", "Gateway", "For a spreadsheet", ""];
    let table = Table { heading: "Months", columns, rows: rows.collect(), empty: "Nothing was charged yet.", pager };
    let thing = Thing { kind: "Money", heading: "Settlement".to_owned(), tables: vec![table], ..Thing::default() };
    thing.page(frame(&desk, &by, Section::Settlement, query.as_deref()))
}

/// What a month comes to: as it was frozen, or so far.
async fn of(tx: &mut Tx, period: Period) -> Result<Vec<Share>, DbError> {
    match settlement::find(tx, period).await? {
        Some(settled) => Ok(settled.shares),
        None => settlement::shares(tx, period).await,
    }
}

fn line(month: &Month, shares: &[Share], now: Period) -> Vec<Cell> {
    let period = month.period;
    let (state, action) = match month.closed_at {
        Some(at) => (Cell::chip(Chip::good("settled")).below(Cell::at(&rfc3339(at))), Cell::text("")),
        None if period < now => {
            (Cell::chip(Chip::warn("over, not settled")), Cell::text("Settle…").to(format!("/operator/settlement/{period}")))
        }
        None => (Cell::chip(Chip::plain("open")), Cell::text("")),
    };
    let table =
        |party: Party| Cell::text(format!("{}.csv", party.as_str())).to(format!("/operator/settlement/{period}/{}", party.as_str()));
    let tables = table(Party::Operator).below(table(Party::Gateway));
    vec![Cell::text(period.to_string()), state, part(shares, Party::Operator), part(shares, Party::Gateway), tables, action]
}

fn part(shares: &[Share], party: Party) -> Cell {
    let of = shares.iter().filter(|share| share.party == party.as_str());
    Cell::text(of.map(|share| amount(share.part, share.currency)).collect::<Vec<_>>().join(", "))
}

fn ask(period: Period, shares: &[Share], error: Option<String>) -> Confirm {
    let fact = |share: &Share| {
        let who = if share.party == Party::Operator.as_str() { "Operator" } else { "Gateway" };
        let (part, charged) = (amount(share.part, share.currency), amount(share.charged, share.currency));
        (who, format!("{part}, of {} charges ({charged}) and {} undone", share.charges, share.undone))
    };
    Confirm {
        section: crate::web::console::Section::Things,
        heading: format!("Settle {period}?"),
        facts: shares.iter().map(fact).collect(),
        happens: vec![
            "Every account's month is closed, with all before it that are open; what comes late is booked into the next.".to_owned(),
            "What operator and gateway each get is frozen. The authority's operator settles its own side, with the same figures."
                .to_owned(),
        ],
        fields: vec![],
        hidden: vec![],
        action: format!("/operator/settlement/{period}"),
        button: "Settle the month",
        danger: false,
        back: "/operator/settlement".to_owned(),
        error,
    }
}

fn month(text: &str) -> Result<Period, Problem> {
    text.parse().map_err(|_| ApiCode::NotFound.into())
}

async fn asked(desk: &Desk, by: &Operator, period: Period, error: Option<String>) -> Result<Response, Problem> {
    let shares = desk.db.read("operator's month", async move |tx: &mut Tx| of(tx, period).await).await?;
    ask(period, &shares, error).framed(frame(desk, by, Section::Settlement, None), draw_once(&desk.rng))
}

/// Asks before a month is settled, with what each gets.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn form(State(desk): State<Desk>, by: Operator, Path(period): Path<String>) -> Result<Response, Problem> {
    asked(&desk, &by, month(&period)?, None).await
}

/// Settles it; again, it changes nothing.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn settle(State(desk): State<Desk>, Path(period): Path<String>, Sent { by, .. }: Sent) -> Result<Response, Problem> {
    let period = month(&period)?;
    match settlement::settle(&desk.db, period, desk.clock.now()).await {
        Ok(_) => Ok(see_other("/operator/settlement?done=settled")),
        Err(SettleError::Db(error)) => Err(error.into()),
        Err(error) => asked(&desk, &by, period, Some(format!("{error}."))).await,
    }
}

/// Every line of a month as one party gets it, as CSV.
///
/// # Errors
/// `not_found`.
pub async fn table(State(desk): State<Desk>, _: Operator, Path((period, party)): Path<(String, String)>) -> Result<Response, Problem> {
    let period = month(&period)?;
    let (name, app) = (format!("{period}-{party}"), desk.app.clone());
    let cursor = |line: &SettledLine| line.posting.to_string();
    let read = move |after: String, most: i64| read(app.clone(), period, after, most);
    match party.as_str() {
        "operator" => whole(&name, COLUMNS, read, cursor, |line| line.cells(Party::Operator)),
        "gateway" => whole(&name, COLUMNS, read, cursor, |line| line.cells(Party::Gateway)),
        _ => Err(ApiCode::NotFound.into()),
    }
}

async fn read(app: App, period: Period, after: String, most: i64) -> Result<Vec<SettledLine>, DbError> {
    // What is no posting is the beginning.
    let after = after.parse().ok();
    app.db.read("settled lines", async move |tx: &mut Tx| settlement::lines(tx, period, after, most).await).await
}
