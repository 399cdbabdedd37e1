//! What every handler and the driver of a gateway work with.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::Notify;

use super::client::Authority;
use super::config::Config;
use super::payments::Payments;
use crate::clock::{Clock, Rng};
use crate::db::Db;
use crate::mail::Relay;

/// A gateway's parts. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] is made of.
pub struct Parts {
    /// The gateway's own database.
    pub db: Db,
    /// The way to the authority.
    pub authority: Authority,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub rng: Rng,
    /// As read at start.
    pub config: Config,
    /// The server that takes mail; none where none is configured.
    pub relay: Option<Relay>,
    /// How terminals reach it, best first.
    pub urls: Vec<String>,
    /// The way to the payment provider, where one is configured.
    pub payments: Option<Payments>,
    /// Wakes the driver, where something was left for it.
    pub left: Notify,
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
