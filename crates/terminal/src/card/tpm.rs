//! A card whose keys are in a TPM 2.0: wrapped by it, in the card's file, and of no use to anything else.

use counterfoil_format::encoding::base64url;
use serde::{Deserialize, Serialize};

#[cfg(feature = "tpm")]
mod esys;
#[cfg(feature = "tpm")]
pub(crate) use esys::{make, reach};

/// Which TPM, and the keys as it has wrapped them under its storage key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// How it is reached, where not as the system's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcti: Option<String>,
    /// Whether using a key demands a PIN.
    pub pin: bool,
    /// The pair that signs.
    pub signing: Wrapped,
    /// The pair that does the Diffie-Hellman.
    pub sealing: Wrapped,
}

/// A pair of keys as the TPM gave it out (`TPM2_Create`), marshalled as it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wrapped {
    /// `TPMT_PUBLIC`.
    #[serde(with = "base64url")]
    pub public: Vec<u8>,
    /// Contents of `TPM2B_PRIVATE`, encrypted and signed by the TPM for itself.
    #[serde(with = "base64url")]
    pub private: Vec<u8>,
}

#[cfg(not(feature = "tpm"))]
mod absent {
    use super::super::pin::Pins;
    use super::super::token::{Hardware, TokenError};
    use super::Place;
    use counterfoil_format::holder::HolderPublic;

    /// Says that this program cannot.
    pub(crate) fn reach(_: &Place, _: &HolderPublic, _: &Pins) -> Result<Box<dyn Hardware>, TokenError> {
        Err(TokenError::NotBuilt)
    }

    /// Says that this program cannot.
    pub(crate) fn make(_: Option<&str>, _: bool, _: &Pins) -> Result<(HolderPublic, Place), TokenError> {
        Err(TokenError::NotBuilt)
    }
}
#[cfg(not(feature = "tpm"))]
pub(crate) use absent::{make, reach};
