//! Finding user entries by whatever somebody at a counter has in hand, and what they hold, ended things included (C14).

use counterfoil_core::{CardId, DeviceId, DriveId, HolderId, LicenseId, MediumId, OrderId, Timestamp, TitleId, TransactionId, UserId};

use crate::db::{DbError, FromRow, Row, Tx};

/// Entries that are found at once; one more tells that there are others.
pub const FOUND: i64 = 50;
/// Rows of one entry that are shown.
const SHOWN: i64 = 1000;
/// Refusals that are shown.
const REFUSALS: i64 = 20;

/// Whose entry something is in, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose.
    pub user: UserId,
    /// Whether it is there no more: exchanged, taken out, dead, or taken back.
    pub gone: bool,
}

impl FromRow for Found {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { user: row.column()?, gone: row.column::<i64>()? != 0 })
    }
}

/// By a user ID: somebody with an entry, or whom a shop has written down.
///
/// # Errors
/// A failure of the database.
pub async fn by_user(tx: &mut Tx, user: UserId) -> Result<Vec<Found>, DbError> {
    tx.query("SELECT user_id, 0 FROM user_entry WHERE user_id = $1 UNION SELECT user_id, 0 FROM user_info WHERE user_id = $1")
        .bind(user.to_string())
        .all()
        .await
}

/// By a card, dead ones as well.
///
/// # Errors
/// A failure of the database.
pub async fn by_card(tx: &mut Tx, card: CardId) -> Result<Vec<Found>, DbError> {
    tx.query("SELECT user_id, CASE WHEN state = 'dead' THEN 1 ELSE 0 END FROM holder WHERE holder_id = $1 AND user_id IS NOT NULL")
        .bind(HolderId::from(card).to_string())
        .all()
        .await
}

/// By a device that is in an entry, is expected there, or was.
///
/// # Errors
/// A failure of the database.
pub async fn by_device(tx: &mut Tx, device: DeviceId) -> Result<Vec<Found>, DbError> {
    tx.query(
        "SELECT f.user_id, MIN(f.gone) FROM (
           SELECT user_id, 0 AS gone FROM user_device WHERE device_id = $1
           UNION ALL SELECT user_id, CASE WHEN retired_at IS NULL THEN 0 ELSE 1 END AS gone FROM device_info WHERE device_id = $1
           UNION ALL SELECT user_id, 1 AS gone FROM repair WHERE old_id = $1) f
         GROUP BY f.user_id ORDER BY 2, 1 LIMIT $2",
    )
    .bind(device.to_string())
    .bind(FOUND)
    .all()
    .await
}

/// By a drive that is in an entry, or was.
///
/// # Errors
/// A failure of the database.
pub async fn by_drive(tx: &mut Tx, drive: DriveId) -> Result<Vec<Found>, DbError> {
    tx.query(
        "SELECT f.user_id, MIN(f.gone) FROM (
           SELECT user_id, 0 AS gone FROM user_drive WHERE drive_id = $1
           UNION ALL SELECT user_id, 1 AS gone FROM repair WHERE old_id = $1) f
         GROUP BY f.user_id ORDER BY 2, 1 LIMIT $2",
    )
    .bind(drive.to_string())
    .bind(FOUND)
    .all()
    .await
}

/// By a medium that somebody has copied; those whose copies were all taken back last.
///
/// # Errors
/// A failure of the database.
pub async fn by_medium(tx: &mut Tx, medium: &MediumId) -> Result<Vec<Found>, DbError> {
    tx.query(
        "SELECT user_id, MIN(CASE WHEN state = 'revoked' THEN 1 ELSE 0 END) FROM grants WHERE medium_id = $1
         GROUP BY user_id ORDER BY 2, 1 LIMIT $2",
    )
    .bind(medium.as_str())
    .bind(FOUND)
    .all()
    .await
}

/// By an e-mail address that a shop has written down, as it was typed or in small letters.
///
/// # Errors
/// A failure of the database.
pub async fn by_email(tx: &mut Tx, email: &str) -> Result<Vec<Found>, DbError> {
    tx.query("SELECT user_id, 0 FROM user_info WHERE email = $1 OR email = $2 ORDER BY user_id LIMIT $3")
        .bind(email)
        .bind(email.to_lowercase())
        .bind(FOUND)
        .all()
        .await
}

