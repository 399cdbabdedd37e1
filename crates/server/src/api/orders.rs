//! Orders and their charges, for the operator who collects them; balances, for whoever takes money in (D3).

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::rules::order::OrderState;
use counterfoil_core::rules::refund::Why;
use counterfoil_core::{Currency, DeviceId, LicenseId, Money, OrderId, Timestamp, TitleId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, PageQuery, rfc3339};
use crate::actions::{balance, refund};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::order::{self, OrderRow};

/// Which orders.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OrdersQuery {
    /// `due`, `paid` or `ended`; all if it is not said.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    state: Option<OrderState>,
    /// `next` of the page before.
    #[serde(default)]
    after: Option<String>,
    /// At most so many items: 1 to 1000, 100 if it is not said.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// An order, and its charge.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrderDocument {
    /// Which.
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// Whose.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Of what.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// For which device it was ordered.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// `purchase` or `trial`.
    pub kind: &'static str,
    /// Of the charge; null for a trial.
    #[schema(value_type = Option<String>)]
    pub currency: Option<Currency>,
    /// What was charged, in minor units; null for a trial.
    pub amount: Option<u64>,
    /// `balance`, `invoice` or `free`.
    pub payment: &'static str,
    /// `due`, `paid` or `ended`.
    pub state: &'static str,
    /// When it was made.
    pub created_at: String,
    /// When it was paid; an order that has ended keeps it, and one that was paid by invoice has then to be paid back.
    pub paid_at: Option<String>,
    /// When it was ended.
    pub ended_at: Option<String>,
    /// By what: `refund`, `chargeback`, `bought`.
    pub reason: Option<String>,
}

impl From<OrderRow> for OrderDocument {
    fn from(row: OrderRow) -> Self {
        let moment = |at: Option<Timestamp>| at.map(|at| rfc3339(at.0));
        Self {
            order_id: row.order,
            user_id: row.user,
            title: row.title,
            device_id: row.device,
            kind: row.kind.as_str(),
            currency: row.charge.map(|charge| charge.currency),
            amount: row.charge.map(|charge| charge.amount),
            payment: row.payment.as_str(),
            state: row.state.as_str(),
            created_at: rfc3339(row.created_at.0),
            paid_at: moment(row.paid_at),
            ended_at: moment(row.ended_at),
            reason: row.reason,
        }
    }
}

/// Orders in the order in which they were made.
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", operation_id = "list_orders", params(OrdersQuery),
    responses((status = 200, body = Page<OrderDocument>), (status = 400)),
)]
pub async fn list(State(app): State<App>, Query(query): Query<OrdersQuery>) -> Result<Json<Page<OrderDocument>>, Problem> {
    let after = cursor(query.after.as_deref().unwrap_or_default())?;
    let page = PageQuery { after: None, limit: query.limit };
    let rows = load(&app, query.state, after, page.rows()).await?;
    let named = |row: &OrderRow| format!("{}.{}", row.created_at.0, row.order);
    Ok(Json(Page::of(rows, &page, named, OrderDocument::from)))
}

/// A time and an ID, as `next` named them.
fn cursor(text: &str) -> Result<(Timestamp, String), Problem> {
    if text.is_empty() {
        return Ok((Timestamp(i64::MIN), String::new()));
    }
    let parts =
        text.split_once('.').and_then(|(at, order)| Some((Timestamp(at.parse().ok()?), order.parse::<OrderId>().ok()?.to_string())));
    parts.ok_or_else(|| Problem::with(ApiCode::InvalidRequest, "`after` is `next` of another page"))
}

async fn load(app: &App, state: Option<OrderState>, after: (Timestamp, String), rows: i64) -> Result<Vec<OrderRow>, Problem> {
    Ok(app.db.read("list_orders", async move |tx: &mut Tx| order::list(tx, state, &after, rows).await).await?)
}

/// Why something is done, for the audit log.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Note {
    /// At most 200 characters of one line.
    pub note: String,
}

/// An order that has ended, with everything that came of it.
#[derive(Serialize, ToSchema)]
pub struct EndedOrder {
    /// Which.
    order_id: String,
    /// Licenses that have ended with it.
    ended: Vec<String>,
    /// What the user's balance got back, where it was paid from there.
    credited: Option<MoneyDocument>,
}

/// An amount.
#[derive(Serialize, ToSchema)]
pub struct MoneyDocument {
    /// In minor units.
    amount: u64,
    /// ISO 4217.
    currency: String,
}

