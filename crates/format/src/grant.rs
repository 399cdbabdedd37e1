//! Boxes to a card, device or drive: grants (C7), and single secrets such as a user ID (C3).
//!
//! A grant is one HPKE context with two messages, the library key and then the content key, each its own ciphertext, so that the
//! second can be deleted once the copy is made (C11). With a device's secret as PSK, the card alone does not open it (C13).

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::encoding::{base64url, frame, from_base64url, parse_strict, to_base64url};
use crate::hpke::{self, Context, DiffieHellman, HpkeError, Psk, SealingKey, SealingPublicKey, Suite};
use crate::secret::{Random, Secret};
use crate::wrap::{open_salted, seal_salted};

/// First part of the purpose of each kind of box; what follows says which one.
pub mod purpose {
    /// The user ID, to its holder (C3); then the holder's ID.
    pub const USER_ID: &str = "user ID";
    /// A recovery code, to a card (C15); then the card's ID.
    pub const RECOVERY_CODE: &str = "recovery code";
    /// Keys of damaged chunks, to the holder of a grant; then the grant's ID.
    pub const HEAL: &str = "heal";
    /// A title's content key, to its publisher; then title and generation.
    pub const CONTENT_KEY: &str = "counterfoil content key";
}

const GRANT: &[u8] = b"counterfoil grant v1";
const BOX: &[u8] = b"counterfoil box v1";
const BINDING: &[u8] = b"counterfoil binding v1";
const BINDING_KEY: &str = "counterfoil 2026-01 key of the binding of a library key to device and drive";
/// Longest binding, in bytes of base64url.
const MAX_BINDING: usize = 2048;

/// The library key, and until the copy is confirmed the content key, sealed to one holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantBox {
    suite: String,
    enc: SealingPublicKey,
    #[serde(with = "base64url")]
    library: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_base64url")]
    content: Option<Vec<u8>>,
}

/// What a grant is for. It opens for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantScope<'a> {
    /// Title (slug).
    pub title: &'a str,
    /// Grant ID.
    pub grant: &'a str,
    /// Device ID; empty where the user entry has no device.
    pub device: &'a str,
}

impl GrantScope<'_> {
    fn info(&self) -> Vec<u8> {
        frame(&[GRANT, self.title.as_bytes(), self.grant.as_bytes(), self.device.as_bytes()])
    }

    fn psk<'a>(&'a self, device_secret: Option<&'a Secret<32>>) -> Option<Psk<'a>> {
        device_secret.map(|secret| Psk { secret: secret.expose(), id: self.device.as_bytes() })
    }
}

/// Seals the keys of a grant to a card (or device, or drive). With `device_secret`, which only a scope with a device can have, both
/// the holder's key and that secret are needed to open it.
pub fn seal_grant(
    recipient: &SealingPublicKey,
    device_secret: Option<&Secret<32>>,
    scope: &GrantScope<'_>,
    library_key: &Secret<32>,
    content_key: Option<&Secret<32>>,
    random: &mut dyn Random,
) -> Result<GrantBox, HpkeError> {
    let suite = Suite::for_kem(recipient.kem());
    let ephemeral = SealingKey::generate(suite.kem, random);
    let (enc, mut context) = hpke::sender(suite, recipient, &scope.info(), scope.psk(device_secret), &ephemeral)?;
    Ok(GrantBox {
        suite: suite.name().to_owned(),
        enc,
        library: context.seal(LIBRARY.1, library_key.expose()),
        content: content_key.map(|key| context.seal(CONTENT.1, key.expose())),
    })
}

/// Place in the context, and associated data, of the two messages.
const LIBRARY: (u64, &[u8]) = (0, b"library key");
const CONTENT: (u64, &[u8]) = (1, b"content key");

impl GrantBox {
    /// Agrees on the key of the box: one Diffie-Hellman, after which the keys can be taken out. A key that does not fit is noticed
    /// then.
    pub fn open(
        &self,
        key: &dyn DiffieHellman,
        device_secret: Option<&Secret<32>>,
        scope: &GrantScope<'_>,
    ) -> Result<OpenGrant<'_>, HpkeError> {
        let suite = Suite::from_name(&self.suite).ok_or(HpkeError::Key)?;
        let context = hpke::receiver(suite, &self.enc, key, &scope.info(), scope.psk(device_secret))?;
        Ok(OpenGrant { sealed: self, context })
    }

    /// Deletes the content key, as after `confirm` (C11).
    pub fn forget_content_key(&mut self) {
        self.content = None;
    }

    /// Whether the content key is (still) there.
    pub fn has_content_key(&self) -> bool {
        self.content.is_some()
    }
}

