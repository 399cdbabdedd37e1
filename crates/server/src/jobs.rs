//! Work without a request: delivering the outbox, dropping what has expired, auditing; noticing rotated keys.
//!
//! What concerns the database is done by one process at a time, the one that leads ([`lead`]); what is a process's own, by each.

use std::time::Duration;

use counterfoil_core::Timestamp;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::actions::{claim, gateway, reissue, upload};
use crate::app::App;
use crate::db::DbError;
use crate::inbox_watch;
use crate::mail;
use crate::roles::ServerRole;
use crate::store::{delivery, inbox, request};

pub(crate) use self::outbox::end;
pub use self::outbox::{ENTITLEMENT, Entitlement, deliver, deliver_of};
pub use lead::Lead;

pub mod audit;
pub mod figures;
pub mod lead;
mod outbox;
mod webhooks;
pub mod words;

/// How often the outbox is looked at without being woken.
const IDLE: Duration = Duration::from_secs(1);
/// How often keys are loaded: well within `keys::rotate::HANDOVER`.
const KEYS: Duration = Duration::from_secs(10);
/// How often what is over is dropped, and how many rows at a time.
const PURGE: (Duration, i64) = (Duration::from_secs(60), 1000);
/// How long the jobs of devices are kept after their end, in milliseconds.
const JOBS_KEPT: i64 = 30 * Timestamp::DAY;

/// How long deliveries to webhooks are kept, in milliseconds.
const DELIVERIES_KEPT: i64 = 30 * Timestamp::DAY;

/// The running jobs; dropping it ends them at once, [`Jobs::stop`] in good order.
pub struct Jobs {
    own: JoinSet<()>,
    lead: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// Starts them: those of every process, and those that one process at a time does, as soon as this one leads.
pub fn start(app: &App) -> Jobs {
    let roles = &app.config.server.roles;
    let mut own = JoinSet::new();
    if roles.has_any(&[ServerRole::Authority, ServerRole::Content]) {
        own.spawn(sweep_forever(app.clone()));
    }
    if !roles.need_database() {
        return Jobs { own, lead: None };
    }
    own.spawn(refresh_keys(app.clone()));
    own.spawn(webhooks::look_forever(app.clone()));
    if roles.has(ServerRole::Authority) {
        own.spawn(inbox_watch::poll_forever(app.clone()));
    }
    let (stop, stopped) = oneshot::channel();
    let lead = tokio::spawn(lead::keep(app.clone(), leaders, stopped));
    Jobs { own, lead: Some((stop, lead)) }
}

/// Jobs of the process that leads. Each does no harm where two do it for a moment: a process can stand still in the middle of a step, while
/// another takes over.
fn leaders(app: &App) -> JoinSet<()> {
    let mut jobs = JoinSet::new();
    jobs.spawn(deliver_forever(app.clone()));
    match app.config.mail.relay() {
        Ok(Some(relay)) => drop(jobs.spawn(mail_forever(app.clone(), relay))),
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "no mail is sent"),
    }
    jobs.spawn(purge_forever(app.clone()));
    jobs.spawn(webhooks::tell_forever(app.clone()));
    jobs.spawn(sweep_uploads_forever(app.clone()));
    jobs.spawn(pass_reissues_forever(app.clone()));
    jobs.spawn(sweep_exchanges_forever(app.clone()));
    jobs.spawn(audit::checkpoint_forever(app.clone()));
    jobs.spawn(audit::verify_forever(app.clone()));
    jobs.spawn(figures::count_forever(app.clone()));
    jobs.spawn(words::mend_forever(app.clone()));
    jobs
}

impl Jobs {
    /// Ends them all; another process may lead from now on.
    pub async fn stop(mut self) {
        if let Some((stop, lead)) = self.lead.take() {
            // Where it has ended by itself, there is nothing left to stop.
            let _ = stop.send(());
            let _ = lead.await;
        }
        self.own.shutdown().await;
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        if let Some((_, lead)) = &self.lead {
            lead.abort();
        }
    }
}

async fn deliver_forever(app: App) {
    loop {
        app.lead.leading().await;
        match deliver(&app).await {
            Ok(0) => {
                // Whether woken or not: look again. Other processes write messages, and cannot wake this one.
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

/// Mail is sent beside everything else: a server that takes long for it keeps nothing up.
async fn mail_forever(app: App, relay: mail::Relay) {
    let mut every = tokio::time::interval(IDLE);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        app.lead.leading().await;
        if let Err(error) = mail::deliver(&app, &relay).await {
            tracing::warn!(%error, "mail could not be delivered");
        }
    }
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

/// Drops what is over: requests that have expired, jobs of devices and deliveries that came to their end. All of it: under load, more than one batch comes together between two rounds.
///
/// # Errors
/// A failure of the database; what was dropped before stays so.
pub async fn purge(app: &App) -> Result<(), DbError> {
    let (now, batch) = (app.clock.now().0, PURGE.1);
    while request::purge(&app.db, now, batch).await? >= batch.unsigned_abs() {}
    while inbox::purge(&app.db, now.saturating_sub(JOBS_KEPT), batch).await? >= batch.unsigned_abs() {}
    while delivery::purge(&app.db, now.saturating_sub(DELIVERIES_KEPT), batch).await? >= batch.unsigned_abs() {}
    Ok(())
}

async fn purge_forever(app: App) {
    let mut every = tokio::time::interval(PURGE.0);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        app.lead.leading().await;
        if let Err(error) = purge(&app).await {
            tracing::warn!(%error, "expired requests could not be dropped");
        }
    }
}

async fn sweep_uploads_forever(app: App) {
    let mut every = tokio::time::interval(PURGE.0);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        app.lead.leading().await;
        if let Err(error) = upload::sweep(&app).await {
            tracing::warn!(%error, "uploads that are over could not be taken away");
        }
    }
}

async fn pass_reissues_forever(app: App) {
    let mut every = tokio::time::interval(PURGE.0);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        app.lead.leading().await;
        if let Err(error) = reissue::pass(&app).await {
            tracing::warn!(%error, "requests for cards that have waited long enough could not be carried out");
        }
    }
}

async fn sweep_exchanges_forever(app: App) {
    let mut every = tokio::time::interval(PURGE.0);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        app.lead.leading().await;
        if let Err(error) = gateway::sweep(&app).await {
            tracing::warn!(%error, "exchanges that gateways have left could not be ended");
        }
        if let Err(error) = claim::sweep(&app).await {
            tracing::warn!(%error, "orders of copies that nobody has come back for could not be ended");
        }
    }
}

/// Each process throws away what uploads to its own directory have left behind.
async fn sweep_forever(app: App) {
    let mut every = tokio::time::interval(PURGE.0);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let since_1970 = Duration::from_millis(app.clock.now().0.unsigned_abs());
        if let Err(error) = app.blobs.sweep(std::time::UNIX_EPOCH + since_1970) {
            tracing::warn!(%error, "uploads that were given up could not be removed");
        }
    }
}
