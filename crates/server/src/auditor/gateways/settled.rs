//! Months of gateways that are closed (C17): what was frozen is what their exchanges come to.

use std::collections::BTreeMap;

use counterfoil_core::{Currency, Timestamp};

use super::super::across::ROWS;
use super::super::{MOST, Violation};
use crate::db::{DbError, FromRow, Row, Tx};
use crate::gateway::ledger::Period;
use crate::store::gateway::settlement::Figures;

pub(super) const FROZEN: &str = "a month that is settled comes to what its exchanges come to";

/// Of a gateway, in a month, in a currency.
type Sums = BTreeMap<(String, String, String), Figures>;

/// An exchange that was carried out, as it counts in the month that it was charged in and in the one that it was given back in.
struct Counted {
    id: String,
    gateway: String,
    currency: Currency,
    amount: i64,
    share: i64,
    decided_at: Timestamp,
    refunded_at: Option<Timestamp>,
}

impl FromRow for Counted {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            gateway: row.column()?,
            currency: row.column()?,
            amount: row.column()?,
            share: row.column()?,
            decided_at: row.column()?,
            refunded_at: row.column()?,
        })
    }
}

/// Closed months whose figures are others, by gateway and month.
pub(super) async fn check(tx: &mut Tx) -> Result<Vec<Violation>, DbError> {
    let sql = "SELECT gateway_id, period FROM gateway_closed_month ORDER BY gateway_id, period";
    let closed: Vec<(String, String)> = tx.query(sql).all().await?;
    if closed.is_empty() {
        return Ok(vec![]);
    }
    let mut sums = frozen(tx).await?;
    // What was frozen less what there is: nothing, in every month that is closed.
    less_exchanges(tx, &mut sums, |gateway, period| closed.binary_search(&(gateway.to_owned(), period.to_owned())).is_ok()).await?;
    let wrong = sums.into_iter().filter(|(_, left)| *left != Figures::default());
    let mut wrong: Vec<String> = wrong.map(|((gateway, period, _), _)| format!("{gateway} {period}")).collect();
    wrong.dedup();
    Ok(wrong.into_iter().take(MOST as usize).map(|subject| Violation { invariant: FROZEN, subject }).collect())
}

async fn frozen(tx: &mut Tx) -> Result<Sums, DbError> {
    let sql = "SELECT gateway_id, period, currency, charges, refunds, amount, share FROM gateway_settlement";
    let rows: Vec<(String, String, String, i64, i64, i64, i64)> = tx.query(sql).all().await?;
    let figures = |(gateway, period, currency, charges, refunds, amount, share)| {
        ((gateway, period, currency), Figures { charges, refunds, amount, share })
    };
    Ok(rows.into_iter().map(figures).collect())
}

async fn less_exchanges(tx: &mut Tx, sums: &mut Sums, is_closed: impl Fn(&str, &str) -> bool) -> Result<(), DbError> {
    let mut after = String::new();
    loop {
        let sql = "SELECT exchange_id, gateway_id, currency, amount, amount - operator_part, decided_at, refunded_at FROM gateway_exchange
                   WHERE exchange_id > $1 AND state IN ('committed', 'refunded') AND decided_at IS NOT NULL ORDER BY exchange_id LIMIT $2";
        // At most a thousandth of what an i64 holds.
        let page: Vec<Counted> = tx.query(sql).bind(&after).bind(ROWS as i64).all().await?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.id);
        for Counted { gateway, currency, amount, share, decided_at, refunded_at, .. } in &page {
            let charged = Figures { charges: 1, refunds: 0, amount: *amount, share: *share };
            let given_back = Figures { charges: 0, refunds: 1, amount: -amount, share: -share };
            for (at, figures) in [(Some(*decided_at), charged), (*refunded_at, given_back)] {
                let Some(period) = at.map(|at| Period::of(at).to_string()).filter(|period| is_closed(gateway, period)) else { continue };
                let sum = sums.entry((gateway.clone(), period, currency.to_string())).or_default();
                sum.charges -= figures.charges;
                sum.refunds -= figures.refunds;
                sum.amount -= figures.amount;
                sum.share -= figures.share;
            }
        }
    }
}
