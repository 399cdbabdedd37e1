//! Secrets at rest: wrapped under key-encryption keys, and bound to the row that they lie in.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::encoding::frame;
use crate::secret::{Random, Secret};

/// Longest secret that is wrapped, in bytes.
pub const MAX_SECRET: usize = 4096;
/// Bytes that wrapping adds.
pub const OVERHEAD: usize = HEAD + SALT + TAG;

const PURPOSE: &[u8] = b"counterfoil wrapped secret v1";
/// BLAKE3 with a random salt for the key, AES-256-GCM with a zero nonce.
const SUITE: u8 = 1;
const HEAD: usize = 5;
const SALT: usize = 24;
const TAG: usize = 16;

/// A key-encryption key: one per purpose and version. The root key is one as well, and wraps the others.
pub struct Kek {
    /// What it wraps, such as `library_key`: part of what a wrapped secret is bound to.
    pub purpose: String,
    /// Counts rotations. Written in front of what is wrapped.
    pub version: u32,
    /// The key.
    pub key: Secret<32>,
}

/// Where a wrapped secret lies. It opens nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowId<'a> {
    /// Table.
    pub table: &'a str,
    /// Primary key; parts of a compound one each for itself, so that no two keys look alike.
    pub key: &'a [&'a str],
    /// Column.
    pub column: &'a str,
    /// Version or generation of the wrapped secret itself, 0 where it has none: an older one put back does not open.
    pub version: u32,
}

/// Wraps `secret` for `row`: suite (1 byte), key version (4), salt (24), ciphertext, tag (16).
///
/// # Panics
/// If `secret` is longer than [`MAX_SECRET`].
pub fn wrap(kek: &Kek, row: &RowId<'_>, secret: &[u8], random: &mut dyn Random) -> Vec<u8> {
    assert!(secret.len() <= MAX_SECRET, "keys and tokens are short; this is {} bytes", secret.len());
    let mut wrapped = Vec::with_capacity(secret.len() + OVERHEAD);
    wrapped.push(SUITE);
    wrapped.extend_from_slice(&kek.version.to_be_bytes());
    seal_salted(&kek.key, &associated(kek, row), secret, random, &mut wrapped);
    wrapped
}

/// Opens what [`wrap`] made for the same row under the same key.
pub fn unwrap(kek: &Kek, row: &RowId<'_>, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrapError> {
    if kek_version(wrapped)? != kek.version {
        return Err(WrapError::KeyVersion);
    }
    open_salted(&kek.key, &associated(kek, row), &wrapped[HEAD..]).ok_or(WrapError::Open)
}

/// As [`unwrap`], for a secret of `N` bytes.
pub fn unwrap_secret<const N: usize>(kek: &Kek, row: &RowId<'_>, wrapped: &[u8]) -> Result<Secret<N>, WrapError> {
    Secret::from_slice(&unwrap(kek, row, wrapped)?).ok_or(WrapError::Shape)
}

/// The version of the key that `wrapped` is wrapped under, to find it by.
pub fn kek_version(wrapped: &[u8]) -> Result<u32, WrapError> {
    match wrapped {
        [SUITE, a, b, c, d, rest @ ..] if (SALT + TAG..=SALT + MAX_SECRET + TAG).contains(&rest.len()) => {
            Ok(u32::from_be_bytes([*a, *b, *c, *d]))
        }
        _ => Err(WrapError::Shape),
    }
}

fn associated(kek: &Kek, row: &RowId<'_>) -> Vec<u8> {
    let (kek_version, version) = (kek.version.to_be_bytes(), row.version.to_be_bytes());
    let mut parts: Vec<&[u8]> = vec![PURPOSE, kek.purpose.as_bytes(), &kek_version, row.table.as_bytes(), row.column.as_bytes(), &version];
    parts.extend(row.key.iter().map(|part| part.as_bytes()));
    frame(&parts)
}

/// Appends salt, ciphertext and tag to `into`. Each message has a key of its own, from `key` and 24 random bytes, so that one `key`
/// may seal any number of messages (AES-GCM with random nonces must stop at 2^32).
pub(crate) fn seal_salted(key: &Secret<32>, aad: &[u8], plaintext: &[u8], random: &mut dyn Random, into: &mut Vec<u8>) {
    let mut salt = [0; SALT];
    random.fill(&mut salt);
    into.extend_from_slice(&salt);
    let start = into.len();
    into.extend_from_slice(plaintext);
    let tag = message_key(key, &salt)
        .seal_in_place_separate_tag(zero_nonce(), Aad::from(aad), &mut into[start..])
        .expect("a message in memory is far below the 64 GiB that AES-GCM allows");
    into.extend_from_slice(tag.as_ref());
}

/// The inverse of [`seal_salted`].
pub(crate) fn open_salted(key: &Secret<32>, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (salt, sealed) = sealed.split_first_chunk::<SALT>()?;
    let mut opened = Zeroizing::new(sealed.to_vec());
    let length = message_key(key, salt).open_in_place(zero_nonce(), Aad::from(aad), &mut opened).ok()?.len();
    opened.truncate(length);
    Some(opened)
}

fn message_key(key: &Secret<32>, salt: &[u8; SALT]) -> LessSafeKey {
    let bytes = Zeroizing::new(*blake3::keyed_hash(key.expose(), salt).as_bytes());
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*bytes).expect("AES-256 has keys of 32 bytes"))
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Why a wrapped secret did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// Not the bytes of a wrapped secret, or not one of the length asked for.
    #[error("not a wrapped secret")]
    Shape,
    /// Wrapped under another version of the key.
    #[error("wrapped under another version of the key")]
    KeyVersion,
    /// Another key, another row, or changed since.
    #[error("the wrapped secret does not open here: another key, another row, or changed since")]
    Open,
}
