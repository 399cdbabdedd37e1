//! The end of a copy (C11): a grant is settled once, by the device that it was issued to.

use crate::{Code, DeviceId, GrantId, Refusal, UserId};

/// Where a grant stands (`protocol.md`, "The life of a medium, an entitlement and a grant").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// Decided and written down, its license waiting to be fetched.
    Issued,
    /// Keys handed out; the copy may be under way.
    Delivered,
    /// The copy is complete.
    Settled,
    /// Taken back.
    Revoked,
}

impl GrantState {
    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            GrantState::Issued => "issued",
            GrantState::Delivered => "delivered",
            GrantState::Settled => "settled",
            GrantState::Revoked => "revoked",
        }
    }

    /// From the database.
    pub fn parse(text: &str) -> Option<Self> {
        [GrantState::Issued, GrantState::Delivered, GrantState::Settled, GrantState::Revoked]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// What the database knows of one grant of the medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantFacts {
    /// Which.
    pub grant: GrantId,
    /// To whom.
    pub user: UserId,
    /// For which device, where it is bound to one.
    pub device: Option<DeviceId>,
    /// Where it stands.
    pub state: GrantState,
}

/// Which of the grants named change to settled; those that are settled already stay so, and the answer is the same.
///
/// # Errors
/// [`Code::GrantUnknown`] where any is not there, somebody else's, for another device, or revoked: nothing is settled then.
pub fn decide(asked: &[GrantId], user: UserId, device: Option<DeviceId>, facts: &[GrantFacts]) -> Result<Vec<GrantId>, Refusal> {
    let mut to_settle = Vec::new();
    for grant in asked {
        let known =
            facts.iter().find(|known| known.grant == *grant && known.user == user && known.device == device).ok_or(Code::GrantUnknown)?;
        match known.state {
            // Once, however often it was named.
            GrantState::Issued | GrantState::Delivered if to_settle.contains(grant) => {}
            GrantState::Issued | GrantState::Delivered => to_settle.push(*grant),
            GrantState::Settled => {}
            GrantState::Revoked => return Err(Code::GrantUnknown.into()),
        }
    }
    Ok(to_settle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_bytes([1; 16]);
    const DEVICE: Option<DeviceId> = Some(DeviceId::from_bytes([2; 16]));
    const GRANT: GrantId = GrantId::from_bytes([3; 16]);

    fn facts(state: GrantState) -> Vec<GrantFacts> {
        vec![GrantFacts { grant: GRANT, user: USER, device: DEVICE, state }]
    }

    #[test]
    fn delivered_is_settled_once_and_a_repeat_says_the_same() {
        assert_eq!(decide(&[GRANT], USER, DEVICE, &facts(GrantState::Delivered)), Ok(vec![GRANT]));
        assert_eq!(decide(&[GRANT], USER, DEVICE, &facts(GrantState::Issued)), Ok(vec![GRANT]));
        assert_eq!(decide(&[GRANT], USER, DEVICE, &facts(GrantState::Settled)), Ok(vec![]));
    }

    #[test]
    fn a_grant_that_is_named_twice_is_settled_once() {
        assert_eq!(decide(&[GRANT, GRANT], USER, DEVICE, &facts(GrantState::Delivered)), Ok(vec![GRANT]));
    }

    #[test]
    fn other_peoples_other_devices_revoked_and_missing_grants_are_unknown() {
        let refused = |result: Result<Vec<GrantId>, Refusal>| result.expect_err("refused").code == Code::GrantUnknown;
        assert!(refused(decide(&[GRANT], UserId::from_bytes([9; 16]), DEVICE, &facts(GrantState::Delivered))));
        assert!(refused(decide(&[GRANT], USER, None, &facts(GrantState::Delivered))));
        assert!(refused(decide(&[GRANT], USER, DEVICE, &facts(GrantState::Revoked))));
        assert!(refused(decide(&[GRANT], USER, DEVICE, &[])));
        // All or nothing.
        assert!(refused(decide(&[GRANT, GrantId::from_bytes([8; 16])], USER, DEVICE, &facts(GrantState::Delivered))));
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in [GrantState::Issued, GrantState::Delivered, GrantState::Settled, GrantState::Revoked] {
            assert_eq!(GrantState::parse(state.as_str()), Some(state));
        }
        assert_eq!(GrantState::parse("other"), None);
    }
}
