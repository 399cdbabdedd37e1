//! The key that a user's saves of a title are sealed under, wrapped.

use counterfoil_core::{Timestamp, TitleId, UserId};

use crate::db::{DbError, Tx};

/// The save key of user and title, wrapped; `fresh` becomes it where there is none.
///
/// # Errors
/// A failure of the database.
pub async fn save_key(tx: &mut Tx, user: UserId, title: &TitleId, fresh: &[u8], now: Timestamp) -> Result<Vec<u8>, DbError> {
    tx.query(
        "INSERT INTO save_key (user_id, title_id, wrapped, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, title_id) DO NOTHING",
    )
    .bind(user.to_string())
    .bind(title.as_str())
    .bind(fresh)
    .bind(now.0)
    .execute()
    .await?;
    let found = find_save_key(tx, user, title).await?;
    found.ok_or_else(|| tx.conflict("the save key"))
}

/// The save key of user and title, wrapped.
///
/// # Errors
/// A failure of the database.
pub async fn find_save_key(tx: &mut Tx, user: UserId, title: &TitleId) -> Result<Option<Vec<u8>>, DbError> {
    let row: Option<(Vec<u8>,)> = tx
        .query("SELECT wrapped FROM save_key WHERE user_id = $1 AND title_id = $2")
        .bind(user.to_string())
        .bind(title.as_str())
        .opt()
        .await?;
    Ok(row.map(|(wrapped,)| wrapped))
}
