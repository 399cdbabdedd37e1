//! Drives every payment to its end by asking the provider (C17), whether or not anybody waits for it.

use counterfoil_core::{AccountId, Money, Timestamp};
use futures_util::{StreamExt as _, stream};

use super::provider::{Asked, Card, Failed, Intent, KeptCard, Provider as _, Status};
use super::{PATIENCE, Payments, STANDS, disputes, of, repay};
use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::ledger::{self, Payee, Source, TopUp, ToppedUp};
use crate::gateway::store::account;
use crate::gateway::store::exchange::{self, State as Exchange};
use crate::gateway::store::payment::{self, PaymentRow, Purpose, State, Step, posting_id};
use crate::gateway::store::payment_card::{self, CardRow};
use crate::problem::Problem;

/// Payments that are driven in one turn, and at once.
const TURN: (i64, usize) = (200, 8);
/// The longest time between two looks at what is not ended.
const LONGEST: i64 = 5 * 60 * 1000;
/// How long before a card's promise ends it is taken, though nobody knows yet what came of the exchange.
pub const MARGIN: i64 = 12 * 60 * 60 * 1000;
/// How long a card's promise is counted on where the provider does not say: for one that nobody was there for, Visa's is the shortest, 4 days 18 hours.
pub const PROMISED: i64 = 4 * Timestamp::DAY;
/// How often it is looked for a fee that is not known yet.
const FEE: i64 = 12;

/// Drives what is due once; says how many payments came to their end.
///
/// # Errors
/// A failure of the database. What stands in the way of one payment is written at it.
pub async fn turn(app: &App) -> Result<usize, DbError> {
    let Some(payments) = &app.payments else { return Ok(0) };
    let now = app.clock.now();
    let due = app.db.read("payments due", async move |tx: &mut Tx| payment::due(tx, now, TURN.0).await).await?;
    let driven = stream::iter(due).map(|row| drive(app, row)).buffer_unordered(TURN.1).collect::<Vec<_>>().await;
    let ended: Vec<bool> = driven.into_iter().collect::<Result<_, _>>()?;
    repay::turn(app, payments).await?;
    disputes::turn(app, payments).await?;
    forget_cards(app, payments).await?;
    let open = app.db.read("open payments", async |tx: &mut Tx| payment::open(tx).await).await?;
    // Not near 2⁵², where this would be inexact.
    metrics::gauge!("counterfoil_gateway_payments_open").set(open as f64);
    Ok(ended.into_iter().filter(|ended| *ended).count())
}

async fn drive(app: &App, row: PaymentRow) -> Result<bool, DbError> {
    let of = row.of();
    let Err(problem) = step(app, &row).await else {
        let after = app.db.read("payment", async move |tx: &mut Tx| payment::find(tx, of.1).await).await?;
        return Ok(after.is_some_and(|after| after.state.has_ended() && !row.state.has_ended()));
    };
    let (now, trouble) = (app.clock.now(), problem.to_string());
    tracing::warn!(payment = %row.id, state = row.state.as_str(), %problem, "a payment could not be carried on");
    let next_at = Some(Timestamp(now.0 + backoff(row.tries)));
    let put_off = async move |tx: &mut Tx| payment::put_off(tx, &row, Some(&trouble), next_at).await;
    app.db.write("put payment off", account::family(of.0), put_off).await?;
    Ok(false)
}

/// One second, doubled up to five minutes.
pub(super) fn backoff(tries: i64) -> i64 {
    1000_i64.saturating_mul(1 << tries.clamp(0, 20)).min(LONGEST)
}

/// The next step of a payment.
///
/// # Errors
/// The provider does not answer, or refuses; or a failure of the database. The same again goes on where it stands.
pub async fn step(app: &App, row: &PaymentRow) -> Result<(), Problem> {
    let payments = of(app)?;
    match row.state {
        State::Begun => begun(app, payments, row).await,
        State::Waiting | State::Cancelling => wait_or_cancel(app, payments, row).await,
        // Whoever asked for it has not bound it in time.
        State::Authorised => give_up(app, row, "the price was not charged").await,
        State::Held => held(app, row).await,
        State::Capturing => capture(app, payments, row).await,
        State::Succeeded => fee_of(app, payments, row).await,
        State::Cancelled | State::Lost => move_on(app, row, row.state, Step::default()).await,
    }
}

async fn move_on(app: &App, row: &PaymentRow, to: State, step: Step) -> Result<(), Problem> {
    moved_on(app, row, to, step).await.map(drop)
}

