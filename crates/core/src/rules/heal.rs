//! Whose damaged library may be healed: that of the grant's owner, on the device that it was issued for.

use super::confirm::{GrantFacts, GrantState};
use crate::{Code, DeviceId, GrantId, Refusal, UserId, wire::Heal};

/// Admits a request for the keys of `chunks` chunks.
///
/// # Errors
/// [`Code::GrantUnknown`]: not there, somebody else's, for another device, or revoked. [`Code::RateLimited`]: more chunks than one
/// request may name.
pub fn decide(grant: GrantId, user: UserId, device: Option<DeviceId>, chunks: usize, facts: Option<&GrantFacts>) -> Result<(), Refusal> {
    let facts = facts.ok_or(Code::GrantUnknown)?;
    if facts.grant != grant || facts.user != user || facts.device != device || facts.state == GrantState::Revoked {
        return Err(Code::GrantUnknown.into());
    }
    if chunks > Heal::MOST {
        return Err(Refusal::with(Code::RateLimited, format!("at most {} chunks in one request", Heal::MOST)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_bytes([1; 16]);
    const DEVICE: Option<DeviceId> = Some(DeviceId::from_bytes([2; 16]));
    const GRANT: GrantId = GrantId::from_bytes([3; 16]);

    fn ask(facts: &GrantFacts, chunks: usize) -> Result<(), Code> {
        decide(GRANT, USER, DEVICE, chunks, Some(facts)).map_err(|refusal| refusal.code)
    }

    #[test]
    fn the_owner_heals_on_the_device_of_the_grant_and_nobody_else_anywhere() {
        let facts = GrantFacts { grant: GRANT, user: USER, device: DEVICE, state: GrantState::Settled };
        assert_eq!(ask(&facts, 1), Ok(()));
        assert_eq!(ask(&GrantFacts { state: GrantState::Delivered, ..facts.clone() }, 1), Ok(()));
        for other in [
            GrantFacts { grant: GrantId::from_bytes([9; 16]), ..facts.clone() },
            GrantFacts { user: UserId::from_bytes([9; 16]), ..facts.clone() },
            GrantFacts { device: None, ..facts.clone() },
            GrantFacts { state: GrantState::Revoked, ..facts.clone() },
        ] {
            assert_eq!(ask(&other, 1), Err(Code::GrantUnknown));
        }
        assert_eq!(decide(GRANT, USER, DEVICE, 1, None).map_err(|refusal| refusal.code), Err(Code::GrantUnknown));
    }

    #[test]
    fn one_request_names_a_bounded_number_of_chunks() {
        let facts = GrantFacts { grant: GRANT, user: USER, device: DEVICE, state: GrantState::Settled };
        assert_eq!(ask(&facts, Heal::MOST), Ok(()));
        assert_eq!(ask(&facts, Heal::MOST + 1), Err(Code::RateLimited));
    }
}
