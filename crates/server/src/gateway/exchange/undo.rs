//! What was carried out and charged is undone: by the gateway, which asks the authority first, or because the authority says that it was.

use counterfoil_core::wire::{ExchangeState, Undo, UndoReason};
use counterfoil_core::{RequestId, Timestamp};

use super::{App, find};
use crate::db::{DbError, Tx};
use crate::gateway::client::Failed;
use crate::gateway::ledger;
use crate::gateway::store::account;
use crate::gateway::store::exchange::{self, ExchangeRow, State, posting_id};
use crate::gateway::store::mail::{self, Letter};
use crate::problem::{ApiCode, Problem};

/// Written down where the authority refunds without being asked by the gateway.
const ITS_OWNER: &str = "given back at the authority";

/// How far an undoing has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undoing {
    /// What was paid for has ended, and the charge is given back.
    Done,
    /// It is written down, and goes on by itself: why it has not ended yet.
    UnderWay(String),
}

/// Undoes an exchange: exactly what it paid for ends at the authority, then the charge is booked back. Written down first, and driven to its end
/// after that whatever fails; may be repeated.
///
/// # Errors
/// `not_found`; `conflict` for one that is not charged; for a refund what the authority says where it does not take anything back.
pub async fn undo(app: &App, id: RequestId, why: UndoReason, note: &str) -> Result<Undoing, Problem> {
    let row = find(app, id).await?.ok_or(ApiCode::NotFound)?;
    match row.state {
        State::Undone => return Ok(Undoing::Done),
        State::Charged | State::Undoing => {}
        other => {
            return Err(Problem::with(
                ApiCode::Conflict,
                format!("the exchange is {}: only what is charged can be undone", other.as_str()),
            ));
        }
    }
    let (of, now, words) = ((row.account, row.id), app.clock.now(), note.to_owned());
    let begin = async move |tx: &mut Tx| exchange::begin_undo(tx, of, why, &words, now).await;
    app.db.write("begin undo", account::family(row.account), begin).await?;
    let row = find(app, id).await?.ok_or(ApiCode::NotFound)?;
    if row.state != State::Undoing {
        return Ok(Undoing::Done);
    }
    match carry_on(app, &row).await {
        Ok(()) => Ok(Undoing::Done),
        Err(problem) if problem.status.is_server_error() => {
            app.left.notify_one();
            Ok(Undoing::UnderWay(problem.to_string()))
        }
        Err(problem) => Err(problem),
    }
}

/// Asks the authority once more to end what an exchange paid for, and books the charge back.
///
/// # Errors
/// It has not said that it has; or that it does not take a refund, and then the charge stands.
pub async fn carry_on(app: &App, row: &ExchangeRow) -> Result<(), Problem> {
    let (why, note) = row.undo.clone().unwrap_or((UndoReason::Refund, String::new()));
    match app.authority.undo(row.id, &Undo { why, note }).await {
        Ok(step) if step.state == ExchangeState::Refunded => Ok(book_back(app, row).await?),
        Ok(step) => Err(Problem::with(ApiCode::AuthorityUnavailable, format!("the authority still says {}", step.state.as_str()))),
        Err(Failed::Refused(problem)) if why == UndoReason::Refund => {
            let (of, now) = ((row.account, row.id), app.clock.now());
            let stands = async move |tx: &mut Tx| exchange::move_on(tx, of, State::Undoing, State::Charged, now, now).await;
            app.db.write("charge stands", account::family(row.account), stands).await?;
            Err(problem)
        }
        Err(failed) => Err(Problem { detail: Some(failed.to_string()), ..ApiCode::AuthorityUnavailable.into() }),
    }
}

/// Takes note that the authority has ended what an exchange paid for, whoever asked it to.
///
/// # Errors
/// A failure of the database.
pub async fn refunded(app: &App, id: RequestId) -> Result<(), DbError> {
    let Some(row) = find(app, id).await? else { return Ok(()) };
    let (of, now) = ((row.account, row.id), app.clock.now());
    if row.state == State::Charged {
        let begin = async move |tx: &mut Tx| exchange::begin_undo(tx, of, UndoReason::Refund, ITS_OWNER, now).await;
        app.db.write("begin undo", account::family(row.account), begin).await?;
    }
    match find(app, id).await? {
        Some(row) if row.state == State::Undoing => book_back(app, &row).await,
        _ => Ok(()),
    }
}

async fn book_back(app: &App, row: &ExchangeRow) -> Result<(), DbError> {
    let (of, now, mailed): (_, Timestamp, bool) = ((row.account, row.id), app.clock.now(), app.relay.is_some());
    let (why, note) = row.undo.clone().unwrap_or((UndoReason::Refund, String::new()));
    let back = async move |tx: &mut Tx| -> Result<bool, DbError> {
        if !exchange::move_on(tx, of, State::Undoing, State::Undone, now, now).await? {
            return Ok(false);
        }
        let undone = ledger::undo(tx, of.0, posting_id(of.1, "post"), posting_id(of.1, "undo"), why, &note, now).await?;
        if undone && mailed {
            mail::receipt(tx, of.0, of.1, Letter::Refund, now).await?;
        }
        Ok(undone)
    };
    if app.db.write("undo charge", account::family(row.account), back).await? {
        metrics::counter!("counterfoil_gateway_exchanges_total", "outcome" => "undone").increment(1);
    }
    Ok(())
}
