//! The license: the signed document of a grant, which anyone can verify offline with the authority's published keys (D6).

use crate::{DeviceId, GrantId, LicenseId, ReleaseVersion, TitleId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `typ` of a license.
pub const LICENSE_TYP: &str = "counterfoil-license+jwt";

/// Claims of a license, a JWT (RFC 7519) signed with EdDSA. Times are whole seconds since 1970. It names no user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct License {
    /// Name of the authority.
    pub iss: String,
    /// Which license.
    pub sub: LicenseId,
    /// Names this issue of it: a renewal has another.
    pub jti: String,
    /// When it was made.
    pub iat: i64,
    /// Until when it is good without the authority being asked again; absent where it is good for good.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exp: Option<i64>,
    /// Seconds after `exp` in which the title still starts, with a warning.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub grace: i64,
    /// Whether `exp` is the end of what was bought, and renewing does not help.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub ends: bool,
    /// The device that may present it (RFC 7800 §3.4).
    pub cnf: LicensedDevice,
    /// What may be run.
    pub title: TitleId,
    /// The newest release when it was made; later and earlier ones may be run as well.
    pub release: ReleaseVersion,
    /// The grant that it is the document of.
    pub grant: GrantId,
    /// Whether it is for trying, and nobody paid.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub trial: bool,
    /// Devices that the entitlement allows at once.
    pub devices: u32,
    /// Whether the release's control program may run, sandboxed.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub control_program: bool,
    /// Feature flags for the program.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub attributes: BTreeMap<String, String>,
}

/// Which device a license is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicensedDevice {
    /// Its ID.
    pub kid: DeviceId,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}
