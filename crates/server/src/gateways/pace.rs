//! How much one gateway may ask of the authority: its customers are its own to hold back, and none of the others' concern.

use std::sync::Arc;

use counterfoil_core::{Code, GatewayId};
use governor::DefaultKeyedRateLimiter;
use governor::clock::{Clock as _, DefaultClock};

use crate::config::Gateways;
use crate::limits::{Rate, seconds};
use crate::problem::Problem;

/// Counts requests by gateway, whatever certificate and address they come with. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Pace {
    limiter: Option<Arc<DefaultKeyedRateLimiter<GatewayId>>>,
    clock: DefaultClock,
}

impl Pace {
    /// Nothing was counted yet.
    pub fn new(config: &Gateways) -> Self {
        let rate = Rate { per_second: config.requests_per_second, burst: config.burst };
        Self { limiter: rate.limiter().map(Arc::new), clock: DefaultClock::default() }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// `rate_limited`, with how long to wait.
    pub fn admit(&self, gateway: GatewayId) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let Err(over) = limiter.check_key(&gateway) else { return Ok(()) };
        metrics::counter!("counterfoil_gateways_limited_total").increment(1);
        Err(Problem { retry_after: Some(seconds(over.wait_time_from(self.clock.now()))), ..Problem::from(Code::RateLimited) })
    }
}
