//! Sealing and opening of one chunk in place: the tag is checked, then the name.

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use zeroize::Zeroize;

use super::chunk::{ChunkError, OVERHEAD, TAG_LEN};
use super::keys::{ChunkIdKey, ChunkKeys, aead};
use super::names::ChunkId;
use crate::secret::Secret;

impl ChunkKeys {
    /// Seals in place: `buffer` is the chunk's body followed by [`TAG_LEN`] bytes that the tag is written to.
    ///
    /// `id` must be the body's own name under [`id_key`](Self::id_key): a key never seals two different things.
    pub fn seal_in_place(&self, id: &ChunkId, buffer: &mut [u8]) {
        let body = buffer.len() - TAG_LEN;
        let (body, tag_place) = buffer.split_at_mut(body);
        let tag = aead(self.seal.chunk_key(id).expose())
            .seal_in_place_separate_tag(fixed_nonce(), Aad::empty(), body)
            .expect("a chunk is far below the 64 GiB that AES-GCM seals at once");
        tag_place.copy_from_slice(tag.as_ref());
    }

    /// Opens in place and returns the body; the tag is checked, then the name, so that a chunk opens to one content only.
    ///
    /// On failure the buffer holds nothing worth reading.
    pub fn open_in_place<'a>(&self, id: &ChunkId, sealed: &'a mut [u8]) -> Result<&'a mut [u8], ChunkError> {
        open_with_key(&self.seal.chunk_key(id), &self.id, id, sealed)
    }
}

/// Opens one chunk in place under its own key, and checks its name.
pub(super) fn open_with_key<'a>(
    key: &Secret<32>,
    id_key: &ChunkIdKey,
    id: &ChunkId,
    sealed: &'a mut [u8],
) -> Result<&'a mut [u8], ChunkError> {
    if sealed.len() < OVERHEAD {
        return Err(ChunkError::TooShort);
    }
    let body = aead(key.expose()).open_in_place(fixed_nonce(), Aad::empty(), sealed).map_err(|_| ChunkError::Tag)?;
    if id_key.id_of(body) != *id {
        // AES-GCM does not commit to its key: two keys can be made to open one ciphertext. The name does commit.
        body.zeroize();
        return Err(ChunkError::Id);
    }
    Ok(body)
}

pub(super) fn fixed_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}
