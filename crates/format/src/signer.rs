//! The signing keys of holders: Ed25519 for keys in files, ECDSA over P-256 (ES256, RFC 7518 §3.4) for those in tokens and TPMs.
//!
//! Publishers, the authority and documents know Ed25519 alone, and [`VerifyingKey`] is all that they take: a card's key is another type.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::encoding::{from_base64url, to_base64url};
use crate::sign::{BadKey, BadSignature, VerifyingKey};

/// A P-256 private key that is somewhere else: in a token or TPM, which signs by itself.
pub trait Ecdsa {
    /// Signs a SHA-256 digest: `r ‖ s`, 32 bytes each, big-endian.
    ///
    /// # Errors
    /// What the token or TPM said.
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<[u8; 64], SignError>;
}

/// Signs `message` as ES256.
pub(crate) fn es256(key: &dyn Ecdsa, message: &[u8]) -> Result<[u8; 64], SignError> {
    let digest = digest(&SHA256, message).as_ref().try_into().expect("a SHA-256 digest has 32 bytes");
    key.sign_digest(&digest)
}

/// The public half of what a card, device or drive signs with: 32 bytes (Ed25519) or an uncompressed point of 65 (P-256), written as
/// base64url. The length tells the kind, and the kind is the only one that a signature under it may have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HolderVerifyingKey(Kind);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Ed25519(VerifyingKey),
    P256([u8; 65]),
}

impl HolderVerifyingKey {
    /// A key from its bytes. Whether those of P-256 lie on the curve is checked when a signature is.
    ///
    /// # Errors
    /// [`BadKey`]: neither 32 bytes that are an Ed25519 key of large order nor 65 of an uncompressed point.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadKey> {
        if let Ok(bytes) = bytes.try_into() {
            return VerifyingKey::from_bytes(bytes).map(Self::from);
        }
        match <[u8; 65]>::try_from(bytes) {
            Ok(bytes @ [4, ..]) => Ok(Self(Kind::P256(bytes))),
            _ => Err(BadKey),
        }
    }

    /// The 32 or 65 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Kind::Ed25519(key) => key.as_bytes(),
            Kind::P256(bytes) => bytes,
        }
    }

    /// Whether its private half is made for a file; it is for a token or TPM otherwise.
    pub fn is_ed25519(&self) -> bool {
        matches!(self.0, Kind::Ed25519(_))
    }

    /// Checks a signature of 64 bytes over `message`: Ed25519's, or `r ‖ s` of ECDSA with SHA-256.
    ///
    /// # Errors
    /// [`BadSignature`], also for a point that is not on the curve.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match &self.0 {
            Kind::Ed25519(key) => key.verify(message, signature),
            Kind::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).map_err(|_| BadSignature)
            }
        }
    }
}

impl From<VerifyingKey> for HolderVerifyingKey {
    fn from(key: VerifyingKey) -> Self {
        Self(Kind::Ed25519(key))
    }
}

impl fmt::Display for HolderVerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_base64url(self.as_bytes()))
    }
}

impl fmt::Debug for HolderVerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HolderVerifyingKey({self})")
    }
}

impl FromStr for HolderVerifyingKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        Self::from_bytes(&from_base64url(text).ok_or(BadKey)?)
    }
}

impl Serialize for HolderVerifyingKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HolderVerifyingKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The token or TPM that holds the key did not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key holder failed: {0}")]
pub struct SignError(pub String);
