//! Key files: what a card, device, drive or publisher is, in one file of JSON.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::encoding::{frame, from_base64url, parse_strict, to_base64url};
use crate::hpke::{DiffieHellman as _, Kem, SealingKey, SealingPublicKey};
use crate::secret::{Random, Secret};
use crate::sign::{BadKey, SigningKey};
use crate::signer::HolderVerifyingKey;

/// Longest key file, in bytes.
pub const MAX_FILE: usize = 4096;

const FORMAT: &str = "counterfoil-keys";
const VERSION: u32 = 1;
const CHECK_CONTEXT: &str = "counterfoil 2026-01 check value of a key file";
const ID_CONTEXT: &str = "counterfoil 2026-01 ID of a key holder";

/// What a key file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Zeroize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HolderKind {
    /// The key holder that a person can take out.
    Card,
    /// A computer.
    Device,
    /// The volume that a library lies on.
    Drive,
    /// Who signs releases.
    Publisher,
}

/// The secrets of a holder. The keys are made from the two seeds; a device also has the secret that grants are sealed under
/// together with its user's card.
#[derive(Clone)]
pub struct HolderKeys {
    /// Whose they are.
    pub kind: HolderKind,
    signing_seed: Secret<32>,
    sealing_seed: Secret<32>,
    device_secret: Option<Secret<32>>,
}

impl HolderKeys {
    /// Makes a new holder.
    pub fn generate(kind: HolderKind, random: &mut dyn Random) -> Self {
        Self {
            kind,
            signing_seed: Secret::random(random),
            sealing_seed: Secret::random(random),
            device_secret: (kind == HolderKind::Device).then(|| Secret::random(random)),
        }
    }

    /// What the holder signs with.
    pub fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(&self.signing_seed)
    }

    /// What the holder opens boxes with.
    pub fn sealing_key(&self) -> SealingKey {
        SealingKey::from_seed(&self.sealing_seed)
    }

    /// A device's secret; `None` for every other kind.
    pub fn device_secret(&self) -> Option<&Secret<32>> {
        self.device_secret.as_ref()
    }

    /// What others may know.
    pub fn public(&self) -> HolderPublic {
        HolderPublic { signing: self.signing_key().verifying_key().into(), sealing: *self.sealing_key().public_key() }
    }

    /// Parses a key file. Public keys and check value in it are compared with those that its secrets give, so that a damaged file is
    /// noticed here and not by a box that cannot be opened.
    pub fn parse(json: &[u8]) -> Result<Self, KeyFileError> {
        if json.len() > MAX_FILE {
            return Err(KeyFileError::Shape);
        }
        let file: File = parse_strict(json).map_err(|_| KeyFileError::Shape)?;
        if file.format != FORMAT {
            return Err(KeyFileError::Shape);
        }
        if file.version != VERSION {
            return Err(KeyFileError::Version(file.version));
        }
        let keys = Self {
            kind: file.kind,
            signing_seed: seed(&file.signing_seed)?,
            sealing_seed: seed(&file.sealing_seed)?,
            device_secret: file.device_secret.as_deref().map(seed).transpose()?,
        };
        if keys.device_secret.is_some() != (keys.kind == HolderKind::Device) {
            return Err(KeyFileError::Shape);
        }
        let public = keys.public();
        if public.signing.to_string() != file.signing_key || public.sealing.to_string() != file.sealing_key || keys.check() != file.check {
            return Err(KeyFileError::Damaged);
        }
        Ok(keys)
    }

    /// The bytes of the key file. They are the secrets: mode 0600, and wiped from memory when dropped.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let public = self.public();
        let file = File {
            format: FORMAT.to_owned(),
            version: VERSION,
            kind: self.kind,
            signing_key: public.signing.to_string(),
            sealing_key: public.sealing.to_string(),
            signing_seed: to_base64url(self.signing_seed.expose()),
            sealing_seed: to_base64url(self.sealing_seed.expose()),
            device_secret: self.device_secret.as_ref().map(|secret| to_base64url(secret.expose())),
            check: self.check(),
        };
        // With room from the start, so that growing leaves no copy of the secrets behind.
        let mut json = Zeroizing::new(Vec::with_capacity(MAX_FILE));
        serde_json::to_writer_pretty(&mut *json, &file).expect("strings have a JSON form, and a vector takes them");
        json.push(b'\n');
        json
    }

    /// Eight bytes of a hash of all secrets, as base64url: they have 256 bits each, so that it tells nobody anything about them.
    fn check(&self) -> String {
        let device_secret = self.device_secret.as_ref().map_or(&[][..], |secret| secret.expose());
        let mut hasher = blake3::Hasher::new_derive_key(CHECK_CONTEXT);
        hasher.update(&Zeroizing::new(frame(&[self.signing_seed.expose(), self.sealing_seed.expose(), device_secret])));
        to_base64url(&hasher.finalize().as_bytes()[..8])
    }
}

/// The public half of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HolderPublic {
    /// What its signatures are verified with.
    pub signing: HolderVerifyingKey,
    /// What boxes are sealed to.
    pub sealing: SealingPublicKey,
}

impl HolderPublic {
    /// Both keys of one kind: Ed25519 and X25519 of a file, or P-256 twice of a token or TPM.
    ///
    /// # Errors
    /// [`BadKey`] where they are not.
    pub fn new(signing: HolderVerifyingKey, sealing: SealingPublicKey) -> Result<Self, BadKey> {
        if signing.is_ed25519() == (sealing.kem() == Kem::X25519) { Ok(Self { signing, sealing }) } else { Err(BadKey) }
    }

    /// The 16 bytes of a card's ID, which follow from its keys: nobody can take another's ID without having its keys.
    pub fn id(&self) -> [u8; 16] {
        id_of(self.signing.as_bytes(), self.sealing.as_bytes())
    }
}

/// The same of keys that were read and checked before: 32 bytes each (Ed25519, X25519), or 65 each (P-256, uncompressed).
pub fn id_of(signing: &[u8], sealing: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key(ID_CONTEXT);
    hasher.update(&frame(&[signing, sealing]));
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    id
}

impl fmt::Display for HolderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Card => "card",
            Self::Device => "device",
            Self::Drive => "drive",
            Self::Publisher => "publisher",
        })
    }
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    version: u32,
    kind: HolderKind,
    signing_key: String,
    sealing_key: String,
    signing_seed: String,
    sealing_seed: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_secret: Option<String>,
    check: String,
}

fn seed(text: &str) -> Result<Secret<32>, KeyFileError> {
    let bytes = Zeroizing::new(from_base64url(text).ok_or(KeyFileError::Shape)?);
    Secret::from_slice(&bytes).ok_or(KeyFileError::Shape)
}

/// Why a key file was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Not a key file.
    #[error("not a key file")]
    Shape,
    /// Written by a later version of this program.
    #[error("key file of version {0}, which this program does not know")]
    Version(u32),
    /// Its public keys or its check value do not belong to its secrets.
    #[error("the key file is damaged: its public keys do not belong to its secrets")]
    Damaged,
}
