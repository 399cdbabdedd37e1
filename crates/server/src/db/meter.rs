//! What the facade counts: for Prometheus by `metrics`, and a few plain figures for tests and `doctor`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::error::DbError;
use super::instant;
use super::job::{Attempt, Job};

/// Figures since this `Db` was opened.
#[derive(Debug, Default)]
pub struct Statistics {
    commits: AtomicU64,
}

impl Statistics {
    /// COMMITs of write transactions; group commit makes them fewer than the transactions.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn batch(transactions: usize) {
    metrics::histogram!("counterfoil_db_batch_transactions").record(transactions as f64);
}

pub(super) fn commit(began: Instant) {
    metrics::histogram!("counterfoil_db_commit_seconds").record(instant().duration_since(began));
}

pub(super) fn retry(name: &'static str) {
    metrics::counter!("counterfoil_db_retries_total", "name" => name).increment(1);
}

/// Counts a read that might have lagged, and was asked at the primary after all.
pub(super) fn asked_primary(reason: &'static str) {
    metrics::counter!("counterfoil_db_replica_fallbacks_total", "reason" => reason).increment(1);
}

/// Counts and answers a job whose transaction has ended.
pub(super) fn finish(job: Box<dyn Job>, attempt: Attempt) {
    match attempt {
        Attempt::Done => {
            count(job.name(), "done");
            job.answer(None);
        }
        Attempt::Refused => {
            count(job.name(), "refused");
            job.answer(None);
        }
        Attempt::Failed(error) => answer(job, Some(error)),
    }
}

/// Counts and answers a job that failed.
pub(super) fn answer(job: Box<dyn Job>, failure: Option<DbError>) {
    count(job.name(), if failure.as_ref().is_some_and(DbError::try_later) { "unavailable" } else { "failed" });
    if let Some(error @ (DbError::Panicked(_) | DbError::Stalled(_) | DbError::Statement { .. } | DbError::Column { .. })) = &failure {
        tracing::error!(%error, transaction = job.name(), "a bug in a transaction");
    }
    job.answer(failure);
}

/// Counts a job that was never taken up.
pub(super) fn overloaded(name: &'static str) {
    count(name, "overloaded");
}

fn count(name: &'static str, outcome: &'static str) {
    metrics::counter!("counterfoil_db_transactions_total", "name" => name, "outcome" => outcome).increment(1);
}
