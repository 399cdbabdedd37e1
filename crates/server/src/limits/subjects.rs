//! How many requests one medium, one device and one provider may make, from whatever addresses. Counted by each process for itself.

use std::sync::atomic::{AtomicU32, Ordering};

use counterfoil_core::{Code, DeviceId, MediumId, ProviderId};
use governor::DefaultKeyedRateLimiter;
use governor::clock::{Clock as _, DefaultClock};

use super::{Rate, SWEEP, seconds};
use crate::config::Limits;
use crate::problem::Problem;

/// The counters of one process.
pub struct Subjects {
    media: Counter,
    devices: Counter,
    providers: Counter,
}

impl Subjects {
    /// Nothing was counted yet.
    pub fn new(limits: &Limits) -> Self {
        let counter = |per_second, burst| Counter {
            limiter: Rate { per_second, burst }.limiter(),
            clock: DefaultClock::default(),
            seen: AtomicU32::new(0),
        };
        Self {
            media: counter(limits.medium_requests_per_second, limits.medium_burst),
            devices: counter(limits.device_requests_per_second, limits.device_burst),
            providers: counter(limits.provider_requests_per_second, limits.provider_burst),
        }
    }

    /// Counts a request of a medium. Only one that has proven itself is counted, or is vouched for by who asks: IDs of pressed media can be
    /// guessed, and whoever guesses one must not lock its owner out.
    ///
    /// # Errors
    /// `rate_limited`, with how long to wait.
    pub fn medium(&self, medium: &MediumId) -> Result<(), Problem> {
        self.media.admit(medium.as_str())
    }

    /// Counts a request that names a device: its ID is random and known to its owner.
    ///
    /// # Errors
    /// As for [`Self::medium`].
    pub fn device(&self, device: DeviceId) -> Result<(), Problem> {
        self.devices.admit(&device.to_string())
    }

    /// Counts a request of a provider, with whichever of its tokens.
    ///
    /// # Errors
    /// As for [`Self::medium`].
    pub fn provider(&self, provider: &ProviderId) -> Result<(), Problem> {
        self.providers.admit(&provider.to_string())
    }
}

struct Counter {
    limiter: Option<DefaultKeyedRateLimiter<[u8; 16]>>,
    clock: DefaultClock,
    seen: AtomicU32,
}

impl Counter {
    fn admit(&self, who: &str) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.seen.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            limiter.retain_recent();
        }
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(who.as_bytes()).as_bytes()[..16]);
        limiter.check_key(&key).map_err(|not| {
            metrics::counter!("counterfoil_rate_limited_total").increment(1);
            let wait = seconds(not.wait_time_from(self.clock.now()));
            Problem { retry_after: Some(wait), ..Problem::from(Code::RateLimited) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medium(number: u64) -> MediumId {
        MediumId::pressed(counterfoil_core::BatchId([1; 8]), number)
    }

    #[test]
    fn each_medium_device_and_provider_has_a_burst_of_its_own() {
        let subjects = Subjects::new(&Limits {
            medium_requests_per_second: 1,
            medium_burst: 2,
            device_requests_per_second: 1,
            device_burst: 1,
            provider_requests_per_second: 1,
            provider_burst: 1,
            ..Limits::default()
        });
        assert!(subjects.medium(&medium(1)).is_ok() && subjects.medium(&medium(1)).is_ok());
        let refused = subjects.medium(&medium(1)).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), ("rate_limited", Some(1)));
        assert!(subjects.medium(&medium(2)).is_ok(), "another is not concerned");
        assert!(subjects.device(DeviceId::from_bytes([1; 16])).is_ok() && subjects.device(DeviceId::from_bytes([1; 16])).is_err());
        assert!(subjects.device(DeviceId::from_bytes([2; 16])).is_ok());
        let provider = ProviderId::from_bytes([1; 16]);
        assert!(subjects.provider(&provider).is_ok() && subjects.provider(&provider).is_err());
    }

    #[test]
    fn zero_is_no_limit() {
        let subjects = Subjects::new(&Limits { medium_requests_per_second: 0, ..Limits::default() });
        assert!((0..10_000).all(|_| subjects.medium(&medium(1)).is_ok()));
    }
}
