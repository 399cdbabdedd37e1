//! Drives every exchange to its end without the terminal that began it, and takes note of what the authority has ended (C17).
//!
//! It never gives up while the authority may have carried an exchange out. Where two processes drive the same one, guarded rows decide.

use std::time::Duration;

use counterfoil_core::Timestamp;
use counterfoil_core::wire::ExchangeState;
use futures_util::{StreamExt as _, stream};

use super::app::App;
use super::chargeback;
use super::client::Failed;
use super::exchange::{self as steps, carry_out};
use super::payments;
use super::store::account;
use super::store::exchange::{self, ExchangeRow, State};
use super::vouchers;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::setting;

/// How often it is looked without being woken.
const IDLE: Duration = Duration::from_secs(3);
/// How often the authority is asked what has changed.
const CHANGES: Duration = Duration::from_secs(30);
/// Exchanges that are driven in one turn, and at once.
const TURN: (i64, usize) = (200, 8);
/// The longest time between two tries.
const LONGEST: i64 = 5 * 60 * 1000;
/// How far the list of changes was read.
const CURSOR: &str = "changes_cursor";
/// When it was looked last whether anything was missed in it.
const LOOKED: &str = "refunds_looked_at";
/// How often that is, and how far it looks behind the time before: farther than a clock is wrong that nobody mends.
const LOOK: (i64, i64) = (10 * 60 * 1000, Timestamp::DAY);
/// Family of the gateway's settings.
const FAMILY: &str = "/gateway";

/// Drives for as long as the gateway runs.
pub async fn drive_forever(app: App) {
    loop {
        // Whether woken or not: look again.
        let _ = tokio::time::timeout(IDLE, app.left.notified()).await;
        if let Err(error) = turn(&app).await {
            tracing::warn!(%error, "exchanges could not be driven");
        }
    }
}

/// Learns for as long as the gateway runs.
pub async fn learn_forever(app: App) {
    let mut every = tokio::time::interval(CHANGES);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match learn(&app).await {
            Ok(()) | Err(Learned::Authority(Failed::Away(_))) => {}
            Err(error) => tracing::warn!(%error, "what has changed at the authority could not be learned"),
        }
    }
}

/// Drives what is due once; says how many came to their end.
///
/// # Errors
/// A failure of the database. What stands in the way of one exchange is written at it.
pub async fn turn(app: &App) -> Result<usize, DbError> {
    let now = app.clock.now();
    let due = app.db.read("exchanges due", async move |tx: &mut Tx| exchange::due(tx, now, TURN.0).await).await?;
    let ended = stream::iter(due).map(|row| drive(app, row)).buffer_unordered(TURN.1).collect::<Vec<_>>().await;
    let ended: Vec<bool> = ended.into_iter().collect::<Result<_, _>>()?;
    vouchers::finish(&app.db, now).await?;
    payments::drive::turn(app).await?;
    chargeback::finish(app).await?;
    figures(app).await?;
    Ok(ended.into_iter().filter(|ended| *ended).count())
}

async fn figures(app: &App) -> Result<(), DbError> {
    let now = app.clock.now();
    let (count, oldest) = app.db.read("exchanges under way", async |tx: &mut Tx| exchange::under_way(tx).await).await?;
    // Neither is near 2⁵², where this would be inexact.
    metrics::gauge!("counterfoil_gateway_exchanges_open").set(count as f64);
    let waited = oldest.map_or(0, |oldest| now.0.saturating_sub(oldest.0).max(0) / 1000);
    metrics::gauge!("counterfoil_gateway_oldest_open_seconds").set(waited as f64);
    Ok(())
}

