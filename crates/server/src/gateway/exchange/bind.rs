//! The price of an exchange is bound in the balance that pays it, once, by whoever agrees to it first.

use counterfoil_core::{AccountId, CardId, Money, PaymentId, RequestId, Timestamp};

use super::{Asked, PATIENCE};
use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::ledger::{self, Balance, Reserved};
use crate::gateway::payments::cover;
use crate::gateway::store::account;
use crate::gateway::store::exchange::{self, ExchangeRow, State, posting_id};

/// What a person has agreed to, and what is handed in for it.
pub(super) struct Agreed {
    pub pay: Option<Money>,
    pub card: Option<CardId>,
    pub envelope: String,
    /// What a kept card has promised of it.
    pub promised: Option<PaymentId>,
}

impl Agreed {
    pub fn of(asked: &Asked) -> Self {
        Self { pay: asked.pay, card: asked.card, envelope: asked.envelope.to_string(), promised: None }
    }
}

/// What came of binding.
pub(super) enum Bound {
    /// The price is bound, by this call or an earlier one.
    Reserved(Box<ExchangeRow>),
    /// The balance does not suffice: what it is.
    Short(Balance),
    /// Another request of the same exchange has brought it to its end meanwhile.
    Ended(Box<ExchangeRow>),
    /// It stands elsewhere, or at another price, by now.
    Elsewhere,
}

/// Binds the price for what was asked, in a transaction of its own, with what a kept card has promised of it.
pub(super) async fn bound(
    app: &App,
    asked: &Asked,
    row: &ExchangeRow,
    promised: Option<PaymentId>,
    now: Timestamp,
) -> Result<Bound, DbError> {
    let (of, agreed) = ((row.account, row.id), Agreed { promised, ..Agreed::of(asked) });
    let reserve = async move |tx: &mut Tx| bind(tx, of, &agreed, now).await;
    app.db.write("reserve charge", account::family(row.account), reserve).await
}

/// Binds the price in the balance. Whoever binds it asks the authority next, so the exchange is committing from this transaction on: one commit less
/// than a state between them would cost, and to whoever finds it after a crash the two are the same.
pub(super) async fn bind(tx: &mut Tx, of: (AccountId, RequestId), agreed: &Agreed, now: Timestamp) -> Result<Bound, DbError> {
    let Some(row) = exchange::find(tx, of.1).await?.filter(|row| row.account == of.0) else { return Ok(Bound::Elsewhere) };
    match row.state {
        State::Offered if agreed.pay == Some(row.charge.price) => {}
        // Somebody was faster, with the same.
        State::Reserved | State::Committing => return Ok(Bound::Reserved(Box::new(row))),
        State::Charged | State::Voided => return Ok(Bound::Ended(Box::new(row))),
        State::Offered | State::Lapsed | State::Undoing | State::Undone => return Ok(Bound::Elsewhere),
    }
    if let Reserved::Short(balance) = ledger::reserve(tx, of.0, posting_id(of.1, "reserve"), of.1, &row.charge, now).await? {
        let Some(promised) = agreed.promised else { return Ok(Bound::Short(balance)) };
        if !cover::fund(tx, of.0, promised, &row.charge, now).await? {
            return Ok(Bound::Short(balance));
        }
        if ledger::reserve(tx, of.0, posting_id(of.1, "reserve"), of.1, &row.charge, now).await? != Reserved::Done {
            return Err(tx.conflict("balance"));
        }
    }
    exchange::reseal(tx, of.0, of.1, &agreed.envelope).await?;
    if let Some(card) = agreed.card {
        account::note_card(tx, of.0, card, now).await?;
    }
    if !exchange::move_on(tx, of, State::Offered, State::Committing, Timestamp(now.0 + PATIENCE), now).await? {
        return Err(tx.conflict("exchange"));
    }
    Ok(Bound::Reserved(Box::new(ExchangeRow { state: State::Committing, envelope: Some(agreed.envelope.clone()), ..row })))
}
