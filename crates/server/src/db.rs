//! The one door to the database: transactions with a name, run on SQLite or PostgreSQL, committed in groups.
//!
//! ```no_run
//! # use counterfoil_server::db::{Db, DbError};
//! # async fn example(db: &Db, medium: String, holder: String) -> Result<bool, DbError> {
//! db.write("claim", medium.clone(), async move |tx| {
//!     let won = tx.query("UPDATE medium SET holder = $1 WHERE medium = $2 AND holder IS NULL").bind(&holder).bind(&medium).execute().await?;
//!     Ok(won == 1)
//! })
//! .await
//! # }
//! ```
//!
//! An action is an async closure over `&mut Tx`. It may be run several times, from the start: after a conflict, a broken connection, or a
//! COMMIT whose answer was lost, when the first run may have taken effect. So it changes nothing but the database, and what must happen once
//! is guarded there (`store::request`). It awaits nothing but its own statements; anything else is `DbError::Stalled` on both engines.
//! It runs on a thread of the facade and never leaves it, so it need not be `Send` once started; what it captures must be.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, Sender};
use tokio::sync::oneshot;

pub use error::DbError;
pub use family::FamilyKey;
pub use faults::{Fault, Faults, Lasting};
pub use meter::Statistics;
pub use migrate::{Compared, Distribution, MigrationStatus, Move, MoveError, Pass, Progress};
pub use options::{DbOptions, Schema};
pub use row::{FromRow, Row};
pub use tx::{Query, Tx};
pub use url::DbUrl;
pub use value::{FromValue, Value};
pub use watched::{STALE, Watched};

use job::{Action, Job};
use options::Settings;
use start::{Queues, on_this_thread, spawn};
use url::Target;

mod error;
mod family;
mod faults;
mod job;
mod meter;
mod migrate;
mod moved;
mod options;
mod postgres;
mod row;
mod sqlite;
mod start;
mod tx;
mod url;
mod value;
mod watched;

/// The database. Cheap to clone; all clones share its threads and connections.
#[derive(Clone, Debug)]
pub struct Db(Arc<Shared>);

struct Shared {
    url: DbUrl,
    settings: Settings,
    queues: RwLock<Option<Queues>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Db {
    /// Opens the database with the usual options.
    ///
    /// # Errors
    /// `Url`, or `Lost` when the file cannot be opened or the server cannot be reached. A replica that cannot be reached is no error.
    pub async fn open(url: &DbUrl) -> Result<Self, DbError> {
        Self::open_with(url, DbOptions::default()).await
    }

    /// Opens the database. Later failures of the connection are repaired without opening again.
    ///
    /// # Errors
    /// As for `open`.
    pub async fn open_with(url: &DbUrl, options: DbOptions) -> Result<Self, DbError> {
        let settings = Settings::new(&options);
        let (queues, threads) = match &url.0 {
            Target::Sqlite(path) => start::sqlite(path, &settings, options.readers.max(1))?,
            Target::Postgres(target) => {
                let target = target.primary();
                // Tells a wrong address now, and not at the first transaction.
                postgres::connect(&target, &settings).await?;
                start::postgres(&target, &settings, &options)?
            }
        };
        Ok(Self(Arc::new(Shared { url: url.clone(), settings, queues: RwLock::new(Some(queues)), threads: Mutex::new(threads) })))
    }

    /// No database at all: every call is `Unavailable`. For a process that shall hold nothing.
    pub fn absent() -> Self {
        let settings = Settings::new(&DbOptions::default());
        Self(Arc::new(Shared { url: DbUrl::sqlite(""), settings, queues: RwLock::new(None), threads: Mutex::new(vec![]) }))
    }

    /// Runs an action that writes the rows of one family, and returns once they are durable, or nothing of it is.
    ///
    /// `Err` from the action rolls its work back and is returned. Transactions of one family run one after the other within a process;
    /// across processes, guarded statements and `Tx::conflict` decide.
    ///
    /// # Errors
    /// The action's own; or a `DbError`, converted. `Overloaded`: not tried. `Unavailable`: the outcome is unknown, repeat the request.
    pub async fn write<T, E, F>(&self, name: &'static str, family: impl Into<FamilyKey>, action: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let family = family.into();
        let mut hasher = DefaultHasher::new();
        family.hash(&mut hasher);
        let place = hasher.finish();
        // The remainder is less than the number of writers.
        self.submit(name, family, action, |queues| &queues.writers[(place % queues.writers.len() as u64) as usize]).await
    }

    /// Runs an action that only reads. On SQLite it sees one state of the database; on PostgreSQL each statement sees what was committed
    /// before it.
    ///
    /// # Errors
    /// As for `write`, but nothing is ever half done.
    pub async fn read<T, E, F>(&self, name: &'static str, action: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.submit(name, FamilyKey::none(), action, |queues| &queues.readers).await
    }

    /// Runs an action that only reads, and whose answer may be some moments old: on the replica where one is configured. An error from there
    /// (nothing found, as well as a failure) counts for nothing; then the action is run again on the primary, as by `read`.
    ///
    /// Nothing that decides about rights reads so.
    ///
    /// # Errors
    /// As for `read`.
    pub async fn read_lagging<T, E, F>(&self, name: &'static str, action: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.submit(name, FamilyKey::none(), action, |queues| queues.replica.as_ref().unwrap_or(&queues.readers)).await
    }

    /// `read_lagging` for what may be missing: what is not found on the replica is looked for on the primary.
    ///
    /// # Errors
    /// As for `read`.
    pub async fn find_lagging<T, E, F>(&self, name: &'static str, action: F) -> Result<Option<T>, E>
    where
        F: AsyncFn(&mut Tx) -> Result<Option<T>, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let found = self.read_lagging(name, async move |tx: &mut Tx| match action(tx).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(NotFound(None)),
            Err(error) => Err(NotFound(Some(error))),
        });
        match found.await {
            Ok(found) => Ok(Some(found)),
            Err(NotFound(None)) => Ok(None),
            Err(NotFound(Some(error))) => Err(error),
        }
    }

