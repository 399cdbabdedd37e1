//! `/operator/books`: what each book holds, what waits too long, and what the last check has found.

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::visitor::{Operator, Sent};
use super::{Desk, Section, frame};
use crate::clock::rfc3339;
use crate::db::{DbError, Tx};
use crate::gateway::books::{self, Overdue, Totals};
use crate::gateway::web::words::amount;
use crate::problem::Problem;
use crate::web::console::confirm::Confirm;
use crate::web::console::staff::draw_once;
use crate::web::console::table::Pager;
use crate::web::console::thing::{Cell, Link, Notice, Table, Thing};
use crate::web::visitor::{Fields, see_other};

/// `/operator/books`; `check` in the query asks whether to check them now.
///
/// # Errors
/// A failure of the database.
pub async fn show(State(desk): State<Desk>, by: Operator, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let around = frame(&desk, &by, Section::Books, query.as_deref());
    if Fields::parse(query.as_deref().unwrap_or_default().as_bytes()).text("check") == "now" {
        return ask().framed(around, draw_once(&desk.rng));
    }
    let now = desk.clock.now();
    let read = async move |tx: &mut Tx| -> Result<_, DbError> {
        Ok((books::totals(tx).await?, books::overdue(tx, now).await?, books::last_check(tx).await?))
    };
    let (totals, overdue, checked) = desk.db.read("operator's books", read).await?;
    let (tone, text) = match checked {
        None => ("warn", "The books were not checked yet.".to_owned()),
        Some(books::Checked { at, wrong: 0, .. }) => ("good", format!("Checked {}: nothing is wrong.", crate::web::written::moment(at))),
        Some(books::Checked { at, wrong, first }) => {
            let first = first.unwrap_or_default();
            ("bad", format!("Checked {}: wrong in {wrong} places, the first: {first}.", crate::web::written::moment(at)))
        }
    };
    let thing = Thing {
        kind: "Money",
        heading: "Books".to_owned(),
        actions: vec![Link::new("Check now…", "/operator/books?check=now")],
        notices: vec![Notice { tone, text, link: None }],
        tables: vec![totalled(&totals), waiting(&overdue)],
        ..Thing::default()
    };
    thing.page(around)
}

fn totalled(totals: &[Totals]) -> Table {
    let columns = vec!["Currency", "Customers", "Reserved of it", "Operator", "Gateway", "Cash", "Fees", "Vouchers", "Postings"];
    let rows = totals.iter().map(|of| {
        let money = |held: i64| Cell::text(amount(held, of.currency));
        let all = [of.customers, of.reserved, of.operator, of.gateway, of.cash, of.fees, of.vouchers].map(money);
        std::iter::once(Cell::text(of.currency.to_string())).chain(all).chain([Cell::text(of.postings.to_string())]).collect()
    });
    Table { heading: "What each book holds", columns, rows: rows.collect(), empty: "Nothing was booked.", pager: Pager::default() }
}

fn waiting(overdue: &[Overdue]) -> Table {
    let rows = overdue.iter().map(|one| {
        let exchange = one.exchange.map_or_else(|| Cell::text(""), |id| Cell::id(id).to(format!("/operator/exchanges/{id}")));
        vec![
            Cell::text(amount(one.amount, one.currency)),
            exchange,
            Cell::some(one.state.clone()),
            Cell::id(one.account).to(format!("/operator/customers/{}", one.account)),
            Cell::at(&rfc3339(one.booked_at)),
        ]
    });
    let columns = vec!["Reserved", "Exchange", "State", "Account", "Since"];
    Table {
        heading: "Waits longer than its exchange allows",
        columns,
        rows: rows.collect(),
        empty: "Nothing does.",
        pager: Pager::default(),
    }
}

fn ask() -> Confirm {
    Confirm {
        section: crate::web::console::Section::Things,
        heading: "Check the books now?".to_owned(),
        facts: vec![],
        happens: vec![
            "Everything is added up again from the journal, while the gateway goes on.".to_owned(),
            "With a million postings that takes the database some time.".to_owned(),
        ],
        fields: vec![],
        hidden: vec![],
        action: "/operator/books".to_owned(),
        button: "Check",
        danger: false,
        back: "/operator/books".to_owned(),
        error: None,
    }
}

/// Checks them.
///
/// # Errors
/// A failure of the database.
pub async fn check(State(desk): State<Desk>, Sent { .. }: Sent) -> Result<Response, Problem> {
    books::check_and_note(&desk.db, desk.clock.now()).await?;
    Ok(see_other("/operator/books?done=checked"))
}
