//! User registration (C3–C5): first who the holder of keys belongs to, then what is added to that user's entry.

use crate::{Code, DeviceId, DriveId, Refusal, UserId, wire::HolderKind};
use serde::{Deserialize, Serialize};

/// Which of the three IDs a registration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Combination {
    /// A card.
    pub card: bool,
    /// A device.
    pub device: bool,
    /// A drive.
    pub drive: bool,
}

impl Combination {
    /// Who holds the keys: the card, or where there is none the device, or the drive (C5). Nobody for the empty combination.
    pub fn holder(self) -> Option<HolderKind> {
        match self {
            Combination { card: true, .. } => Some(HolderKind::Card),
            Combination { device: true, .. } => Some(HolderKind::Device),
            Combination { drive: true, .. } => Some(HolderKind::Drive),
            _ => None,
        }
    }
}

/// What the operator demands of registrations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Refuse registrations without a card.
    pub require_card: bool,
    /// Refuse registrations without a device.
    pub require_device: bool,
    /// Refuse registrations without a drive.
    pub require_drive: bool,
    /// Accept only cards that the operator has issued (C3: "checks the card against its database"), not any that has a key.
    pub issued_cards_only: bool,
    /// Devices, and likewise drives, that one user may have.
    pub max_devices: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { require_card: false, require_device: false, require_drive: false, issued_cards_only: false, max_devices: 10 }
    }
}

/// What the database knows of the holder of keys that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HolderFacts {
    /// Nothing.
    Unknown,
    /// A card that the operator has issued and nobody has registered.
    Issued,
    /// Registered: whose it is.
    Registered(UserId),
    /// Lost, replaced or revoked.
    Dead,
}

/// Whose entry the registration goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderDecision {
    /// A new user: reserve the holder for this fresh ID.
    Reserve(UserId),
    /// The user that the holder belongs to.
    Continue(UserId),
}

/// First step, in the holder's family: C4 and the policy of C5.
///
/// `fresh` is a random user ID, used where a new user is made. `claimed` is the user ID that was given, if any, and `expected` whether that
/// user expects the device that registers: then a holder that nobody knows may be theirs, and the second step decides it (D1).
///
/// # Errors
/// [`Code::CardUnknown`], [`Code::RegistrationNotAllowed`], [`Code::UserInvalid`].
pub fn decide_holder(
    policy: &Policy,
    combination: Combination,
    facts: &HolderFacts,
    claimed: Option<UserId>,
    expected: bool,
    fresh: UserId,
) -> Result<HolderDecision, Refusal> {
    let holder = combination.holder().ok_or_else(|| not_allowed("a card, a device or a drive"))?;
    for (required, given, what) in [
        (policy.require_card, combination.card, "a card"),
        (policy.require_device, combination.device, "a device"),
        (policy.require_drive, combination.drive, "a drive"),
    ] {
        if required && !given {
            return Err(not_allowed(what));
        }
    }
    match (facts, claimed) {
        (HolderFacts::Dead, _) => Err(Code::CardUnknown.into()),
        (HolderFacts::Unknown, _) if holder == HolderKind::Card && policy.issued_cards_only => Err(Code::CardUnknown.into()),
        (HolderFacts::Registered(user), Some(claimed)) if *user != claimed => Err(Code::UserInvalid.into()),
        (HolderFacts::Registered(user), _) => Ok(HolderDecision::Continue(*user)),
        (HolderFacts::Unknown | HolderFacts::Issued, Some(claimed)) if expected => Ok(HolderDecision::Reserve(claimed)),
        // A user ID in the hands of a holder that nobody registered with it proves nothing.
        (HolderFacts::Unknown | HolderFacts::Issued, Some(_)) => Err(Code::UserInvalid.into()),
        (HolderFacts::Unknown | HolderFacts::Issued, None) => Ok(HolderDecision::Reserve(fresh)),
    }
}

fn not_allowed(missing: &str) -> Refusal {
    Refusal::with(Code::RegistrationNotAllowed, format!("the operator asks for {missing}"))
}

/// What the user's family holds before this registration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFacts {
    /// What holds the keys of the entry; nothing where it has not been made yet, be it between the two steps of a first registration or
    /// because a shop has assigned the user ID and no device has come with it so far.
    pub holder: Option<HolderKind>,
    /// Whether a shop has assigned the user ID (D1).
    pub assigned: bool,
    /// Whether the holder that registers is one of the entry's: its card or drive, or where it has neither a device in it.
    pub established: bool,
    /// The device that registers is in the entry, with the same keys.
    pub has_device: bool,
    /// The device that registers has been announced, and is not in the entry yet.
    pub expected: bool,
    /// The device that registers was taken out of the entry, and has not been announced since.
    pub retired: bool,
    /// The device that registers, or the drive, was exchanged for another one (C14).
    pub exchanged: bool,
    /// The drive that registers is in it.
    pub has_drive: bool,
    /// How many other devices are in it, or expected.
    pub devices: u32,
    /// How many drives it has.
    pub drives: u32,
}

