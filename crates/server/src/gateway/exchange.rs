//! An exchange through a gateway (C16, C17), from the terminal's envelope to the authority's sealed answer, and what it costs in between.
//!
//! Every step is written down before it is taken, and can be taken again. From the moment that the authority has been asked to carry an
//! exchange out, only the authority's word ends it: charged where it was carried out, void where it was not (`settle`).

use counterfoil_core::wire::{Charge, ChargeOnOffer, ExchangeState, Prepare, Step};
use counterfoil_core::{CardId, Code, Money, Refusal, RequestId, Timestamp};
use reqwest::StatusCode;
use serde_json::Value;

use super::app::App;
use super::client::Failed;
use super::ledger::{self, Balance};
use super::payments::cover::{self, Covered};
use super::store::account::{self, AccountRow};
use super::store::exchange::{self, ExchangeRow, State, posting_id};
use super::store::mail::{self, Letter};
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};

use bind::{Agreed, Bound, bind, bound};
pub use undo::{Undoing, refunded, undo};

pub(super) use undo::carry_on as undo_again;

mod bind;
mod undo;

/// How long a request has for a step before the driver takes it up.
const PATIENCE: i64 = 30 * 1000;
/// How long an offer stands where the authority does not say.
const STANDS: i64 = 15 * 60 * 1000;

/// What a terminal asks.
pub struct Asked {
    /// As the terminal names it.
    pub exchange: RequestId,
    /// The sealed envelope, as it came.
    pub envelope: Value,
    /// The card that signs, where one does.
    pub card: Option<CardId>,
    /// The price that the person has agreed to.
    pub pay: Option<Money>,
    /// Who is charged, where somebody is signed in.
    pub account: Option<AccountRow>,
}

/// What it is answered.
pub struct Answered {
    /// The authority's, sealed to the terminal.
    pub answer: String,
    /// What was charged, and what is left.
    pub charged: Option<(Charge, Money)>,
}

impl Asked {
    fn prepare(&self) -> Prepare {
        Prepare { exchange_id: self.exchange, envelope: self.envelope.clone() }
    }

    fn account(&self) -> Result<&AccountRow, Problem> {
        self.account.as_ref().ok_or_else(|| Code::AccountNeeded.into())
    }

    /// One exchange has one account for good.
    fn owns(&self, row: &ExchangeRow) -> Result<(), Problem> {
        if self.account()?.id == row.account {
            return Ok(());
        }
        Err(Refusal::with(Code::RequestMismatch, "this exchange was begun for another account").into())
    }
}

/// Carries an exchange as far as it goes without asking the person: safe to repeat with the same ID, whatever came of it before.
///
/// # Errors
/// `account_needed`, `charge_unconfirmed`, `price_changed`, `payment_refused`, `exchange_ended`, `request_mismatch`; `authority_unavailable`;
/// failures of this server. None of them leaves a charge for what was not granted.
pub async fn run(app: &App, asked: &Asked) -> Result<Answered, Problem> {
    let now = app.clock.now();
    let row = match find(app, asked.exchange).await? {
        Some(row) => row,
        None => match begin(app, asked, now).await? {
            Begun::Free(answer) => return Ok(Answered { answer, charged: None }),
            Begun::Offered(row) => *row,
        },
    };
    asked.owns(&row)?;
    let row = if row.state == State::Offered { agree(app, asked, row, now).await? } else { row };
    match row.state {
        State::Reserved | State::Committing => finish(app, asked, row).await,
        State::Charged | State::Voided => again(app, asked, &row).await,
        State::Offered | State::Lapsed | State::Undoing | State::Undone => Err(Code::ExchangeEnded.into()),
    }
}

/// The row of an exchange, whoever's it is.
///
/// # Errors
/// A failure of the database.
pub async fn find(app: &App, id: RequestId) -> Result<Option<ExchangeRow>, DbError> {
    app.db.read("find exchange", async move |tx: &mut Tx| exchange::find(tx, id).await).await
}

enum Begun {
    Free(String),
    Offered(Box<ExchangeRow>),
}

