//! Work without a request: delivering the outbox, noticing rotated keys, dropping what has expired.

use std::time::Duration;

use counterfoil_core::{GrantId, MediumId, Timestamp, TitleId, UserId};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::app::App;
use crate::db::{DbError, Tx};
use crate::store::outbox::{self, Operation};
use crate::store::{request, user};

/// Outbox: a grant was issued, and its user's family learns of the entitlement.
pub const ENTITLEMENT: &str = "entitlement";

/// Messages taken at a time.
const BATCH: i64 = 64;
/// How long a message that was taken is left to whoever took it, in milliseconds.
const LEASE: i64 = 30_000;
/// How often the outbox is looked at without being woken.
const IDLE: Duration = Duration::from_secs(5);
/// How often keys are loaded: well within `keys::rotate::HANDOVER`.
const KEYS: Duration = Duration::from_secs(10);
/// How often what is over is dropped, and how many rows at a time.
const PURGE: (Duration, i64) = (Duration::from_secs(60), 1000);
/// How long a delivered message is kept, for people who look for what happened.
const DELIVERED_KEPT: i64 = 7 * Timestamp::DAY;

/// The running jobs; dropping it ends them.
pub struct Jobs(#[expect(dead_code, reason = "held so that the tasks live as long")] JoinSet<()>);

/// Starts them all.
pub fn start(app: &App) -> Jobs {
    let mut jobs = JoinSet::new();
    jobs.spawn(deliver_forever(app.clone()));
    jobs.spawn(refresh_keys(app.clone()));
    jobs.spawn(purge_forever(app.clone()));
    Jobs(jobs)
}

async fn deliver_forever(app: App) {
    loop {
        match deliver(&app).await {
            Ok(0) => {
                // Whether woken or not: look again.
                let _ = tokio::time::timeout(IDLE, app.outbox.notified()).await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the outbox could not be delivered");
                tokio::time::sleep(IDLE).await;
            }
        }
    }
}

/// Delivers what is due now, at most one batch; answers with how many messages were taken.
///
/// # Errors
/// A failure of the database.
pub async fn deliver(app: &App) -> Result<usize, DbError> {
    let now = app.clock.now();
    let taken = outbox::take_due(&app.db, now.0, LEASE, BATCH).await?;
    let count = taken.len();
    for result in futures_util::future::join_all(taken.into_iter().map(|operation| hand_over(app, operation, now))).await {
        result?;
    }
    Ok(count)
}

#[derive(Deserialize)]
struct Entitlement {
    user: UserId,
    grant: GrantId,
    medium: MediumId,
    title: TitleId,
    at: Timestamp,
}

async fn hand_over(app: &App, operation: Operation, now: Timestamp) -> Result<(), DbError> {
    let Operation { family, operation_id, payload, attempts, .. } = operation;
    let outcome = match serde_json::from_str::<Entitlement>(&payload) {
        Ok(entitlement) if operation.kind == ENTITLEMENT => entitle(app, entitlement).await.map_err(|error| error.to_string()),
        Ok(_) => Err(format!("nobody delivers {:?}", operation.kind)),
        Err(error) => Err(error.to_string()),
    };
    app.db
        .write("outbox result", family.clone(), async move |tx: &mut Tx| -> Result<(), DbError> {
            match &outcome {
                Ok(()) => outbox::done(tx, &family, &operation_id, now.0).await.map(drop),
                Err(error) => {
                    let wait = 1000_i64 << attempts.clamp(0, 12);
                    outbox::failed(tx, &family, &operation_id, error, now.0 + wait).await.map(drop)
                }
            }
        })
        .await
}

async fn entitle(app: &App, told: Entitlement) -> Result<(), DbError> {
    app.db
        .write("entitle", user::family(told.user), async move |tx: &mut Tx| {
            user::entitle(tx, told.user, told.grant, &told.medium, &told.title, told.at).await
        })
        .await
}

async fn refresh_keys(app: App) {
    let mut every = tokio::time::interval(KEYS);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Err(error) = app.keys.refresh(&app.db).await {
            tracing::warn!(%error, "keys could not be loaded again; those in memory stay in use");
        }
    }
}

/// Drops what is over: requests that have expired, messages that were delivered a week ago. All of it: under load, more than one batch comes
/// together between two rounds.
///
/// # Errors
/// A failure of the database; what was dropped before stays so.
pub async fn purge(app: &App) -> Result<(), DbError> {
    let (now, batch) = (app.clock.now().0, PURGE.1);
    while request::purge(&app.db, now, batch).await? >= batch.unsigned_abs() {}
    while outbox::purge(&app.db, now.saturating_sub(DELIVERED_KEPT), batch).await? >= batch.unsigned_abs() {}
    Ok(())
}

async fn purge_forever(app: App) {
    let mut every = tokio::time::interval(PURGE.0);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Err(error) = purge(&app).await {
            tracing::warn!(%error, "expired requests and delivered messages could not be dropped");
        }
        let since_1970 = Duration::from_millis(app.clock.now().0.unsigned_abs());
        if let Err(error) = app.blobs.sweep(std::time::UNIX_EPOCH + since_1970) {
            tracing::warn!(%error, "uploads that were given up could not be removed");
        }
    }
}
