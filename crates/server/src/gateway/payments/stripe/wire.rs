//! What Stripe answers, as far as it is read here, and what that is in a provider's words.

use counterfoil_core::Timestamp;
use reqwest::StatusCode;
use serde::Deserialize;

use super::may_be_repeated;
use crate::gateway::payments::provider::{self, Card, Failed, Hint, Objection, Refunding, Status};

/// Anything that has a name.
#[derive(Deserialize)]
pub(super) struct Named {
    pub id: String,
}

#[derive(Deserialize)]
pub(super) struct List<T> {
    pub data: Vec<T>,
    #[serde(default)]
    pub has_more: bool,
}

/// Something that is told along, or only named.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expandable<T> {
    Told(Box<T>),
    #[allow(dead_code, reason = "the name is not read")]
    Named(String),
}

impl<T> Expandable<T> {
    fn told(self) -> Option<T> {
        match self {
            Self::Told(told) => Some(*told),
            Self::Named(_) => None,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Intent {
    id: String,
    status: String,
    currency: String,
    #[serde(default)]
    amount_received: u64,
    client_secret: Option<String>,
    latest_charge: Option<Expandable<Charge>>,
    payment_method: Option<Expandable<Method>>,
    last_payment_error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Charge {
    balance_transaction: Option<Expandable<Transaction>>,
    payment_method_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    card: Option<CardDetails>,
}

#[derive(Deserialize)]
struct CardDetails {
    capture_before: Option<i64>,
}

#[derive(Deserialize)]
struct Transaction {
    #[serde(default)]
    fee: i64,
    #[serde(default)]
    currency: String,
}

#[derive(Deserialize)]
struct Method {
    id: String,
    card: Option<Shown>,
}

#[derive(Deserialize)]
struct Shown {
    brand: String,
    last4: String,
    exp_month: i64,
    exp_year: i64,
    #[serde(default)]
    fingerprint: Option<String>,
}

impl From<Intent> for provider::Intent {
    fn from(told: Intent) -> Self {
        let charge = told.latest_charge.and_then(Expandable::told);
        let (fee, details) = match charge {
            Some(charge) => (charge.balance_transaction.and_then(Expandable::told), charge.payment_method_details.and_then(|of| of.card)),
            None => (None, None),
        };
        // What is settled in another currency has its fee in that one, and no number of this one.
        let fee = fee.filter(|of| of.currency == told.currency).and_then(|of| u64::try_from(of.fee).ok());
        let card = told.payment_method.and_then(Expandable::told).and_then(|method| {
            let Shown { brand, last4, exp_month, exp_year, fingerprint } = method.card?;
            Some(Card { id: method.id, brand, last4, expires: (exp_month, exp_year), fingerprint })
        });
        Self {
            id: told.id,
            status: match told.status.as_str() {
                "processing" => Status::Processing,
                "requires_capture" => Status::Authorised,
                "succeeded" => Status::Succeeded,
                "canceled" => Status::Cancelled,
                // requires_payment_method, requires_confirmation, requires_action
                _ => Status::Waiting,
            },
            client_secret: told.client_secret,
            received: told.amount_received,
            capture_by: details.and_then(|of| of.capture_before).map(|seconds| Timestamp(seconds.saturating_mul(1000))),
            fee,
            card,
            failure: told.last_payment_error.map(|refusal| refusal.cause()),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Refund {
    id: String,
    status: Option<String>,
    failure_reason: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    counterfoil_repayment: Option<String>,
}

impl From<Refund> for provider::Refund {
    fn from(told: Refund) -> Self {
        let status = match told.status.as_deref() {
            Some("succeeded") => Refunding::Done,
            Some(ended @ ("failed" | "canceled")) => Refunding::Failed(told.failure_reason.unwrap_or_else(|| ended.to_owned())),
            // pending, requires_action
            _ => Refunding::Pending,
        };
        Self { id: told.id, label: told.metadata.counterfoil_repayment, status }
    }
}

#[derive(Deserialize)]
pub(super) struct Dispute {
    pub id: String,
    payment_intent: Option<String>,
    amount: u64,
    currency: String,
    #[serde(default)]
    reason: String,
    status: String,
    #[serde(default)]
    balance_transactions: Vec<Transaction>,
}

impl From<Dispute> for provider::Dispute {
    fn from(told: Dispute) -> Self {
        let fee: i64 = told.balance_transactions.iter().filter(|of| of.currency == told.currency).map(|of| of.fee).sum();
        Self {
            id: told.id,
            intent: told.payment_intent,
            amount: told.amount,
            fee: u64::try_from(fee).unwrap_or(0),
            reason: told.reason,
            stands: match told.status.as_str() {
                "warning_needs_response" | "warning_under_review" => Objection::Inquiry,
                "warning_closed" | "prevented" => Objection::Closed,
                "won" => Objection::Won,
                "lost" => Objection::Lost,
                // needs_response, under_review
                _ => Objection::Open,
            },
        }
    }
}

#[derive(Deserialize)]
struct Wrong {
    error: Refusal,
}

/// Stripe's error object (docs.stripe.com/api/errors).
#[derive(Deserialize)]
struct Refusal {
    r#type: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    message: Option<String>,
    payment_intent: Option<Named>,
}

impl Refusal {
    fn cause(&self) -> String {
        let code = self.decline_code.as_deref().or(self.code.as_deref());
        match (self.message.as_deref(), code) {
            (Some(message), Some(code)) => format!("{message} ({code})"),
            (Some(words), None) | (None, Some(words)) => words.to_owned(),
            (None, None) => "no reason was given".to_owned(),
        }
    }
}

/// What an answer that is an error comes to.
pub(super) fn failed(status: StatusCode, body: &[u8]) -> Failed {
    let Ok(Wrong { error }) = serde_json::from_slice(body) else {
        return Failed::Away(format!("HTTP {status}"));
    };
    let words = format!("{} (HTTP {})", error.cause(), status.as_u16());
    match (error.r#type.as_deref(), error.code.as_deref()) {
        _ if may_be_repeated(status) => Failed::Away(words),
        (Some("card_error"), _) => Failed::Declined { cause: error.cause(), intent: error.payment_intent.map(|intent| intent.id) },
        (
            _,
            Some(
                "payment_intent_unexpected_state"
                | "charge_already_captured"
                | "charge_already_refunded"
                | "charge_expired_for_capture"
                | "charge_disputed",
            ),
        ) => Failed::State(words),
        (_, Some("resource_missing")) => Failed::Unknown(words),
        _ => Failed::Refused(words),
    }
}

#[derive(Deserialize)]
struct Event {
    r#type: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    object: String,
    #[serde(default)]
    id: String,
    payment_intent: Option<String>,
}

/// What an event is about; none where it is no event.
pub(super) fn hint(body: &[u8]) -> Option<Hint> {
    let Event { r#type, data: Data { object } } = serde_json::from_slice(body).ok()?;
    Some(match (r#type.as_str(), object.object.as_str(), object.payment_intent) {
        (name, ..) if name.starts_with("charge.dispute.") => Hint::Disputes,
        (_, "payment_intent", _) => Hint::Intent(object.id),
        (_, "charge" | "refund", Some(intent)) => Hint::Intent(intent),
        _ => Hint::Nothing,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_may_have_been_done_is_told_from_what_was_not() {
        let error = |kind: &str, code: &str| format!(r#"{{"error":{{"type":"{kind}","code":"{code}","message":"no"}}}}"#);
        let kind = |status: u16, body: &str| failed(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        assert!(matches!(kind(500, "<html>"), Failed::Away(_)));
        assert!(matches!(kind(402, "<html>"), Failed::Away(_)), "a proxy's");
        assert!(matches!(kind(409, &error("idempotency_error", "idempotency_key_in_use")), Failed::Away(_)));
        assert!(matches!(kind(429, &error("invalid_request_error", "rate_limit")), Failed::Away(_)));
        assert!(matches!(kind(402, &error("card_error", "card_declined")), Failed::Declined { .. }));
        assert!(matches!(kind(400, &error("invalid_request_error", "payment_intent_unexpected_state")), Failed::State(_)));
        assert!(matches!(kind(404, &error("invalid_request_error", "resource_missing")), Failed::Unknown(_)));
        assert!(matches!(kind(400, &error("idempotency_error", "")), Failed::Refused(_)));
        assert!(matches!(kind(401, &error("invalid_request_error", "")), Failed::Refused(_)));
    }

    #[test]
    fn an_event_says_only_what_to_look_at() {
        let event = |name: &str, object: &str| hint(format!(r#"{{"type":"{name}","data":{{"object":{object}}}}}"#).as_bytes());
        let intent = Hint::Intent("pi_1".to_owned());
        assert_eq!(event("payment_intent.succeeded", r#"{"object":"payment_intent","id":"pi_1"}"#), Some(intent.clone()));
        assert_eq!(event("charge.refunded", r#"{"object":"charge","id":"ch_1","payment_intent":"pi_1"}"#), Some(intent));
        assert_eq!(event("charge.dispute.created", r#"{"object":"dispute","id":"dp_1","payment_intent":"pi_1"}"#), Some(Hint::Disputes));
        assert_eq!(event("customer.created", r#"{"object":"customer","id":"cus_1"}"#), Some(Hint::Nothing));
        assert_eq!((hint(b"{}"), hint(b"x")), (None, None));
    }
}
