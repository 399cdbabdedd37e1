//! The steps of a license, each a statement that a row takes only from where it was seen: of two at once, one does.

use counterfoil_core::{DeviceId, DriveId, GrantId, HolderId, LicenseId, Timestamp, TransactionId, UserId};

use super::LicenseGrant;
use crate::db::{DbError, Tx};

/// Gives a registered license the transaction ID that it waits under (D6); false where it is not so any more.
///
/// # Errors
/// A failure of the database.
pub async fn issue(
    tx: &mut Tx,
    user: UserId,
    license: LicenseId,
    device: DeviceId,
    transaction: TransactionId,
    generation: u32,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE license SET state = 'issued', transaction_id = $4, generation = $5
             WHERE user_id = $1 AND license_id = $2 AND device_id = $3 AND state = 'registered' AND transaction_id IS NULL",
        )
        .bind(user.to_string())
        .bind(license.to_string())
        .bind(device.to_string())
        .bind(transaction.to_string())
        .bind(generation)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Opens an installed license once more, for the same device and under the same transaction ID; false where it is not so any more.
///
/// # Errors
/// A failure of the database.
pub async fn reopen(tx: &mut Tx, user: UserId, license: LicenseId, device: DeviceId, generation: u32) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE license SET state = 'issued', generation = $4, grant_id = NULL, holder_id = NULL, holder_kind = NULL, drive_id = NULL,
                 library_key = NULL, issued_at = NULL, settled_at = NULL
             WHERE user_id = $1 AND license_id = $2 AND device_id = $3 AND state = 'settled'",
        )
        .bind(user.to_string())
        .bind(license.to_string())
        .bind(device.to_string())
        .bind(generation)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Has a license that is not installed open another release's content key; false where it is installed, or somewhere else.
///
/// # Errors
/// A failure of the database.
pub async fn choose(tx: &mut Tx, user: UserId, license: LicenseId, device: DeviceId, generation: u32) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE license SET generation = $4
             WHERE user_id = $1 AND license_id = $2 AND device_id = $3 AND state IN ('issued', 'delivered')",
        )
        .bind(user.to_string())
        .bind(license.to_string())
        .bind(device.to_string())
        .bind(generation)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Delivers an issued license with this grant (D6): the one row that decides between two who return its transaction ID at once. False where