/// What to write into the user's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryDecision {
    /// Make the entry.
    pub create: bool,
    /// Add this device.
    pub add_device: Option<DeviceId>,
    /// Add this drive.
    pub add_drive: Option<DriveId>,
}

/// Second step, in the user's family. Repeating a registration changes nothing and succeeds. `holder` is what registers.
///
/// # Errors
/// [`Code::UserInvalid`]: the user exists, and either the device is one that nobody expects, or something new is to be added and the user
/// ID was not given: a lent card adds no device. [`Code::RegistrationNotAllowed`]: the entry's keys are held by another kind of holder.
/// [`Code::DeviceExchanged`]: what was exchanged comes back by the repair centre alone. [`Code::TooManyDevices`].
pub fn decide_entry(
    policy: &Policy,
    facts: &EntryFacts,
    holder: HolderKind,
    device: Option<DeviceId>,
    drive: Option<DriveId>,
    user_id_given: bool,
) -> Result<EntryDecision, Refusal> {
    let add_device = device.filter(|_| !facts.has_device);
    let add_drive = drive.filter(|_| !facts.has_drive);
    let adds = add_device.is_some() || add_drive.is_some();
    if adds && facts.exchanged {
        return Err(Code::DeviceExchanged.into());
    }
    if add_device.is_some() && facts.retired {
        return Err(Refusal::with(Code::UserInvalid, "this device was taken out of the entry, and must be announced again"));
    }
    if facts.holder.is_some() && adds && !user_id_given {
        return Err(Refusal::with(
            Code::UserInvalid,
            "this card's user has other devices or drives; adding one takes the user ID: `--user`",
        ));
    }
    if !facts.established {
        decide_newcomer(facts, holder, add_device.is_some())?;
    }
    let full = |count: u32, adds: bool| adds && count >= policy.max_devices;
    if full(facts.devices, add_device.is_some()) || full(facts.drives, add_drive.is_some()) {
        return Err(Refusal::with(Code::TooManyDevices, format!("at most {}", policy.max_devices)));
    }
    Ok(EntryDecision { create: facts.holder.is_none(), add_device, add_drive })
}

/// A holder that is not in the entry: the first one of a user whom nobody has announced, or one that comes with a device that is expected.
fn decide_newcomer(facts: &EntryFacts, holder: HolderKind, adds_device: bool) -> Result<(), Refusal> {
    if facts.holder.is_none() && !facts.assigned {
        return Ok(());
    }
    if !adds_device || !facts.expected {
        return Err(Code::UserInvalid.into());
    }
    let detail = match (facts.holder, holder) {
        (None, _) | (Some(HolderKind::Device), HolderKind::Device) => return Ok(()),
        (Some(HolderKind::Card), _) => "the keys of this user are on a card: register with that card",
        (Some(HolderKind::Device), _) => "the devices of this user hold their own keys: register without a card (--no-card)",
        (Some(HolderKind::Drive), _) => "the keys of this user are on a drive: register with that drive alone",
    };
    Err(Refusal::with(Code::RegistrationNotAllowed, detail))
}

