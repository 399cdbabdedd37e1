//! Payment by card.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// `[payments]`: by card, through Stripe. Without a secret key, none is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Payments {
    /// The secret key, in a file of its own.
    pub secret_key_file: Option<PathBuf>,
    /// What its messages are signed with, in a file of its own; without, none are taken, and payments are looked at a little later.
    pub webhook_secret_file: Option<PathBuf>,
    /// What browsers name this gateway by.
    pub publishable_key: String,
    /// The provider's API.
    pub api_url: String,
    /// The provider's script, which takes the card in the browser.
    pub script_url: String,
    /// How long a step may take.
    pub timeout_seconds: u64,
    /// The least that a card is charged with, in minor units.
    pub least: u64,
    /// The most that is paid in by card at once, in minor units.
    pub most: u64,
}

impl Default for Payments {
    fn default() -> Self {
        Self {
            secret_key_file: None,
            webhook_secret_file: None,
            publishable_key: String::new(),
            api_url: "https://api.stripe.com".to_owned(),
            script_url: "https://js.stripe.com/v3/".to_owned(),
            timeout_seconds: 10,
            least: 100,
            most: 50_000,
        }
    }
}

impl Payments {
    /// How long a step may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
        let guarded = |url: &str| {
            let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
            url.starts_with("https://") || (url.starts_with("http://") && matches!(host.as_str(), "127.0.0.1" | "localhost" | "[::1]"))
        };
        if !guarded(&self.api_url) || self.api_url.ends_with('/') {
            return wrong("payments.api_url", "it begins with https:// (http:// on this machine only) and does not end with /");
        }
        if !guarded(&self.script_url) {
            return wrong("payments.script_url", "it begins with https:// (http:// on this machine only)");
        }
        if self.secret_key_file.is_some() && self.publishable_key.is_empty() {
            return wrong("payments.publishable_key", "browsers need it, beside the secret key");
        }
        if self.timeout_seconds == 0 || self.least == 0 || self.least > self.most {
            return wrong("payments", "timeout_seconds and least are at least 1, and most is not less than least");
        }
        Ok(())
    }
}
