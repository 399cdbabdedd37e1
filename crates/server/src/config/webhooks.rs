//! `[webhooks]`: where receivers may be, and how long they are waited for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[webhooks]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Whether receivers may be at addresses inside, such as loopback and private networks, and speak plain HTTP.
    pub allow_private: bool,
    /// Seconds that one attempt may take.
    pub timeout_seconds: u32,
    /// Certificates of authorities that receivers' certificates may be by, PEM; besides those that everybody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self { allow_private: false, timeout_seconds: 15, ca_file: None }
    }
}

impl Webhooks {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if (1..=60).contains(&self.timeout_seconds) {
            return Ok(());
        }
        Err(ConfigError::Value { key: "webhooks.timeout_seconds", reason: "1 to 60".to_owned() })
    }
}
