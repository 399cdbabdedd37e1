//! What a medium says of itself, and what an authority says of itself.

use super::Operation;
use crate::{BatchId, Kind, MediumId, ReleaseVersion, Rights, Timestamp, TitleId};
use serde::{Deserialize, Serialize};

/// The identity area (B3, B9): everything that a terminal must know to connect, 64 KiB at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityArea {
    /// 1.
    pub counterfoil: u32,
    /// [`IdentityClaims`] as a compact JWS by the authority, `typ: counterfoil-identity+jwt`.
    pub identity: String,
    /// What the medium proves that it is itself with, 32 bytes base64url.
    pub claim_secret: String,
    /// How to reach whom (B9), with the keys to verify the identity offline. Only as trustworthy as the medium, until the terminal
    /// has met the authority itself.
    pub authority: AuthorityDocument,
}

impl IdentityArea {
    /// Bytes that an identity area may have at most.
    pub const LIMIT: usize = 64 * 1024;
}

/// What stands in the place of an identity area on a medium without an identity (C18), 64 KiB at most. The same bytes are on every such medium:
/// they claim nothing, and whoever copies it buys the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// 1.
    pub counterfoil: u32,
    /// [`NoticeClaims`] as a compact JWS by the authority, `typ: counterfoil-notice+jwt`.
    pub notice: String,
    /// As in an [`IdentityArea`].
    pub authority: AuthorityDocument,
}

/// What the authority vouches for about media without an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeClaims {
    /// Name of the authority, as in [`AuthorityDocument::name`].
    pub iss: String,
    /// When the newest of the releases was published, seconds: the same whenever the notice is made.
    pub iat: i64,
    /// What is stored on them, and sold there.
    pub titles: Vec<TitleOnMedium>,
}

/// What the authority vouches for about one medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityClaims {
    /// Name of the authority, as in [`AuthorityDocument::name`].
    pub iss: String,
    /// When it was pressed, seconds (RFC 7519 §4.1.6).
    pub iat: i64,
    /// Which medium.
    pub medium_id: MediumId,
    /// Of which batch.
    pub batch: BatchId,
    /// Number within the batch, from 1.
    pub serial: u64,
    /// Of the claim secret beside it.
    pub epoch: u32,
    /// What is stored on it.
    pub titles: Vec<TitleOnMedium>,
    /// What it allowed when it was pressed; the database decides where it can be asked.
    pub rights: Rights,
}

/// A title on a medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TitleOnMedium {
    /// By name.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// What kind of thing.
    pub kind: Kind,
    /// The release that the content area was pressed with.
    pub release: ReleaseVersion,
    /// Who signs its releases.
    pub publisher: PublisherOnMedium,
}

/// A publisher, with the key that every release of the title must be signed by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherOnMedium {
    /// By name; also the `kid` of its signatures.
    pub id: String,
    /// Ed25519, 32 bytes base64url.
    pub key: String,
}

/// What an authority says of itself at `/.well-known/counterfoil`, and on every medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityDocument {
    /// Stable for the authority's life; not an address.
    pub name: String,
    /// Where it can be reached, best first.
    pub urls: Vec<String>,
    /// Where its license servers can be reached, best first; empty where they are reached at `urls`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub license_urls: Vec<String>,
    /// Where its contents servers can be reached, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub contents_urls: Vec<String>,
    /// Its public keys.
    pub keys: AuthorityKeys,
}

impl AuthorityDocument {
    /// Where to ask for an operation, best first: at the license servers for what is theirs, and at the authority itself where nobody
    /// answers there.
    pub fn urls_for(&self, operation: &Operation) -> Vec<String> {
        if operation.is_for_license_server() { first_then(&self.license_urls, &self.urls) } else { self.urls.clone() }
    }

    /// Where to fetch contents, likewise.
    pub fn urls_for_contents(&self) -> Vec<String> {
        first_then(&self.contents_urls, &self.urls)
    }
}

/// All of `first`, then what only `then` names.
fn first_then(first: &[String], then: &[String]) -> Vec<String> {
    first.iter().chain(then.iter().filter(|url| !first.contains(url))).cloned().collect()
}

/// An authority's public keys, retired ones included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityKeys {
    /// Ed25519 keys that it signs with, as a JWK set (RFC 7517).
    pub jwks: serde_json::Value,
    /// HPKE keys that envelopes are sealed to: `kid` and X25519 public key base64url, current first.
    pub sealing: Vec<SealingKeyDocument>,
    /// How often keys took the place of others since the authority says so; 0 for the first, and where it is from before. Never goes back.
    #[serde(skip_serializing_if = "is_first", default)]
    pub epoch: u64,
    /// A statement for each epoch, signed by the key of the one before (SPEC §9.3), oldest first. Left out on media and wherever keys are kept.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub chain: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_first(epoch: &u64) -> bool {
    *epoch == 0
}

/// `typ` of a statement about keys.
pub const KEYS_TYP: &str = "counterfoil-keys+jwt";

/// What the keys of an authority are from an epoch on: those in use alone. Signed by the key that signed in the epoch before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysStatement {
    /// The authority's name.
    pub authority: String,
    /// When.
    pub issued_at: Timestamp,
    /// The keys in use, and the epoch that begins with them.
    pub keys: AuthorityKeys,
}

/// One key that envelopes can be sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealingKeyDocument {
    /// Names it in an envelope.
    pub kid: String,
    /// X25519, 32 bytes base64url.
    pub key: String,
    /// Until when new envelopes should use it; later ones are still opened for a while.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retired_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Confirm, Inspect};

    fn document(more: &str) -> AuthorityDocument {
        let json = format!(r#"{{"name": "a", "urls": ["https://a", "https://b"]{more}, "keys": {{"jwks": {{}}, "sealing": []}}}}"#);
        serde_json::from_str(&json).expect("a document")
    }

    #[test]
    fn each_operation_goes_to_who_does_it_and_older_documents_name_one_place() {
        let confirm = Operation::Confirm(Confirm {
            user_id: crate::UserId::from_bytes([1; 16]),
            medium_id: Some(crate::MediumId::pressed(BatchId([1; 8]), 1)),
            grant_ids: vec![],
            device_id: None,
        });
        let inspect = Operation::Inspect(Inspect::default());
        let old = document("");
        assert_eq!((old.urls_for(&confirm), old.urls_for_contents()), (old.urls.clone(), old.urls.clone()));
        assert!(!serde_json::to_string(&old).expect("JSON").contains("_urls"), "what older terminals have never seen stays away");
        let new = document(r#", "license_urls": ["https://l", "https://b"], "contents_urls": ["https://c"]"#);
        assert_eq!(new.urls_for(&confirm), ["https://l", "https://b", "https://a"]);
        assert_eq!(new.urls_for(&inspect), ["https://a", "https://b"]);
        assert_eq!(new.urls_for_contents(), ["https://c", "https://a", "https://b"]);
    }
}
