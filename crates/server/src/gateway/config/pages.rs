//! `[operator]` and `[alerts]`: the pages of whoever runs the gateway, and what they are told.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::store::account::Email;

/// `[operator]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operator {
    /// Whether there are pages for the operator.
    pub pages: bool,
    /// Their own address and port; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// How the operator's browser reaches them, where that is another address; empty: the one that is listened on.
    pub url: String,
}

impl Default for Operator {
    fn default() -> Self {
        Self { pages: true, listen: SocketAddr::from(([127, 0, 0, 1], 0)), url: String::new() }
    }
}

/// `[alerts]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// E-mail addresses that alerts are sent to, where `[mail]` is configured.
    pub to: Vec<String>,
    /// How long an exchange may stand where it stands before that is an alert, in minutes.
    pub stuck_minutes: u32,
    /// How often the books are checked, in hours; 0 is never.
    pub books_hours: u32,
}

impl Default for Alerts {
    fn default() -> Self {
        Self { to: vec![], stuck_minutes: 10, books_hours: 24 }
    }
}

impl Operator {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let good = (self.url.starts_with("https://") || self.url.starts_with("http://")) && !self.url.ends_with('/');
        if self.url.is_empty() || good {
            return Ok(());
        }
        Err(ConfigError::Value { key: "operator.url", reason: "it begins with https:// or http:// and does not end with /".to_owned() })
    }
}

impl Alerts {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self.to.iter().find(|to| Email::parse(to).is_none()) {
            Some(to) => Err(ConfigError::Value { key: "alerts.to", reason: format!("`{to}` is no e-mail address") }),
            None if self.stuck_minutes == 0 => {
                Err(ConfigError::Value { key: "alerts.stuck_minutes", reason: "no exchange comes to its end in no time".to_owned() })
            }
            None => Ok(()),
        }
    }
}
