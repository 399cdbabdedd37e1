//! Gateways (C16–C18) as the authority knows them: who resells, under which terms, and by which certificates they are told.

use counterfoil_core::{GatewayId, Timestamp};

use crate::db::{DbError, FromRow, Row, Tx};

pub mod certificate;
pub mod issuer;
pub mod price;
pub mod settlement;
pub mod terms;

/// The family that a gateway's audit records belong to, and what it is called in them.
pub fn family(id: GatewayId) -> String {
    format!("/gateway/{id}")
}

/// A row of `gateway`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Which.
    pub id: GatewayId,
    /// For people.
    pub name: String,
    /// Its share of a price, in hundredths of a percent, as its terms are at the moment that was asked about.
    pub share: u32,
    /// Whether titles with a price are charged for whenever they are copied through it.
    pub every_copy: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// Since when it is let in no more.
    pub ended_at: Option<Timestamp>,
}

impl FromRow for Gateway {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            name: row.column()?,
            share: row.column()?,
            every_copy: row.column::<i64>()? != 0,
            created_at: row.column()?,
            ended_at: row.column()?,
        })
    }
}

/// Keeps a new one; false where another one has its name.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, gateway: &Gateway) -> Result<bool, DbError> {
    let inserted = tx
        .query("INSERT INTO gateway (gateway_id, name, share, every_copy, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING")
        .bind(gateway.id.to_string())
        .bind(&gateway.name)
        .bind(gateway.share)
        .bind(i64::from(gateway.every_copy))
        .bind(gateway.created_at.0)
        .execute()
        .await?;
    Ok(inserted == 1)
}

/// One of them, ended or not, with its terms as they are at `now`.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, id: GatewayId, now: Timestamp) -> Result<Option<Gateway>, DbError> {
    tx.query(
        "SELECT g.gateway_id, g.name,
                COALESCE((SELECT t.share FROM gateway_terms t WHERE t.gateway_id = g.gateway_id AND t.since <= $2 ORDER BY t.since DESC LIMIT 1), g.share),
                g.every_copy, g.created_at, g.ended_at
         FROM gateway g WHERE g.gateway_id = $1",
    )
    .bind(id.to_string())
    .bind(now.0)
    .opt()
    .await
}

/// Those after an ID, ended or not, in the order of their IDs, with their terms as they are at `now`.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, after: &str, rows: i64, now: Timestamp) -> Result<Vec<Gateway>, DbError> {
    tx.query(
        "SELECT g.gateway_id, g.name,
                COALESCE((SELECT t.share FROM gateway_terms t WHERE t.gateway_id = g.gateway_id AND t.since <= $3 ORDER BY t.since DESC LIMIT 1), g.share),
                g.every_copy, g.created_at, g.ended_at
         FROM gateway g WHERE g.gateway_id > $1 ORDER BY g.gateway_id LIMIT $2",
    )
    .bind(after)
    .bind(rows)
    .bind(now.0)
    .all()
    .await
}

/// Ends one; false where it has ended.
///
/// # Errors
/// A failure of the database.
pub async fn end(tx: &mut Tx, id: GatewayId, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE gateway SET ended_at = $2 WHERE gateway_id = $1 AND ended_at IS NULL")
        .bind(id.to_string())
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Lets one in again that has ended; false where it has not.
///
/// # Errors
/// A failure of the database.
pub async fn admit_again(tx: &mut Tx, id: GatewayId) -> Result<bool, DbError> {
    let sql = "UPDATE gateway SET ended_at = NULL WHERE gateway_id = $1 AND ended_at IS NOT NULL";
    Ok(tx.query(sql).bind(id.to_string()).execute().await? == 1)
}
