//! `agent`: does by itself what comes into the device's inbox: installs what was bought for it or moved to it, ends what was moved away, and
//! renews leases (D9, D10).

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use clap::Args;
use counterfoil_core::Code;
use counterfoil_core::wire::{Job, Work};
use counterfoil_format::secret::{Random as _, SystemRandom};
use counterfoil_terminal::transport::TransportError;
use counterfoil_terminal::{
    CardChoice, Carried, Contact, Error, Library, Terminal, acknowledge, carry_out, default_library, listen, renew_all, renew_due,
};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::context::Context;
use crate::failure::Failure;

/// How often leases are looked at.
const LOOK: Duration = Duration::from_secs(60 * 60);
/// How often the authority is asked where it sends no stream.
const ASK: Duration = Duration::from_secs(60);
/// First and longest wait after something went wrong.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Install what is bought for this device or moved to it, by itself, until interrupted
///
/// Waits for what the authority has for this device to do, and does one thing at a time: installs titles, notes that licenses have ended,
/// renews leases past their half. Other commands can be used meanwhile. Interrupted at any moment, it goes on the next time.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil agent --library ~/Library
  counterfoil agent --once --json      do what there is to do now, and end

As a service: docs/licenses.md has a systemd unit.")]
pub struct Agent {
    /// Where titles are installed [default: the library used last]
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// Do what there is to do now, and end
    #[arg(long)]
    once: bool,
    /// Use the keys in the device's own store
    #[arg(long)]
    no_card: bool,
}

impl Agent {
    /// Works until interrupted, or until there is nothing more to do.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = Arc::new(context.terminal()?);
        let path = match &self.library {
            Some(path) => path.clone(),
            None => default_library(&terminal)?
                .ok_or_else(|| Failure::usage("no library is known yet").hint("Say where titles go: `--library DIR`."))?,
        };
        let library = Library::create_or_open(&terminal, &path)?;
        let card = context.card_choice(self.no_card);
        let worker = Worker { context, terminal: &terminal, library: &library, card: &card };
        if self.once {
            return worker.once();
        }
        end_on_signal(context)?;
        let (wake, woken) = mpsc::channel();
        let listener = Listener { terminal: Arc::clone(&terminal), library: Library::open(&terminal, &path)?, card: card.clone(), wake };
        // It ends with the process: it waits for the network most of the time.
        std::thread::spawn(move || listener.listen());
        worker.forever(&woken)
    }
}

/// Every step can be repeated, so there is nothing to wait for.
fn end_on_signal(context: &Context) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| Failure::operation("io", format!("cannot wait: {error}")))?;
    let output = context.output;
    std::thread::spawn(move || {
        signals.forever().next();
        let _ = output.event(&json!({ "event": "stopped" }), || "stopped; what was begun goes on the next time".to_owned());
        std::process::exit(0);
    });
    Ok(())
}

/// What the listener tells the worker.
enum Wake {
    /// The authority can be reached, and there is this to do.
    Jobs(Vec<Job>),
    /// It cannot.
    Lost(Error),
}

/// Waits for the authority, in a thread of its own.
struct Listener {
    terminal: Arc<Terminal>,
    library: Library,
    card: CardChoice,
    wake: Sender<Wake>,
}

impl Listener {
    fn listen(self) {
        let mut failures = 0;
        loop {
            let ended = listen(&self.terminal, &self.library, &self.card, &mut |jobs| {
                failures = 0;
                match jobs.map(|jobs| self.wake.send(Wake::Jobs(jobs))) {
                    Some(Err(_)) => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            });
            let pause = match ended {
                Err(Error::Transport(TransportError::NoStream { .. })) => self.ask_instead(),
                Err(Error::Transport(TransportError::Later { after, .. })) => jittered(after.clamp(FIRST, LONGEST)),
                other => {
                    failures += 1;
                    // A server that ends the stream in order is being restarted, or spreads its load.
                    if let Err(error) = other
                        && self.wake.send(Wake::Lost(error)).is_err()
                    {
                        return;
                    }
                    jittered(backoff(failures))
                }
            };
            std::thread::sleep(pause);
        }
    }

    fn ask_instead(&self) -> Duration {
        let told = acknowledge(&self.terminal, &self.library, &self.card, vec![]);
        let _ = self.wake.send(told.map_or_else(Wake::Lost, Wake::Jobs));
        jittered(ASK)
    }
}

/// Which licenses: those that are due, or all.
type Renewal = fn(&Terminal, &Library, &CardChoice) -> Result<Vec<(counterfoil_core::TitleId, Contact)>, Error>;

/// Whether the authority has said that the device is none of the user's any more.
fn is_taken_out(error: &Error) -> bool {
    matches!(error, Error::Refused(refusal) if refusal.code == Code::DeviceNotRegistered)
}

/// Doubles from try to try.
fn backoff(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(LONGEST)
}

/// Half of it to all of it, by chance: a thousand agents do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    SystemRandom.fill(&mut byte);
    pause / 2 + pause / 2 * u32::from(byte[0]) / 255
}

