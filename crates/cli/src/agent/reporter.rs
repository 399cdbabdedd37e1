//! Tells how far the agent is: whoever sent the job, through the authority, and whoever asks on this device.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use counterfoil_core::wire::JobProgress;
use counterfoil_core::{JobId, TitleId};
use counterfoil_terminal::{CardChoice, Library, Step, Terminal, tell_progress};

use super::state::{Place, State};

/// Between two words to the authority.
const EVERY: Duration = Duration::from_secs(3);

/// What is being done, shared by those who do it and those who tell of it.
pub struct Reporter {
    terminal: Arc<Terminal>,
    state: Mutex<State>,
    at: Mutex<Option<At>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct At {
    job: Option<JobId>,
    title: TitleId,
    done: u64,
    total: u64,
}

impl Reporter {
    /// Of an agent that goes on from what an earlier one has written down.
    pub fn new(terminal: &Arc<Terminal>, state: State) -> Arc<Self> {
        let state = State { title: None, done: None, total: None, ..state };
        Arc::new(Self { terminal: Arc::clone(terminal), state: Mutex::new(state), at: Mutex::default() })
    }

    /// A step of what is done for a job, or unasked.
    pub fn step(&self, job: Option<JobId>, title: &TitleId, step: &Step) {
        if let Step::Bytes(at) = step {
            *lock(&self.at) = Some(At { job, title: title.clone(), done: at.done, total: at.total });
        }
    }

    /// Nothing is being done any more.
    pub fn idle(&self) {
        *lock(&self.at) = None;
        self.change(|state| (state.title, state.done, state.total) = (None, None, None));
    }

    /// What is written down.
    pub fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// Changes it. It is for people to see: an agent does not fail because it cannot be written.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        let before = state.clone();
        change(&mut state);
        if *state != before {
            let _ = Place::of(&self.terminal).store(&state);
        }
    }

    /// Tells every few seconds what has changed, for as long as the process lives.
    pub fn tell_forever(&self, library: &Library, card: &CardChoice) {
        let mut told = None;
        loop {
            std::thread::sleep(EVERY);
            let Some(at) = lock(&self.at).clone().filter(|at| told.as_ref() != Some(at)) else { continue };
            let (done, total) = (Some(at.done), Some(at.total));
            self.change(|state| (state.title, state.done, state.total) = (Some(at.title.clone()), done, total));
            if let Some(job_id) = at.job {
                // Where it cannot be told it is told later, or the end of it is.
                let _ = tell_progress(&self.terminal, library, card, JobProgress { job_id, done: at.done, total: at.total });
            }
            told = Some(at);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
