//! Paying in by card at a gateway (C17): begun here, the card entered on the gateway's page, and the cards that the account keeps.

use super::account::{Asked, ask, call, signed_in};
use super::at;
use crate::error::Result;
use crate::terminal::Terminal;
use counterfoil_core::{Money, PaymentId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A payment by card, as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    /// Which.
    pub payment: PaymentId,
    /// As the gateway says: `waiting`, `succeeded`, `cancelled`, …
    pub state: String,
    /// How much.
    pub money: Money,
    /// Where the card is entered, in a browser.
    pub page: String,
    /// Why the last attempt failed, or why nothing was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When its state changed last.
    pub changed_at: Timestamp,
}

impl Payment {
    /// Whether it has come to its end, and whether the money is there.
    pub fn ended(&self) -> Option<bool> {
        match self.state.as_str() {
            "succeeded" => Some(true),
            "cancelling" | "cancelled" | "lost" => Some(false),
            _ => None,
        }
    }
}

/// A payment card that an account keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaymentCard {
    /// Its name at the gateway's payment provider.
    pub card: String,
    /// Such as `visa`.
    pub brand: String,
    /// The last four digits of its number.
    pub last4: String,
    /// The month that it ends with.
    pub exp_month: u32,
    /// And the year.
    pub exp_year: u32,
    /// Since when it is kept.
    pub kept_at: Timestamp,
}

/// Begins to pay in. Nothing is paid until a card is entered on the payment's page; what nobody pays is given up by itself.
///
/// # Errors
/// What the gateway refuses; [`crate::transport::TransportError`].
pub fn begin(terminal: &Terminal, gateway: &str, money: Money, keep: bool) -> Result<Payment> {
    let mut bytes = [0; 16];
    terminal.with_random(|random| random.fill(&mut bytes));
    let gateway = at(gateway);
    let body = json!({ "payment": PaymentId::from_bytes(bytes), "money": money, "keep_card": keep });
    call(terminal, &gateway, Some(&signed_in(terminal, &gateway)?), "/v1/account/top-ups", Some(body))
}

/// How a payment stands.
///
/// # Errors
/// What the gateway refuses; [`crate::transport::TransportError`].
pub fn look(terminal: &Terminal, gateway: &str, payment: PaymentId) -> Result<Payment> {
    let gateway = at(gateway);
    call(terminal, &gateway, Some(&signed_in(terminal, &gateway)?), &format!("/v1/account/top-ups/{payment}"), None)
}

/// The payment cards that the account keeps, the one that is charged first.
///
/// # Errors
/// What the gateway refuses; [`crate::transport::TransportError`].
pub fn cards(terminal: &Terminal, gateway: &str) -> Result<Vec<PaymentCard>> {
    #[derive(Deserialize)]
    struct Kept {
        cards: Vec<PaymentCard>,
    }
    let gateway = at(gateway);
    let kept: Kept = call(terminal, &gateway, Some(&signed_in(terminal, &gateway)?), "/v1/account/payment-cards", None)?;
    Ok(kept.cards)
}

/// Keeps a payment card no longer; repeating it changes nothing.
///
/// # Errors
/// What the gateway refuses; [`crate::transport::TransportError`].
pub fn remove_card(terminal: &Terminal, gateway: &str, card: &str) -> Result<()> {
    let gateway = at(gateway);
    let path = format!("/v1/account/payment-cards/{}", crate::store::escaped(card));
    ask::<Option<Value>>(terminal, &gateway, Some(&signed_in(terminal, &gateway)?), &path, Asked::Delete).map(drop)
}
