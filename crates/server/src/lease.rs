//! Which of several processes does the jobs that only one may do: the rule of the lease, with time as an argument.
//!
//! The lease is a row that names its holder and counts its beats. No clocks are compared: each process measures durations on its own.
//! The holder moves the beat on every [`RENEW`]. Whoever has seen one and the same beat for [`TAKE`] takes the row, by an update that
//! changes nothing if the beat has moved. A holder leads only until [`STOP`] after it *began* its last renewal that succeeded, which is
//! before anybody can have seen that beat; so it has stopped before another can begin, as long as of two clocks none runs a quarter faster.

use std::time::Duration;

/// How often the holder renews.
pub const RENEW: Duration = Duration::from_secs(3);
/// How often everybody else looks.
pub const LOOK: Duration = Duration::from_secs(1);
/// How long a renewal is good for its holder.
pub const STOP: Duration = Duration::from_secs(8);
/// How long a beat must stand still before somebody else takes over.
pub const TAKE: Duration = Duration::from_secs(10);

/// The row as it stands in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Which process; nobody, where it was given back.
    pub holder: Option<String>,
    /// Grows with every change of the row.
    pub beat: i64,
}

/// What one process knows of the lease. Times are durations since any moment of its own.
#[derive(Clone, Debug)]
pub struct Candidate {
    me: String,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Somebody else's, as far as is known.
    Watching(Option<Seen>),
    /// The row names this process. `begun`: when the change was begun that made it so, or renewed it last; none, where that is not known.
    Holding { begun: Option<Duration> },
}

#[derive(Clone, Debug)]
struct Seen {
    lease: Option<Lease>,
    since: Duration,
    looked: Duration,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, for so long.
    Wait(Duration),
    /// Read the row, then [`Candidate::saw`].
    Look,
    /// Change the row if it is still this one (none: if there is none), then [`Candidate::won`] or [`Candidate::lost`].
    Take(Option<Lease>),
    /// Move the beat on if the row still names this process, then the same.
    Renew,
}

impl Candidate {
    /// A process under a name that no other has, and none had before.
    pub fn new(me: String) -> Self {
        Self { me, state: State::Watching(None) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.me
    }

    /// What to do at `now`.
    pub fn next(&self, now: Duration) -> Step {
        match &self.state {
            State::Holding { begun } => match begun.map(|begun| begun + RENEW) {
                Some(due) if now < due => Step::Wait(due - now),
                _ => Step::Renew,
            },
            State::Watching(None) => Step::Look,
            State::Watching(Some(Seen { lease, since, looked })) => {
                let free = lease.as_ref().is_none_or(|lease| lease.holder.is_none());
                if free || now >= *since + TAKE {
                    Step::Take(lease.clone())
                } else if now < *looked + LOOK {
                    Step::Wait(*looked + LOOK - now)
                } else {
                    Step::Look
                }
            }
        }
    }

    /// The row was read, and the answer came at `now`: what it shows was so at that time at the latest.
    pub fn saw(&mut self, lease: Option<Lease>, now: Duration) {
        if lease.as_ref().and_then(|lease| lease.holder.as_deref()) == Some(&self.me) {
            // A change whose answer was lost. It may be old, so it is renewed before it counts.
            self.state = State::Holding { begun: None };
            return;
        }
        let since = match &self.state {
            State::Watching(Some(seen)) if seen.lease == lease => seen.since,
            _ => now,
        };
        self.state = State::Watching(Some(Seen { lease, since, looked: now }));
    }

    /// A change that was begun at `begun` has taken effect. It counts from its beginning, however late the answer was.
    pub fn won(&mut self, begun: Duration) {
        self.state = State::Holding { begun: Some(begun) };
    }

    /// A change found another row than it needed.
    pub fn lost(&mut self) {
        self.state = State::Watching(None);
    }

    /// Until when this process leads, unless it renews before; none, where it does not.
    pub fn leads_until(&self) -> Option<Duration> {
        match self.state {
            State::Holding { begun } => begun.map(|begun| begun + STOP),
            State::Watching(_) => None,
        }
    }

    /// Whether it leads at `now`.
    pub fn leads(&self, now: Duration) -> bool {
        self.leads_until().is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests;
