//! One managed copy per medium (C6–C8): who may have the keys of a medium, and who is told that it is spent.

use super::rights;
use crate::{CardId, Code, DeviceId, DriveId, GrantId, Refusal, Rights, Timestamp, UserId};

/// What the database knows of the user entry that the request names; absent when there is no such user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFacts {
    /// The card of the entry, where it has one.
    pub card: Option<CardId>,
    /// Whether that card (or other holder) has been declared dead.
    pub holder_dead: bool,
    /// Whether any device is registered in the entry.
    pub has_devices: bool,
    /// The device that asks is one of them, and has proven it.
    pub device_registered: bool,
    /// Whether any drive is registered in the entry.
    pub has_drives: bool,
    /// The drive named is one of them.
    pub drive_registered: bool,
}

/// What the request names besides the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// Who.
    pub user: UserId,
    /// With which card.
    pub card: Option<CardId>,
    /// On which device.
    pub device: Option<DeviceId>,
    /// To which drive.
    pub drive: Option<DriveId>,
}

/// What the database knows of the medium, once it has proven that it is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediumFacts {
    /// Taken out of use by the operator.
    pub retired: bool,
    /// As the database has them.
    pub rights: Rights,
    /// Copies claimed so far.
    pub copies_claimed: u32,
    /// Claims whose copy has not been confirmed yet.
    pub unsettled: Vec<OpenClaim>,
}

/// A claim that was granted and not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenClaim {
    /// Its grants, one for each title on the medium.
    pub grants: Vec<GrantId>,
    /// To whom.
    pub claimant: Claimant,
}

/// What to do with an admissible claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Flag one more copy as claimed, and issue new grants.
    Issue,
    /// The same grants again, bound to the same device and drive: a crash between claim and copy loses nothing.
    Again(Vec<GrantId>),
}

/// C6: whether the user entry is what the request says. Comes before anything about the medium is told.
///
/// # Errors
/// [`Code::UserInvalid`], [`Code::DeviceNotRegistered`].
pub fn decide_entry(claimant: &Claimant, facts: Option<&EntryFacts>) -> Result<(), Refusal> {
    let facts = facts.ok_or(Code::UserInvalid)?;
    if facts.holder_dead || facts.card != claimant.card {
        return Err(Code::UserInvalid.into());
    }
    // An entry without a device is bound to none; one with devices is used from one of them. Drives likewise.
    if facts.has_devices && !facts.device_registered {
        return Err(Refusal::with(Code::DeviceNotRegistered, "the device"));
    }
    if facts.has_drives && !facts.drive_registered {
        return Err(Refusal::with(Code::DeviceNotRegistered, "the drive"));
    }
    Ok(())
}

