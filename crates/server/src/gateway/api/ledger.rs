//! What an account holds and was charged, over HTTP (C17): statements, receipts, vouchers.

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::{Currency, Money, PostingId, RequestId, Timestamp, TitleId};
use serde::{Deserialize, Serialize};

use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::auth::Caller;
use crate::gateway::ledger::{self, Period};
use crate::gateway::statement::{self, Line, PAGE};
use crate::gateway::vouchers;
use crate::problem::{ApiCode, Body, Problem, ProblemDetails};

/// Which part of which statement.
#[derive(Deserialize, utoipa::IntoParams)]
pub struct Which {
    /// A month, in UTC: `2026-11`. Without: this one.
    period: Option<String>,
    /// `next` of the page before, with its currency.
    after: Option<i64>,
    /// Only this currency.
    currency: Option<String>,
}

/// A month of the account that asks.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Statements {
    /// Which month.
    #[schema(value_type = String)]
    period: Period,
    /// One for each currency that the account ever held.
    statements: Vec<Statement>,
}

/// A month in one currency; amounts in minor units.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Statement {
    #[schema(value_type = String)]
    currency: Currency,
    /// Held when the month began.
    opening: i64,
    /// Held at its end; now, while it is open.
    closing: i64,
    /// When it was closed, in milliseconds since 1970; from then on nothing in it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    closed_at: Option<Timestamp>,
    /// Top-ups, charges, and what was given or taken back, in order.
    #[schema(value_type = Vec<Object>)]
    lines: Vec<Line>,
    /// Where to go on, where there may be more lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// Opening, lines and closing of a month.
#[utoipa::path(get, path = "/v1/account/statement", tag = "accounts", operation_id = "account_statement", params(Which),
    responses((status = 200, body = Statements), (status = 400, body = ProblemDetails)))]
pub async fn statement(State(app): State<App>, caller: Caller, Query(which): Query<Which>) -> Result<Json<Statements>, Problem> {
    let period: Period = match which.period {
        None => Period::of(app.clock.now()),
        Some(text) => text.parse().map_err(|error| Problem::with(ApiCode::InvalidRequest, format!("`period`: {error}")))?,
    };
    let only: Option<Currency> = which
        .currency
        .map(|text| text.parse())
        .transpose()
        .map_err(|error: counterfoil_core::money::MoneyError| Problem::with(ApiCode::InvalidRequest, format!("`currency`: {error}")))?;
    let (account, after) = (caller.account.id, which.after.unwrap_or_default());
    let read = async move |tx: &mut Tx| -> Result<_, DbError> {
        let mut statements = vec![];
        for found in statement::of(tx, account, period).await?.into_iter().filter(|found| only.is_none_or(|only| only == found.currency)) {
            let lines = statement::lines(tx, account, found.currency, period, after).await?;
            let next = lines.last().filter(|_| lines.len() == PAGE).map(|line| line.number);
            let statement::Statement { currency, opening, closing, closed_at, .. } = found;
            statements.push(Statement { currency, opening, closing, closed_at, lines, next });
        }
        Ok(statements)
    };
    Ok(Json(Statements { period, statements: app.db.read("statement", read).await? }))
}

/// A receipt.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Receipt {
    #[schema(value_type = String)]
    exchange_id: RequestId,
    /// The posting of the charge.
    #[schema(value_type = String)]
    posting: PostingId,
    /// Who was charged.
    account: String,
    #[schema(value_type = String)]
    title: TitleId,
    /// The title's name.
    name: String,
    #[schema(value_type = Object)]
    price: Money,
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    charged_at: Timestamp,
    /// When it was undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    undone_at: Option<Timestamp>,
    /// How: `refund` or `chargeback`.
    #[serde(skip_serializing_if = "Option::is_none")]
    undone: Option<&'static str>,
}

/// What was charged for an exchange.
#[utoipa::path(get, path = "/v1/account/charges/{exchange}", tag = "accounts", operation_id = "account_charge",
    params(("exchange" = String, Path, description = "The exchange")), responses((status = 200, body = Receipt), (status = 404, body = ProblemDetails)))]
pub async fn charge(State(app): State<App>, caller: Caller, Path(exchange_id): Path<RequestId>) -> Result<Json<Receipt>, Problem> {
    let account = caller.account.id;
    let found = app.db.read("receipt", async move |tx: &mut Tx| statement::receipt(tx, account, exchange_id).await).await?;
    let statement::Receipt { posting, charged_at, title, name, price, undone } = found.ok_or(ApiCode::NotFound)?;
    let (undone_at, undone) = undone.unzip();
    Ok(Json(Receipt { exchange_id, posting, account: caller.account.name, title, name, price, charged_at, undone_at, undone }))
}

/// A voucher that was bought.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redeem {
    /// As it is written on it.
    code: String,
}

/// A voucher was redeemed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Redeemed {
    /// What it was worth.
    #[schema(value_type = Object)]
    amount: Money,
    /// What can be spent now.
    #[schema(value_type = Object)]
    balance: Money,
}

/// Redeems a voucher. The same code again by the same account answers the same.
#[utoipa::path(post, path = "/v1/account/vouchers", tag = "accounts", operation_id = "redeem_voucher", request_body = Redeem,
    responses((status = 200, body = Redeemed), (status = 422, body = ProblemDetails), (status = 429, body = ProblemDetails)))]
pub async fn redeem(State(app): State<App>, caller: Caller, Body(Redeem { code }): Body<Redeem>) -> Result<Json<Redeemed>, Problem> {
    let account = caller.account.id;
    let amount = vouchers::redeem(&app.db, account, &code, app.clock.now(), &app.rng).await?;
    let held = app.db.read("balance", async move |tx: &mut Tx| ledger::balance(tx, account, &amount.currency).await).await?;
    Ok(Json(Redeemed { amount, balance: Money { amount: held.available().unsigned_abs(), currency: amount.currency } }))
}
