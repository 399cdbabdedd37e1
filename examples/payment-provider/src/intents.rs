//! Payment intents: made, confirmed, captured, cancelled (docs.stripe.com/payments/paymentintents/lifecycle).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Value, json};

use crate::form::{self, Form};
use crate::money;
use crate::state::{Refused, State};

/// How a card behaves (docs.stripe.com/testing): its number, the ready-made method, and what comes of a charge.
const CARDS: [(&str, &str, &str, Behaves); 7] = [
    ("4242424242424242", "pm_card_visa", "visa", Behaves::Pays),
    ("5555555555554444", "pm_card_mastercard", "mastercard", Behaves::Pays),
    (
        "4000000000000002",
        "pm_card_chargeDeclined",
        "visa",
        Behaves::Declines("card_declined", "generic_decline", "Your card was declined."),
    ),
    (
        "4000000000009995",
        "pm_card_chargeDeclinedInsufficientFunds",
        "visa",
        Behaves::Declines("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    ),
    // Can be kept, and is declined when it is charged later.
    ("4000000000000341", "pm_card_chargeCustomerFail", "visa", Behaves::DeclinesLater),
    ("4000002760003184", "pm_card_authenticationRequired", "visa", Behaves::Asks),
    ("4000000000000259", "pm_card_createDispute", "visa", Behaves::IsObjectedTo),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Behaves {
    Pays,
    Declines(&'static str, &'static str, &'static str),
    DeclinesLater,
    /// Its bank asks its owner, every time.
    Asks,
    IsObjectedTo,
}

/// The least that is charged (docs.stripe.com/currencies).
const LEAST: u64 = 50;
/// How long a promise stands that the card's owner was not there for, in seconds: 4 days 18 hours.
const PROMISED: i64 = 4 * 86_400 + 18 * 3600;

/// `POST /v1/payment_intents`
pub(crate) fn create(state: &mut State, form: &Form) -> Result<Value, Refused> {
    let amount: u64 = form::get(form, "amount")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Refused::invalid("parameter_missing", "Missing required param: amount."))?;
    let currency =
        form::get(form, "currency").ok_or_else(|| Refused::invalid("parameter_missing", "Missing required param: currency."))?.to_owned();
    if amount < LEAST {
        return Err(Refused::invalid("amount_too_small", "Amount must be at least 0.50."));
    }
    let customer = form::get(form, "customer").map(str::to_owned);
    if customer.as_ref().is_some_and(|customer| !state.customers.contains_key(customer)) {
        return Err(Refused::missing("customer").and("param", "customer".into()));
    }
    let id = state.name("pi");
    let secret = format!("{id}_secret_{}", state.name("s"));
    let capture = form::get(form, "capture_method").unwrap_or("automatic_async");
    let intent = json!({ "id": id, "object": "payment_intent", "amount": amount, "amount_capturable": 0, "amount_received": 0, "currency": currency,
        "customer": customer, "capture_method": capture, "client_secret": secret, "created": state.seconds(), "livemode": false,
        "metadata": form::nested(form, "metadata"), "description": form::get(form, "description"), "payment_method_types": ["card"],
        "setup_future_usage": form::get(form, "setup_future_usage"), "status": "requires_payment_method", "payment_method": null, "latest_charge": null,
        "last_payment_error": null, "next_action": null, "canceled_at": null, "cancellation_reason": null });
    state.intents.insert(id.clone(), intent.clone());
    state.tell("payment_intent.created", &intent);
    match form::get(form, "confirm") {
        Some("true") => confirm(state, &id, form),
        _ => Ok(intent),
    }
}

/// An intent, by name.
pub(crate) fn find(state: &State, id: &str) -> Result<Value, Refused> {
    state.intents.get(id).cloned().ok_or_else(|| Refused::missing("payment_intent"))
}

fn keep(state: &mut State, intent: &Value) {
    let id = intent["id"].as_str().unwrap_or_default().to_owned();
    state.intents.insert(id, intent.clone());
}

fn unexpected(intent: &Value, what: &str) -> Refused {
    let status = intent["status"].as_str().unwrap_or_default();
    let words = format!("You cannot {what} this PaymentIntent because it has a status of {status}.");
    Refused::invalid("payment_intent_unexpected_state", &words).and("payment_intent", intent.clone())
}

/// `POST /v1/payment_intents/{id}/confirm`, with a method or with a card's number.
pub(crate) fn confirm(state: &mut State, id: &str, form: &Form) -> Result<Value, Refused> {
    let mut intent = find(state, id)?;
    if !matches!(intent["status"].as_str(), Some("requires_payment_method" | "requires_confirmation" | "requires_action")) {
        return Err(unexpected(&intent, "confirm"));
    }
    let off_session = form::get(form, "off_session") == Some("true");
    let method = method(state, form)?;
    let owner = &state.methods[&method]["customer"];
    if (!owner.is_null() && *owner != intent["customer"]) || (off_session && owner.is_null()) {
        return Err(Refused::invalid("payment_method_unexpected_state", "The provided PaymentMethod is not attached to this Customer."));
    }
    let behaves = behaves(&state.methods[&method]);
    intent["payment_method"] = method.clone().into();
    let declined = match behaves {
        Behaves::Declines(code, decline, words) => Some((code, decline, words)),
        Behaves::DeclinesLater if off_session => Some(("card_declined", "generic_decline", "Your card was declined.")),
        Behaves::Asks if off_session => Some((
            "authentication_required",
            "authentication_required",
            "Your card was declined. This transaction requires authentication.",
        )),
        _ => None,
    };
    if let Some((code, decline, words)) = declined {
        let refused = Refused::new(402, "card_error", code, words).and("decline_code", decline.into());
        intent["last_payment_error"] = refused.error().clone();
        intent["payment_method"] = Value::Null;
        intent["status"] = "requires_payment_method".into();
        keep(state, &intent);
        state.tell("payment_intent.payment_failed", &intent);
        return Err(refused.and("payment_intent", intent));
    }
    if behaves == Behaves::Asks && intent["next_action"].is_null() {
        intent["status"] = "requires_action".into();
        intent["next_action"] = json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} });
        keep(state, &intent);
        state.tell("payment_intent.requires_action", &intent);
        return Ok(intent);
    }
    charged(state, intent, &method, behaves)
}

