//! Who may have a license (D5), who may fetch it (D6), and for how long it is good without the authority being asked again (D10).

use crate::{Code, DeviceId, EntitlementId, GrantId, LicenseId, Policy, Refusal, Timestamp};

/// Where a license stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LicenseState {
    /// User, device and title are registered together (D5), and nobody has asked for it yet.
    Registered,
    /// It has a transaction ID and waits to be fetched (D6).
    Issued,
    /// Fetched, with its keys; the installation may be under way.
    Delivered,
    /// Installed.
    Settled,
    /// Given back or taken back.
    Ended,
}

impl LicenseState {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Registered, Self::Issued, Self::Delivered, Self::Settled, Self::Ended];

    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Issued => "issued",
            Self::Delivered => "delivered",
            Self::Settled => "settled",
            Self::Ended => "ended",
        }
    }

    /// From the database.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What the database knows of a license and of the entitlement behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LicenseFacts {
    /// Which.
    pub license: LicenseId,
    /// The device that it is at.
    pub device: DeviceId,
    /// Where it stands.
    pub state: LicenseState,
    /// By which grant it was fetched, if it was since it came to this device.
    pub grant: Option<GrantId>,
    /// Whether the entitlement was not given back or taken back.
    pub active: bool,
    /// When the entitlement runs out, if it does.
    pub expires_at: Option<Timestamp>,
    /// Whether nobody paid for it.
    pub trial: bool,
}

impl LicenseFacts {
    fn is_good(&self, now: Timestamp) -> bool {
        self.active && self.state != LicenseState::Ended && !is_over(self.expires_at, now)
    }
}

/// An entitlement of the user to the title, whichever devices have a license by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Which.
    pub entitlement: EntitlementId,
    /// Devices that have a license by it.
    pub used: u32,
    /// Devices that may.
    pub allowed: u32,
    /// When it runs out, if it does.
    pub expires_at: Option<Timestamp>,
}

/// What to do with a request for a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Make a transaction ID for the license that is registered.
    Issue(LicenseId),
    /// It has one; the same is told again.
    Same(LicenseId),
    /// It was installed and is lost: the same transaction ID can be returned once more, for a new grant.
    Reopen(LicenseId),
    /// Register this device with the entitlement too, which has a place left, and make a transaction ID.
    TakePlace(EntitlementId),
}

/// D5: user, device and title must be registered together, or the user must have a place left for one more device. Of several licenses
/// the one that lasts longest is taken, and one that was paid for before a trial.
///
/// # Errors
/// [`Code::NotEntitled`].
pub fn ask(at_device: &[LicenseFacts], places: &[Places], again: bool, now: Timestamp) -> Result<Ask, Refusal> {
    let good = at_device.iter().filter(|license| license.is_good(now));
    if let Some(license) = good.max_by_key(|license| (!license.trial, lasts(license.expires_at))) {
        return Ok(match license.state {
            LicenseState::Registered => Ask::Issue(license.license),
            LicenseState::Settled if again => Ask::Reopen(license.license),
            _ => Ask::Same(license.license),
        });
    }
    let good = places.iter().filter(|place| !is_over(place.expires_at, now));
    let free = good.clone().filter(|place| place.used < place.allowed).max_by_key(|place| lasts(place.expires_at));
    match free {
        Some(place) => Ok(Ask::TakePlace(place.entitlement)),
        None if good.count() > 0 => Err(Refusal::with(Code::NotEntitled, "it is licensed to as many of your devices as the order allows")),
        None if at_device.iter().any(|license| license.active) || !places.is_empty() => {
            Err(Refusal::with(Code::NotEntitled, "what was bought or tried has run out"))
        }
        None => Err(Code::NotEntitled.into()),
    }
}

/// What to do with a transaction ID that is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeem {
    /// Draw a grant.
    Deliver,
    /// The same grant again: a crash between fetching and installing loses nothing.
    Again(GrantId),
}

