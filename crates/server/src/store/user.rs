//! The user's family: the entry of card, devices and drives together, and what the user owns (C3).

use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::wire::{HolderKind, OwnedTitle};
use counterfoil_core::{CardId, DeviceId, DriveId, HolderId, MediumId, OrderId, Timestamp, TitleId, UserId};
use counterfoil_format::hpke::SealingPublicKey;
use counterfoil_format::signer::HolderVerifyingKey;

use super::holder::{self, Public};
use crate::db::{DbError, FromRow, Row, Tx};

/// The family of a user.
pub fn family(user: UserId) -> String {
    user.to_string()
}

/// A user entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// Who holds the keys.
    pub holder: HolderId,
    /// What that is.
    pub holder_kind: HolderKind,
    /// Its public keys.
    pub keys: Public,
    /// Repairs and reissues so far: a card that knows fewer asks what it still holds (C14, C15).
    pub generation: u32,
}

impl EntryRow {
    /// The card, where a card holds the keys.
    pub fn card(&self) -> Option<CardId> {
        (self.holder_kind == HolderKind::Card).then(|| self.holder.into())
    }
}

impl FromRow for EntryRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { holder: row.column()?, holder_kind: row.column()?, keys: Public::from_row(row)?, generation: row.column()? })
    }
}

/// A device in a user entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Which.
    pub device: DeviceId,
    /// Its public keys.
    pub keys: Public,
    /// What grants are sealed under besides the holder's key, wrapped.
    pub secret: Vec<u8>,
    /// What its user calls it.
    pub name: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
}

impl DeviceRow {
    /// The device as a holder of its own, of an entry of this generation: what it is in an entry without a card (C5).
    pub fn holder(&self, generation: u32) -> EntryRow {
        EntryRow { holder: self.keys.holder(), holder_kind: HolderKind::Device, keys: self.keys, generation }
    }
}

impl FromRow for DeviceRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            device: row.column()?,
            keys: Public::from_row(row)?,
            secret: row.column()?,
            name: row.column()?,
            created_at: row.column()?,
        })
    }
}

/// The entry of a user.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId) -> Result<Option<EntryRow>, DbError> {
    tx.query("SELECT holder_id, holder_kind, sign_key, seal_key, generation FROM user_entry WHERE user_id = $1")
        .bind(user.to_string())
        .opt()
        .await
}

/// An entry with what a claim, a confirmation or a healing needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Who holds the keys for the device that was named: the entry's card or drive, or where it has neither the device itself.
    pub entry: EntryRow,
    /// The device that was named, where the entry has it.
    pub device: Option<DeviceRow>,
    /// Whether the entry is used from a device: it has one, or had one that was exchanged, and the next one has not registered yet.
    pub has_devices: bool,
    /// Whether the entry is used with a drive, likewise.
    pub has_drives: bool,
    /// Whether the entry has the drive that was named.
    pub drive_registered: bool,
}

impl FromRow for Presented {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let entry = EntryRow::from_row(row)?;
        let device: Option<DeviceId> = row.column()?;
        let keys: (Option<HolderVerifyingKey>, Option<SealingPublicKey>) = (row.column()?, row.column()?);
        let secret: Option<Vec<u8>> = row.column()?;
        let (name, created_at): (Option<String>, Option<Timestamp>) = (row.column()?, row.column()?);
        let device = match (device, keys, secret, created_at) {
            (Some(device), (Some(sign), Some(seal)), Some(secret), Some(created_at)) => {
                Some(DeviceRow { device, keys: Public { sign, seal }, secret, name, created_at })
            }
            _ => None,
        };
        // In an entry without a card each device holds its own keys; the entry names the one that registered first.
        let entry = match &device {
            Some(device) if entry.holder_kind == HolderKind::Device => device.holder(entry.generation),
            _ => entry,
        };
        let mut said = || row.column::<i64>().map(|is| is != 0);
        Ok(Self { entry, device, has_devices: said()?, has_drives: said()?, drive_registered: said()? })
    }
}

