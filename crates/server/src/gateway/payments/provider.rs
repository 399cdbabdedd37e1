//! What a gateway asks of a payment provider (C17), in its own words. Stripe is the first that answers (`stripe.rs`).
//!
//! Every request that changes something has a key of its own: with the same key again, the provider does nothing a second time. It can be asked how
//! a payment stands at any time, and that answer decides; what it tells by itself (a [`Hint`]) only says that it is time to ask.

use std::future::Future;

use counterfoil_core::{Money, Timestamp};

/// A provider.
pub trait Provider: Send + Sync {
    /// Makes somebody known who may keep cards; answers with the provider's name for them.
    fn customer(&self, account: &str, key: &str) -> impl Future<Output = Result<String, Failed>> + Send;
    /// Begins a payment that a person completes at the provider, and from where the card may be kept.
    fn begin(&self, asked: &Asked<'_>, customer: Option<&str>, key: &str) -> impl Future<Output = Result<Intent, Failed>> + Send;
    /// Has a kept card promise an amount, with nobody there to ask.
    fn authorise(&self, asked: &Asked<'_>, card: KeptCard<'_>, key: &str) -> impl Future<Output = Result<Intent, Failed>> + Send;
    /// Takes so many minor units of what a card has promised; the rest is let go.
    fn capture(&self, intent: &str, amount: u64, key: &str) -> impl Future<Output = Result<Intent, Failed>> + Send;
    /// Ends a payment that has not been taken.
    fn void(&self, intent: &str, key: &str) -> impl Future<Output = Result<Intent, Failed>> + Send;
    /// How a payment stands.
    fn look_up(&self, intent: &str) -> impl Future<Output = Result<Intent, Failed>> + Send;
    /// Gives so many minor units back to the card. `label`: comes back with [`Provider::refunds`].
    fn refund(&self, intent: &str, amount: u64, label: &str, key: &str) -> impl Future<Output = Result<Refund, Failed>> + Send;
    /// What was given back of a payment.
    fn refunds(&self, intent: &str) -> impl Future<Output = Result<Vec<Refund>, Failed>> + Send;
    /// Forgets a kept card.
    fn forget(&self, card: &str) -> impl Future<Output = Result<(), Failed>> + Send;
    /// An objection of a card holder.
    fn dispute(&self, dispute: &str) -> impl Future<Output = Result<Dispute, Failed>> + Send;
    /// Objections since then, and a while before it, in no order.
    fn disputes(&self, since: Timestamp) -> impl Future<Output = Result<Vec<Dispute>, Failed>> + Send;
    /// What a message is about that says that it comes from the provider.
    ///
    /// # Errors
    /// It does not, or not now.
    fn hint(&self, signature: &str, body: &[u8], now: Timestamp) -> Result<Hint, Forged>;
}

/// A payment that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// How much.
    pub money: Money,
    /// The payment's own ID, which the provider keeps with it.
    pub payment: &'a str,
    /// For the card's statement and for whoever looks at the provider's pages.
    pub words: &'a str,
}

/// A card that was kept, and whose.
#[derive(Clone, Copy, Debug)]
pub struct KeptCard<'a> {
    /// The provider's name for who keeps it.
    pub customer: &'a str,
    /// The provider's name for the card.
    pub card: &'a str,
}

/// Where a payment stands at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for a card, or for the card's owner.
    Waiting,
    /// The card's bank has not decided.
    Processing,
    /// The card has promised the money.
    Authorised,
    /// The provider has the money.
    Succeeded,
    /// It has ended, and nothing was paid.
    Cancelled,
}

/// A payment, as the provider has it.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Its name.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// What the person's browser shows the provider; no one else is to have it.
    pub client_secret: Option<String>,
    /// What was taken, in minor units.
    pub received: u64,
    /// Until when what is promised can be taken, where that is told.
    pub capture_by: Option<Timestamp>,
    /// What the provider asks for it, where that is known, and in the payment's own currency.
    pub fee: Option<u64>,
    /// The card that has paid.
    pub card: Option<Card>,
    /// Why the last attempt failed, for its payer.
    pub failure: Option<String>,
}

/// What is told of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The provider's name for it.
    pub id: String,
    /// Such as `visa`.
    pub brand: String,
    /// The last four digits of its number.
    pub last4: String,
    /// The month that it ends with, and its year.
    pub expires: (i64, i64),
    /// The provider's name for the number, the same however often it is entered; where it tells one.
    pub fingerprint: Option<String>,
}

/// Money that goes back to a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The provider's name for it.
    pub id: String,
    /// As it was asked for.
    pub label: Option<String>,
    /// Where it stands.
    pub status: Refunding,
}

/// Where a refund stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refunding {
    /// On its way.
    Pending,
    /// Done, as far as the provider can.
    Done,
    /// It has not got there: why.
    Failed(String),
}

/// An objection of a card holder, as the provider has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// The provider's name for it.
    pub id: String,
    /// The payment that it is about.
    pub intent: Option<String>,
    /// How much it is about, in minor units.
    pub amount: u64,
    /// What the provider asks for it, in the payment's currency; 0 where that is not known.
    pub fee: u64,
    /// Why, in the card holder's bank's words.
    pub reason: String,
    /// Where it stands.
    pub stands: Objection,
}

/// Where an objection stands at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// The bank asks; no money has moved.
    Inquiry,
    /// The money is gone, and the bank has not decided.
    Open,
    /// The bank has given the money back.
    Won,
    /// The bank has decided for its card holder.
    Lost,
    /// It has ended, and no money has moved.
    Closed,
}

/// What the provider says that it is time to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A payment, by the provider's name for it.
    Intent(String),
    /// Objections.
    Disputes,
    /// Nothing that matters here.
    Nothing,
}

/// A message that is not the provider's, or is not fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// No secret is configured that could tell.
    #[error("no webhook secret is configured")]
    NoSecret,
    /// It has no signature that can be read.
    #[error("the signature cannot be read")]
    Unreadable,
    /// Nobody who knows the secret has signed it.
    #[error("the signature is not the provider's")]
    Wrong,
    /// It was signed too long ago, or too far ahead.
    #[error("the signature is not fresh")]
    Stale,
    /// It is signed, and is no event.
    #[error("it is no event")]
    NoEvent,
}

/// Why there is no answer, or no good one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failed {
    /// None came, or one that says nothing: what was asked may have been done. The same again, with the same key, tells.
    #[error("the payment provider does not answer: {0}")]
    Away(String),
    /// The card, or its bank, says no.
    #[error("the card was refused: {cause}")]
    Declined {
        /// Why, for its owner.
        cause: String,
        /// The payment that it was refused for, where one was made.
        intent: Option<String>,
    },
    /// It does not stand so that this could be done.
    #[error("the payment provider cannot do that as it stands: {0}")]
    State(String),
    /// It does not know it.
    #[error("the payment provider knows no such thing: {0}")]
    Unknown(String),
    /// It does not take the request, or not from this gateway.
    #[error("the payment provider does not take it: {0}")]
    Refused(String),
}