/// Hands the envelope in. What costs nothing is carried out at once and leaves nothing here; for the rest a price is offered, and bound in the same
/// transaction where the person has agreed to it already.
async fn begin(app: &App, asked: &Asked, now: Timestamp) -> Result<Begun, Problem> {
    let step = app.authority.prepare(&asked.prepare()).await?;
    let Some(charge) = offered(&step)? else { return free(step).map(Begun::Free) };
    let account = asked.account()?.id;
    let fresh = ExchangeRow {
        account,
        id: asked.exchange,
        state: State::Offered,
        charge,
        card: asked.card,
        envelope: Some(asked.envelope.to_string()),
        expires_at: step.expires_at.unwrap_or(Timestamp(now.0 + STANDS)),
        undo: None,
        tries: 0,
        next_at: now,
        trouble: None,
        created_at: now,
        changed_at: now,
    };
    let (offer, agreed) = (fresh.clone(), Agreed::of(asked));
    let row = app
        .db
        .write("offer exchange", account::family(account), async move |tx: &mut Tx| -> Result<_, DbError> {
            exchange::offer(tx, &offer).await?;
            if agreed.pay == Some(offer.charge.price)
                && let Bound::Reserved(row) = bind(tx, (offer.account, offer.id), &agreed, now).await?
            {
                return Ok(Some(*row));
            }
            exchange::find(tx, offer.id).await
        })
        .await?;
    // Where another account was first, it is its own.
    Ok(Begun::Offered(Box::new(row.unwrap_or(fresh))))
}

/// The charge, where one is to be made. One that the authority has carried out already is charged as well: there is no key without a charge.
fn offered(step: &Step) -> Result<Option<Charge>, Problem> {
    match step.state {
        ExchangeState::Prepared | ExchangeState::Committing | ExchangeState::Committed => match &step.charge {
            Some(charge) => Ok(Some(charge.clone())),
            None => Err(Problem::internal("the authority would charge and does not say what")),
        },
        ExchangeState::Free | ExchangeState::Refused => Ok(None),
        ExchangeState::Aborted | ExchangeState::Refunded => Err(Code::ExchangeEnded.into()),
    }
}

fn free(step: Step) -> Result<String, Problem> {
    step.answer.ok_or_else(|| Problem::internal(format!("the authority says {} and gives no answer", step.state.as_str())))
}

/// Binds the price in the account's balance, where the person has agreed to it.
async fn agree(app: &App, asked: &Asked, row: ExchangeRow, now: Timestamp) -> Result<ExchangeRow, Problem> {
    let row = if asked.pay == Some(row.charge.price) && now < row.expires_at { row } else { offer_again(app, asked, row, now).await? };
    let Some(pay) = asked.pay else { return Err(unagreed(app, Code::ChargeUnconfirmed, None, &row).await?) };
    if pay != row.charge.price {
        return Err(unagreed(app, Code::PriceChanged, None, &row).await?);
    }
    match bound(app, asked, &row, None, now).await? {
        Bound::Reserved(row) | Bound::Ended(row) => Ok(*row),
        Bound::Short(balance) => covered(app, asked, row, balance, now).await,
        Bound::Elsewhere => Err(unagreed(app, Code::PriceChanged, None, &row).await?),
    }
}

/// Has a kept card promise what the balance is short of, and binds both.
async fn covered(app: &App, asked: &Asked, row: ExchangeRow, balance: Balance, now: Timestamp) -> Result<ExchangeRow, Problem> {
    let missing = row.charge.price.amount.saturating_sub(balance.available().unsigned_abs());
    let promised = match cover::promise(app, &row, Money { amount: missing, ..row.charge.price }).await? {
        Covered::Promised(payment) => payment,
        Covered::No { why, hint } => {
            return Err(Problem { hint: hint.into(), ..unagreed(app, Code::PaymentRefused, Some(why), &row).await? });
        }
    };
    let came = bound(app, asked, &row, Some(promised), now).await?;
    // What was not needed, or did not suffice, is let go.
    cover::drop_promise(app, promised).await?;
    match came {
        Bound::Reserved(row) | Bound::Ended(row) => Ok(*row),
        Bound::Short(_) => Err(unagreed(app, Code::PaymentRefused, Some("the balance has changed meanwhile".to_owned()), &row).await?),
        Bound::Elsewhere => Err(unagreed(app, Code::PriceChanged, None, &row).await?),
    }
}

