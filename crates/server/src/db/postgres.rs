//! PostgreSQL: a few writers, each with one connection, in batches that share one COMMIT and go down the wire pipelined; a few readers.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::sync::mpsc::Receiver;

pub(super) use connect::connect;
pub(super) use reader::{read_all, read_replica, snapshot};
pub(super) use session::Session;

use super::error::DbError;
use super::job::{Attempt, Job, attempt};
use super::options::Settings;
use super::tx::{Engine, Tx};
use super::url::PostgresTarget;
use super::{backoff, instant, meter};

mod connect;
mod reader;
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
                    writer.alone(job, &error).await;
                }
            }
        }
    }
}

impl Writer {
    /// Runs the jobs inside one transaction of the database. An error means that none was committed, or that nobody knows.
    async fn together(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Vec<Attempt>, DbError> {
        let Some(deadline) = jobs.iter().map(|job| job.deadline()).max() else { return Ok(Vec::new()) };
        let limit = self.settings.attempt_until(deadline);
        let session = self.session().await?;
        // A COMMIT that waits for a standby that is missing ends here: nobody is told that it happened, and nothing cancels it. Its rows stay
        // locked, and so the same action, run again, waits for its outcome.
        let result = match tokio::time::timeout(limit, transaction(&session, jobs, &self.settings)).await {
            Ok(result) => result,
            Err(_) => Err(DbError::Lost("no answer in time".to_owned())),
        };
        // After a lost connection, or a server that is no longer the primary, nothing about this session can be relied on.
        if matches!(result, Err(DbError::Lost(_))) {
            self.session = None;
        }
        result
    }

    /// Runs one job until it succeeds, fails for good, or its time is up; `failure` is what the batch failed of.
    async fn alone(&mut self, mut job: Box<dyn Job>, failure: &DbError) {
        if job.abandoned() {
            return;
        }
        // While the database is away, those whose time is up wait no longer for those before them.
        if matches!(failure, DbError::Lost(_)) && instant() >= job.deadline() {
            return meter::answer(job, Some(failure.clone().given_up()));
        }
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
    let (begin, chains) = join(session.begin(), join_all(by_family(jobs).into_iter().map(|chain| run(session, chain, settings)))).await;
    begin?;

    let mut ran: Vec<Ran> = chains.into_iter().flatten().collect();
    ran.sort_by_key(|ran| ran.place);
    let committable = ran.iter().all(|ran| match ran.attempt {
        Attempt::Done => true,
        // It read and said no: what the others wrote can stand.
        Attempt::Refused => !ran.wrote,
        Attempt::Failed(_) => false,
    });
    if committable {
        let only_read = ran.iter().any(|ran| matches!(ran.attempt, Attempt::Done)) && !ran.iter().any(|ran| ran.changed);
        commit(session, settings, if only_read { COMMIT_WHAT_WAS_READ } else { "COMMIT" }).await?;
        return Ok(ran.into_iter().map(|ran| ran.attempt).collect());
    }
    session.control("ROLLBACK").await?;
    let lost = ran.iter().find_map(|ran| match &ran.attempt {
        Attempt::Failed(error) if single && !error.is_transient() => None,
        Attempt::Failed(error) => Some(error.clone()),
        _ => None,
    });
    match lost {
        Some(error) if matches!(error, DbError::Lost(_)) => Err(error),
        _ if !single => Err(DbError::Conflict("a batch")),
        Some(error) => Err(error),
        None => Ok(ran.into_iter().map(|ran| ran.attempt).collect()),
    }
}

/// A transaction that found its work done already answers as the first one would have, so what it read must be as durable as what it would
/// have written. A server that crashed while a COMMIT waited for the standby shows that COMMIT's rows to everybody before the standby has
/// them; and a transaction without changes waits for nothing. So it changes something: a message in the log that nobody reads.
const COMMIT_WHAT_WAS_READ: &str = "SELECT pg_logical_emit_message(true, 'counterfoil', ''); COMMIT";

async fn commit(session: &Session, settings: &Settings, sql: &str) -> Result<(), DbError> {
    let number = settings.faults.as_ref().map(|faults| faults.before_commit()).transpose()?;
    let began = instant();
    session.control(sql).await?;
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

/// What one job came to.
struct Ran {
    place: usize,
    attempt: Attempt,
    /// Whether it ran a statement that could change something.
    wrote: bool,
    /// Whether one did.
    changed: bool,
}

async fn run(session: &Rc<Session>, chain: Chain<'_>, settings: &Settings) -> Vec<Ran> {
    let mut ran = Vec::with_capacity(chain.len());
    for (place, job) in chain {
        let mut tx = Tx::new(Engine::Postgres(Rc::clone(session)), settings.faults.clone()).watched_by(&settings.watched);
        let attempt = attempt(job.as_mut(), &mut tx).await;
        ran.push(Ran { place, attempt, wrote: tx.wrote(), changed: tx.changed() });
    }
    ran
}

/// Milliseconds, as PostgreSQL's settings want them.
fn milliseconds(time: Duration) -> u128 {
    time.as_millis().max(1)
}
