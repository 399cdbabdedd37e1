//! Whether a licensed title may be started (D7, D10): the terminal's own decision, from license, hardware and time.

use crate::{Code, DeviceId, License, Refusal, Timestamp};

/// Times that a terminal knows besides its clock. Whoever turns the clock back gains nothing by it: the latest of all counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The latest that the authority has signed.
    pub signed: Option<Timestamp>,
    /// Until when it was run by this license, as [`seen`] has it.
    pub seen: Option<Timestamp>,
}

/// What is known when a title is to be started.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The license, verified.
    pub license: &'a License,
    /// The device ID that was stored with it: the authentication information of D7.
    pub stored: DeviceId,
    /// What the hardware says; something that cannot be read is not what the license is for.
    pub hardware: Option<DeviceId>,
    /// As [`trusted`] has it.
    pub now: Timestamp,
    /// Whether the authority has said, now or before, that it is over on this device.
    pub ended: bool,
}

/// It may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// As it should be.
    Run,
    /// Its lease is over; for a while it starts all the same.
    Grace {
        /// Until then.
        until: Timestamp,
    },
}

/// The time that counts: that of the clock, unless a later one is known to have passed. A license that was issued later than all of these
/// proves a later time as well.
pub fn trusted(clock: Timestamp, known: Known, license: &License) -> Timestamp {
    let issued = Timestamp(license.iat.saturating_mul(1000));
    [Some(clock), known.signed, known.seen, Some(issued)].into_iter().flatten().max().unwrap_or(clock)
}

/// Compares before anything is started.
///
/// # Errors
/// [`Code::RunNotPermitted`] (D7), [`Code::LicenseEnded`] (D10), [`Code::LicenseExpired`].
pub fn decide(facts: &Facts<'_>) -> Result<Permission, Refusal> {
    compare(facts.stored, facts.hardware)?;
    if facts.license.cnf.kid != facts.stored {
        return Err(Refusal::with(Code::RunNotPermitted, "the license names another device"));
    }
    if facts.ended {
        return Err(Code::LicenseEnded.into());
    }
    let (Some(exp), Some(until)) = (facts.license.exp, until(facts.license)) else { return Ok(Permission::Run) };
    let end = Timestamp(exp.saturating_mul(1000));
    match facts.now {
        now if now < end => Ok(Permission::Run),
        now if now < until => Ok(Permission::Grace { until }),
        now => Err(expired(facts.license, end, now)),
    }
}

/// D7 alone: is this the device that the title was installed on? Asked before anything else of the license is looked at.
///
/// # Errors
/// [`Code::RunNotPermitted`].
pub fn compare(stored: DeviceId, hardware: Option<DeviceId>) -> Result<(), Refusal> {
    match hardware == Some(stored) {
        true => Ok(()),
        false => Err(Refusal::with(Code::RunNotPermitted, "it was installed on another device")),
    }
}

fn expired(license: &License, end: Timestamp, now: Timestamp) -> Refusal {
    let since = match now.distance(end) / Timestamp::DAY.unsigned_abs() {
        0 => "less than a day ago".to_owned(),
        1 => "a day ago".to_owned(),
        days => format!("{days} days ago"),
    };
    let (what, hint) = match (license.ends, license.trial) {
        (false, _) => ("its lease ended", None),
        (true, false) => {
            ("what was bought ended", Some("Buy it again: `counterfoil buy TITLE`. If the clock of this device is wrong, set it."))
        }
        (true, true) => ("the trial ended", Some("Buy it: `counterfoil buy TITLE`. If the clock of this device is wrong, set it.")),
    };
    let refusal = Refusal::with(Code::LicenseExpired, format!("{what} {since}, as this device tells the time"));
    Refusal { hint: hint.map_or(refusal.hint, str::to_owned), ..refusal }
}

