//! Whether a request is of now (`protocol.md` §2, `issued_at`).

use crate::{Code, Refusal, Timestamp};

/// How far the clocks of terminal and authority may lie apart, either way.
pub const TOLERANCE: i64 = Timestamp::DAY;

/// Refuses what was issued more than a day ago or ahead. The answer carries the authority's time, so that a device with a wrong clock can say so.
///
/// # Errors
/// [`Code::ClockSkewed`].
pub fn decide(issued_at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    let distance = issued_at.distance(now);
    if distance <= TOLERANCE.unsigned_abs() {
        return Ok(());
    }
    let days = distance / TOLERANCE.unsigned_abs();
    let direction = if issued_at < now { "behind" } else { "ahead" };
    Err(Refusal::with(Code::ClockSkewed, format!("it is {days} days {direction}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_either_way_is_tolerated_and_no_more() {
        let now = Timestamp(1_800_000_000_000);
        for (offset, fresh) in [(0, true), (TOLERANCE, true), (-TOLERANCE, true), (TOLERANCE + 1, false), (-TOLERANCE - 1, false)] {
            assert_eq!(decide(Timestamp(now.0 + offset), now).is_ok(), fresh, "{offset}");
        }
        let refusal = decide(Timestamp(now.0 - 365 * TOLERANCE), now).expect_err("a year");
        assert_eq!(refusal.detail.as_deref(), Some("it is 365 days behind"));
        assert!(decide(Timestamp(i64::MIN), Timestamp(i64::MAX)).is_err());
    }
}
