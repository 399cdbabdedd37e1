//! Faults on demand, for tests that fail the Nth statement for every N; no configuration reaches them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::DbError;

/// Where a write breaks. Counting starts at 0 when the fault is armed, over all write transactions of one `Db`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The Nth statement is not run and fails as a lost connection or a disk error does.
    Statement(u64),
    /// The Nth COMMIT is not run and fails; the transactions of its batch are rolled back.
    Commit(u64),
    /// The Nth COMMIT is run, and its answer is lost: the facade cannot know that it happened.
    CommitAnswer(u64),
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// The Nth, and none after it.
    Once,
    /// The Nth and all after it, until `disarm`.
    ForGood,
}

/// The faults of one `Db`: armed, watched and disarmed by a test that keeps its own handle.
#[derive(Debug, Default)]
pub struct Faults {
    armed: Mutex<Option<(Fault, Lasting)>>,
    statements: AtomicU64,
    commits: AtomicU64,
    fired: AtomicU64,
}

impl Faults {
    /// Arms one fault in place of any other, and starts counting anew.
    pub fn arm(&self, fault: Fault, lasting: Lasting) {
        let mut armed = self.armed();
        self.statements.store(0, Ordering::SeqCst);
        self.commits.store(0, Ordering::SeqCst);
        self.fired.store(0, Ordering::SeqCst);
        *armed = Some((fault, lasting));
    }

    /// Lets everything through again; the counts stay to be read.
    pub fn disarm(&self) {
        *self.armed() = None;
    }

    /// Statements of write transactions since the last `arm`, those that failed included.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::SeqCst)
    }

    /// How often a fault struck since the last `arm`: a test of "every N" ends where this stays 0.
    pub fn fired(&self) -> u64 {
        self.fired.load(Ordering::SeqCst)
    }

    pub(crate) fn before_statement(&self) -> Result<(), DbError> {
        let number = self.statements.fetch_add(1, Ordering::SeqCst);
        self.strike(|fault| matches!(fault, Fault::Statement(n) if n == number), |fault| matches!(fault, Fault::Statement(n) if n < number))
    }

    /// Counts a COMMIT; the number says to `after_commit` which one it was.
    pub(crate) fn before_commit(&self) -> Result<u64, DbError> {
        let number = self.commits.fetch_add(1, Ordering::SeqCst);
        self.strike(|fault| matches!(fault, Fault::Commit(n) if n == number), |fault| matches!(fault, Fault::Commit(n) if n < number))?;
        Ok(number)
    }

    pub(crate) fn after_commit(&self, number: u64) -> Result<(), DbError> {
        self.strike(
            |fault| matches!(fault, Fault::CommitAnswer(n) if n == number),
            |fault| matches!(fault, Fault::CommitAnswer(n) if n < number),
        )
    }

    fn strike(&self, now: impl Fn(Fault) -> bool, earlier: impl Fn(Fault) -> bool) -> Result<(), DbError> {
        let strikes = match *self.armed() {
            Some((fault, Lasting::Once)) => now(fault),
            Some((fault, Lasting::ForGood)) => now(fault) || earlier(fault),
            None => false,
        };
        if strikes {
            self.fired.fetch_add(1, Ordering::SeqCst);
            return Err(DbError::Lost("a fault was injected".to_owned()));
        }
        Ok(())
    }

    fn armed(&self) -> std::sync::MutexGuard<'_, Option<(Fault, Lasting)>> {
        self.armed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
