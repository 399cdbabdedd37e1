//! The keys of single chunks: what heals a library after the content key is gone (C11).

use std::collections::HashMap;

use super::chunk::ChunkError;
use super::keys::{ChunkIdKey, ChunkKeys, ContentKey};
use super::names::ChunkId;
use super::seal::open_with_key;
use crate::secret::Secret;

/// Opens chunks by name.
pub trait OpenChunk {
    /// Opens in place and returns the body; the tag is checked, then the name.
    fn open_chunk<'a>(&self, id: &ChunkId, sealed: &'a mut [u8]) -> Result<&'a mut [u8], ChunkError>;
}

impl OpenChunk for ChunkKeys {
    fn open_chunk<'a>(&self, id: &ChunkId, sealed: &'a mut [u8]) -> Result<&'a mut [u8], ChunkError> {
        self.open_in_place(id, sealed)
    }
}

impl ContentKey {
    /// The keys of just these chunks, in their order. They open nothing else, and tell nothing of the content key.
    pub fn keys_of<'a>(&self, chunks: impl IntoIterator<Item = &'a ChunkId>) -> Vec<Secret<32>> {
        let seal = self.chunk_keys().seal;
        chunks.into_iter().map(|id| seal.chunk_key(id)).collect()
    }
}

/// Keys of some chunks of a title, as stored under its content key.
pub struct HealingKeys<'a> {
    id: &'a ChunkIdKey,
    keys: HashMap<ChunkId, Secret<32>>,
}

impl<'a> HealingKeys<'a> {
    /// With the title's `id` key, as the library keeps it, and each chunk's own key.
    pub fn new(id: &'a ChunkIdKey, keys: impl IntoIterator<Item = (ChunkId, Secret<32>)>) -> Self {
        Self { id, keys: keys.into_iter().collect() }
    }
}

impl OpenChunk for HealingKeys<'_> {
    /// A chunk whose key is not among them fails as one that was changed does.
    fn open_chunk<'a>(&self, id: &ChunkId, sealed: &'a mut [u8]) -> Result<&'a mut [u8], ChunkError> {
        let key = self.keys.get(id).ok_or(ChunkError::Tag)?;
        open_with_key(key, self.id, id, sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::{Encoder, TAG_LEN};
    use super::*;

    #[test]
    fn the_key_of_one_chunk_opens_that_chunk_and_no_other() {
        let content = ContentKey::new(Secret::new([7; 32]));
        let keys = content.chunk_keys();
        let seal = |plain: &[u8]| {
            let mut sealed = vec![0; 1 + plain.len() + TAG_LEN];
            let body = Encoder::new(3).expect("level 3 exists").encode(plain, &mut sealed);
            sealed.truncate(body + TAG_LEN);
            let id = keys.id.id_of(&sealed[..body]);
            keys.seal_in_place(&id, &mut sealed);
            (id, sealed)
        };
        let ((one, mut sealed_one), (two, mut sealed_two)) = (seal(b"one"), seal(b"two"));

        let healing = HealingKeys::new(&keys.id, [one].into_iter().zip(content.keys_of([&one])));
        let expected = keys.open_in_place(&one, &mut sealed_one.clone()).expect("sealed above").to_vec();
        assert_eq!(healing.open_chunk(&one, &mut sealed_one).expect("its key is there"), expected);
        assert!(healing.open_chunk(&two, &mut sealed_two).is_err());
    }
}
