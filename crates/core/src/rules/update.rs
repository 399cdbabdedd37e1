//! Whose library is brought to another release (A5): that of the grant's owner, on the device that it was issued for, where the rights say so.

use super::confirm::{GrantFacts, GrantState};
use crate::wire::AskUpdate;
use crate::{Code, DriveId, Refusal};

/// What the keys to a release are decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateFacts {
    /// The grant that was named.
    pub grant: Option<GrantFacts>,
    /// The drive that it is bound to, where it is bound to one.
    pub drive: Option<DriveId>,
    /// Whether the rights include updates (B2).
    pub may_update: bool,
    /// Whether the release that was named is there, and if it is, whether it was withdrawn.
    pub release: Option<Withdrawn>,
}

/// Whether a release was withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn(pub bool);

/// Admits a request for the keys to a release.
///
/// # Errors
/// [`Code::GrantUnknown`]: not there, somebody else's, for another device, or revoked. [`Code::DeviceNotRegistered`]: bound to another drive.
/// [`Code::RightMissing`], [`Code::ReleaseUnknown`], [`Code::ReleaseWithdrawn`].
pub fn decide(ask: &AskUpdate, facts: &UpdateFacts) -> Result<(), Refusal> {
    let grant = facts.grant.as_ref().ok_or(Code::GrantUnknown)?;
    let theirs = grant.grant == ask.grant_id && grant.user == ask.user_id && grant.device == ask.device_id;
    if !theirs || !matches!(grant.state, GrantState::Delivered | GrantState::Settled) {
        return Err(Code::GrantUnknown.into());
    }
    if facts.drive.is_some() && ask.drive_id != facts.drive {
        return Err(Refusal::with(Code::DeviceNotRegistered, "the library is bound to another drive"));
    }
    if !facts.may_update {
        return Err(Refusal::with(Code::RightMissing, "update"));
    }
    match facts.release {
        None => Err(Code::ReleaseUnknown.into()),
        Some(Withdrawn(true)) => Err(Code::ReleaseWithdrawn.into()),
        Some(Withdrawn(false)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceId, GrantId, UserId};

    const USER: UserId = UserId::from_bytes([1; 16]);
    const DEVICE: Option<DeviceId> = Some(DeviceId::from_bytes([2; 16]));
    const GRANT: GrantId = GrantId::from_bytes([3; 16]);
    const DRIVE: Option<DriveId> = Some(DriveId::from_bytes([4; 16]));

    fn ask() -> AskUpdate {
        let release = "2.0".parse().expect("a version");
        AskUpdate { user_id: USER, medium_id: None, grant_id: GRANT, device_id: DEVICE, drive_id: DRIVE, release }
    }

    fn facts() -> UpdateFacts {
        let grant = GrantFacts { grant: GRANT, user: USER, device: DEVICE, state: GrantState::Settled };
        UpdateFacts { grant: Some(grant), drive: DRIVE, may_update: true, release: Some(Withdrawn(false)) }
    }

    fn with(change: impl FnOnce(&mut UpdateFacts)) -> Result<(), Code> {
        let mut facts = facts();
        change(&mut facts);
        decide(&ask(), &facts).map_err(|refusal| refusal.code)
    }

    fn with_grant(change: impl FnOnce(&mut GrantFacts)) -> Result<(), Code> {
        with(|facts| change(facts.grant.as_mut().expect("there is one")))
    }

    #[test]
    fn a5_the_owner_gets_the_keys_on_the_device_of_the_grant() {
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with_grant(|grant| grant.state = GrantState::Delivered), Ok(()));
    }

    #[test]
    fn nobody_else_does_and_nobody_by_a_grant_that_is_not_out() {
        assert_eq!(with(|facts| facts.grant = None), Err(Code::GrantUnknown));
        assert_eq!(with_grant(|grant| grant.grant = GrantId::from_bytes([9; 16])), Err(Code::GrantUnknown));
        assert_eq!(with_grant(|grant| grant.user = UserId::from_bytes([9; 16])), Err(Code::GrantUnknown));
        assert_eq!(with_grant(|grant| grant.device = None), Err(Code::GrantUnknown));
        assert_eq!(with_grant(|grant| grant.state = GrantState::Revoked), Err(Code::GrantUnknown));
        assert_eq!(with_grant(|grant| grant.state = GrantState::Issued), Err(Code::GrantUnknown));
    }

    #[test]
    fn a_grant_that_is_bound_to_a_drive_stays_on_it() {
        assert_eq!(with(|facts| facts.drive = Some(DriveId::from_bytes([9; 16]))), Err(Code::DeviceNotRegistered));
        assert_eq!(with(|facts| facts.drive = None), Ok(()), "an entry without drives is bound to none, whatever is named");
    }

    #[test]
    fn b2_rights_without_update_get_none() {
        assert_eq!(with(|facts| facts.may_update = false), Err(Code::RightMissing));
    }

    #[test]
    fn what_is_not_there_or_was_withdrawn_has_no_keys() {
        assert_eq!(with(|facts| facts.release = None), Err(Code::ReleaseUnknown));
        assert_eq!(with(|facts| facts.release = Some(Withdrawn(true))), Err(Code::ReleaseWithdrawn));
    }
}