/// it does not wait for this device any more.
///
/// # Errors
/// A failure of the database.
pub async fn deliver(
    tx: &mut Tx,
    user: UserId,
    license: LicenseId,
    device: DeviceId,
    grant: &LicenseGrant,
    runs_until: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE license SET state = 'delivered', grant_id = $4, holder_id = $5, holder_kind = $6, drive_id = $7, library_key = $8,
                 issued_at = $9, lease_until = CASE WHEN lease_until > $10 THEN lease_until ELSE $10 END
             WHERE user_id = $1 AND license_id = $2 AND device_id = $3 AND state = 'issued' AND grant_id IS NULL",
        )
        .bind(user.to_string())
        .bind(license.to_string())
        .bind(device.to_string())
        .bind(grant.grant.to_string())
        .bind(grant.holder.to_string())
        .bind(grant.holder_kind.as_str())
        .bind(grant.drive.map(|drive| drive.to_string()))
        .bind(&grant.library_key)
        .bind(grant.issued_at.0)
        .bind(runs_until.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Delivers the same grant again, to the drive that is named now; false where it was confirmed or moved meanwhile.
///
/// # Errors
/// A failure of the database.
pub async fn deliver_again(
    tx: &mut Tx,
    user: UserId,
    license: LicenseId,
    device: DeviceId,
    grant: &LicenseGrant,
    runs_until: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE license SET drive_id = $5, lease_until = CASE WHEN lease_until > $6 THEN lease_until ELSE $6 END
             WHERE user_id = $1 AND license_id = $2 AND device_id = $3 AND state = 'delivered' AND grant_id = $4",
        )
        .bind(user.to_string())
        .bind(license.to_string())
        .bind(device.to_string())
        .bind(grant.grant.to_string())
        .bind(grant.drive.map(|drive| drive.to_string()))
        .bind(runs_until.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Notes until when a license that is renewed now may be run without asking again, before anybody is told (D10): what a transfer says of
/// its source stays true. False where it is no longer at this device by this grant.
///
/// # Errors
/// A failure of the database.
pub async fn renew(
    tx: &mut Tx,
    user: UserId,
    license: LicenseId,
    device: DeviceId,
    grant: GrantId,
    runs_until: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE license SET lease_until = CASE WHEN lease_until > $5 THEN lease_until ELSE $5 END
             WHERE user_id = $1 AND license_id = $2 AND device_id = $3 AND grant_id = $4 AND state IN ('delivered', 'settled')",
        )
        .bind(user.to_string())
        .bind(license.to_string())
        .bind(device.to_string())
        .bind(grant.to_string())
        .bind(runs_until.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Settles a license: it is installed (D6).
///
/// # Errors
/// A failure of the database; `Conflict` where it changed meanwhile.
pub async fn settle(tx: &mut Tx, user: UserId, license: LicenseId, grant: GrantId, now: Timestamp) -> Result<(), DbError> {
    let changed = tx
        .query(
            "UPDATE license SET state = 'settled', settled_at = $4
             WHERE user_id = $1 AND license_id = $2 AND grant_id = $3 AND state = 'delivered'",
        )
        .bind(user.to_string())
        .bind(license.to_string())
        .bind(grant.to_string())
        .bind(now.0)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(tx.conflict("the license")) }
}

/// Moves a license from one device to another, with its transaction ID (D8, D9); the registration of the source is gone with it. False
/// where it is not at the source any more, or has ended: of two who move it at once, one does.
///
/// # Errors
/// A failure of the database.
pub async fn move_to(tx: &mut Tx, user: UserId, license: LicenseId, source: DeviceId, destination: DeviceId) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE license SET device_id = $4, moves = moves + 1,
                 state = CASE WHEN transaction_id IS NULL THEN 'registered' ELSE 'issued' END,
                 grant_id = NULL, holder_id = NULL, holder_kind = NULL, drive_id = NULL, library_key = NULL, issued_at = NULL, settled_at = NULL
             WHERE user_id = $1 AND license_id = $2 AND device_id = $3 AND state <> 'ended'",
        )
        .bind(user.to_string())
        .bind(license.to_string())
        .bind(source.to_string())
        .bind(destination.to_string())
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Has the licenses that were fetched for a drive wait again under their transaction IDs, because the drive is gone (C14). Says which.
///
/// # Errors
/// A failure of the database.
pub async fn leave_drive(tx: &mut Tx, user: UserId, drive: DriveId) -> Result<Vec<(LicenseId, DeviceId)>, DbError> {
    tx.query(
        "UPDATE license SET state = 'issued', grant_id = NULL, holder_id = NULL, holder_kind = NULL, drive_id = NULL, library_key = NULL,
             issued_at = NULL, settled_at = NULL
         WHERE user_id = $1 AND drive_id = $2 AND state IN ('delivered', 'settled') RETURNING license_id, device_id",
    )
    .bind(user.to_string())
    .bind(drive.to_string())
    .all()
    .await
}

/// Ends a license; false where it has ended before. Its place is the entitlement's business
/// ([`free_place`](crate::store::entitlement::free_place)).
///
/// # Errors
/// A failure of the database.
pub async fn end(tx: &mut Tx, user: UserId, license: LicenseId, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE license SET state = 'ended', ended_at = $3, grant_id = NULL, holder_id = NULL, holder_kind = NULL, drive_id = NULL,
                 library_key = NULL, issued_at = NULL
             WHERE user_id = $1 AND license_id = $2 AND state <> 'ended'",
        )
        .bind(user.to_string())
        .bind(license.to_string())
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Has the licenses whose keys are out go on with another card (C15).
///
/// # Errors
/// A failure of the database.
pub async fn rebind(tx: &mut Tx, user: UserId, old: HolderId, new: HolderId) -> Result<(), DbError> {
    tx.query("UPDATE license SET holder_id = $3 WHERE user_id = $1 AND holder_id = $2")
        .bind(user.to_string())
        .bind(old.to_string())
        .bind(new.to_string())
        .execute()
        .await
        .map(drop)
}
