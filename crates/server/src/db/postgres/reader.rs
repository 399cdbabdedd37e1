//! Reads: over a few connections to the primary, to a replica where lagging is no harm, and over a connection of their own for audits.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender};

use super::super::error::DbError;
use super::super::job::{Attempt, Job, attempt};
use super::super::options::Settings;
use super::super::tx::{Engine, Tx};
use super::super::url::PostgresTarget;
use super::super::{backoff, instant, meter};
use super::{Access, Session};

/// Answers reads until every `Db` is gone. Statements of different reads share the connections, pipelined; each sees what was committed
/// before it. Where sessions do not last, each read is a transaction and has a connection to itself.
pub(in crate::db) async fn read_all(target: PostgresTarget, queue: Receiver<Box<dyn Job>>, settings: Settings, connections: usize) {
    let readers = Readers::new(&target, &settings, connections);
    drain(queue, settings.queue, |job| readers.next().read(job)).await;
}

/// Answers reads from a replica until every `Db` is gone. What it cannot answer, or answers with no, is asked at the primary; a replica that
/// failed is left alone for a while.
pub(in crate::db) async fn read_replica(
    target: PostgresTarget,
    queue: Receiver<Box<dyn Job>>,
    settings: Settings,
    connections: usize,
    primary: Sender<Box<dyn Job>>,
) {
    let patience = settings.attempt_for / 5;
    let quick = Settings { attempt_for: patience, connect_for: patience.min(settings.connect_for), ..settings.clone() };
    let replica = Replica { readers: Readers::new(&target, &quick, connections), resting: Cell::new(None), primary };
    drain(queue, settings.queue, |job| replica.read(job)).await;
}

async fn drain<F: Future<Output = ()>>(mut queue: Receiver<Box<dyn Job>>, most: usize, start: impl Fn(Box<dyn Job>) -> F) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = running.next() => {}
            job = queue.recv(), if running.len() < most => match job {
                Some(job) if job.abandoned() => {}
                Some(job) => running.push(start(job)),
                None => break,
            },
        }
    }
    while running.next().await.is_some() {}
}

struct Readers<'a> {
    all: Vec<Reader<'a>>,
    last: Cell<usize>,
}

impl<'a> Readers<'a> {
    fn new(target: &'a PostgresTarget, settings: &'a Settings, connections: usize) -> Self {
        let reader = || Reader { target, settings, session: Mutex::default(), turn: Mutex::default() };
        Self { all: (0..connections.max(1)).map(|_| reader()).collect(), last: Cell::new(0) }
    }

    fn next(&self) -> &Reader<'a> {
        self.last.set((self.last.get() + 1) % self.all.len());
        &self.all[self.last.get()]
    }
}

struct Reader<'a> {
    target: &'a PostgresTarget,
    settings: &'a Settings,
    // Locked only while it is taken or made, so that several reads use it at once.
    session: Mutex<Option<Rc<Session>>>,
    // Held by the one read whose transaction it is, where sessions do not last.
    turn: Mutex<()>,
}

impl Reader<'_> {
    async fn read(&self, mut job: Box<dyn Job>) {
        for tries in 0.. {
            let error = match self.attempt(job.as_mut()).await {
                Ok(Attempt::Failed(error)) | Err(error) if error.is_transient() => error,
                Ok(attempt) => return meter::finish(job, attempt),
                Err(error) => return meter::answer(job, Some(error)),
            };
            if instant() >= job.deadline() {
                return meter::answer(job, Some(error.given_up()));
            }
            tokio::time::sleep(backoff(tries)).await;
        }
    }

    /// Runs the read once, within the time there is. After a failure that may be the connection's, the next read makes a new one.
    async fn attempt(&self, job: &mut dyn Job) -> Result<Attempt, DbError> {
        let limit = self.settings.attempt_until(job.deadline());
        let result = match tokio::time::timeout(limit, self.once(job)).await {
            Ok(result) => result,
            Err(_) => Err(DbError::Lost("no answer in time".to_owned())),
        };
        if matches!(&result, Ok(Attempt::Failed(error)) | Err(error) if error.is_transient()) {
            *self.session.lock().await = None;
        }
        result
    }

    async fn once(&self, job: &mut dyn Job) -> Result<Attempt, DbError> {
        // Waiting for one's turn counts as waiting for the database: there are too few readers, or it is slow.
        let _turn = if self.settings.named_statements { None } else { Some(self.turn.lock().await) };
        let session = {
            let mut place = self.session.lock().await;
            match place.as_ref().filter(|session| !session.is_closed()) {
                Some(session) => Rc::clone(session),
                None => Rc::clone(place.insert(Rc::new(Session::connect(self.target, self.settings, Access::Read).await?))),
            }
        };
        let mut tx = Tx::new(Engine::Postgres(Rc::clone(&session)), None);
        if session.lasts() {
            return Ok(attempt(job, &mut tx).await);
        }
        // Dropped half-way, it would leave a transaction behind; then `attempt` drops the session.
        let (begun, done) = futures_util::future::join(session.begin(), attempt(job, &mut tx)).await;
        begun?;
        session.control("COMMIT").await?;
        Ok(done)
    }
}

struct Replica<'a> {
    readers: Readers<'a>,
    /// Until when it is left alone.
    resting: Cell<Option<Instant>>,
    primary: Sender<Box<dyn Job>>,
}

impl Replica<'_> {
    async fn read(&self, mut job: Box<dyn Job>) {
        if self.resting.get().is_some_and(|until| instant() < until) {
            return self.ask_primary(job, "resting");
        }
        match self.readers.next().attempt(job.as_mut()).await {
            Ok(Attempt::Done) => {
                if self.resting.take().is_some() {
                    tracing::info!("the replica answers again");
                }
                meter::finish(job, Attempt::Done);
            }
            // What it does not know yet, it may know in a moment; only the primary can say no.
            Ok(Attempt::Refused) => self.ask_primary(job, "nothing"),
            Ok(Attempt::Failed(DbError::Lost(error))) | Err(DbError::Lost(error)) => {
                let rest = self.readers.all[0].settings.replica_rest;
                if self.resting.replace(Some(instant() + rest)).is_none() {
                    tracing::warn!(%error, "the replica does not answer; its reads go to the primary until it does");
                }
                self.ask_primary(job, "failed");
            }
            // A schema that is older than this program, a row that was cleaned away: others may well be answered.
            Ok(Attempt::Failed(_)) | Err(_) => self.ask_primary(job, "failed"),
        }
    }

    fn ask_primary(&self, job: Box<dyn Job>, reason: &'static str) {
        meter::asked_primary(reason);
        if let Err(full) = self.primary.try_send(job) {
            meter::answer(full.into_inner(), Some(DbError::Overloaded));
        }
    }
}

/// Answers one read over a connection of its own, which sees one state of the database throughout, however long it takes.
pub(in crate::db) async fn snapshot(target: &PostgresTarget, settings: &Settings, mut job: Box<dyn Job>) {
    let once = async {
        let session = Rc::new(Session::connect(target, settings, Access::Read).await?);
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; \
                     SET LOCAL idle_in_transaction_session_timeout = 600000";
        session.control(begin).await?;
        let mut tx = Tx::new(Engine::Postgres(Rc::clone(&session)), None);
        let done = attempt(job.as_mut(), &mut tx).await;
        // Read is what was read; a pooler wants its connection back.
        let _ = session.control("COMMIT").await;
        Ok::<_, DbError>(done)
    };
    match once.await {
        Ok(attempt) => meter::finish(job, attempt),
        Err(error) => meter::answer(job, Some(error.given_up())),
    }
}
