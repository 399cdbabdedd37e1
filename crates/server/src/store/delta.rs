//! Deltas: between which of a title's releases chunks were written against those that a device has, and in which objects.

use counterfoil_core::{ReleaseVersion, TitleId};

use super::patch::Patch;
use crate::db::{DbError, FromRow, Row, Tx};

/// A row of `delta`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Between which releases, and the object, as of a patch.
    pub patch: Patch,
    /// Sealed bytes of the chunks that it gives.
    pub covered: u64,
}

impl FromRow for Delta {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { patch: Patch::from_row(row)?, covered: row.column::<i64>()?.unsigned_abs() })
    }
}

/// The deltas between two releases.
///
/// # Errors
/// A failure of the database.
pub async fn get(tx: &mut Tx, title: &TitleId, from: &ReleaseVersion, to: &ReleaseVersion) -> Result<Option<Delta>, DbError> {
    tx.query(
        "SELECT from_version, to_version, object, length, encoder, created_at, covered FROM delta
         WHERE title_id = $1 AND from_version = $2 AND to_version = $3",
    )
    .bind(title.as_str())
    .bind(from.as_str())
    .bind(to.as_str())
    .opt()
    .await
}

/// Up to `limit` of a title behind those from `after.0` to `after.1`, in order of versions as text.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, title: &TitleId, after: (&str, &str), limit: i64) -> Result<Vec<Delta>, DbError> {
    tx.query(
        "SELECT from_version, to_version, object, length, encoder, created_at, covered FROM delta
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

/// Adds deltas, or puts them in the place of those that were there between the two releases.
///
/// # Errors
/// `Constraint` when one of the releases is not there; a failure of the database.
pub async fn put(tx: &mut Tx, title: &TitleId, delta: &Delta) -> Result<(), DbError> {
    let Delta { patch, covered } = delta;
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    tx.query(
        "INSERT INTO delta (title_id, from_version, to_version, object, length, covered, encoder, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (title_id, from_version, to_version)
         DO UPDATE SET object = excluded.object, length = excluded.length, covered = excluded.covered, encoder = excluded.encoder,
             created_at = excluded.created_at",
    )
    .bind(title.as_str())
    .bind(patch.from.as_str())
    .bind(patch.to.as_str())
    .bind(patch.object.to_string())
    .bind(number(patch.length))
    .bind(number(*covered))
    .bind(&patch.encoder)
    .bind(patch.created_at)
    .execute()
    .await?;
    Ok(())
}