/// The card's owner has shown to its bank that it is them.
pub(crate) fn authenticated(state: &mut State, id: &str) -> Result<Value, Refused> {
    let intent = find(state, id)?;
    let method = intent["payment_method"].as_str().unwrap_or_default().to_owned();
    match intent["status"].as_str() {
        Some("requires_action") => charged(state, intent, &method, Behaves::Pays),
        _ => Err(unexpected(&intent, "authenticate")),
    }
}

fn charged(state: &mut State, mut intent: Value, method: &str, behaves: Behaves) -> Result<Value, Refused> {
    let charge = state.name("ch");
    let manual = intent["capture_method"] == "manual";
    let before = state.seconds() + PROMISED;
    let shown = json!({ "id": charge, "object": "charge", "amount": intent["amount"], "amount_captured": 0, "amount_refunded": 0, "captured": false,
        "currency": intent["currency"], "payment_intent": intent["id"], "disputed": false, "balance_transaction": null,
        "payment_method_details": { "type": "card", "card": { "capture_before": if manual { json!(before) } else { Value::Null } } } });
    state.charges.insert(charge.clone(), shown);
    intent["latest_charge"] = charge.into();
    intent["next_action"] = Value::Null;
    intent["last_payment_error"] = Value::Null;
    if !intent["setup_future_usage"].is_null()
        && let Some(kept) = state.methods.get_mut(method)
    {
        kept["customer"] = intent["customer"].clone();
    }
    if manual {
        intent["status"] = "requires_capture".into();
        intent["amount_capturable"] = intent["amount"].clone();
        keep(state, &intent);
        state.tell("payment_intent.amount_capturable_updated", &intent);
        return Ok(intent);
    }
    let amount = intent["amount"].as_u64().unwrap_or(0);
    let intent = taken(state, intent, amount);
    if behaves == Behaves::IsObjectedTo {
        money::object(state, intent["id"].as_str().unwrap_or_default(), None, "needs_response");
    }
    Ok(intent)
}

fn taken(state: &mut State, mut intent: Value, amount: u64) -> Value {
    intent["status"] = "succeeded".into();
    intent["amount_received"] = amount.into();
    intent["amount_capturable"] = 0.into();
    keep(state, &intent);
    money::settle(state, &intent, amount);
    state.tell("payment_intent.succeeded", &intent);
    intent
}

/// `POST /v1/payment_intents/{id}/capture`
pub(crate) fn capture(state: &mut State, id: &str, form: &Form) -> Result<Value, Refused> {
    let intent = find(state, id)?;
    if intent["status"] != "requires_capture" {
        return Err(unexpected(&intent, "capture"));
    }
    let promised = intent["amount_capturable"].as_u64().unwrap_or(0);
    let amount = form::get(form, "amount_to_capture").and_then(|text| text.parse().ok()).unwrap_or(promised);
    if amount == 0 || amount > promised {
        return Err(Refused::invalid("amount_too_large", "The amount to capture is more than was authorised."));
    }
    let before = state.charges.get(intent["latest_charge"].as_str().unwrap_or_default());
    let before = before.and_then(|charge| charge["payment_method_details"]["card"]["capture_before"].as_i64());
    if before.is_some_and(|before| state.seconds() >= before) {
        expire(state, id);
        return Err(Refused::invalid("charge_expired_for_capture", "The charge cannot be captured as the authorization has expired."));
    }
    Ok(taken(state, intent, amount))
}

