//! What the authority knows of itself: a few names and values that are no configuration.

use crate::db::{DbError, Tx};

/// Family of every write to settings and keys: small reference tables.
pub const FAMILY: &str = "/authority";
/// Name of the authority, stable for its life.
pub const AUTHORITY_NAME: &str = "authority_name";

/// When the auditor ran last, and what it found, as JSON.
pub const LAST_AUDIT: &str = "last_audit";

/// The value of a setting.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, name: &str) -> Result<Option<String>, DbError> {
    let row: Option<(String,)> = tx.query("SELECT value FROM setting WHERE name = $1").bind(name).opt().await?;
    Ok(row.map(|(value,)| value))
}

/// Sets a setting that must not change afterwards; answers with the value that holds.
///
/// # Errors
/// A failure of the database.
pub async fn settle(tx: &mut Tx, name: &str, value: &str) -> Result<String, DbError> {
    tx.query("INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING").bind(name).bind(value).execute().await?;
    Ok(find(tx, name).await?.unwrap_or_else(|| value.to_owned()))
}

/// Sets a setting that changes.
///
/// # Errors
/// A failure of the database.
pub async fn put(tx: &mut Tx, name: &str, value: &str) -> Result<(), DbError> {
    let sql = "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.query(sql).bind(name).bind(value).execute().await.map(drop)
}
