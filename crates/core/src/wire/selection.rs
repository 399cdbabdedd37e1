//! Selection (A6, A8, A10): supplementary contents that a status selects, and what contents servers of others are shown and answer with.

use std::collections::BTreeMap;

use super::{Status, Variables};
use crate::{Channel, ContentsServerId, DeviceId, ReleaseVersion, Rights, TitleId, UserId};
use serde::{Deserialize, Serialize};

/// Supplementary contents that a status selects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selected {
    /// What; the user has an entitlement to it now.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// The title whose status selected it.
    pub because_of: TitleId,
}

/// A contents server to be shown a status (A10): it is sent [`ShowStatus`], and answers with a compact JWS of [`SelectionClaims`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentsServer {
    /// Where it is reached, without a trailing slash; absent where only the authority reaches it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// Its ID at the authority.
    pub id: ContentsServerId,
    /// The title whose status it is to be shown.
    pub title: TitleId,
    /// The verdict token: a JWT by the authority, `typ: counterfoil-verdict+jwt`, for this contents server alone.
    pub verdict: String,
}

/// `typ` of [`VerdictClaims`].
pub const VERDICT_TYP: &str = "counterfoil-verdict+jwt";
/// `typ` of [`SelectionClaims`].
pub const SELECTION_TYP: &str = "counterfoil-selection+jwt";

/// What a contents server is told of whoever asks it, signed by the authority (EdDSA): that somebody has a title, not who.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictClaims {
    /// The authority's name.
    pub iss: String,
    /// The contents server's ID: nobody else accepts it.
    pub aud: ContentsServerId,
    /// Always the same for one user at one contents server, and another at each.
    pub sub: String,
    /// The title that the user has.
    pub title: TitleId,
    /// The release that the device reports.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<ReleaseVersion>,
    /// What the medium allows that the title came from.
    pub rights: Rights,
    /// Seconds since 1970 UTC.
    pub iat: i64,
    /// Seconds since 1970 UTC, ten minutes later.
    pub exp: i64,
    /// Names the question: one answer to it counts.
    pub jti: String,
}

/// What a contents server is asked with: `POST {url}/v1/select`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowStatus {
    /// A compact JWS of [`VerdictClaims`].
    pub verdict: String,
    /// The status, without anything that names user, device or medium.
    pub status: ShownStatus,
}

/// As much of a status as a contents server is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownStatus {
    /// Of what.
    pub title: TitleId,
    /// The release that is complete and current.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<ReleaseVersion>,
    /// The channel that is followed.
    pub channel: Channel,
    /// Progress variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub variables: Variables,
}

impl From<&Status> for ShownStatus {
    fn from(status: &Status) -> Self {
        Self {
            title: status.title.clone(),
            release: status.release.clone(),
            channel: status.channel.clone().unwrap_or_default(),
            variables: status.variables.clone(),
        }
    }
}

/// What a contents server answers with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// A compact JWS of [`SelectionClaims`].
    pub selection: String,
}

/// What a contents server has selected, signed by its key, `kid` its ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionClaims {
    /// The contents server's ID.
    pub iss: ContentsServerId,
    /// The authority's name.
    pub aud: String,
    /// That of the verdict which was shown.
    pub jti: String,
    /// Seconds since 1970 UTC.
    pub exp: i64,
    /// Titles of its list; none where nothing fits.
    pub titles: Vec<TitleId>,
}

/// Hands in what a contents server has selected (A10). Signed by the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandIn {
    /// As received at registration.
    pub user_id: UserId,
    /// The device that asks.
    pub device_id: DeviceId,
    /// The verdict that the contents server was shown.
    pub verdict: String,
    /// What it answered with, a compact JWS of [`SelectionClaims`].
    pub selection: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandInResult {
    /// As in [`super::ReportResult::selected`].
    pub selected: Vec<Selected>,
}
