//! What every handler and job works with: database, contents, keys, time, randomness, configuration.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::blobs::Blobs;
use crate::catalogue::Catalogues;
use crate::clock::{Clock, Rng};
use crate::config::Config;
use crate::db::Db;
use crate::delivery::Delivery;
use crate::difference::Differences;
use crate::inbox_watch::InboxWatch;
use crate::jobs::Lead;
use crate::keys::Keys;
use crate::limits::subjects::Subjects;
use crate::store::pressed::Batches;

/// The server's parts. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] is made of.
pub struct Parts {
    /// The database.
    pub db: Db,
    /// The contents.
    pub blobs: Blobs,
    /// How they reach whoever asks.
    pub delivery: Delivery,
    /// The authority's keys.
    pub keys: Keys,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub rng: Rng,
    /// As read at start.
    pub config: Config,
    /// Name of the authority, stable for its life.
    pub name: String,
    /// How terminals reach it, best first.
    pub urls: Vec<String>,
    /// Batches that were asked for lately.
    pub batches: Batches,
    /// Titles that were asked for lately, with their releases.
    pub catalogues: Catalogues,
    /// What their releases differ in.
    pub differences: Differences,
    /// Wakes the delivery of the outbox, after a commit that put something there.
    pub outbox: Notify,
    /// How much each medium, device and provider asks for.
    pub subjects: Subjects,
    /// Who listens for jobs here.
    pub inbox: InboxWatch,
    /// Whether this process does the jobs that only one may do.
    pub lead: Lead,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