/// Asks what the price is now: nobody has agreed to the one that was offered.
async fn offer_again(app: &App, asked: &Asked, row: ExchangeRow, now: Timestamp) -> Result<ExchangeRow, Problem> {
    let step = app.authority.prepare(&asked.prepare()).await?;
    let expires_at = step.expires_at.unwrap_or(Timestamp(now.0 + STANDS));
    let Some(charge) = offered(&step)? else {
        // Whoever repeats it is answered as the authority answers.
        let of = (row.account, row.id);
        let lapse = async move |tx: &mut Tx| exchange::move_on(tx, of, State::Offered, State::Lapsed, now, now).await;
        app.db.write("lapse exchange", account::family(row.account), lapse).await?;
        return Err(Code::ExchangeEnded.into());
    };
    let fresh = ExchangeRow { charge, expires_at, envelope: Some(asked.envelope.to_string()), ..row };
    let offer = fresh.clone();
    let changed = async move |tx: &mut Tx| exchange::offer_again(tx, &offer).await;
    app.db.write("offer exchange again", account::family(fresh.account), changed).await?;
    Ok(fresh)
}

/// The problem of a charge that was not agreed to, or cannot be made, with what it would be.
async fn unagreed(app: &App, code: Code, detail: Option<String>, row: &ExchangeRow) -> Result<Problem, DbError> {
    let charge = ChargeOnOffer {
        title: row.charge.title.clone(),
        name: row.charge.name.clone(),
        price: row.charge.price,
        balance: balance(app, row).await?,
        expires_at: row.expires_at,
        card: cover::card(app, row.account).await?.map(|card| card.words()),
    };
    Ok(Problem { status: StatusCode::PAYMENT_REQUIRED, detail, charge: Some(Box::new(charge)), ..code.into() })
}

/// What the account can spend in the currency of a charge.
async fn balance(app: &App, row: &ExchangeRow) -> Result<Money, DbError> {
    let (account, currency) = (row.account, row.charge.price.currency);
    let held = app.db.read("balance", async move |tx: &mut Tx| ledger::balance(tx, account, &currency).await).await?;
    // The ledger keeps it from being negative.
    Ok(Money { amount: held.available().unsigned_abs(), currency })
}

/// Has it carried out, and answers.
async fn finish(app: &App, asked: &Asked, row: ExchangeRow) -> Result<Answered, Problem> {
    let (of, envelope) = ((row.account, row.id), asked.envelope.to_string());
    if row.envelope.as_deref() != Some(&envelope) {
        let sealed = envelope.clone();
        let reseal = async move |tx: &mut Tx| exchange::reseal(tx, of.0, of.1, &sealed).await;
        app.db.write("keep envelope", account::family(row.account), reseal).await?;
    }
    let row = ExchangeRow { envelope: Some(envelope), ..row };
    match carry_out(app, &row).await {
        Ok((State::Charged, Some(answer))) => {
            let left = balance(app, &row).await?;
            Ok(Answered { answer, charged: Some((row.charge, left)) })
        }
        Ok((_, Some(answer))) => Ok(Answered { answer, charged: None }),
        Ok((_, None)) => Err(Code::ExchangeEnded.into()),
        Err(failed) => {
            app.left.notify_one();
            Err(Problem { detail: Some("the price is reserved, and charged only if the authority carries it out".to_owned()), ..failed })
        }
    }
}

/// Has an exchange carried out that is reserved, once more if need be, and books what came of it. The answer, where there is one.
///
/// # Errors
/// The authority has not said what came of it; failures of the database.
pub(super) async fn carry_out(app: &App, row: &ExchangeRow) -> Result<(State, Option<String>), Problem> {
    let (of, now) = ((row.account, row.id), app.clock.now());
    if row.state == State::Reserved {
        let begin =
            async move |tx: &mut Tx| exchange::move_on(tx, of, State::Reserved, State::Committing, Timestamp(now.0 + PATIENCE), now).await;
        app.db.write("begin commit", account::family(row.account), begin).await?;
    }
    let envelope = row.envelope.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let committed = match envelope {
        Some(envelope) => app.authority.commit(&Prepare { exchange_id: row.id, envelope }).await,
        None => app.authority.status(row.id).await,
    };
    match committed {
        Ok(step) => settle(app, row, step).await,
        Err(Failed::Unknown) => Ok((settle_void(app, row).await?, None)),
        // It cannot be opened any more, or is another's: how it stands, the authority says all the same.
        Err(Failed::Refused(problem)) => give_up(app, row, problem).await,
        Err(failed) => Err(failed.into()),
    }
}

