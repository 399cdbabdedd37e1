//! The audit log signed, and everything recomputed, on timers that a restart neither sets back nor sets off.

use std::time::Duration;

use counterfoil_core::Timestamp;

use crate::app::App;
use crate::auditor::{self, LastAudit};
use crate::db::DbError;
use crate::store::{audit, setting};

/// Longest sleep at a time, so that a clock that was set is noticed.
const NAP: Duration = Duration::from_secs(60);
/// How long after a failure.
const AGAIN: Duration = Duration::from_secs(60);
/// What is overdue waits for a random part of this: not all that were started together do it together.
const SETTLING: i64 = 5000;
/// Findings that are written to the log and to the setting one by one.
const TOLD: usize = 20;

/// Signs what the audit log has come to, every `checkpoint_minutes`.
pub async fn checkpoint_forever(app: App) {
    let every = i64::from(app.config.audit.checkpoint_minutes) * 60_000;
    if every == 0 {
        return;
    }
    let mut last = last_checkpoint(&app).await;
    loop {
        due(&app, last.map(Timestamp), every).await;
        let now = app.clock.now();
        let sign =
            |checkpoint: &audit::Checkpoint| app.keys.sign(auditor::CHECKPOINT_TYP, checkpoint, now).map_err(|error| error.to_string());
        match audit::checkpoint(&app.db, now.0, sign).await {
            Ok(Some((made, _))) => tracing::info!(number = made.number, entries = made.entries, "the audit log was signed"),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the audit log could not be signed");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        }
        last = Some(now.0);
    }
}

/// Recomputes every invariant and verifies the whole audit log, every `verify_hours`.
pub async fn verify_forever(app: App) {
    let every = i64::from(app.config.audit.verify_hours) * 3_600_000;
    let last = last_audit(&app).await;
    if let Some(last) = &last {
        // Whoever watches this process must not take its silence for good news.
        show(last);
    }
    if every == 0 {
        return;
    }
    let mut last = last.map(|last| last.at);
    loop {
        due(&app, last, every).await;
        match verify(&app).await {
            Ok(done) => last = Some(done.at),
            Err(error) => {
                tracing::warn!(%error, "the auditor could not finish");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Runs the auditor once, tells what it found, and notes it for `doctor` and whoever leads next.
///
/// # Errors
/// A failure of the database.
pub async fn verify(app: &App) -> Result<LastAudit, DbError> {
    let (at, begun) = (app.clock.now(), crate::clock::monotonic());
    let audited = auditor::everything(&app.db, &app.keys, vec![]).await?;
    let seconds = crate::clock::monotonic().saturating_sub(begun).as_secs();
    let findings: Vec<String> = audited.findings().take(TOLD).collect();
    for finding in &findings {
        tracing::error!(finding, "the auditor found something that must never be");
    }
    let done = LastAudit { at, seconds, records: audited.report.rows, found: audited.found(), findings };
    tracing::info!(found = done.found, records = done.records, seconds, "the auditor has looked at everything");
    show(&done);
    let text = serde_json::to_string(&done).expect("numbers and strings have a JSON form");
    let note = async move |tx: &mut crate::db::Tx| setting::put(tx, setting::LAST_AUDIT, &text).await;
    app.db.write("note audit", setting::FAMILY, note).await?;
    Ok(done)
}

fn show(last: &LastAudit) {
    metrics::gauge!("counterfoil_audit_findings").set(last.found as f64);
    metrics::gauge!("counterfoil_audit_last_run_timestamp_seconds").set(last.at.seconds() as f64);
    metrics::gauge!("counterfoil_audit_duration_seconds").set(last.seconds as f64);
}

/// Waits until `every` milliseconds after `last`, and up to a tenth more; a moment, where that is over; and until this process leads.
async fn due(app: &App, last: Option<Timestamp>, every: i64) {
    let random = i64::from(u16::from_be_bytes(app.rng.bytes()));
    let part_of = |most: i64| most * random / i64::from(u16::MAX);
    let mut at = last.map_or(i64::MIN, |last| last.0.saturating_add(every + part_of(every / 10)));
    at = at.max(app.clock.now().0 + part_of(SETTLING.min(every / 10)));
    loop {
        let now = app.clock.now().0;
        // A clock that was set back makes nobody wait longer than usual.
        at = at.min(now.saturating_add(every + every / 10));
        if now >= at {
            return app.lead.leading().await;
        }
        tokio::time::sleep(NAP.min(Duration::from_millis(at.abs_diff(now)))).await;
    }
}

async fn last_checkpoint(app: &App) -> Option<i64> {
    loop {
        match app.db.read("last checkpoint", async |tx| audit::last_checkpoint_at(tx).await).await {
            Ok(last) => return last,
            Err(error) => unknown(error).await,
        }
    }
}

async fn last_audit(app: &App) -> Option<LastAudit> {
    loop {
        match LastAudit::load(&app.db).await {
            Ok(last) => return last,
            Err(error) => unknown(error).await,
        }
    }
}

async fn unknown(error: DbError) {
    tracing::warn!(%error, "when the audit was last run cannot be read");
    tokio::time::sleep(AGAIN).await;
}
