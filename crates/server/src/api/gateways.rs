//! `/v1/gateways`: resellers' servers, what they may charge, and what comes of it (C16–C18).

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::{Currency, GatewayId, Money, Timestamp, TitleId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, PageQuery, rfc3339};
use crate::actions::gateways::{self, enrol, price, settle};
use crate::app::App;
use crate::auth::Caller;
use crate::gateway::ledger::Period;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::gateway::Gateway;
use crate::store::gateway::price::PriceRow;
use crate::store::gateway::settlement::{Sales, Settlement};

pub mod terms;

/// A gateway to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGateway {
    /// For people; no two have the same.
    pub name: String,
    /// Its share of every price, in hundredths of a percent: 3000 is 30 %. The rest is the operator's, with what is lost by rounding.
    #[schema(minimum = 0, maximum = 10000)]
    pub share: u32,
    /// Whether titles that have a price there are charged for whenever they are copied through it. Otherwise only from media whose key is paid
    /// for when it is copied.
    #[serde(default)]
    pub every_copy: bool,
}

/// A gateway.
#[derive(Serialize, ToSchema)]
pub struct GatewayDocument {
    /// Its ID.
    #[schema(value_type = String)]
    pub gateway: GatewayId,
    /// For people.
    pub name: String,
    /// Its share of every price, in hundredths of a percent.
    pub share: u32,
    /// Whether every copy through it is charged for.
    pub every_copy: bool,
    /// Since when.
    pub created_at: String,
    /// Until when it is let in as things are: the end of the certificate that it got last; null where it was not enrolled yet.
    pub certificate_until: Option<String>,
    /// Since when it is let in no more.
    pub ended_at: Option<String>,
}

impl GatewayDocument {
    /// A gateway, with the end of its last certificate.
    pub fn of(gateway: Gateway, certificate: Option<Timestamp>) -> Self {
        Self {
            gateway: gateway.id,
            name: gateway.name,
            share: gateway.share,
            every_copy: gateway.every_copy,
            created_at: rfc3339(gateway.created_at.0),
            certificate_until: certificate.map(|at| rfc3339(at.0)),
            ended_at: gateway.ended_at.map(|at| rfc3339(at.0)),
        }
    }
}

/// What lets a gateway in once. It is shown this one time.
#[derive(Serialize, ToSchema)]
pub struct EnrolTokenDocument {
    /// For `counterfoild gateway enrol`. It says by which certificate the authority is known, too.
    #[schema(example = "cge_gwy-…_…_…")]
    pub token: String,
    /// Until when.
    pub expires_at: String,
}

/// What a title is to cost at a gateway.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPrice {
    /// In minor units, such as cents.
    #[schema(minimum = 1)]
    pub amount: u64,
    /// ISO 4217.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
}

/// What a title costs at a gateway.
#[derive(Serialize, ToSchema)]
pub struct PriceDocument {
    /// Which.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// Its name.
    pub name: String,
    /// In minor units.
    pub amount: u64,
    /// ISO 4217.
    #[schema(value_type = String)]
    pub currency: Currency,
}

impl From<PriceRow> for PriceDocument {
    fn from(row: PriceRow) -> Self {
        Self { title: row.title, name: row.name, amount: row.price.amount, currency: row.price.currency }
    }
}

/// Which price.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PriceQuery {
    /// ISO 4217; all of the title's where it is not said.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub currency: Option<Currency>,
}

/// Which month.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PeriodQuery {
    /// A calendar month in UTC.
    #[param(value_type = String, example = "2026-11")]
    pub period: Period,
}

/// What one title brought in one currency in a month. Amounts in minor units; less than nothing where more was given back than charged.
#[derive(Serialize, ToSchema)]
pub struct SoldDocument {
    /// The month.
    #[schema(value_type = String)]
    pub period: Period,
    /// Of what.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// Its name.
    pub name: String,
    /// ISO 4217.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// How many charges.
    pub charges: i64,
    /// How many were given back in that month, whenever they were charged.
    pub refunds: i64,
    /// Charged, less given back.
    pub amount: i64,
    /// The gateway's part of that.
    pub gateway_part: i64,
    /// The operator's part: what the gateway owes.
    pub operator_part: i64,
}