/// The entry of a user, with the device and as to the drive that a terminal names.
///
/// # Errors
/// A failure of the database.
pub async fn presented(tx: &mut Tx, user: UserId, device: Option<DeviceId>, drive: Option<DriveId>) -> Result<Option<Presented>, DbError> {
    tx.query(
        "SELECT e.holder_id, e.holder_kind, e.sign_key, e.seal_key, e.generation,
                d.device_id, d.sign_key, d.seal_key, d.secret, d.name, d.created_at,
                CASE WHEN EXISTS (SELECT 1 FROM user_device o WHERE o.user_id = $1)
                  OR EXISTS (SELECT 1 FROM repair r WHERE r.user_id = $1 AND r.kind = 'device') THEN 1 ELSE 0 END,
                CASE WHEN EXISTS (SELECT 1 FROM user_drive o WHERE o.user_id = $1)
                  OR EXISTS (SELECT 1 FROM repair r WHERE r.user_id = $1 AND r.kind = 'drive') THEN 1 ELSE 0 END,
                EXISTS (SELECT 1 FROM user_drive o WHERE o.user_id = $1 AND o.drive_id = $3)
         FROM user_entry e LEFT JOIN user_device d ON d.user_id = $1 AND d.device_id = $2 WHERE e.user_id = $1",
    )
    .bind(user.to_string())
    .bind(device.map(|id| id.to_string()))
    .bind(drive.map(|id| id.to_string()))
    .opt()
    .await
}

/// A user and one of their devices, registered together: who signs, whom keys are sealed to, and under which secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Who holds the keys: the entry's card, or where it has none the device itself.
    pub holder: EntryRow,
    /// Whether that holder has been declared dead.
    pub dead: bool,
    /// The device, with its secret as it is kept.
    pub device: DeviceRow,
    /// Whether the entry is used with a drive; as in [`Presented`].
    pub has_drives: bool,
    /// Whether the entry has the drive that was named.
    pub drive_registered: bool,
}

impl Recipient {
    /// The card, where the entry has one.
    pub fn card(&self) -> Option<CardId> {
        self.holder.card()
    }
}

/// Whom keys for a device are sealed to; nobody where user and device are not registered together (D3, D5). Reads the holder's family
/// besides the user's.
///
/// # Errors
/// A failure of the database.
pub async fn recipient(tx: &mut Tx, user: UserId, device: DeviceId, drive: Option<DriveId>) -> Result<Option<Recipient>, DbError> {
    let Some(Presented { entry, device: Some(device), has_drives, drive_registered, .. }) =
        presented(tx, user, Some(device), drive).await?
    else {
        return Ok(None);
    };
    let dead = holder::facts(tx, entry.holder).await? == HolderFacts::Dead;
    Ok(Some(Recipient { holder: entry, dead, device, has_drives, drive_registered }))
}

/// Makes an entry.
///
/// # Errors
/// A failure of the database; `Conflict` where another process has made it meanwhile.
pub async fn insert(tx: &mut Tx, user: UserId, entry: &EntryRow, now: Timestamp) -> Result<(), DbError> {
    let made = tx
        .query(
            "INSERT INTO user_entry (user_id, holder_id, holder_kind, sign_key, seal_key, state, created_at)
         VALUES ($1, $2, $3, $4, $5, 'active', $6) ON CONFLICT (user_id) DO NOTHING",
        )
        .bind(user.to_string())
        .bind(entry.holder.to_string())
        .bind(entry.holder_kind.as_str())
        .bind(entry.keys.sign.as_bytes())
        .bind(entry.keys.seal.as_bytes())
        .bind(now.0)
        .execute()
        .await?;
    if made == 1 { Ok(()) } else { Err(tx.conflict("the user entry")) }
}

/// A device of a user.
///
/// # Errors
/// A failure of the database.
pub async fn device(tx: &mut Tx, user: UserId, device: DeviceId) -> Result<Option<DeviceRow>, DbError> {
    tx.query("SELECT device_id, sign_key, seal_key, secret, name, created_at FROM user_device WHERE user_id = $1 AND device_id = $2")
        .bind(user.to_string())
        .bind(device.to_string())
        .opt()
        .await
}

/// The devices of a user; the policy bounds them.
///
/// # Errors
/// A failure of the database.
pub async fn devices(tx: &mut Tx, user: UserId) -> Result<Vec<DeviceRow>, DbError> {
    tx.query(
        "SELECT device_id, sign_key, seal_key, secret, name, created_at FROM user_device WHERE user_id = $1
         ORDER BY created_at, device_id LIMIT 1000",
    )
    .bind(user.to_string())
    .all()
    .await
}

