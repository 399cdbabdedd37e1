//! Uploads that are over: which have run out, and which have left something in the contents store that nobody needs.

use counterfoil_core::{Timestamp, UploadId, UserId};
use counterfoil_format::content::ObjectName;

use super::{State, UploadRow};
use crate::db::{DbError, Tx};

/// Open uploads whose time is over, those first that have waited longest.
///
/// # Errors
/// A failure of the database.
pub async fn expired(tx: &mut Tx, now: Timestamp, most: i64) -> Result<Vec<(UserId, UploadId)>, DbError> {
    tx.query("SELECT user_id, upload_id FROM upload WHERE state = 'open' AND expires_at <= $1 ORDER BY expires_at, upload_id LIMIT $2")
        .bind(now.0)
        .bind(most)
        .all()
        .await
}

/// Uploads that have ended before `then` and were not swept since.
///
/// # Errors
/// A failure of the database.
pub async fn unswept(tx: &mut Tx, then: Timestamp, most: i64) -> Result<Vec<UploadRow>, DbError> {
    tx.query(
        "SELECT user_id, upload_id, title_id, slot, version, device_id, object, length, received, note, state, expires_at, completed_at
         FROM upload WHERE state <> 'open' AND swept = 0 AND expires_at <= $1 ORDER BY expires_at, upload_id LIMIT $2",
    )
    .bind(then.0)
    .bind(most)
    .all()
    .await
}

/// Whether any upload of anybody's has or will have these bytes.
///
/// # Errors
/// A failure of the database.
pub async fn is_needed(tx: &mut Tx, object: ObjectName) -> Result<bool, DbError> {
    let found: Vec<(String,)> =
        tx.query("SELECT upload_id FROM upload WHERE object = $1 AND state <> 'removed' LIMIT 1").bind(object.to_string()).all().await?;
    Ok(!found.is_empty())
}

/// Notes that nothing of an upload is left that nobody needs. A removed row goes with it, unless it has the highest number that its slot ever
/// had: numbers are used once.
///
/// # Errors
/// A failure of the database.
pub async fn swept(tx: &mut Tx, row: &UploadRow) -> Result<(), DbError> {
    let (user, upload) = (row.user.to_string(), row.upload.to_string());
    tx.query("DELETE FROM upload_part WHERE user_id = $1 AND upload_id = $2").bind(&user).bind(&upload).execute().await?;
    tx.query("UPDATE upload SET swept = 1 WHERE user_id = $1 AND upload_id = $2 AND state = $3")
        .bind(&user)
        .bind(&upload)
        .bind(row.state.as_str())
        .execute()
        .await?;
    let is_highest = row.completed_at.is_some() && super::slots(tx, row.user, &row.title, &row.slot).await?.highest <= row.version;
    if row.state == State::Removed && !is_highest {
        tx.query("DELETE FROM upload WHERE user_id = $1 AND upload_id = $2 AND state = 'removed'")
            .bind(&user)
            .bind(&upload)
            .execute()
            .await?;
    }
    Ok(())
}
