//! What gateways ask for themselves: certificates, prices, statements. What they exchange is `api/gateway.rs`.

use axum::Json;
use axum::extract::{Query, State};
use counterfoil_core::wire::{Enrol, Enrolled};

use super::Caller;
use crate::actions::gateways::{enrol, price, settle};
use crate::api::gateways::{PeriodQuery, PriceDocument, StatementDocument};
use crate::api::page::{Page, PageQuery};
use crate::app::App;
use crate::auth::Scope;
use crate::problem::{Body, Problem};

/// Gives a gateway its first certificate, for a one-time token. The same key again gets another, while the token lasts.
pub async fn enrol(State(app): State<App>, Body(asked): Body<Enrol>) -> Result<Json<Enrolled>, Problem> {
    Ok(Json(enrol::enrol(&app, asked).await?))
}

/// Gives a gateway its next certificate. The one that it asks with stays good.
pub async fn renew(State(app): State<App>, caller: Caller, Body(asked): Body<Enrol>) -> Result<Json<Enrolled>, Problem> {
    Ok(Json(enrol::renew(&app, caller, asked).await?))
}

/// What titles cost at the gateway that asks.
pub async fn prices(State(app): State<App>, caller: Caller, Query(query): Query<PageQuery>) -> Result<Json<Page<PriceDocument>>, Problem> {
    Ok(Json(price::list(&app, Scope::All, caller.gateway, query).await?))
}

/// What was charged through the gateway that asks in a month, as the authority has it.
pub async fn statement(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PeriodQuery>,
) -> Result<Json<StatementDocument>, Problem> {
    Ok(Json(StatementDocument { items: settle::statement(&app, caller.gateway, query.period).await? }))
}
