//! What is left of a top-up goes back to its card (C17): booked first, then asked of the provider until it says what came of it.

use counterfoil_core::{Money, PaymentId, PostingId, Timestamp};
use serde::Serialize;

use super::drive::backoff;
use super::provider::{Failed, Provider as _, Refund, Refunding};
use super::{Payments, of};
use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::ledger::{self, Repaid};
use crate::gateway::store::account;
use crate::gateway::store::payment::{self, State};
use crate::gateway::store::repayment::{self, RepaymentRow};
use crate::problem::{ApiCode, Problem};

/// Repayments that are looked at in one turn.
const TURN: i64 = 100;
/// How long until it is looked again whether a refund got there.
const LATER: i64 = 60 * 60 * 1000;
/// How long a bank may still send back what was given to its card: providers speak of 30 days.
const MAY_RETURN: i64 = 35 * Timestamp::DAY;

/// What came of giving back.
#[derive(Clone, Debug, Serialize)]
pub struct Begun {
    /// Its posting, by which it goes on.
    pub repayment: PostingId,
    /// Of which payment.
    pub payment: PaymentId,
    /// How much.
    pub money: Money,
    /// `begun`, `succeeded` or `failed`.
    pub state: String,
}

/// Gives what is left of a payment back to its card, or so much of it. With the same `id` again, it is the same repayment.
///
/// # Errors
/// `not_found`; `conflict`: it has not succeeded, or less is left of it; `unprocessable` without a provider, or in another currency.
pub async fn repay(app: &App, id: PaymentId, amount: Option<Money>, posting: PostingId, actor: &str, note: &str) -> Result<Begun, Problem> {
    of(app)?;
    let row = app.db.read("payment", async move |tx: &mut Tx| payment::find(tx, id).await).await?.ok_or(ApiCode::NotFound)?;
    if row.state != State::Succeeded {
        return Err(Problem::with(ApiCode::Conflict, format!("the payment is {}: only what was paid goes back", row.state.as_str())));
    }
    if amount.is_some_and(|amount| amount.currency != row.money.currency) {
        return Err(Problem::with(ApiCode::Unprocessable, format!("the payment is in {}", row.money.currency)));
    }
    let (account, now, words) = (row.account, app.clock.now(), (actor.to_owned(), note.to_owned()));
    let book = async move |tx: &mut Tx| -> Result<Result<(), u64>, DbError> {
        if repayment::find(tx, posting).await?.is_some() {
            return Ok(Ok(()));
        }
        let asked = amount.map(|money| money.amount);
        let amount = match ledger::repay(tx, account, row.posting, posting, asked, (&words.0, &words.1), now).await? {
            Repaid::Done(amount) => amount,
            Repaid::Short(left) => return Ok(Err(left)),
            Repaid::Unknown => return Ok(Err(0)),
        };
        let failed = payment::posting_id(id, &format!("failed {posting}"));
        let money = Money { amount, ..row.money };
        let state = "begun".to_owned();
        let begun = RepaymentRow { account, posting, failed, payment: id, state, money, refund: None, tries: 0, created_at: now };
        repayment::insert(tx, &begun).await.map(Ok)
    };
    if let Err(left) = app.db.write("begin repayment", account::family(account), book).await? {
        let left = Money { amount: left, ..row.money };
        return Err(Problem::with(ApiCode::Conflict, format!("{left} of this payment are not spent or given back")));
    }
    let begun = find(app, posting).await?;
    if begun.state == "begun" {
        carry_on(app, begun).await?;
    }
    let RepaymentRow { payment, money, state, .. } = find(app, posting).await?;
    Ok(Begun { repayment: posting, payment, money, state })
}

async fn find(app: &App, posting: PostingId) -> Result<RepaymentRow, Problem> {
    let found = app.db.read("repayment", async move |tx: &mut Tx| repayment::find(tx, posting).await).await?;
    found.ok_or_else(|| Problem::internal("a repayment that was begun is gone"))
}

/// Goes on with what is due.
pub(super) async fn turn(app: &App, _: &Payments) -> Result<(), DbError> {
    let now = app.clock.now();
    for row in app.db.read("repayments due", async move |tx: &mut Tx| repayment::due(tx, now, TURN).await).await? {
        if row.state == "succeeded" { look_again(app, row).await? } else { carry_on(app, row).await? }
    }
    Ok(())
}

