//! The endpoint of terminals: an envelope in, the authority's sealed answer out, and the charge in between (C17).

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use counterfoil_core::wire::{CARD_HEADER, ChargeOnOffer, EXCHANGE_HEADER, PAY_HEADER};
use counterfoil_core::{CardId, Code, Money, Refusal, RequestId, TitleId};
use counterfoil_format::envelope::Envelope;
use serde::Serialize;

use crate::gateway::app::App;
use crate::gateway::auth;
use crate::gateway::exchange::{self, Asked};
use crate::problem::{ApiCode, Problem, ProblemDetails};

/// What came of a request.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Answer {
    /// The authority's answer, sealed to the terminal: the gateway cannot read it.
    answer: String,
    /// What the account was charged for it; absent where it was free.
    #[serde(skip_serializing_if = "Option::is_none")]
    charged: Option<Charged>,
}

/// What an account was charged.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Charged {
    /// `{amount, currency}`, in minor units.
    #[schema(value_type = Object)]
    price: Money,
    /// What for.
    #[schema(value_type = String)]
    title: TitleId,
    /// Its name.
    name: String,
    /// What the account holds now, in that currency.
    #[schema(value_type = Object)]
    balance: Money,
}

/// The problem of a charge that was not agreed to, or that the account does not hold.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ChargeProblem {
    /// `charge_unconfirmed`, `price_changed` or `payment_refused`.
    code: String,
    /// `{title, name, price, balance, expires_at}`: what would be charged.
    #[schema(value_type = Object)]
    charge: ChargeOnOffer,
}

/// Takes a sealed envelope and returns the authority's sealed answer. Safe to send twice: the same exchange is charged once.
#[utoipa::path(post, path = "/v1/terminal/exchange", tag = "terminal",
    request_body(content = Object, description = "A sealed envelope: kid, enc, ct"),
    params(
        ("counterfoil-exchange" = String, Header, description = "ID of the request inside of the envelope (UUID): the exchange"),
        ("counterfoil-card" = Option<String>, Header, description = "The card that signs, where one does"),
        ("counterfoil-pay" = Option<String>, Header, description = "The price that the person has agreed to: minor units, a blank, the currency"),
        ("authorization" = Option<String>, Header, description = "`Bearer cga_…`: the account; not needed for what is free"),
    ),
    responses((status = 200, body = Answer), (status = 401, body = ProblemDetails), (status = 402, body = ChargeProblem),
        (status = 410, body = ProblemDetails, description = "The exchange was given up: begin another one"), (status = 503, body = ProblemDetails)))]
pub async fn exchange(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Answer>, Problem> {
    let account = auth::presented(&app, &headers).await?.map(|caller| caller.account);
    let exchange = header::<uuid::Uuid>(&headers, EXCHANGE_HEADER)?.map(RequestId);
    let exchange = exchange.ok_or_else(|| Problem::with(ApiCode::InvalidRequest, format!("the header {EXCHANGE_HEADER} is missing")))?;
    let invalid = |error: &dyn std::fmt::Display| Problem::from(Refusal::with(Code::EnvelopeInvalid, error.to_string()));
    // Its shape is all that can be seen of it here.
    Envelope::parse(&body).map_err(|error| invalid(&error))?;
    let asked = Asked {
        exchange,
        envelope: serde_json::from_slice(&body).map_err(|error| invalid(&error))?,
        card: header::<CardId>(&headers, CARD_HEADER)?,
        pay: pay(&headers)?,
        account,
    };
    let answered = exchange::run(&app, &asked).await?;
    let charged =
        answered.charged.map(|(charge, balance)| Charged { price: charge.price, title: charge.title, name: charge.name, balance });
    Ok(Json(Answer { answer: answered.answer, charged }))
}

fn header<T: std::str::FromStr>(headers: &HeaderMap, name: &'static str) -> Result<Option<T>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let wrong = || Problem::with(ApiCode::InvalidRequest, format!("the header {name} cannot be read"));
    value.to_str().ok().and_then(|text| text.trim().parse().ok()).map(Some).ok_or_else(wrong)
}

/// `1999 EUR`: minor units, so that no terminal and no gateway has to know a currency's decimals.
fn pay(headers: &HeaderMap) -> Result<Option<Money>, Problem> {
    let Some(text) = header::<String>(headers, PAY_HEADER)? else { return Ok(None) };
    let read = || {
        text.split_once(' ').and_then(|(amount, currency)| Some(Money { amount: amount.parse().ok()?, currency: currency.parse().ok()? }))
    };
    read().map(Some).ok_or_else(|| Problem::with(ApiCode::InvalidRequest, format!("the header {PAY_HEADER} is like `1999 EUR`")))
}
