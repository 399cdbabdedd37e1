//! PostgreSQL: a few writers, each with one connection, in batches that share one COMMIT and go down the wire pipelined; a few readers.

use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use futures_util::stream::FuturesUnordered;
use tokio::sync::Mutex;
use tokio::sync::mpsc::Receiver;

pub(super) use session::{Session, connect};

use super::error::DbError;
use super::job::{Attempt, Job, attempt};
use super::tx::{Engine, Tx};
use super::url::PostgresTarget;
use super::{Settings, backoff, instant, meter};

mod session;

/// A writer: one connection, made again when it fails.
struct Writer {
    target: PostgresTarget,
    settings: Settings,
    session: Option<Rc<Session>>,
}

/// Drains one writer's queue until every `Db` is gone. Runs on a thread of its own, so that actions need not be `Send`.
pub(super) async fn write_all(target: PostgresTarget, mut queue: Receiver<Box<dyn Job>>, settings: Settings) {
    let mut batch = Vec::with_capacity(settings.batch);
    let mut writer = Writer { target, settings, session: None };
    while queue.recv_many(&mut batch, writer.settings.batch).await > 0 {
        batch.retain(|job| !job.abandoned());
        if batch.is_empty() {
            continue;
        }
        meter::batch(batch.len());
        let mut jobs = std::mem::take(&mut batch);
        match writer.together(&mut jobs).await {
            Ok(attempts) => {
                for (job, attempt) in jobs.into_iter().zip(attempts) {
                    meter::finish(job, attempt);
                }
            }
            Err(error) => {
                tracing::debug!(%error, transactions = jobs.len(), "a batch failed; its transactions are tried one by one");
                for job in jobs {
                    writer.alone(job).await;
                }
            }
        }
    }
}

impl Writer {
    /// Runs the jobs inside one transaction of the database. An error means that none was committed, or that nobody knows.
    async fn together(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Vec<Attempt>, DbError> {
        let session = self.session().await?;
        let work = transaction(&session, jobs, &self.settings);
        let result = match tokio::time::timeout(self.settings.attempt_for, work).await {
            Ok(result) => result,
            Err(_) => Err(DbError::Lost("no answer in time".to_owned())),
        };
        // After a lost connection, or a server that is no longer the primary, nothing about this session can be relied on.
        if matches!(result, Err(DbError::Lost(_))) {
            self.session = None;
        }
        result
    }

    /// Runs one job until it succeeds, fails for good, or its time is up.
    async fn alone(&mut self, mut job: Box<dyn Job>) {
        for tries in 0.. {
            match self.together(std::slice::from_mut(&mut job)).await {
                Ok(mut attempts) => return meter::finish(job, attempts.pop().unwrap_or(Attempt::Refused)),
                Err(error) if error.is_transient() && instant() < job.deadline() => {
                    tracing::debug!(%error, transaction = job.name(), "run again");
                    meter::retry(job.name());
                    tokio::time::sleep(backoff(tries)).await;
                }
                Err(error) => {
                    tracing::error!(%error, transaction = job.name(), "given up");
                    return meter::answer(job, Some(error.given_up()));
                }
            }
        }
    }

    async fn session(&mut self) -> Result<Rc<Session>, DbError> {
        match &self.session {
            Some(session) if !session.is_closed() => Ok(Rc::clone(session)),
            _ => {
                let session = Rc::new(Session::connect(&self.target, &self.settings, Access::Write).await?);
                self.session = Some(Rc::clone(&session));
                Ok(session)
            }
        }
    }
}

/// What a session may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// BEGIN goes out together with the first statements. Jobs of one family run one after the other, families side by side.
async fn transaction(session: &Rc<Session>, jobs: &mut [Box<dyn Job>], settings: &Settings) -> Result<Vec<Attempt>, DbError> {
    let single = jobs.len() == 1;
    let (begin, chains) = join(
        session.control("BEGIN ISOLATION LEVEL READ COMMITTED"),
        join_all(by_family(jobs).into_iter().map(|chain| run(session, chain, settings))),
    )
    .await;
    begin?;

    let mut attempts: Vec<(usize, Attempt, bool)> = chains.into_iter().flatten().collect();
    attempts.sort_by_key(|(place, ..)| *place);
    let committable = attempts.iter().all(|(_, attempt, wrote)| match attempt {
        Attempt::Done => true,
        // It read and said no: what the others wrote can stand.
        Attempt::Refused => !wrote,
        Attempt::Failed(_) => false,
    });
    if committable {
        commit(session, settings).await?;
        return Ok(attempts.into_iter().map(|(_, attempt, _)| attempt).collect());
    }
    session.control("ROLLBACK").await?;
    let lost = attempts.iter().find_map(|(_, attempt, _)| match attempt {
        Attempt::Failed(error) if single && !error.is_transient() => None,
        Attempt::Failed(error) => Some(error.clone()),
        _ => None,
    });
    match lost {
        Some(error) if matches!(error, DbError::Lost(_)) => Err(error),
        _ if !single => Err(DbError::Conflict("a batch")),
        Some(error) => Err(error),
        None => Ok(attempts.into_iter().map(|(_, attempt, _)| attempt).collect()),
    }
}

async fn commit(session: &Session, settings: &Settings) -> Result<(), DbError> {
    let number = settings.faults.as_ref().map(|faults| faults.before_commit()).transpose()?;
    let began = instant();
    session.control("COMMIT").await?;
    meter::commit(began);
    settings.statistics.count_commit();
    match (&settings.faults, number) {
        (Some(faults), Some(number)) => faults.after_commit(number),
        _ => Ok(()),
    }
}

type Chain<'a> = Vec<(usize, &'a mut Box<dyn Job>)>;

