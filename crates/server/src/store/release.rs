//! Releases: the signed document of each, and the objects that it is made of.

use counterfoil_core::{Channel, ReleaseVersion, TitleId};
use counterfoil_format::content::ObjectName;
use serde::{Deserialize, Serialize};

use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// A row of `release`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Which.
    pub version: ReleaseVersion,
    /// For whom.
    pub channel: Channel,
    /// Counts a title's releases from 1, in the order in which they were published.
    pub number: i64,
    /// As the publisher signed it: a compact JWS.
    pub document: String,
    /// Of the content key that it is sealed under.
    pub generation: u32,
    /// Milliseconds UTC.
    pub created_at: i64,
}

impl FromRow for Release {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            version: row.column()?,
            channel: row.column()?,
            number: row.column()?,
            document: row.column()?,
            generation: row.column()?,
            created_at: row.column()?,
        })
    }
}

/// One release of a title.
///
/// # Errors
/// A failure of the database.
pub async fn get(tx: &mut Tx, title: &TitleId, version: &ReleaseVersion) -> Result<Option<Release>, DbError> {
    tx.query("SELECT version, channel, number, document, generation, created_at FROM release WHERE title_id = $1 AND version = $2")
        .bind(title.as_str())
        .bind(version.as_str())
        .opt()
        .await
}

/// The release of a title that was published last on a channel.
///
/// # Errors
/// A failure of the database.
pub async fn newest(tx: &mut Tx, title: &TitleId, channel: &Channel) -> Result<Option<Release>, DbError> {
    tx.query(
        "SELECT version, channel, number, document, generation, created_at FROM release
         WHERE title_id = $1 AND channel = $2 ORDER BY number DESC LIMIT 1",
    )
    .bind(title.as_str())
    .bind(channel.as_str())
    .opt()
    .await
}

/// The number of the release that was published last, on whatever channel; 0 where there is none.
///
/// # Errors
/// A failure of the database.
pub async fn last_number(tx: &mut Tx, title: &TitleId) -> Result<i64, DbError> {
    let last: (Option<i64>,) = tx.query("SELECT max(number) FROM release WHERE title_id = $1").bind(title.as_str()).one().await?;
    Ok(last.0.unwrap_or_default())
}

/// Up to `limit` releases of a title, newest first, published before number `before`.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, title: &TitleId, before: i64, limit: i64) -> Result<Vec<Release>, DbError> {
    tx.query(
        "SELECT version, channel, number, document, generation, created_at FROM release
         WHERE title_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
    )
    .bind(title.as_str())
    .bind(before)
    .bind(limit)
    .all()
    .await
}

/// Adds a release; false when the version is there, or another process took the number meanwhile.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, title: &TitleId, release: &Release) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "INSERT INTO release (title_id, version, channel, number, document, generation, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT DO NOTHING",
        )
        .bind(title.as_str())
        .bind(release.version.as_str())
        .bind(release.channel.as_str())
        .bind(release.number)
        .bind(&release.document)
        .bind(release.generation)
        .bind(release.created_at)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// An object of a release, with its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseObject {
    /// Names it in the contents store.
    pub object: ObjectName,
    /// In bytes.
    pub length: u64,
}

impl FromRow for ReleaseObject {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { object: row.column()?, length: row.column::<i64>()?.unsigned_abs() })
    }
}

impl FromValue for ObjectName {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        String::from_value(value)?.parse().map_err(|_| "expected the name of an object".to_owned())
    }
}

/// The objects of a release, by name.
///
/// # Errors
/// A failure of the database.
pub async fn objects(tx: &mut Tx, title: &TitleId, version: &ReleaseVersion) -> Result<Vec<ReleaseObject>, DbError> {
    tx.query("SELECT object, length FROM release_object WHERE title_id = $1 AND version = $2 ORDER BY object")
        .bind(title.as_str())
        .bind(version.as_str())
        .all()
        .await
}

/// Adds an object to a release.
///
/// # Errors
/// `Constraint` when the release is not there, or names it twice; a failure of the database.
pub async fn insert_object(tx: &mut Tx, title: &TitleId, version: &ReleaseVersion, object: &ReleaseObject) -> Result<(), DbError> {
    tx.query("INSERT INTO release_object (title_id, version, object, length) VALUES ($1, $2, $3, $4)")
        .bind(title.as_str())
        .bind(version.as_str())
        .bind(object.object.to_string())
        .bind(i64::try_from(object.length).unwrap_or(i64::MAX))
        .execute()
        .await?;
    Ok(())
}
