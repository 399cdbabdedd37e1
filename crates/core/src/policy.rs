//! What a purchase of a title allows: set for each title, and kept with the entitlement as it was when it was bought.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod words;

/// What becomes of a device that a title is moved away from (D8, D10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceDevice {
    /// It stays one of the user's devices, and cannot run the title any more.
    #[default]
    Kept,
    /// It is taken out of the user entry, and can neither run nor order anything (D10). Only everything on it can be moved.
    Deregistered,
}

/// The terms of a title. What is absent in a document has the default below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Devices that may run it at once by one order.
    pub devices: u32,
    /// Transfers in one period.
    pub transfers: u32,
    /// Length of that period, in days.
    pub transfer_days: u32,
    /// How long a license is good without the authority being asked again, in days. 0: for good.
    pub lease_days: u32,
    /// How long after that the title still starts, with a warning, in days.
    pub grace_days: u32,
    /// What becomes of the source of a transfer.
    pub source: SourceDevice,
    /// How long the user may give it back and gets the money back, in days.
    pub refund_days: u32,
    /// How long it may be tried without paying, once per user, in days. 0: not at all.
    pub trial_days: u32,
    /// How long what was bought lasts, in days. Absent: for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term_days: Option<u32>,
    /// Whether the release's control program may run on installation and removal (D4). It runs sandboxed.
    pub control_program: bool,
    /// How much of saves and the like may be held for each user (A4), in MiB. 0: none are taken.
    pub upload_mib: u32,
    /// Feature flags for the program, copied into every license.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            devices: 1,
            transfers: 3,
            transfer_days: 30,
            lease_days: 30,
            grace_days: 7,
            source: SourceDevice::Kept,
            refund_days: 14,
            trial_days: 0,
            term_days: None,
            control_program: false,
            upload_mib: crate::Rights::UPLOAD_MIB,
            attributes: BTreeMap::new(),
        }
    }
}

/// Longest time that a policy may name, in days: a hundred years.
const MOST_DAYS: u32 = 36_525;
/// Most devices, transfers and attributes.
const MOST: u32 = 1000;

impl Policy {
    /// Whether every value is one that can be meant.
    ///
    /// # Errors
    /// Which one is not, and why.
    pub fn check(&self) -> Result<(), String> {
        let days = [
            ("transfer_days", self.transfer_days),
            ("lease_days", self.lease_days),
            ("grace_days", self.grace_days),
            ("refund_days", self.refund_days),
            ("trial_days", self.trial_days),
            ("term_days", self.term_days.unwrap_or(1)),
        ];
        if let Some((name, _)) = days.iter().find(|(_, days)| *days > MOST_DAYS) {
            return Err(format!("{name} is at most {MOST_DAYS}"));
        }
        if self.devices == 0 || self.devices > MOST {
            return Err(format!("devices is 1 to {MOST}"));
        }
        if self.transfers > MOST {
            return Err(format!("transfers is at most {MOST}"));
        }
        if self.transfers > 0 && self.transfer_days == 0 {
            return Err("transfer_days is at least 1 where there are transfers".into());
        }
        if self.term_days == Some(0) {
            return Err("term_days is at least 1, or absent".into());
        }
        let long = |text: &String| text.len() > 256 || text.chars().any(char::is_control);
        if self.attributes.len() > 64 || self.attributes.iter().any(|(name, value)| name.is_empty() || long(name) || long(value)) {
            return Err("attributes: at most 64, names and values of at most 256 bytes without control characters".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_the_default_and_what_is_unknown_is_an_error() {
        assert_eq!(serde_json::from_str::<Policy>("{}").expect("defaults"), Policy::default());
        assert!(Policy::default().check().is_ok());
        assert!(serde_json::from_str::<Policy>(r#"{"device": 2}"#).is_err());
    }

    fn numbered(count: u32) -> BTreeMap<String, String> {
        (0..count).map(|n| (n.to_string(), String::new())).collect()
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        for (bad, name) in [
            (Policy { devices: 0, ..Policy::default() }, "devices"),
            (Policy { transfers: 1001, ..Policy::default() }, "transfers"),
            (Policy { transfers: 5000, ..Policy::default() }, "transfers"),
            (Policy { devices: 1001, ..Policy::default() }, "devices"),
            (Policy { transfer_days: 0, ..Policy::default() }, "transfer_days"),
            (Policy { lease_days: 40_000, ..Policy::default() }, "lease_days"),
            (Policy { term_days: Some(0), ..Policy::default() }, "term_days"),
            (Policy { attributes: [("a".into(), "\n".into())].into(), ..Policy::default() }, "attributes"),
            (Policy { attributes: [(String::new(), "nameless".into())].into(), ..Policy::default() }, "attributes"),
            (Policy { attributes: [("a".into(), "x".repeat(257))].into(), ..Policy::default() }, "attributes"),
            (Policy { attributes: [("a".into(), "x".repeat(1000))].into(), ..Policy::default() }, "attributes"),
            (Policy { attributes: [("x".repeat(257), "a".into())].into(), ..Policy::default() }, "attributes"),
            (Policy { attributes: numbered(65), ..Policy::default() }, "attributes"),
            (Policy { attributes: numbered(100), ..Policy::default() }, "attributes"),
        ] {
            assert!(bad.check().expect_err(name).contains(name));
        }
        let most = Policy { devices: 1000, transfers: 1000, lease_days: 36_525, attributes: numbered(64), ..Policy::default() };
        assert_eq!(most.check(), Ok(()));
        let longest = [("x".repeat(256), "x".repeat(256))].into();
        assert_eq!(Policy { transfers: 0, transfer_days: 0, attributes: longest, ..Policy::default() }.check(), Ok(()));
    }
}
