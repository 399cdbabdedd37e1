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
        let begun = RepaymentRow { account, posting, failed, payment: id, state: "begun".to_owned(), money, refund: None, tries: 0 };
        repayment::insert(tx, &begun, now).await.map(Ok)
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
        carry_on(app, row).await?;
    }
    Ok(())
}

/// Asks the provider, and writes down what it says, or what stands in the way.
async fn carry_on(app: &App, row: RepaymentRow) -> Result<(), DbError> {
    let (account, now) = (row.account, app.clock.now());
    let told = ask(app, &row).await;
    let write = async move |tx: &mut Tx| -> Result<(), DbError> {
        match &told {
            Ok(Refund { id, status: Refunding::Done, .. }) => repayment::end(tx, &row, None, Some(id), now).await.map(drop),
            Ok(Refund { id, status: Refunding::Failed(why), .. }) => failed(tx, &row, why, Some(id), now).await,
            Ok(Refund { id, status: Refunding::Pending, .. }) => {
                repayment::put_off(tx, &row, Some(id), None, Timestamp(now.0 + LATER)).await
            }
            Err(error @ (Failed::State(_) | Failed::Declined { .. } | Failed::Unknown(_))) => {
                failed(tx, &row, &error.to_string(), None, now).await
            }
            Err(error) => {
                let next_at = Timestamp(now.0 + backoff(row.tries));
                repayment::put_off(tx, &row, None, Some(&error.to_string()), next_at).await
            }
        }
    };
    app.db.write("note repayment", account::family(account), write).await
}

async fn failed(tx: &mut Tx, row: &RepaymentRow, why: &str, refund: Option<&str>, now: Timestamp) -> Result<(), DbError> {
    if repayment::end(tx, row, Some(why), refund, now).await? {
        ledger::repayment_failed(tx, row.account, row.posting, row.failed, now).await?;
    }
    Ok(())
}

/// What was asked before is looked for before it is asked again: a key is not remembered for ever, and money goes back once.
async fn ask(app: &App, row: &RepaymentRow) -> Result<Refund, Failed> {
    let away = |error: &dyn std::fmt::Display| Failed::Away(error.to_string());
    let payments = app.payments.as_ref().ok_or_else(|| away(&"none is configured"))?;
    let (id, label) = (row.payment, row.posting.to_string());
    let found = app.db.read("payment", async move |tx: &mut Tx| payment::find(tx, id).await).await.map_err(|error| away(&error))?;
    let intent = found.and_then(|payment| payment.intent).ok_or_else(|| Failed::Unknown(id.to_string()))?;
    if row.tries > 0 || row.refund.is_some() {
        let made = payments.provider.refunds(&intent).await?;
        if let Some(refund) = made.into_iter().find(|refund| refund.label.as_deref() == Some(&label)) {
            return Ok(refund);
        }
    }
    payments.provider.refund(&intent, row.money.amount, &label, &format!("{label}-refund")).await
}
