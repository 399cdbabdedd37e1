//! Prices: what is to be paid, to a gateway (C17) or to the authority itself (C18), who agrees to it, and what was charged.

use crate::terminal::Terminal;
use counterfoil_core::rules::order::{Collection, Payment};
use counterfoil_core::wire::{ChargeOnOffer, ChargedCopy};
use counterfoil_core::{Code, CopyOffer, Currency, Money, OrderId, Refusal, RequestId, Timestamp, TitleId};
use serde::Serialize;
use std::sync::PoisonError;

/// Who charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A gateway, of an account there.
    Gateway,
    /// The authority itself, by an order.
    Authority,
}

/// What is to be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Price {
    /// To whom.
    pub by: By,
    /// What for.
    pub title: TitleId,
    /// The title's name.
    pub name: String,
    /// How much.
    pub price: Money,
    /// What is there in that currency: on the account, or of what the authority was paid in advance, where it is paid from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Money>,
    /// The payment card, in words, that a gateway charges with what the account is short of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// How it is paid to the authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<Collection>,
    /// Until when a gateway's price stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl From<ChargeOnOffer> for Price {
    fn from(offer: ChargeOnOffer) -> Self {
        let ChargeOnOffer { title, name, price, balance, expires_at, card } = offer;
        Self { by: By::Gateway, title, name, price, balance: Some(balance), card, payment: None, expires_at: Some(expires_at) }
    }
}

impl Price {
    /// What the authority sells a copy for, in the currency that is wanted, or in the first.
    ///
    /// # Errors
    /// [`Code::PriceChanged`] where it has no price in that currency.
    pub(crate) fn of(offer: &CopyOffer, wanted: Option<Currency>) -> Result<Self, Refusal> {
        let price = match wanted {
            Some(wanted) => counterfoil_core::rules::gateway::in_currency(&offer.prices, wanted)?,
            None => *offer.prices.first().ok_or_else(|| Refusal::with(Code::NotForSale, "it has no price"))?,
        };
        let held = offer.balance.iter().find(|held| held.currency == price.currency).copied();
        let balance = (offer.payment == Collection::Balance).then(|| held.unwrap_or(Money { amount: 0, ..price }));
        let (title, name) = (offer.title.clone(), offer.name.clone());
        Ok(Self { by: By::Authority, title, name, price, balance, card: None, payment: Some(offer.payment), expires_at: None })
    }
}

/// What is to be agreed to.
#[derive(Clone, Copy, Debug)]
pub struct PriceAsked<'a> {
    /// The gateway's address, or the authority's name.
    pub at: &'a str,
    /// What for, how much, and what there is to pay it with.
    pub offer: &'a Price,
    /// What was agreed to before, where it has another price now.
    pub agreed: Option<Money>,
}

/// What the person says to a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// It may be charged.
    Agreed,
    /// It may not.
    Declined,
    /// It is more than was allowed beforehand.
    OverLimit(Money),
    /// There is nobody to ask.
    NobodyToAsk,
}

/// Asks somebody whether a price may be charged.
pub type AskPrice = Box<dyn Fn(&PriceAsked<'_>) -> Consent + Send + Sync>;

/// A price that was not agreed to, or cannot be paid: nothing was charged.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct Unpaid {
    /// Why not.
    pub refusal: Refusal,
    /// What would be charged.
    pub offer: Price,
}

/// What was charged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Charged {
    /// By whom.
    pub by: By,
    /// How much.
    pub price: Money,
    /// What for.
    pub title: TitleId,
    /// The title's name.
    pub name: String,
    /// The exchange, where a gateway has charged it: the same in its books and in the authority's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<RequestId>,
    /// The order, where the authority has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// How it is paid to the authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<Payment>,
    /// What is left in that currency: on the account, or of what the authority was paid in advance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Money>,
}

impl From<ChargedCopy> for Charged {
    fn from(charged: ChargedCopy) -> Self {
        let ChargedCopy { order_id, title, name, price, payment, balance } = charged;
        Self { by: By::Authority, price, title, name, exchange: None, order: Some(order_id), payment: Some(payment), balance }
    }
}

impl Terminal {
    /// Has prices asked about like that. Otherwise nobody agrees to any.
    pub fn set_prices(&mut self, ask: AskPrice) {
        self.prices = Some(ask);
    }

    /// What was charged since this was asked last.
    pub fn take_charged(&self) -> Vec<Charged> {
        std::mem::take(&mut *self.charged.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn note_charged(&self, charged: Charged) {
        self.charged.lock().unwrap_or_else(PoisonError::into_inner).push(charged);
    }

    /// Whether the price may be charged, by whoever is to be asked. What costs nothing is not asked about.
    pub(crate) fn consent(&self, at: &str, offer: &Price, agreed: Option<Money>) -> Result<(), Box<Unpaid>> {
        if offer.price.amount == 0 {
            return Ok(());
        }
        let asked = PriceAsked { at, offer, agreed };
        let no = |detail: String| Err(Box::new(Unpaid { refusal: Refusal::with(Code::ChargeUnconfirmed, detail), offer: offer.clone() }));
        let price = format!("`{}` costs {} at {at}", offer.title, offer.price);
        match self.prices.as_ref().map_or(Consent::NobodyToAsk, |ask| ask(&asked)) {
            Consent::Agreed => Ok(()),
            Consent::Declined | Consent::NobodyToAsk => no(price),
            Consent::OverLimit(limit) => no(format!("{price}, which is more than {limit}")),
        }
    }
}
