//! What was exchanged in entries, in the user's family (C14, C15): devices, drives and cards, with what took their place.

use counterfoil_core::wire::ExchangedKind;
use counterfoil_core::{DeviceId, DriveId, RepairId, Timestamp, UserId};
use counterfoil_format::signer::HolderVerifyingKey;

use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// Repairs of one entry that are looked at: the policy bounds them, the operator alone can go beyond.
const MOST: i64 = 1000;
/// Entries that one ID was taken out of that are looked at.
const ENTRIES: i64 = 16;

impl FromValue for ExchangedKind {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        ExchangedKind::parse(&String::from_value(value)?).ok_or_else(|| "expected what was exchanged".to_owned())
    }
}

/// A row of `repair`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairRow {
    /// Which.
    pub repair: RepairId,
    /// What was exchanged.
    pub kind: ExchangedKind,
    /// What was taken out, as it is written: a device's, drive's or card's ID.
    pub old_id: String,
    /// What took its place; nothing where it was only taken out.
    pub new_id: Option<String>,
    /// In the words of who did it.
    pub reason: String,
    /// Their own number for it.
    pub reference: Option<String>,
    /// Whether the operator has overridden the policy for it.
    pub overridden: bool,
    /// What an old device signs with when it turns up again; nothing where it had never registered.
    pub sign_key: Option<HolderVerifyingKey>,
    /// Who did it, as in the audit log.
    pub actor: String,
    /// When.
    pub created_at: Timestamp,
}

impl FromRow for RepairRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            repair: row.column()?,
            kind: row.column()?,
            old_id: row.column()?,
            new_id: row.column()?,
            reason: row.column()?,
            reference: row.column()?,
            overridden: row.column::<i64>()? != 0,
            sign_key: row.column()?,
            actor: row.column()?,
            created_at: row.column()?,
        })
    }
}

/// Keeps a repair.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, user: UserId, row: &RepairRow) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO repair (user_id, repair_id, kind, old_id, new_id, reason, reference, overridden, sign_key, actor, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(user.to_string())
    .bind(row.repair.to_string())
    .bind(row.kind.as_str())
    .bind(&row.old_id)
    .bind(row.new_id.as_deref())
    .bind(&row.reason)
    .bind(row.reference.as_deref())
    .bind(i64::from(row.overridden))
    .bind(row.sign_key.as_ref().map(HolderVerifyingKey::as_bytes))
    .bind(&row.actor)
    .bind(row.created_at.0)
    .execute()
    .await
    .map(drop)
}

/// The repairs of an entry, newest first.
///
/// # Errors
/// A failure of the database.
pub async fn of_user(tx: &mut Tx, user: UserId) -> Result<Vec<RepairRow>, DbError> {
    tx.query(
        "SELECT repair_id, kind, old_id, new_id, reason, reference, overridden, sign_key, actor, created_at FROM repair
         WHERE user_id = $1 ORDER BY created_at DESC, repair_id LIMIT $2",
    )
    .bind(user.to_string())
    .bind(MOST)
    .all()
    .await
}

/// A row with whose entry it is of.
struct Owned(UserId, RepairRow);

impl FromRow for Owned {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(row.column()?, RepairRow::from_row(row)?))
    }
}

/// The repairs by which something was taken out of entries, whosever, newest first; the ID is as it is written.
///
/// # Errors
/// A failure of the database.
pub async fn by_old(tx: &mut Tx, old_id: &str) -> Result<Vec<(UserId, RepairRow)>, DbError> {
    let rows: Vec<Owned> = tx
        .query(
            "SELECT user_id, repair_id, kind, old_id, new_id, reason, reference, overridden, sign_key, actor, created_at FROM repair
             WHERE old_id = $1 ORDER BY created_at DESC, repair_id LIMIT $2",
        )
        .bind(old_id)
        .bind(ENTRIES)
        .all()
        .await?;
    Ok(rows.into_iter().map(|Owned(user, row)| (user, row)).collect())
}

/// Which of a device and a drive were exchanged in an entry and have not been taken in again: at most one repair for each. This is the one
/// place where that is decided.
///
/// # Errors
/// A failure of the database.
pub async fn out(tx: &mut Tx, user: UserId, device: Option<DeviceId>, drive: Option<DriveId>) -> Result<Vec<RepairRow>, DbError> {
    let mut found = vec![];
    if let Some(device) = device {
        // A device that was taken in again is in the entry, or expected; one that was taken out since otherwise has another time of that.
        let row: Option<RepairRow> = tx
            .query(
                "SELECT r.repair_id, r.kind, r.old_id, r.new_id, r.reason, r.reference, r.overridden, r.sign_key, r.actor, r.created_at
                 FROM repair r JOIN device_info i ON i.user_id = r.user_id AND i.device_id = r.old_id AND i.retired_at = r.created_at
                 WHERE r.user_id = $1 AND r.kind = 'device' AND r.old_id = $2
                   AND NOT EXISTS (SELECT 1 FROM user_device d WHERE d.user_id = $1 AND d.device_id = $2)
                 ORDER BY r.created_at DESC LIMIT 1",
            )
            .bind(user.to_string())
            .bind(device.to_string())
            .opt()
            .await?;
        found.extend(row);
    }
    if let Some(drive) = drive {
        let row: Option<RepairRow> = tx
            .query(
                "SELECT repair_id, kind, old_id, new_id, reason, reference, overridden, sign_key, actor, created_at FROM repair
                 WHERE user_id = $1 AND kind = 'drive' AND old_id = $2
                   AND NOT EXISTS (SELECT 1 FROM user_drive d WHERE d.user_id = $1 AND d.drive_id = $2)
                 ORDER BY created_at DESC LIMIT 1",
            )
            .bind(user.to_string())
            .bind(drive.to_string())
            .opt()
            .await?;
        found.extend(row);
    }
    Ok(found)
}
