//! Progress of whatever takes longer than a second: how much, rate and time left; a bar on a terminal, a line every few seconds in a log.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;
use crate::units;

/// Before this nothing is shown: most commands are done by then.
const SILENT_FIRST: Duration = Duration::from_secs(1);
/// Between lines in a log.
const LINE_EVERY: Duration = Duration::from_secs(5);

const TEMPLATE: &str = "{prefix} [{bar:30}] {msg}";

/// One running figure; shared by the threads that do the work.
pub struct Progress {
    verb: &'static str,
    unit: Unit,
    shape: Shape,
    state: Mutex<State>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, in units that fit.
    Bytes,
    /// Media.
    Media,
    /// Devices.
    Devices,
    /// Lines of a file.
    Lines,
}

impl Unit {
    fn words(self, count: u64) -> String {
        match self {
            Unit::Bytes => units::bytes(count),
            Unit::Media => units::count(count, "medium", "media"),
            Unit::Devices => units::count(count, "device", "devices"),
            Unit::Lines => units::count(count, "line", "lines"),
        }
    }
}

enum Shape {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

struct State {
    started: Instant,
    last_line: Option<Instant>,
    done: u64,
    total: u64,
    /// Where the work began: what was there already makes no rate.
    first: Option<u64>,
}

impl Progress {
    /// For work on bytes named by `verb` ("copied"), nothing of it known yet.
    pub fn new(output: &Output, verb: &'static str) -> Self {
        Self::counting(output, verb, Unit::Bytes)
    }

    /// For work that is counted otherwise.
    pub fn counting(output: &Output, verb: &'static str, unit: Unit) -> Self {
        let shape = if output.json || output.quiet {
            Shape::Nothing
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template(TEMPLATE);
            bar.set_style(style.expect("the template is fixed and tested").progress_chars("=> "));
            bar.set_prefix(verb);
            Shape::Bar(bar)
        } else {
            Shape::Lines
        };
        let state = State { started: now(), last_line: None, done: 0, total: 0, first: None };
        Self { verb, unit, shape, state: Mutex::new(state) }
    }

    /// Says how far the work is, in bytes.
    pub fn at(&self, done: u64, total: u64) {
        let mut state = self.lock();
        state.first.get_or_insert(done);
        (state.done, state.total) = (done, total);
        self.show(&mut state);
    }

    /// Says how many more bytes are done.
    pub fn add(&self, bytes: u64) {
        let mut state = self.lock();
        state.first.get_or_insert(0);
        state.done += bytes;
        self.show(&mut state);
    }

    /// Says how much there is to do.
    pub fn of(&self, total: u64) {
        self.lock().total = total;
    }

    /// Clears the bar, so that the result stands alone.
    pub fn finish(&self) {
        if let Shape::Bar(bar) = &self.shape {
            bar.finish_and_clear();
        }
    }

    fn show(&self, state: &mut State) {
        let now = now();
        let elapsed = now - state.started;
        if elapsed < SILENT_FIRST {
            return;
        }
        match &self.shape {
            Shape::Nothing => {}
            Shape::Bar(bar) => {
                bar.set_length(state.total.max(state.done));
                bar.set_position(state.done);
                bar.set_message(self.words(state, elapsed));
            }
            Shape::Lines => {
                if state.last_line.is_some_and(|last| now - last < LINE_EVERY) {
                    return;
                }
                state.last_line = Some(now);
                let _ = writeln!(std::io::stderr().lock(), "{} {}", self.verb, self.words(state, elapsed));
            }
        }
    }

    /// "8.4 MB of 1.0 GB, 84.1 MB/s, 12 s left"
    fn words(&self, state: &State, elapsed: Duration) -> String {
        let (done, total) = (self.unit.words(state.done), self.unit.words(state.total.max(state.done)));
        format!("{done} of {total}, {}", pace(self.unit, state, elapsed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// "84.1 MB/s, 12 s left"
fn pace(unit: Unit, state: &State, elapsed: Duration) -> String {
    let moved = state.done.saturating_sub(state.first.unwrap_or(0));
    let rate = moved as f64 / elapsed.as_secs_f64().max(0.001);
    let left = state.total.saturating_sub(state.done);
    if rate < 1.0 || left == 0 {
        return format!("{}/s", unit.words(rate as u64));
    }
    format!("{}/s, {} left", unit.words(rate as u64), units::duration((left as f64 / rate).ceil() as u64))
}

#[expect(clippy::disallowed_methods, reason = "how long something takes is shown, and decides nothing")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_already_makes_no_rate() {
        let state = State { started: now(), last_line: None, done: 900, total: 1000, first: Some(800) };
        assert_eq!(pace(Unit::Bytes, &state, Duration::from_secs(10)), "10 bytes/s, 10 s left");
        let done = State { done: 1000, ..state };
        assert_eq!(pace(Unit::Media, &done, Duration::from_secs(10)), "20 media/s");
    }

    #[test]
    fn the_bar_has_a_valid_template() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
