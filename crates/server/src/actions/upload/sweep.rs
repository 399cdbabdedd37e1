//! Takes away what nobody needs any more: uploads that have run out, their parts, and the objects of versions that are gone.
//!
//! It does no harm where two processes do it at once, nor where one stands still in the middle of it: rows move by guarded updates, and an
//! object goes only once it is older than the end of its upload and nobody's upload, open or complete, has the same bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use counterfoil_core::Timestamp;

use super::finish;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::upload::{self, State, UploadRow, over};
use crate::store::user;

/// Rows that are looked at together.
const PAGE: i64 = 100;
/// How long after its end an upload is left alone: a request that was on its way then has come to its own end.
const GRACE: i64 = 60 * 60 * 1000;

/// Does so. Returns how many uploads it has ended or swept.
///
/// # Errors
/// A failure of database or store; what was done before stays so.
pub async fn sweep(app: &App) -> Result<usize, Problem> {
    let mut done = 0;
    loop {
        let now = app.clock.now();
        let expired = app.db.read("expired uploads", async move |tx: &mut Tx| over::expired(tx, now, PAGE).await).await?;
        for (user, upload) in &expired {
            let (user, upload) = (*user, *upload);
            let row = app.db.read("expired upload", async move |tx: &mut Tx| upload::find(tx, user, upload).await).await?;
            if let Some(row) = row {
                finish::give_up(app, row, "expired").await?;
            }
            done += 1;
        }
        if expired.is_empty() {
            break;
        }
    }
    loop {
        let then = Timestamp(app.clock.now().0.saturating_sub(GRACE));
        let rows = app.db.read("uploads that are over", async move |tx: &mut Tx| over::unswept(tx, then, PAGE).await).await?;
        if rows.is_empty() {
            return Ok(done);
        }
        for row in rows {
            clear(app, row).await?;
            done += 1;
        }
    }
}

async fn clear(app: &App, row: UploadRow) -> Result<(), Problem> {
    app.blobs.remove_parts(row.upload).await?;
    if row.state == State::Removed {
        let object = row.object;
        let needed = app.db.read("who needs an object", async move |tx: &mut Tx| over::is_needed(tx, object).await).await?;
        if !needed {
            // Nobody's, or of somebody who is writing it at this moment, and whose own end will come.
            app.blobs.saves().remove(object, time(row.expires_at.0.saturating_add(GRACE))).await?;
        }
    }
    app.db
        .write("swept upload", user::family(row.user), async move |tx: &mut Tx| -> Result<(), DbError> { over::swept(tx, &row).await })
        .await?;
    Ok(())
}

fn time(at: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.unsigned_abs())
}
