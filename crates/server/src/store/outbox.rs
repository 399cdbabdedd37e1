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
    /// How often it was taken, this time included.
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

/// Takes up to `limit` messages that are due at `now`, oldest first. Nobody else gets them for `lease` milliseconds; whoever took one calls
/// `done` or `failed`, and if it dies, the message is due again after that.
///
/// # Errors
/// A failure of the database; what was taken before it is due again after the lease.
pub async fn take_due(db: &Db, now: i64, lease: i64, limit: i64) -> Result<Vec<Operation>, DbError> {
    let due = db
        .read("find due messages", async move |tx| {
            tx.query("SELECT family, operation_id, due_at FROM outbox WHERE done_at IS NULL AND due_at <= $1 ORDER BY due_at LIMIT $2")
                .bind(now)
                .bind(limit)
                .all::<(String, String, i64)>()
                .await
        })
        .await?;
    let takings = due.into_iter().map(|(family, operation_id, due_at)| {
        db.write("take message", family.clone(), async move |tx| {
            // Guarded by what was seen: of two that saw it, one moves it.
            tx.query(
                "UPDATE outbox SET due_at = $1, attempts = attempts + 1
                 WHERE family = $2 AND operation_id = $3 AND due_at = $4 AND done_at IS NULL
                 RETURNING family, operation_id, kind, payload, created_at, attempts",
            )
            .bind(now + lease)
            .bind(&family)
            .bind(&operation_id)
            .bind(due_at)
            .opt::<Operation>()
            .await
        })
    });
    Ok(crate::db::all(takings).await?.into_iter().flatten().collect())
}

/// Says that a message was delivered. False: it is not there, or was delivered before.
///
/// # Errors
/// A failure of the database.
pub async fn done(tx: &mut Tx, family: &str, operation_id: &str, now: i64) -> Result<bool, DbError> {
    let updated = tx
        .query("UPDATE outbox SET done_at = $1, last_error = NULL WHERE family = $2 AND operation_id = $3 AND done_at IS NULL")
        .bind(now)
        .bind(family)
        .bind(operation_id)
        .execute()
        .await?;
    Ok(updated == 1)
}

/// Says why a message was not delivered, and when to try again (milliseconds).
///
/// # Errors
/// A failure of the database.
pub async fn failed(tx: &mut Tx, family: &str, operation_id: &str, error: &str, due: i64) -> Result<bool, DbError> {
    let updated = tx
        .query("UPDATE outbox SET last_error = $1, due_at = $2 WHERE family = $3 AND operation_id = $4 AND done_at IS NULL")
        .bind(error)
        .bind(due)
        .bind(family)
        .bind(operation_id)
        .execute()
        .await?;
    Ok(updated == 1)
}

/// Deletes up to `limit` messages that were delivered by `until` (milliseconds); returns how many.
///
/// # Errors
/// A failure of the database; what was deleted before stays so.
pub async fn purge(db: &Db, until: i64, limit: i64) -> Result<u64, DbError> {
    let delivered = db
        .read("find delivered messages", async move |tx| {
            tx.query("SELECT family, operation_id FROM outbox WHERE done_at <= $1 ORDER BY done_at LIMIT $2")
                .bind(until)
                .bind(limit)
                .all::<(String, String)>()
                .await
        })
        .await?;
    let deletions = delivered.into_iter().map(|(family, operation_id)| {
        db.write("purge message", family.clone(), async move |tx| {
            tx.query("DELETE FROM outbox WHERE family = $1 AND operation_id = $2 AND done_at <= $3")
                .bind(&family)
                .bind(&operation_id)
                .bind(until)
                .execute()
                .await
        })
    });
    Ok(crate::db::all(deletions).await?.into_iter().sum())
}
