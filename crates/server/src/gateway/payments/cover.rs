//! What an exchange costs beyond the balance comes from a kept card (C17, decision 0034): promised before the price is bound, taken once the authority has
//! carried the exchange out, let go where it has not.

use counterfoil_core::wire::Charge;
use counterfoil_core::{AccountId, Money, PaymentId, RequestId, Timestamp};

use super::{PATIENCE, Stripe, drive};
use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::ledger::{self, Source, TopUp, ToppedUp};
use crate::gateway::store::account;
use crate::gateway::store::exchange::ExchangeRow;
use crate::gateway::store::payment::{self, PaymentRow, Purpose, State, derived, posting_id};
use crate::gateway::store::payment_card::{self, CardRow};
use crate::problem::Problem;

/// Times that a card is asked for one exchange: a bank that said no five times is not asked on.
const ATTEMPTS: usize = 5;
/// When what is bound is first looked at: by then, most exchanges have ended.
const SOON: i64 = 1000;

/// Whether a card stands in for what is missing.
#[derive(Debug)]
pub enum Covered {
    /// It has promised the money, for this payment.
    Promised(PaymentId),
    /// It does not, or there is none: why, and what can be done.
    No {
        /// For the person, where there is something to say.
        why: String,
        /// What they can do.
        hint: &'static str,
    },
}

const TOP_UP: &str = "Pay in to the account: `counterfoil account top-up`, or a voucher; then the same again.";
const OTHER_CARD: &str =
    "Pay in by card once more (`counterfoil account top-up`), where its bank can ask you, or with another card; then the same again.";

/// The kept card that would be charged for what is missing; none where no card is charged here.
///
/// # Errors
/// A failure of the database.
pub async fn card(app: &App, account: AccountId) -> Result<Option<CardRow>, DbError> {
    match app.payments {
        Some(_) => Ok(super::cards(app, account).await?.into_iter().next()),
        None => Ok(None),
    }
}

/// Has the account's card promise what is missing. The same exchange again goes on where it stands: a promise that may have been made is asked for by
/// the same name.
///
/// # Errors
/// `payments_unavailable`: whether it was promised is not known, and nothing is bound; or a failure of the database.
pub async fn promise(app: &App, row: &ExchangeRow, missing: Money) -> Result<Covered, Problem> {
    let no = |why: String, hint| Ok(Covered::No { why, hint });
    let words = format!("{missing} are missing");
    let (Some(payments), Some(card)) = (&app.payments, card(app, row.account).await?) else { return no(words, TOP_UP) };
    if !Stripe::takes(missing.currency) {
        return no(format!("{words}, and cards are not charged in {}", missing.currency), TOP_UP);
    }
    let least = Money { amount: payments.least, ..missing };
    if missing.amount < least.amount {
        return no(format!("{words}, and cards are charged with {least} and more"), TOP_UP);
    }
    let Some(begun) = begin(app, row, missing, &card).await? else {
        return no(format!("{words}, and the {} was asked {ATTEMPTS} times", card.words()), TOP_UP);
    };
    if begun.state == State::Begun {
        drive::step(app, &begun).await?;
    }
    let id = begun.id;
    let now = app.db.read("payment", async move |tx: &mut Tx| payment::find(tx, id).await).await?;
    match now {
        Some(now) if now.state == State::Authorised => Ok(Covered::Promised(id)),
        Some(now) => {
            let cause = now.failure.unwrap_or_else(|| "it was given up".to_owned());
            app.left.notify_one();
            no(format!("{words}, and the {} was refused: {cause}", card.words()), OTHER_CARD)
        }
        None => Err(Problem::internal("a payment that was begun is gone")),
    }
}

