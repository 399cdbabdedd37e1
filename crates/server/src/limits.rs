//! How many requests one address, and one token, may make.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use counterfoil_core::Code;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use ipnet::IpNet;

use crate::auth::bearer;
use crate::problem::Problem;

pub mod crowd;
pub mod subjects;

/// Requests between two sweeps of addresses that have been quiet.
const SWEEP: u32 = 4096;
/// What proxies say who asked them; each adds whom it saw at the end.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// A rate and how far it may be exceeded for a moment. 0 requests per second is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What may be kept up.
    pub per_second: u32,
    /// What may come at once.
    pub burst: u32,
}

impl Rate {
    pub(crate) fn limiter<K: Clone + Eq + std::hash::Hash>(self) -> Option<DefaultKeyedRateLimiter<K>> {
        let rate = NonZeroU32::new(self.per_second)?;
        let burst = NonZeroU32::new(self.burst).unwrap_or(NonZeroU32::MIN);
        Some(DefaultKeyedRateLimiter::dashmap(Quota::per_second(rate).allow_burst(burst)))
    }
}

/// The limits of one server. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Limits(Arc<Counters>);

struct Counters {
    addresses: Option<DefaultKeyedRateLimiter<IpAddr>>,
    /// By hash: a secret is no key of a table in memory.
    tokens: Option<DefaultKeyedRateLimiter<[u8; 16]>>,
    proxies: Vec<IpNet>,
    clock: DefaultClock,
    seen: AtomicU32,
}

impl Limits {
    /// Nothing was counted yet. An address may do one rate; a token, from whatever address, another. Proxies do not count as addresses.
    pub fn new(address: Rate, token: Rate, proxies: Vec<IpNet>) -> Self {
        Self(Arc::new(Counters {
            addresses: address.limiter(),
            tokens: token.limiter(),
            proxies,
            clock: DefaultClock::default(),
            seen: AtomicU32::new(0),
        }))
    }

    /// Counts one request; where it is one too many, says for how many seconds to wait.
    fn admit(&self, address: IpAddr, token: Option<&str>) -> Result<(), u32> {
        let Counters { addresses, tokens, clock, seen, .. } = &*self.0;
        if seen.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            addresses.iter().for_each(DefaultKeyedRateLimiter::retain_recent);
            tokens.iter().for_each(DefaultKeyedRateLimiter::retain_recent);
        }
        if let Some(addresses) = addresses {
            addresses.check_key(&block(address)).map_err(|not| seconds(not.wait_time_from(clock.now())))?;
        }
        if let (Some(tokens), Some(token)) = (tokens, token) {
            let mut key = [0; 16];
            key.copy_from_slice(&blake3::hash(token.as_bytes()).as_bytes()[..16]);
            tokens.check_key(&key).map_err(|not| seconds(not.wait_time_from(clock.now())))?;
        }
        Ok(())
    }
}

/// Where a request came from: the peer, or, where that is a proxy of ours, the last address before it that is none. What stands left of that
/// in the header anybody may have written.
fn origin(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let trusted = |address: &IpAddr| proxies.iter().any(|proxy| proxy.contains(&address.to_canonical()));
    let named = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut origin = peer;
    for name in named.collect::<Vec<_>>().into_iter().rev() {
        if !trusted(&origin) {
            break;
        }
        match name.trim().parse::<IpAddr>().or_else(|_| name.trim().parse::<SocketAddr>().map(|with_port| with_port.ip())) {
            Ok(before) => origin = before,
            Err(_) => break,
        }
    }
    origin
}

/// Whoever has one IPv6 address has 2⁶⁴ of them.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Rounded up: whoever waits so long is admitted.
pub(crate) fn seconds(wait: std::time::Duration) -> u32 {
    u32::try_from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).unwrap_or(u32::MAX)
}

/// The layer: 429 with Retry-After for what is too much (RFC 6585 §4).
pub async fn layer(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    // Where the listener does not say, all callers count as one.
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(Ipv4Addr::UNSPECIFIED.into(), |from| from.0.ip());
    let address = origin(peer, request.headers(), &limits.0.proxies);
    match limits.admit(address, bearer(request.headers())) {
        Ok(()) => next.run(request).await,
        Err(wait) => {
            metrics::counter!("counterfoil_rate_limited_total").increment(1);
            Problem { retry_after: Some(wait), ..Problem::from(Code::RateLimited) }.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Rate = Rate { per_second: 0, burst: 0 };
    const THREE: Rate = Rate { per_second: 1, burst: 3 };

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn a_burst_is_let_in_and_the_next_waits() {
        let limits = Limits::new(THREE, NONE, vec![]);
        for _ in 0..3 {
            assert_eq!(limits.admit(address(1), None), Ok(()));
        }
        assert_eq!(limits.admit(address(1), None), Err(1));
        assert_eq!(limits.admit(address(2), None), Ok(()), "another address is not concerned");
    }

    #[test]
    fn a_proxy_of_ours_says_who_asked_and_nobody_else_does() {
        let proxies: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "192.0.2.7/32".parse().unwrap()];
        let from = |peer: &str, forwarded: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(FORWARDED_FOR, value.parse().unwrap());
            }
            origin(peer.parse().unwrap(), &headers, &proxies).to_string()
        };
        assert_eq!(from("198.51.100.1", &["203.0.113.9"]), "198.51.100.1", "a stranger may say what it likes");
        assert_eq!(from("10.1.1.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(from("::ffff:10.1.1.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(from("10.1.1.1", &["198.51.100.66, 203.0.113.9, 192.0.2.7"]), "203.0.113.9", "what was made up stands further left");
        assert_eq!(from("10.1.1.1", &["198.51.100.66", "203.0.113.9"]), "203.0.113.9", "several headers are one list");
        assert_eq!(from("10.1.1.1", &["not an address"]), "10.1.1.1");
        assert_eq!(from("10.1.1.1", &[]), "10.1.1.1");
    }

    #[test]
    fn a_token_is_the_same_however_its_header_is_written() {
        let token = |header: &str| {
            let headers: HeaderMap = [(axum::http::header::AUTHORIZATION, header.parse().unwrap())].into_iter().collect();
            bearer(&headers).map(str::to_owned)
        };
        for same in ["Bearer a", "bearer a", "BEARER     a", "Bearer \ta  "] {
            assert_eq!(token(same).as_deref(), Some("a"), "{same:?}");
        }
        assert_eq!((token("Basic a"), token("Bearer")), (None, None));
    }

    #[test]
    fn a_token_is_counted_across_addresses() {
        let limits = Limits::new(NONE, THREE, vec![]);
        for last in 0..3 {
            assert_eq!(limits.admit(address(last), Some("a")), Ok(()));
        }
        assert!(limits.admit(address(9), Some("a")).is_err());
        assert_eq!(limits.admit(address(9), Some("b")), Ok(()));
        assert_eq!(limits.admit(address(9), None), Ok(()));
    }

    #[test]
    fn zero_is_no_limit_and_the_neighbours_of_an_ipv6_address_count_as_one() {
        let limits = Limits::new(NONE, NONE, vec![]);
        for _ in 0..10_000 {
            assert_eq!(limits.admit(address(1), Some("a")), Ok(()));
        }
        let limits = Limits::new(THREE, NONE, vec![]);
        for host in 0..3u16 {
            assert_eq!(limits.admit(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host).into(), None), Ok(()));
        }
        assert!(limits.admit(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 9, 9, 9, 9).into(), None).is_err());
        assert_eq!(limits.admit(Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 0).into(), None), Ok(()));
    }
}
