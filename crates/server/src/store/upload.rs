//! What users hand in, in their family: uploads with their parts, what is held of a title, and the key that it is sealed under (A4).

use counterfoil_core::rules::upload::{Newest, Slots};
use counterfoil_core::wire::UploadedVersion;
use counterfoil_core::{DeviceId, MediumId, Timestamp, TitleId, UploadId, UserId};
use counterfoil_format::content::ObjectName;

use crate::db::{DbError, FromRow, Row, Tx};

mod key;
pub mod over;

pub use key::{find_save_key, save_key};

/// Versions that are listed: more than slots and their versions can be.
const MOST: i64 = 2000;
/// Media that a user has one title from, as far as they are looked at.
const MEDIA: i64 = 100;

/// Numbers of bytes are far below what the database counts to: a quota is at most 4 PiB.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn unsigned(bytes: i64) -> u64 {
    bytes.unsigned_abs()
}

/// Where an upload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for bytes.
    Open,
    /// It is a version of its slot.
    Complete,
    /// It is not, any more or ever.
    Removed,
}

impl State {
    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Complete => "complete",
            Self::Removed => "removed",
        }
    }
}

/// A row of `upload`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub upload: UploadId,
    /// Of which title.
    pub title: TitleId,
    /// Where.
    pub slot: String,
    /// As which version.
    pub version: u32,
    /// By which device.
    pub device: DeviceId,
    /// What it hashes to.
    pub object: ObjectName,
    /// All its bytes.
    pub length: u64,
    /// Those that are there.
    pub received: u64,
    /// For people.
    pub note: Option<String>,
    /// Where it stands.
    pub state: State,
    /// When an open one ends; when any other has ended.
    pub expires_at: Timestamp,
    /// When it became a version.
    pub completed_at: Option<Timestamp>,
}

impl UploadRow {
    /// Whether bytes for it are taken.
    pub fn waits(&self, now: Timestamp) -> bool {
        self.state == State::Open && now < self.expires_at
    }
}

impl FromRow for UploadRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            user: row.column()?,
            upload: row.column()?,
            title: row.column()?,
            slot: row.column()?,
            version: row.column()?,
            device: row.column()?,
            object: row.column()?,
            length: row.column().map(unsigned)?,
            received: row.column().map(unsigned)?,
            note: row.column()?,
            state: match row.column::<String>()?.as_str() {
                "open" => State::Open,
                "complete" => State::Complete,
                _ => State::Removed,
            },
            expires_at: row.column()?,
            completed_at: row.column()?,
        })
    }
}

/// A piece of an open upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where in the upload it begins.
    pub position: u64,
    /// In bytes.
    pub length: u64,
    /// Its name among the parts of its upload; drawn, not a hash.
    pub object: ObjectName,
}

/// An upload.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId, upload: UploadId) -> Result<Option<UploadRow>, DbError> {
    tx.query(
        "SELECT user_id, upload_id, title_id, slot, version, device_id, object, length, received, note, state, expires_at, completed_at
         FROM upload WHERE user_id = $1 AND upload_id = $2",
    )
    .bind(user.to_string())
    .bind(upload.to_string())
    .opt()
    .await
}

/// Uploads of a slot that wait for bytes, or are versions of it.
///
/// # Errors
/// A failure of the database.
pub async fn in_slot(tx: &mut Tx, user: UserId, title: &TitleId, slot: &str) -> Result<Vec<UploadRow>, DbError> {
    tx.query(
        "SELECT user_id, upload_id, title_id, slot, version, device_id, object, length, received, note, state, expires_at, completed_at
         FROM upload WHERE user_id = $1 AND title_id = $2 AND slot = $3 AND state <> 'removed' ORDER BY version, upload_id LIMIT $4",
    )
    .bind(user.to_string())
    .bind(title.as_str())
    .bind(slot)
    .bind(MOST)
    .all()
    .await
}