/// Jobs with their places in the batch, in order within a family. Families are sorted, so that two batches lock rows in the same order.
fn by_family(jobs: &mut [Box<dyn Job>]) -> Vec<Chain<'_>> {
    let mut chains = std::collections::BTreeMap::<_, Chain<'_>>::new();
    for (place, job) in jobs.iter_mut().enumerate() {
        chains.entry(job.family().clone()).or_default().push((place, job));
    }
    chains.into_values().collect()
}

async fn run(session: &Rc<Session>, chain: Chain<'_>, settings: &Settings) -> Vec<(usize, Attempt, bool)> {
    let mut attempts = Vec::with_capacity(chain.len());
    for (place, job) in chain {
        let mut tx = Tx::new(Engine::Postgres(Rc::clone(session)), settings.faults.clone());
        let result = attempt(job.as_mut(), &mut tx).await;
        attempts.push((place, result, tx.wrote()));
    }
    attempts
}

/// Answers reads until every `Db` is gone. Statements of different reads share the connections, pipelined; each sees what was committed
/// before it.
pub(super) async fn read_all(target: PostgresTarget, mut queue: Receiver<Box<dyn Job>>, settings: Settings, connections: usize) {
    let readers: Vec<Reader> = (0..connections.max(1)).map(|_| Reader { session: Mutex::new(None) }).collect();
    let mut running = FuturesUnordered::new();
    let mut next = 0;
    loop {
        tokio::select! {
            Some(()) = running.next() => {}
            job = queue.recv(), if running.len() < settings.queue => match job {
                Some(job) if job.abandoned() => {}
                Some(job) => {
                    next = (next + 1) % readers.len();
                    running.push(readers[next].read(&target, &settings, job));
                }
                None => break,
            },
        }
    }
    while running.next().await.is_some() {}
}

struct Reader {
    // Locked only while it is taken or made, so that several reads use it at once.
    session: Mutex<Option<Rc<Session>>>,
}

impl Reader {
    async fn read(&self, target: &PostgresTarget, settings: &Settings, mut job: Box<dyn Job>) {
        for tries in 0.. {
            let result = match tokio::time::timeout(settings.attempt_for, self.once(target, settings, job.as_mut())).await {
                Ok(Ok(Attempt::Failed(error)) | Err(error)) if error.is_transient() => error,
                Ok(Ok(attempt)) => return meter::finish(job, attempt),
                Ok(Err(error)) => error,
                Err(_) => DbError::Lost("no answer in time".to_owned()),
            };
            *self.session.lock().await = None;
            if !result.is_transient() || instant() >= job.deadline() {
                return meter::answer(job, Some(result.given_up()));
            }
            tokio::time::sleep(backoff(tries)).await;
        }
    }

    async fn once(&self, target: &PostgresTarget, settings: &Settings, job: &mut dyn Job) -> Result<Attempt, DbError> {
        let session = {
            let mut place = self.session.lock().await;
            match place.as_ref().filter(|session| !session.is_closed()) {
                Some(session) => Rc::clone(session),
                None => Rc::clone(place.insert(Rc::new(Session::connect(target, settings, Access::Read).await?))),
            }
        };
        let mut tx = Tx::new(Engine::Postgres(session), None);
        Ok(attempt(job, &mut tx).await)
    }
}

/// Answers one read over a connection of its own, which sees one state of the database throughout.
pub(super) async fn snapshot(target: &PostgresTarget, settings: &Settings, mut job: Box<dyn Job>) {
    let once = async {
        let session = Rc::new(Session::connect(target, settings, Access::Read).await?);
        session.control("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let mut tx = Tx::new(Engine::Postgres(Rc::clone(&session)), None);
        Ok::<_, DbError>(attempt(job.as_mut(), &mut tx).await)
    };
    match once.await {
        Ok(attempt) => meter::finish(job, attempt),
        Err(error) => meter::answer(job, Some(error.given_up())),
    }
}

/// Milliseconds, as PostgreSQL's settings want them.
fn milliseconds(time: Duration) -> u128 {
    time.as_millis().max(1)
}