/// Entries that a device is in, whosever they are: at most 16, newest first (A7).
///
/// # Errors
/// A failure of the database.
pub async fn entries_of_device(tx: &mut Tx, device: DeviceId) -> Result<Vec<DeviceRow>, DbError> {
    tx.query(
        "SELECT device_id, sign_key, seal_key, secret, name, created_at FROM user_device WHERE device_id = $1
         ORDER BY created_at DESC LIMIT 16",
    )
    .bind(device.to_string())
    .all()
    .await
}

/// Puts a device in the entry; one that is there gets these keys, as after its disk was wiped.
///
/// # Errors
/// A failure of the database.
pub async fn put_device(tx: &mut Tx, user: UserId, row: &DeviceRow) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO user_device (user_id, device_id, sign_key, seal_key, secret, name, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (user_id, device_id) DO UPDATE SET sign_key = excluded.sign_key, seal_key = excluded.seal_key,
             secret = excluded.secret, name = excluded.name",
    )
    .bind(user.to_string())
    .bind(row.device.to_string())
    .bind(row.keys.sign.as_bytes())
    .bind(row.keys.seal.as_bytes())
    .bind(&row.secret)
    .bind(row.name.as_deref())
    .bind(row.created_at.0)
    .execute()
    .await
    .map(drop)
}

/// The drives of a user; the policy bounds them.
///
/// # Errors
/// A failure of the database.
pub async fn drives(tx: &mut Tx, user: UserId) -> Result<Vec<DriveId>, DbError> {
    let rows: Vec<(DriveId,)> = tx
        .query("SELECT drive_id FROM user_drive WHERE user_id = $1 ORDER BY created_at, drive_id LIMIT 1000")
        .bind(user.to_string())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(drive,)| drive).collect())
}

/// Puts a drive in the entry.
///
/// # Errors
/// A failure of the database.
pub async fn put_drive(tx: &mut Tx, user: UserId, drive: DriveId, now: Timestamp) -> Result<(), DbError> {
    tx.query("INSERT INTO user_drive (user_id, drive_id, created_at) VALUES ($1, $2, $3) ON CONFLICT (user_id, drive_id) DO NOTHING")
        .bind(user.to_string())
        .bind(drive.to_string())
        .bind(now.0)
        .execute()
        .await
        .map(drop)
}

/// Counts a repair or reissue, once for each (C14, C15); answers with the entry's new generation.
///
/// # Errors
/// A failure of the database; `Conflict` where there is no such entry.
pub async fn raise_generation(tx: &mut Tx, user: UserId) -> Result<u32, DbError> {
    let row: Option<(u32,)> = tx
        .query("UPDATE user_entry SET generation = generation + 1 WHERE user_id = $1 RETURNING generation")
        .bind(user.to_string())
        .opt()
        .await?;
    row.map(|(generation,)| generation).ok_or_else(|| tx.conflict("the user entry"))
}

/// Takes a drive out of the entry; says whether it was in.
///
/// # Errors
/// A failure of the database.
pub async fn remove_drive(tx: &mut Tx, user: UserId, drive: DriveId) -> Result<bool, DbError> {
    let removed = tx
        .query("DELETE FROM user_drive WHERE user_id = $1 AND drive_id = $2")
        .bind(user.to_string())
        .bind(drive.to_string())
        .execute()
        .await?;
    Ok(removed == 1)
}

/// What a user owns: the newest thousand.
///
/// # Errors
/// A failure of the database.
pub async fn owned(tx: &mut Tx, user: UserId) -> Result<Vec<OwnedTitle>, DbError> {
    let rows: Vec<(TitleId, Option<MediumId>, Option<OrderId>, Timestamp)> = tx
        .query(
            "SELECT title_id, medium_id, order_id, created_at FROM entitlement WHERE user_id = $1 AND state = 'active'
             ORDER BY created_at DESC, entitlement_id LIMIT 1000",
        )
        .bind(user.to_string())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(title, medium_id, order_id, since)| OwnedTitle { title, medium_id, order_id, since }).collect())
}
