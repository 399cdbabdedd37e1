//! `[server]` and `[audit]`: what a process does, where it listens, and what it does unasked.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::roles::Roles;

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// What this process does; `serve --roles` goes before it.
    pub roles: Roles,
    /// Address and port; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// How terminals reach it, best first; written on every medium. Empty: the address that it listens on.
    pub public_urls: Vec<String>,
    /// How terminals reach the license servers, best first. Empty: at `public_urls`.
    pub license_urls: Vec<String>,
    /// How terminals and publishers reach the contents servers, best first. Empty: at `public_urls`.
    pub contents_urls: Vec<String>,
    /// Serve without TLS on other addresses than loopback: behind a proxy that does TLS.
    pub allow_plain: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            roles: Roles::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7480)),
            public_urls: vec![],
            license_urls: vec![],
            contents_urls: vec![],
            allow_plain: false,
        }
    }
}

impl Server {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
        if self.roles.is_empty() {
            return wrong("server.roles", "a process without a role would do nothing");
        }
        let lists = [
            ("server.public_urls", &self.public_urls),
            ("server.license_urls", &self.license_urls),
            ("server.contents_urls", &self.contents_urls),
        ];
        for (key, urls) in lists {
            if urls.iter().any(|url| !(url.starts_with("https://") || url.starts_with("http://")) || url.ends_with('/')) {
                return wrong(key, "each begins with https:// or http:// and does not end with /");
            }
        }
        Ok(())
    }
}

/// `[audit]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// How often what the audit log has come to is signed, in minutes; 0 is never.
    pub checkpoint_minutes: u32,
    /// How often the auditor recomputes everything, in hours; 0 is never.
    pub verify_hours: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self { checkpoint_minutes: 5, verify_hours: 24 }
    }
}
