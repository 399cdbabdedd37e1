//! Releases: the signed document of each, and the objects that it is made of.

use counterfoil_core::{Channel, ReleaseVersion, TitleId};
use counterfoil_format::content::ObjectName;
use serde::{Deserialize, Serialize};

use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// A statement that reads whole rows.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT version, channel, number, document, generation, created_at,
                    notes, critical, rollout, held_at, withdrawn_at, allow_back, encoder
             FROM release ",
            $which
        )
    };
}

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
    /// What was said of it since, or with it.
    pub said: Said,
    /// What its chunks were compressed by, such as `zstd 1.5.7 level 3`; empty where it was published before that was asked for.
    pub encoder: String,
}

/// What the publisher says of a release, and may say otherwise later (A5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// For people: what is new.
    pub notes: String,
    /// It mends something dangerous.
    pub critical: bool,
    /// Percent of the devices that it is offered to.
    pub rollout: u32,
    /// Since when it is offered to nobody, in milliseconds UTC; whoever names it still gets it.
    pub held_at: Option<i64>,
    /// Since when nobody gets it, in milliseconds UTC.
    pub withdrawn_at: Option<i64>,
    /// Whether devices that have a later release may go back to it.
    pub allow_back: bool,
}

impl Default for Said {
    fn default() -> Self {
        Self { notes: String::new(), critical: false, rollout: 100, held_at: None, withdrawn_at: None, allow_back: true }
    }
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
            said: Said {
                notes: row.column()?,
                critical: row.column::<i64>()? != 0,
                rollout: row.column()?,
                held_at: row.column()?,
                withdrawn_at: row.column()?,
                allow_back: row.column::<i64>()? != 0,
            },
            encoder: row.column()?,
        })
    }
}

/// One release of a title.
///
/// # Errors
/// A failure of the database.
pub async fn get(tx: &mut Tx, title: &TitleId, version: &ReleaseVersion) -> Result<Option<Release>, DbError> {
    tx.query(select!("WHERE title_id = $1 AND version = $2")).bind(title.as_str()).bind(version.as_str()).opt().await
}

/// The release of a title that whoever has none gets from a channel: the last one that is neither held nor withdrawn, and that everybody is
/// offered.
///
/// # Errors
/// A failure of the database.
pub async fn newest(tx: &mut Tx, title: &TitleId, channel: &Channel) -> Result<Option<Release>, DbError> {
    tx.query(select!(
        "WHERE title_id = $1 AND channel = $2 AND held_at IS NULL AND withdrawn_at IS NULL AND rollout = 100
             ORDER BY number DESC LIMIT 1"
    ))
    .bind(title.as_str())
    .bind(channel.as_str())
    .opt()
    .await
}

/// The same from whatever channel.
///
/// # Errors
/// A failure of the database.
pub async fn newest_of_all(tx: &mut Tx, title: &TitleId) -> Result<Option<Release>, DbError> {
    tx.query(select!(
        "WHERE title_id = $1 AND held_at IS NULL AND withdrawn_at IS NULL AND rollout = 100
             ORDER BY number DESC LIMIT 1"
    ))
    .bind(title.as_str())
    .opt()
    .await
}

/// The release of a number.
///
/// # Errors
/// A failure of the database.
pub async fn numbered(tx: &mut Tx, title: &TitleId, number: i64) -> Result<Option<Release>, DbError> {
    Ok(list(tx, title, number.saturating_add(1), 1).await?.pop().filter(|release| release.number == number))
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
    tx.query(select!("WHERE title_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3"))
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
            "INSERT INTO release (title_id, version, channel, number, document, generation, created_at,
                                  notes, critical, rollout, held_at, withdrawn_at, allow_back, encoder)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             ON CONFLICT DO NOTHING",
        )
        .bind(title.as_str())
        .bind(release.version.as_str())
        .bind(release.channel.as_str())
        .bind(release.number)
        .bind(&release.document)
        .bind(release.generation)
        .bind(release.created_at)
        .bind(&release.said.notes)
        .bind(i64::from(release.said.critical))
        .bind(release.said.rollout)
        .bind(release.said.held_at)
        .bind(release.said.withdrawn_at)
        .bind(i64::from(release.said.allow_back))
        .bind(&release.encoder)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Says something else of a release that is there.
///
/// # Errors
/// A failure of the database.
pub async fn say(tx: &mut Tx, title: &TitleId, version: &ReleaseVersion, said: &Said) -> Result<(), DbError> {
    tx.query(
        "UPDATE release SET notes = $3, critical = $4, rollout = $5, held_at = $6, withdrawn_at = $7, allow_back = $8
         WHERE title_id = $1 AND version = $2",
    )
    .bind(title.as_str())
    .bind(version.as_str())
    .bind(&said.notes)
    .bind(i64::from(said.critical))
    .bind(said.rollout)
    .bind(said.held_at)
    .bind(said.withdrawn_at)
    .bind(i64::from(said.allow_back))
    .execute()
    .await
    .map(drop)
}

/// The number of the oldest release that is still good on a channel, where one was named.
///
/// # Errors
/// A failure of the database.
pub async fn minimum(tx: &mut Tx, title: &TitleId, channel: &Channel) -> Result<Option<i64>, DbError> {
    let row: Option<(i64,)> = tx
        .query("SELECT number FROM channel_minimum WHERE title_id = $1 AND channel = $2")
        .bind(title.as_str())
        .bind(channel.as_str())
        .opt()
        .await?;
    Ok(row.map(|(number,)| number))
}

/// The same of all channels.
///
/// # Errors
/// A failure of the database.
pub async fn minima(tx: &mut Tx, title: &TitleId) -> Result<Vec<(Channel, i64)>, DbError> {
    tx.query("SELECT channel, number FROM channel_minimum WHERE title_id = $1 ORDER BY channel").bind(title.as_str()).all().await
}

/// The bytes of each release's packs and manifest.
///
/// # Errors
/// A failure of the database.
pub async fn packed(tx: &mut Tx, title: &TitleId) -> Result<Vec<(ReleaseVersion, u64)>, DbError> {
    let rows: Vec<(ReleaseVersion, i64)> = tx
        .query("SELECT version, CAST(sum(length) AS BIGINT) FROM release_object WHERE title_id = $1 GROUP BY version ORDER BY version")
        .bind(title.as_str())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(version, bytes)| (version, bytes.unsigned_abs())).collect())
}

/// Names the oldest release that is still good on a channel, or none.
///
/// # Errors
/// A failure of the database.
pub async fn set_minimum(tx: &mut Tx, title: &TitleId, channel: &Channel, number: Option<i64>) -> Result<(), DbError> {
    let query = match number {
        Some(number) => tx
            .query(
                "INSERT INTO channel_minimum (title_id, channel, number) VALUES ($1, $2, $3)
                 ON CONFLICT (title_id, channel) DO UPDATE SET number = excluded.number",
            )
            .bind(title.as_str())
            .bind(channel.as_str())
            .bind(number),
        None => tx.query("DELETE FROM channel_minimum WHERE title_id = $1 AND channel = $2").bind(title.as_str()).bind(channel.as_str()),
    };
    query.execute().await.map(drop)
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
