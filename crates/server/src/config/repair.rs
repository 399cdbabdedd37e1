//! `[repair]`: how often devices and drives are exchanged, and how a lost card is replaced (C14, C15).

use counterfoil_core::rules::repair::Policy;
use serde::{Deserialize, Serialize};

/// `[repair]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Repair {
    /// Exchanges of devices and drives that an entry may have in any period.
    pub exchanges: u32,
    /// Length of a period, in days.
    pub period_days: u32,
    /// Hours from one exchange to the next.
    pub wait_hours: u32,
    /// Who decides on a new card for a lost one.
    pub reissue: Reissues,
    /// Hours that a request for one waits at least, where nobody has to decide.
    pub reissue_wait_hours: u32,
}

/// Who decides on new cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reissues {
    /// Somebody at a repair centre.
    Operator,
    /// Nobody: user ID and recovery code are enough.
    Automatic,
}

impl Default for Repair {
    fn default() -> Self {
        Self { exchanges: 3, period_days: 365, wait_hours: 0, reissue: Reissues::Operator, reissue_wait_hours: 0 }
    }
}

impl Repair {
    /// How often an entry may have something exchanged.
    pub fn policy(&self) -> Policy {
        Policy { exchanges: self.exchanges, period_days: self.period_days, wait_hours: self.wait_hours }
    }
}
