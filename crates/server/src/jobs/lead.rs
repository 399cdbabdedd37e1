//! Starts and stops the jobs that only one process at a time does: the rule of the lease, with the database and a clock around it.
//!
//! On SQLite all processes are on one host, and the kernel knows who lives: there the lease is a lock on a file beside the database, which
//! is free the moment its holder has died. So a server that was killed and started again does its jobs at once.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::app::App;
use crate::clock::monotonic;
use crate::db::{Db, DbError};
use crate::lease::{Candidate, LOOK, Lease, RENEW, Step};
use crate::store::lease::{self, FAMILY, JOBS};

/// How long a process that ends waits until its lease is given back; whoever comes next then waits a little longer.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whether this process leads, and until when it does so unless it renews. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lead(watch::Sender<Option<Duration>>);

impl Default for Lead {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Lead {
    /// Whether this process leads right now. To be asked before every step of a job: a process can stand still at any moment, for any time.
    pub fn holds(&self) -> bool {
        self.0.borrow().is_some_and(|until| monotonic() < until)
    }

    /// Returns once this process leads.
    pub async fn leading(&self) {
        let mut changes = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = changes.wait_for(|until| until.is_some_and(|until| monotonic() < until)).await;
    }

    fn set(&self, until: Option<Duration>) {
        self.0.send_replace(until);
        metrics::gauge!("counterfoil_leads").set(if self.holds() { 1.0 } else { 0.0 });
    }
}

/// Keeps the lease where it can be had, until told to stop: then the jobs have ended and the lease is free.
pub async fn keep(app: App, work: fn(&App) -> JoinSet<()>, mut stop: oneshot::Receiver<()>) {
    let name = process_name(&app);
    let mut term = Term { app: app.clone(), name: name.clone(), work, jobs: None };
    match app.db.url().file() {
        Some(database) => on_file(&mut term, lock_of(database), stop).await,
        None => {
            let mut candidate = Candidate::new(name);
            let mut failing = false;
            loop {
                term.follow(candidate.leads_until());
                let step = candidate.next(monotonic());
                tokio::select! {
                    biased;
                    _ = &mut stop => break,
                    // A renewal that hangs is left to itself: what it changes late harms nobody.
                    () = until(candidate.leads_until()) => {}
                    () = advance(&app, &mut candidate, step, &mut failing) => {}
                }
            }
        }
    }
    term.end().await;
}

/// One step, with the time of its beginning where it counts.
async fn advance(app: &App, candidate: &mut Candidate, step: Step, failing: &mut bool) {
    let begun = monotonic();
    let me = candidate.name().to_owned();
    let changed = match step {
        Step::Wait(time) => return tokio::time::sleep(time).await,
        Step::Look => app.db.read("look at lease", async |tx| lease::find(tx, JOBS).await).await.map(|seen| {
            candidate.saw(seen, monotonic());
            None
        }),
        Step::Take(seen) => {
            let take = app.db.write("take lease", FAMILY, async move |tx| lease::take(tx, JOBS, seen.as_ref(), &me).await);
            take.await.map(Some)
        }
        Step::Renew => app.db.write("renew lease", FAMILY, async move |tx| lease::renew(tx, JOBS, &me).await).await.map(Some),
    };
    match changed {
        Ok(Some(true)) => candidate.won(begun),
        Ok(Some(false)) => candidate.lost(),
        Ok(None) => {}
        Err(error) => {
            // Once, and not every second.
            if !std::mem::replace(failing, true) {
                tracing::warn!(%error, "the lease of the jobs cannot be read or written");
            }
            return tokio::time::sleep(LOOK).await;
        }
    }
    *failing = false;
}

/// Returns at that moment; where there is none, never.
async fn until(moment: Option<Duration>) {
    match moment.map(|moment| moment.saturating_sub(monotonic())) {
        Some(Duration::ZERO) | None => std::future::pending().await,
        Some(left) => tokio::time::sleep(left).await,
    }
}

/// SQLite: leads while it has the lock.
async fn on_file(term: &mut Term, path: PathBuf, mut stop: oneshot::Receiver<()>) {
    let mut failing = false;
    let _lock = loop {
        match lock(&path) {
            Ok(Some(lock)) => break lock,
            Ok(None) => {}
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(path = %path.display(), %error, "no jobs are done: the file cannot be locked");
                }
            }
        }
        tokio::select! {
            _ = &mut stop => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    };
    // For people who ask; it decides nothing.
    let name = term.name.clone();
    let named = term.app.db.write("take lease", FAMILY, async move |tx| lease::seize(tx, JOBS, &name).await).await;
    if let Err(error) = named {
        tracing::warn!(%error, "who does the jobs could not be noted");
    }
    term.follow(Some(Duration::MAX));
    let _ = stop.await;
    term.end().await;
}

/// The file beside an SQLite database that its leader holds the lock of.
fn lock_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".jobs");
    path.into()
}

/// Whether whoever is noted as holder still lives: it has the lock beside an SQLite database, or moves the beat on within a renewal's time.
///
/// # Errors
/// A failure of the database.
pub async fn shows_life(db: &Db, seen: &Lease) -> Result<bool, DbError> {
    if let Some(database) = db.url().file() {
        return Ok(lock(&lock_of(database)).is_ok_and(|lock| lock.is_none()));
    }
    let patience = monotonic() + RENEW + LOOK;
    while monotonic() < patience {
        tokio::time::sleep(LOOK / 4).await;
        let now = db.read("look at lease", async |tx| lease::find(tx, JOBS).await).await?;
        if now.as_ref() != Some(seen) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock(path: &PathBuf) -> std::io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The jobs of a process while it leads.
struct Term {
    app: App,
    name: String,
    work: fn(&App) -> JoinSet<()>,
    jobs: Option<JoinSet<()>>,
}

impl Term {
    /// Starts the jobs or stops them, as the lease has it.
    fn follow(&mut self, until: Option<Duration>) {
        self.app.lead.set(until);
        match (self.app.lead.holds(), self.jobs.is_some()) {
            (true, false) => {
                tracing::info!(holder = self.name, "leads: does the jobs from now on");
                self.jobs = Some((self.work)(&self.app));
            }
            (false, true) => {
                tracing::warn!(holder = self.name, "leads no more: another process does the jobs, or the database is away");
                self.jobs = None;
            }
            _ => {}
        }
    }

    /// Ends the jobs, then gives the lease back.
    async fn end(&mut self) {
        self.app.lead.set(None);
        let Some(mut jobs) = self.jobs.take() else { return };
        jobs.shutdown().await;
        let name = self.name.clone();
        let released = self.app.db.write("release lease", FAMILY, async move |tx| lease::release(tx, JOBS, &name).await);
        match tokio::time::timeout(FAREWELL, released).await {
            Ok(Ok(_)) => tracing::info!(holder = self.name, "gave the lease of the jobs back"),
            Ok(Err(error)) => warn(&error),
            Err(_) => warn(&DbError::Unavailable("no answer".to_owned())),
        }
    }
}

fn warn(error: &DbError) {
    tracing::warn!(%error, "the lease of the jobs could not be given back: another process takes it over in a few seconds");
}

/// Names this process among all that are and were: host, number, and something random.
fn process_name(app: &App) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let random = u32::from_be_bytes(app.rng.bytes());
    format!("{host}/{}/{random:08x}", std::process::id())
}
