//! `/v1/webhooks`: servers of others that are told what happens here.

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::{DeliveryId, WebhookId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, PageQuery, rfc3339};
use crate::actions::webhooks;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::delivery::{DELIVERED, Delivery, FAILED, WAITING};
use crate::store::publisher::PublisherId;
use crate::store::webhook::Webhook;
use crate::webhooks::catalogue::EVENTS;

/// A webhook to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// For people.
    #[schema(example = "Sales")]
    pub name: String,
    /// Where it is told, by POST: `https://…` at a public address.
    #[schema(example = "https://hooks.example/counterfoil")]
    pub url: String,
    /// Of what: names of events, `medium.*`, or `*` for everything that its owner may be told.
    #[schema(example = json!(["medium.claimed", "release.*"]))]
    pub events: Vec<String>,
    /// Whose it is, where the operator makes it for a publisher; a publisher's own needs no saying.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub publisher: Option<PublisherId>,
}

/// A webhook.
#[derive(Serialize, ToSchema)]
pub struct WebhookDocument {
    /// Its ID.
    #[schema(value_type = String)]
    pub webhook: WebhookId,
    /// For people.
    pub name: String,
    /// Where it is told.
    pub url: String,
    /// Of what.
    pub events: Vec<String>,
    /// Whose it is; absent: the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub publisher: Option<PublisherId>,
    /// Since when it is there.
    pub created_at: String,
    /// What happens from then on is told.
    pub active_from: String,
}

/// A webhook with its secret.
#[derive(Serialize, ToSchema)]
pub struct MadeWebhook {
    /// What its deliveries are signed with: `whsec_…`, never shown again.
    pub secret: String,
    /// The rest.
    #[serde(flatten)]
    pub about: WebhookDocument,
}

impl WebhookDocument {
    /// A webhook as it is shown.
    pub fn of(webhook: Webhook) -> Self {
        let Webhook { id, publisher, name, url, events, created_at, active_from } = webhook;
        let (created_at, active_from) = (rfc3339(created_at), rfc3339(active_from));
        Self { webhook: id, name, url, events: events.names().to_vec(), publisher, created_at, active_from }
    }
}

/// The caller's webhooks.
#[derive(Serialize, ToSchema)]
pub struct WebhooksDocument {
    /// By ID.
    pub items: Vec<WebhookDocument>,
}

/// Something that a webhook was told, or is to be.
#[derive(Serialize, ToSchema)]
pub struct DeliveryDocument {
    /// Its ID, in every attempt: `webhook-id`.
    #[schema(value_type = String)]
    pub delivery: DeliveryId,
    /// What happened.
    pub event: String,
    /// To what.
    pub subject: String,
    /// In its subject's order.
    pub sequence: i64,
    /// `waiting`, `delivered` or `failed`.
    pub state: String,
    /// Whether somebody had it sent again.
    pub resent: bool,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was sent last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempted_at: Option<String>,
    /// When it is sent next; absent where it has ended, or waits until what came before it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    /// The HTTP status that was answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// Why the last attempt was no delivery: `status`, `unreachable`, `unresolved`, `not_public`, `tls`, `timed_out`, `broken` or `unusable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Since when it is to be told.
    pub created_at: String,
    /// When it was delivered or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// What is sent, byte for byte; where one delivery is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

impl DeliveryDocument {
    /// A delivery as it is shown.
    pub fn of(row: Delivery, with_payload: bool) -> Self {
        Self {
            delivery: row.id,
            event: row.event,
            subject: row.subject,
            sequence: row.sequence,
            state: row.state,
            resent: row.resent,
            attempts: row.attempts,
            attempted_at: row.attempted_at.map(rfc3339),
            next_attempt_at: row.due_at.map(rfc3339),
            status: row.status,
            error: row.error,
            created_at: rfc3339(row.created_at),
            ended_at: row.ended_at.map(rfc3339),
            payload: with_payload.then_some(row.payload),
        }
    }
}

/// An event that webhooks can be told.
#[derive(Serialize, ToSchema)]
pub struct EventDocument {
    /// Its name.
    pub event: &'static str,
    /// In words.
    pub says: &'static str,
}

/// The events that the caller's webhooks can be told.
#[derive(Serialize, ToSchema)]
pub struct EventsDocument {
    /// By what they are about.
    pub items: Vec<EventDocument>,
}

/// Which deliveries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    /// Only those that are `waiting`, `delivered` or `failed`.
    #[serde(default)]
    state: Option<String>,
    /// `next` of the page before.
    #[serde(default)]
    after: Option<String>,
    /// At most so many items: 1 to 1000, 100 if it is not said.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Makes a webhook, and shows its secret this once.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "webhooks", operation_id = "add_webhook", request_body = NewWebhook,
    responses((status = 201, body = MadeWebhook), (status = 422)),
)]
pub async fn create(State(app): State<App>, caller: Caller, once: Once, Body(new): Body<NewWebhook>) -> Result<Reply, Problem> {
    webhooks::create(&app, &caller, &once, new).await
}

/// The caller's webhooks; all, for the operator.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks", operation_id = "list_webhooks",
    responses((status = 200, body = WebhooksDocument)),
)]
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<WebhooksDocument>, Problem> {
    Ok(Json(WebhooksDocument { items: webhooks::list(&app, &caller).await? }))
}