/// D6: the license goes to the device that it was issued to, once; until the installation is confirmed, the same one again.
///
/// # Errors
/// [`Code::TransactionUnknown`], [`Code::TransactionSpent`], [`Code::LicenseEnded`].
pub fn redeem(license: Option<&LicenseFacts>, device: DeviceId, now: Timestamp) -> Result<Redeem, Refusal> {
    let license = license.filter(|license| license.device == device).ok_or(Code::TransactionUnknown)?;
    stands(license, now)?;
    match (license.state, license.grant) {
        (LicenseState::Issued, _) => Ok(Redeem::Deliver),
        (LicenseState::Delivered, Some(grant)) => Ok(Redeem::Again(grant)),
        (LicenseState::Settled, _) => Err(Code::TransactionSpent.into()),
        _ => Err(Code::TransactionUnknown.into()),
    }
}

/// Whether a license may be made good for longer: it is still at this device, and was fetched there.
///
/// # Errors
/// [`Code::LicenseEnded`], with why.
pub fn renew(license: Option<&LicenseFacts>, device: DeviceId, now: Timestamp) -> Result<GrantId, Refusal> {
    // One that never was is told as one that is no more: nobody learns from it which there are.
    let license = license.ok_or(Code::LicenseEnded)?;
    if license.device != device {
        return Err(Refusal::with(Code::LicenseEnded, "it was moved to another of your devices"));
    }
    stands(license, now)?;
    match (license.state, license.grant) {
        (LicenseState::Delivered | LicenseState::Settled, Some(grant)) => Ok(grant),
        _ => Err(Refusal::with(Code::LicenseEnded, "it waits to be installed here again")),
    }
}

/// Whether there is anything left to be had by it.
fn stands(license: &LicenseFacts, now: Timestamp) -> Result<(), Refusal> {
    if license.state == LicenseState::Ended || !license.active {
        return Err(Refusal::with(Code::LicenseEnded, "it was given back or taken back"));
    }
    if is_over(license.expires_at, now) {
        return Err(Refusal::with(Code::LicenseEnded, "what was bought or tried has run out"));
    }
    Ok(())
}

/// How long a license is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Until when, without the authority being asked again; absent: for good.
    pub until: Option<Timestamp>,
    /// How much longer the title still starts, with a warning, in milliseconds.
    pub grace: i64,
    /// Whether `until` is the end of what was bought, and renewing does not help.
    pub ends: bool,
}

impl Lease {
    /// The last moment that a title can be started at by it.
    pub fn runs_until(&self) -> Timestamp {
        self.until.map_or(Timestamp::FOREVER, |until| Timestamp(until.0.saturating_add(self.grace)))
    }
}

/// The lease of a license that is made at `now`: what the terms give, and never longer than what was bought lasts, its grace included.
pub fn lease(policy: &Policy, expires_at: Option<Timestamp>, now: Timestamp) -> Lease {
    let days = |days: u32| i64::from(days).saturating_mul(Timestamp::DAY);
    let leased = (policy.lease_days > 0).then(|| Timestamp(now.0.saturating_add(days(policy.lease_days))));
    let until = [leased, expires_at].into_iter().flatten().min();
    let Some(at) = until else { return Lease { until: None, grace: 0, ends: false } };
    let left = expires_at.map_or(i64::MAX, |end| end.0.saturating_sub(at.0));
    Lease { until, grace: days(policy.grace_days).min(left), ends: expires_at == until }
}

/// Whether what runs out at `expires_at` has.
pub fn is_over(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|end| end <= now)
}

