//! `/account/exchanges`: what was charged to an account, and the receipt of each, to be printed.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use counterfoil_core::{Money, RequestId, Timestamp};

use super::visitor::Person;
use super::{Section, layout, words};
use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::statement::{self, Receipt};
use crate::gateway::store::exchange::{self, ExchangeRow};
use crate::problem::{ApiCode, Problem};
use crate::web::console::table::{Asked, Paged, Pager};
use crate::web::{Layout, page, written};

struct Row {
    id: String,
    name: String,
    at: String,
    state: &'static str,
    price: Money,
}

#[derive(Template)]
#[template(path = "gateway/exchanges.html")]
struct ListPage {
    layout: Layout,
    rows: Vec<Row>,
    pager: Pager,
}

/// Where a page begins; the newest where that cannot be read.
pub(in crate::gateway) fn place(after: &str) -> (Timestamp, String) {
    let read = after.split_once('.').and_then(|(at, id)| Some((Timestamp(at.parse().ok()?), id.to_owned())));
    read.unwrap_or((Timestamp(i64::MAX), String::new()))
}

/// `/account/exchanges`
///
/// # Errors
/// A failure of the database.
pub async fn list(State(app): State<App>, by: Person, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::new("/account/exchanges", query.as_deref());
    let (id, (at, before), most) = (by.account.id, place(&asked.after()), asked.rows());
    let found = app.db.read("exchanges' page", async move |tx: &mut Tx| exchange::of_account(tx, id, (at, &before), most).await).await?;
    let Paged { items, pager } = Paged::of(found, &asked, |row: &ExchangeRow| format!("{}.{}", row.created_at.0, row.id));
    let rows = items.into_iter().map(|row| Row {
        id: row.id.to_string(),
        name: row.charge.name,
        at: written::day(row.created_at),
        state: words::state(row.state),
        price: row.charge.price,
    });
    page(&ListPage { layout: layout(&app, Section::Receipts, Some(&by.account.name)), rows: rows.collect(), pager })
}

#[derive(Template)]
#[template(path = "gateway/receipt.html")]
struct ReceiptPage<'a> {
    layout: Layout,
    seller: &'a str,
    account: &'a str,
    exchange: String,
    row: &'a ExchangeRow,
    state: &'static str,
    begun: String,
    receipt: Option<Shown>,
}

/// What was charged.
struct Shown {
    posting: String,
    charged: String,
    undone: Option<String>,
}

impl From<Receipt> for Shown {
    fn from(receipt: Receipt) -> Self {
        let undone = receipt.undone.map(|(at, how)| match how {
            "chargeback" => format!("ended {}, because the bank took a payment back", written::moment(at)),
            _ => format!("given back {}", written::moment(at)),
        });
        Self { posting: receipt.posting.to_string(), charged: written::moment(receipt.charged_at), undone }
    }
}

/// `/account/exchanges/{exchange}`
///
/// # Errors
/// `not_found`, also for what was charged to somebody else; or a failure of the database.
pub async fn show(State(app): State<App>, by: Person, Path(exchange): Path<String>) -> Result<Response, Problem> {
    let (id, exchange) = (by.account.id, exchange.parse().map(RequestId).map_err(|_| ApiCode::NotFound)?);
    let read = async move |tx: &mut Tx| -> Result<_, DbError> {
        let row = exchange::find(tx, exchange).await?.filter(|row| row.account == id);
        Ok((row, statement::receipt(tx, id, exchange).await?))
    };
    let (row, receipt) = app.db.read("receipt's page", read).await?;
    let row = row.ok_or(ApiCode::NotFound)?;
    page(&ReceiptPage {
        layout: layout(&app, Section::Receipts, Some(&by.account.name)),
        seller: &app.config.server.name,
        account: &by.account.name,
        exchange: exchange.to_string(),
        state: words::state(row.state),
        begun: written::moment(row.created_at),
        row: &row,
        receipt: receipt.map(Shown::from),
    })
}
