//! The API over HTTP: keys, idempotency, faults, routes.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};

use crate::faults::{self, Fault, Kind};
use crate::form::{self, Form};
use crate::messages::Deliveries;
use crate::state::{Refused, State};
use crate::{PUBLISHABLE_KEY, Provider, SECRET_KEY, intents, money, page};

/// All routes.
pub(crate) fn router(provider: Provider) -> Router {
    Router::new()
        .route("/v3/", get(page::script))
        .route("/control/{what}", any(control))
        .route("/v1/{*path}", any(answer))
        .with_state(provider)
}

async fn answer(Shared(provider): Shared<Provider>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if method == Method::OPTIONS {
        return with_cors(StatusCode::NO_CONTENT.into_response());
    }
    let path = uri.path().to_owned();
    let text = String::from_utf8_lossy(&body).into_owned();
    let form = form::parse(if method == Method::GET { uri.query().unwrap_or_default() } else { &text });
    let request = format!("{method} {path}");
    let fault = faults::meet(&mut provider.state().faults, &request);
    match fault {
        Some(Kind::CutBefore) => return cut(),
        Some(Kind::HangBefore) => return std::future::pending().await,
        Some(Kind::Error500) => return json_answer(500, &Refused::new(500, "api_error", "", "An unknown error occurred").body()),
        Some(Kind::RateLimited) => {
            return json_answer(429, &Refused::new(429, "invalid_request_error", "rate_limit", "Too many requests").body());
        }
        Some(Kind::InUse) => {
            let words = "There is currently another in-progress request using this Idempotent Key";
            return json_answer(409, &Refused::new(409, "idempotency_error", "idempotency_key_in_use", words).body());
        }
        _ => {}
    }
    let (status, told, replayed) = carried_out(&mut provider.state(), &request, &path, &method, &headers, &form, fault);
    match fault {
        Some(Kind::CutAfter) => cut(),
        Some(Kind::HangAfter) => std::future::pending().await,
        _ => {
            let mut response = json_answer(status, &told);
            if replayed {
                response.headers_mut().insert("idempotent-replayed", axum::http::HeaderValue::from_static("true"));
            }
            response
        }
    }
}

/// Once for each key: a repeat is answered as the first was, and another request under the same key is refused.
fn carried_out(
    state: &mut State,
    request: &str,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
    form: &Form,
    fault: Option<Kind>,
) -> (u16, Value, bool) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let bearer = header("authorization").and_then(|text| text.strip_prefix("Bearer ").map(str::to_owned));
    if let Err(refused) = allowed(state, bearer.as_deref(), path, form) {
        return (refused.status.as_u16(), refused.body(), false);
    }
    let key = header("idempotency-key").filter(|_| *method == Method::POST);
    let fingerprint = format!("{request} {form:?}");
    if let Some((known, status, told)) = key.as_ref().and_then(|key| state.answered.get(key)) {
        return match *known == fingerprint {
            true => (*status, told.clone(), true),
            false => {
                let words = "Keys for idempotent requests can only be used with the same parameters they were first used with.";
                (400, Refused::new(400, "idempotency_error", "", words).body(), false)
            }
        };
    }
    state.requests.push(request.to_owned());
    let came = route(state, method, path, form);
    let (status, told) = match came {
        _ if fault == Some(Kind::Error500After) => (500, Refused::new(500, "api_error", "", "An unknown error occurred").body()),
        Ok(told) => (200, told),
        Err(refused) => (refused.status.as_u16(), refused.body()),
    };
    if let Some(key) = key {
        state.answered.insert(key, (fingerprint, status, told.clone()));
    }
    (status, told, false)
}

