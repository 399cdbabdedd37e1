//! `/account/top-up`: money by card. The card's number goes from the browser to the payment provider, and never through here.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use counterfoil_core::{Money, PaymentId};

use super::entrance::said;
use super::visitor::{Person, Sent};
use super::{Section, layout, words};
use crate::gateway::app::App;
use crate::gateway::payments::{self, Element, Offer};
use crate::gateway::store::payment::State as Stands;
use crate::problem::{ApiCode, Problem};
use crate::web::visitor::{Fields, see_other};
use crate::web::{Layout, assets, page_as, written};

/// What every page may do, beside what the element needs; pictures are among that.
const POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "gateway/top-up.html")]
struct TopUpPage<'a> {
    layout: Layout,
    error: Option<String>,
    least: Money,
    most: Money,
    money: &'a str,
    keep: bool,
    once: String,
    form: String,
}

fn offer(app: &App) -> Result<Offer, Problem> {
    Ok(app.payments.as_ref().ok_or(ApiCode::NotFound)?.offer())
}

fn form_page(app: &App, by: &Person, fields: &Fields, error: Option<String>) -> Result<Response, Problem> {
    let (Offer { least, most }, currency) = (offer(app)?, app.config.server.currency);
    let of = |amount| Money { amount, currency };
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = TopUpPage {
        layout: layout(app, Section::Account, Some(&by.account.name)),
        error,
        least: of(least),
        most: of(most),
        money: fields.text("money"),
        keep: fields.text("keep") == "on",
        once: PaymentId::from_bytes(app.rng.bytes()).to_string(),
        form: by.token.form(),
    };
    page_as(status, &page)
}

/// `/account/top-up`
///
/// # Errors
/// `not_found` where no payment by card is taken.
pub async fn form(State(app): State<App>, by: Person) -> Result<Response, Problem> {
    form_page(&app, &by, &Fields::default(), None)
}

/// Begins a payment, once for each form, and leads to its page.
///
/// # Errors
/// `not_found` where no payment by card is taken, or a failure of the database.
pub async fn begin(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    offer(&app)?;
    let Some(money) = words::money(fields.text("money"), app.config.server.currency) else {
        return form_page(&app, &by, &fields, Some("Write the amount as 20.00, or with its currency: 20.00 EUR.".to_owned()));
    };
    let payment: PaymentId = fields.text("once").parse().map_err(|_| ApiCode::InvalidRequest)?;
    match payments::begin(&app, by.account.id, payment, money, fields.text("keep") == "on").await {
        Ok(_) => Ok(see_other(&format!("/account/top-up/{payment}"))),
        Err(problem) if problem.status.is_client_error() => form_page(&app, &by, &fields, Some(said(problem))),
        Err(problem) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "gateway/payment.html")]
struct PaymentPage {
    layout: Layout,
    money: Money,
    at: String,
    state: &'static str,
    /// Whether it may still change by itself.
    moving: bool,
    failure: Option<String>,
    element: Option<Element>,
    script: String,
    here: String,
}

fn state(state: Stands) -> &'static str {
    match state {
        Stands::Succeeded => "It is paid, and in your account.",
        Stands::Waiting => "It waits for your card.",
        Stands::Cancelled => "It was given up; nothing was charged.",
        Stands::Lost => "The card's promise ended before it was taken; nothing was charged.",
        Stands::Cancelling => "It is being given up.",
        _ => "It is on its way.",
    }
}

/// `/account/top-up/{payment}`: the provider's form for the card, and how the payment stands; the provider leads back here.
///
/// # Errors
/// `not_found`, also for somebody else's; or what the provider says.
pub async fn show(State(app): State<App>, by: Person, Path(id): Path<String>) -> Result<Response, Problem> {
    let id: PaymentId = id.parse().map_err(|_| ApiCode::NotFound)?;
    offer(&app)?;
    let payments::Shown { row, element } = payments::show(&app, by.account.id, id).await?;
    let policy = element.as_ref().map(|element| HeaderValue::try_from(format!("{POLICY}; {}", element.csp)).map_err(Problem::internal));
    let page = PaymentPage {
        layout: layout(&app, Section::Account, Some(&by.account.name)),
        money: row.money,
        at: written::moment(row.created_at),
        state: state(row.state),
        moving: !matches!(row.state, Stands::Succeeded | Stands::Waiting | Stands::Cancelled | Stands::Lost),
        failure: row.failure.clone(),
        script: assets::address("payment.js"),
        here: format!("{}/account/top-up/{id}", app.urls.first().map_or("", String::as_str)),
        element,
    };
    let mut response = page_as(StatusCode::OK, &page)?;
    if let Some(policy) = policy {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy?);
    }
    Ok(response)
}

/// A card that is kept is charged for nothing any more.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn remove_card(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    payments::remove_card(&app, by.account.id, fields.text("card")).await?;
    Ok(see_other("/account/settings?done=card"))
}
