//! What has become of a gateway's exchanges, in the order that it did: for a gateway that learns what users gave back, and for comparing the books.

use std::ops::Range;

use counterfoil_core::wire::ExchangeRecords;
use counterfoil_core::{RequestId, Timestamp};

use crate::app::App;
use crate::db::Tx;
use crate::gateways::Caller;
use crate::problem::{ApiCode, Problem};
use crate::store::gateway_exchange as store;

/// Changes are listed once they are so old, in milliseconds: a transaction that began before another may be committed after it, at most as long after
/// as a transaction is tried, and whoever goes on by the times that they bear would never see it.
const AGED: i64 = 12_000;
/// Exchanges of a page.
const PAGE: i64 = 500;

/// A page of exchanges after a cursor, or from the beginning. Each page that holds any says where to go on, now or later; at the end is an empty one.
///
/// # Errors
/// `invalid_request` for a cursor that is none; failures of the database.
pub async fn changes(app: &App, caller: &Caller, after: Option<&str>) -> Result<ExchangeRecords, Problem> {
    let after = after.map_or(Ok((Timestamp(i64::MIN), String::new())), place)?;
    let (gateway, until) = (caller.gateway, Timestamp(app.clock.now().0.saturating_sub(AGED)));
    let rows = app.db.read("changed exchanges", async move |tx: &mut Tx| store::changes(tx, gateway, &after, until, PAGE).await).await?;
    Ok(by_change(rows))
}

/// A page of what was given back since a moment, or after a cursor: the same once more, for a gateway that looks whether it has missed any.
///
/// # Errors
/// As for [`changes`].
pub async fn refunds(app: &App, caller: &Caller, since: Timestamp, after: Option<&str>) -> Result<ExchangeRecords, Problem> {
    let after = after.map_or(Ok((since, String::new())), place)?;
    let gateway = caller.gateway;
    let rows = app.db.read("exchanges given back", async move |tx: &mut Tx| store::refunds(tx, gateway, &after, PAGE).await).await?;
    Ok(by_change(rows))
}

fn by_change(rows: Vec<store::Exchange>) -> ExchangeRecords {
    let next = rows.last().map(|last| format!("{}.{}", last.changed_at.0, last.id));
    ExchangeRecords { exchanges: rows.into_iter().map(store::Exchange::record).collect(), next }
}

/// A page of all exchanges in the order of their IDs, as they stand now, after a cursor or from the beginning; those that were prepared within `during`.
/// The gateway holds its own against them, one after the other. The last page is the one that does not say where to go on.
///
/// # Errors
/// `invalid_request` for a cursor that is none; failures of the database.
pub async fn by_id(app: &App, caller: &Caller, after: Option<&str>, during: Range<Timestamp>) -> Result<ExchangeRecords, Problem> {
    let wrong = |_| Problem::with(ApiCode::InvalidRequest, "`after` is `next` of a page before, or absent");
    let after = after.map(|after| after.parse().map(RequestId)).transpose().map_err(wrong)?;
    let (gateway, after) = (caller.gateway, after.map(|id| id.to_string()).unwrap_or_default());
    let read = async move |tx: &mut Tx| store::by_id(tx, gateway, &after, &during, PAGE).await;
    let rows = app.db.read("exchanges by ID", read).await?;
    let next = rows.last().filter(|_| rows.len() as i64 == PAGE).map(|last| last.id.to_string());
    Ok(ExchangeRecords { exchanges: rows.into_iter().map(store::Exchange::record).collect(), next })
}

fn place(cursor: &str) -> Result<(Timestamp, String), Problem> {
    let parse = |cursor: &str| {
        let (at, id) = cursor.split_once('.')?;
        Some((Timestamp(at.parse().ok()?), RequestId(id.parse().ok()?).to_string()))
    };
    parse(cursor).ok_or_else(|| Problem::with(ApiCode::InvalidRequest, "`after` is `next` of a page before, or absent"))
}