/// C7, C8: one of n copies, or the same grant again, or spent.
///
/// # Errors
/// [`Code::MediumRetired`], [`Code::RightMissing`], [`Code::MediumSpent`].
pub fn decide(claimant: &Claimant, medium: &MediumFacts, now: Timestamp) -> Result<Decision, Refusal> {
    if medium.retired {
        return Err(Code::MediumRetired.into());
    }
    if let Some(open) = medium.unsettled.iter().find(|open| open.claimant == *claimant) {
        return Ok(Decision::Again(open.grants.clone()));
    }
    if medium.rights.expired(now) {
        return Err(Refusal::with(Code::RightMissing, "the time to copy from it has passed"));
    }
    rights::library(&medium.rights)?;
    if medium.copies_claimed >= medium.rights.copies {
        return Err(Code::MediumSpent.into());
    }
    Ok(Decision::Issue)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);
    const CLAIMANT: Claimant = Claimant {
        user: UserId::from_bytes([1; 16]),
        card: Some(CardId::from_bytes([2; 16])),
        device: Some(DeviceId::from_bytes([3; 16])),
        drive: Some(DriveId::from_bytes([4; 16])),
    };

    fn registered() -> EntryFacts {
        EntryFacts {
            card: CLAIMANT.card,
            holder_dead: false,
            has_devices: true,
            device_registered: true,
            has_drives: true,
            drive_registered: true,
        }
    }

    fn entry(facts: EntryFacts) -> Result<(), Code> {
        decide_entry(&CLAIMANT, Some(&facts)).map_err(|refusal| refusal.code)
    }

    #[test]
    fn c6_user_card_device_and_drive_must_be_registered_together() {
        assert_eq!(entry(registered()), Ok(()));
        assert_eq!(decide_entry(&CLAIMANT, None).map_err(|r| r.code), Err(Code::UserInvalid));
        assert_eq!(entry(EntryFacts { card: None, ..registered() }), Err(Code::UserInvalid));
        assert_eq!(entry(EntryFacts { card: Some(CardId::from_bytes([9; 16])), ..registered() }), Err(Code::UserInvalid));
        assert_eq!(entry(EntryFacts { holder_dead: true, ..registered() }), Err(Code::UserInvalid));
        assert_eq!(entry(EntryFacts { device_registered: false, ..registered() }), Err(Code::DeviceNotRegistered));
        assert_eq!(entry(EntryFacts { drive_registered: false, ..registered() }), Err(Code::DeviceNotRegistered));
    }

    #[test]
    fn c5_an_entry_without_device_or_drive_is_bound_to_none() {
        let card_only =
            EntryFacts { has_devices: false, device_registered: false, has_drives: false, drive_registered: false, ..registered() };
        assert_eq!(entry(card_only), Ok(()));
    }

    fn medium() -> MediumFacts {
        MediumFacts { retired: false, rights: Rights::default(), copies_claimed: 0, unsettled: vec![] }
    }

    fn claim(facts: MediumFacts) -> Result<Decision, Code> {
        decide(&CLAIMANT, &facts, NOW).map_err(|refusal| refusal.code)
    }

    #[test]
    fn c7_an_unclaimed_medium_is_granted_and_c8_a_claimed_one_is_spent() {
        assert_eq!(claim(medium()), Ok(Decision::Issue));
        assert_eq!(claim(MediumFacts { copies_claimed: 1, ..medium() }), Err(Code::MediumSpent));
    }

    #[test]
    fn each_of_n_copies_is_granted_once() {
        let three = Rights { copies: 3, ..Rights::default() };
        assert_eq!(claim(MediumFacts { copies_claimed: 2, rights: three.clone(), ..medium() }), Ok(Decision::Issue));
        assert_eq!(claim(MediumFacts { copies_claimed: 3, rights: three, ..medium() }), Err(Code::MediumSpent));
        let none = Rights { copies: 0, ..Rights::default() };
        assert_eq!(claim(MediumFacts { rights: none, ..medium() }), Err(Code::MediumSpent));
    }

    #[test]
    fn before_confirm_the_same_claimant_gets_the_same_grant_and_anybody_else_none() {
        let open = OpenClaim { grants: vec![GrantId::from_bytes([7; 16])], claimant: CLAIMANT };
        let claimed = MediumFacts { copies_claimed: 1, unsettled: vec![open.clone()], ..medium() };
        assert_eq!(claim(claimed.clone()), Ok(Decision::Again(open.grants.clone())));
        for other in [
            Claimant { user: UserId::from_bytes([9; 16]), ..CLAIMANT },
            Claimant { card: None, ..CLAIMANT },
            Claimant { device: Some(DeviceId::from_bytes([9; 16])), ..CLAIMANT },
            Claimant { drive: Some(DriveId::from_bytes([9; 16])), ..CLAIMANT },
        ] {
            assert_eq!(decide(&other, &claimed, NOW).map_err(|r| r.code), Err(Code::MediumSpent), "{other:?}");
        }
    }

    #[test]
    fn what_was_claimed_in_time_can_still_be_copied_after_the_end() {
        let ended = Rights { expires_at: Some(NOW), ..Rights::default() };
        assert_eq!(claim(MediumFacts { rights: ended.clone(), ..medium() }), Err(Code::RightMissing));
        let silent = Rights { play: false, ..Rights::default() };
        assert_eq!(
            claim(MediumFacts { rights: silent, ..medium() }),
            Err(Code::RightMissing),
            "a library that may not be played is not made"
        );
        let open = OpenClaim { grants: vec![], claimant: CLAIMANT };
        assert_eq!(claim(MediumFacts { rights: ended, copies_claimed: 1, unsettled: vec![open], ..medium() }), Ok(Decision::Again(vec![])));
    }

    #[test]
    fn a_retired_medium_gives_nothing_more() {
        let open = OpenClaim { grants: vec![], claimant: CLAIMANT };
        assert_eq!(claim(MediumFacts { retired: true, unsettled: vec![open], ..medium() }), Err(Code::MediumRetired));
    }
}
