//! `[limits]`: how much one caller, and all of them together, may ask for.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Longest body of a request, in bytes, uploads of contents excepted.
    pub body_bytes: usize,
    /// How long a request may take, in seconds, contents and identities excepted.
    pub request_seconds: u64,
    /// How long requests may finish after SIGTERM, in seconds.
    pub shutdown_seconds: u64,
    /// Requests that are worked on at once; 0 is no limit.
    pub requests_at_once: usize,
    /// Devices that listen for jobs at once.
    pub inbox_streams: usize,
    /// Requests a second from one address; 0 is no limit.
    pub requests_per_second: u32,
    /// How many requests one address may make at once before that counts.
    pub burst: u32,
    /// Requests a second with one token; 0 is no limit.
    pub token_requests_per_second: u32,
    /// How many requests one token may make at once before that counts.
    pub token_burst: u32,
    /// Requests a second of one medium that has proven itself, at one process; 0 is no limit.
    pub medium_requests_per_second: u32,
    /// How many requests one medium may make at once before that counts.
    pub medium_burst: u32,
    /// Requests a second that name one device, at one process; 0 is no limit.
    pub device_requests_per_second: u32,
    /// How many requests one device may make at once before that counts.
    pub device_burst: u32,
    /// Presentations a second that one provider has judged, at one process; 0 is no limit.
    pub provider_requests_per_second: u32,
    /// How many presentations one provider may have judged at once before that counts.
    pub provider_burst: u32,
    /// Proxies whose `X-Forwarded-For` is believed when requests are counted by address.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            request_seconds: 30,
            shutdown_seconds: 20,
            requests_at_once: 1024,
            inbox_streams: 10_000,
            requests_per_second: 50,
            burst: 200,
            token_requests_per_second: 200,
            token_burst: 1000,
            medium_requests_per_second: 50,
            medium_burst: 1000,
            device_requests_per_second: 50,
            device_burst: 1000,
            provider_requests_per_second: 200,
            provider_burst: 1000,
            trusted_proxies: vec![],
        }
    }
}