/// Something that an entry holds, or has held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRow {
    /// By which entitlement; from a medium it is named by its grant.
    pub entitlement: String,
    /// Of what.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// `active` or `ended`.
    pub state: String,
    /// From which medium.
    pub medium: Option<MediumId>,
    /// From which order.
    pub order: Option<OrderId>,
    /// Bound to which device, where that is known.
    pub device: Option<DeviceId>,
    /// Bound to which drive, likewise.
    pub drive: Option<DriveId>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub ended_at: Option<Timestamp>,
}

impl FromRow for HoldRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            entitlement: row.column()?,
            title: row.column()?,
            name: row.column()?,
            state: row.column()?,
            medium: row.column()?,
            order: row.column()?,
            device: row.column()?,
            drive: row.column()?,
            created_at: row.column()?,
            ended_at: row.column()?,
        })
    }
}

/// What an entry holds and has held, newest first.
///
/// # Errors
/// A failure of the database.
pub async fn holds(tx: &mut Tx, user: UserId) -> Result<Vec<HoldRow>, DbError> {
    tx.query(
        "SELECT e.entitlement_id, e.title_id, t.name, e.state, e.medium_id, e.order_id, e.device_id, e.drive_id, e.created_at, e.ended_at
         FROM entitlement e JOIN title t ON t.title_id = e.title_id WHERE e.user_id = $1
         ORDER BY e.created_at DESC, e.entitlement_id LIMIT $2",
    )
    .bind(user.to_string())
    .bind(SHOWN)
    .all()
    .await
}

/// A license of an entry, ended or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseOfEntry {
    /// Which.
    pub license: LicenseId,
    /// Of what.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// Where it is, or was last.
    pub device: DeviceId,
    /// Where it stands.
    pub state: String,
    /// What it is fetched with.
    pub transaction: Option<TransactionId>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub ended_at: Option<Timestamp>,
}

impl FromRow for LicenseOfEntry {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            license: row.column()?,
            title: row.column()?,
            name: row.column()?,
            device: row.column()?,
            state: row.column()?,
            transaction: row.column()?,
            created_at: row.column()?,
            ended_at: row.column()?,
        })
    }
}

/// The licenses of an entry, newest first.
///
/// # Errors
/// A failure of the database.
pub async fn licenses(tx: &mut Tx, user: UserId) -> Result<Vec<LicenseOfEntry>, DbError> {
    tx.query(
        "SELECT l.license_id, l.title_id, t.name, l.device_id, l.state, l.transaction_id, l.created_at, l.ended_at
         FROM license l JOIN title t ON t.title_id = l.title_id WHERE l.user_id = $1 ORDER BY l.created_at DESC, l.license_id LIMIT $2",
    )
    .bind(user.to_string())
    .bind(SHOWN)
    .all()
    .await
}

/// The drives of an entry, with since when.
///
/// # Errors
/// A failure of the database.
pub async fn drives(tx: &mut Tx, user: UserId) -> Result<Vec<(DriveId, Timestamp)>, DbError> {
    tx.query("SELECT drive_id, created_at FROM user_drive WHERE user_id = $1 ORDER BY created_at, drive_id LIMIT $2")
        .bind(user.to_string())
        .bind(SHOWN)
        .all()
        .await
}

/// Something that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// In which family's record.
    pub family: String,
    /// Its place there.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What was asked for: `claim.refused`.
    pub event: String,
    /// JSON.
    pub detail: String,
}

impl FromRow for Refused {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { family: row.column()?, seq: row.column()?, at: row.column()?, event: row.column()?, detail: row.column()? })
    }
}

/// What was refused last in a family; `actor` is who asked, or nobody in particular.
///
/// # Errors
/// A failure of the database.
pub async fn refused(tx: &mut Tx, family: &str, actor: Option<&str>) -> Result<Vec<Refused>, DbError> {
    tx.query(
        "SELECT family, seq, at, event, detail FROM audit
         WHERE family = $1 AND (event LIKE '%.refused' OR event = 'device.old_turned_up') AND ($2 = '' OR actor = $2)
         ORDER BY seq DESC LIMIT $3",
    )
    .bind(family)
    .bind(actor.unwrap_or_default())
    .bind(REFUSALS)
    .all()
    .await
}

/// Where the record of a family ends; 0 where it has none.
///
/// # Errors
/// A failure of the database.
pub async fn last_record(tx: &mut Tx, family: &str) -> Result<i64, DbError> {
    let row: Option<(i64,)> = tx.query("SELECT seq FROM audit_head WHERE family = $1").bind(family).opt().await?;
    Ok(row.map_or(0, |(seq,)| seq))
}
