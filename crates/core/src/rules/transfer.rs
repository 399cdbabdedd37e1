//! Moving licenses from one of a user's devices to another (D8–D10): what is moved, what becomes of the source, and how often.

use super::license::is_over;
use crate::{Code, DeviceId, LicenseId, Policy, Refusal, SourceDevice, Timestamp, TitleId};

/// Transfers that are left by the terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// How many, in the period that runs or in a new one.
    pub left: u32,
    /// When there are more, where none is left and there will be.
    pub next_at: Option<Timestamp>,
}

/// How many transfers an entitlement has left, of which `used` were made in the period that began `since`. A period begins with its first
/// transfer.
pub fn left(policy: &Policy, used: u32, since: Option<Timestamp>, now: Timestamp) -> Left {
    let ends = since.map(|since| Timestamp(since.0.saturating_add(period(policy))));
    let used = if ends.is_some_and(|end| end > now) { used } else { 0 };
    let left = policy.transfers.saturating_sub(used);
    Left { left, next_at: ends.filter(|_| left == 0 && policy.transfers > 0) }
}

/// Length of a period, in milliseconds.
pub fn period(policy: &Policy) -> i64 {
    i64::from(policy.transfer_days).saturating_mul(Timestamp::DAY)
}

/// What the database knows of a license that is at the source, and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub license: LicenseId,
    /// Of what.
    pub title: TitleId,
    /// The terms that it was bought under.
    pub policy: Policy,
    /// Transfers in the period that began last.
    pub transfers: u32,
    /// When that period began.
    pub transfers_since: Option<Timestamp>,
    /// When what was bought runs out, if it does.
    pub expires_at: Option<Timestamp>,
    /// Whether the destination has a license by the same entitlement.
    pub at_destination: bool,
    /// Whether the source has fetched it since it came there.
    pub fetched: bool,
    /// The latest moment that any device was told it may run it until, without asking again.
    pub runs_until: Option<Timestamp>,
}

impl Held {
    /// Until when the source may still start it, if it never reaches the network again: absent where it cannot. It may have fetched it, have
    /// asked for it anew, and not fetched it again; or have been moved away from and come back to: what was promised in between is assumed
    /// to have been promised to it.
    fn source_runs_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.runs_until.filter(|until| self.fetched || *until > now)
    }
}

/// From where to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The device that gives up.
    pub source: DeviceId,
    /// Whether it is registered for the user.
    pub source_registered: bool,
    /// The device that receives.
    pub destination: DeviceId,
    /// Likewise.
    pub destination_registered: bool,
    /// What; absent where everything moves and the source is taken out.
    pub title: Option<TitleId>,
}

/// A license that is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub license: LicenseId,
    /// Transfers that are left afterwards.
    pub left: u32,
    /// Until when the source may still start it, if it never reaches the network again.
    pub source_runs_until: Option<Timestamp>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Licenses that move.
    pub moves: Vec<Move>,
    /// Licenses of a source that is taken out, which nobody could use at the destination: they end, and their places become free. Each that
    /// has not run out counts as a transfer.
    pub ends: Vec<LicenseId>,
    /// Whether the source is taken out of the user entry (D10).
    pub deregister: bool,
}

/// Decides a transfer: all of it, or none.
///
/// # Errors
/// [`Code::DeviceNotRegistered`], [`Code::TransferNotAllowed`] with why.
pub fn decide(ask: &Ask, held: &[Held], now: Timestamp) -> Result<Plan, Refusal> {
    if !ask.source_registered {
        return Err(Refusal::with(Code::DeviceNotRegistered, "the source is not one of your devices"));
    }
    if !ask.destination_registered {
        return Err(Refusal::with(Code::DeviceNotRegistered, "the destination is not one of your devices"));
    }
    if ask.source == ask.destination {
        return Err(not_allowed("source and destination are the same device"));
    }
    match &ask.title {
        Some(title) => one(title, held, now),
        None => everything(held, now),
    }
}

fn one(title: &TitleId, held: &[Held], now: Timestamp) -> Result<Plan, Refusal> {
    let (of_title, others): (Vec<&Held>, Vec<&Held>) = held.iter().partition(|held| held.title == *title);
    if of_title.is_empty() {
        return Err(not_allowed("the title is not licensed to the source"));
    }
    let mut plan = Plan::default();
    for held in of_title.into_iter().filter(|held| !is_over(held.expires_at, now)) {
        if held.at_destination {
            return Err(not_allowed("the destination is licensed for it already"));
        }
        plan.moves.push(moved(held, now)?);
        plan.deregister |= held.policy.source == SourceDevice::Deregistered;
    }
    if plan.moves.is_empty() {
        return Err(not_allowed("what was bought or tried has run out"));
    }
    if plan.deregister && others.iter().any(|held| !is_over(held.expires_at, now)) {
        return Err(not_allowed(
            "by its terms the source stops being one of your devices, and other titles are licensed there: move everything (`--all`)",
        ));
    }
    if plan.deregister {
        plan.ends = held.iter().filter(|held| is_over(held.expires_at, now)).map(|held| held.license).collect();
    }
    Ok(plan)
}

