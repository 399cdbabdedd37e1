//! Counting for charts, by the process that leads: what the audit log has come to, and what devices have.

use std::time::Duration;

use crate::app::App;
use crate::auditor::step_back;
use crate::db::{DbError, Tx};
use crate::store::figures::{self, Step};
use crate::store::setting;

/// How often it is looked whether there is something new.
const LOOK: Duration = Duration::from_secs(5);
/// How often devices are counted, in milliseconds: it reads all that they last said.
const SURVEY: i64 = 60 * 60 * 1000;

/// Counts for as long as this process lives, whenever it leads.
pub async fn count_forever(app: App) {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut surveyed = i64::MIN;
    loop {
        every.tick().await;
        app.lead.leading().await;
        if let Err(error) = count(&app).await {
            tracing::warn!(%error, "what happened could not be counted");
        }
        let now = app.clock.now().0;
        if now.saturating_sub(surveyed) >= SURVEY || now < surveyed {
            match survey(&app).await {
                Ok(()) => surveyed = now,
                Err(error) => tracing::warn!(%error, "what devices have could not be counted"),
            }
        }
    }
}

/// Counts all that is signed and not counted yet; says in how many steps.
///
/// # Errors
/// A failure of the database; what was counted before stays so, and nothing is counted twice.
pub async fn count(app: &App) -> Result<usize, DbError> {
    let mut steps = 0;
    while let Some(step) =
        app.db.read("count figures", async |tx: &mut Tx| -> Result<Option<Step>, DbError> { figures::count(tx).await }).await?
    {
        let kept = app
            .db
            .write("keep figures", setting::FAMILY, async move |tx: &mut Tx| -> Result<bool, DbError> { figures::keep(tx, &step).await });
        if !kept.await? {
            // Another process counts.
            break;
        }
        steps += 1;
    }
    Ok(steps)
}

/// Counts devices by what they last said.
///
/// # Errors
/// A failure of the database.
pub async fn survey(app: &App) -> Result<(), DbError> {
    let now = app.clock.now();
    let seen = app
        .db
        .snapshot("count devices", async move |tx: &mut Tx| -> Result<figures::Seen, DbError> {
            step_back();
            figures::seen(tx, now).await
        })
        .await?;
    app.db.write("note devices", setting::FAMILY, async move |tx: &mut Tx| -> Result<(), DbError> { figures::note(tx, &seen).await }).await
}