/// One exchange; says whether it has ended.
async fn drive(app: &App, row: ExchangeRow) -> Result<bool, DbError> {
    let (of, now) = ((row.account, row.id), app.clock.now());
    let driven: Result<(), Problem> = match row.state {
        State::Offered => {
            let lapse = async move |tx: &mut Tx| exchange::move_on(tx, of, State::Offered, State::Lapsed, now, now).await;
            app.db.write("lapse exchange", account::family(row.account), lapse).await.map(drop).map_err(Problem::from)
        }
        State::Reserved | State::Committing => carry_out(app, &row).await.map(drop),
        State::Undoing => steps::undo_again(app, &row).await,
        State::Charged | State::Voided | State::Lapsed | State::Undone => Ok(()),
    };
    let Err(problem) = driven else { return Ok(true) };
    let (trouble, next_at) = (problem.to_string(), Timestamp(now.0 + backoff(row.tries, app.rng.bytes())));
    let put_off = async move |tx: &mut Tx| exchange::put_off(tx, of, &trouble, next_at).await;
    app.db.write("put exchange off", account::family(row.account), put_off).await?;
    Ok(false)
}

/// One second, doubled up to five minutes, and somewhere between half and all of that: those that failed together do not come back together.
fn backoff(tries: i64, random: [u8; 2]) -> i64 {
    let most = 1000_i64.saturating_mul(1 << tries.clamp(0, 20)).min(LONGEST);
    most / 2 + most / 2 * i64::from(u16::from_be_bytes(random)) / i64::from(u16::MAX)
}

/// Why it could not be learned what has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Learned {
    /// The way to the authority.
    #[error(transparent)]
    Authority(#[from] Failed),
    /// The gateway's own database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Reads the authority's list of changes from where it was left, and books what it has ended; now and then, also what is dated before that.
///
/// # Errors
/// What kept it from being read to its end; it goes on from there.
pub async fn learn(app: &App) -> Result<(), Learned> {
    let mut cursor = app.db.read("changes cursor", async |tx: &mut Tx| setting::find(tx, CURSOR).await).await?;
    loop {
        let page = app.authority.changes(cursor.as_deref()).await?;
        for record in page.exchanges.iter().filter(|record| record.state == ExchangeState::Refunded) {
            steps::refunded(app, record.exchange_id).await?;
        }
        let Some(next) = page.next.filter(|_| !page.exchanges.is_empty()) else { return look_again(app).await };
        let value = next.clone();
        app.db.write("note changes", FAMILY, async move |tx: &mut Tx| setting::put(tx, CURSOR, &value).await).await?;
        cursor = Some(next);
    }
}

/// The list goes by the authority's clock: what it dates before what was read, because its clock was set back or a process of it is behind, would never
/// be seen, and somebody's money not be given back.
async fn look_again(app: &App) -> Result<(), Learned> {
    let now = app.clock.now();
    let looked = app.db.read("refunds looked at", async |tx: &mut Tx| setting::find(tx, LOOKED).await).await?;
    let looked = looked.and_then(|text| text.parse().ok()).filter(|looked| *looked <= now.0);
    if looked.is_some_and(|looked| now.0 - looked < LOOK.0) {
        return Ok(());
    }
    let (since, mut after) = (Timestamp(looked.unwrap_or(now.0) - LOOK.1), None);
    loop {
        let page = match app.authority.refunds(since, after.as_deref()).await {
            Err(Failed::Unknown) => return Ok(()),
            page => page?,
        };
        for record in &page.exchanges {
            steps::refunded(app, record.exchange_id).await?;
        }
        after = page.next.filter(|_| !page.exchanges.is_empty());
        if after.is_none() {
            break;
        }
    }
    let value = now.0.to_string();
    Ok(app.db.write("note refunds", FAMILY, async move |tx: &mut Tx| setting::put(tx, LOOKED, &value).await).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_further_and_further_apart_and_never_together() {
        for (tries, most) in [(0, 1000), (1, 2000), (5, 32_000), (9, LONGEST), (10_000, LONGEST)] {
            assert_eq!((backoff(tries, [0, 0]), backoff(tries, [255, 255])), (most / 2, most));
        }
    }
}
