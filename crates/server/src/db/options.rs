//! How many connections, how long they are waited for, and how statements go to the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::DbError;
use super::faults::Faults;
use super::instant;
use super::meter::Statistics;
use super::url::{DbUrl, Target};
use super::watched::Watched;

/// Whose tables are in a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schema {
    /// The authority's.
    #[default]
    Authority,
    /// A gateway's (C16).
    Gateway,
}

/// How many of what, and how long.
///
/// A process holds `writers + readers` connections, `readers` more to the replica where one is configured, and one for a short while to
/// start, to migrate, and for each `Db::snapshot` (audits).
#[derive(Clone, Debug)]
pub struct DbOptions {
    /// Whose tables.
    pub schema: Schema,
    /// Connections that write (PostgreSQL; SQLite has one writer).
    pub writers: usize,
    /// Connections that read.
    pub readers: usize,
    /// Whether statements are prepared once for each connection, under a name (PostgreSQL). Where a pooler hands every transaction another
    /// connection, names are lost: then `false`, and nothing is left behind in a session.
    pub named_statements: bool,
    /// A copy of the database that may lag behind, for `Db::read_lagging` (PostgreSQL).
    pub replica: Option<DbUrl>,
    /// How long a replica that failed is left alone.
    pub replica_rest: Duration,
    /// Transactions that may share one commit.
    pub batch: usize,
    /// Transactions that may wait, for each writer and for the readers, before more are `Overloaded`.
    pub queue: usize,
    /// How long after it was asked for an action may still be run again.
    pub retry_for: Duration,
    /// How long one batch may take (PostgreSQL).
    pub attempt_for: Duration,
    /// How long connecting may take (PostgreSQL), however many hosts are named.
    pub connect_for: Duration,
    /// Faults for tests; no configuration reaches them.
    pub faults: Option<Arc<Faults>>,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self {
            schema: Schema::Authority,
            writers: 2,
            readers: 2,
            named_statements: true,
            replica: None,
            replica_rest: Duration::from_secs(10),
            batch: 64,
            queue: 4096,
            retry_for: Duration::from_secs(10),
            attempt_for: Duration::from_secs(10),
            connect_for: Duration::from_secs(5),
            faults: None,
        }
    }
}

impl DbOptions {
    /// Whether the replica answers; none where none is configured. Reading hides it, since whatever fails there is asked of the primary.
    ///
    /// # Errors
    /// `Url`, or `Lost`: it does not.
    pub async fn reach_replica(&self) -> Result<Option<&DbUrl>, DbError> {
        let Some(url) = &self.replica else { return Ok(None) };
        let Target::Postgres(target) = &url.0 else { return Err(DbError::Url("a replica begins with `postgres://`".to_owned())) };
        super::postgres::connect(target, &Settings::new(self)).await?;
        Ok(Some(url))
    }
}

/// The options as every thread holds them.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) schema: Schema,
    pub(super) named_statements: bool,
    pub(super) replica_rest: Duration,
    pub(super) batch: usize,
    pub(super) queue: usize,
    pub(super) retry_for: Duration,
    pub(super) attempt_for: Duration,
    pub(super) connect_for: Duration,
    pub(super) faults: Option<Arc<Faults>>,
    pub(super) statistics: Arc<Statistics>,
    pub(super) watched: Watched,
}

impl Settings {
    pub(super) fn new(options: &DbOptions) -> Self {
        Self {
            schema: options.schema,
            named_statements: options.named_statements,
            replica_rest: options.replica_rest,
            batch: options.batch.max(1),
            queue: options.queue.max(1),
            retry_for: options.retry_for,
            attempt_for: options.attempt_for,
            connect_for: options.connect_for,
            faults: options.faults.clone(),
            statistics: Arc::default(),
            watched: Watched::default(),
        }
    }

    /// How long an attempt may take for somebody who waits until `deadline`: not much longer, but never so short that a healthy database
    /// could not answer.
    pub(super) fn attempt_until(&self, deadline: Instant) -> Duration {
        deadline.saturating_duration_since(instant()).clamp(self.attempt_for / 4, self.attempt_for)
    }
}
