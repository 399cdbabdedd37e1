//! Payment by card over HTTP (C17): top-ups, payment cards that are kept, and the provider's messages.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use counterfoil_core::{Money, PaymentId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::gateway::app::App;
use crate::gateway::auth::Caller;
use crate::gateway::payments::{self, Shown};
use crate::gateway::store::payment::State as Stands;
use crate::problem::{Body, Problem, ProblemDetails};

/// A top-up by card.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopUp {
    /// `pay-…`, drawn by whoever asks: with the same again, it is the same payment.
    #[schema(value_type = String)]
    payment: PaymentId,
    /// `{amount, currency}`, in minor units.
    #[schema(value_type = Object)]
    money: Money,
    /// Keep the card, and allow it to be charged with what is missing for a price that is agreed to.
    #[serde(default)]
    keep_card: bool,
}

/// A payment by card, as it stands.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Payment {
    /// Which.
    #[schema(value_type = String)]
    payment: PaymentId,
    /// `begun`, `waiting` (for the card to be entered), `succeeded`, `cancelling` or `cancelled`.
    #[schema(value_type = String)]
    state: Stands,
    /// How much.
    #[schema(value_type = Object)]
    money: Money,
    /// Where the card is entered.
    page: String,
    /// What a page of one's own gives the provider's script; while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// The provider's name for this gateway, for its script.
    #[serde(skip_serializing_if = "Option::is_none")]
    publishable_key: Option<String>,
    /// Why the last attempt failed, or why nothing was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    created_at: Timestamp,
    #[schema(value_type = i64)]
    changed_at: Timestamp,
}

fn shown(app: &App, Shown { row, element }: Shown) -> Json<Payment> {
    let (client_secret, publishable_key) = element.map(|element| (element.client_secret, element.publishable_key)).unzip();
    let page = format!("{}/account/top-up/{}", app.urls.first().map(String::as_str).unwrap_or_default(), row.id);
    Json(Payment {
        payment: row.id,
        state: row.state,
        money: row.money,
        page,
        client_secret,
        publishable_key,
        failure: row.failure,
        created_at: row.created_at,
        changed_at: row.changed_at,
    })
}

/// Begins a top-up by card. The same ID again is the same payment, as it stands by then.
#[utoipa::path(post, path = "/v1/account/top-ups", tag = "accounts", operation_id = "begin_top_up", request_body = TopUp,
    responses((status = 200, body = Payment), (status = 422, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub async fn begin(State(app): State<App>, caller: Caller, Body(asked): Body<TopUp>) -> Result<Json<Payment>, Problem> {
    let begun = payments::begin(&app, caller.account.id, asked.payment, asked.money, asked.keep_card).await?;
    Ok(shown(&app, begun))
}

/// How a top-up stands: the provider is asked, and what it has is booked.
#[utoipa::path(get, path = "/v1/account/top-ups/{payment}", tag = "accounts", operation_id = "top_up",
    params(("payment" = String, Path, description = "The payment")),
    responses((status = 200, body = Payment), (status = 404, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub async fn show(State(app): State<App>, caller: Caller, Path(payment): Path<PaymentId>) -> Result<Json<Payment>, Problem> {
    let found = payments::show(&app, caller.account.id, payment).await?;
    Ok(shown(&app, found))
}

/// The payment cards that an account keeps.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PaymentCards {
    cards: Vec<PaymentCard>,
}

/// A payment card that is kept at the provider.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PaymentCard {
    /// The provider's name for it.
    card: String,
    /// Such as `visa`.
    brand: String,
    /// The last four digits of its number; more is not known here.
    last4: String,
    /// The month that it ends with.
    exp_month: i64,
    exp_year: i64,
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    kept_at: Timestamp,
}

/// The payment cards that the account keeps, the newest first: that one is charged with what is missing for a price that is agreed to.
#[utoipa::path(get, path = "/v1/account/payment-cards", tag = "accounts", operation_id = "payment_cards", responses((status = 200, body = PaymentCards)))]
pub async fn cards(State(app): State<App>, caller: Caller) -> Result<Json<PaymentCards>, Problem> {
    let cards = payments::cards(&app, caller.account.id).await?.into_iter().map(|kept| PaymentCard {
        card: kept.card,
        brand: kept.brand,
        last4: kept.last4,
        exp_month: kept.expires.0,
        exp_year: kept.expires.1,
        kept_at: kept.kept_at,
    });
    Ok(Json(PaymentCards { cards: cards.collect() }))
}

/// Keeps a payment card no longer. Again, it changes nothing.
#[utoipa::path(delete, path = "/v1/account/payment-cards/{card}", tag = "accounts", operation_id = "remove_payment_card",
    params(("card" = String, Path, description = "The card, as it is listed")), responses((status = 204), (status = 404, body = ProblemDetails)))]
pub async fn remove_card(State(app): State<App>, caller: Caller, Path(card): Path<String>) -> Result<StatusCode, Problem> {
    payments::remove_card(&app, caller.account.id, &card).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The provider's messages (webhooks), signed by it. They only say that it is time to ask.
#[utoipa::path(post, path = "/v1/payments/messages", tag = "server", operation_id = "payment_message",
    request_body(content = Object, description = "An event, as the provider sends it"),
    params(("stripe-signature" = String, Header, description = "`t=SECONDS,v1=HEX`")),
    responses((status = 204), (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails)))]
pub async fn told(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<StatusCode, Problem> {
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    payments::told(&app, signature, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}
