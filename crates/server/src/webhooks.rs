//! Webhooks: somebody's server is told what happened here, by the Standard Webhooks specification.
//!
//! `store::webhook::tell` puts a record of the audit log that is wanted in the outbox, in the record's own transaction; [`tell`] makes
//! deliveries of it, and [`deliver`] sends them. Only the leader does either (`jobs/webhooks.rs`).

use std::collections::BTreeSet;

use counterfoil_core::Timestamp;

use crate::app::App;
use crate::clock::monotonic;
use crate::db::DbError;
use crate::store::webhook;

pub use deliver::{deliver, deliver_all};
pub use tell::{name, tell};

mod address;
pub mod catalogue;
mod deliver;
pub mod send;
pub mod sign;
mod tell;

/// How often every process looks who wants to be told of what: well within `db::STALE`.
pub const LOOK: std::time::Duration = std::time::Duration::from_secs(3);
/// What happens so long after a webhook was made is told for sure: every process knows of it by then, however slow its clock.
pub const ACTIVE_AFTER: i64 = 10_000;
/// How long after a new secret the one before signs as well.
pub const HANDOVER: i64 = Timestamp::DAY;

/// Looks which records webhooks want to be told of, so that transactions need not.
///
/// # Errors
/// A failure of the database: then what is known grows old, and everything is taken for wanted.
pub async fn look(app: &App) -> Result<(), DbError> {
    let begun = monotonic();
    let webhooks = app.db.read("webhooks", async |tx| webhook::live(tx).await).await?;
    let wanted = |name: &str| webhooks.iter().any(|webhook| webhook.events.wants(name));
    let records: BTreeSet<_> = catalogue::EVENTS.iter().filter(|event| wanted(event.name)).map(|event| event.record).collect();
    app.db.watched().set(records, begun);
    Ok(())
}