/// The payment of an exchange that is under way, or the next one; none where there were too many.
async fn begin(app: &App, row: &ExchangeRow, missing: Money, card: &CardRow) -> Result<Option<PaymentRow>, DbError> {
    let (account, exchange, now, card) = (row.account, row.id, app.clock.now(), card.card.clone());
    let begin = async move |tx: &mut Tx| -> Result<Option<PaymentRow>, DbError> {
        let earlier = payment::of_exchange(tx, account, exchange).await?;
        // One of a card that was removed meanwhile is let go by the driver.
        let open = |row: &&PaymentRow| matches!(row.state, State::Begun | State::Authorised) && row.card.as_deref() == Some(card.as_str());
        if let Some(open) = earlier.iter().find(open) {
            return Ok(Some(open.clone()));
        }
        if earlier.len() >= ATTEMPTS {
            return Ok(None);
        }
        let id = attempt(exchange, earlier.len());
        let next_at = Timestamp(now.0 + PATIENCE);
        let fresh =
            PaymentRow { card: Some(card.clone()), ..PaymentRow::new(account, id, Purpose::Exchange(exchange), missing, next_at, now) };
        payment::insert(tx, &fresh).await?;
        payment::find(tx, id).await
    };
    app.db.write("begin payment for exchange", account::family(account), begin).await
}

/// The name of an attempt: the same for every repeat of it.
fn attempt(exchange: RequestId, number: usize) -> PaymentId {
    let of = derived(exchange.0.as_bytes(), &format!("attempt {number}"));
    PaymentId::from_bytes(*of.as_bytes())
}

/// Books what a card has promised as a lot, exactly as much as the balance is short of the price, so that the reservation in the same transaction takes all
/// of it. False, and nothing is written, where the promise is given up by now or falls short.
///
/// # Errors
/// A failure of the database.
pub async fn fund(tx: &mut Tx, account: AccountId, id: PaymentId, charge: &Charge, now: Timestamp) -> Result<bool, DbError> {
    let Some(row) = payment::find(tx, id).await?.filter(|row| row.state == State::Authorised && row.account == account) else {
        return Ok(false);
    };
    let held = ledger::balance(tx, account, &charge.price.currency).await?;
    let short = charge.price.amount.saturating_sub(held.available().unsigned_abs());
    if short == 0 || short > row.money.amount || charge.price.currency != row.money.currency {
        // What is there by now suffices, or does not even so.
        return Ok(false);
    }
    let Ok(taken) = i64::try_from(short) else { return Ok(false) };
    let held = payment::hold(tx, row.of(), taken, Timestamp(now.0 + SOON), now).await?;
    if !held {
        return Err(tx.conflict("a payment"));
    }
    let card = payment_card::kept(tx, account).await?.into_iter().find(|card| Some(&card.card) == row.card.as_ref());
    let note = card.map_or_else(|| "card".to_owned(), |card| card.words());
    let money = Money { amount: short, ..charge.price };
    let top_up = TopUp { posting: row.posting, money, source: Source::Card, actor: "payment provider".to_owned(), note };
    match ledger::top_up(tx, account, &top_up, now).await? {
        ToppedUp::Done => Ok(true),
        ToppedUp::Unfit | ToppedUp::Other(_) => Err(DbError::Constraint(format!("{money} of payment {id} cannot be booked"))),
    }
}

/// Lets go what cards have promised for an exchange that was voided in the same transaction just before. What was taken early, because the promise would
/// have ended, stays on the account.
///
/// # Errors
/// A failure of the database.
pub async fn let_go(tx: &mut Tx, account: AccountId, exchange: RequestId, now: Timestamp) -> Result<(), DbError> {
    if let Some((payment, lot)) = payment::let_go(tx, account, exchange, now).await? {
        ledger::release(tx, account, lot, posting_id(payment, "release"), now).await?;
    }
    Ok(())
}

/// Gives up a promise that was not bound.
///
/// # Errors
/// A failure of the database.
pub async fn drop_promise(app: &App, id: PaymentId) -> Result<(), Problem> {
    let found = app.db.read("payment", async move |tx: &mut Tx| payment::find(tx, id).await).await?;
    if let Some(row) = found.filter(|row| row.state == State::Authorised) {
        drive::give_up(app, &row, "the balance has changed").await?;
        app.left.notify_one();
    }
    Ok(())
}
