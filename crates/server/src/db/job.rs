//! A transaction on its way: the action, what it answered last, and who waits for it.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;

use super::FamilyKey;
use super::error::DbError;
use super::tx::Tx;

/// What one attempt at an action came to.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The action answered; commit.
    Done,
    /// The action said no; roll its work back.
    Refused,
    /// A statement failed, or the action itself did; roll its work back.
    Failed(DbError),
}

/// An action without its types, so that different ones wait in one queue. It is sent to the writer's thread once and never leaves it.
pub(super) trait Job: Send {
    fn name(&self) -> &'static str;
    fn family(&self) -> &FamilyKey;
    fn deadline(&self) -> Instant;
    /// Whether nobody waits any more; then a job that was not begun need not be.
    fn abandoned(&self) -> bool;
    /// Runs the action from the start; true when it answered `Ok`.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> LocalBoxFuture<'a, bool>;
    /// Tells the one who waits: the failure, or what the last run answered.
    fn answer(self: Box<Self>, failure: Option<DbError>);
}

pub(super) struct Action<F, T, E> {
    pub(super) name: &'static str,
    pub(super) family: FamilyKey,
    pub(super) deadline: Instant,
    pub(super) action: F,
    pub(super) result: Option<Result<T, E>>,
    pub(super) waiting: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Action<F, T, E>
where
    F: AsyncFn(&mut Tx) -> Result<T, E> + Send,
    T: Send,
    E: From<DbError> + Send,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn family(&self) -> &FamilyKey {
        &self.family
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn abandoned(&self) -> bool {
        self.waiting.is_closed()
    }

    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> LocalBoxFuture<'a, bool> {
        let Self { action, result, .. } = self;
        Box::pin(async move {
            *result = None;
            let answer = action(tx).await;
            let ok = answer.is_ok();
            *result = Some(answer);
            ok
        })
    }

    fn answer(self: Box<Self>, failure: Option<DbError>) {
        let Self { name, result, waiting, .. } = *self;
        let answer = match (failure, result) {
            (None, Some(answer)) => answer,
            (Some(failure), _) => Err(E::from(failure)),
            (None, None) => Err(E::from(DbError::Unavailable(format!("transaction {name:?} was not run")))),
        };
        // Whoever asked may have gone; the outcome is in the database.
        let _ = waiting.send(answer);
    }
}

/// Runs the action once. Never waits for anything but the database, and survives a panic.
pub(super) async fn attempt(job: &mut dyn Job, tx: &mut Tx) -> Attempt {
    let name = job.name();
    let waiting = tx.waiting();
    waiting.set(false);
    let outcome = {
        let mut running = pin!(AssertUnwindSafe(job.run(tx)).catch_unwind());
        poll_fn(|context| match running.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(result.map_err(|_| DbError::Panicked(name))),
            // No statement is under way, so nothing that the facade knows of would ever wake this action.
            Poll::Pending if !waiting.get() => Poll::Ready(Err(DbError::Stalled(name))),
            Poll::Pending => Poll::Pending,
        })
        .await
    };
    match outcome {
        Err(failure) => Attempt::Failed(failure),
        Ok(ok) => match tx.take_failure() {
            Some(failure) => Attempt::Failed(failure),
            // A statement was dropped half-way, so its outcome is not known: COMMIT might quietly roll everything back.
            None if waiting.get() => Attempt::Failed(DbError::Stalled(name)),
            None if ok => Attempt::Done,
            None => Attempt::Refused,
        },
    }
}
