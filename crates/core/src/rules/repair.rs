//! Exchange of a device or drive at a repair centre (C14): how often an entry may, and what becomes of licenses at the old device.

use crate::{Code, Refusal, Timestamp};

/// How often devices and drives of one entry are exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Exchanges in any period.
    pub exchanges: u32,
    /// Length of a period, in days.
    pub period_days: u32,
    /// Hours from one exchange to the next.
    pub wait_hours: u32,
}

const HOUR: i64 = Timestamp::DAY / 24;

impl Policy {
    fn period(&self) -> i64 {
        i64::from(self.period_days).saturating_mul(Timestamp::DAY)
    }

    fn wait(&self) -> i64 {
        i64::from(self.wait_hours).saturating_mul(HOUR)
    }
}

/// What an entry may have exchanged now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Exchanges left in the period that ends now; those that the operator has overridden the policy for count as all others do.
    pub left: u32,
    /// From when on there is one, where there is none now and will be.
    pub next_at: Option<Timestamp>,
}

impl Standing {
    /// Whether an exchange is within the policy now.
    pub fn allows(&self) -> bool {
        self.left > 0 && self.next_at.is_none()
    }
}

/// How an entry stands that has had exchanges at these times, in any order.
pub fn standing(policy: &Policy, past: &[Timestamp], now: Timestamp) -> Standing {
    let mut counted: Vec<i64> = past.iter().map(|at| at.0).filter(|at| at.saturating_add(policy.period()) > now.0).collect();
    counted.sort_unstable();
    let used = u32::try_from(counted.len()).unwrap_or(u32::MAX);
    let left = policy.exchanges.saturating_sub(used);
    // The period has room again once so many of those in it have left it that one fewer than allowed remains.
    let over = counted.len().checked_sub(policy.exchanges as usize).filter(|_| policy.exchanges > 0);
    let room = over.and_then(|index| counted.get(index)).map(|at| at.saturating_add(policy.period()));
    let waited = past.iter().map(|at| at.0.saturating_add(policy.wait())).max().filter(|at| *at > now.0);
    let never = policy.exchanges == 0;
    Standing { left, next_at: room.max(waited).filter(|_| !never).map(Timestamp) }
}

/// Decides an exchange. Answers with whether the policy was overridden: it never is where it allows the exchange.
///
/// # Errors
/// [`Code::RepairNotAllowed`], with from when on.
pub fn decide(policy: &Policy, past: &[Timestamp], overrides: bool, now: Timestamp) -> Result<bool, Refusal> {
    let standing = standing(policy, past, now);
    if standing.allows() {
        return Ok(false);
    }
    if overrides {
        return Ok(true);
    }
    let Policy { exchanges, period_days, wait_hours } = policy;
    let detail = match standing.next_at {
        Some(at) if standing.left > 0 => format!("{wait_hours} hours lie between two exchanges; the next is allowed {}", after(at, now)),
        Some(at) => format!("{exchanges} exchanges in {period_days} days; the next is allowed {}", after(at, now)),
        None => "the operator's policy allows none".to_owned(),
    };
    Err(Refusal::with(Code::RepairNotAllowed, detail))
}

fn after(at: Timestamp, now: Timestamp) -> String {
    let distance = at.distance(now);
    let (hour, day) = (HOUR.unsigned_abs(), Timestamp::DAY.unsigned_abs());
    match distance {
        one if one <= hour => "within the hour".to_owned(),
        few if few < 2 * day => format!("in {} hours", few.div_ceil(hour)),
        many => format!("in {} days", many.div_ceil(day)),
    }
}

/// What becomes of a license at a device that is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It moves to the new device, under its transaction ID; that is no transfer.
    Moves,
    /// It ends, and its place is free.
    Ends,
}

/// A license moves where there is a new device that has none by the same right, and while what was bought has not run out.
pub fn fate(has_new: bool, at_new: bool, over: bool) -> Fate {
    if has_new && !at_new && !over { Fate::Moves } else { Fate::Ends }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1000 * Timestamp::DAY);
    const POLICY: Policy = Policy { exchanges: 3, period_days: 365, wait_hours: 0 };

    fn days_ago(days: i64) -> Timestamp {
        Timestamp(NOW.0 - days * Timestamp::DAY)
    }

    fn refused(policy: &Policy, past: &[Timestamp]) -> String {
        let refusal = decide(policy, past, false, NOW).expect_err("refused");
        assert_eq!(refusal.code, Code::RepairNotAllowed);
        refusal.detail.expect("says from when")
    }

    #[test]
    fn c14_an_entry_has_as_many_exchanges_in_any_period_as_the_policy_says() {
        assert_eq!(decide(&POLICY, &[], false, NOW), Ok(false));
        assert_eq!(decide(&POLICY, &[days_ago(1), days_ago(2)], false, NOW), Ok(false));
        assert_eq!(standing(&POLICY, &[days_ago(1), days_ago(2)], NOW), Standing { left: 1, next_at: None });
        let full = [days_ago(2), days_ago(364), days_ago(1)];
        assert_eq!(refused(&POLICY, &full), "3 exchanges in 365 days; the next is allowed in 24 hours");
        assert_eq!(standing(&POLICY, &full, NOW), Standing { left: 0, next_at: Some(Timestamp(NOW.0 + Timestamp::DAY)) });
        // The period slides: what lies a whole one back counts no more.
        assert_eq!(decide(&POLICY, &[days_ago(1), days_ago(2), days_ago(365)], false, NOW), Ok(false));
        // Where more were overridden than are allowed, enough of them must have left it.
        let more = [days_ago(300), days_ago(200), days_ago(100), days_ago(50)];
        assert_eq!(refused(&POLICY, &more), "3 exchanges in 365 days; the next is allowed in 165 days");
    }

    #[test]
    fn c14_between_two_exchanges_lies_the_time_to_wait() {
        let policy = Policy { wait_hours: 72, ..POLICY };
        assert_eq!(refused(&policy, &[days_ago(1)]), "72 hours lie between two exchanges; the next is allowed in 2 days");
        let ago = |ms: i64| Timestamp(NOW.0 - ms);
        assert_eq!(refused(&policy, &[ago(72 * HOUR - 1)]), "72 hours lie between two exchanges; the next is allowed within the hour");
        assert_eq!(decide(&policy, &[ago(72 * HOUR)], false, NOW), Ok(false));
        // Both bounds hold: the later of the two decides.
        let full = [ago(1), days_ago(364), days_ago(364)];
        assert_eq!(standing(&policy, &full, NOW).next_at, Some(Timestamp(ago(1).0 + 72 * HOUR)));
    }

    #[test]
    fn c14_an_override_is_one_only_where_the_policy_says_no() {
        assert_eq!(decide(&POLICY, &[days_ago(1)], true, NOW), Ok(false));
        assert_eq!(decide(&POLICY, &[days_ago(1); 3], true, NOW), Ok(true));
        let none = Policy { exchanges: 0, ..POLICY };
        assert_eq!(refused(&none, &[]), "the operator's policy allows none");
        assert_eq!(refused(&none, &[days_ago(1)]), "the operator's policy allows none");
        assert_eq!(decide(&none, &[], true, NOW), Ok(true));
    }

    #[test]
    fn c14_a_license_moves_where_it_can_run_and_ends_where_nobody_could_use_it() {
        assert_eq!(fate(true, false, false), Fate::Moves);
        for (has_new, at_new, over) in [(false, false, false), (true, true, false), (true, false, true)] {
            assert_eq!(fate(has_new, at_new, over), Fate::Ends);
        }
    }
}