/// What the destination has already ends at the source, and its place becomes free for another device. That is a transfer as well: else by
/// taking devices out, again and again, as many as are wanted would hold what one order is for a few of.
fn everything(held: &[Held], now: Timestamp) -> Result<Plan, Refusal> {
    let mut plan = Plan { deregister: true, ..Plan::default() };
    for held in held {
        if is_over(held.expires_at, now) {
            plan.ends.push(held.license);
            continue;
        }
        let moved = moved(held, now)?;
        if held.at_destination {
            plan.ends.push(held.license);
        } else {
            plan.moves.push(moved);
        }
    }
    Ok(plan)
}

/// Moves a license, where its terms leave a transfer for that.
fn moved(held: &Held, now: Timestamp) -> Result<Move, Refusal> {
    let Left { left, next_at } = left(&held.policy, held.transfers, held.transfers_since, now);
    if let Some(left) = left.checked_sub(1) {
        return Ok(Move { license: held.license, left, source_runs_until: held.source_runs_until(now) });
    }
    let title = &held.title;
    Err(match next_at {
        Some(at) => {
            let days = at.distance(now).div_ceil(Timestamp::DAY.unsigned_abs());
            not_allowed(&format!("{title}: no transfer is left in this period; the next period begins in {days} days"))
        }
        None => not_allowed(&format!("{title}: its terms allow no transfer")),
    })
}

