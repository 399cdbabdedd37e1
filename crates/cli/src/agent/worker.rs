//! Does one thing at a time: jobs, updates that are due, leases.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use counterfoil_core::wire::{Job, Work};
use counterfoil_core::{Code, Timestamp, TitleId};
use counterfoil_terminal::transport::{Pace, TransportError};
use counterfoil_terminal::{
    CardChoice, Carried, Contact, Error, Library, Terminal, acknowledge, carry_out, renew_all, renew_due, update_all,
};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::listener::{FIRST, LONGEST, Wake, backoff, jittered};
use super::reporter::Reporter;
use super::schedule::Schedule;
use super::state::Held;
use crate::context::Context;
use crate::failure::Failure;

/// How often leases are looked at.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// Which licenses: those that are due, or all.
type Renewal = fn(&Terminal, &Library, &CardChoice) -> Result<Vec<(TitleId, Contact)>, Error>;

/// Whether the authority has said that the device is none of the user's any more.
fn is_taken_out(error: &Error) -> bool {
    matches!(error, Error::Refused(refusal) if refusal.code == Code::DeviceNotRegistered)
}

/// Does one thing at a time.
pub struct Worker<'a> {
    pub context: &'a Context,
    pub terminal: &'a Terminal,
    pub library: &'a Library,
    pub card: &'a CardChoice,
    pub reporter: &'a Reporter,
    pub pace: &'a Pace,
    pub schedule: Option<Schedule>,
    /// Where in its period this device has its turn.
    pub spread: u8,
    /// Why nothing is downloaded.
    pub held: Cell<Option<Held>>,
    /// An update that failed is not tried again before.
    pub not_before: Cell<Timestamp>,
}

/// What is left of the jobs after all were tried.
#[derive(Default)]
struct Left {
    jobs: Vec<Job>,
    /// Why the last of them could not be done now.
    error: Option<Failure>,
    /// One was refused for good.
    refused: Option<Failure>,
}