/// `POST /v1/payment_intents/{id}/cancel`
pub(crate) fn cancel(state: &mut State, id: &str, form: &Form) -> Result<Value, Refused> {
    let intent = find(state, id)?;
    if matches!(intent["status"].as_str(), Some("succeeded" | "canceled" | "processing")) {
        return Err(unexpected(&intent, "cancel"));
    }
    Ok(ended(state, intent, form::get(form, "cancellation_reason").unwrap_or("requested_by_customer")))
}

/// The promise of a card ends by itself.
pub(crate) fn expire(state: &mut State, id: &str) {
    if let Ok(intent) = find(state, id)
        && intent["status"] == "requires_capture"
    {
        ended(state, intent, "automatic");
    }
}

fn ended(state: &mut State, mut intent: Value, why: &str) -> Value {
    intent["status"] = "canceled".into();
    intent["canceled_at"] = state.seconds().into();
    intent["cancellation_reason"] = why.into();
    intent["amount_capturable"] = 0.into();
    keep(state, &intent);
    state.tell("payment_intent.canceled", &intent);
    intent
}

/// The method that is named, or one of the card whose number is given.
fn method(state: &mut State, form: &Form) -> Result<String, Refused> {
    let known = |number: &str| CARDS.iter().find(|card| card.0 == number);
    if let Some(named) = form::get(form, "payment_method") {
        if state.methods.contains_key(named) {
            return Ok(named.to_owned());
        }
        let card = CARDS.iter().find(|card| card.1 == named).ok_or_else(|| Refused::missing("PaymentMethod"))?;
        return Ok(made(state, card));
    }
    let number = form::get(form, "payment_method_data[card][number]").unwrap_or_default().replace(' ', "");
    let card = known(&number).ok_or_else(|| {
        Refused::new(402, "card_error", "incorrect_number", "Your card number is incorrect.").and("param", "number".into())
    })?;
    Ok(made(state, card))
}

fn made(state: &mut State, (number, _, brand, _): &(&str, &str, &str, Behaves)) -> String {
    let id = state.name("pm");
    let card = json!({ "id": id, "object": "payment_method", "type": "card", "customer": null, "card": { "brand": brand, "last4": &number[12..],
        "exp_month": 12, "exp_year": 2034, "fingerprint": fingerprint(number), "number_for_tests": number } });
    state.methods.insert(id.clone(), card);
    id
}

/// The same for the same number.
fn fingerprint(number: &str) -> String {
    let mut hasher = DefaultHasher::new();
    number.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn behaves(method: &Value) -> Behaves {
    let number = method["card"]["number_for_tests"].as_str().unwrap_or_default();
    CARDS.iter().find(|card| card.0 == number).map_or(Behaves::Pays, |card| card.3)
}

/// `POST /v1/payment_methods/{id}/detach`
pub(crate) fn detach(state: &mut State, id: &str) -> Result<Value, Refused> {
    let method = state.methods.get_mut(id).ok_or_else(|| Refused::missing("PaymentMethod"))?;
    if method["customer"].is_null() {
        return Err(Refused::invalid("payment_method_unexpected_state", "The payment method you provided is not attached to a customer."));
    }
    method["customer"] = Value::Null;
    Ok(method.clone())
}

/// With what `expand[]` asks for in place of its name.
pub(crate) fn expanded(state: &State, mut intent: Value, form: &Form) -> Value {
    let asked = |path: &str| form.iter().any(|(name, value)| name == "expand[]" && value.starts_with(path));
    if asked("payment_method") {
        let method = intent["payment_method"].as_str().and_then(|name| state.methods.get(name)).cloned();
        if let Some(mut method) = method {
            if let Some(card) = method["card"].as_object_mut() {
                card.remove("number_for_tests");
            }
            intent["payment_method"] = method;
        }
    }
    if asked("latest_charge")
        && let Some(charge) = intent["latest_charge"].as_str().and_then(|name| state.charges.get(name))
    {
        let mut charge = charge.clone();
        if state.fees_are_late || !asked("latest_charge.balance_transaction") {
            charge["balance_transaction"] = Value::Null;
        }
        intent["latest_charge"] = charge;
    }
    intent
}
