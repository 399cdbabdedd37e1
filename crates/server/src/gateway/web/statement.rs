//! `/account/statement`: a month of an account, to be printed.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use counterfoil_core::{AccountId, Currency};

use super::visitor::Person;
use super::{Section, layout, words};
use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::ledger::Period;
use crate::gateway::statement::{self, Line, PAGE};
use crate::problem::Problem;
use crate::web::visitor::Fields;
use crate::web::{Layout, page, written};

/// A month in one currency, as pages show it.
pub struct Month {
    /// Which currency.
    pub currency: Currency,
    /// Held when it began.
    pub opening: String,
    /// Held at its end, or now.
    pub closing: String,
    /// When it was closed.
    pub closed: Option<String>,
    /// Its lines.
    pub lines: Vec<Shown>,
    /// Where its next lines are, where there are more.
    pub next: Option<String>,
}

/// A line.
pub struct Shown {
    /// When.
    pub at: String,
    /// What.
    pub kind: &'static str,
    /// What for, or where from.
    pub about: String,
    /// The exchange that it belongs to.
    pub exchange: Option<String>,
    /// What it adds.
    pub amount: String,
    /// What was held then.
    pub balance: String,
}

/// What of which month is asked for.
pub struct Asked {
    /// Which.
    pub period: Period,
    after: i64,
    only: Option<Currency>,
}

impl Asked {
    /// Reads a query; this month where it names none.
    pub fn new(app: &App, query: Option<&str>) -> Self {
        let fields = Fields::parse(query.unwrap_or_default().as_bytes());
        Self {
            period: fields.text("period").parse().unwrap_or_else(|_| Period::of(app.clock.now())),
            after: fields.text("after").parse().unwrap_or_default(),
            only: fields.text("currency").parse().ok(),
        }
    }

    /// The month before, and the one after where it has begun.
    pub fn beside(&self, app: &App) -> (Period, Option<Period>) {
        (self.period.before(), Some(self.period.next()).filter(|next| *next <= Period::of(app.clock.now())))
    }
}

/// Reads a month of an account, in every currency that it ever held.
///
/// # Errors
/// A failure of the database.
pub async fn read(app: &App, account: AccountId, asked: &Asked) -> Result<Vec<Month>, DbError> {
    let Asked { period, after, only } = *asked;
    let read = async move |tx: &mut Tx| -> Result<Vec<Month>, DbError> {
        let mut months = vec![];
        for found in statement::of(tx, account, period).await?.into_iter().filter(|found| only.is_none_or(|only| only == found.currency)) {
            let lines = statement::lines(tx, account, found.currency, period, after).await?;
            let currency = found.currency;
            let next = lines.last().filter(|_| lines.len() == PAGE);
            months.push(Month {
                currency,
                opening: statement::signed(found.opening, currency),
                closing: statement::signed(found.closing, currency),
                closed: found.closed_at.map(written::day),
                next: next.map(|line| format!("?period={period}&currency={currency}&after={}", line.number)),
                lines: lines.into_iter().map(|line| shown(line, currency)).collect(),
            });
        }
        Ok(months)
    };
    app.db.read("statement's page", read).await
}

fn shown(line: Line, currency: Currency) -> Shown {
    Shown {
        at: written::day(line.at),
        kind: words::kind(line.kind),
        about: line.name.unwrap_or(line.note),
        exchange: line.exchange.map(|id| id.to_string()),
        amount: statement::signed(line.amount, currency),
        balance: statement::signed(line.balance, currency),
    }
}

#[derive(Template)]
#[template(path = "gateway/statement.html")]
struct StatementPage {
    layout: Layout,
    account: String,
    period: Period,
    before: Period,
    next: Option<Period>,
    months: Vec<Month>,
}

/// `/account/statement`
///
/// # Errors
/// A failure of the database.
pub async fn show(State(app): State<App>, by: Person, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::new(&app, query.as_deref());
    let months = read(&app, by.account.id, &asked).await?;
    let (before, next) = asked.beside(&app);
    let layout = layout(&app, Section::Statement, Some(&by.account.name));
    page(&StatementPage { layout, account: by.account.name, period: asked.period, before, next, months })
}