    /// Runs a long read over a connection of its own, which sees one state of the database throughout: for audits and exports.
    ///
    /// # Errors
    /// As for `read`; it is not run again.
    pub async fn snapshot<T, E, F>(&self, name: &'static str, action: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (job, answer) = self.job(name, FamilyKey::none(), action);
        let url = self.0.url.clone();
        let settings = self.0.settings.clone();
        spawn("db-snapshot", move || match &url.0 {
            Target::Sqlite(path) => sqlite::snapshot(path, job),
            Target::Postgres(target) => on_this_thread(postgres::snapshot(&target.primary(), &settings, job)),
        })?;
        answer.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Brings the schema to the version of this program.
    ///
    /// # Errors
    /// `SchemaNewer`, `Migration`, or a failure of the database.
    pub async fn migrate(&self) -> Result<MigrationStatus, DbError> {
        migrate::migrate(self).await
    }

    /// Compares the schema with this program; `.check()` on the result refuses a newer or older one.
    ///
    /// # Errors
    /// `Migration`, or a failure of the database.
    pub async fn migration_status(&self) -> Result<MigrationStatus, DbError> {
        migrate::status(self).await
    }

    /// Places every table on the nodes of a Citus cluster; what is placed already stays. A dry run only says how.
    ///
    /// # Errors
    /// `Migration`: no PostgreSQL, no Citus, a version of it that is not known, or what it says.
    pub async fn distribute(&self, dry_run: bool) -> Result<Distribution, DbError> {
        migrate::distribute(self, dry_run).await
    }

    /// Cuts the family tables into so many partitions each, and says which those were that had none.
    ///
    /// # Errors
    /// `Migration`: no PostgreSQL, a table has rows, or what it says.
    pub async fn partition(&self, partitions: u32) -> Result<Vec<String>, DbError> {
        migrate::partition(self, partitions).await
    }

    /// Whether the database is here, and all of it: not moved elsewhere, not half moved here.
    ///
    /// # Errors
    /// `Moved`, `HalfMoved`, or a failure of the database.
    pub async fn check_not_moved(&self) -> Result<(), DbError> {
        moved::check(self).await
    }

    /// Lets waiting transactions finish, ends the threads and closes the connections. Later calls on any clone are `Unavailable`.
    pub async fn close(&self) {
        self.0.queues.write().unwrap_or_else(PoisonError::into_inner).take();
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // A thread that panicked has said so already, and none is left to tell.
        let _ = tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| drop(thread.join()))).await;
    }

    /// Figures since it was opened.
    pub fn statistics(&self) -> &Statistics {
        &self.0.settings.statistics
    }

    /// Which records somebody outside wants to be told of.
    pub fn watched(&self) -> &Watched {
        &self.0.settings.watched
    }

    /// Which database this is.
    pub fn url(&self) -> &DbUrl {
        &self.0.url
    }

    fn target(&self) -> &Target {
        &self.0.url.0
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    async fn submit<T, E, F>(
        &self,
        name: &'static str,
        family: FamilyKey,
        action: F,
        choose: impl FnOnce(&Queues) -> &Sender<Box<dyn Job>>,
    ) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (job, answer) = self.job(name, family, action);
        let sent = match &*self.0.queues.read().unwrap_or_else(PoisonError::into_inner) {
            Some(queues) => choose(queues).try_send(job).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    meter::overloaded(name);
                    DbError::Overloaded
                }
                mpsc::error::TrySendError::Closed(_) => closed(),
            }),
            None => Err(closed()),
        };
        sent?;
        answer.await.unwrap_or_else(|_| Err(closed().into()))
    }

    fn job<T, E, F>(&self, name: &'static str, family: FamilyKey, action: F) -> (Box<dyn Job>, oneshot::Receiver<Result<T, E>>)
    where
        F: AsyncFn(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (waiting, answer) = oneshot::channel();
        let deadline = instant() + self.0.settings.retry_for;
        (Box::new(Action { name, family, deadline, action, result: None, waiting }), answer)
    }
}

/// What `find_lagging` makes of an action's answer, so that "nothing" from the replica is asked again; `None` is nothing.
struct NotFound<E>(Option<E>);

impl<E: From<DbError>> From<DbError> for NotFound<E> {
    fn from(error: DbError) -> Self {
        Self(Some(error.into()))
    }
}

/// Runs transactions side by side, so that they share commits. All are run to their end before the first error is returned.
pub(crate) async fn all<T, E>(transactions: impl IntoIterator<Item = impl Future<Output = Result<T, E>>>) -> Result<Vec<T>, E> {
    futures_util::future::join_all(transactions).await.into_iter().collect()
}

fn closed() -> DbError {
    DbError::Unavailable("the database was closed".to_owned())
}

/// How long to wait before the next try: 2 ms, doubled up to a quarter of a second.
fn backoff(tries: u32) -> Duration {
    Duration::from_millis(2 << tries.min(7))
}

/// The only clock of the facade: it measures waiting, and never reaches a row.
#[expect(clippy::disallowed_methods, reason = "time that decides about rights is an argument; this measures how long the database takes")]
fn instant() -> Instant {
    Instant::now()
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("url", &self.url).finish_non_exhaustive()
    }
}
