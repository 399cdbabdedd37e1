//! What devices have to do, in the user's family: at most one open job for each license at each device, the newest.

use counterfoil_core::wire::{Inbox, Job, JobDone, JobProgress, SentJob, Work};
use counterfoil_core::{DeviceId, JobId, LicenseId, Timestamp, TitleId, TransactionId, UserId};

use crate::db::{Db, DbError, FromRow, Row, Tx};

/// Open jobs of one device that are looked at for those of one license: more than a device can have licenses.
const MOST: i64 = 2000;
/// Jobs that are told to who sent them.
const TOLD: i64 = 100;
/// What a job failed by whose place another has taken.
const SUPERSEDED: &str = "superseded";

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
    let work = Work::Install { title: title.clone(), license_id: license, transaction_id: transaction, release: None };
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
    close_all(tx, user, device, Some(SUPERSEDED), now, &|waiting| is_by(waiting, license)).await?;
    insert(tx, user, device, name(user, device, work, now), work, None, now).await
}

/// What a job is called: the same whenever the transaction is run again; nobody needs to be kept from guessing it.
pub fn name(user: UserId, device: DeviceId, work: &Work, now: Timestamp) -> JobId {
    let mut hash = blake3::Hasher::new_derive_key("counterfoil 2026-11 name of a job in an inbox");
    hash.update(user.as_bytes()).update(device.as_bytes()).update(&now.0.to_le_bytes()).update(text(work).as_bytes());
    let (mut id, mut named) = ([0; 16], hash.finalize_xof());
    named.fill(&mut id);
    JobId::from_bytes(id)
}

fn text(work: &Work) -> String {
    serde_json::to_string(work).expect("a job is IDs and texts")
}

async fn insert(
    tx: &mut Tx,
    user: UserId,
    device: DeviceId,
    job: JobId,
    work: &Work,
    sent_by: Option<DeviceId>,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO inbox (user_id, job_id, device_id, work, created_at, sent_by) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (user_id, job_id) DO UPDATE SET done_at = NULL, failed = NULL, sent_by = excluded.sent_by",
    )
    .bind(user.to_string())
    .bind(job.to_string())
    .bind(device.to_string())
    .bind(text(work))
    .bind(now.0)
    .bind(sent_by.map(|device| device.to_string()))
    .execute()
    .await
    .map(drop)
}

/// The open job at a device that has it do this already.
///
/// # Errors
/// A failure of the database.
pub async fn waits(tx: &mut Tx, user: UserId, device: DeviceId, wanted: &Work) -> Result<Option<JobId>, DbError> {
    let rows = open_rows(tx, user, device).await?;
    Ok(rows.into_iter().find(|(_, work)| work.as_ref().is_some_and(|work| is_same(work, wanted))).map(|(job, _)| job))
}

/// Whether two jobs come to the same. That a license has got a transaction ID since changes nothing.
fn is_same(one: &Work, other: &Work) -> bool {
    match (one, other) {
        (Work::Install { license_id, release, .. }, Work::Install { license_id: id, release: wanted, .. }) => {
            license_id == id && release == wanted
        }
        _ => one == other,
    }
}

/// Has a device do what another one, or a person with a browser, wants of it (A2): one job for each title, the last one sent. One that waits
/// already, as [`waits`] says, is whoever's who sent it last.
///
/// # Errors
/// A failure of the database.
pub async fn send(
    tx: &mut Tx,
    user: UserId,
    device: DeviceId,
    job: JobId,
    work: &Work,
    sent_by: Option<DeviceId>,
    now: Timestamp,
) -> Result<(), DbError> {
    let known = tx
        .query("UPDATE inbox SET sent_by = $4 WHERE user_id = $1 AND job_id = $2 AND device_id = $3 AND done_at IS NULL")
        .bind(user.to_string())
        .bind(job.to_string())
        .bind(device.to_string())
        .bind(sent_by.map(|device| device.to_string()))
        .execute()
        .await?;
    if known == 1 {
        return Ok(());
    }
    let title = sent_title(work);
    close_all(tx, user, device, Some(SUPERSEDED), now, &|waiting| sent_title(waiting).is_some_and(|of| Some(of) == title)).await?;
    insert(tx, user, device, job, work, sent_by, now).await
}

/// Of jobs that can be sent, what they are about.
fn sent_title(work: &Work) -> Option<&TitleId> {
    match work {
        Work::Install { title, .. } | Work::Update { title, .. } => Some(title),
        Work::End { .. } => None,
    }
}

/// Closes what waits at a device for a license, because it is done.
///
/// # Errors
/// A failure of the database.
pub async fn withdraw(tx: &mut Tx, user: UserId, device: DeviceId, license: LicenseId, now: Timestamp) -> Result<(), DbError> {
    close_all(tx, user, device, None, now, &|waiting| is_by(waiting, license)).await
}

