//! Accounts over HTTP (C16): made, signed in to, looked at.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use counterfoil_core::{AccountId, CardId, Currency, Money, RequestId, Timestamp, TitleId};
use serde::{Deserialize, Serialize};

use crate::actions::account::password::Given;
use crate::db::{DbError, Tx};
use crate::gateway::accounts::{self, SignedIn};
use crate::gateway::app::App;
use crate::gateway::auth::Caller;
use crate::gateway::ledger;
use crate::gateway::store::account::{self, Holder};
use crate::gateway::store::exchange::{self, ExchangeRow, State as Stands};
use crate::problem::{ApiCode, Body, Problem, ProblemDetails};

/// Exchanges on a page.
const PAGE: i64 = 100;

/// An account to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// 3 to 60 of `a-z 0-9 . _ - @`.
    name: String,
    /// 10 to 256 characters.
    password: String,
    /// Where to reach its owner.
    #[serde(default)]
    email: Option<String>,
}

/// What somebody signs in with.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The account's name.
    name: String,
    /// Its password.
    password: String,
}

/// Somebody is signed in.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Signed {
    /// The account.
    #[schema(value_type = String)]
    account: AccountId,
    /// Its name.
    name: String,
    /// `cga_…`, to be sent as `Authorization: Bearer`; shown once.
    token: String,
    /// When it ends unless it is used, in milliseconds since 1970.
    #[schema(value_type = i64)]
    expires_at: Timestamp,
}

impl From<SignedIn> for Signed {
    fn from(signed: SignedIn) -> Self {
        let SignedIn { account, name, token, expires_at } = signed;
        Self { account, name, token: token.reveal(), expires_at }
    }
}

/// Makes an account and signs in to it.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", operation_id = "make_account", request_body = New,
    responses((status = 201, body = Signed), (status = 403, body = ProblemDetails), (status = 409, body = ProblemDetails)))]
pub async fn make(State(app): State<App>, Body(new): Body<New>) -> Result<(StatusCode, Json<Signed>), Problem> {
    if !app.config.accounts.open {
        return Err(Problem::with(ApiCode::Forbidden, "accounts are made by this gateway's operator only"));
    }
    let (now, name) = (app.clock.now(), new.name.trim().to_ascii_lowercase());
    let id = accounts::make(&app.db, &app.rng, AccountId::from_bytes(app.rng.bytes()), &new.name, Given::new(new.password), new.email, now)
        .await?;
    let signed = accounts::let_in(&app, id, name, Holder::Terminal, now).await?.ok_or(ApiCode::Conflict)?;
    Ok((StatusCode::CREATED, Json(signed.into())))
}

/// Signs in with name and password.
#[utoipa::path(post, path = "/v1/accounts/sign-in", tag = "accounts", operation_id = "sign_in", request_body = SignIn,
    responses((status = 200, body = Signed), (status = 401, body = ProblemDetails)))]
pub async fn sign_in(State(app): State<App>, Body(given): Body<SignIn>) -> Result<Json<Signed>, Problem> {
    Ok(Json(accounts::sign_in(&app, &given.name, Given::new(given.password), Holder::Terminal).await?.into()))
}

/// Ends the token that is presented.
#[utoipa::path(post, path = "/v1/accounts/sign-out", tag = "accounts", operation_id = "sign_out", responses((status = 204)))]
pub async fn sign_out(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    accounts::sign_out(&app, caller.account.id, &caller.token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An account, as its owner sees it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Account {
    /// Which.
    #[schema(value_type = String)]
    account: AccountId,
    /// Its name.
    name: String,
    /// Where to reach its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// What it holds, a line a currency.
    balances: Vec<Balance>,
    /// The cards that have signed for it.
    cards: Vec<Card>,
}

/// What an account holds in a currency, in minor units.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Balance {
    #[schema(value_type = String)]
    currency: Currency,
    /// Paid in and not charged.
    posted: i64,
    /// Of that, bound by charges on their way.
    reserved: i64,
    /// What can be spent.
    available: i64,
}

/// A card that has signed for an account.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Card {
    #[schema(value_type = String)]
    card_id: CardId,
    /// When it did first, in milliseconds since 1970.
    #[schema(value_type = i64)]
    first_at: Timestamp,
}