/// Whether one more device may be announced (D1), by how many others are in the entry or expected.
///
/// # Errors
/// [`Code::TooManyDevices`].
pub fn decide_announcement(policy: &Policy, others: u32) -> Result<(), Refusal> {
    if others >= policy.max_devices {
        return Err(Refusal::with(Code::TooManyDevices, format!("at most {}", policy.max_devices)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_bytes([1; 16]);
    const OTHER: UserId = UserId::from_bytes([2; 16]);
    const FRESH: UserId = UserId::from_bytes([3; 16]);
    const ALL: Combination = Combination { card: true, device: true, drive: true };

    fn holder(policy: &Policy, combination: Combination, facts: HolderFacts, claimed: Option<UserId>) -> Result<HolderDecision, Code> {
        decide_holder(policy, combination, &facts, claimed, false, FRESH).map_err(|refusal| refusal.code)
    }

    #[test]
    fn every_non_empty_subset_registers_by_default() {
        for bits in 1..8 {
            let combination = Combination { card: bits & 1 != 0, device: bits & 2 != 0, drive: bits & 4 != 0 };
            assert_eq!(holder(&Policy::default(), combination, HolderFacts::Unknown, None), Ok(HolderDecision::Reserve(FRESH)));
        }
        let empty = Combination { card: false, device: false, drive: false };
        assert_eq!(holder(&Policy::default(), empty, HolderFacts::Unknown, None), Err(Code::RegistrationNotAllowed));
    }

    #[test]
    fn the_policy_can_demand_each_of_the_three() {
        let demand = |card, device, drive| Policy { require_card: card, require_device: device, require_drive: drive, ..Policy::default() };
        for (policy, lacking) in [
            (demand(true, false, false), Combination { card: false, ..ALL }),
            (demand(false, true, false), Combination { device: false, ..ALL }),
            (demand(false, false, true), Combination { drive: false, ..ALL }),
        ] {
            assert_eq!(holder(&policy, lacking, HolderFacts::Unknown, None), Err(Code::RegistrationNotAllowed));
            assert!(holder(&policy, ALL, HolderFacts::Unknown, None).is_ok());
        }
    }

    #[test]
    fn c4_a_card_that_is_dead_or_not_issued_is_unknown() {
        let issued_only = Policy { issued_cards_only: true, ..Policy::default() };
        assert_eq!(holder(&issued_only, ALL, HolderFacts::Unknown, None), Err(Code::CardUnknown));
        assert_eq!(holder(&issued_only, ALL, HolderFacts::Issued, None), Ok(HolderDecision::Reserve(FRESH)));
        assert_eq!(holder(&Policy::default(), ALL, HolderFacts::Dead, None), Err(Code::CardUnknown));
        // The policy is about cards: a device that registers alone is never "issued".
        let device = Combination { card: false, device: true, drive: false };
        assert!(holder(&issued_only, device, HolderFacts::Unknown, None).is_ok());
    }

    #[test]
    fn a_registered_card_goes_on_as_its_user_and_as_nobody_else() {
        let registered = HolderFacts::Registered(USER);
        assert_eq!(holder(&Policy::default(), ALL, registered.clone(), None), Ok(HolderDecision::Continue(USER)));
        assert_eq!(holder(&Policy::default(), ALL, registered.clone(), Some(USER)), Ok(HolderDecision::Continue(USER)));
        assert_eq!(holder(&Policy::default(), ALL, registered, Some(OTHER)), Err(Code::UserInvalid));
        assert_eq!(holder(&Policy::default(), ALL, HolderFacts::Unknown, Some(USER)), Err(Code::UserInvalid));
    }

    const DEVICE: Option<DeviceId> = Some(DeviceId::from_bytes([4; 16]));
    const DRIVE: Option<DriveId> = Some(DriveId::from_bytes([5; 16]));

    fn entry(facts: &EntryFacts, holder: HolderKind, device: Option<DeviceId>, given: bool) -> Result<EntryDecision, Code> {
        decide_entry(&Policy::default(), facts, holder, device, None, given).map_err(|refusal| refusal.code)
    }

    const ADDED: EntryDecision = EntryDecision { create: false, add_device: DEVICE, add_drive: None };
    const MADE: EntryDecision = EntryDecision { create: true, add_device: DEVICE, add_drive: None };

    #[test]
    fn d1_a_holder_that_nobody_knows_may_come_with_a_device_that_the_user_expects() {
        let ask = |facts, claimed, expected| {
            decide_holder(&Policy::default(), ALL, &facts, claimed, expected, FRESH).map_err(|refusal| refusal.code)
        };
        assert_eq!(ask(HolderFacts::Unknown, Some(USER), true), Ok(HolderDecision::Reserve(USER)));
        assert_eq!(ask(HolderFacts::Issued, Some(USER), true), Ok(HolderDecision::Reserve(USER)));
        assert_eq!(ask(HolderFacts::Unknown, Some(USER), false), Err(Code::UserInvalid));
        assert_eq!(ask(HolderFacts::Registered(OTHER), Some(USER), true), Err(Code::UserInvalid), "somebody else's");
        assert_eq!(ask(HolderFacts::Dead, Some(USER), true), Err(Code::CardUnknown));
        let issued_only = Policy { issued_cards_only: true, ..Policy::default() };
        let unknown = decide_holder(&issued_only, ALL, &HolderFacts::Unknown, Some(USER), true, FRESH);
        assert_eq!(unknown.map_err(|refusal| refusal.code), Err(Code::CardUnknown));
    }

    #[test]
    fn d1_an_assigned_user_is_registered_by_a_device_that_is_expected_and_by_no_other() {
        let expected = EntryFacts { assigned: true, expected: true, ..EntryFacts::default() };
        for holder in [HolderKind::Card, HolderKind::Device] {
            assert_eq!(entry(&expected, holder, DEVICE, true), Ok(MADE));
        }
        let stranger = EntryFacts { assigned: true, ..EntryFacts::default() };
        assert_eq!(entry(&stranger, HolderKind::Device, DEVICE, true), Err(Code::UserInvalid));
        // Its holder was reserved when two came with keys of their own at once, and the other one was first.
        let late = EntryFacts { holder: Some(HolderKind::Device), assigned: true, devices: 0, ..EntryFacts::default() };
        assert_eq!(entry(&late, HolderKind::Device, DEVICE, true), Err(Code::UserInvalid));
        assert_eq!(entry(&expected, HolderKind::Card, None, true), Err(Code::UserInvalid), "a card without the device");
    }

    #[test]
    fn a_device_that_is_expected_joins_devices_that_hold_their_own_keys_and_no_card() {
        let entry_of = |holder| EntryFacts { holder: Some(holder), expected: true, devices: 1, ..EntryFacts::default() };
        assert_eq!(entry(&entry_of(HolderKind::Device), HolderKind::Device, DEVICE, true), Ok(ADDED));
        for (theirs, asking) in [
            (HolderKind::Card, HolderKind::Device),
            (HolderKind::Card, HolderKind::Card),
            (HolderKind::Device, HolderKind::Card),
            (HolderKind::Drive, HolderKind::Device),
        ] {
            assert_eq!(entry(&entry_of(theirs), asking, DEVICE, true), Err(Code::RegistrationNotAllowed), "{theirs:?} {asking:?}");
        }
    }

    #[test]
    fn a_device_that_was_taken_out_comes_back_only_when_it_is_announced_again() {
        for established in [false, true] {
            let retired = EntryFacts { holder: Some(HolderKind::Card), established, retired: true, devices: 1, ..EntryFacts::default() };
            assert_eq!(entry(&retired, HolderKind::Card, DEVICE, true), Err(Code::UserInvalid));
        }
        let again = EntryFacts { holder: Some(HolderKind::Card), established: true, expected: true, devices: 1, ..EntryFacts::default() };
        assert_eq!(entry(&again, HolderKind::Card, DEVICE, true), Ok(ADDED));
    }

    #[test]
    fn as_many_devices_are_announced_as_may_be_registered() {
        let policy = Policy { max_devices: 2, ..Policy::default() };
        assert_eq!(decide_announcement(&policy, 1), Ok(()));
        assert_eq!(decide_announcement(&policy, 2).map_err(|refusal| refusal.code), Err(Code::TooManyDevices));
    }

    const THERE: EntryFacts = EntryFacts {
        holder: Some(HolderKind::Card),
        assigned: false,
        established: true,
        has_device: true,
        expected: false,
        exchanged: false,
        retired: false,
        has_drive: true,
        devices: 0,
        drives: 1,
    };

    #[test]
    fn a_first_registration_makes_the_entry_and_a_repeat_changes_nothing() {
        let decision = decide_entry(&Policy::default(), &EntryFacts::default(), HolderKind::Card, DEVICE, DRIVE, false);
        assert_eq!(decision, Ok(EntryDecision { create: true, add_device: DEVICE, add_drive: DRIVE }));
        let decision = decide_entry(&Policy::default(), &THERE, HolderKind::Card, DEVICE, DRIVE, false);
        assert_eq!(decision, Ok(EntryDecision { create: false, add_device: None, add_drive: None }));
    }

    #[test]
    fn a_lent_card_adds_no_device_without_the_user_id() {
        let facts = EntryFacts { has_device: false, devices: 1, ..THERE };
        assert_eq!(entry(&facts, HolderKind::Card, DEVICE, false), Err(Code::UserInvalid));
        assert_eq!(entry(&facts, HolderKind::Card, DEVICE, true), Ok(ADDED));
    }

    #[test]
    fn devices_and_drives_are_counted_apart() {
        let policy = Policy { max_devices: 2, ..Policy::default() };
        let facts = |devices, drives| EntryFacts { has_device: false, has_drive: false, devices, drives, ..THERE };
        let add = |facts: EntryFacts| decide_entry(&policy, &facts, HolderKind::Card, DEVICE, DRIVE, true).map_err(|refusal| refusal.code);
        assert!(add(facts(1, 1)).is_ok());
        assert_eq!(add(facts(2, 1)), Err(Code::TooManyDevices));
        assert_eq!(add(facts(1, 2)), Err(Code::TooManyDevices));
        // Full, but nothing new: still fine.
        assert!(add(EntryFacts { has_device: true, has_drive: true, ..facts(2, 2) }).is_ok());
    }
}
