//! The time of day as an argument, and the latest time that is known to have passed.

use counterfoil_core::Timestamp;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, as this device believes.
    fn now(&self) -> Timestamp;

    /// Since some moment of this program's life, which setting the clock does not change.
    fn passed(&self) -> Duration;
}

/// The device's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place where the terminal asks the system for the time")]
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            // A clock before 1970 is wrong, and the authority will say so.
            Err(_) => Timestamp(0),
        }
    }

    fn passed(&self) -> Duration {
        static BEGUN: OnceLock<Instant> = OnceLock::new();
        #[expect(clippy::disallowed_methods, reason = "the one place where the terminal asks the system how time passes")]
        let now = Instant::now();
        now.duration_since(*BEGUN.get_or_init(|| now))
    }
}

/// A clock that stands where it is put, for tests and for replaying what happened at a certain time.
#[derive(Debug)]
pub struct FixedClock {
    now: AtomicI64,
    passed: AtomicU64,
}

impl FixedClock {
    /// Stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { now: now.0.into(), passed: 0.into() }
    }

    /// Lets that much time pass, which it does not show.
    pub fn pass(&self, time: Duration) {
        self.passed.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Moves to `now`, forward or back.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn passed(&self) -> Duration {
        Duration::from_millis(self.passed.load(Ordering::SeqCst))
    }
}

/// The latest trusted time: what was seen before and what is seen now, whichever is later. It only goes forward, so that turning the
/// clock back stretches nothing (security.md); an authority's signed time is `seen`, the device's own clock is not trusted to raise it.
pub fn latest(before: Option<Timestamp>, seen: Timestamp) -> Timestamp {
    before.map_or(seen, |before| before.max(seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_time_only_goes_forward() {
        assert_eq!(latest(None, Timestamp(5)), Timestamp(5));
        assert_eq!(latest(Some(Timestamp(9)), Timestamp(5)), Timestamp(9));
        assert_eq!(latest(Some(Timestamp(9)), Timestamp(12)), Timestamp(12));
    }
}
