//! The terminal's own check (C10, C12): is this the hardware that the keys are bound to?

use crate::{Code, DeviceId, DriveId, Refusal};
use serde::{Deserialize, Serialize};

/// What a grant is bound to; sealed under the library key, so that it cannot be edited (C7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The device, where the user entry has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_id: Option<DeviceId>,
    /// The drive, where the user entry has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drive_id: Option<DriveId>,
}

/// What the hardware says of itself now. Something that cannot be read is not what the keys are bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// This device.
    pub device: Option<DeviceId>,
    /// The drive that the library lies on.
    pub drive: Option<DriveId>,
}

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Copying into the library (C10).
    Copy,
    /// Playing from it (C12).
    Play,
}

/// Compares before any byte is written or shown.
///
/// # Errors
/// [`Code::CopyNotPermitted`] or [`Code::PlayNotPermitted`].
pub fn decide(purpose: Purpose, binding: &Binding, hardware: &Hardware) -> Result<(), Refusal> {
    let code = match purpose {
        Purpose::Copy => Code::CopyNotPermitted,
        Purpose::Play => Code::PlayNotPermitted,
    };
    if binding.device_id.is_some() && binding.device_id != hardware.device {
        return Err(Refusal::with(code, "bound to another device"));
    }
    if binding.drive_id.is_some() && binding.drive_id != hardware.drive {
        return Err(Refusal::with(code, "bound to another drive"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: Option<DeviceId> = Some(DeviceId::from_bytes([1; 16]));
    const DRIVE: Option<DriveId> = Some(DriveId::from_bytes([2; 16]));
    const BOTH: Binding = Binding { device_id: DEVICE, drive_id: DRIVE };

    #[test]
    fn c10_c12_both_must_be_the_same_and_each_purpose_has_its_words() {
        assert_eq!(decide(Purpose::Copy, &BOTH, &Hardware { device: DEVICE, drive: DRIVE }), Ok(()));
        for hardware in [
            Hardware { device: Some(DeviceId::from_bytes([9; 16])), drive: DRIVE },
            Hardware { device: DEVICE, drive: Some(DriveId::from_bytes([9; 16])) },
            Hardware { device: None, drive: DRIVE },
            Hardware { device: DEVICE, drive: None },
        ] {
            assert_eq!(decide(Purpose::Copy, &BOTH, &hardware).expect_err("other hardware").code, Code::CopyNotPermitted);
            assert_eq!(decide(Purpose::Play, &BOTH, &hardware).expect_err("other hardware").code, Code::PlayNotPermitted);
        }
    }

    #[test]
    fn what_is_not_bound_is_not_compared() {
        let card_only = Binding { device_id: None, drive_id: None };
        assert_eq!(decide(Purpose::Play, &card_only, &Hardware::default()), Ok(()));
        let device_only = Binding { device_id: DEVICE, drive_id: None };
        assert_eq!(decide(Purpose::Play, &device_only, &Hardware { device: DEVICE, drive: None }), Ok(()));
    }
}
