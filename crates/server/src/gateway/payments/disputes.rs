//! What card holders object to at their bank (C17): it ends what was paid for, as any chargeback does.
//!
//! Objections are read from the provider's list, every few minutes and as soon as it sends word of one. The first that is seen of one is written down
//! before anything is done about it. What the bank asks about without taking money (an inquiry) is only watched.

use std::sync::atomic::Ordering;

use counterfoil_core::{Money, PaymentId, PostingId, Timestamp};

use super::Payments;
use super::provider::{Dispute, Failed, Objection, Provider as _};
use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::chargeback;
use crate::gateway::ledger::{self, Payee, Source, TopUp, ToppedUp};
use crate::gateway::store::account;
use crate::gateway::store::payment::{self, PaymentRow, State, derived};
use crate::gateway::store::repayment::{self, DisputeRow, Stands};
use crate::problem::Problem;
use crate::store::setting;

/// How often they are read without word of one.
const EVERY: i64 = 10 * 60 * 1000;
/// Up to when they were read.
const CURSOR: &str = "disputes_read_until";
/// Family of the gateway's settings.
const FAMILY: &str = "/gateway";
/// Open ones that are looked at in one turn.
const TURN: i64 = 200;

/// Why they could not be read, or not be carried on.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error(transparent)]
    Provider(#[from] Failed),
    #[error(transparent)]
    Problem(#[from] Problem),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Reads them where it is time to.
pub(super) async fn turn(app: &App, payments: &Payments) -> Result<(), DbError> {
    let now = app.clock.now();
    if now.0 < payments.disputes_at.load(Ordering::Relaxed) {
        return Ok(());
    }
    payments.disputes_at.store(now.0 + EVERY, Ordering::Relaxed);
    match learn(app, payments).await {
        Ok(()) => Ok(()),
        Err(Stuck::Db(error)) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "what card holders object to could not be learned");
            Ok(())
        }
    }
}

async fn learn(app: &App, payments: &Payments) -> Result<(), Stuck> {
    let now = app.clock.now();
    let read = app.db.read("disputes cursor", async |tx: &mut Tx| setting::find(tx, CURSOR).await).await?;
    let since = read.and_then(|text| text.parse().ok()).map_or(now, Timestamp);
    let (mut seen, mut stuck) = (Vec::new(), None);
    for told in payments.provider.disputes(since).await? {
        seen.push(told.id.clone());
        // One that cannot be carried on keeps nobody else up.
        stuck = stuck.or(follow(app, told).await.err());
    }
    for row in app.db.read("open disputes", async |tx: &mut Tx| repayment::open_disputes(tx, TURN).await).await? {
        if !seen.contains(&row.dispute) {
            let followed = match payments.provider.dispute(&row.dispute).await {
                Ok(told) => follow(app, told).await,
                Err(error) => Err(error.into()),
            };
            stuck = stuck.or(followed.err());
        }
    }
    if let Some(stuck) = stuck {
        return Err(stuck);
    }
    let value = now.0.to_string();
    Ok(app.db.write("note disputes", FAMILY, async move |tx: &mut Tx| setting::put(tx, CURSOR, &value).await).await?)
}

/// Takes one objection as far as it has come at the provider.
async fn follow(app: &App, told: Dispute) -> Result<(), Stuck> {
    let Some(row) = noted(app, &told).await? else { return Ok(()) };
    let account = row.account;
    let payment = row.payment;
    let found = app.db.read("payment", async move |tx: &mut Tx| payment::find(tx, payment).await).await?;
    // One that is not booked here yet is, soon.
    let Some(payment) = found.filter(|payment| payment.state == State::Succeeded) else { return Ok(()) };
    let mut row = row;
    if row.stands == Stands::Inquiry {
        let to = match told.stands {
            Objection::Inquiry => return Ok(()),
            Objection::Closed => Stands::Closed,
            // The bank had decided before anybody here knew of it: the money is there.
            Objection::Won => Stands::Closed,
            Objection::Open | Objection::Lost => Stands::Taking,
        };
        row = moved(app, row, to, &told).await?;
    }
    if row.stands == Stands::Taking {
        if !end(app, &row, &payment, &told).await? {
            return Ok(());
        }
        metrics::counter!("counterfoil_gateway_disputes_total", "stands" => "opened").increment(1);
        row = moved(app, row, Stands::Open, &told).await?;
    }
    match (row.stands, told.stands) {
        (Stands::Open, Objection::Lost) => drop(moved(app, row, Stands::Lost, &told).await?),
        (Stands::Open, Objection::Won | Objection::Closed) => won(app, row, &payment, &told).await?,
        _ => {}
    }
    tracing::info!(dispute = %told.id, %account, payment = %payment.id, "an objection of a card holder");
    Ok(())
}