fn ids<T: std::str::FromStr>(user: &str, id: &str) -> Result<(UserId, T), Problem> {
    Ok((user.parse().map_err(|_| ApiCode::NotFound)?, id.parse().map_err(|_| ApiCode::NotFound)?))
}

/// Notes that an order that was due has been paid.
#[utoipa::path(
    post, path = "/v1/users/{user_id}/orders/{order_id}/paid", tag = "orders", operation_id = "order_paid",
    params(("user_id" = String, Path, description = "Whose"), ("order_id" = String, Path, description = "Which")),
    responses((status = 200, body = OrderDocument), (status = 404), (status = 409)),
)]
pub async fn paid(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((user, order)): Path<(String, String)>,
) -> Result<Reply, Problem> {
    let (user, order) = ids(&user, &order)?;
    balance::paid(&app, &caller, &once, user, order).await
}

/// Ends an order at any time, and credits what was taken from the user's balance for it.
#[utoipa::path(
    post, path = "/v1/users/{user_id}/orders/{order_id}/refund", tag = "orders", operation_id = "refund_order", request_body = Note,
    params(("user_id" = String, Path, description = "Whose"), ("order_id" = String, Path, description = "Which")),
    responses((status = 200, body = EndedOrder), (status = 403), (status = 404)),
)]
pub async fn refund_order(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((user, order)): Path<(String, String)>,
    Body(note): Body<Note>,
) -> Result<Reply, Problem> {
    refund::by_operator(&app, &caller, &once, ids(&user, &order)?, Why::Refund, note.note).await
}

/// Ends an order whose payment was taken back elsewhere: nothing is credited.
#[utoipa::path(
    post, path = "/v1/users/{user_id}/orders/{order_id}/chargeback", tag = "orders", operation_id = "charge_back_order", request_body = Note,
    params(("user_id" = String, Path, description = "Whose"), ("order_id" = String, Path, description = "Which")),
    responses((status = 200, body = EndedOrder), (status = 403), (status = 404)),
)]
pub async fn charge_back(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((user, order)): Path<(String, String)>,
    Body(note): Body<Note>,
) -> Result<Reply, Problem> {
    refund::by_operator(&app, &caller, &once, ids(&user, &order)?, Why::Chargeback, note.note).await
}

/// A license that has ended.
#[derive(Serialize, ToSchema)]
pub struct EndedLicense {
    /// Which.
    #[schema(value_type = String)]
    pub license_id: LicenseId,
    /// `ended`
    pub state: &'static str,
}

/// Ends one license, and frees its place for another of the user's devices.
#[utoipa::path(
    post, path = "/v1/users/{user_id}/licenses/{license_id}/revoke", tag = "orders", operation_id = "revoke_license", request_body = Note,
    params(("user_id" = String, Path, description = "Whose"), ("license_id" = String, Path, description = "Which")),
    responses((status = 200, body = EndedLicense), (status = 403), (status = 404)),
)]
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((user, license)): Path<(String, String)>,
    Body(note): Body<Note>,
) -> Result<Reply, Problem> {
    refund::revoke(&app, &caller, &once, ids(&user, &license)?, note.note).await
}

/// Money that a user pays in advance.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopUp {
    /// In minor units.
    #[schema(minimum = 1)]
    pub amount: u64,
    /// ISO 4217, such as `EUR`.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// For the audit log: at most 200 characters of one line.
    #[serde(default)]
    pub note: String,
}

/// What a user has paid in advance.
#[derive(Serialize, ToSchema)]
pub struct BalanceDocument {
    /// Whose.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// One amount in each currency.
    #[schema(value_type = Vec<MoneyDocument>)]
    pub balance: Vec<Money>,
}

/// Adds to what a user has paid in advance.
#[utoipa::path(
    post, path = "/v1/users/{user_id}/balance", tag = "orders", operation_id = "top_up_balance", request_body = TopUp,
    params(("user_id" = String, Path, description = "Whose")),
    responses((status = 200, body = BalanceDocument), (status = 404)),
)]
pub async fn top_up(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(user): Path<String>,
    Body(top_up): Body<TopUp>,
) -> Result<Reply, Problem> {
    let user: UserId = user.parse().map_err(|_| ApiCode::NotFound)?;
    let money = Money { amount: top_up.amount, currency: top_up.currency };
    balance::top_up(&app, &caller, &once, user, money, top_up.note).await
}
