//! Shares of gateways as they were, are and will be (C17): a row for each moment from which another one holds.

use counterfoil_core::{GatewayId, Timestamp};

use crate::db::{DbError, FromRow, Row, Tx};

/// A row of `gateway_terms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// From when on.
    pub since: Timestamp,
    /// The gateway's share of a price, in hundredths of a percent.
    pub share: u32,
    /// When that was said.
    pub created_at: Timestamp,
    /// By whom.
    pub actor: String,
}

impl FromRow for Terms {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { since: row.column()?, share: row.column()?, created_at: row.column()?, actor: row.column()? })
    }
}

/// Keeps terms that hold from a moment on; what was said for the same moment before is replaced.
///
/// # Errors
/// A failure of the database.
pub async fn put(tx: &mut Tx, id: GatewayId, terms: &Terms) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO gateway_terms (gateway_id, since, share, created_at, actor) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (gateway_id, since) DO UPDATE SET share = excluded.share, created_at = excluded.created_at, actor = excluded.actor",
    )
    .bind(id.to_string())
    .bind(terms.since.0)
    .bind(terms.share)
    .bind(terms.created_at.0)
    .bind(&terms.actor)
    .execute()
    .await
    .map(drop)
}

/// Terms of a gateway after a moment, in their order. Those that it began with stand with the gateway itself.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, id: GatewayId, after: Timestamp, rows: i64) -> Result<Vec<Terms>, DbError> {
    tx.query("SELECT since, share, created_at, actor FROM gateway_terms WHERE gateway_id = $1 AND since > $2 ORDER BY since LIMIT $3")
        .bind(id.to_string())
        .bind(after.0)
        .bind(rows)
        .all()
        .await
}