/// Closes everything that waits at a device, because it is gone (C14).
///
/// # Errors
/// A failure of the database.
pub async fn close_device(tx: &mut Tx, user: UserId, device: DeviceId, now: Timestamp) -> Result<(), DbError> {
    tx.query("UPDATE inbox SET done_at = $3, failed = 'exchanged' WHERE user_id = $1 AND device_id = $2 AND done_at IS NULL")
        .bind(user.to_string())
        .bind(device.to_string())
        .bind(now.0)
        .execute()
        .await
        .map(drop)
}

fn is_by(work: &Work, license: LicenseId) -> bool {
    match work {
        Work::Install { license_id, .. } | Work::End { license_id, .. } => *license_id == license,
        Work::Update { .. } => false,
    }
}

async fn close_all(
    tx: &mut Tx,
    user: UserId,
    device: DeviceId,
    failed: Option<&str>,
    now: Timestamp,
    which: &dyn Fn(&Work) -> bool,
) -> Result<(), DbError> {
    for (job, work) in open_rows(tx, user, device).await? {
        if work.is_some_and(|work| which(&work)) {
            close(tx, user, device, &JobDone { job_id: job, failed: failed.map(str::to_owned) }, now).await?;
        }
    }
    Ok(())
}

async fn open_rows(tx: &mut Tx, user: UserId, device: DeviceId) -> Result<Vec<(JobId, Option<Work>)>, DbError> {
    let rows: Vec<(JobId, String)> = tx
        .query("SELECT job_id, work FROM inbox WHERE user_id = $1 AND device_id = $2 AND done_at IS NULL ORDER BY created_at DESC LIMIT $3")
        .bind(user.to_string())
        .bind(device.to_string())
        .bind(MOST)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(job, work)| (job, serde_json::from_str(&work).ok())).collect())
}

/// Notes how far a device is with a job that is open; what is told late, or out of order, takes nothing back.
///
/// # Errors
/// A failure of the database.
pub async fn progress(tx: &mut Tx, user: UserId, device: DeviceId, at: &JobProgress) -> Result<(), DbError> {
    let (Ok(done), Ok(total)) = (i64::try_from(at.done), i64::try_from(at.total.max(at.done))) else { return Ok(()) };
    tx.query(
        "UPDATE inbox SET bytes_done = $4, bytes_total = $5 WHERE user_id = $1 AND job_id = $2 AND device_id = $3 AND done_at IS NULL
         AND (bytes_done IS NULL OR bytes_done < $4)",
    )
    .bind(user.to_string())
    .bind(at.job_id.to_string())
    .bind(device.to_string())
    .bind(done)
    .bind(total)
    .execute()
    .await
    .map(drop)
}

/// Jobs that a device has sent to others, newest first; one of them, where it is named.
///
/// # Errors
/// A failure of the database.
pub async fn sent(tx: &mut Tx, user: UserId, by: DeviceId, job: Option<JobId>) -> Result<Vec<SentJob>, DbError> {
    let rows: Vec<SentRow> = tx
        .query(
            "SELECT job_id, device_id, work, created_at, bytes_done, bytes_total, done_at, failed FROM inbox
             WHERE user_id = $1 AND sent_by = $2 AND ($3 = '' OR job_id = $3) ORDER BY created_at DESC, job_id LIMIT $4",
        )
        .bind(user.to_string())
        .bind(by.to_string())
        .bind(job.map_or_else(String::new, |job| job.to_string()))
        .bind(TOLD)
        .all()
        .await?;
    Ok(rows.into_iter().filter_map(|row| row.0).collect())
}

/// What the user's devices are to install or update, or have just done or failed to do since `since`: newest first.
///
/// # Errors
/// A failure of the database.
pub async fn of_user(tx: &mut Tx, user: UserId, since: Timestamp) -> Result<Vec<SentJob>, DbError> {
    let rows: Vec<SentRow> = tx
        .query(
            "SELECT job_id, device_id, work, created_at, bytes_done, bytes_total, done_at, failed FROM inbox
             WHERE user_id = $1 AND (done_at IS NULL OR done_at > $2) ORDER BY created_at DESC, job_id LIMIT $3",
        )
        .bind(user.to_string())
        .bind(since.0)
        .bind(TOLD)
        .all()
        .await?;
    Ok(rows.into_iter().filter_map(|row| row.0).collect())
}

/// A row as it is told to who sent it; nothing where it is none that is sent.
struct SentRow(Option<SentJob>);

impl FromRow for SentRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (job_id, device_id, work): (JobId, DeviceId, String) = (row.column()?, row.column()?, row.column()?);
        let since = row.column()?;
        let (done, total): (Option<i64>, Option<i64>) = (row.column()?, row.column()?);
        let (done_at, failed) = (row.column()?, row.column()?);
        let Some(title) = serde_json::from_str(&work).ok().and_then(|work: Work| sent_title(&work).cloned()) else { return Ok(Self(None)) };
        let progress = done.zip(total).map(|(done, total)| JobProgress { job_id, done: done.unsigned_abs(), total: total.unsigned_abs() });
        Ok(Self(Some(SentJob { job_id, title, device_id, since, progress, done_at, failed })))
    }
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
