//! The key pairs that boxes are sealed to: X25519 for keys in files, P-256 for tokens and TPMs.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::encoding::{from_base64url, to_base64url};
use crate::hpke::{HpkeError, expand, extract};
use crate::secret::{Random, Secret};
use crate::sign::BadKey;

/// How two parties come to a shared secret (RFC 9180 §7.1): DHKEM over a curve, with HKDF-SHA256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kem {
    /// 0x0020
    X25519,
    /// 0x0010
    P256,
}

impl Kem {
    pub(crate) fn id(self) -> u16 {
        match self {
            Self::P256 => 0x10,
            Self::X25519 => 0x20,
        }
    }

    pub(crate) fn suite_id(self) -> [u8; 5] {
        let [high, low] = self.id().to_be_bytes();
        [b'K', b'E', b'M', high, low]
    }

    fn algorithm(self) -> &'static agreement::Algorithm {
        match self {
            Self::X25519 => &agreement::X25519,
            Self::P256 => &agreement::ECDH_P256,
        }
    }
}

/// The public half: 32 bytes (X25519) or an uncompressed point of 65 (P-256), written as base64url. The length tells the kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealingPublicKey(Point);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Point {
    X25519([u8; 32]),
    P256([u8; 65]),
}

impl SealingPublicKey {
    /// A key from its bytes. Whether they lie on the curve is checked when the key is used.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadKey> {
        if let Ok(bytes) = bytes.try_into() {
            return Ok(Self(Point::X25519(bytes)));
        }
        match <[u8; 65]>::try_from(bytes) {
            Ok(bytes @ [4, ..]) => Ok(Self(Point::P256(bytes))),
            _ => Err(BadKey),
        }
    }

    /// The 32 or 65 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Point::X25519(bytes) => bytes,
            Point::P256(bytes) => bytes,
        }
    }

    /// Whether it is a point of its curve: what a token is given, which might not look.
    pub fn is_on_curve(&self) -> bool {
        match &self.0 {
            Point::X25519(_) => true, // every 32 bytes are
            Point::P256(bytes) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).is_ok(),
        }
    }

    /// The kind of key.
    pub fn kem(&self) -> Kem {
        match self.0 {
            Point::X25519(_) => Kem::X25519,
            Point::P256(_) => Kem::P256,
        }
    }
}

/// A private key that may be somewhere else: in memory ([`SealingKey`]), or in a token or TPM that does the Diffie-Hellman itself.
pub trait DiffieHellman {
    /// The public half.
    fn public_key(&self) -> &SealingPublicKey;

    /// The shared x coordinate with `peer`: X25519's output, or ECDH's `Z` of P-256. Fails for a `peer` that is no point of the
    /// curve or (X25519) gives zero.
    fn agree(&self, peer: &SealingPublicKey) -> Result<Secret<32>, HpkeError>;
}

/// A private key in memory.
pub struct SealingKey {
    private: PrivateKey,
    public: SealingPublicKey,
}

impl SealingKey {
    /// The X25519 key of a seed, which is the private key itself and what key files hold. Every 32 bytes are one.
    pub fn from_seed(seed: &Secret<32>) -> Self {
        Self::from_private(Kem::X25519, seed).expect("32 bytes are an X25519 private key")
    }

    /// A fresh key of the given kind, as for one box.
    pub fn generate(kem: Kem, random: &mut dyn Random) -> Self {
        loop {
            let bytes = Secret::random(random);
            // A P-256 key must be below the curve's order; one in 2^32 is not, and is drawn again.
            if let Some(key) = Self::from_private(kem, &bytes) {
                return key;
            }
        }
    }

    /// `DeriveKeyPair` (RFC 9180 §7.1.3), from at least 32 bytes that cannot be guessed. `None` for input that gives no P-256 key
    /// in 256 attempts, which no input is known to do.
    pub fn derive(kem: Kem, ikm: &[u8]) -> Option<Self> {
        let suite_id = kem.suite_id();
        let prk = extract(&suite_id, b"", b"dkp_prk", ikm);
        let candidate = |label, info: &[u8]| {
            let mut bytes = [0; 32];
            expand(&suite_id, prk.expose(), label, info, &mut bytes);
            Self::from_private(kem, &Secret::new(bytes))
        };
        match kem {
            Kem::X25519 => candidate(b"sk", b""),
            Kem::P256 => (0..=255).find_map(|counter| candidate(b"candidate", &[counter])),
        }
    }

    /// The key of the private bytes that RFC 9180 calls `skRm`. `None` for P-256 where they are zero or not below the curve's order.
    pub fn from_private(kem: Kem, bytes: &Secret<32>) -> Option<Self> {
        let private = PrivateKey::from_private_key(kem.algorithm(), bytes.expose()).ok()?;
        let public = private.compute_public_key().ok()?;
        let public = SealingPublicKey::from_bytes(public.as_ref()).ok()?;
        Some(Self { private, public })
    }
}

impl DiffieHellman for SealingKey {
    fn public_key(&self) -> &SealingPublicKey {
        &self.public
    }

    fn agree(&self, peer: &SealingPublicKey) -> Result<Secret<32>, HpkeError> {
        if peer.kem() != self.public.kem() {
            return Err(HpkeError::Key);
        }
        let peer = UnparsedPublicKey::new(self.private.algorithm(), peer.as_bytes());
        agreement::agree(&self.private, peer, HpkeError::Key, |point| Secret::from_slice(point).ok_or(HpkeError::Key))
    }
}

impl fmt::Display for SealingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_base64url(self.as_bytes()))
    }
}

impl fmt::Debug for SealingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingPublicKey({self})")
    }
}

impl FromStr for SealingPublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        Self::from_bytes(&from_base64url(text).ok_or(BadKey)?)
    }
}

impl Serialize for SealingPublicKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SealingPublicKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
