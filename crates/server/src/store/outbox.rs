//! What one family must tell another, or the world: written with its cause, delivered at least once, told apart by an operation ID.

use crate::db::{Db, DbError, FromRow, Row, Tx};

/// A message that waits to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Whose transaction wrote it.
    pub family: String,
    /// Names the effect: who receives it twice does it once.
    pub operation_id: String,
    /// What is to be done with it.
    pub kind: String,
    /// JSON.
    pub payload: String,
    /// Milliseconds.
    pub created_at: i64,
    /// How often delivering it has failed.
    pub attempts: i64,
}

impl FromRow for Operation {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            family: row.column()?,
            operation_id: row.column()?,
            kind: row.column()?,
            payload: row.column()?,
            created_at: row.column()?,
            attempts: row.column()?,
        })
    }
}

/// Writes a message, to be delivered from `due` (milliseconds) on. False: an operation of this ID was written before, and stays as it was.
///
/// # Errors
/// A failure of the database.
pub async fn enqueue(
    tx: &mut Tx,
    family: &str,
    operation_id: &str,
    kind: &str,
    payload: &str,
    now: i64,
    due: i64,
) -> Result<bool, DbError> {
    let written = tx
        .query(
            "INSERT INTO outbox (family, operation_id, kind, payload, created_at, due_at, attempts) VALUES ($1, $2, $3, $4, $5, $6, 0)
             ON CONFLICT (family, operation_id) DO NOTHING",
        )
        .bind(family)
        .bind(operation_id)
        .bind(kind)
        .bind(payload)
        .bind(now)
        .bind(due)
        .execute()
        .await?;
    Ok(written == 1)
}

/// Up to `limit` messages to other families that are due at `now`, oldest first; mail goes its own way, for it may take long, and so do events ([`super::webhook::waiting`]). One process delivers at a time; where two do for a moment, both may get the
/// same message, and its operation ID tells whoever receives it.
///
/// # Errors
/// A failure of the database.
pub async fn due(db: &Db, now: i64, limit: i64) -> Result<Vec<Operation>, DbError> {
    db.read("find due messages", async move |tx| {
        tx.query(
            "SELECT family, operation_id, kind, payload, created_at, attempts FROM outbox WHERE due_at <= $1 AND kind <> 'mail' AND kind <> 'event'
             ORDER BY due_at LIMIT $2",
        )
        .bind(now)
        .bind(limit)
        .all()
        .await
    })
    .await
}

/// As [`due`], of one family, and only what tells of a repair or reissue.
///
/// # Errors
/// A failure of the database.
pub async fn due_of(db: &Db, family: &str, now: i64, limit: i64) -> Result<Vec<Operation>, DbError> {
    let family = family.to_owned();
    db.read("find due messages of a family", async move |tx| {
        tx.query(
            "SELECT family, operation_id, kind, payload, created_at, attempts FROM outbox
             WHERE family = $1 AND due_at <= $2 AND kind IN ('free_copies', 'rebind_grants', 'bury_holder') ORDER BY due_at LIMIT $3",
        )
        .bind(&family)
        .bind(now)
        .bind(limit)
        .all()
        .await
    })
    .await
}

/// As [`due`], the mails.
///
/// # Errors
/// A failure of the database.
pub async fn due_mail(db: &Db, now: i64, limit: i64) -> Result<Vec<Operation>, DbError> {
    db.read("find due mail", async move |tx| {
        tx.query(
            "SELECT family, operation_id, kind, payload, created_at, attempts FROM outbox WHERE due_at <= $1 AND kind = 'mail'
             ORDER BY due_at LIMIT $2",
        )
        .bind(now)
        .bind(limit)
        .all()
        .await
    })
    .await
}

/// Forgets a message that was delivered; the audit log tells what happened. False: it is not there, somebody else has delivered it.
///
/// # Errors
/// A failure of the database.
pub async fn done(tx: &mut Tx, family: &str, operation_id: &str) -> Result<bool, DbError> {
    let deleted = tx.query("DELETE FROM outbox WHERE family = $1 AND operation_id = $2").bind(family).bind(operation_id).execute().await?;
    Ok(deleted == 1)
}

/// Says why a message was not delivered, and when to try again (milliseconds). False: it is not there.
///
/// # Errors
/// A failure of the database.
pub async fn failed(tx: &mut Tx, family: &str, operation_id: &str, error: &str, due: i64) -> Result<bool, DbError> {
    let updated = tx
        .query("UPDATE outbox SET attempts = attempts + 1, last_error = $1, due_at = $2 WHERE family = $3 AND operation_id = $4")
        .bind(error)
        .bind(due)
        .bind(family)
        .bind(operation_id)
        .execute()
        .await?;
    Ok(updated == 1)
}