/// Writes it down as an inquiry, before anything comes of it; none where it is about nothing of this gateway's.
async fn noted(app: &App, told: &Dispute) -> Result<Option<DisputeRow>, DbError> {
    let Some(intent) = told.intent.clone() else { return Ok(None) };
    let Some(payment) = app.db.read("payment by intent", async move |tx: &mut Tx| payment::by_intent(tx, &intent).await).await? else {
        return Ok(None);
    };
    let id = told.id.clone();
    if let Some(row) = app.db.read("dispute", async move |tx: &mut Tx| repayment::dispute(tx, &id).await).await? {
        return Ok(Some(row));
    }
    let posting = |step| -> PostingId { derived(told.id.as_bytes(), step) };
    let row = DisputeRow {
        account: payment.account,
        dispute: told.id.clone(),
        payment: payment.id,
        stands: Stands::Inquiry,
        amount: minor(told.amount),
        fee: minor(told.fee),
        credit: posting("credit"),
        won: posting("won"),
    };
    let (account, fresh, now) = (payment.account, row.clone(), app.clock.now());
    app.db.write("note dispute", account::family(account), async move |tx: &mut Tx| repayment::note_dispute(tx, &fresh, now).await).await?;
    Ok(Some(row))
}

fn minor(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

async fn moved(app: &App, row: DisputeRow, to: Stands, told: &Dispute) -> Result<DisputeRow, DbError> {
    let (now, known, from) = (app.clock.now(), (minor(told.amount), minor(told.fee)), row.clone());
    let account = row.account;
    let step = async move |tx: &mut Tx| repayment::move_dispute(tx, &from, to, known, now).await;
    app.db.write("move dispute", account::family(account), step).await?;
    // Where another process was faster, it has moved it to the same.
    Ok(DisputeRow { stands: to, amount: known.0, fee: known.1, ..row })
}

/// Ends what the payment has brought the account, and gives the account what the bank leaves of it. The whole top-up ends, so that nobody has to choose
/// what it paid for. False where it is not done: another objection to the same payment is on its way as well, and does it.
async fn end(app: &App, row: &DisputeRow, payment: &PaymentRow, told: &Dispute) -> Result<bool, Stuck> {
    let fee = (told.fee > 0).then_some(Money { amount: told.fee, ..payment.money });
    let note = format!("objected to: {}", told.reason);
    chargeback::chargeback(app, payment.posting, fee, &note).await?;
    if credit_rest(app, row, payment, told).await? {
        return Ok(true);
    }
    // What an earlier objection has left the account, or given back, is more than is left now.
    let (account, id, own) = (row.account, payment.id, row.dispute.clone());
    for lot in app.db.read("lots of objections", async move |tx: &mut Tx| repayment::lots_beside(tx, account, id, &own).await).await? {
        chargeback::chargeback(app, lot, None, &note).await?;
    }
    Ok(credit_rest(app, row, payment, told).await?)
}

/// Books what the bank leaves of a payment and the account does not hold; false where the account holds more than that.
async fn credit_rest(app: &App, row: &DisputeRow, payment: &PaymentRow, told: &Dispute) -> Result<bool, DbError> {
    let (row, id, money, now) = (row.clone(), payment.id, payment.money, app.clock.now());
    let (taken, disputed) = (minor(payment.taken), minor(told.amount));
    let fee = (told.fee > 0).then_some(Money { amount: told.fee, ..money });
    let book = async move |tx: &mut Tx| -> Result<bool, DbError> {
        let account = row.account;
        let others = repayment::objected_beside(tx, account, id, &row.dispute).await?;
        let left = (taken - disputed - others.amount - repayment::repaid(tx, account, id).await?).max(0);
        let held = repayment::held(tx, account, id).await?;
        if let Ok(amount @ 1..) = u64::try_from(left - held) {
            put_in(tx, row.credit, Money { amount, ..money }, (account, id), "what was not objected to", now).await?;
        }
        // The fee of the first one is booked with the end of the top-up.
        if let Some(fee) = fee.filter(|_| others.count > 0) {
            let posting = derived(row.dispute.as_bytes(), "fee");
            ledger::fee(tx, account, posting, (Payee::Provider, fee), "objected to once more", now).await?;
        }
        Ok(held <= left)
    };
    app.db.write("credit what is left", account::family(row.account), book).await
}

/// The bank has given the money back: it is the account's again. What it had paid for has ended, and can be bought again.
async fn won(app: &App, row: DisputeRow, payment: &PaymentRow, told: &Dispute) -> Result<(), DbError> {
    let (account, id, money) = (row.account, payment.id, Money { amount: told.amount, ..payment.money });
    let (known, now) = ((minor(told.amount), minor(told.fee)), app.clock.now());
    let book = async move |tx: &mut Tx| -> Result<bool, DbError> {
        if !repayment::move_dispute(tx, &row, Stands::Won, known, now).await? {
            return Ok(false);
        }
        put_in(tx, row.won, money, (account, id), "the bank has decided against the objection", now).await.map(|()| true)
    };
    if app.db.write("dispute won", account::family(account), book).await? {
        metrics::counter!("counterfoil_gateway_disputes_total", "stands" => "won").increment(1);
    }
    Ok(())
}

async fn put_in(
    tx: &mut Tx,
    posting: PostingId,
    money: Money,
    (account, payment): (counterfoil_core::AccountId, PaymentId),
    why: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let top_up = TopUp { posting, money, source: Source::Card, actor: "payment provider".to_owned(), note: format!("{payment}: {why}") };
    match ledger::top_up(tx, account, &top_up, now).await? {
        // Booked before, when less or more was left: the other objections have seen to the rest.
        ToppedUp::Done | ToppedUp::Other(_) => Ok(()),
        ToppedUp::Unfit => Err(DbError::Constraint(format!("{money} of {payment} cannot be booked"))),
    }
}
