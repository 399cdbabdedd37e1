//! Content keys, wrapped: one per title and generation (C1).

use counterfoil_core::TitleId;

use crate::db::{DbError, Tx};

/// The wrapped content key of a generation.
///
/// # Errors
/// A failure of the database.
pub async fn get(tx: &mut Tx, title: &TitleId, generation: u32) -> Result<Option<Vec<u8>>, DbError> {
    let row: Option<(Vec<u8>,)> = tx
        .query("SELECT wrapped FROM content_key WHERE title_id = $1 AND generation = $2")
        .bind(title.as_str())
        .bind(generation)
        .opt()
        .await?;
    Ok(row.map(|(wrapped,)| wrapped))
}

/// Adds the key of a generation that has none.
///
/// # Errors
/// `Constraint` when it has one; a failure of the database.
pub async fn insert(tx: &mut Tx, title: &TitleId, generation: u32, wrapped: &[u8], now: i64) -> Result<(), DbError> {
    tx.query("INSERT INTO content_key (title_id, generation, wrapped, created_at) VALUES ($1, $2, $3, $4)")
        .bind(title.as_str())
        .bind(generation)
        .bind(wrapped)
        .bind(now)
        .execute()
        .await?;
    Ok(())
}