/// Name, balances and cards of the account that asks.
#[utoipa::path(get, path = "/v1/account", tag = "accounts", operation_id = "account", responses((status = 200, body = Account)))]
pub async fn show(State(app): State<App>, caller: Caller) -> Result<Json<Account>, Problem> {
    let id = caller.account.id;
    let held = async move |tx: &mut Tx| -> Result<_, DbError> { Ok((ledger::balances(tx, id).await?, account::cards(tx, id).await?)) };
    let (balances, cards) = app.db.read("account", held).await?;
    let balance = |(currency, held): (Currency, ledger::Balance)| Balance {
        currency,
        posted: held.posted,
        reserved: held.reserved,
        available: held.available(),
    };
    Ok(Json(Account {
        account: id,
        name: caller.account.name,
        email: caller.account.email,
        balances: balances.into_iter().map(balance).collect(),
        cards: cards.into_iter().map(|(card_id, first_at)| Card { card_id, first_at }).collect(),
    }))
}

/// Where to go on.
#[derive(Deserialize, utoipa::IntoParams)]
pub struct After {
    /// `next` of the page before.
    after: Option<String>,
}

/// A page of exchanges, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Exchanges {
    exchanges: Vec<Exchange>,
    /// Where to go on, where there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// An exchange that was or would have been charged.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Exchange {
    #[schema(value_type = String)]
    exchange_id: RequestId,
    /// `offered`, `reserved`, `committing`, `charged`, `voided`, `lapsed`, `undoing` or `undone`.
    #[schema(value_type = String)]
    state: Stands,
    #[schema(value_type = String)]
    title: TitleId,
    /// The title's name.
    name: String,
    #[schema(value_type = Object)]
    price: Money,
    #[schema(value_type = i64)]
    created_at: Timestamp,
    #[schema(value_type = i64)]
    changed_at: Timestamp,
}

impl From<ExchangeRow> for Exchange {
    fn from(row: ExchangeRow) -> Self {
        let ExchangeRow { id, state, charge, created_at, changed_at, .. } = row;
        Self { exchange_id: id, state, title: charge.title, name: charge.name, price: charge.price, created_at, changed_at }
    }
}

/// Exchanges of the account that asks, newest first.
#[utoipa::path(get, path = "/v1/account/exchanges", tag = "accounts", operation_id = "account_exchanges", params(After),
    responses((status = 200, body = Exchanges)))]
pub async fn exchanges(State(app): State<App>, caller: Caller, Query(After { after }): Query<After>) -> Result<Json<Exchanges>, Problem> {
    let id = caller.account.id;
    let (at, before) = match after.as_deref().map(cursor) {
        None => (Timestamp(i64::MAX), String::new()),
        Some(read) => read.ok_or_else(|| Problem::with(ApiCode::InvalidRequest, "`after` is no `next` of a page"))?,
    };
    let list = async move |tx: &mut Tx| exchange::of_account(tx, id, (at, &before), PAGE).await;
    let rows = app.db.read("account's exchanges", list).await?;
    let full = rows.len() as u64 >= PAGE.unsigned_abs();
    let next = rows.last().filter(|_| full).map(|last| format!("{}.{}", last.created_at.0, last.id));
    Ok(Json(Exchanges { exchanges: rows.into_iter().map(Exchange::from).collect(), next }))
}

fn cursor(text: &str) -> Option<(Timestamp, String)> {
    let (at, id) = text.split_once('.')?;
    Some((Timestamp(at.parse().ok()?), id.to_owned()))
}