/// A grant whose keys can be taken out.
pub struct OpenGrant<'a> {
    sealed: &'a GrantBox,
    context: Context,
}

impl OpenGrant<'_> {
    /// The library key.
    pub fn library_key(&self) -> Result<Secret<32>, HpkeError> {
        self.take(LIBRARY, &self.sealed.library)
    }

    /// The content key; `None` once it was deleted.
    pub fn content_key(&self) -> Result<Option<Secret<32>>, HpkeError> {
        self.sealed.content.as_ref().map(|sealed| self.take(CONTENT, sealed)).transpose()
    }

    fn take(&self, (place, aad): (u64, &[u8]), sealed: &[u8]) -> Result<Secret<32>, HpkeError> {
        let key = Zeroizing::new(self.context.open_at(place, aad, sealed)?);
        Secret::from_slice(&key).ok_or(HpkeError::Open)
    }
}

/// One secret sealed to one holder for one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedBox {
    suite: String,
    enc: SealingPublicKey,
    #[serde(with = "base64url")]
    ct: Vec<u8>,
}

/// Seals `plaintext` to `recipient`. `purpose` says what for, part by part ([`purpose`], then which one), and must be the same
/// when it is opened.
pub fn seal_box(recipient: &SealingPublicKey, purpose: &[&str], plaintext: &[u8], random: &mut dyn Random) -> Result<SealedBox, HpkeError> {
    let suite = Suite::for_kem(recipient.kem());
    let ephemeral = SealingKey::generate(suite.kem, random);
    let (enc, mut context) = hpke::sender(suite, recipient, &box_info(purpose), None, &ephemeral)?;
    Ok(SealedBox { suite: suite.name().to_owned(), enc, ct: context.seal(b"", plaintext) })
}

impl SealedBox {
    /// Opens what [`seal_box`] sealed for the same purpose.
    pub fn open(&self, key: &dyn DiffieHellman, purpose: &[&str]) -> Result<Zeroizing<Vec<u8>>, HpkeError> {
        let suite = Suite::from_name(&self.suite).ok_or(HpkeError::Key)?;
        let mut context = hpke::receiver(suite, &self.enc, key, &box_info(purpose), None)?;
        context.open(b"", &self.ct).map(Zeroizing::new)
    }
}

fn box_info(purpose: &[&str]) -> Vec<u8> {
    let mut parts = vec![BOX];
    parts.extend(purpose.iter().map(|part| part.as_bytes()));
    frame(&parts)
}

/// The hardware that a library key is for: compared with the hardware itself before every copy and play (C7, C10, C12). At least one
/// of the two is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareBinding {
    /// Device ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Drive ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive_id: Option<String>,
}

/// Seals device ID and drive ID under the library key (C7), as base64url.
pub fn seal_binding(library_key: &Secret<32>, binding: &HardwareBinding, random: &mut dyn Random) -> String {
    let json = serde_json::to_vec(binding).expect("strings have a JSON form");
    let mut sealed = Vec::new();
    seal_salted(&binding_key(library_key), BINDING, &json, random, &mut sealed);
    to_base64url(&sealed)
}

/// Opens what [`seal_binding`] sealed.
pub fn open_binding(library_key: &Secret<32>, sealed: &str) -> Result<HardwareBinding, HpkeError> {
    let sealed = Some(sealed).filter(|text| text.len() <= MAX_BINDING).and_then(from_base64url).ok_or(HpkeError::Open)?;
    let json = open_salted(&binding_key(library_key), BINDING, &sealed).ok_or(HpkeError::Open)?;
    let binding: HardwareBinding = parse_strict(&json).map_err(|_| HpkeError::Open)?;
    // A binding to nothing would let any device in.
    if binding.device_id.is_none() && binding.drive_id.is_none() { Err(HpkeError::Open) } else { Ok(binding) }
}

fn binding_key(library_key: &Secret<32>) -> Secret<32> {
    Secret::new(blake3::derive_key(BINDING_KEY, library_key.expose()))
}

mod optional_base64url {
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::base64url::serialize(bytes, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
        super::base64url::deserialize(from).map(Some)
    }
}
