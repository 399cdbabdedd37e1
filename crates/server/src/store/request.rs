//! Requests that were answered, so that one sent again gets the same answer and has no second effect.

use crate::db::{Db, DbError, Tx};

/// What was answered: the status for the edge, and the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// HTTP status, or the terminal protocol's own number.
    pub status: i64,
    /// The answer, byte for byte.
    pub answer: Vec<u8>,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// Nobody has answered it: do it, and `record` the answer in the same transaction.
    Fresh,
    /// It was answered; give this answer again.
    Repeat(Recorded),
    /// The same ID came with other content (422 over HTTP).
    Mismatch,
}

/// Looks a request up. `family` is whose effect it has or who sent it, always the same for the same ID; `digest` is over all of the request
/// that matters; `now` is in milliseconds.
///
/// # Errors
/// A failure of the database.
pub async fn once(tx: &mut Tx, family: &str, request_id: &str, digest: &[u8; 32], now: i64) -> Result<Once, DbError> {
    let found = tx
        .query("SELECT digest, status, answer FROM request WHERE family = $1 AND request_id = $2 AND expires_at > $3")
        .bind(family)
        .bind(request_id)
        .bind(now)
        .opt::<(Vec<u8>, i64, Vec<u8>)>()
        .await?;
    Ok(match found {
        None => Once::Fresh,
        Some((known, status, answer)) if known == digest => Once::Repeat(Recorded { status, answer }),
        Some(_) => Once::Mismatch,
    })
}

/// Records the answer, in the transaction of the effect, until `expires` (milliseconds).
///
/// # Errors
/// A failure of the database. When another process has answered the same request meanwhile, the action is run again and finds that answer.
pub async fn record(
    tx: &mut Tx,
    family: &str,
    request_id: &str,
    digest: &[u8; 32],
    recorded: &Recorded,
    now: i64,
    expires: i64,
) -> Result<(), DbError> {
    match try_record(tx, family, request_id, digest, recorded, now, expires).await? {
        true => Ok(()),
        false => Err(tx.conflict("a request")),
    }
}

/// As [`record`], but says no where the request was answered already, for an action that takes its work back then.
///
/// # Errors
/// A failure of the database.
pub async fn try_record(
    tx: &mut Tx,
    family: &str,
    request_id: &str,
    digest: &[u8; 32],
    recorded: &Recorded,
    now: i64,
    expires: i64,
) -> Result<bool, DbError> {
    let written = tx
        .query(
            "INSERT INTO request (family, request_id, digest, status, answer, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (family, request_id) DO UPDATE SET digest = excluded.digest, status = excluded.status, answer = excluded.answer,
                 created_at = excluded.created_at, expires_at = excluded.expires_at
             WHERE request.expires_at <= excluded.created_at",
        )
        .bind(family)
        .bind(request_id)
        .bind(digest)
        .bind(recorded.status)
        .bind(&recorded.answer)
        .bind(now)
        .bind(expires)
        .execute()
        .await?;
    Ok(written == 1)
}

/// Deletes up to `limit` requests that have expired by `now` (milliseconds); returns how many.
///
/// # Errors
/// A failure of the database; what was deleted before stays so.
pub async fn purge(db: &Db, now: i64, limit: i64) -> Result<u64, DbError> {
    let expired = db
        .read("find expired requests", async move |tx| {
            tx.query("SELECT family, request_id FROM request WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2")
                .bind(now)
                .bind(limit)
                .all::<(String, String)>()
                .await
        })
        .await?;
    let deletions = expired.into_iter().map(|(family, request_id)| {
        db.write("purge request", family.clone(), async move |tx| {
            tx.query("DELETE FROM request WHERE family = $1 AND request_id = $2 AND expires_at <= $3")
                .bind(&family)
                .bind(&request_id)
                .bind(now)
                .execute()
                .await
        })
    });
    Ok(crate::db::all(deletions).await?.into_iter().sum())
}