/// Asks the provider, and writes down what it says, or what stands in the way. That it is asked is written down before: whoever finds it after a crash
/// looks first whether it was done.
async fn carry_on(app: &App, row: RepaymentRow) -> Result<(), DbError> {
    let (account, now) = (row.account, app.clock.now());
    let (asked, again_at) = (row.clone(), Timestamp(now.0 + backoff(row.tries)));
    let begin = async move |tx: &mut Tx| repayment::begin_try(tx, &asked, again_at).await;
    app.db.write("ask for repayment", account::family(account), begin).await?;
    let told = ask(app, &row).await;
    let write = async move |tx: &mut Tx| -> Result<(), DbError> {
        match &told {
            Ok(Refund { id, status: Refunding::Done, .. }) => {
                repayment::succeed(tx, &row, id, look_at(&row, now, Timestamp::DAY), now).await
            }
            Ok(Refund { id, status: Refunding::Failed(why), .. }) => failed(tx, &row, why, Some(id), now).await,
            Ok(Refund { id, status: Refunding::Pending, .. }) => {
                repayment::put_off(tx, &row, Some(id), None, Some(Timestamp(now.0 + LATER))).await
            }
            Err(error @ (Failed::State(_) | Failed::Declined { .. } | Failed::Unknown(_))) => {
                failed(tx, &row, &error.to_string(), None, now).await
            }
            Err(error) => {
                let next_at = Some(Timestamp(now.0 + backoff(row.tries)));
                repayment::put_off(tx, &row, None, Some(&error.to_string()), next_at).await
            }
        }
    };
    app.db.write("note repayment", account::family(account), write).await
}

/// When to look again at what has succeeded; not at all where no bank sends it back any more.
fn look_at(row: &RepaymentRow, now: Timestamp, wait: i64) -> Option<Timestamp> {
    Some(Timestamp(now.0 + wait)).filter(|at| at.0 <= row.created_at.0 + MAY_RETURN)
}

/// Whether the card still has what it was given; nothing is asked for again.
async fn look_again(app: &App, row: RepaymentRow) -> Result<(), DbError> {
    let (account, now) = (row.account, app.clock.now());
    let told = refunded(app, &row).await.map(|(_, made)| made);
    let write = async move |tx: &mut Tx| match &told {
        Ok(Some(Refund { id, status: Refunding::Failed(why), .. })) => failed(tx, &row, why, Some(id), now).await,
        Ok(Some(Refund { id, .. })) => repayment::succeed(tx, &row, id, look_at(&row, now, Timestamp::DAY), now).await,
        Ok(None) => {
            repayment::put_off(tx, &row, None, Some("the provider does not know it any more"), look_at(&row, now, Timestamp::DAY)).await
        }
        Err(error) => repayment::put_off(tx, &row, None, Some(&error.to_string()), look_at(&row, now, LATER)).await,
    };
    app.db.write("look at repayment", account::family(account), write).await
}

async fn failed(tx: &mut Tx, row: &RepaymentRow, why: &str, refund: Option<&str>, now: Timestamp) -> Result<(), DbError> {
    if repayment::fail(tx, row, why, refund, now).await? {
        ledger::repayment_failed(tx, row.account, row.posting, row.failed, now).await?;
    }
    Ok(())
}

/// What was asked before is looked for before it is asked again: a key is not remembered for ever, and money goes back once.
async fn ask(app: &App, row: &RepaymentRow) -> Result<Refund, Failed> {
    let payments = provided(app)?;
    let intent = if row.tries > 0 || row.refund.is_some() {
        match refunded(app, row).await? {
            (_, Some(refund)) => return Ok(refund),
            (intent, None) => intent,
        }
    } else {
        intent(app, row.payment).await?
    };
    let label = row.posting.to_string();
    payments.provider.refund(&intent, row.money.amount, &label, &format!("{label}-refund")).await
}

/// The payment's name at the provider, and what came there of giving back.
async fn refunded(app: &App, row: &RepaymentRow) -> Result<(String, Option<Refund>), Failed> {
    let (payments, intent, label) = (provided(app)?, intent(app, row.payment).await?, row.posting.to_string());
    let made = payments.provider.refunds(&intent).await?.into_iter().find(|refund| refund.label.as_deref() == Some(&label));
    Ok((intent, made))
}

fn provided(app: &App) -> Result<&Payments, Failed> {
    app.payments.as_ref().ok_or_else(|| Failed::Away("none is configured".to_owned()))
}

async fn intent(app: &App, id: PaymentId) -> Result<String, Failed> {
    let found = app.db.read("payment", async move |tx: &mut Tx| payment::find(tx, id).await).await;
    let found = found.map_err(|error| Failed::Away(error.to_string()))?;
    found.and_then(|payment| payment.intent).ok_or_else(|| Failed::Unknown(id.to_string()))
}