/// As `move_on`; false where it stands elsewhere by now.
async fn moved_on(app: &App, row: &PaymentRow, to: State, step: Step) -> Result<bool, Problem> {
    let (of, from, now) = (row.of(), row.state, app.clock.now());
    let moved = app
        .db
        .write("move payment on", account::family(of.0), async move |tx: &mut Tx| payment::move_on(tx, of, from, to, &step, now).await);
    let moved = moved.await?;
    if moved && to.has_ended() {
        counted(to);
    }
    Ok(moved)
}

fn counted(state: State) {
    metrics::counter!("counterfoil_gateway_payments_total", "outcome" => state.as_str()).increment(1);
}

/// Asks the provider for what was written down.
async fn begun(app: &App, payments: &Payments, row: &PaymentRow) -> Result<(), Problem> {
    let (id, now) = (row.id.to_string(), app.clock.now());
    if now.0 >= row.created_at.0 + STANDS {
        // The provider has forgotten the key by now. What it may have made of it nobody can pay, and what a card may have promised lapses by itself.
        return declined(app, row, "the payment provider has not answered in time".to_owned(), None).await;
    }
    let asked = |words| Asked { money: row.money, payment: &id, words };
    match (row.purpose, &row.card) {
        (Purpose::Exchange(_), Some(card)) => {
            let customer = customer(app, payments, row.account).await?;
            let kept = KeptCard { customer: &customer, card };
            let told = match payments.provider.authorise(&asked("Charged to your card as agreed"), kept, &format!("{id}-authorise")).await {
                Err(Failed::Declined { cause, intent }) => return declined(app, row, cause, intent).await,
                Err(failed @ (Failed::Refused(_) | Failed::Unknown(_) | Failed::State(_))) => {
                    tracing::warn!(payment = %row.id, error = %failed, "a kept card cannot be charged");
                    return declined(app, row, "the card that was kept cannot be charged".to_owned(), None).await;
                }
                told => told?,
            };
            if told.status != Status::Authorised {
                let cause = told.failure.unwrap_or_else(|| "its bank asks for its owner".to_owned());
                return declined(app, row, cause, Some(told.id)).await;
            }
            let ends_at = told.capture_by.unwrap_or(Timestamp(now.0 + PROMISED));
            let step =
                Step { intent: Some(told.id), ends_at: Some(ends_at), next_at: Some(Timestamp(now.0 + PATIENCE)), ..Step::default() };
            move_on(app, row, State::Authorised, step).await
        }
        _ => {
            let customer = if row.keep { Some(customer(app, payments, row.account).await?) } else { None };
            let told = payments.provider.begin(&asked("Paid in to your account"), customer.as_deref(), &format!("{id}-begin")).await?;
            let ends_at = Timestamp(row.created_at.0 + STANDS);
            let step = Step { intent: Some(told.id), ends_at: Some(ends_at), next_at: Some(Timestamp(now.0 + 2000)), ..Step::default() };
            move_on(app, row, State::Waiting, step).await
        }
    }
}

/// The card says no. What was made of it at the provider is let be.
async fn declined(app: &App, row: &PaymentRow, cause: String, intent: Option<String>) -> Result<(), Problem> {
    let to = if intent.is_some() { State::Cancelling } else { State::Cancelled };
    let next_at = intent.is_some().then(|| app.clock.now());
    move_on(app, row, to, Step { failure: Some(cause), intent, next_at, ..Step::default() }).await
}

pub(super) async fn give_up(app: &App, row: &PaymentRow, why: &str) -> Result<(), Problem> {
    let step = Step { failure: Some(why.to_owned()), next_at: Some(app.clock.now()), ..Step::default() };
    move_on(app, row, State::Cancelling, step).await
}

/// Who an account is at the provider: made known where it is not.
async fn customer(app: &App, payments: &Payments, account: AccountId) -> Result<String, Problem> {
    if let Some(known) = app.db.read("customer", async move |tx: &mut Tx| payment_card::customer(tx, account).await).await? {
        return Ok(known);
    }
    let name = account.to_string();
    let made = payments.provider.customer(&name, &format!("{name}-customer")).await?;
    let note = async move |tx: &mut Tx| payment_card::note_customer(tx, account, &made).await;
    Ok(app.db.write("note customer", account::family(account), note).await?)
}

