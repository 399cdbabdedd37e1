//! Reading the audit log, a family at a time.

use crate::db::{DbError, FromRow, Row, Tx};

/// A row of `audit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the family's chain, from 1.
    pub seq: i64,
    /// Milliseconds UTC.
    pub at: i64,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub event: String,
    /// A JSON document.
    pub detail: String,
    /// What ties it to all before it.
    pub hash: [u8; 32],
}

impl FromRow for Record {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            seq: row.column()?,
            at: row.column()?,
            actor: row.column()?,
            event: row.column()?,
            detail: row.column()?,
            hash: row.column()?,
        })
    }
}

/// Up to `limit` records of a family, after a place in its chain.
///
/// # Errors
/// A failure of the database.
pub async fn page(tx: &mut Tx, family: &str, after: i64, limit: i64) -> Result<Vec<Record>, DbError> {
    tx.query("SELECT seq, at, actor, event, detail, hash FROM audit WHERE family = $1 AND seq > $2 ORDER BY seq LIMIT $3")
        .bind(family)
        .bind(after)
        .bind(limit)
        .all()
        .await
}

/// Up to `limit` records of a family, newest first, before a place in its chain.
///
/// # Errors
/// A failure of the database.
pub async fn newest(tx: &mut Tx, family: &str, before: i64, limit: i64) -> Result<Vec<Record>, DbError> {
    tx.query("SELECT seq, at, actor, event, detail, hash FROM audit WHERE family = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3")
        .bind(family)
        .bind(before)
        .bind(limit)
        .all()
        .await
}

/// As [`newest`], of those whose particulars name something by an ID.
///
/// # Errors
/// A failure of the database.
pub async fn naming(tx: &mut Tx, family: &str, id: &str, before: i64, limit: i64) -> Result<Vec<Record>, DbError> {
    tx.query(
        "SELECT seq, at, actor, event, detail, hash FROM audit
         WHERE family = $1 AND seq < $2 AND detail LIKE $3 ORDER BY seq DESC LIMIT $4",
    )
    .bind(family)
    .bind(before)
    // IDs are letters, digits and hyphens.
    .bind(format!("%\"{id}\"%"))
    .bind(limit)
    .all()
    .await
}
