//! What a medium says of itself, and what an authority says of itself.

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
    /// Its public keys.
    pub keys: AuthorityKeys,
}

/// An authority's public keys, retired ones included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityKeys {
    /// Ed25519 keys that it signs with, as a JWK set (RFC 7517).
    pub jwks: serde_json::Value,
    /// HPKE keys that envelopes are sealed to: `kid` and X25519 public key base64url, current first.
    pub sealing: Vec<SealingKeyDocument>,
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
