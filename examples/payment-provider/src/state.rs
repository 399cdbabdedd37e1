//! What the provider knows, as the objects that its API shows.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::messages::{Deliveries, Message};

/// Everything.
#[derive(Default)]
pub struct State {
    /// Payment intents by name.
    pub intents: BTreeMap<String, Value>,
    /// Charges by name.
    pub charges: BTreeMap<String, Value>,
    /// Payment methods by name.
    pub methods: BTreeMap<String, Value>,
    /// Customers by name.
    pub customers: BTreeMap<String, Value>,
    /// Refunds by name.
    pub refunds: BTreeMap<String, Value>,
    /// Disputes by name.
    pub disputes: BTreeMap<String, Value>,
    /// What was answered under each idempotency key: method, path and form, then status and body.
    pub answered: BTreeMap<String, (String, u16, Value)>,
    /// What goes wrong next.
    pub faults: Vec<Fault>,
    /// Every request that was carried out: method and path.
    pub requests: Vec<String>,
    /// Every event, in order.
    pub events: Vec<Value>,
    /// Where events are sent, and how.
    pub deliveries: Deliveries,
    pub(crate) outbox: Vec<Message>,
    /// Fees are told only when this is false again.
    pub fees_are_late: bool,
    /// What refunds come to: `succeeded` where none is said.
    pub refunds_come_to: Option<&'static str>,
    /// The time in seconds since 1970, where it is not the system's.
    pub now: Option<i64>,
    made: u64,
}

impl State {
    /// A new name.
    pub(crate) fn name(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}_test{:08}", self.made)
    }

    /// The time, in seconds.
    #[expect(clippy::disallowed_methods, reason = "what a test does not set is the time of this machine")]
    pub(crate) fn seconds(&self) -> i64 {
        self.now.unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
    }

    /// Something has happened: written down, and sent where somebody wants it.
    pub(crate) fn tell(&mut self, kind: &str, object: &Value) {
        let id = self.name("evt");
        let event = json!({ "id": id, "object": "event", "api_version": "2025-10-29.clover", "created": self.seconds(), "livemode": false, "type": kind,
            "data": { "object": object } });
        self.events.push(event.clone());
        let deliveries = self.deliveries.clone();
        if deliveries.url.is_some() {
            for copy in 0..deliveries.copies.max(1) {
                self.outbox.push(Message { body: event.to_string(), copy });
            }
        }
    }
}

/// A request that is not taken, as Stripe's error object says it.
#[derive(Debug)]
pub struct Refused {
    /// HTTP status.
    pub status: StatusCode,
    error: Value,
}

impl Refused {
    /// One of a type, with a code and words.
    pub(crate) fn new(status: u16, kind: &str, code: &str, message: &str) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut error = json!({ "type": kind, "message": message, "doc_url": "https://stripe.com/docs/error-codes" });
        if !code.is_empty() {
            error["code"] = code.into();
        }
        Self { status, error }
    }

    /// The request itself is wrong.
    pub(crate) fn invalid(code: &str, message: &str) -> Self {
        Self::new(400, "invalid_request_error", code, message)
    }

    /// There is no such thing.
    pub(crate) fn missing(what: &str) -> Self {
        Self::new(404, "invalid_request_error", "resource_missing", &format!("No such {what}"))
    }

    /// With more members.
    pub(crate) fn and(mut self, name: &str, value: Value) -> Self {
        self.error[name] = value;
        self
    }

    /// The error by itself, as `last_payment_error` has it.
    pub(crate) fn error(&self) -> &Value {
        &self.error
    }

    /// As it is answered.
    pub fn body(&self) -> Value {
        json!({ "error": self.error })
    }
}