/// What to remember as [`Known::seen`] when a title that was permitted at `begun` (as [`trusted`] has it) has run for `elapsed` milliseconds,
/// whatever the clock says meanwhile. A clock that is turned back between two runs, or while one lasts, does not undo it: the time of running counts.
///
/// Never later than the license allows, so that a clock that was far ahead once costs this license its lease at most, and nothing from the
/// moment when the authority is reached again and renews it. None where the license has no end.
pub fn seen(license: &License, known: Known, begun: Timestamp, elapsed: i64) -> Option<Timestamp> {
    let until = until(license)?;
    let now = Timestamp(begun.0.saturating_add(elapsed.max(0))).min(until);
    Some(known.seen.map_or(now, |seen| seen.max(now)))
}

/// The end of the grace period.
fn until(license: &License) -> Option<Timestamp> {
    let end = license.exp?.saturating_add(license.grace.max(0));
    Some(Timestamp(end.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GrantId, LicenseId, LicensedDevice};

    const DEVICE: DeviceId = DeviceId::from_bytes([1; 16]);
    const OTHER: DeviceId = DeviceId::from_bytes([2; 16]);
    const DAY: i64 = 86_400;
    const ISSUED: i64 = 1_800_000_000;

    fn license(days: Option<i64>, grace_days: i64) -> License {
        License {
            iss: "test".into(),
            sub: LicenseId::from_bytes([3; 16]),
            jti: "1".into(),
            iat: ISSUED,
            exp: days.map(|days| ISSUED + days * DAY),
            grace: grace_days * DAY,
            ends: false,
            cnf: LicensedDevice { kid: DEVICE },
            title: "sky-raider".parse().expect("a title"),
            release: "1.0.0".parse().expect("a version"),
            grant: GrantId::from_bytes([4; 16]),
            trial: false,
            devices: 1,
            control_program: false,
            attributes: Default::default(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp((ISSUED + seconds) * 1000)
    }

    fn facts(license: &License, now: Timestamp) -> Facts<'_> {
        Facts { license, stored: DEVICE, hardware: Some(DEVICE), now, ended: false }
    }

    fn code(facts: &Facts<'_>) -> Result<Permission, Code> {
        decide(facts).map_err(|refusal| refusal.code)
    }

    #[test]
    fn d7_it_runs_on_the_device_that_was_stored_and_that_the_license_names_and_on_no_other() {
        let license = license(Some(30), 7);
        let good = facts(&license, at(0));
        assert_eq!(code(&good), Ok(Permission::Run));
        for hardware in [Some(OTHER), None] {
            assert_eq!(code(&Facts { hardware, ..good }), Err(Code::RunNotPermitted));
        }
        // Whoever edits what was stored is told by the license itself.
        assert_eq!(code(&Facts { stored: OTHER, hardware: Some(OTHER), ..good }), Err(Code::RunNotPermitted));
        assert_eq!(code(&Facts { stored: OTHER, ..good }), Err(Code::RunNotPermitted));
    }

    #[test]
    fn d10_what_the_authority_has_ended_runs_no_more_however_long_its_lease() {
        for license in [license(Some(30), 7), license(None, 0)] {
            assert_eq!(code(&Facts { ended: true, ..facts(&license, at(0)) }), Err(Code::LicenseEnded));
        }
    }

    #[test]
    fn a_lease_runs_to_its_end_and_with_a_warning_through_its_grace() {
        let license = license(Some(30), 7);
        let until = at(37 * DAY);
        for (seconds, expected) in [
            (30 * DAY - 1, Ok(Permission::Run)),
            (30 * DAY, Ok(Permission::Grace { until })),
            (37 * DAY - 1, Ok(Permission::Grace { until })),
            (37 * DAY, Err(Code::LicenseExpired)),
            (3700 * DAY, Err(Code::LicenseExpired)),
        ] {
            assert_eq!(code(&facts(&license, at(seconds))), expected, "{seconds}");
        }
    }

    #[test]
    fn without_a_lease_it_runs_for_good() {
        assert_eq!(code(&facts(&license(None, 0), Timestamp(i64::MAX))), Ok(Permission::Run));
    }

    #[test]
    fn times_that_nobody_means_overflow_nothing() {
        for (exp, grace, expected) in [
            (i64::MAX, i64::MAX, Ok(Permission::Run)),
            (i64::MIN, 7, Err(Code::LicenseExpired)),
            (ISSUED, i64::MIN, Err(Code::LicenseExpired)),
            (ISSUED, i64::MAX, Ok(Permission::Grace { until: Timestamp(i64::MAX) })),
        ] {
            let license = License { exp: Some(exp), grace, ..license(None, 0) };
            assert_eq!(code(&facts(&license, at(0))), expected, "{exp} {grace}");
        }
    }

    #[test]
    fn an_expiry_says_what_ended_and_what_helps() {
        let lease = license(Some(1), 0);
        let refusal = decide(&facts(&lease, at(3 * DAY))).expect_err("over");
        assert_eq!(refusal.detail.as_deref(), Some("its lease ended 2 days ago, as this device tells the time"));
        assert!(refusal.hint.contains("Connect"), "{}", refusal.hint);
        for (trial, words) in [(false, "what was bought ended"), (true, "the trial ended")] {
            let license = License { ends: true, trial, ..license(Some(1), 0) };
            let refusal = decide(&facts(&license, at(DAY + 5))).expect_err("over");
            assert_eq!(refusal.detail, Some(format!("{words} less than a day ago, as this device tells the time")));
            assert!(refusal.hint.contains("counterfoil buy"), "{}", refusal.hint);
        }
    }

    #[test]
    fn a_clock_turned_back_gains_nothing() {
        let license = license(Some(30), 0);
        let back = Timestamp(at(0).0 - 3650 * Timestamp::DAY);
        let known = |signed, seen| Known { signed, seen };
        assert_eq!(trusted(back, known(Some(at(31 * DAY)), None), &license), at(31 * DAY));
        assert_eq!(trusted(back, known(None, Some(at(31 * DAY))), &license), at(31 * DAY));
        assert_eq!(trusted(back, Known::default(), &license), at(0), "it was issued then, so it is not earlier");
        assert_eq!(trusted(at(40 * DAY), known(Some(at(1)), Some(at(2))), &license), at(40 * DAY));
    }

    #[test]
    fn a_clock_that_stands_still_does_not_stop_the_time_of_running() {
        let license = license(Some(1), 0);
        let mut known = Known::default();
        // The clock is put back to the first day before each run of two hours.
        for _ in 0..12 {
            let begun = trusted(at(0), known, &license);
            known.seen = seen(&license, known, begun, 2 * 3600 * 1000);
        }
        assert_eq!(known.seen, Some(at(DAY)));
        assert_eq!(code(&facts(&license, trusted(at(0), known, &license))), Err(Code::LicenseExpired));
        // Put back while it runs: nothing is undone.
        assert_eq!(seen(&license, known, at(5), -1_000_000), Some(at(DAY)));
    }

    #[test]
    fn a_clock_far_ahead_is_remembered_no_further_than_the_license_allows() {
        let (lease, for_good) = (license(Some(30), 7), license(None, 0));
        let ahead = at(3650 * DAY);
        assert_eq!(code(&facts(&lease, trusted(ahead, Known::default(), &lease))), Err(Code::LicenseExpired));
        // Refused, so nothing was run and nothing remembered: with the clock put right it runs again.
        assert_eq!(code(&facts(&lease, trusted(at(5), Known::default(), &lease))), Ok(Permission::Run));
        // It jumped ahead while the title ran.
        let jumped = Known { seen: seen(&lease, Known::default(), at(5), 3650 * Timestamp::DAY), ..Known::default() };
        assert_eq!(jumped.seen, Some(at(37 * DAY)));
        let renewed = License { iat: ISSUED + DAY, exp: Some(ISSUED + 31 * DAY), ..lease };
        assert_eq!(code(&facts(&renewed, trusted(at(DAY), Known::default(), &renewed))), Ok(Permission::Run));
        assert_eq!(seen(&for_good, Known::default(), ahead, 5), None);
    }
}
