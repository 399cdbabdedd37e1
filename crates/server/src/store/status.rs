//! What devices last said they have (A6), in the user's family.

use counterfoil_core::{Channel, DeviceId, ReleaseVersion, Timestamp, TitleId, UserId};

use crate::db::{DbError, FromRow, Row, Tx};

/// Titles of one device that are looked at: more than a device reports.
const MOST: i64 = 2000;

/// A row of `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRow {
    /// Of what.
    pub title: TitleId,
    /// The channel that is followed.
    pub channel: Channel,
    /// The release that is complete and current.
    pub version: Option<ReleaseVersion>,
    /// The rest of it, as JSON: what is known of progress.
    pub document: String,
    /// When it was said.
    pub reported_at: Timestamp,
}

impl FromRow for StatusRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            title: row.column()?,
            channel: row.column()?,
            version: row.column()?,
            document: row.column()?,
            reported_at: row.column()?,
        })
    }
}

/// What a device last said, or an entry without devices.
///
/// # Errors
/// A failure of the database.
pub async fn of_device(tx: &mut Tx, user: UserId, device: Option<DeviceId>) -> Result<Vec<StatusRow>, DbError> {
    tx.query(
        "SELECT title_id, channel, version, document, reported_at FROM status
         WHERE user_id = $1 AND device_id = $2 ORDER BY title_id LIMIT $3",
    )
    .bind(user.to_string())
    .bind(named(device))
    .bind(MOST)
    .all()
    .await
}

/// What it last said of one title.
///
/// # Errors
/// A failure of the database.
pub async fn get(tx: &mut Tx, user: UserId, device: Option<DeviceId>, title: &TitleId) -> Result<Option<StatusRow>, DbError> {
    tx.query(
        "SELECT title_id, channel, version, document, reported_at FROM status
         WHERE user_id = $1 AND device_id = $2 AND title_id = $3",
    )
    .bind(user.to_string())
    .bind(named(device))
    .bind(title.as_str())
    .opt()
    .await
}

/// Notes what it says now; false where something later was noted meanwhile.
///
/// # Errors
/// A failure of the database.
pub async fn put(tx: &mut Tx, user: UserId, device: Option<DeviceId>, row: &StatusRow) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "INSERT INTO status (user_id, device_id, title_id, channel, version, document, reported_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (user_id, device_id, title_id) DO UPDATE SET channel = excluded.channel, version = excluded.version,
                 document = excluded.document, reported_at = excluded.reported_at
             WHERE status.reported_at <= excluded.reported_at",
        )
        .bind(user.to_string())
        .bind(named(device))
        .bind(row.title.as_str())
        .bind(row.channel.as_str())
        .bind(row.version.as_ref().map(ReleaseVersion::as_str))
        .bind(&row.document)
        .bind(row.reported_at.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// The key's part for the device; empty for an entry without devices.
fn named(device: Option<DeviceId>) -> String {
    device.map(|device| device.to_string()).unwrap_or_default()
}
