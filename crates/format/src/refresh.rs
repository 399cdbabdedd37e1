//! A refreshed identity area on its way to the medium (B7): sealed under the claim secret that the medium proved itself with.

use zeroize::Zeroizing;

use crate::encoding::{frame, from_base64url, to_base64url};
use crate::secret::{Random, Secret};
use crate::wrap::{open_salted, seal_salted};

/// Longest identity area, in bytes, as media hold it.
pub const MAX_AREA: usize = 64 * 1024;

/// BLAKE3 `derive_key` context (SPEC.md §6.5): a claim secret signs requests, and this key does not.
const KEY: &str = "counterfoil 2026-11 key of a refreshed identity area";
const PURPOSE: &[u8] = b"counterfoil refreshed identity area v1";
const OVERHEAD: usize = 24 + 16;

/// Seals an identity area for the medium (its ID in canonical text) that holds `claim_secret`. `epoch` is that of the claim secret in the area.
///
/// # Panics
/// If `area` is longer than [`MAX_AREA`].
pub fn seal(claim_secret: &Secret<32>, medium_id: &str, epoch: u32, area: &[u8], random: &mut dyn Random) -> String {
    assert!(area.len() <= MAX_AREA, "an identity area is short; this is {} bytes", area.len());
    let mut sealed = Vec::with_capacity(area.len() + OVERHEAD);
    seal_salted(&key(claim_secret), &associated(medium_id, epoch), area, random, &mut sealed);
    to_base64url(&sealed)
}

/// Opens what [`seal`] made for the same medium and epoch under the same claim secret: the bytes of the identity area.
pub fn open(claim_secret: &Secret<32>, medium_id: &str, epoch: u32, sealed: &str) -> Result<Zeroizing<Vec<u8>>, RefreshError> {
    // Four characters of base64 hold three bytes: nothing longer is decoded, let alone opened.
    if sealed.len() > (MAX_AREA + OVERHEAD).div_ceil(3) * 4 {
        return Err(RefreshError::Shape);
    }
    let sealed = from_base64url(sealed).ok_or(RefreshError::Shape)?;
    if !(OVERHEAD..=MAX_AREA + OVERHEAD).contains(&sealed.len()) {
        return Err(RefreshError::Shape);
    }
    open_salted(&key(claim_secret), &associated(medium_id, epoch), &sealed).ok_or(RefreshError::Open)
}

fn key(claim_secret: &Secret<32>) -> Secret<32> {
    Secret::new(blake3::derive_key(KEY, claim_secret.expose()))
}

fn associated(medium_id: &str, epoch: u32) -> Vec<u8> {
    frame(&[PURPOSE, medium_id.as_bytes(), &epoch.to_be_bytes()])
}

/// Why a refreshed identity area did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// Not the text of a sealed identity area.
    #[error("not a sealed identity area")]
    Shape,
    /// Another claim secret, another medium, another epoch, or changed since.
    #[error("the refreshed identity does not open here: another claim secret, another medium, another epoch, or changed since")]
    Open,
}
