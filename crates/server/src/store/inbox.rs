//! What devices have to do, in the user's family: at most one open job for each license at each device, the newest.

use counterfoil_core::wire::{Inbox, Job, JobDone, Work};
use counterfoil_core::{DeviceId, JobId, LicenseId, Timestamp, TitleId, TransactionId, UserId};

use crate::db::{Db, DbError, Tx};

/// Open jobs of one device that are looked at for those of one license: more than a device can have licenses.
const MOST: i64 = 2000;

/// Has a device install a title by a license (D9).
///
/// # Errors
/// A failure of the database.
pub async fn install(
    tx: &mut Tx,
    user: UserId,
    device: DeviceId,
    license: LicenseId,
    title: &TitleId,
    transaction: Option<TransactionId>,
    now: Timestamp,
) -> Result<(), DbError> {
    let work = Work::Install { title: title.clone(), license_id: license, transaction_id: transaction };
    put(tx, user, device, license, &work, now).await
}

/// Tells a device that a license has ended there (D10).
///
/// # Errors
/// A failure of the database.
pub async fn end(tx: &mut Tx, user: UserId, device: DeviceId, license: LicenseId, title: &TitleId, now: Timestamp) -> Result<(), DbError> {
    put(tx, user, device, license, &Work::End { title: title.clone(), license_id: license }, now).await
}

/// A job takes the place of whatever waits there for the same license: what was to be installed and has ended is not installed first.
async fn put(tx: &mut Tx, user: UserId, device: DeviceId, license: LicenseId, work: &Work, now: Timestamp) -> Result<(), DbError> {
    withdraw(tx, user, device, license, now).await?;
    let text = serde_json::to_string(work).expect("a job is IDs and texts");
    // The same whenever the transaction is run again; nobody needs to be kept from guessing it.
    let mut hash = blake3::Hasher::new_derive_key("counterfoil 2026-11 name of a job in an inbox");
    hash.update(user.as_bytes()).update(device.as_bytes()).update(&now.0.to_le_bytes()).update(text.as_bytes());
    let (mut id, mut named) = ([0; 16], hash.finalize_xof());
    named.fill(&mut id);
    tx.query(
        "INSERT INTO inbox (user_id, job_id, device_id, work, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (user_id, job_id) DO UPDATE SET done_at = NULL, failed = NULL",
    )
    .bind(user.to_string())
    .bind(JobId::from_bytes(id).to_string())
    .bind(device.to_string())
    .bind(text)
    .bind(now.0)
    .execute()
    .await
    .map(drop)
}

/// Closes what waits at a device for a license, because it is done, or nothing more is to be done.
///
/// # Errors
/// A failure of the database.
pub async fn withdraw(tx: &mut Tx, user: UserId, device: DeviceId, license: LicenseId, now: Timestamp) -> Result<(), DbError> {
    let rows: Vec<(JobId, String)> = tx
        .query("SELECT job_id, work FROM inbox WHERE user_id = $1 AND device_id = $2 AND done_at IS NULL ORDER BY created_at DESC LIMIT $3")
        .bind(user.to_string())
        .bind(device.to_string())
        .bind(MOST)
        .all()
        .await?;
    for (job, work) in rows {
        let of = match serde_json::from_str(&work) {
            Ok(Work::Install { license_id, .. } | Work::End { license_id, .. }) => Some(license_id),
            Ok(Work::Update { .. }) | Err(_) => None,
        };
        if of == Some(license) {
            close(tx, user, device, &JobDone { job_id: job, failed: None }, now).await?;
        }
    }
    Ok(())
}

/// Notes what came of a job; false where it is none of this device's, or over already.
///
/// # Errors
/// A failure of the database.
pub async fn close(tx: &mut Tx, user: UserId, device: DeviceId, done: &JobDone, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE inbox SET done_at = $4, failed = $5 WHERE user_id = $1 AND job_id = $2 AND device_id = $3 AND done_at IS NULL")
        .bind(user.to_string())
        .bind(done.job_id.to_string())
        .bind(device.to_string())
        .bind(now.0)
        .bind(done.failed.as_deref())
        .execute()
        .await?;
    Ok(changed == 1)
}

/// What a device has to do, oldest first, [`Inbox::MOST`] at most.
///
/// # Errors
/// A failure of the database.
pub async fn open(tx: &mut Tx, user: UserId, device: DeviceId) -> Result<Vec<Job>, DbError> {
    let rows: Vec<(JobId, Timestamp, String)> = tx
        .query(
            "SELECT job_id, created_at, work FROM inbox WHERE user_id = $1 AND device_id = $2 AND done_at IS NULL
             ORDER BY created_at, job_id LIMIT $3",
        )
        .bind(user.to_string())
        .bind(device.to_string())
        .bind(i64::try_from(Inbox::MOST).unwrap_or(i64::MAX))
        .all()
        .await?;
    let job = |(job_id, since, work): (JobId, Timestamp, String)| Some(Job { job_id, since, work: serde_json::from_str(&work).ok()? });
    Ok(rows.into_iter().filter_map(job).collect())
}

/// Devices that have had something to do since `since` (milliseconds), in the order of time, at most `limit` jobs of them; with the time of
/// the last.
///
/// # Errors
/// A failure of the database.
pub async fn waiting(db: &Db, since: i64, limit: i64) -> Result<Vec<(i64, UserId, DeviceId)>, DbError> {
    db.read("find waiting jobs", async move |tx| {
        tx.query("SELECT created_at, user_id, device_id FROM inbox WHERE done_at IS NULL AND created_at >= $1 ORDER BY created_at LIMIT $2")
            .bind(since)
            .bind(limit)
            .all()
            .await
    })
    .await
}

/// Deletes up to `limit` jobs that were over before `before` (milliseconds); returns how many.
///
/// # Errors
/// A failure of the database; what was deleted before stays so.
pub async fn purge(db: &Db, before: i64, limit: i64) -> Result<u64, DbError> {
    let over = db
        .read("find jobs that are over", async move |tx| {
            tx.query("SELECT user_id, job_id FROM inbox WHERE done_at < $1 ORDER BY done_at LIMIT $2")
                .bind(before)
                .bind(limit)
                .all::<(String, String)>()
                .await
        })
        .await?;
    let deletions = over.into_iter().map(|(user, job)| {
        db.write("purge inbox", user.clone(), async move |tx| {
            tx.query("DELETE FROM inbox WHERE user_id = $1 AND job_id = $2 AND done_at < $3")
                .bind(&user)
                .bind(&job)
                .bind(before)
                .execute()
                .await
        })
    });
    Ok(crate::db::all(deletions).await?.into_iter().sum())
}
