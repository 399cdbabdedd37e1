//! `[gateways]`: where resellers' servers are let in, and how long a price that was told holds.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[gateways]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateways {
    /// Address and port of the private listener; where there is none, there are no gateways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Minutes for which an exchange that was prepared can be committed, at the price that was told.
    pub price_minutes: u32,
    /// Requests per second that each gateway may keep up; 0 is no limit. An exchange that is charged for takes two.
    pub requests_per_second: u32,
    /// Requests that each may make at once.
    pub burst: u32,
}

impl Default for Gateways {
    fn default() -> Self {
        Self { listen: None, price_minutes: 15, requests_per_second: 2000, burst: 4000 }
    }
}

impl Gateways {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if (1..=1440).contains(&self.price_minutes) {
            return Ok(());
        }
        Err(ConfigError::Value { key: "gateways.price_minutes", reason: "1 to 1440".to_owned() })
    }
}