/// Asks how it stands; ends it where nobody pays, or where it is given up.
async fn wait_or_cancel(app: &App, payments: &Payments, row: &PaymentRow) -> Result<(), Problem> {
    let Some(intent) = &row.intent else { return move_on(app, row, State::Cancelled, Step::default()).await };
    let told = match row.state {
        State::Cancelling => match payments.provider.void(intent, &format!("{}-void", row.id)).await {
            // It was paid, or has ended, before this came.
            Err(Failed::State(_)) => payments.provider.look_up(intent).await?,
            told => told?,
        },
        _ => payments.provider.look_up(intent).await?,
    };
    note(app, row, told).await
}

/// Takes over what the provider says of a payment that waits, or is given up.
///
/// # Errors
/// A failure of the database.
pub async fn note(app: &App, row: &PaymentRow, told: Intent) -> Result<(), Problem> {
    let now = app.clock.now();
    let nobody = row.ends_at.is_some_and(|ends_at| now >= ends_at);
    match told.status {
        Status::Succeeded => succeeded(app, row, told).await,
        Status::Cancelled => move_on(app, row, State::Cancelled, Step { failure: told.failure, ..Step::default() }).await,
        _ if row.state == State::Cancelling => Err(Failed::Away("it has not let the payment be".to_owned()).into()),
        Status::Waiting | Status::Authorised if nobody => give_up(app, row, "nobody has paid in time").await,
        Status::Waiting | Status::Authorised | Status::Processing => {
            // Often while somebody is at it, then as often as it is old, up to five minutes.
            let wait = ((now.0 - row.created_at.0) / 8).clamp(2000, LONGEST);
            let (account, row, next_at) = (row.account, row.clone(), Some(Timestamp(now.0 + wait)));
            let put_off = async move |tx: &mut Tx| payment::put_off(tx, &row, None, next_at).await;
            Ok(app.db.write("look at payment later", account::family(account), put_off).await?)
        }
    }
}

/// The provider has the money: booked once, with its fee where that is known, and the card is kept where that was agreed to.
async fn succeeded(app: &App, row: &PaymentRow, told: Intent) -> Result<(), Problem> {
    let (row, now) = (row.clone(), app.clock.now());
    let account = row.account;
    let book = async move |tx: &mut Tx| -> Result<bool, DbError> {
        let fee = told.fee.and_then(|fee| i64::try_from(fee).ok());
        let next_at = fee.is_none().then(|| Timestamp(now.0 + backoff(5)));
        // What was captured is booked already.
        let taken = if row.state == State::Capturing { row.taken } else { told.received };
        let step = Step { taken: i64::try_from(taken).ok(), fee, next_at, ..Step::default() };
        if !payment::move_on(tx, row.of(), row.state, State::Succeeded, &step, now).await? {
            return Ok(false);
        }
        if row.state != State::Capturing {
            let money = Money { amount: taken, ..row.money };
            let note = told.card.as_ref().map_or_else(|| "card".to_owned(), words);
            let top_up = TopUp { posting: row.posting, money, source: Source::Card, actor: "payment provider".to_owned(), note };
            if ledger::top_up(tx, account, &top_up, now).await? != ToppedUp::Done {
                return Err(DbError::Constraint(format!("{money} of payment {} cannot be booked", row.id)));
            }
        }
        if let Some(fee) = told.fee {
            book_fee(tx, &row, fee, now).await?;
        }
        if let Some(Card { id, brand, last4, expires, fingerprint }) = told.card.clone().filter(|_| row.keep) {
            payment_card::keep(tx, account, &CardRow { card: id, brand, last4, expires, kept_at: now }, fingerprint.as_deref()).await?;
        }
        Ok(true)
    };
    if app.db.write("book payment", account::family(account), book).await? {
        counted(State::Succeeded);
    }
    Ok(())
}

fn words(card: &Card) -> String {
    format!("{} ending in {}", card.brand, card.last4)
}

async fn book_fee(tx: &mut Tx, row: &PaymentRow, fee: u64, now: Timestamp) -> Result<(), DbError> {
    if fee == 0 {
        return Ok(());
    }
    let money = Money { amount: fee, ..row.money };
    ledger::fee(tx, row.account, posting_id(row.id, "fee"), (Payee::Provider, money), &format!("fee of {}", row.id), now).await
}