/// What is known of a slot beside others of its title, for the rule.
///
/// # Errors
/// A failure of the database.
pub async fn slots(tx: &mut Tx, user: UserId, title: &TitleId, slot: &str) -> Result<Slots, DbError> {
    let newest: Option<(u32, DeviceId, Timestamp)> = tx
        .query(
            "SELECT version, device_id, completed_at FROM upload WHERE user_id = $1 AND title_id = $2 AND slot = $3 AND state = 'complete'
             ORDER BY version DESC LIMIT 1",
        )
        .bind(user.to_string())
        .bind(title.as_str())
        .bind(slot)
        .opt()
        .await?;
    let highest: Option<(u32,)> = tx
        .query(
            "SELECT version FROM upload WHERE user_id = $1 AND title_id = $2 AND slot = $3 AND completed_at IS NOT NULL
             ORDER BY version DESC LIMIT 1",
        )
        .bind(user.to_string())
        .bind(title.as_str())
        .bind(slot)
        .opt()
        .await?;
    let others: Option<(i64,)> = tx
        .query("SELECT COUNT(DISTINCT slot) FROM upload WHERE user_id = $1 AND title_id = $2 AND slot <> $3 AND state <> 'removed'")
        .bind(user.to_string())
        .bind(title.as_str())
        .bind(slot)
        .opt()
        .await?;
    Ok(Slots {
        newest: newest.map(|(version, device, at)| Newest { version, device, at }),
        highest: highest.map_or(0, |(version,)| version),
        others: others.map_or(0, |(count,)| usize::try_from(count).unwrap_or(usize::MAX)),
        used: used(tx, user, title).await?,
    })
}

/// Bytes that a user holds of a title, what is under way included.
///
/// # Errors
/// A failure of the database.
pub async fn used(tx: &mut Tx, user: UserId, title: &TitleId) -> Result<u64, DbError> {
    let row: Option<(i64,)> = tx
        .query("SELECT bytes FROM upload_usage WHERE user_id = $1 AND title_id = $2")
        .bind(user.to_string())
        .bind(title.as_str())
        .opt()
        .await?;
    Ok(row.map_or(0, |(bytes,)| unsigned(bytes)))
}

/// Counts so many bytes more; false where they would be more than `quota` then.
///
/// # Errors
/// A failure of the database.
pub async fn reserve(tx: &mut Tx, user: UserId, title: &TitleId, length: u64, quota: u64) -> Result<bool, DbError> {
    tx.query("INSERT INTO upload_usage (user_id, title_id, bytes) VALUES ($1, $2, 0) ON CONFLICT (user_id, title_id) DO NOTHING")
        .bind(user.to_string())
        .bind(title.as_str())
        .execute()
        .await?;
    let changed = tx
        .query("UPDATE upload_usage SET bytes = bytes + $3 WHERE user_id = $1 AND title_id = $2 AND bytes + $3 <= $4")
        .bind(user.to_string())
        .bind(title.as_str())
        .bind(signed(length))
        .bind(signed(quota))
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Keeps an upload that waits for its bytes.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, row: &UploadRow, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO upload (user_id, upload_id, title_id, slot, version, device_id, object, length, received, note, state, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, 'open', $10, $11)",
    )
    .bind(row.user.to_string())
    .bind(row.upload.to_string())
    .bind(row.title.as_str())
    .bind(&row.slot)
    .bind(row.version)
    .bind(row.device.to_string())
    .bind(row.object.to_string())
    .bind(signed(row.length))
    .bind(row.note.as_deref())
    .bind(now.0)
    .bind(row.expires_at.0)
    .execute()
    .await
    .map(drop)
}

/// Moves an open upload on by one piece; false where it does not stand where the piece begins, or waits no more.
///
/// # Errors
/// A failure of the database.
pub async fn advance(tx: &mut Tx, user: UserId, upload: UploadId, part: &Part) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE upload SET received = received + $4 WHERE user_id = $1 AND upload_id = $2 AND state = 'open' AND received = $3
             AND received + $4 < length",
        )
        .bind(user.to_string())
        .bind(upload.to_string())
        .bind(signed(part.position))
        .bind(signed(part.length))
        .execute()
        .await?;
    if changed != 1 {
        return Ok(false);
    }
    tx.query("INSERT INTO upload_part (user_id, upload_id, position, length, object) VALUES ($1, $2, $3, $4, $5)")
        .bind(user.to_string())
        .bind(upload.to_string())
        .bind(signed(part.position))
        .bind(signed(part.length))
        .bind(part.object.to_string())
        .execute()
        .await?;
    Ok(true)
}