fn not_allowed(why: &str) -> Refusal {
    Refusal::with(Code::TransferNotAllowed, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(100 * Timestamp::DAY);
    const SOURCE: DeviceId = DeviceId::from_bytes([1; 16]);
    const DESTINATION: DeviceId = DeviceId::from_bytes([2; 16]);

    fn title(name: &str) -> TitleId {
        name.parse().expect("a title's name")
    }

    fn held(number: u8, name: &str) -> Held {
        Held {
            license: LicenseId::from_bytes([number; 16]),
            title: title(name),
            policy: Policy::default(),
            transfers: 0,
            transfers_since: None,
            expires_at: None,
            at_destination: false,
            fetched: false,
            runs_until: None,
        }
    }

    fn ask(name: Option<&str>) -> Ask {
        Ask { source: SOURCE, source_registered: true, destination: DESTINATION, destination_registered: true, title: name.map(title) }
    }

    fn refused(ask: &Ask, held: &[Held]) -> (Code, String) {
        let refusal = decide(ask, held, NOW).expect_err("refused");
        (refusal.code, refusal.detail.unwrap_or_default())
    }

    #[test]
    fn d8_one_title_moves_and_the_others_stay() {
        let plan = decide(&ask(Some("a")), &[held(1, "a"), held(2, "b")], NOW).expect("allowed");
        let moved = Move { license: LicenseId::from_bytes([1; 16]), left: 2, source_runs_until: None };
        assert_eq!(plan, Plan { moves: vec![moved], ends: vec![], deregister: false });
    }

    #[test]
    fn d10_it_is_told_until_when_the_source_may_still_run_offline() {
        let told = |held: Held| decide(&ask(Some("a")), &[held], NOW).expect("allowed").moves[0].source_runs_until;
        let (soon, past) = (Some(Timestamp(NOW.0 + 5)), Some(Timestamp(NOW.0 - 5)));
        assert_eq!(told(Held { fetched: true, runs_until: soon, ..held(1, "a") }), soon);
        assert_eq!(told(Held { fetched: true, runs_until: past, ..held(1, "a") }), past);
        assert_eq!(told(held(1, "a")), None, "never fetched");
        assert_eq!(told(Held { runs_until: soon, ..held(1, "a") }), soon, "it may have been here before, or be asked for anew");
        assert_eq!(told(Held { runs_until: past, ..held(1, "a") }), None);
    }

    #[test]
    fn d10_source_and_destination_must_be_the_users_devices() {
        let stranger = Ask { destination_registered: false, ..ask(Some("a")) };
        assert_eq!(refused(&stranger, &[held(1, "a")]).0, Code::DeviceNotRegistered);
        let gone = Ask { source_registered: false, ..ask(Some("a")) };
        assert_eq!(refused(&gone, &[held(1, "a")]).0, Code::DeviceNotRegistered);
        let same = Ask { destination: SOURCE, ..ask(Some("a")) };
        assert_eq!(refused(&same, &[held(1, "a")]).0, Code::TransferNotAllowed);
    }

    #[test]
    fn what_is_not_there_has_run_out_or_is_at_the_destination_does_not_move() {
        assert!(refused(&ask(Some("b")), &[held(1, "a")]).1.contains("not licensed to the source"));
        let over = Held { expires_at: Some(NOW), ..held(1, "a") };
        assert!(refused(&ask(Some("a")), &[over]).1.contains("run out"));
        let there = Held { at_destination: true, ..held(1, "a") };
        assert!(refused(&ask(Some("a")), &[there]).1.contains("licensed for it already"));
    }

    #[test]
    fn everything_moves_and_the_source_is_taken_out() {
        let over = Held { expires_at: Some(NOW), ..held(3, "c") };
        let there = Held { at_destination: true, ..held(4, "d") };
        let plan = decide(&ask(None), &[held(1, "a"), held(2, "b"), over, there], NOW).expect("allowed");
        assert_eq!(plan.moves.iter().map(|moved| moved.license.as_bytes()[0]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(plan.ends.iter().map(|license| license.as_bytes()[0]).collect::<Vec<_>>(), [3, 4]);
        assert!(plan.deregister);
        let nothing = decide(&ask(None), &[], NOW).expect("an empty device is retired too");
        assert_eq!(nothing, Plan { deregister: true, ..Plan::default() });
    }

    #[test]
    fn everything_moves_or_nothing() {
        let spent = Held { transfers: 3, transfers_since: Some(Timestamp(NOW.0 - Timestamp::DAY)), ..held(2, "b") };
        let (code, detail) = refused(&ask(None), &[held(1, "a"), spent.clone()]);
        assert_eq!(code, Code::TransferNotAllowed);
        assert_eq!(detail, "b: no transfer is left in this period; the next period begins in 29 days");
        // Nor is a place given up for another device without one.
        let there = Held { at_destination: true, ..spent.clone() };
        assert_eq!(refused(&ask(None), &[there]).0, Code::TransferNotAllowed);
        let over = Held { expires_at: Some(NOW), ..spent };
        assert!(decide(&ask(None), &[over], NOW).is_ok(), "what has run out holds nobody up");
    }

    #[test]
    fn where_the_terms_deregister_the_source_the_last_title_moves_alone_and_others_only_together() {
        let strict = Held { policy: Policy { source: SourceDevice::Deregistered, ..Policy::default() }, ..held(1, "a") };
        assert!(decide(&ask(Some("a")), std::slice::from_ref(&strict), NOW).expect("the last").deregister);
        let over = Held { expires_at: Some(NOW), ..held(3, "c") };
        let plan = decide(&ask(Some("a")), &[strict.clone(), over], NOW).expect("the last that can run");
        assert_eq!((plan.deregister, plan.ends), (true, vec![LicenseId::from_bytes([3; 16])]));
        assert!(refused(&ask(Some("a")), &[strict.clone(), held(2, "b")]).1.contains("--all"));
        assert!(!decide(&ask(Some("b")), &[strict.clone(), held(2, "b")], NOW).expect("terms of another title").deregister);
        assert!(decide(&ask(None), &[strict, held(2, "b")], NOW).expect("everything").deregister);
    }

    #[test]
    fn transfers_are_counted_in_periods_that_begin_with_the_first() {
        let policy = Policy { transfers: 2, transfer_days: 10, ..Policy::default() };
        let days_ago = |days: i64| Some(Timestamp(NOW.0 - days * Timestamp::DAY));
        let of = |used, since| left(&policy, used, since, NOW);
        assert_eq!(of(0, None), Left { left: 2, next_at: None });
        assert_eq!(of(1, days_ago(9)), Left { left: 1, next_at: None });
        assert_eq!(of(2, days_ago(9)), Left { left: 0, next_at: Some(Timestamp(NOW.0 + Timestamp::DAY)) });
        assert_eq!(of(2, days_ago(10)), Left { left: 2, next_at: None });
        let none = Policy { transfers: 0, ..policy };
        assert_eq!(left(&none, 0, None, NOW), Left { left: 0, next_at: None });
        assert_eq!(left(&none, 1, Some(NOW), NOW), Left { left: 0, next_at: None }, "terms that were changed promise nothing for later");
        let held = Held { policy: none, ..held(1, "a") };
        assert!(refused(&ask(Some("a")), &[held]).1.contains("allow no transfer"));
    }
}