impl SoldDocument {
    /// A line of a month's statement.
    pub fn of(period: Period, sales: Sales) -> Self {
        let Sales { title, name, currency, figures } = sales;
        Self {
            period,
            title,
            name,
            currency,
            charges: figures.charges,
            refunds: figures.refunds,
            amount: figures.amount,
            gateway_part: figures.share,
            operator_part: figures.amount - figures.share,
        }
    }
}

/// A month's statement, by currency and title.
#[derive(Serialize, ToSchema)]
pub struct StatementDocument {
    /// What was sold.
    pub items: Vec<SoldDocument>,
}

/// A month to be closed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSettlement {
    /// A calendar month in UTC that is over.
    #[schema(value_type = String, example = "2026-11")]
    pub period: Period,
}

/// A closed month in one currency. Amounts in minor units.
#[derive(Serialize, ToSchema)]
pub struct SettlementDocument {
    /// The month.
    #[schema(value_type = String)]
    pub period: Period,
    /// ISO 4217; null where nothing was charged or given back in the month at all.
    #[schema(value_type = Option<String>)]
    pub currency: Option<Currency>,
    /// How many charges.
    pub charges: i64,
    /// How many were given back in that month.
    pub refunds: i64,
    /// Charged, less given back.
    pub amount: i64,
    /// The gateway's part of that.
    pub gateway_part: i64,
    /// The operator's part: what the gateway owes.
    pub operator_part: i64,
    /// When it was closed.
    pub closed_at: String,
}

impl From<Settlement> for SettlementDocument {
    fn from(row: Settlement) -> Self {
        let Settlement { period, currency, figures, closed_at } = row;
        Self {
            period,
            currency,
            charges: figures.charges,
            refunds: figures.refunds,
            amount: figures.amount,
            gateway_part: figures.share,
            operator_part: figures.amount - figures.share,
            closed_at: rfc3339(closed_at.0),
        }
    }
}

/// Makes a gateway known. It is let in once it is enrolled, with a token of `/v1/gateways/{gateway}/token`.
#[utoipa::path(
    post, path = "/v1/gateways", tag = "gateways", operation_id = "add_gateway", request_body = NewGateway,
    responses((status = 201, body = GatewayDocument), (status = 409), (status = 422)),
)]
pub async fn create(State(app): State<App>, caller: Caller, once: Once, Body(new): Body<NewGateway>) -> Result<Reply, Problem> {
    gateways::create(&app, &caller, &once, new).await
}

/// Gateways, ended ones included.
#[utoipa::path(
    get, path = "/v1/gateways", tag = "gateways", operation_id = "list_gateways", params(PageQuery),
    responses((status = 200, body = Page<GatewayDocument>)),
)]
pub async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> Result<Json<Page<GatewayDocument>>, Problem> {
    Ok(Json(gateways::list(&app, query).await?))
}

/// A gateway.
#[utoipa::path(
    get, path = "/v1/gateways/{gateway}", tag = "gateways", operation_id = "get_gateway",
    params(("gateway" = String, Path, description = "Its ID")),
    responses((status = 200, body = GatewayDocument), (status = 404)),
)]
pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<GatewayDocument>, Problem> {
    Ok(Json(gateways::get(&app, parsed(&id)?).await?))
}

/// Ends a gateway: it is let in no more from this moment on, and what it has open breaks off within seconds. What was charged stays.
///
/// A token that is made after that lets it in again.
#[utoipa::path(
    delete, path = "/v1/gateways/{gateway}", tag = "gateways", operation_id = "end_gateway",
    params(("gateway" = String, Path, description = "Its ID")),
    responses((status = 204, description = "It is ended"), (status = 404)),
)]
pub async fn end(State(app): State<App>, caller: Caller, once: Once, Path(id): Path<String>) -> Result<Reply, Problem> {
    gateways::end(&app, &caller, &once, parsed(&id)?).await
}

/// Makes a token that lets the gateway in once within seven days, in the place of one that was not used. Certificates that it has stay good.
///
/// One that has ended is let in again by enrolling with it.
#[utoipa::path(
    post, path = "/v1/gateways/{gateway}/token", tag = "gateways", operation_id = "make_gateway_token",
    params(("gateway" = String, Path, description = "Its ID")),
    responses((status = 201, body = EnrolTokenDocument), (status = 404)),
)]
pub async fn token(State(app): State<App>, caller: Caller, once: Once, Path(id): Path<String>) -> Result<Reply, Problem> {
    enrol::token(&app, &caller, &once, parsed(&id)?).await
}

