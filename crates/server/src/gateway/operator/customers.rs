//! `/operator/customers`: accounts by name, and one of them.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use counterfoil_core::{AccountId, Currency, Timestamp};

use super::visitor::Operator;
use super::{Desk, Section, frame, money};
use crate::clock::rfc3339;
use crate::db::{DbError, Tx};
use crate::gateway::ledger::{self, Balance, Period};
use crate::gateway::store::account::{self, AccountRow};
use crate::gateway::store::customer::{self, Wishes};
use crate::gateway::store::exchange::{self, ExchangeRow};
use crate::gateway::store::listed;
use crate::gateway::web::statement::{Asked as Which, Month, read as month};
use crate::gateway::web::words;
use crate::problem::{ApiCode, Problem};
use crate::web::console::Frame;
use crate::web::console::table::{Asked, Paged, Pager};
use crate::web::console::thing::{Cell, Find, Link, Panel, Table, Thing};
use crate::web::console::words::Chip;
use crate::web::page;

/// Exchanges and payments that are shown with an account.
const FEW: i64 = 20;

/// `/operator/customers`: those whose names begin with `q`.
///
/// # Errors
/// A failure of the database.
pub async fn list(State(desk): State<Desk>, by: Operator, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::new("/operator/customers", query.as_deref());
    let (beginning, after, most) = (asked.text("q").to_ascii_lowercase(), asked.after(), asked.rows());
    let read = async move |tx: &mut Tx| -> Result<_, DbError> {
        let mut rows = vec![];
        for row in customer::named(tx, &beginning, &after, most).await? {
            let held = ledger::balances(tx, row.id).await?;
            rows.push((row, held));
        }
        Ok(rows)
    };
    let found = desk.db.read("operator's customers", read).await?;
    let Paged { items, pager } = Paged::of(found, &asked, |(row, _): &(AccountRow, _)| row.name.clone());
    let rows = items.into_iter().map(|(row, held)| {
        vec![
            Cell::text(&row.name).to(format!("/operator/customers/{}", row.id)),
            Cell::text(balances(&held)),
            Cell::chip(state(&row)),
            Cell::at(&rfc3339(row.created_at)),
        ]
    });
    let table = Table {
        heading: "Accounts",
        columns: vec!["Name", "Can spend", "State", "Since"],
        rows: rows.collect(),
        empty: "There are none.",
        pager,
    };
    let find = Find { action: "/operator/customers", label: "Name, or its beginning", value: asked.text("q").to_owned() };
    let thing = Thing { kind: "People", heading: "Customers".to_owned(), find: Some(find), tables: vec![table], ..Thing::default() };
    thing.page(frame(&desk, &by, Section::Customers, query.as_deref()))
}

fn balances(held: &[(Currency, Balance)]) -> String {
    held.iter().map(|(currency, held)| words::available(*held, *currency).to_string()).collect::<Vec<_>>().join(", ")
}

fn state(row: &AccountRow) -> Chip {
    if row.closed_at.is_some() { Chip::bad("closed") } else { Chip::good("open") }
}

/// The account of an ID in a path.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub(super) async fn find(desk: &Desk, id: &str) -> Result<AccountRow, Problem> {
    let id: AccountId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let found = desk.db.read("operator's customer", async move |tx: &mut Tx| account::find(tx, id).await).await?;
    Ok(found.ok_or(ApiCode::NotFound)?)
}

/// What is shown of an account.
struct Whole {
    wishes: Wishes,
    held: Vec<(Currency, Balance)>,
    used_at: Option<Timestamp>,
    exchanges: Vec<ExchangeRow>,
    paid_in: Vec<listed::PaidIn>,
}

async fn whole(tx: &mut Tx, id: AccountId) -> Result<Whole, DbError> {
    let newest = (Timestamp(i64::MAX), "");
    Ok(Whole {
        wishes: customer::wishes(tx, id).await?,
        held: ledger::balances(tx, id).await?,
        used_at: customer::used_at(tx, id).await?,
        exchanges: exchange::of_account(tx, id, newest, FEW).await?,
        paid_in: listed::paid_in(tx, Some(id), newest, FEW).await?,
    })
}

/// `/operator/customers/{account}`
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn show(State(desk): State<Desk>, by: Operator, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let row = find(&desk, &id).await?;
    let id = row.id;
    let found = desk.db.read("operator's customer", async move |tx: &mut Tx| whole(tx, id).await).await?;
    let path = format!("/operator/customers/{id}");
    let mut actions = vec![Link::new("Statement", format!("{path}/statement"))];
    match row.closed_at {
        None => actions.extend([
            Link::new("Top up…", format!("{path}/top-up")),
            Link::new("New password…", format!("{path}/password")),
            Link::new("Close…", format!("{path}/close")),
        ]),
        Some(_) => actions.push(Link::new("Open again…", format!("{path}/open"))),
    }
    let thing = Thing {
        crumbs: vec![Link::new("Customers", "/operator/customers")],
        kind: "Account",
        heading: row.name.clone(),
        id: Some(id.to_string()),
        chips: vec![state(&row)],
        actions,
        panels: vec![about(&row, &found), held(&found.held)],
        tables: vec![
            super::exchanges::shown("Exchanges, newest first", &found.exchanges, Pager::default(), None),
            money::shown("Paid in, newest first", &found.paid_in, Pager::default(), false),
        ],
        ..Thing::default()
    };
    thing.page(frame(&desk, &by, Section::Customers, query.as_deref()))
}

fn about(row: &AccountRow, found: &Whole) -> Panel {
    let Wishes { email, receipts, low } = &found.wishes;
    let mut facts = vec![
        ("Since", Cell::at(&rfc3339(row.created_at))),
        ("Last seen", Cell::maybe_at(found.used_at.map(rfc3339).as_deref())),
        ("E-mail", Cell::some(email.clone())),
        ("Receipts by e-mail", Cell::text(if *receipts { "yes" } else { "no" })),
        ("Told below", Cell::some(low.map(|low| low.to_string()))),
    ];
    if let Some(at) = row.closed_at {
        facts.push(("Closed", Cell::at(&rfc3339(at))));
    }
    Panel { heading: "Account", facts }
}

fn held(held: &[(Currency, Balance)]) -> Panel {
    let facts = held.iter().map(|(currency, held)| {
        let bound = Cell::text(format!("{} bound by what is on its way", words::amount(held.reserved, *currency)));
        let can = Cell::text(words::available(*held, *currency).to_string());
        ("Can spend", if held.reserved > 0 { can.below(bound) } else { can })
    });
    Panel { heading: "Balance", facts: facts.collect() }
}

#[derive(Template)]
#[template(path = "gateway/operator-statement.html")]
struct StatementPage {
    frame: Frame,
    row: AccountRow,
    period: Period,
    before: Period,
    next: Option<Period>,
    months: Vec<Month>,
}

/// `/operator/customers/{account}/statement`
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn statement(
    State(desk): State<Desk>,
    by: Operator,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let row = find(&desk, &id).await?;
    let asked = Which::new(&desk, query.as_deref());
    let months = month(&desk, row.id, &asked).await?;
    let (before, next) = asked.beside(&desk);
    page(&StatementPage { frame: frame(&desk, &by, Section::Customers, None), row, period: asked.period, before, next, months })
}