/// The secret key may do everything; the publishable one, with an intent's client secret, may confirm it and look at it.
fn allowed(state: &State, bearer: Option<&str>, path: &str, form: &Form) -> Result<(), Refused> {
    match bearer {
        Some(SECRET_KEY) => Ok(()),
        Some(PUBLISHABLE_KEY) => {
            let mut parts = path.trim_start_matches("/v1/payment_intents/").split('/');
            let intent = intents::find(state, parts.next().unwrap_or_default())?;
            let open = matches!(parts.next(), None | Some("confirm" | "authenticate"));
            match open && intent["client_secret"].as_str() == form::get(form, "client_secret") {
                true => Ok(()),
                false => Err(Refused::new(401, "invalid_request_error", "", "This API call cannot be made with a publishable API key.")),
            }
        }
        _ => Err(Refused::new(401, "invalid_request_error", "", "Invalid API Key provided.")),
    }
}

fn route(state: &mut State, method: &Method, path: &str, form: &Form) -> Result<Value, Refused> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    let told = match (method.as_str(), parts.as_slice()) {
        ("POST", ["customers"]) => {
            let id = state.name("cus");
            let made = json!({ "id": id, "object": "customer", "metadata": form::nested(form, "metadata") });
            state.customers.insert(id, made.clone());
            made
        }
        ("POST", ["payment_intents"]) => intents::create(state, form)?,
        ("GET", ["payment_intents", id]) => intents::find(state, id)?,
        ("POST", ["payment_intents", id, "confirm"]) => intents::confirm(state, id, form)?,
        ("POST", ["payment_intents", id, "authenticate"]) => intents::authenticated(state, id)?,
        ("POST", ["payment_intents", id, "capture"]) => intents::capture(state, id, form)?,
        ("POST", ["payment_intents", id, "cancel"]) => intents::cancel(state, id, form)?,
        ("POST", ["payment_methods", id, "detach"]) => intents::detach(state, id)?,
        ("POST", ["refunds"]) => money::refund(state, form)?,
        ("GET", ["refunds"]) => money::refunds(state, form),
        ("GET", ["disputes"]) => money::disputes(state, form),
        ("GET", ["disputes", id]) => state.disputes.get(*id).cloned().ok_or_else(|| Refused::missing("dispute"))?,
        _ => return Err(Refused::new(404, "invalid_request_error", "", "Unrecognized request URL.")),
    };
    Ok(if parts[0] == "payment_intents" { intents::expanded(state, told, form) } else { told })
}

/// What tests and whoever tries it ask for, besides the API.
async fn control(Shared(provider): Shared<Provider>, uri: Uri, body: Bytes) -> Response {
    let what = uri.path().trim_start_matches("/control/").to_owned();
    let asked: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let told = match what.as_str() {
        "faults" => {
            serde_json::from_value::<Fault>(asked.clone()).map(|fault| provider.state().faults.push(fault)).map(|()| Value::Null).ok()
        }
        "messages" => {
            serde_json::from_value::<Deliveries>(asked.clone()).map(|how| provider.state().deliveries = how).map(|()| Value::Null).ok()
        }
        "pay" => Some(provider.pay(&text("payment_intent"), &text("number"))),
        "expire" => {
            provider.expire(&text("payment_intent"));
            Some(Value::Null)
        }
        "object" => provider.object(&text("payment_intent"), asked["amount"].as_u64(), "needs_response").map(Value::from),
        "decide" => {
            provider.decide(&text("dispute"), &text("status"));
            Some(Value::Null)
        }
        "requests" => Some(json!(provider.state().requests)),
        "intents" => Some(json!(provider.state().intents)),
        _ => None,
    };
    match told {
        Some(told) => json_answer(200, &told),
        None => json_answer(400, &json!({ "error": "faults, messages, pay, expire, object, decide, requests, intents" })),
    }
}

fn json_answer(status: u16, told: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_cors((status, [("content-type", "application/json")], told.to_string()).into_response())
}

/// The script of a page at another address asks here, as it asks Stripe.
fn with_cors(mut response: Response) -> Response {
    let allowed = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-headers", "authorization, content-type"),
        ("access-control-allow-methods", "GET, POST"),
    ];
    for (name, value) in allowed {
        response.headers_mut().insert(name, axum::http::HeaderValue::from_static(value));
    }
    response
}

/// An answer that breaks off: the connection ends in the middle of it.
fn cut() -> Response {
    let broken = futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut off on demand")) });
    (StatusCode::OK, Body::from_stream(broken)).into_response()
}
