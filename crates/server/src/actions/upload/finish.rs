//! How an upload ends: as a version of its slot, or not at all. Nothing in between is ever seen.

use counterfoil_core::rules::upload as rules;
use counterfoil_core::{Refusal, Timestamp, UploadId};
use counterfoil_format::content::ObjectName;
use futures_util::{Stream, stream};
use serde_json::json;

use super::actor;
use crate::app::App;
use crate::blobs::{BlobError, Blobs};
use crate::db::{Db, DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::upload::{self, Part, State, UploadRow};
use crate::store::{audit, user};

/// Parts that are looked up together.
const PAGE: i64 = 64;

/// What became of an upload whose last bytes have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It is a version now, or was one already.
    Complete,
    /// Another version has come first; it was taken away.
    Conflict(Refusal),
    /// It stands elsewhere by now: at so many bytes.
    Elsewhere(u64),
    /// It is over.
    Over,
}

/// Puts the parts and `rest` together, compares, and makes the upload a version. `row` is as it was found; `rest` brings it to its end.
///
/// # Errors
/// `object_mismatch`: the bytes are not what was announced, and the upload was taken away; failures of store and database, after which the
/// upload is as it was.
pub async fn finish(app: &App, row: UploadRow, rest: bytes::Bytes) -> Result<Finished, Problem> {
    let pieces = pieces(app.db.clone(), app.blobs.clone(), row.clone(), rest);
    // Whether it is there or not: what was written now is not taken for something old.
    match app.blobs.saves().replace(row.object, pieces).await {
        Ok(()) => {}
        Err(BlobError::Name(_)) => {
            give_up(app, row, "object_mismatch").await?;
            return Err(ApiCode::ObjectMismatch.into());
        }
        Err(BlobError::Upload(why)) => {
            tracing::warn!(%why, upload = %row.upload, "an upload could not be put together");
            return Err(ApiCode::Unavailable.into());
        }
        Err(error) => return Err(error.into()),
    }
    let (family, now) = (user::family(row.user), app.clock.now());
    app.db.write("complete upload", family, async move |tx: &mut Tx| complete(tx, &row, now).await).await
}

async fn complete(tx: &mut Tx, seen: &UploadRow, now: Timestamp) -> Result<Finished, Problem> {
    audit::hold(tx, &user::family(seen.user)).await?;
    let row = match upload::find(tx, seen.user, seen.upload).await? {
        Some(row) if row.state == State::Complete => return Ok(Finished::Complete),
        Some(row) if row.waits(now) => row,
        _ => return Ok(Finished::Over),
    };
    if row.received != seen.received {
        return Ok(Finished::Elsewhere(row.received));
    }
    let slots = upload::slots(tx, row.user, &row.title, &row.slot).await?;
    if let Err(refusal) = rules::complete(row.version, &slots) {
        remove(tx, &row, &actor(row.user), refusal.code.as_str(), now).await?;
        return Ok(Finished::Conflict(refusal));
    }
    let detail = json!({ "upload": row.upload, "title": row.title, "version": row.version, "object": row.object,
        "length": row.length, "device": row.device });
    audit::append(tx, &user::family(row.user), now.0, &actor(row.user), "upload.complete", &detail).await?;
    if !upload::complete(tx, &row, now).await? {
        return Err(tx.conflict("the upload").into());
    }
    let mut versions = upload::in_slot(tx, row.user, &row.title, &row.slot).await?;
    versions.retain(|row| row.state == State::Complete);
    let old = rules::surplus(&versions.iter().map(|row| row.version).collect::<Vec<_>>());
    for row in versions.iter().filter(|row| old.contains(&row.version)) {
        remove(tx, row, &actor(row.user), "older", now).await?;
    }
    Ok(Finished::Complete)
}

/// Takes an upload away within a transaction, with its record: why in one word.
///
/// # Errors
/// A failure of the database; `Conflict` where it is not as it was seen.
pub async fn remove(tx: &mut Tx, row: &UploadRow, actor: &str, why: &str, now: Timestamp) -> Result<(), DbError> {
    let detail = json!({ "upload": row.upload, "title": row.title, "version": row.version, "object": row.object,
        "was": row.state.as_str(), "why": why });
    audit::append(tx, &user::family(row.user), now.0, actor, "upload.removed", &detail).await?;
    if upload::remove(tx, row, now).await? { Ok(()) } else { Err(tx.conflict("the upload")) }
}

/// Takes an open upload away in a transaction of its own; false where it is open no more.
///
/// # Errors
/// A failure of the database.
pub async fn give_up(app: &App, row: UploadRow, why: &'static str) -> Result<bool, DbError> {
    let (family, now) = (user::family(row.user), app.clock.now());
    let done = app.db.write("remove upload", family, async move |tx: &mut Tx| -> Result<bool, DbError> {
        audit::hold(tx, &user::family(row.user)).await?;
        match upload::find(tx, row.user, row.upload).await? {
            Some(found) if found.state == State::Open => remove(tx, &found, &actor(row.user), why, now).await.map(|()| true),
            _ => Ok(false),
        }
    });
    done.await
}

/// Where the parts are being read.
struct Reading {
    db: Db,
    blobs: Blobs,
    row: UploadRow,
    /// Parts that were looked up and not read yet, the next one last.
    next: Vec<Part>,
    at: u64,
    rest: Option<bytes::Bytes>,
}

/// All bytes of an upload in order, one part in memory at a time.
fn pieces(db: Db, blobs: Blobs, row: UploadRow, rest: bytes::Bytes) -> impl Stream<Item = Result<bytes::Bytes, String>> {
    let reading = Reading { db, blobs, row, next: vec![], at: 0, rest: Some(rest) };
    stream::try_unfold(reading, |mut reading| async move {
        if reading.at == reading.row.received {
            return Ok(reading.rest.take().map(|rest| (rest, reading)));
        }
        if reading.next.is_empty() {
            let (user, upload, at) = (reading.row.user, reading.row.upload, reading.at);
            let parts = reading.db.read("parts of an upload", async move |tx: &mut Tx| upload::parts(tx, user, upload, at, PAGE).await);
            reading.next = parts.await.map_err(|error: DbError| error.to_string())?;
            reading.next.reverse();
        }
        let part = reading.next.pop().filter(|part| part.position == reading.at);
        let part = part.ok_or_else(|| format!("there is no part at {}", reading.at))?;
        let bytes = read(&reading.blobs, reading.row.upload, part.object).await?;
        reading.at += part.length;
        Ok(Some((bytes, reading)))
    })
}

async fn read(blobs: &Blobs, upload: UploadId, object: ObjectName) -> Result<bytes::Bytes, String> {
    match blobs.part(upload, object).await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(format!("part {object} is gone")),
        Err(error) => Err(error.to_string()),
    }
}
