//! A moment, as the whole system writes it down.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, never local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Later than all others.
    pub const FOREVER: Timestamp = Timestamp(i64::MAX);

    /// Milliseconds in a day, the unit that policies are thought in.
    pub const DAY: i64 = 24 * 60 * 60 * 1000;

    /// How far two moments lie apart, in milliseconds, whichever comes first.
    pub fn distance(self, other: Timestamp) -> u64 {
        self.0.abs_diff(other.0)
    }

    /// Whole seconds, as JWT claims count them (RFC 7519 §2, NumericDate).
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}
