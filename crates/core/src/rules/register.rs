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
/// `fresh` is a random user ID, used where a new user is made. `claimed` is the user ID that was given, if any.
///
/// # Errors
/// [`Code::CardUnknown`], [`Code::RegistrationNotAllowed`], [`Code::UserInvalid`].
pub fn decide_holder(
    policy: &Policy,
    combination: Combination,
    facts: &HolderFacts,
    claimed: Option<UserId>,
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
        // A user ID in the hands of a holder that nobody registered with it proves nothing.
        (HolderFacts::Unknown | HolderFacts::Issued, Some(_)) => Err(Code::UserInvalid.into()),
        (HolderFacts::Unknown | HolderFacts::Issued, None) => Ok(HolderDecision::Reserve(fresh)),
    }
}

fn not_allowed(missing: &str) -> Refusal {
    Refusal::with(Code::RegistrationNotAllowed, format!("the operator asks for {missing}"))
}

/// What the user's entry holds before this registration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFacts {
    /// Whether the entry has been made; false between the two steps of a first registration.
    pub exists: bool,
    /// The device that registers is in it, with the same keys.
    pub has_device: bool,
    /// The drive that registers is in it.
    pub has_drive: bool,
    /// How many devices it has.
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

/// Second step, in the user's family. Repeating a registration changes nothing and succeeds.
///
/// # Errors
/// [`Code::UserInvalid`]: the user exists, something new is to be added, and the user ID was not given: a lent card adds no device.
/// [`Code::TooManyDevices`].
pub fn decide_entry(
    policy: &Policy,
    facts: &EntryFacts,
    device: Option<DeviceId>,
    drive: Option<DriveId>,
    user_id_given: bool,
) -> Result<EntryDecision, Refusal> {
    let add_device = device.filter(|_| !facts.has_device);
    let add_drive = drive.filter(|_| !facts.has_drive);
    let adds = add_device.is_some() || add_drive.is_some();
    if facts.exists && adds && !user_id_given {
        return Err(Refusal::with(Code::UserInvalid, "this card is registered with other devices; adding one takes the user ID"));
    }
    let full = |count: u32, adds: bool| adds && count >= policy.max_devices;
    if full(facts.devices, add_device.is_some()) || full(facts.drives, add_drive.is_some()) {
        return Err(Refusal::with(Code::TooManyDevices, format!("at most {}", policy.max_devices)));
    }
    Ok(EntryDecision { create: !facts.exists, add_device, add_drive })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_bytes([1; 16]);
    const OTHER: UserId = UserId::from_bytes([2; 16]);
    const FRESH: UserId = UserId::from_bytes([3; 16]);
    const ALL: Combination = Combination { card: true, device: true, drive: true };

    fn holder(policy: &Policy, combination: Combination, facts: HolderFacts, claimed: Option<UserId>) -> Result<HolderDecision, Code> {
        decide_holder(policy, combination, &facts, claimed, FRESH).map_err(|refusal| refusal.code)
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

    #[test]
    fn a_first_registration_makes_the_entry_and_a_repeat_changes_nothing() {
        let decision = decide_entry(&Policy::default(), &EntryFacts::default(), DEVICE, DRIVE, false);
        assert_eq!(decision, Ok(EntryDecision { create: true, add_device: DEVICE, add_drive: DRIVE }));
        let there = EntryFacts { exists: true, has_device: true, has_drive: true, devices: 1, drives: 1 };
        let decision = decide_entry(&Policy::default(), &there, DEVICE, DRIVE, false);
        assert_eq!(decision, Ok(EntryDecision { create: false, add_device: None, add_drive: None }));
    }

    #[test]
    fn a_lent_card_adds_no_device_without_the_user_id() {
        let facts = EntryFacts { exists: true, devices: 1, ..EntryFacts::default() };
        let add = |given| decide_entry(&Policy::default(), &facts, DEVICE, None, given).map_err(|refusal| refusal.code);
        assert_eq!(add(false), Err(Code::UserInvalid));
        assert_eq!(add(true), Ok(EntryDecision { create: false, add_device: DEVICE, add_drive: None }));
    }

    #[test]
    fn devices_and_drives_are_counted_apart() {
        let policy = Policy { max_devices: 2, ..Policy::default() };
        let facts = |devices, drives| EntryFacts { exists: true, devices, drives, ..EntryFacts::default() };
        let add = |facts: EntryFacts| decide_entry(&policy, &facts, DEVICE, DRIVE, true).map_err(|refusal| refusal.code);
        assert!(add(facts(1, 1)).is_ok());
        assert_eq!(add(facts(2, 1)), Err(Code::TooManyDevices));
        assert_eq!(add(facts(1, 2)), Err(Code::TooManyDevices));
        // Full, but nothing new: still fine.
        let there = EntryFacts { has_device: true, has_drive: true, ..facts(2, 2) };
        assert!(add(there).is_ok());
    }
}