/// What titles cost at a gateway; publishers see their own.
#[utoipa::path(
    get, path = "/v1/gateways/{gateway}/prices", tag = "gateways", operation_id = "list_gateway_prices",
    params(("gateway" = String, Path, description = "Its ID"), PageQuery),
    responses((status = 200, body = Page<PriceDocument>), (status = 404)),
)]
pub async fn prices(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<PriceDocument>>, Problem> {
    Ok(Json(price::list(&app, caller.scope(), parsed(&id)?, query).await?))
}

/// Sets what a title costs at a gateway in one currency. What was prepared before is still charged at the price that was told.
#[utoipa::path(
    put, path = "/v1/gateways/{gateway}/prices/{title}", tag = "gateways", operation_id = "set_gateway_price", request_body = NewPrice,
    params(("gateway" = String, Path, description = "Its ID"), ("title" = String, Path, description = "Which title")),
    responses((status = 200, body = PriceDocument), (status = 404), (status = 409), (status = 422)),
)]
pub async fn put_price(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((id, title)): Path<(String, String)>,
    Body(new): Body<NewPrice>,
) -> Result<Reply, Problem> {
    let title = title.parse().map_err(|_| ApiCode::NotFound)?;
    price::put(&app, &caller, &once, parsed(&id)?, title, Money { amount: new.amount, currency: new.currency }).await
}

/// Takes a price away, or all of the title's: it is not sold there any more.
#[utoipa::path(
    delete, path = "/v1/gateways/{gateway}/prices/{title}", tag = "gateways", operation_id = "remove_gateway_price",
    params(("gateway" = String, Path, description = "Its ID"), ("title" = String, Path, description = "Which title"), PriceQuery),
    responses((status = 204, description = "It has none any more"), (status = 404)),
)]
pub async fn remove_price(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((id, title)): Path<(String, String)>,
    Query(query): Query<PriceQuery>,
) -> Result<Reply, Problem> {
    let title = title.parse().map_err(|_| ApiCode::NotFound)?;
    price::remove(&app, &caller, &once, parsed(&id)?, title, query.currency).await
}

/// What was charged through a gateway in a month, by currency and title, recomputed from the exchanges.
#[utoipa::path(
    get, path = "/v1/gateways/{gateway}/statement", tag = "gateways", operation_id = "get_gateway_statement",
    params(("gateway" = String, Path, description = "Its ID"), PeriodQuery),
    responses((status = 200, body = StatementDocument), (status = 400), (status = 404)),
)]
pub async fn statement(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<PeriodQuery>,
) -> Result<Json<StatementDocument>, Problem> {
    Ok(Json(StatementDocument { items: settle::statement(&app, parsed(&id)?, query.period).await? }))
}

/// Months of a gateway that are closed.
#[utoipa::path(
    get, path = "/v1/gateways/{gateway}/settlements", tag = "gateways", operation_id = "list_gateway_settlements",
    params(("gateway" = String, Path, description = "Its ID"), PageQuery),
    responses((status = 200, body = Page<SettlementDocument>), (status = 404)),
)]
pub async fn settlements(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<SettlementDocument>>, Problem> {
    Ok(Json(settle::list(&app, parsed(&id)?, query).await?))
}

/// Closes a month: what the gateway owes for it stays as it is now, in each currency.
#[utoipa::path(
    post, path = "/v1/gateways/{gateway}/settlements", tag = "gateways", operation_id = "settle_gateway", request_body = NewSettlement,
    params(("gateway" = String, Path, description = "Its ID")),
    responses((status = 201, body = Page<SettlementDocument>), (status = 404), (status = 409), (status = 422)),
)]
pub async fn settle(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(new): Body<NewSettlement>,
) -> Result<Reply, Problem> {
    settle::close(&app, &caller, &once, parsed(&id)?, new.period).await
}

fn parsed(id: &str) -> Result<GatewayId, Problem> {
    id.parse().map_err(|_| ApiCode::NotFound.into())
}