/// Whether an upload has moved on by this part.
///
/// # Errors
/// A failure of the database.
pub async fn has_part(tx: &mut Tx, user: UserId, upload: UploadId, part: &Part) -> Result<bool, DbError> {
    let sql = "SELECT object FROM upload_part WHERE user_id = $1 AND upload_id = $2 AND position = $3";
    let found: Option<(ObjectName,)> =
        tx.query(sql).bind(user.to_string()).bind(upload.to_string()).bind(signed(part.position)).opt().await?;
    Ok(found.is_some_and(|(object,)| object == part.object))
}

/// The parts of an upload from `position` on, in order, at most so many.
///
/// # Errors
/// A failure of the database.
pub async fn parts(tx: &mut Tx, user: UserId, upload: UploadId, position: u64, most: i64) -> Result<Vec<Part>, DbError> {
    let rows: Vec<(i64, i64, ObjectName)> = tx
        .query(
            "SELECT position, length, object FROM upload_part WHERE user_id = $1 AND upload_id = $2 AND position >= $3
             ORDER BY position LIMIT $4",
        )
        .bind(user.to_string())
        .bind(upload.to_string())
        .bind(signed(position))
        .bind(most)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(position, length, object)| Part { position: unsigned(position), length: unsigned(length), object }).collect())
}

/// Makes an upload the version that it began as; false where it is not as it was seen.
///
/// # Errors
/// A failure of the database.
pub async fn complete(tx: &mut Tx, row: &UploadRow, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE upload SET state = 'complete', received = length, completed_at = $4, expires_at = $4
             WHERE user_id = $1 AND upload_id = $2 AND state = 'open' AND received = $3",
        )
        .bind(row.user.to_string())
        .bind(row.upload.to_string())
        .bind(signed(row.received))
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Takes an upload away and gives back what it counted; false where it is not as it was seen.
///
/// # Errors
/// A failure of the database.
pub async fn remove(tx: &mut Tx, row: &UploadRow, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE upload SET state = 'removed', expires_at = $4, swept = 0 WHERE user_id = $1 AND upload_id = $2 AND state = $3")
        .bind(row.user.to_string())
        .bind(row.upload.to_string())
        .bind(row.state.as_str())
        .bind(now.0)
        .execute()
        .await?;
    if changed != 1 {
        return Ok(false);
    }
    tx.query("UPDATE upload_usage SET bytes = bytes - $3 WHERE user_id = $1 AND title_id = $2")
        .bind(row.user.to_string())
        .bind(row.title.as_str())
        .bind(signed(row.length))
        .execute()
        .await?;
    Ok(true)
}

/// The versions of a title that are complete, by slot and version.
///
/// # Errors
/// A failure of the database.
pub async fn versions(tx: &mut Tx, user: UserId, title: &TitleId) -> Result<Vec<UploadedVersion>, DbError> {
    tx.query(
        "SELECT u.slot, u.version, u.length, u.object, u.device_id, d.name, u.note, u.completed_at FROM upload u
         LEFT JOIN user_device d ON d.user_id = u.user_id AND d.device_id = u.device_id
         WHERE u.user_id = $1 AND u.title_id = $2 AND u.state = 'complete' ORDER BY u.slot, u.version LIMIT $3",
    )
    .bind(user.to_string())
    .bind(title.as_str())
    .bind(MOST)
    .all()
    .await
}

impl FromRow for UploadedVersion {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            slot: row.column()?,
            version: row.column()?,
            length: row.column().map(unsigned)?,
            object: row.column::<ObjectName>()?.to_string(),
            device_id: row.column()?,
            device: row.column()?,
            note: row.column()?,
            at: row.column()?,
        })
    }
}

/// Media that the user has copied a title from.
///
/// # Errors
/// A failure of the database.
pub async fn media(tx: &mut Tx, user: UserId, title: &TitleId) -> Result<Vec<MediumId>, DbError> {
    let rows: Vec<(MediumId,)> = tx
        .query(
            "SELECT DISTINCT medium_id FROM entitlement WHERE user_id = $1 AND title_id = $2 AND source = 'medium' AND state = 'active'
             AND medium_id IS NOT NULL ORDER BY medium_id LIMIT $3",
        )
        .bind(user.to_string())
        .bind(title.as_str())
        .bind(MEDIA)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(medium,)| medium).collect())
}