/// Gives an exchange up that the authority does not take, unless it is being carried out.
async fn give_up(app: &App, row: &ExchangeRow, problem: Problem) -> Result<(State, Option<String>), Problem> {
    let step = match app.authority.status(row.id).await {
        Ok(step) if step.state == ExchangeState::Prepared => app.authority.abort(row.id, problem.code).await,
        other => other,
    };
    match step {
        Ok(step) => settle(app, row, step).await,
        Err(Failed::Unknown) => Ok((settle_void(app, row).await?, None)),
        Err(failed) => Err(failed.into()),
    }
}

/// Books what the authority says: its word, and nothing else, ends an exchange.
async fn settle(app: &App, row: &ExchangeRow, step: Step) -> Result<(State, Option<String>), Problem> {
    let state = match step.state {
        ExchangeState::Committed => settle_charged(app, row).await?,
        ExchangeState::Refunded => {
            settle_charged(app, row).await?;
            refunded(app, row.id).await?;
            return Ok((State::Undone, None));
        }
        ExchangeState::Refused | ExchangeState::Aborted | ExchangeState::Free => settle_void(app, row).await?,
        ExchangeState::Prepared | ExchangeState::Committing => return Err(ApiCode::AuthorityUnavailable.into()),
    };
    Ok((state, step.answer))
}

async fn settle_charged(app: &App, row: &ExchangeRow) -> Result<State, DbError> {
    let (of, now, mailed) = ((row.account, row.id), app.clock.now(), app.relay.is_some());
    let charge = async move |tx: &mut Tx| -> Result<bool, DbError> {
        if !exchange::move_on(tx, of, State::Committing, State::Charged, now, now).await? {
            return Ok(false);
        }
        let posted = ledger::post(tx, of.0, posting_id(of.1, "reserve"), posting_id(of.1, "post"), now).await?;
        if !posted {
            return Err(DbError::Constraint("a charge was voided that the authority has carried out".to_owned()));
        }
        if mailed {
            mail::receipt(tx, of.0, of.1, Letter::Charge, now).await?;
        }
        Ok(true)
    };
    if app.db.write("charge", account::family(row.account), charge).await? {
        metrics::counter!("counterfoil_gateway_exchanges_total", "outcome" => "charged").increment(1);
    }
    Ok(State::Charged)
}

async fn settle_void(app: &App, row: &ExchangeRow) -> Result<State, DbError> {
    let (of, now) = ((row.account, row.id), app.clock.now());
    let void = async move |tx: &mut Tx| -> Result<bool, DbError> {
        if !exchange::move_on(tx, of, State::Committing, State::Voided, now, now).await? {
            return Ok(false);
        }
        let voided = ledger::void(tx, of.0, posting_id(of.1, "reserve"), posting_id(of.1, "void"), now).await?;
        cover::let_go(tx, of.0, of.1, now).await?;
        if voided { Ok(true) } else { Err(DbError::Constraint("a charge stands for what the authority has not carried out".to_owned())) }
    };
    if app.db.write("void charge", account::family(row.account), void).await? {
        metrics::counter!("counterfoil_gateway_exchanges_total", "outcome" => "voided").increment(1);
    }
    Ok(State::Voided)
}

/// The answer to what was decided before, sealed to the terminal anew; nothing is charged for it.
async fn again(app: &App, asked: &Asked, row: &ExchangeRow) -> Result<Answered, Problem> {
    let step = app.authority.commit(&asked.prepare()).await?;
    match (row.state, step.state, step.answer) {
        (State::Charged, ExchangeState::Committed, Some(answer)) => {
            Ok(Answered { answer, charged: Some((row.charge.clone(), balance(app, row).await?)) })
        }
        (State::Voided, ExchangeState::Refused | ExchangeState::Free, Some(answer)) => Ok(Answered { answer, charged: None }),
        (State::Charged, ExchangeState::Refunded, _) => {
            refunded(app, row.id).await?;
            Err(Code::ExchangeEnded.into())
        }
        (State::Voided, ExchangeState::Committed, _) => Err(Problem::internal(format!(
            "exchange {}: void here, carried out at the authority; `counterfoild gateway reconcile`",
            row.id
        ))),
        _ => Err(Code::ExchangeEnded.into()),
    }
}
