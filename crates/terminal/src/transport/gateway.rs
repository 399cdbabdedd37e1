//! What a gateway is told beside an envelope, and what it answers (C16, C17).

use super::{HttpTransport, LONGEST_ANSWER, TransportError};
use counterfoil_core::wire::{CARD_HEADER, EXCHANGE_HEADER, PAY_HEADER};
use counterfoil_core::{CardId, Money, RequestId, TitleId};
use counterfoil_format::encoding::parse_strict;
use serde::{Deserialize, Serialize};

/// What goes with an envelope through a gateway: all that a gateway ever learns of who asks.
#[derive(Clone, Debug)]
pub struct Passage<'a> {
    /// Names the exchange: the request's own ID, the same however often it is sent.
    pub exchange: RequestId,
    /// Of the account that is charged, where this terminal is signed in.
    pub token: Option<&'a str>,
    /// The card, where one signs.
    pub card: Option<CardId>,
    /// What the person has agreed to pay.
    pub pay: Option<Money>,
}

/// What came back through a gateway.
#[derive(Clone, Debug, Deserialize)]
pub struct Passed {
    /// The authority's answer, sealed, which is not believed before it was verified.
    pub answer: String,
    /// What the account was charged for it.
    #[serde(default)]
    pub charged: Option<Charged>,
}

/// What an account was charged, as its gateway says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charged {
    /// How much.
    pub price: Money,
    /// What for.
    pub title: TitleId,
    /// The title's name.
    pub name: String,
    /// What is left on the account, in the currency of the price.
    pub balance: Money,
}

impl HttpTransport {
    pub(super) fn pass_on(&self, envelope: &[u8], passage: &Passage<'_>) -> Result<Passed, TransportError> {
        self.first("/v1/terminal/exchange", |url| {
            let mut request = self.agent.post(url).config().timeout_global(Some(self.timeouts.exchange)).build();
            request = request.content_type("application/json").header(EXCHANGE_HEADER, passage.exchange.to_string());
            if let Some(token) = passage.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if let Some(card) = passage.card {
                request = request.header(CARD_HEADER, card.to_string());
            }
            if let Some(pay) = passage.pay {
                request = request.header(PAY_HEADER, format!("{} {}", pay.amount, pay.currency));
            }
            let body = self.body(url, request.send(envelope), LONGEST_ANSWER)?;
            parse_strict(&body).map_err(|error| TransportError::NotAnAuthority { url: url.into(), reason: error.to_string() })
        })
    }
}
