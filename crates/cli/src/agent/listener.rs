//! Waits for what the authority has to do, in a thread of its own: by a stream, or by one poll after the other where none comes through.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use counterfoil_core::wire::Job;
use counterfoil_format::secret::{Random as _, SystemRandom};
use counterfoil_terminal::transport::TransportError;
use counterfoil_terminal::{CardChoice, Error, Library, Terminal, acknowledge, listen, poll};

use super::state::Held;

/// How often the authority is asked where it does not let anybody wait.
const ASK: Duration = Duration::from_secs(60);
/// Polls before a stream is tried again: some ten minutes.
const POLLS: usize = 24;
/// First and longest wait after something went wrong.
pub const FIRST: Duration = Duration::from_secs(1);
pub const LONGEST: Duration = Duration::from_secs(5 * 60);

/// What the worker is told.
pub enum Wake {
    /// The authority can be reached, and there is this to do.
    Jobs(Vec<Job>),
    /// It cannot.
    Lost(Error),
    /// Downloads wait from now on, or wait no more.
    Held(Option<Held>),
}

/// Waits for the authority.
pub struct Listener {
    pub terminal: Arc<Terminal>,
    pub library: Library,
    pub card: CardChoice,
    pub wake: Sender<Wake>,
}

impl Listener {
    /// Until nobody wants to know any more.
    pub fn listen(self) {
        let mut failures = 0;
        loop {
            let mut heard = false;
            let ended = listen(&self.terminal, &self.library, &self.card, &mut |jobs| {
                (failures, heard) = (0, true);
                match jobs.map(|jobs| self.wake.send(Wake::Jobs(jobs))) {
                    Some(Err(_)) => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            });
            let ended = match ended {
                // Something in between may gather what is streamed until there is more than ever comes.
                Err(Error::Transport(TransportError::Unreachable { .. } | TransportError::NoStream { .. })) if !heard => self.polls(),
                other => other,
            };
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

    /// One poll after the other, each of which the authority answers when there is something new.
    fn polls(&self) -> Result<(), Error> {
        let mut known: Option<String> = None;
        for _ in 0..POLLS {
            let (jobs, id) = poll(&self.terminal, &self.library, &self.card, known.as_deref())?;
            if known.as_ref() != Some(&id) && self.wake.send(Wake::Jobs(jobs)).is_err() {
                break;
            }
            known = Some(id);
            // Whatever the other side does, it is not asked without a rest.
            std::thread::sleep(jittered(FIRST));
        }
        Ok(())
    }

    fn ask_instead(&self) -> Duration {
        let told = acknowledge(&self.terminal, &self.library, &self.card, vec![]);
        // Nobody listens any more only where the agent ends.
        let _ = self.wake.send(told.map_or_else(Wake::Lost, Wake::Jobs));
        jittered(ASK)
    }
}

/// Doubles from try to try.
pub fn backoff(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(LONGEST)
}

/// Half of it to all of it, by chance: a thousand agents do not come back at once.
pub fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    SystemRandom.fill(&mut byte);
    pause / 2 + pause / 2 * u32::from(byte[0]) / 255
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
