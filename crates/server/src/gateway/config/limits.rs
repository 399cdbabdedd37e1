//! What is too much of something.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config as authority;

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Longest body of a request, in bytes.
    pub body_bytes: usize,
    /// How long a request may take until its answer begins, in seconds.
    pub request_seconds: u64,
    /// How long requests may finish after SIGTERM, in seconds.
    pub shutdown_seconds: u64,
    /// Requests that are worked on at once; 0 is no limit.
    pub requests_at_once: usize,
    /// Requests a second from one address; 0 is no limit.
    pub requests_per_second: u32,
    /// How many requests one address may make at once before that counts.
    pub burst: u32,
    /// Requests a second with one token; 0 is no limit.
    pub token_requests_per_second: u32,
    /// How many requests one token may make at once before that counts.
    pub token_burst: u32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            request_seconds: 30,
            shutdown_seconds: 20,
            requests_at_once: 1024,
            requests_per_second: 50,
            burst: 200,
            token_requests_per_second: 50,
            token_burst: 200,
            trusted_proxies: vec![],
        }
    }
}

impl Limits {
    /// As the layers that every server of ours has take them.
    pub fn layers(&self) -> authority::Limits {
        authority::Limits {
            body_bytes: self.body_bytes,
            request_seconds: self.request_seconds,
            requests_at_once: self.requests_at_once,
            requests_per_second: self.requests_per_second,
            burst: self.burst,
            token_requests_per_second: self.token_requests_per_second,
            token_burst: self.token_burst,
            trusted_proxies: self.trusted_proxies.clone(),
            ..authority::Limits::default()
        }
    }
}
