//! What an agent leaves in the home for others to see and to say: whether it is paused, and what it does at the moment.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_core::{Timestamp, TitleId};
use counterfoil_terminal::Terminal;
use counterfoil_terminal::io::{Lock, read_small, replace};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// Longest of its files, in bytes.
const LONGEST: u64 = 64 * 1024;

/// What to have the agent of this device do.
#[derive(Subcommand, Debug)]
pub enum AgentCommand {
    /// Download nothing until `resume`; what is under way stops where it is
    Pause(Nothing),
    /// Go on after `pause`
    Resume(Nothing),
    /// Show whether an agent runs here, and what it does
    Status(Nothing),
}

/// No arguments.
#[derive(Args, Debug)]
pub struct Nothing {}

impl AgentCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let place = Place::of(&terminal);
        match self {
            Self::Pause(_) => place.set_paused(true)?,
            Self::Resume(_) => place.set_paused(false)?,
            Self::Status(_) => {}
        }
        let (running, paused, state) = (place.is_running()?, place.is_paused()?, place.state()?);
        let value = json!({
            "running": running, "paused": paused, "library": state.library, "held": state.held.filter(|_| running),
            "held_until": state.held_until.filter(|_| running).map(units::moment), "title": state.title.as_ref().filter(|_| running),
            "done": state.done.filter(|_| running), "total": state.total.filter(|_| running),
            "last_update": state.last_update.map(units::moment), "next_update": state.next_update.filter(|_| running).map(units::moment),
        });
        context.output.result(&value, || words(running, paused, &state))
    }
}

fn words(running: bool, paused: bool, state: &State) -> String {
    let mut words = String::new();
    words += if running { "an agent runs here\n" } else { "no agent runs here\n" };
    if paused {
        words += "paused: it downloads nothing until `counterfoil agent resume`\n";
    }
    if let (true, Some(Held::Hours), Some(until)) = (running, state.held, state.held_until) {
        words += &format!("downloads wait until {}\n", units::moment(until));
    }
    if let (true, Some(title)) = (running, &state.title) {
        words += &match (state.done, state.total) {
            (Some(done), Some(total)) => format!("working on {title}: {} of {}\n", units::bytes(done), units::bytes(total)),
            _ => format!("working on {title}\n"),
        };
    }
    for (name, at) in [("last", state.last_update), ("next", state.next_update.filter(|_| running))] {
        if let Some(at) = at {
            words += &format!("{name} update of everything: {}\n", units::moment(at));
        }
    }
    words
}

/// Why nothing is downloaded at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// `counterfoil agent pause`
    Paused,
    /// `--not-between`
    Hours,
}

/// `agent/state.json`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Where titles go.
    pub library: Option<PathBuf>,
    /// Why it waits.
    pub held: Option<Held>,
    /// Until when, where that is known.
    pub held_until: Option<Timestamp>,
    /// What is being installed or updated.
    pub title: Option<TitleId>,
    /// How far it is, in bytes.
    pub done: Option<u64>,
    /// The same, of how many.
    pub total: Option<u64>,
    /// When everything was brought up to date.
    pub last_update: Option<Timestamp>,
    /// When it will be again.
    pub next_update: Option<Timestamp>,
}

/// Where it lies.
pub struct Place<'a> {
    terminal: &'a Terminal,
    directory: PathBuf,
}

impl<'a> Place<'a> {
    /// In the home of a terminal.
    pub fn of(terminal: &'a Terminal) -> Self {
        Self { terminal, directory: terminal.home().path().join("agent") }
    }

    /// Makes this process the agent of its home, while the lock is held.
    ///
    /// # Errors
    /// Code `busy` where another one is.
    pub fn lock(&self) -> Result<Box<dyn Lock>, Failure> {
        let io = self.terminal.io();
        counterfoil_terminal::io::create_dirs(&**io, &self.directory, 0o700).map_err(counterfoil_terminal::Error::from)?;
        let path = self.directory.join("lock");
        io.lock(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => Failure::operation("busy", "another agent works for this home already")
                .hint("`counterfoil agent status` shows what it does."),
            _ => Failure::file("lock", &path, &error),
        })
    }

    fn is_running(&self) -> Result<bool, Failure> {
        match self.lock() {
            Ok(_) => Ok(false),
            Err(failure) if failure.code == "busy" => Ok(true),
            Err(failure) => Err(failure),
        }
    }

    /// Whether somebody wants nothing downloaded.
    pub fn is_paused(&self) -> Result<bool, Failure> {
        let path = self.directory.join("paused");
        Ok(read_small(&**self.terminal.io(), &path, LONGEST).map_err(counterfoil_terminal::Error::from)?.is_some())
    }

    fn set_paused(&self, paused: bool) -> Result<(), Failure> {
        let io = &**self.terminal.io();
        let path = self.directory.join("paused");
        if paused {
            counterfoil_terminal::io::create_dirs(io, &self.directory, 0o700).map_err(counterfoil_terminal::Error::from)?;
            return Ok(replace(io, &path, b"", 0o600).map_err(counterfoil_terminal::Error::from)?);
        }
        match io.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::file("remove", &path, &error)),
            _ => Ok(()),
        }
    }

    /// What the agent has written down last. One that cannot be read is none: it is for people to see.
    pub fn state(&self) -> Result<State, Failure> {
        let bytes =
            read_small(&**self.terminal.io(), &self.directory.join("state.json"), LONGEST).map_err(counterfoil_terminal::Error::from)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Writes it down.
    pub fn store(&self, state: &State) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(state).expect("paths, names and numbers");
        Ok(replace(&**self.terminal.io(), &self.directory.join("state.json"), &bytes, 0o600).map_err(counterfoil_terminal::Error::from)?)
    }
}