/// Does one thing at a time.
struct Worker<'a> {
    context: &'a Context,
    terminal: &'a Terminal,
    library: &'a Library,
    card: &'a CardChoice,
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
    fn once(&self) -> Result<(), Failure> {
        let mut jobs = acknowledge(self.terminal, self.library, self.card, vec![])?;
        let mut refused = None;
        loop {
            let left = self.work(jobs)?;
            refused = refused.or(left.refused);
            if let Some(error) = left.error {
                return Err(error);
            }
            if left.jobs.is_empty() {
                break;
            }
            jobs = left.jobs;
        }
        self.renew(renew_due)?;
        refused.map_or(Ok(()), Err)
    }

    fn forever(&self, woken: &mpsc::Receiver<Wake>) -> Result<(), Failure> {
        let library = self.library.path().display().to_string();
        self.event("started", json!({ "library": self.library.path() }), || {
            format!("installing into {library}; interrupt (Ctrl-C) to end")
        })?;
        let (mut open, mut failures) = (Vec::new(), 0);
        self.renew(renew_due)?;
        loop {
            let patience = if open.is_empty() { LOOK } else { jittered(backoff(failures).max(FIRST * 15)) };
            match woken.recv_timeout(patience) {
                Ok(Wake::Jobs(jobs)) => open = jobs,
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

    /// Tries every job once, and tells the authority of those that came to their end; gives what is open then.
    fn work(&self, jobs: Vec<Job>) -> Result<Left, Failure> {
        let mut left = Left::default();
        let mut done = Vec::new();
        for job in jobs {
            match self.carry_out(&job)? {
                Ok(carried) => {
                    done.push(carried.done(&job));
                    if let Carried::Refused(error) = carried {
                        left.refused = Some(Failure::from(*error));
                    }
                }
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
            Work::End { title, .. } | Work::Update { title, .. } => title,
        };
        let carried = carry_out(self.terminal, self.library, self.card, job, &|_| {});
        match &carried {
            Ok(Carried::Installed { release, already }) => {
                let value = json!({ "title": title, "release": release, "already": already });
                self.event("installed", value, || format!("installed {title} {release}: run it with `counterfoil run {title}`"))?;
            }
            Ok(Carried::Ended) => self.event("ended", json!({ "title": title }), || {
                format!("{title} runs here no more: its license was moved, given back or taken back. `counterfoil remove {title}` frees its space")
            })?,
            Ok(Carried::Refused(error)) => self.event("refused", told_of(title, error), || format!("{title}: {error}"))?,
            Err(error) => self.event("failed", told_of(title, error), || format!("{title}: {error}; it is tried again"))?,
            Ok(_) => {}
        }
        Ok(carried)
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

fn told_of(title: &counterfoil_core::TitleId, error: &Error) -> Value {
    json!({ "title": title, "code": error.code(), "message": error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_limit_and_are_spread() {
        let pauses: Vec<u64> = [1, 2, 3, 9, 10, 1000].map(|failures| backoff(failures).as_secs()).to_vec();
        assert_eq!(pauses, [1, 2, 4, 256, 300, 300]);
        let spread: std::collections::BTreeSet<Duration> = (0..100).map(|_| jittered(LONGEST)).collect();
        assert!(spread.len() > 10 && spread.iter().all(|pause| (LONGEST / 2..=LONGEST).contains(pause)));
    }
}