fn lasts(expires_at: Option<Timestamp>) -> Timestamp {
    expires_at.unwrap_or(Timestamp::FOREVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const HERE: DeviceId = DeviceId::from_bytes([1; 16]);
    const THERE: DeviceId = DeviceId::from_bytes([2; 16]);
    const LICENSE: LicenseId = LicenseId::from_bytes([3; 16]);
    const OTHER: LicenseId = LicenseId::from_bytes([4; 16]);
    const GRANT: GrantId = GrantId::from_bytes([5; 16]);
    const ENTITLEMENT: EntitlementId = EntitlementId::from_bytes([6; 16]);
    const OVER: Option<Timestamp> = Some(NOW);

    fn license(state: LicenseState) -> LicenseFacts {
        let grant = matches!(state, LicenseState::Delivered | LicenseState::Settled).then_some(GRANT);
        LicenseFacts { license: LICENSE, device: HERE, state, grant, active: true, expires_at: None, trial: false }
    }

    fn places(used: u32) -> Places {
        Places { entitlement: ENTITLEMENT, used, allowed: 2, expires_at: None }
    }

    fn asked(at_device: &[LicenseFacts], places: &[Places]) -> Result<Ask, Code> {
        ask(at_device, places, false, NOW).map_err(|refusal| refusal.code)
    }

    #[test]
    fn d5_without_user_device_and_title_registered_together_there_is_no_license() {
        assert_eq!(asked(&[], &[]), Err(Code::NotEntitled));
        assert_eq!(asked(&[license(LicenseState::Ended)], &[]), Err(Code::NotEntitled));
        assert_eq!(asked(&[LicenseFacts { active: false, ..license(LicenseState::Settled) }], &[]), Err(Code::NotEntitled));
        assert_eq!(asked(&[LicenseFacts { expires_at: OVER, ..license(LicenseState::Registered) }], &[]), Err(Code::NotEntitled));
    }

    #[test]
    fn d5_a_registered_license_is_issued_and_afterwards_the_same() {
        assert_eq!(asked(&[license(LicenseState::Registered)], &[places(1)]), Ok(Ask::Issue(LICENSE)));
        for state in [LicenseState::Issued, LicenseState::Delivered, LicenseState::Settled] {
            assert_eq!(asked(&[license(state)], &[places(1)]), Ok(Ask::Same(LICENSE)));
        }
    }

    #[test]
    fn only_an_installed_license_is_opened_again_and_only_when_asked_so() {
        let again = |state| ask(&[license(state)], &[], true, NOW).expect("entitled");
        assert_eq!(again(LicenseState::Settled), Ask::Reopen(LICENSE));
        assert_eq!(again(LicenseState::Delivered), Ask::Same(LICENSE));
        assert_eq!(again(LicenseState::Issued), Ask::Same(LICENSE));
        assert_eq!(again(LicenseState::Registered), Ask::Issue(LICENSE));
    }

    #[test]
    fn another_device_takes_a_place_while_there_is_one() {
        assert_eq!(asked(&[], &[places(1)]), Ok(Ask::TakePlace(ENTITLEMENT)));
        assert_eq!(asked(&[], &[places(2)]), Err(Code::NotEntitled));
        assert_eq!(asked(&[], &[Places { expires_at: OVER, ..places(1) }]), Err(Code::NotEntitled));
        let ended = LicenseFacts { active: false, ..license(LicenseState::Settled) };
        assert_eq!(asked(&[ended], &[places(1)]), Ok(Ask::TakePlace(ENTITLEMENT)));
    }

    #[test]
    fn who_is_refused_is_told_whether_all_places_are_taken_or_over() {
        let told = |places: &[Places]| ask(&[], places, false, NOW).unwrap_err().detail.unwrap_or_default();
        assert!(told(&[places(2)]).contains("as many of your devices"), "{}", told(&[places(2)]));
        assert!(told(&[Places { expires_at: OVER, ..places(2) }]).contains("has run out"));
        assert_eq!(told(&[]), "");
    }

    #[test]
    fn of_several_licenses_the_one_that_was_paid_for_and_lasts_longest_is_taken() {
        let trial = LicenseFacts { trial: true, ..license(LicenseState::Settled) };
        let bought = LicenseFacts { license: OTHER, expires_at: Some(Timestamp(NOW.0 + 1)), ..license(LicenseState::Registered) };
        assert_eq!(asked(&[trial, bought], &[]), Ok(Ask::Issue(OTHER)));
        let longer = license(LicenseState::Registered);
        assert_eq!(asked(&[bought, longer], &[]), Ok(Ask::Issue(LICENSE)));
        assert_eq!(asked(&[longer, bought], &[]), Ok(Ask::Issue(LICENSE)));
    }

    fn redeemed(facts: &LicenseFacts, device: DeviceId) -> Result<Redeem, Code> {
        redeem(Some(facts), device, NOW).map_err(|refusal| refusal.code)
    }

    #[test]
    fn d6_an_issued_license_is_delivered_and_repeated_until_its_installation_is_confirmed() {
        assert_eq!(redeemed(&license(LicenseState::Issued), HERE), Ok(Redeem::Deliver));
        assert_eq!(redeemed(&license(LicenseState::Delivered), HERE), Ok(Redeem::Again(GRANT)));
        assert_eq!(redeemed(&license(LicenseState::Settled), HERE), Err(Code::TransactionSpent));
    }

    #[test]
    fn d6_a_transaction_of_another_device_is_as_unknown_as_one_that_never_was() {
        for state in LicenseState::ALL {
            assert_eq!(redeemed(&license(state), THERE), Err(Code::TransactionUnknown));
        }
        assert_eq!(redeem(None, HERE, NOW).map_err(|refusal| refusal.code), Err(Code::TransactionUnknown));
        assert_eq!(redeemed(&license(LicenseState::Registered), HERE), Err(Code::TransactionUnknown));
    }

    #[test]
    fn nothing_is_fetched_or_renewed_of_what_has_ended() {
        for facts in [
            license(LicenseState::Ended),
            LicenseFacts { active: false, ..license(LicenseState::Delivered) },
            LicenseFacts { expires_at: OVER, ..license(LicenseState::Delivered) },
        ] {
            assert_eq!(redeemed(&facts, HERE), Err(Code::LicenseEnded));
            assert_eq!(renewed(Some(&facts), HERE), Err(Code::LicenseEnded));
        }
    }

    fn renewed(facts: Option<&LicenseFacts>, device: DeviceId) -> Result<GrantId, Code> {
        renew(facts, device, NOW).map_err(|refusal| refusal.code)
    }

    #[test]
    fn d10_a_license_is_renewed_where_it_was_fetched_and_is_still() {
        assert_eq!(renewed(Some(&license(LicenseState::Delivered)), HERE), Ok(GRANT));
        assert_eq!(renewed(Some(&license(LicenseState::Settled)), HERE), Ok(GRANT));
        assert_eq!(renewed(Some(&license(LicenseState::Settled)), THERE), Err(Code::LicenseEnded), "moved away");
        assert_eq!(renewed(Some(&license(LicenseState::Issued)), HERE), Err(Code::LicenseEnded), "moved away and back");
        assert_eq!(renewed(None, HERE), Err(Code::LicenseEnded));
    }

    #[test]
    fn a_lease_is_as_long_as_the_terms_say_and_never_longer_than_what_was_bought() {
        let day = Timestamp::DAY;
        let terms = |lease_days, grace_days| Policy { lease_days, grace_days, ..Policy::default() };
        let at = |days: i64| Some(Timestamp(NOW.0 + days * day));
        let of = |policy: &Policy, end| lease(policy, end, NOW);
        assert_eq!(of(&terms(30, 7), None), Lease { until: at(30), grace: 7 * day, ends: false });
        assert_eq!(of(&terms(30, 7), at(90)), Lease { until: at(30), grace: 7 * day, ends: false });
        assert_eq!(of(&terms(30, 7), at(32)), Lease { until: at(30), grace: 2 * day, ends: false });
        assert_eq!(of(&terms(30, 7), at(10)), Lease { until: at(10), grace: 0, ends: true });
        assert_eq!(of(&terms(0, 7), at(10)), Lease { until: at(10), grace: 0, ends: true });
        let good = of(&terms(0, 7), None);
        assert_eq!((good, good.runs_until()), (Lease { until: None, grace: 0, ends: false }, Timestamp::FOREVER));
        assert_eq!(of(&terms(30, 7), None).runs_until(), Timestamp(NOW.0 + 37 * day));
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in LicenseState::ALL {
            assert_eq!(LicenseState::parse(state.as_str()), Some(state));
        }
        assert_eq!(LicenseState::parse("revoked"), None);
    }
}
