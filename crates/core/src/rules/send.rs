//! What another of the user's devices is told to do with a title (A2): to install it, or to bring it up to date.

use super::license::{self, Ask, LicenseFacts, LicenseState, Places};
use crate::{Code, EntitlementId, LicenseId, Refusal, Timestamp};

/// What the database knows of a title and of the device that is to have it.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// Whether it is one of the user's registered devices.
    pub registered: bool,
    /// Its licenses for the title.
    pub licenses: &'a [LicenseFacts],
    /// What the user has bought that may leave room for one more device.
    pub places: &'a [Places],
    /// Whether the user has copied the title from a medium. Which device holds that copy, its medium knows.
    pub copied: bool,
}

/// What the device is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send {
    /// Install it by this license, which is there already.
    Install(LicenseId),
    /// Install it by a license that is registered for it now, on a place that is free.
    TakePlace(EntitlementId),
    /// Bring up to date what is installed or copied there.
    Update,
}

/// Decides. Nothing moves from one device to another by this: whoever has no right to the title there gets none.
///
/// # Errors
/// [`Code::DeviceNotRegistered`]; [`Code::NothingToSend`].
pub fn decide(to: Destination<'_>, now: Timestamp) -> Result<Send, Refusal> {
    if !to.registered {
        return Err(Code::DeviceNotRegistered.into());
    }
    match license::ask(to.licenses, to.places, false, now) {
        Ok(Ask::TakePlace(entitlement)) => Ok(Send::TakePlace(entitlement)),
        Ok(Ask::Issue(id) | Ask::Same(id) | Ask::Reopen(id)) => {
            let installed = to.licenses.iter().any(|known| known.license == id && known.state == LicenseState::Settled);
            Ok(if installed { Send::Update } else { Send::Install(id) })
        }
        Err(_) if to.copied => Ok(Send::Update),
        Err(refusal) => Err(Refusal { detail: refusal.detail, ..Code::NothingToSend.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceId;

    const NOW: Timestamp = Timestamp(1000);

    fn license(number: u8, state: LicenseState) -> LicenseFacts {
        LicenseFacts {
            license: LicenseId::from_bytes([number; 16]),
            device: DeviceId::from_bytes([1; 16]),
            state,
            grant: None,
            active: true,
            expires_at: None,
            trial: false,
        }
    }

    fn place(used: u32) -> Places {
        Places { entitlement: EntitlementId::from_bytes([7; 16]), used, allowed: 2, expires_at: None }
    }

    fn sent(licenses: &[LicenseFacts], places: &[Places], copied: bool) -> Result<Send, Code> {
        decide(Destination { registered: true, licenses, places, copied }, NOW).map_err(|refusal| refusal.code)
    }

    #[test]
    fn what_is_licensed_there_and_not_installed_is_installed_and_what_is_installed_is_updated() {
        for state in [LicenseState::Registered, LicenseState::Issued, LicenseState::Delivered] {
            assert_eq!(sent(&[license(1, state)], &[], false), Ok(Send::Install(LicenseId::from_bytes([1; 16]))), "{state:?}");
        }
        assert_eq!(sent(&[license(1, LicenseState::Settled)], &[], false), Ok(Send::Update));
    }

    #[test]
    fn a_place_that_is_free_is_taken_and_one_that_is_not_is_nothing_to_send() {
        assert_eq!(sent(&[], &[place(1)], false), Ok(Send::TakePlace(EntitlementId::from_bytes([7; 16]))));
        assert_eq!(sent(&[], &[place(2)], false), Err(Code::NothingToSend));
        // A license that the device has goes before a place that it would take.
        assert_eq!(sent(&[license(1, LicenseState::Settled)], &[place(1)], false), Ok(Send::Update));
    }

    #[test]
    fn what_was_copied_from_a_medium_is_updated_and_what_is_neither_bought_nor_copied_is_not_sent() {
        assert_eq!(sent(&[], &[], true), Ok(Send::Update));
        assert_eq!(sent(&[], &[], false), Err(Code::NothingToSend));
        let over = LicenseFacts { expires_at: Some(NOW), ..license(1, LicenseState::Settled) };
        assert_eq!(sent(&[over], &[], false), Err(Code::NothingToSend));
        assert_eq!(sent(&[LicenseFacts { active: false, ..license(1, LicenseState::Settled) }], &[], false), Err(Code::NothingToSend));
    }

    #[test]
    fn nothing_is_sent_to_a_device_of_somebody_else() {
        let to = Destination { registered: false, licenses: &[license(1, LicenseState::Settled)], places: &[place(0)], copied: true };
        assert_eq!(decide(to, NOW).map_err(|refusal| refusal.code), Err(Code::DeviceNotRegistered));
    }
}
