//! How fast content comes, and whether it may come at all: one token bucket for everything that a terminal downloads.

use std::io::{self, Read};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use counterfoil_core::wire::AuthorityDocument;

use super::{Events, Part, Polled, Transport, TransportError};

/// How much may come at once after a silence, as time at the full rate.
const BURST: Duration = Duration::from_millis(250);
/// Longest time between two looks whether it is held.
const LOOK: Duration = Duration::from_millis(100);

/// Shared by all downloads.
#[derive(Debug)]
pub struct Pace {
    rate: Option<NonZeroU64>,
    bucket: Mutex<Bucket>,
    begun: Instant,
    held: AtomicBool,
}

impl Pace {
    /// At most so many bytes a second; as many as come where none is named.
    pub fn new(rate: Option<NonZeroU64>) -> Self {
        Self { rate, bucket: Mutex::default(), begun: instant(), held: AtomicBool::new(false) }
    }

    /// Breaks downloads off and lets none begin, or lets them be again. What was begun goes on later where it was.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    /// Whether downloads are held back: whatever has just failed may have failed by that.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// # Errors
    /// [`TransportError::Held`].
    fn check(&self) -> Result<(), TransportError> {
        if self.is_held() { Err(TransportError::Held) } else { Ok(()) }
    }

    /// Most bytes to be read at once: no longer than a look apart.
    fn piece(&self) -> usize {
        let part = |rate: NonZeroU64| usize::try_from(rate.get() / 10).unwrap_or(usize::MAX).max(1024);
        self.rate.map_or(usize::MAX, part)
    }

    /// Waits until so many bytes were allowed to have come.
    fn pass(&self, bytes: usize) -> Result<(), TransportError> {
        let Some(rate) = self.rate else { return Ok(()) };
        let now = instant() - self.begun;
        let mut left = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(bytes as u64, rate, now);
        while left > Duration::ZERO {
            self.check()?;
            let nap = left.min(LOOK);
            std::thread::sleep(nap);
            left -= nap;
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "how fast bytes come is measured by the clock of the machine, and decides nothing else")]
pub(super) fn instant() -> Instant {
    Instant::now()
}

/// A token bucket, kept as the time at which it is full enough again.
#[derive(Debug, Default)]
struct Bucket {
    free_at: Duration,
}

impl Bucket {
    /// Takes bytes out; answers with how long whoever took them has to wait.
    fn take(&mut self, bytes: u64, rate: NonZeroU64, now: Duration) -> Duration {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        self.free_at = self.free_at.max(now.saturating_sub(BURST)).saturating_add(cost);
        self.free_at.saturating_sub(now)
    }
}

/// A way to contents whose bytes come at a pace.
pub(crate) struct Paced {
    pub inner: Arc<dyn Transport>,
    pub pace: Arc<Pace>,
}

impl Transport for Paced {
    fn document(&self) -> Result<AuthorityDocument, TransportError> {
        self.inner.document()
    }

    fn exchange(&self, envelope: &[u8]) -> Result<String, TransportError> {
        self.inner.exchange(envelope)
    }

    fn fetch(&self, object: &str, part: Part) -> Result<Box<dyn Read + Send>, TransportError> {
        self.pace.check()?;
        Ok(Box::new(Pacing { body: self.inner.fetch(object, part)?, pace: Arc::clone(&self.pace) }))
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, TransportError> {
        self.inner.get(path)
    }

    fn is_guarded(&self) -> bool {
        self.inner.is_guarded()
    }

    fn listen(&self, envelope: &[u8]) -> Result<Events, TransportError> {
        self.inner.listen(envelope)
    }

    fn poll(&self, envelope: &[u8], known: Option<&str>) -> Result<Polled, TransportError> {
        self.inner.poll(envelope, known)
    }
}

struct Pacing {
    body: Box<dyn Read + Send>,
    pace: Arc<Pace>,
}

impl Read for Pacing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pace.check().map_err(io::Error::other)?;
        let most = buffer.len().min(self.pace.piece());
        let count = self.body.read(&mut buffer[..most])?;
        self.pace.pass(count).map_err(io::Error::other)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(bytes: u64) -> NonZeroU64 {
        NonZeroU64::new(bytes).unwrap()
    }

    proptest! {
        /// Whoever waits as told gets no more than the rate and one burst, however the bytes are cut and whenever they come.
        #[test]
        fn no_more_comes_than_the_rate_allows(
            bytes_a_second in 1_000u64..10_000_000,
            pieces in prop::collection::vec((1u64..200_000, 0u64..2_000), 1..50),
        ) {
            let (mut bucket, mut now, mut total) = (Bucket::default(), Duration::from_secs(5), 0u64);
            let begun = now;
            for (bytes, idle) in pieces {
                now += Duration::from_millis(idle);
                now += bucket.take(bytes, rate(bytes_a_second), now);
                total += bytes;
                let allowed = (now - begun + BURST).as_secs_f64() * bytes_a_second as f64;
                prop_assert!(total as f64 <= allowed + 1.0, "{total} of {allowed}");
            }
        }
    }

    #[test]
    fn who_takes_no_more_than_allowed_waits_no_longer_than_needed() {
        let mut bucket = Bucket::default();
        let wait: Duration = (0..10).map(|_| bucket.take(1000, rate(1000), Duration::from_secs(100))).max().unwrap();
        assert_eq!(wait, Duration::from_secs(10) - BURST);
    }

    #[test]
    fn what_is_held_breaks_off_and_comes_again_later() {
        let pace = Arc::new(Pace::new(None));
        let mut body = Pacing { body: Box::new(io::repeat(7).take(100)), pace: Arc::clone(&pace) };
        let mut some = [0; 10];
        body.read_exact(&mut some).unwrap();
        pace.hold(true);
        let error = body.read(&mut some).unwrap_err().downcast::<TransportError>().unwrap();
        assert!(matches!(error, TransportError::Held));
        pace.hold(false);
        let mut rest = Vec::new();
        body.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len(), 90);
    }

    #[test]
    fn content_comes_at_the_rate_that_is_named() {
        let pace = Arc::new(Pace::new(Some(rate(200_000))));
        let mut body = Pacing { body: Box::new(io::repeat(7).take(100_000)), pace };
        let begun = instant();
        io::copy(&mut body, &mut io::sink()).unwrap();
        // 100 kB at 200 kB/s, a quarter of a second of it at once.
        assert!(instant() - begun >= Duration::from_millis(250), "{:?}", instant() - begun);
    }
}