/// The events that the caller's webhooks can be told; `docs/webhooks.md` shows each.
#[utoipa::path(
    get, path = "/v1/webhook-events", tag = "webhooks", operation_id = "list_webhook_events",
    responses((status = 200, body = EventsDocument)),
)]
pub async fn events(caller: Caller) -> Json<EventsDocument> {
    let all = caller.scope() == Scope::All;
    let told = EVENTS.iter().filter(|event| all || event.kind.is_publishers());
    Json(EventsDocument { items: told.map(|event| EventDocument { event: event.name, says: event.says }).collect() })
}

/// A webhook.
#[utoipa::path(
    get, path = "/v1/webhooks/{webhook}", tag = "webhooks", operation_id = "get_webhook",
    params(("webhook" = String, Path, description = "Its ID")),
    responses((status = 200, body = WebhookDocument), (status = 404)),
)]
pub async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<WebhookDocument>, Problem> {
    Ok(Json(webhooks::get(&app, &caller, parsed(&id)?).await?))
}

/// Ends a webhook: nothing is sent to it any more.
#[utoipa::path(
    delete, path = "/v1/webhooks/{webhook}", tag = "webhooks", operation_id = "end_webhook",
    params(("webhook" = String, Path, description = "Its ID")),
    responses((status = 204, description = "It is ended"), (status = 404)),
)]
pub async fn end(State(app): State<App>, caller: Caller, once: Once, Path(id): Path<String>) -> Result<Reply, Problem> {
    webhooks::end(&app, &caller, &once, parsed(&id)?).await
}

/// Draws another secret and shows it this once; for a day, deliveries are signed with the one before as well.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook}/rotate", tag = "webhooks", operation_id = "rotate_webhook",
    params(("webhook" = String, Path, description = "Its ID")),
    responses((status = 200, body = MadeWebhook), (status = 404)),
)]
pub async fn rotate(State(app): State<App>, caller: Caller, once: Once, Path(id): Path<String>) -> Result<Reply, Problem> {
    webhooks::rotate(&app, &caller, &once, parsed(&id)?).await
}

/// Sends `webhook.test`, to see whether it is heard.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook}/test", tag = "webhooks", operation_id = "test_webhook",
    params(("webhook" = String, Path, description = "Its ID")),
    responses((status = 201, body = DeliveryDocument), (status = 404)),
)]
pub async fn test(State(app): State<App>, caller: Caller, once: Once, Path(id): Path<String>) -> Result<Reply, Problem> {
    webhooks::test(&app, &caller, &once, parsed(&id)?).await
}

/// What a webhook was told in the last 30 days, the newest first.
#[utoipa::path(
    get, path = "/v1/webhooks/{webhook}/deliveries", tag = "webhooks", operation_id = "list_deliveries",
    params(("webhook" = String, Path, description = "Its ID"), DeliveriesQuery),
    responses((status = 200, body = Page<DeliveryDocument>), (status = 404), (status = 422)),
)]
pub async fn deliveries(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<Page<DeliveryDocument>>, Problem> {
    let DeliveriesQuery { state, after, limit } = query;
    if state.as_deref().is_some_and(|state| ![WAITING, DELIVERED, FAILED].contains(&state)) {
        return Err(Problem::with(ApiCode::Unprocessable, "`state` is waiting, delivered or failed"));
    }
    let page = PageQuery { after, limit };
    let before = before(&page).ok_or_else(|| Problem::with(ApiCode::Unprocessable, "`after` is `next` of the page before"))?;
    let rows = webhooks::deliveries(&app, &caller, parsed(&id)?, state, before, page.rows()).await?;
    Ok(Json(Page::of(rows, &page, |row| format!("{}~{}", row.created_at, row.id), |row| DeliveryDocument::of(row, false))))
}

/// Where a page of deliveries begins: after everything there is, or where the page before ended.
fn before(page: &PageQuery) -> Option<(i64, String)> {
    let after = page.after();
    if after.is_empty() {
        return Some((i64::MAX, String::new()));
    }
    let (at, id) = after.split_once('~')?;
    Some((at.parse().ok()?, id.parse::<DeliveryId>().ok()?.to_string()))
}

/// A delivery, with what was sent.
#[utoipa::path(
    get, path = "/v1/webhooks/{webhook}/deliveries/{delivery}", tag = "webhooks", operation_id = "get_delivery",
    params(("webhook" = String, Path, description = "The webhook's ID"), ("delivery" = String, Path, description = "Its own")),
    responses((status = 200, body = DeliveryDocument), (status = 404)),
)]
pub async fn delivery(
    State(app): State<App>,
    caller: Caller,
    Path((id, delivery)): Path<(String, String)>,
) -> Result<Json<DeliveryDocument>, Problem> {
    Ok(Json(webhooks::delivery(&app, &caller, parsed(&id)?, delivery.parse().map_err(|_| ApiCode::NotFound)?).await?))
}

/// Sends a delivery again: the same ID, the same body. One that waits is tried at once.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook}/deliveries/{delivery}/resend", tag = "webhooks", operation_id = "resend_delivery",
    params(("webhook" = String, Path, description = "The webhook's ID"), ("delivery" = String, Path, description = "Its own")),
    responses((status = 200, body = DeliveryDocument), (status = 404)),
)]
pub async fn resend(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((id, delivery)): Path<(String, String)>,
) -> Result<Reply, Problem> {
    webhooks::resend(&app, &caller, &once, parsed(&id)?, delivery.parse().map_err(|_| ApiCode::NotFound)?).await
}

fn parsed(id: &str) -> Result<WebhookId, Problem> {
    id.parse().map_err(|_| ApiCode::NotFound.into())
}
