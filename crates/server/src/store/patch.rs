//! Patches: which of a title's releases can be turned into which other ones, and by which objects.

use counterfoil_core::{ReleaseVersion, TitleId};
use counterfoil_format::content::ObjectName;

use crate::db::{DbError, FromRow, Row, Tx};

/// A row of `patch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The release that it is applied to.
    pub from: ReleaseVersion,
    /// The release that comes of it.
    pub to: ReleaseVersion,
    /// Names it in the contents store.
    pub object: ObjectName,
    /// In bytes.
    pub length: u64,
    /// What the chunks of `to` were compressed by, without its level, such as `zstd 1.5.7`.
    pub encoder: String,
    /// Milliseconds UTC.
    pub created_at: i64,
}

impl FromRow for Patch {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            from: row.column()?,
            to: row.column()?,
            object: row.column()?,
            length: row.column::<i64>()?.unsigned_abs(),
            encoder: row.column()?,
            created_at: row.column()?,
        })
    }
}

/// The patch between two releases.
///
/// # Errors
/// A failure of the database.
pub async fn get(tx: &mut Tx, title: &TitleId, from: &ReleaseVersion, to: &ReleaseVersion) -> Result<Option<Patch>, DbError> {
    tx.query(
        "SELECT from_version, to_version, object, length, encoder, created_at FROM patch
         WHERE title_id = $1 AND from_version = $2 AND to_version = $3",
    )
    .bind(title.as_str())
    .bind(from.as_str())
    .bind(to.as_str())
    .opt()
    .await
}

/// Up to `limit` patches of a title behind the one from `after.0` to `after.1`, in order of versions as text.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, title: &TitleId, after: (&str, &str), limit: i64) -> Result<Vec<Patch>, DbError> {
    tx.query(
        "SELECT from_version, to_version, object, length, encoder, created_at FROM patch
         WHERE title_id = $1 AND (from_version > $2 OR (from_version = $2 AND to_version > $3))
         ORDER BY from_version, to_version LIMIT $4",
    )
    .bind(title.as_str())
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

/// Adds a patch, or puts it in the place of the one that was there between the two releases.
///
/// # Errors
/// `Constraint` when one of the releases is not there; a failure of the database.
pub async fn put(tx: &mut Tx, title: &TitleId, patch: &Patch) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO patch (title_id, from_version, to_version, object, length, encoder, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (title_id, from_version, to_version)
         DO UPDATE SET object = excluded.object, length = excluded.length, encoder = excluded.encoder, created_at = excluded.created_at",
    )
    .bind(title.as_str())
    .bind(patch.from.as_str())
    .bind(patch.to.as_str())
    .bind(patch.object.to_string())
    .bind(i64::try_from(patch.length).unwrap_or(i64::MAX))
    .bind(&patch.encoder)
    .bind(patch.created_at)
    .execute()
    .await?;
    Ok(())
}
