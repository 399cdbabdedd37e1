//! What came of a gateway's exchanges in a month, recomputed from them or as it was closed.

use counterfoil_core::{Currency, GatewayId, Timestamp, TitleId};

use crate::db::{DbError, FromRow, Row, Tx};
use crate::gateway::ledger::Period;

/// What one title has brought in one currency: charges of the month, less what was given back in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sales {
    /// Of what.
    pub title: TitleId,
    /// Its name, as it was charged for last.
    pub name: String,
    /// In which currency.
    pub currency: Currency,
    /// Sums.
    pub figures: Figures,
}

/// Charges of a month, and what of them was undone in it. Amounts in minor units; less than nothing where more was given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many.
    pub charges: i64,
    /// How many were given back, whenever they were charged.
    pub refunds: i64,
    /// Charged, less given back.
    pub amount: i64,
    /// The gateway's part of that.
    pub share: i64,
}

impl FromRow for Figures {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { charges: row.column()?, refunds: row.column()?, amount: row.column()?, share: row.column()? })
    }
}

impl FromRow for Sales {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { title: row.column()?, name: row.column()?, currency: row.column()?, figures: Figures::from_row(row)? })
    }
}

/// A month's sales by currency and title, from the exchanges themselves.
///
/// # Errors
/// A failure of the database.
pub async fn sales(tx: &mut Tx, id: GatewayId, period: Period) -> Result<Vec<Sales>, DbError> {
    tx.query(
        "SELECT s.title_id, MAX(s.title_name), s.currency, CAST(SUM(s.charges) AS BIGINT), CAST(SUM(s.refunds) AS BIGINT),
                CAST(SUM(s.amount) AS BIGINT), CAST(SUM(s.share) AS BIGINT)
         FROM (SELECT title_id, title_name, currency, 1 AS charges, 0 AS refunds, amount, amount - operator_part AS share FROM gateway_exchange
               WHERE gateway_id = $1 AND state IN ('committed', 'refunded') AND changed_at >= $2 AND decided_at >= $2 AND decided_at < $3
               UNION ALL
               SELECT title_id, title_name, currency, 0, 1, -amount, operator_part - amount FROM gateway_exchange
               WHERE gateway_id = $1 AND state = 'refunded' AND changed_at >= $2 AND refunded_at >= $2 AND refunded_at < $3) s
         GROUP BY s.title_id, s.currency ORDER BY s.currency, s.title_id",
    )
    .bind(id.to_string())
    .bind(period.begin().0)
    .bind(period.end().0)
    .all()
    .await
}

/// A closed month in one currency: a row of `gateway_settlement`, or of `gateway_closed_month` where nothing was charged in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which month.
    pub period: Period,
    /// In which currency; none where there was nothing to settle.
    pub currency: Option<Currency>,
    /// As they were then.
    pub figures: Figures,
    /// When it was closed.
    pub closed_at: Timestamp,
}

impl FromRow for Settlement {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { period: row.column()?, currency: row.column()?, figures: Figures::from_row(row)?, closed_at: row.column()? })
    }
}

/// Notes that a month is closed; false where it is.
///
/// # Errors
/// A failure of the database.
pub async fn close(tx: &mut Tx, id: GatewayId, period: Period, now: Timestamp, actor: &str) -> Result<bool, DbError> {
    let closed = tx
        .query(
            "INSERT INTO gateway_closed_month (gateway_id, period, closed_at, actor) VALUES ($1, $2, $3, $4)
             ON CONFLICT (gateway_id, period) DO NOTHING",
        )
        .bind(id.to_string())
        .bind(period.to_string())
        .bind(now.0)
        .bind(actor)
        .execute()
        .await?;
    Ok(closed == 1)
}

/// Keeps what a closed month came to in one currency.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, id: GatewayId, period: Period, sum: &Sum, closed_at: Timestamp, actor: &str) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO gateway_settlement (gateway_id, period, currency, charges, refunds, amount, share, closed_at, actor)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id.to_string())
    .bind(period.to_string())
    .bind(sum.currency.as_str())
    .bind(sum.figures.charges)
    .bind(sum.figures.refunds)
    .bind(sum.figures.amount)
    .bind(sum.figures.share)
    .bind(closed_at.0)
    .bind(actor)
    .execute()
    .await
    .map(drop)
}

/// Closed months after a month and currency; one in which nothing was charged has no currency, and comes as one with the empty name.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, id: GatewayId, after: (&str, &str), rows: i64) -> Result<Vec<Settlement>, DbError> {
    tx.query(
        "SELECT m.period, s.currency, COALESCE(s.charges, 0), COALESCE(s.refunds, 0), COALESCE(s.amount, 0), COALESCE(s.share, 0), m.closed_at
         FROM gateway_closed_month m LEFT JOIN gateway_settlement s ON s.gateway_id = m.gateway_id AND s.period = m.period
         WHERE m.gateway_id = $1 AND (m.period > $2 OR (m.period = $2 AND COALESCE(s.currency, '') > $3))
         ORDER BY m.period, s.currency LIMIT $4",
    )
    .bind(id.to_string())
    .bind(after.0)
    .bind(after.1)
    .bind(rows)
    .all()
    .await
}

/// Sums of a month in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// In which currency.
    pub currency: Currency,
    /// What came of it.
    pub figures: Figures,
}