impl Worker<'_> {
    /// Does what there is to do, and ends.
    pub fn once(&self) -> Result<(), Failure> {
        let mut jobs = acknowledge(self.terminal, self.library, self.card, vec![])?;
        let mut refused = None;
        loop {
            let left = self.work(jobs)?;
            refused = refused.or(left.refused);
            if let Some(error) = left.error {
                return Err(error);
            }
            // What waits because it is held waits for another time.
            if left.jobs.is_empty() || self.held.get().is_some() {
                break;
            }
            jobs = left.jobs;
        }
        self.renew(renew_due)?;
        self.update_if_due()?;
        refused.map_or(Ok(()), Err)
    }

    /// Works until interrupted, or until the device is none of the user's any more.
    pub fn forever(&self, woken: &Receiver<Wake>) -> Result<(), Failure> {
        let library = self.library.path().display().to_string();
        self.event("started", json!({ "library": self.library.path() }), || {
            format!("installing into {library}; interrupt (Ctrl-C) to end")
        })?;
        let (mut open, mut failures) = (Vec::new(), 0);
        self.renew(renew_due)?;
        loop {
            self.update_if_due()?;
            match woken.recv_timeout(self.patience(open.is_empty(), failures)) {
                Ok(Wake::Jobs(jobs)) => open = jobs,
                Ok(Wake::Held(held)) => self.hold(held)?,
                // It cannot be said whose jobs these would be, and what was licensed to this device is so no more.
                Ok(Wake::Lost(error)) if is_taken_out(&error) => {
                    self.renew(renew_all)?;
                    return Err(error.into());
                }
                Ok(Wake::Lost(error)) => {
                    self.event("lost", told(&error), || format!("waiting for the network: {error}"))?;
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => self.renew(renew_due)?,
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::operation("io", "nobody listens to the authority any more")),
            }
            let left = self.work(std::mem::take(&mut open))?;
            failures = if left.error.is_some() { failures + 1 } else { 0 };
            open = left.jobs;
        }
    }

    /// How long there is nothing to do, unless somebody says so.
    fn patience(&self, nothing_open: bool, failures: u32) -> Duration {
        let held = self.held.get().is_some();
        let patience = if nothing_open || held { LOOK } else { jittered(backoff(failures).max(FIRST * 15)) };
        match self.next_update().filter(|_| !held) {
            None => patience,
            Some(next) => {
                let left = next.max(self.not_before.get()).0.saturating_sub(self.terminal.clock().now().0);
                patience.min(Duration::from_millis(u64::try_from(left).unwrap_or(0)).max(FIRST))
            }
        }
    }

    fn hold(&self, held: Option<Held>) -> Result<(), Failure> {
        self.held.set(held);
        match held {
            Some(Held::Paused) => self.event("held", json!({ "why": "paused" }), || "paused; downloads wait".to_owned()),
            Some(Held::Hours) => {
                let until = self.reporter.state().held_until.map(crate::units::moment);
                let words = || format!("downloads wait until {}", until.as_deref().unwrap_or("later"));
                self.event("held", json!({ "why": "hours", "until": until }), words)
            }
            None => self.event("released", json!({}), || "downloads go on".to_owned()),
        }
    }

    /// Whether something failed because downloads are held back.
    fn is_held(&self, error: &Error) -> bool {
        let of_network = matches!(error, Error::Transport(_) | Error::Update(_));
        matches!(error, Error::Transport(TransportError::Held)) || (of_network && self.pace.is_held())
    }

    fn next_update(&self) -> Option<Timestamp> {
        let last = self.reporter.state().last_update?;
        Some(self.schedule?.next(last, self.spread, &TimeZone::system()))
    }

    /// Brings everything up to date, where its time has come.
    fn update_if_due(&self) -> Result<(), Failure> {
        let (Some(schedule), now) = (self.schedule, self.terminal.clock().now()) else { return Ok(()) };
        if self.reporter.state().last_update.is_none() && !schedule.begins_at_once() {
            // Its first turn is the next time that the hour strikes.
            self.updated(now);
        }
        let due = self.next_update().is_none_or(|next| next <= now);
        if !due || self.held.get().is_some() || self.not_before.get() > now {
            return Ok(());
        }
        let done = update_all(self.terminal, self.library, self.card, &|title, step| self.reporter.step(None, title, &step));
        self.reporter.idle();
        let all = match done {
            Ok(all) => all,
            Err(error) => {
                self.event("failed", told(&error), || format!("nothing could be updated: {error}; it is tried again"))?;
                self.later(now);
                return Ok(());
            }
        };
        let held = all.iter().any(|(_, carried)| carried.as_ref().is_err_and(|error| self.is_held(error)));
        for (title, carried) in &all {
            self.tell(title, carried)?;
        }
        if held {
            self.later(now);
        } else {
            self.updated(now);
        }
        Ok(())
    }

    /// It is over until the next turn.
    fn updated(&self, now: Timestamp) {
        self.reporter.change(|state| state.last_update = Some(now));
        let next = self.next_update();
        self.reporter.change(|state| state.next_update = next);
    }

    fn later(&self, now: Timestamp) {
        let pause = i64::try_from(jittered(LONGEST).as_millis()).unwrap_or(i64::MAX);
        self.not_before.set(Timestamp(now.0.saturating_add(pause)));
    }

    /// Tries every job once, and tells the authority of those that came to their end; gives what is open then.
    fn work(&self, jobs: Vec<Job>) -> Result<Left, Failure> {
        let mut left = Left::default();
        let mut done = Vec::new();
        for job in jobs {
            if self.held.get().is_some() && !matches!(job.work, Work::End { .. }) {
                left.jobs.push(job);
                continue;
            }
            let carried = self.carry_out(&job)?;
            self.reporter.idle();
            match carried {
                Ok(carried) => {
                    done.push(carried.done(&job));
                    if let Carried::Refused(error) = carried {
                        left.refused = Some(Failure::from(*error));
                    }
                }
                // It goes on when it is held no more, which is said.
                Err(error) if self.is_held(&error) => left.jobs.push(job),
                Err(error) => {
                    left.error = Some(error.into());
                    left.jobs.push(job);
                }
            }
        }
        if done.is_empty() {
            return Ok(left);
        }
        match acknowledge(self.terminal, self.library, self.card, done) {
            // Those that failed just now are among them.
            Ok(open) => left.jobs = open,
            // Done twice is done once: they come again.
            Err(error) => left.error = Some(error.into()),
        }
        Ok(left)
    }

    fn carry_out(&self, job: &Job) -> Result<Result<Carried, Error>, Failure> {
        let title = match &job.work {
            Work::Install { title, .. } => {
                self.event("installing", json!({ "title": title }), || format!("installing {title}"))?;
                title
            }
            Work::Update { title, .. } => {
                self.event("updating", json!({ "title": title }), || format!("updating {title}"))?;
                title
            }
            Work::End { title, .. } => title,
        };
        let progress = |step| self.reporter.step(Some(job.job_id), title, &step);
        let carried = carry_out(self.terminal, self.library, self.card, job, &progress);
        self.tell(title, &carried)?;
        Ok(carried)
    }

    fn tell(&self, title: &TitleId, carried: &Result<Carried, Error>) -> Result<(), Failure> {
        match carried {
            Ok(Carried::Installed { release, already }) => {
                let value = json!({ "title": title, "release": release, "already": already });
                self.event("installed", value, || format!("installed {title} {release}: run it with `counterfoil run {title}`"))
            }
            Ok(Carried::Updated(brought)) => {
                let value = json!({
                    "title": title, "from": brought.from, "to": brought.to, "way": brought.way, "fetched": brought.fetched,
                    "reused": brought.reused, "written": brought.written,
                });
                self.event("updated", value, || format!("updated {title} from {} to {}", brought.from, brought.to))
            }
            Ok(Carried::UpToDate(release)) => {
                self.event("up_to_date", json!({ "title": title, "release": release }), || format!("{title} {release} is up to date"))
            }
            Ok(Carried::Ended) => self.event("ended", json!({ "title": title }), || {
                format!("{title} runs here no more: its license was moved, given back or taken back. `counterfoil remove {title}` frees its space")
            }),
            Ok(Carried::Refused(error)) => self.event("refused", told_of(title, error), || format!("{title}: {error}")),
            Err(error) if self.is_held(error) => self.event("interrupted", told_of(title, error), || format!("{title}: goes on later")),
            Err(error) => self.event("failed", told_of(title, error), || format!("{title}: {error}; it is tried again")),
            Ok(_) => Ok(()),
        }
    }

    /// Renews licenses; silent where nobody can be reached.
    fn renew(&self, which: Renewal) -> Result<(), Failure> {
        for (title, contact) in which(self.terminal, self.library, self.card)? {
            match contact {
                Contact::Renewed => self.event("renewed", json!({ "title": title }), || format!("renewed the license of {title}"))?,
                Contact::Ended => self.event("ended", json!({ "title": title }), || format!("{title} runs here no more"))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn event(&self, name: &str, mut value: Value, words: impl FnOnce() -> String) -> Result<(), Failure> {
        value["event"] = json!(name);
        self.context.output.event(&value, words)
    }
}

fn told(error: &Error) -> Value {
    json!({ "code": error.code(), "message": error.to_string() })
}

fn told_of(title: &TitleId, error: &Error) -> Value {
    json!({ "title": title, "code": error.code(), "message": error.to_string() })
}
