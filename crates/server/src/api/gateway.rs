//! `/v1/gateway/exchanges`, on the private listener: what a gateway and the authority say to each other about a charge (C16, C17).
//!
//! No Idempotency-Key here: an exchange's ID is one, for good.

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::wire::{ExchangeRecords, Prepare, Step, Undo};
use counterfoil_core::{RequestId, Timestamp};
use serde::Deserialize;

use crate::actions::gateway;
use crate::app::App;
use crate::gateways::Caller;
use crate::problem::{ApiCode, Body, Problem};

/// Why a gateway gives an exchange up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    /// For the record.
    #[serde(default)]
    reason: String,
}

/// Where a list begins.
#[derive(Deserialize)]
pub struct After {
    /// `next` of the page before.
    after: Option<String>,
}

/// Decides what a terminal wants, and says what it would cost.
pub async fn prepare(State(app): State<App>, caller: Caller, Body(ask): Body<Prepare>) -> Result<Json<Step>, Problem> {
    gateway::prepare(&app, &caller, &ask).await.map(Json)
}

/// Where an exchange stands.
pub async fn find(State(app): State<App>, caller: Caller, Path(exchange): Path<String>) -> Result<Json<Step>, Problem> {
    gateway::look(&app, &caller, id(&exchange)?).await.map(Json)
}

/// Carries an exchange out.
pub async fn commit(
    State(app): State<App>,
    caller: Caller,
    Path(exchange): Path<String>,
    Body(ask): Body<Prepare>,
) -> Result<Json<Step>, Problem> {
    if id(&exchange)? != ask.exchange_id {
        return Err(Problem::with(ApiCode::Unprocessable, "the address and the body name two exchanges"));
    }
    gateway::commit(&app, &caller, &ask).await.map(Json)
}

/// Gives an exchange up.
pub async fn abort(
    State(app): State<App>,
    caller: Caller,
    Path(exchange): Path<String>,
    Body(ask): Body<Abort>,
) -> Result<Json<Step>, Problem> {
    gateway::abort(&app, &caller, id(&exchange)?, &ask.reason).await.map(Json)
}

/// Ends what an exchange paid for.
pub async fn undo(
    State(app): State<App>,
    caller: Caller,
    Path(exchange): Path<String>,
    Body(ask): Body<Undo>,
) -> Result<Json<Step>, Problem> {
    gateway::undo(&app, &caller, id(&exchange)?, &ask).await.map(Json)
}

/// What has become of the gateway's exchanges.
pub async fn changes(State(app): State<App>, caller: Caller, Query(query): Query<After>) -> Result<Json<ExchangeRecords>, Problem> {
    gateway::changes(&app, &caller, query.after.as_deref()).await.map(Json)
}

/// Since when.
#[derive(Deserialize)]
pub struct Since {
    /// From then on.
    since: Timestamp,
    /// `next` of the page before.
    after: Option<String>,
}

/// What was given back of the gateway's exchanges.
pub async fn refunds(State(app): State<App>, caller: Caller, Query(query): Query<Since>) -> Result<Json<ExchangeRecords>, Problem> {
    gateway::refunds(&app, &caller, query.since, query.after.as_deref()).await.map(Json)
}

/// Which exchanges are compared.
#[derive(Deserialize)]
pub struct Compared {
    /// `next` of the page before.
    after: Option<String>,
    /// Prepared then or later.
    from: Option<Timestamp>,
    /// Prepared before then.
    until: Option<Timestamp>,
}

/// All exchanges of the gateway, in the order of their IDs.
pub async fn compared(State(app): State<App>, caller: Caller, Query(query): Query<Compared>) -> Result<Json<ExchangeRecords>, Problem> {
    let during = query.from.unwrap_or(Timestamp(i64::MIN))..query.until.unwrap_or(Timestamp(i64::MAX));
    gateway::by_id(&app, &caller, query.after.as_deref(), during).await.map(Json)
}

fn id(text: &str) -> Result<RequestId, Problem> {
    text.parse().map(RequestId).map_err(|_| ApiCode::NotFound.into())
}
