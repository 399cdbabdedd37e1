//! Holds the gateway's exchanges against the authority's (C17): what stands on one side and not on the other, or otherwise.

use std::collections::HashSet;

use counterfoil_core::wire::{ExchangeRecord, ExchangeState};
use counterfoil_core::{RequestId, Timestamp};
use serde::Serialize;

use super::app::App;
use super::driver::{self, Learned};
use super::store::exchange::{self, ExchangeRow, State};
use crate::db::{DbError, Tx};

/// Rows that are compared at a time.
const PAGE: i64 = 500;
/// The authority shows a change after some seconds only: what has changed since is compared the next time.
const FRESH: i64 = 60 * 1000;

/// One exchange that the two have otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which.
    pub exchange_id: RequestId,
    /// What, in words.
    pub what: String,
    /// Where it stands here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<State>,
    /// Where it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<ExchangeState>,
}

/// What was compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Exchanges that stand on both sides.
    pub compared: u64,
    /// Those that are on their way on either side, or changed in the last minute: they are driven to their end, and are no difference yet.
    pub under_way: u64,
    /// What is different.
    pub differences: Vec<Difference>,
}

/// Drives what is open once, then compares every exchange.
///
/// # Errors
/// The authority or the database do not answer.
pub async fn compare(app: &App) -> Result<Compared, Learned> {
    driver::turn(app).await?;
    driver::learn(app).await?;
    let fresh = Timestamp(app.clock.now().0 - FRESH);
    let (mut compared, mut seen, mut cursor) = (Compared::default(), HashSet::new(), None::<String>);
    loop {
        let page = app.authority.changes(cursor.as_deref()).await?;
        let rows = rows_of(app, &page.exchanges).await?;
        for (record, row) in page.exchanges.iter().zip(&rows) {
            seen.insert(record.exchange_id);
            judge(&mut compared, Some(record), row.as_ref(), fresh);
        }
        match page.next.filter(|_| !page.exchanges.is_empty()) {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let mut after = String::new();
    loop {
        let from = after.clone();
        let rows = app.db.read("exchanges", async move |tx: &mut Tx| exchange::list(tx, &from, false, PAGE).await).await?;
        let Some(last) = rows.last() else { return Ok(compared) };
        after = last.id.to_string();
        for row in rows.iter().filter(|row| !seen.contains(&row.id)) {
            judge(&mut compared, None, Some(row), fresh);
        }
    }
}

async fn rows_of(app: &App, records: &[ExchangeRecord]) -> Result<Vec<Option<ExchangeRow>>, DbError> {
    let ids: Vec<RequestId> = records.iter().map(|record| record.exchange_id).collect();
    app.db
        .read("exchanges of records", async move |tx: &mut Tx| {
            let mut rows = Vec::with_capacity(ids.len());
            for id in &ids {
                rows.push(exchange::find(tx, *id).await?);
            }
            Ok(rows)
        })
        .await
}

fn judge(compared: &mut Compared, record: Option<&ExchangeRecord>, row: Option<&ExchangeRow>, fresh: Timestamp) {
    let id = record.map(|record| record.exchange_id).or(row.map(|row| row.id));
    let Some(exchange_id) = id else { return };
    let (here, there) = (row.map(|row| row.state), record.map(|record| record.state));
    let moving = row.is_some_and(|row| row.state.is_open() || row.changed_at > fresh)
        || record
            .is_some_and(|record| matches!(record.state, ExchangeState::Prepared | ExchangeState::Committing) || record.changed_at > fresh);
    let what = if same_money(record, row) { difference(here, there) } else { Some("title, price or parts differ") };
    match what {
        _ if moving => compared.under_way += 1,
        None => compared.compared += 1,
        Some(what) => {
            let difference = Difference { exchange_id, what: what.to_owned(), gateway: here, authority: there };
            compared.differences.push(difference);
        }
    }
}

fn same_money(record: Option<&ExchangeRecord>, row: Option<&ExchangeRow>) -> bool {
    let (Some(record), Some(row)) = (record, row) else { return true };
    // Names are for people, and may be changed.
    let parts = |charge: &counterfoil_core::wire::Charge| (charge.title.clone(), charge.price, charge.operator_part);
    !matches!(row.state, State::Charged | State::Undone) || parts(&record.charge) == parts(&row.charge)
}

/// What is wrong where it stands so on the two sides.
fn difference(here: Option<State>, there: Option<ExchangeState>) -> Option<&'static str> {
    use ExchangeState::{Aborted, Committed, Committing, Free, Prepared, Refunded, Refused};
    let charged = matches!(here, Some(State::Charged));
    match there {
        Some(Committed) if !charged => Some("carried out at the authority, not charged here"),
        Some(Refunded) if charged => Some("ended at the authority, still charged here"),
        Some(Refused | Aborted | Free) | None if charged => Some("charged here, not carried out at the authority"),
        Some(Refused | Aborted | Free) | None if here == Some(State::Undone) => {
            Some("charged and given back here, never carried out at the authority")
        }
        Some(Committed | Refunded | Refused | Aborted | Free | Prepared | Committing) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Charged, Lapsed, Undone, Voided};

    #[test]
    fn only_what_costs_somebody_money_is_different() {
        use ExchangeState::{Aborted, Committed, Refunded, Refused};
        let fine = [
            (Some(Charged), Some(Committed)),
            (Some(Undone), Some(Refunded)),
            (Some(Voided), Some(Refused)),
            (Some(Voided), Some(Aborted)),
            (Some(Lapsed), Some(Aborted)),
            (None, Some(Aborted)),
            (Some(Lapsed), None),
            (Some(Voided), None),
        ];
        let wrong = [
            (None, Some(Committed)),
            (Some(Voided), Some(Committed)),
            (Some(Undone), Some(Committed)),
            (Some(Charged), Some(Refunded)),
            (Some(Charged), Some(Aborted)),
            (Some(Charged), None),
            (Some(Undone), None),
        ];
        for (here, there) in fine {
            assert_eq!(difference(here, there), None, "{here:?} {there:?}");
        }
        for (here, there) in wrong {
            assert!(difference(here, there).is_some(), "{here:?} {there:?}");
        }
    }
}
