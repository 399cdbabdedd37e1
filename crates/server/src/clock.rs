//! Time and randomness as values, so that everything else takes them as arguments.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use counterfoil_core::{RequestId, Timestamp};
use counterfoil_format::secret::{Random, SystemRandom};

/// Tells the time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's.
    System,
    /// One that stands still until it is set, for tests.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now` until `set`.
    pub fn fixed(now: Timestamp) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(now.0)))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp(jiff_now()),
            Self::Fixed(at) => Timestamp(at.load(Ordering::SeqCst)),
        }
    }

    /// Sets a fixed clock; the system's is left alone.
    pub fn set(&self, now: Timestamp) {
        if let Self::Fixed(at) = self {
            at.store(now.0, Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of the server that asks the system for the time")]
fn jiff_now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Time since any moment of this host's own, to measure durations by; it goes on while the host is suspended. It never reaches a row.
pub fn monotonic() -> Duration {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Neither is ever negative on a clock that begins at zero.
    Duration::new(since.tv_sec.unsigned_abs(), u32::try_from(since.tv_nsec).unwrap_or(0))
}

/// Makes random bytes; clone it to use it.
#[derive(Clone)]
pub enum Rng {
    /// The system's generator.
    System,
    /// The same bytes every time, for tests.
    Seeded(Arc<Mutex<Seeded>>),
}

/// A stream of bytes that a seed determines.
pub struct Seeded(blake3::OutputReader);

impl Rng {
    /// A generator that gives the same bytes for the same seed.
    pub fn seeded(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026-01 randomness of tests");
        hasher.update(&seed.to_be_bytes());
        Self::Seeded(Arc::new(Mutex::new(Seeded(hasher.finalize_xof()))))
    }

    /// `N` random bytes that are not secret, such as those of an ID.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.clone().fill(&mut bytes);
        bytes
    }

    /// A UUIDv7 (RFC 9562 §5.7) of `now`.
    pub fn request_id(&self, now: Timestamp) -> RequestId {
        // A clock before 1970 gives the IDs of 1970: they need only be unique.
        let milliseconds = now.0.try_into().unwrap_or(0);
        RequestId(uuid::Builder::from_unix_timestamp_millis(milliseconds, &self.bytes()).into_uuid())
    }
}

impl Random for Rng {
    fn fill(&mut self, into: &mut [u8]) {
        match self {
            Self::System => SystemRandom.fill(into),
            Self::Seeded(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).0.fill(into),
        }
    }
}

/// A moment as it is written in JSON for people's programs: RFC 3339, UTC.
pub fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |at| at.to_string())
}
