//! Claim secrets: what a medium proves that it is itself with, derived so that an untouched medium needs no row.

use crate::encoding::frame;
use crate::secret::Secret;

const PURPOSE: &[u8] = b"counterfoil claim secret v1";

/// The key of a batch that the claim secrets of its media come from.
#[derive(Clone)]
pub struct ClaimSecretKey(Secret<32>);

impl ClaimSecretKey {
    /// Takes over the key's bytes.
    pub fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// The bytes, to be wrapped.
    pub fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// The claim secret of a medium (its ID in canonical form) in an epoch. A refresh moves a medium to the next epoch.
    pub fn derive(&self, medium_id: &str, epoch: u32) -> Secret<32> {
        let input = frame(&[PURPOSE, medium_id.as_bytes(), &epoch.to_be_bytes()]);
        Secret::new(*blake3::keyed_hash(self.0.expose(), &input).as_bytes())
    }
}
