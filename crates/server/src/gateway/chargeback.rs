//! A top-up that the bank has taken back ends exactly what it paid for (C17): written down first, and driven to its end after that.

use counterfoil_core::wire::UndoReason;
use counterfoil_core::{AccountId, Money, PostingId, RequestId, Timestamp};
use serde::Serialize;

use super::app::App;
use super::exchange::{self, Undoing};
use super::ledger::posting::Exchange;
use super::ledger::{self, Taken};
use super::store::exchange as store;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};

/// Exchanges that are ended in one turn.
const TURN: i64 = 100;
/// How long one waits that could not be ended.
const LATER: i64 = 5 * 60 * 1000;

/// How far a chargeback has come.
#[derive(Debug, Default, Serialize)]
pub struct Ended {
    /// What it paid for, and has ended.
    pub ended: Vec<RequestId>,
    /// What goes on by itself, and why it has not ended yet.
    pub under_way: Vec<(RequestId, String)>,
    /// What is only reserved: it is ended when it is charged, and goes to the bank when it is voided.
    pub reserved: Vec<RequestId>,
}

/// Gives what is left of a top-up to the bank, then undoes every exchange that it paid for. May be repeated.
///
/// # Errors
/// `not_found`: there is no such top-up; `conflict`: it was a voucher; or a failure of the database.
pub async fn chargeback(app: &App, top_up: PostingId, fee: Option<Money>, note: &str) -> Result<Ended, Problem> {
    let account =
        app.db.read("account of a top-up", async move |tx| ledger::account_of(tx, top_up).await).await?.ok_or(ApiCode::NotFound)?;
    let (now, words) = (app.clock.now(), note.to_owned());
    let asked = fee.map(|fee| (derived(top_up, "fee"), fee));
    let take = async move |tx: &mut Tx| ledger::take_back(tx, account, top_up, derived(top_up, "rest"), asked, &words, now).await;
    match app.db.write("take a top-up back", account.to_string(), take).await? {
        Taken::Done => {}
        Taken::Unknown => return Err(ApiCode::NotFound.into()),
        Taken::Voucher => return Err(Problem::with(ApiCode::Conflict, "a voucher was redeemed with it: no bank takes that back")),
    }
    let mut came = Ended::default();
    let mut after = None;
    loop {
        let page = app.db.read("what a top-up paid for", async move |tx| ledger::funded_by(tx, account, top_up, after).await).await?;
        let Some(last) = page.last() else { return Ok(came) };
        after = Some(last.exchange);
        for funded in page {
            match funded.charged {
                true => end(app, funded.exchange, note, &mut came).await,
                false => came.reserved.push(funded.exchange),
            }
        }
    }
}

async fn end(app: &App, exchange: RequestId, note: &str, came: &mut Ended) {
    match exchange::undo(app, exchange, UndoReason::Chargeback, note).await {
        Ok(Undoing::Done) => came.ended.push(exchange),
        Ok(Undoing::UnderWay(why)) => came.under_way.push((exchange, why)),
        // One that is refused does not keep the others; the driver tries again.
        Err(problem) => came.under_way.push((exchange, problem.to_string())),
    }
}

/// Ends what was charged and paid from a top-up that the bank has taken back, as a process that was killed left it, or as it was charged since.
/// What cannot be ended now waits a while, and keeps nothing else from its turn.
///
/// # Errors
/// A failure of the database.
pub async fn finish(app: &App) -> Result<(), DbError> {
    let now = app.clock.now();
    let left: Vec<(AccountId, Exchange, String)> = app
        .db
        .read("chargebacks to carry on", async move |tx: &mut Tx| -> Result<_, DbError> {
            let sql = "SELECT x.account_id, x.exchange_id, t.note FROM lot l
                         JOIN funding f ON f.account_id = l.account_id AND f.lot_id = l.lot_id
                         JOIN posting r ON r.account_id = f.account_id AND r.posting_id = f.posting_id
                         JOIN exchange x ON x.account_id = r.account_id AND x.exchange_id = r.exchange_id AND x.state = 'charged'
                         JOIN posting t ON t.account_id = l.account_id AND t.refers_to = l.lot_id
                       WHERE l.ended_at IS NOT NULL AND x.next_at <= $1 ORDER BY x.next_at, x.exchange_id LIMIT $2";
            tx.query(sql).bind(now.0).bind(TURN).all().await
        })
        .await?;
    for (account, Exchange(exchange), note) in left {
        if let Err(problem) = exchange::undo(app, exchange, UndoReason::Chargeback, &note).await {
            tracing::warn!(%exchange, %problem, "a chargeback could not be carried on");
            let (trouble, next_at) = (problem.to_string(), Timestamp(now.0 + LATER));
            let put_off = async move |tx: &mut Tx| store::put_off(tx, (account, exchange), &trouble, next_at).await;
            app.db.write("put chargeback off", account.to_string(), put_off).await?;
        }
    }
    Ok(())
}

/// The posting of a part of a chargeback: derived, so that a repeat has the same.
fn derived(top_up: PostingId, part: &str) -> PostingId {
    let hash = blake3::Hasher::new_derive_key("counterfoil 2026-11 posting of a chargeback")
        .update(top_up.as_bytes())
        .update(part.as_bytes())
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_bytes()[..16]);
    PostingId::from_bytes(id)
}

/// The posting of a top-up that its payer has given a reference: derived, so that the same reference is booked once.
pub fn referenced(account: AccountId, reference: &str) -> PostingId {
    let hash = blake3::Hasher::new_derive_key("counterfoil 2026-11 posting of a top-up")
        .update(account.as_bytes())
        .update(reference.as_bytes())
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_bytes()[..16]);
    PostingId::from_bytes(id)
}
