//! Where a grant came from: a medium that was claimed, or a license that was bought.

use counterfoil_core::{LicenseId, MediumId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One of the two; in JSON a member `medium_id` or `license_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Origin {
    /// Claimed from a medium.
    Medium {
        /// Which.
        medium_id: MediumId,
    },
    /// Fetched for a license.
    License {
        /// Which.
        license_id: LicenseId,
    },
}

impl Origin {
    /// The medium, where it came from one.
    pub fn medium(&self) -> Option<&MediumId> {
        match self {
            Origin::Medium { medium_id } => Some(medium_id),
            Origin::License { .. } => None,
        }
    }

    /// The license, where it came from one.
    pub fn license(&self) -> Option<LicenseId> {
        match self {
            Origin::Medium { .. } => None,
            Origin::License { license_id } => Some(*license_id),
        }
    }
}

impl From<MediumId> for Origin {
    fn from(medium_id: MediumId) -> Self {
        Origin::Medium { medium_id }
    }
}

impl From<LicenseId> for Origin {
    fn from(license_id: LicenseId) -> Self {
        Origin::License { license_id }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Medium { medium_id } => write!(f, "medium {medium_id}"),
            Origin::License { license_id } => write!(f, "license {license_id}"),
        }
    }
}
