//! `agent`: does by itself what comes into the device's inbox, brings titles up to date at its time, and renews leases (A2, A5, D9, D10).

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use clap::Args;
use counterfoil_core::Timestamp;
use counterfoil_terminal::transport::Pace;
use counterfoil_terminal::{CardChoice, Library, Terminal, default_library};
use jiff::tz::TimeZone;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use self::listener::{Listener, Wake};
use self::rate::Rate;
use self::reporter::Reporter;
use self::schedule::{Hours, Schedule};
use self::state::{AgentCommand, Held, Place, State};
use self::worker::Worker;
use crate::context::Context;
use crate::failure::Failure;

mod listener;
mod rate;
mod reporter;
mod schedule;
mod state;
mod worker;

/// How soon a pause is noticed.
const NOTICED: Duration = Duration::from_millis(500);

/// Install and update what is bought for this device or sent to it, by itself, until interrupted
///
/// Waits for what the authority has for this device to do, and does one thing at a time: installs and updates titles, notes that licenses have
/// ended, renews leases past their half. Other commands can be used meanwhile. Interrupted at any moment, it goes on the next time.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  counterfoil agent --library ~/Library
  counterfoil agent --update 03:30 --limit 2MB/s --not-between 08:00-18:00
  counterfoil agent --once --json      do what there is to do now, and end
  counterfoil agent pause              and `resume`, and `status`

As a service: docs/agent.md, with a systemd unit.")]
pub struct Agent {
    #[command(subcommand)]
    command: Option<AgentCommand>,
    /// Where titles are installed [default: the library used last]
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// Do what there is to do now, and end
    #[arg(long)]
    once: bool,
    /// Bring everything up to date `hourly`, `daily`, or every day at a time [default: only what is sent]
    #[arg(long, value_name = "WHEN")]
    update: Option<Schedule>,
    /// Download no faster than so many bytes a second, such as 2MB/s
    #[arg(long, value_name = "RATE")]
    limit: Option<Rate>,
    /// Download nothing in these hours, such as 08:00-18:00; may be given again
    #[arg(long, value_name = "HOURS")]
    not_between: Vec<Hours>,
    /// Use the keys in the device's own store
    #[arg(long)]
    no_card: bool,
}

impl Agent {
    /// Works until interrupted, or until there is nothing more to do.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(command) = self.command {
            return command.run(context);
        }
        let pace = Arc::new(Pace::new(self.limit.map(|limit| limit.0)));
        let mut terminal = context.terminal()?;
        terminal.set_pace(Arc::clone(&pace));
        let terminal = Arc::new(terminal);
        let path = match &self.library {
            Some(path) => path.clone(),
            None => default_library(&terminal)?
                .ok_or_else(|| Failure::usage("no library is known yet").hint("Say where titles go: `--library DIR`."))?,
        };
        let library = Library::create_or_open(&terminal, &path)?;
        let card = context.card_choice(self.no_card);
        let place = Place::of(&terminal);
        let _only = if self.once { None } else { Some(place.lock()?) };
        let reporter = Reporter::new(&terminal, State { library: Some(path.clone()), ..place.state()? });
        report(&terminal, &reporter, &path, &card)?;
        let gate =
            Gate { terminal: Arc::clone(&terminal), hours: self.not_between, pace: Arc::clone(&pace), reporter: Arc::clone(&reporter) };
        let held = gate.look()?;
        let spread = blake3::hash(terminal.device_id()?.as_bytes()).as_bytes()[0];
        let (held, not_before) = (Cell::new(held), Cell::new(Timestamp(0)));
        let worker = Worker {
            context,
            terminal: &terminal,
            library: &library,
            card: &card,
            reporter: &reporter,
            pace: &pace,
            schedule: self.update,
            spread,
            held,
            not_before,
        };
        if self.once {
            return worker.once();
        }
        end_on_signal(context)?;
        let (wake, woken) = mpsc::channel();
        let library = Library::open(&terminal, &path)?;
        let listener = Listener { terminal: Arc::clone(&terminal), library, card: card.clone(), wake: wake.clone() };
        // Both end with the process: they wait most of the time.
        std::thread::spawn(move || listener.listen());
        let first = worker.held.get();
        std::thread::spawn(move || gate.keep(first, &wake));
        worker.forever(&woken)
    }
}

/// Tells of progress in a thread of its own, which ends with the process.
fn report(terminal: &Arc<Terminal>, reporter: &Arc<Reporter>, path: &std::path::Path, card: &CardChoice) -> Result<(), Failure> {
    let (reporter, card, library) = (Arc::clone(reporter), card.clone(), Library::open(terminal, path)?);
    std::thread::spawn(move || reporter.tell_forever(&library, &card));
    Ok(())
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

/// Holds downloads back while somebody has said so, and in the hours in which nothing is to be downloaded.
struct Gate {
    terminal: Arc<Terminal>,
    hours: Vec<Hours>,
    pace: Arc<Pace>,
    reporter: Arc<Reporter>,
}

impl Gate {
    /// Whether they are held back now, which they are from here on, or not.
    fn look(&self) -> Result<Option<Held>, Failure> {
        let (now, zone) = (self.terminal.clock().now(), TimeZone::system());
        let until = self.hours.iter().filter_map(|hours| hours.until(now, &zone)).max();
        let held = if Place::of(&self.terminal).is_paused()? { Some(Held::Paused) } else { until.map(|_| Held::Hours) };
        self.pace.hold(held.is_some());
        let held_until = until.filter(|_| held == Some(Held::Hours));
        self.reporter.change(|state| (state.held, state.held_until) = (held, held_until));
        Ok(held)
    }

    fn keep(self, mut known: Option<Held>, wake: &Sender<Wake>) {
        loop {
            std::thread::sleep(NOTICED);
            // What cannot be read just now stays as it is.
            let Ok(held) = self.look() else { continue };
            if held != known && wake.send(Wake::Held(held)).is_err() {
                return;
            }
            known = held;
        }
    }
}