/// What is bound by its exchange follows it: charged, it is taken. A promise that would end before anybody knows is taken as well: then there is no key
/// without its money, and if the exchange comes to nothing, the money is the account's.
async fn held(app: &App, row: &PaymentRow) -> Result<(), Problem> {
    let Purpose::Exchange(id) = row.purpose else { return Err(Problem::internal("a top-up is bound by no exchange")) };
    let stands = app.db.read("exchange of payment", async move |tx: &mut Tx| exchange::find(tx, id).await).await?.map(|row| row.state);
    let now = app.clock.now();
    let take_by = Timestamp(row.ends_at.map_or(row.created_at.0 + PROMISED, |at| at.0) - MARGIN);
    match stands {
        Some(Exchange::Charged | Exchange::Undoing | Exchange::Undone) => {}
        _ if now >= take_by => {}
        _ => {
            let (row, next_at) = (row.clone(), Some(Timestamp(now.0 + backoff(row.tries)).min(take_by)));
            let account = row.account;
            let put_off = async move |tx: &mut Tx| payment::put_off(tx, &row, None, next_at).await;
            return Ok(app.db.write("look at payment later", account::family(account), put_off).await?);
        }
    }
    // What was let go meanwhile is not taken: its money is booked out of the account by now.
    if !moved_on(app, row, State::Capturing, Step { next_at: Some(now), ..Step::default() }).await? {
        return Ok(());
    }
    capture(app, of(app)?, &PaymentRow { state: State::Capturing, ..row.clone() }).await
}

/// Takes what the card has promised. Where the promise has ended, the bank has in effect taken the money back, and what it paid for ends.
async fn capture(app: &App, payments: &Payments, row: &PaymentRow) -> Result<(), Problem> {
    let intent = row.intent.as_deref().ok_or_else(|| Problem::internal("a payment is taken that the provider never had"))?;
    let told = match payments.provider.capture(intent, row.taken, &format!("{}-capture", row.id)).await {
        // It was taken before, or cannot be any more: how it stands, the provider says.
        Err(Failed::State(_) | Failed::Declined { .. } | Failed::Refused(_)) => payments.provider.look_up(intent).await?,
        told => told?,
    };
    match told.status {
        Status::Succeeded => succeeded(app, row, told).await,
        Status::Cancelled => lost(app, row).await,
        _ => Err(Failed::Away("it has not taken what the card has promised".to_owned()).into()),
    }
}

async fn lost(app: &App, row: &PaymentRow) -> Result<(), Problem> {
    const WHY: &str = "the card's promise ended before it was taken";
    let (row, now) = (row.clone(), app.clock.now());
    let account = row.account;
    let end = async move |tx: &mut Tx| -> Result<bool, DbError> {
        let step = Step { failure: Some(WHY.to_owned()), ..Step::default() };
        if !payment::move_on(tx, row.of(), State::Capturing, State::Lost, &step, now).await? {
            return Ok(false);
        }
        ledger::take_back(tx, account, row.posting, posting_id(row.id, "lost"), None, WHY, now).await?;
        Ok(true)
    };
    if app.db.write("payment lost", account::family(account), end).await? {
        counted(State::Lost);
        // What it has paid for is ended as after any chargeback.
        app.left.notify_one();
    }
    Ok(())
}

/// What the provider asks for a payment is sometimes known only later.
async fn fee_of(app: &App, payments: &Payments, row: &PaymentRow) -> Result<(), Problem> {
    let told = match &row.intent {
        Some(intent) => payments.provider.look_up(intent).await?.fee,
        None => None,
    };
    let (row, now) = (row.clone(), app.clock.now());
    let account = row.account;
    let note = async move |tx: &mut Tx| -> Result<(), DbError> {
        match told {
            Some(fee) => {
                if payment::note_fee(tx, row.of(), i64::try_from(fee).unwrap_or(i64::MAX)).await? {
                    book_fee(tx, &row, fee, now).await?;
                }
                Ok(())
            }
            None => {
                let next_at = (row.tries < FEE).then(|| Timestamp(now.0 + backoff(row.tries + 6)));
                payment::put_off(tx, &row, None, next_at).await
            }
        }
    };
    Ok(app.db.write("note fee", account::family(account), note).await?)
}

async fn forget_cards(app: &App, payments: &Payments) -> Result<(), DbError> {
    let cards = app.db.read("payment cards to forget", async |tx: &mut Tx| payment_card::to_forget(tx, TURN.0).await).await?;
    for (account, card) in cards {
        match payments.provider.forget(&card).await {
            Ok(()) => {
                let now = app.clock.now();
                let forgotten = async move |tx: &mut Tx| payment_card::forgotten(tx, account, &card, now).await;
                app.db.write("payment card forgotten", account::family(account), forgotten).await?;
            }
            // It is charged for nothing meanwhile, and tried again.
            Err(error) => tracing::warn!(%error, "a removed payment card is still at the provider"),
        }
    }
    Ok(())
}
