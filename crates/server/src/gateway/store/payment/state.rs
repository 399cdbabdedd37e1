//! Where a payment can stand: one word each, in JSON and in the database.

use serde::Serialize;

use crate::db::{FromValue, Value};

/// Where a payment stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Written down. The provider may have been asked, and may not.
    Begun,
    /// The provider waits for the person to enter a card, or for the card's bank.
    Waiting,
    /// The card has promised the money for an exchange, which is not charged yet.
    Authorised,
    /// What the card has promised is booked, and bound by its exchange.
    Held,
    /// The provider is asked to take what the card has promised.
    Capturing,
    /// The provider has the money.
    Succeeded,
    /// The provider is asked to let it be.
    Cancelling,
    /// Nothing was paid.
    Cancelled,
    /// The card's promise ended before it was taken: what it has paid for ends.
    Lost,
}

impl State {
    const ALL: [Self; 9] = [
        Self::Begun,
        Self::Waiting,
        Self::Authorised,
        Self::Held,
        Self::Capturing,
        Self::Succeeded,
        Self::Cancelling,
        Self::Cancelled,
        Self::Lost,
    ];

    /// As in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Waiting => "waiting",
            Self::Authorised => "authorised",
            Self::Held => "held",
            Self::Capturing => "capturing",
            Self::Succeeded => "succeeded",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// Whether it has come to its end.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Cancelled | Self::Lost)
    }
}

impl FromValue for State {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| format!("`{text}` is no state of a payment"))
    }
}
