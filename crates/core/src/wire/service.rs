//! What media are to third parties, and what users hand in: presentations and verdicts (B4–B6), refreshed media (B7), uploads (A4).

use super::{TitleOnOffer, Variables};
use crate::{DeviceId, MediumId, ProviderId, Rights, Timestamp, TitleId, UploadId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// B7: a new identity area for the medium that proved itself, in an [`Answer`](super::Answer).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// Of the claim secret in it.
    pub epoch: u32,
    /// The JSON of an [`IdentityArea`](super::IdentityArea), sealed under the claim secret that the request was proven with; base64url.
    pub sealed: String,
}

/// B7: the refreshed identity is on the medium for good. Proven under its new claim secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// Which.
    pub medium_id: MediumId,
    /// Of the claim secret that is on it now.
    pub epoch: u32,
}

/// Answers [`Refreshed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshedResult {
    /// What the medium allows.
    pub rights: Rights,
}

/// B4: what a provider has the authority judge, inside a [`Presentation`]. Proven by each of those that it names; by one at least.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// Who may have it judged; nobody else.
    pub provider: ProviderId,
    /// Where the terminal presents, by [`provider_address`]: whoever hands on another provider's challenge is found out.
    pub url: String,
    /// As the provider gave it, 16 to 128 characters.
    pub challenge: String,
    /// By its claim secret.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium_id: Option<MediumId>,
    /// By the holder's key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_id: Option<UserId>,
    /// By the device's key; with a user ID it must be one of that user's devices.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_id: Option<DeviceId>,
}

/// A provider's address as it is compared: scheme and host in small letters, without a slash at the end.
pub fn provider_address(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{}://{}{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
}

/// What a terminal hands to a provider, and the provider to `POST /v1/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presentation {
    /// The medium, for the provider to see; the same as in the envelope. Absent where only a user or device is presented.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium_id: Option<MediumId>,
    /// Progress of each title, for the provider to fit its answer to; nobody vouches for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub status: BTreeMap<TitleId, Variables>,
    /// A terminal's sealed request with [`Present`] in it.
    pub envelope: serde_json::Value,
}

/// What the authority says of a presentation: RFC 7662 §2.2, and the payload of the verdict (`typ` [`VERDICT_TYP`](super::VERDICT_TYP)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Always true in a signed verdict.
    pub active: bool,
    /// The authority's name.
    pub iss: String,
    /// The provider's ID.
    pub aud: ProviderId,
    /// The holder: always the same at one provider, and another at each. Absent where nobody has claimed the medium or shown who they are.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sub: Option<String>,
    /// What is allowed, as words with spaces between: `download`, `upload`, `update`, `play`, `transfer`.
    pub scope: String,
    /// Which medium.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium_id: Option<MediumId>,
    /// What it allows. Absent where no medium was presented.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rights: Option<Rights>,
    /// What lies on it, or what the user has of the provider's publishers.
    pub titles: Vec<TitleOnOffer>,
    /// The challenge that was answered.
    pub nonce: String,
    /// Seconds since 1970 UTC.
    pub iat: i64,
    /// Seconds since 1970 UTC, ten minutes later.
    pub exp: i64,
    /// Names the presentation: the same for every verdict on it.
    pub jti: String,
}

/// A provider's challenge: `POST {url}/v1/challenge`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The provider's ID at the authority.
    pub provider: ProviderId,
    /// The authority's name: media of others have nothing to present here.
    pub authority: String,
    /// To be presented once; 16 to 128 characters of base64url.
    pub challenge: String,
}

/// What a provider answers a presentation with: `POST {url}/v1/present` with `{"presentation": …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderSession {
    /// Bearer token for what follows, for ten minutes at least.
    pub session: String,
    /// What the verdict allows.
    pub scope: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
    /// What there is to be had at `GET {url}/v1/contents/{name}`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub contents: Vec<ProviderContent>,
    /// The most that one upload may have at `{url}/v1/uploads`, in bytes. Absent: none are taken.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upload_bytes: Option<u64>,
}

/// Something that a provider has for a medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderContent {
    /// 1 to 100 of `a-z A-Z 0-9 . _ -`, not beginning with a dot.
    pub name: String,
    /// For which title.
    pub title: TitleId,
    /// In bytes.
    pub length: u64,
    /// BLAKE3, 64 hexadecimal digits.
    pub blake3: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
}

/// A4: hands in a version of a slot. Signed by the device. The right is that of the medium or the order that the user has the title from. The
/// bytes follow by tus 1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// As received at registration.
    pub user_id: UserId,
    /// The device that hands it in.
    pub device_id: DeviceId,
    /// Of which title.
    pub title: TitleId,
    /// 1 to 100 of `a-z A-Z 0-9 . _ -`, not beginning with a dot.
    pub slot: String,
    /// The version that this one follows; 0 for the first. Another one than the newest is a conflict.
    pub parent: u32,
    /// Of what is sent, in bytes.
    pub length: u64,
    /// BLAKE3 of what is sent, 64 hexadecimal digits.
    pub object: String,
    /// For people, 200 characters at most.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

/// Answers [`Upload`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadResult {
    /// Which.
    pub upload_id: UploadId,
    /// Path below the authority's URL that takes the bytes by tus 1.0 (`HEAD`, `PATCH`). It holds the right to do so.
    pub path: String,
    /// The version that it becomes.
    pub version: u32,
    /// Until when it waits for all bytes.
    pub expires_at: Timestamp,
}

/// A4: what was handed in, and the key to it. Signed as [`Upload`]; nothing is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploads {
    /// As received at registration.
    pub user_id: UserId,
    /// The device that asks.
    pub device_id: DeviceId,
    /// Of which title.
    pub title: TitleId,
    /// Versions to take away, by slot, before the list is made.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub remove: Vec<SlotVersion>,
}

/// One version of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotVersion {
    /// Which slot.
    pub slot: String,
    /// Which version.
    pub version: u32,
}

/// Answers [`Uploads`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadsResult {
    /// By slot and version, oldest first.
    pub items: Vec<UploadedVersion>,
    /// Bytes held, what is under way included.
    pub used: u64,
    /// Bytes that may be held.
    pub quota: u64,
    /// Whether they are to be left readable for providers.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub readable: bool,
    /// The save key of user and title: boxes as a grant's, to holder and device.
    pub keys: serde_json::Value,
}

/// A version that is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadedVersion {
    /// Which slot.
    pub slot: String,
    /// Which version, from 1.
    pub version: u32,
    /// In bytes, as sent.
    pub length: u64,
    /// Which object, at `GET /contents/{object}`; BLAKE3, 64 hexadecimal digits.
    pub object: String,
    /// The device that handed it in.
    pub device_id: DeviceId,
    /// What its user calls it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// When it was complete.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::provider_address;

    #[test]
    fn addresses_are_compared_and_not_spellings() {
        for spelled in ["HTTPS://Play.Example:8443/Saves/", "https://play.example:8443/Saves//", "https://play.example:8443/Saves"] {
            assert_eq!(provider_address(spelled), "https://play.example:8443/Saves");
        }
        assert_eq!(provider_address("https://play.example/"), provider_address("https://PLAY.example"));
        assert_ne!(provider_address("https://play.example/a"), provider_address("https://play.example/A"), "paths are as they are");
        assert_ne!(provider_address("http://play.example"), provider_address("https://play.example"));
    }
}
