//! When a webhook that could not be told something is told again: at growing intervals, whatever the failure, for three days.

use crate::Timestamp;

/// How long it is tried, in milliseconds.
pub const TRIED: i64 = 3 * Timestamp::DAY;

/// Seconds after the first failure, the second, …; the last one again and again.
const WAITS: [i64; 10] = [5, 30, 120, 600, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600];

/// When to try again after `attempts` that have failed, the last of them at `now`; never, where it was tried until `give_up_at`, at which
/// moment the last attempt is made. `spread`, any number, puts the attempt off by up to a tenth, so that what failed together does not come
/// back together.
pub fn next(attempts: u32, now: Timestamp, give_up_at: Timestamp, spread: u16) -> Option<Timestamp> {
    if now >= give_up_at {
        return None;
    }
    let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX).min(WAITS.len() - 1);
    let wait = WAITS[place] * 1000;
    let spread = wait / 10 * i64::from(spread) / i64::from(u16::MAX);
    Some(Timestamp(now.0.saturating_add(wait + spread).min(give_up_at.0)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// All attempts at what never works, in seconds since the first.
    fn attempts(spread: u16) -> Vec<i64> {
        let (begun, mut now, mut all) = (Timestamp(1_000_000), Timestamp(1_000_000), vec![0]);
        while let Some(next) = next(u32::try_from(all.len()).unwrap(), now, Timestamp(begun.0 + TRIED), spread) {
            assert!(next > now, "time goes on");
            all.push((next.0 - begun.0) / 1000);
            now = next;
        }
        all
    }

    #[test]
    fn it_is_tried_for_three_days_at_growing_intervals() {
        let all = attempts(0);
        assert_eq!(all[..6], [0, 5, 35, 155, 755, 2555]);
        assert_eq!(*all.last().unwrap(), 3 * 86_400, "the last one is made when three days are over");
        assert_eq!(all.len(), 15);
        let waits: Vec<_> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(waits[..10], [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200]);
        assert!(waits[..waits.len() - 1].is_sorted(), "{waits:?}");
    }

    #[test]
    fn what_failed_together_comes_back_apart_and_never_sooner() {
        let late = attempts(u16::MAX);
        assert_eq!((late[1], late[2] - late[1]), (5, 33));
        assert_eq!(*late.last().unwrap(), 3 * 86_400);
    }

    #[test]
    fn what_is_over_is_given_up_and_huge_numbers_are_no_matter() {
        assert_eq!(next(1, Timestamp(5), Timestamp(5), 0), None);
        assert_eq!(next(u32::MAX, Timestamp(0), Timestamp(i64::MAX), 0), Some(Timestamp(12 * 3600 * 1000)));
        assert_eq!(next(0, Timestamp(i64::MAX - 1), Timestamp(i64::MAX), u16::MAX), Some(Timestamp(i64::MAX)));
    }
}
