//! The keys of content and what is derived from them: one key names chunks, another seals them.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroize;

use super::chunk::TAG_LEN;
use super::names::ChunkId;
use crate::encoding::frame;
use crate::secret::Secret;

/// BLAKE3 `derive_key` contexts (SPEC.md §1). One per use, so that no derived key can serve in another's place.
const ID_CONTEXT: &str = "counterfoil 2026 content v1 chunk id";
const CONTENT_SEAL_CONTEXT: &str = "counterfoil 2026 content v1 chunk seal";
const CUT_CONTEXT: &str = "counterfoil 2026 content v1 cut";
const PATCH_SEAL_CONTEXT: &str = "counterfoil 2026 content v1 patch seal";
const DELTA_SEAL_CONTEXT: &str = "counterfoil 2026 content v1 delta seal";
const LIBRARY_SEAL_CONTEXT: &str = "counterfoil 2026 library v1 chunk seal";
const LIBRARY_WRAP_CONTEXT: &str = "counterfoil 2026 library v1 id key wrap";
const LIBRARY_NONCE_CONTEXT: &str = "counterfoil 2026 library v1 id key nonce";

/// Length in bytes of a wrapped [`ChunkIdKey`]: nonce, key, tag.
pub const WRAPPED_ID_KEY_LEN: usize = NONCE_LEN + 32 + TAG_LEN;

/// Key that a title's chunks are sealed under, one per title and generation, the same for everybody (C1).
pub struct ContentKey(Secret<32>);

impl ContentKey {
    /// Takes 32 secret bytes as the content key.
    pub fn new(secret: Secret<32>) -> Self {
        Self(secret)
    }

    /// The bytes, to be sealed into a grant.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// What opens and seals chunks in a store or on a medium.
    pub fn chunk_keys(&self) -> ChunkKeys {
        ChunkKeys { id: self.chunk_id_key(), seal: ChunkSealKey(derive(CONTENT_SEAL_CONTEXT, &self.0)) }
    }

    /// What names chunks. It opens nothing, and the library keeps it when the content key is gone.
    pub fn chunk_id_key(&self) -> ChunkIdKey {
        ChunkIdKey(derive(ID_CONTEXT, &self.0))
    }

    /// What seals and opens patches between releases of the title.
    pub fn patch_key(&self) -> PatchKey {
        PatchKey(derive(PATCH_SEAL_CONTEXT, &self.0))
    }

    /// What seals and opens deltas between releases of the title.
    pub fn delta_key(&self) -> DeltaKey {
        DeltaKey(derive(DELTA_SEAL_CONTEXT, &self.0))
    }

    /// Seed of the cutter, so that the lengths of chunks do not tell what public file was cut.
    pub(super) fn cut_seed(&self) -> u64 {
        let derived = derive(CUT_CONTEXT, &self.0);
        let mut first = [0; 8];
        first.copy_from_slice(&derived.expose()[..8]);
        u64::from_le_bytes(first)
    }
}

/// Key that the segments of patches are sealed under (SPEC.md §10).
pub struct PatchKey(Secret<32>);

impl PatchKey {
    /// The AES-256-GCM key of one segment. Salt, place and end go into it: a segment opens at its own place in its own patch only.
    pub(super) fn segment_key(&self, salt: &[u8; 32], index: u64, is_last: bool) -> Secret<32> {
        let framed = frame(&[salt, &index.to_le_bytes(), &[u8::from(is_last)]]);
        Secret::new(*blake3::keyed_hash(self.0.expose(), &framed).as_bytes())
    }
}

/// Key that the pieces of deltas are sealed under (SPEC.md §13).
pub struct DeltaKey(Secret<32>);

impl DeltaKey {
    /// The AES-256-GCM key of one piece. Salt and number go into it: a piece opens at its own place in its own object only.
    pub(super) fn piece_key(&self, salt: &[u8; 32], number: u64) -> Secret<32> {
        Secret::new(*blake3::keyed_hash(self.0.expose(), &frame(&[salt, &number.to_le_bytes()])).as_bytes())
    }
}

/// Key that a user's own library is sealed under: random per grant (C7).
pub struct LibraryKey(Secret<32>);

impl LibraryKey {
    /// Takes 32 secret bytes as the library key.
    pub fn new(secret: Secret<32>) -> Self {
        Self(secret)
    }

    /// The bytes, to be sealed into a grant.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// What opens and seals chunks in the library; chunks keep the names that the title's `id` key gave them.
    pub fn chunk_keys(&self, id: &ChunkIdKey) -> ChunkKeys {
        ChunkKeys { id: ChunkIdKey(Secret::new(*id.0.expose())), seal: ChunkSealKey(derive(LIBRARY_SEAL_CONTEXT, &self.0)) }
    }

    /// Seals the title's `id` key so that it can be kept beside the library (SPEC.md §1.3).
    ///
    /// The nonce is a keyed hash of the key wrapped: the same nonce only ever goes with the same plaintext.
    pub fn wrap_id_key(&self, id: &ChunkIdKey) -> [u8; WRAPPED_ID_KEY_LEN] {
        let nonce_key = derive(LIBRARY_NONCE_CONTEXT, &self.0);
        let nonce = blake3::keyed_hash(nonce_key.expose(), id.0.expose());
        let mut wrapped = [0; WRAPPED_ID_KEY_LEN];
        wrapped[..NONCE_LEN].copy_from_slice(&nonce.as_bytes()[..NONCE_LEN]);
        wrapped[NONCE_LEN..NONCE_LEN + 32].copy_from_slice(id.0.expose());
        let tag = aead(derive(LIBRARY_WRAP_CONTEXT, &self.0).expose())
            .seal_in_place_separate_tag(wrapped_nonce(&wrapped), Aad::empty(), &mut wrapped[NONCE_LEN..NONCE_LEN + 32])
            .expect("AES-GCM seals 32 bytes");
        wrapped[NONCE_LEN + 32..].copy_from_slice(tag.as_ref());
        wrapped
    }

    /// Opens what [`wrap_id_key`](Self::wrap_id_key) made; `None` if it was made under another key or was changed.
    pub fn unwrap_id_key(&self, wrapped: &[u8; WRAPPED_ID_KEY_LEN]) -> Option<ChunkIdKey> {
        let mut rest = [0; 32 + TAG_LEN];
        rest.copy_from_slice(&wrapped[NONCE_LEN..]);
        let key = aead(derive(LIBRARY_WRAP_CONTEXT, &self.0).expose());
        let opened = key.open_in_place(wrapped_nonce(wrapped), Aad::empty(), &mut rest).ok()?;
        let mut bytes = [0; 32];
        bytes.copy_from_slice(opened);
        rest.zeroize();
        Some(ChunkIdKey(Secret::new(bytes)))
    }
}

/// Key that names a title's chunks; useless for opening them.
pub struct ChunkIdKey(Secret<32>);

impl ChunkIdKey {
    /// The name of a chunk body, which is codec byte and stored bytes (SPEC.md §2).
    pub fn id_of(&self, body: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(self.0.expose(), body).as_bytes())
    }
}

/// Key that chunk keys are derived from, each by the chunk's name.
pub struct ChunkSealKey(Secret<32>);

impl ChunkSealKey {
    /// The AES-256-GCM key of one chunk. It seals one plaintext only, the one it is named by, hence the fixed nonce.
    pub(super) fn chunk_key(&self, id: &ChunkId) -> Secret<32> {
        Secret::new(*blake3::keyed_hash(self.0.expose(), &id.0).as_bytes())
    }
}

/// What opens and seals chunks, whether under a content key or a library key.
pub struct ChunkKeys {
    pub(super) id: ChunkIdKey,
    pub(super) seal: ChunkSealKey,
}

impl ChunkKeys {
    /// The key that names chunks, the same in store and library.
    pub fn id_key(&self) -> &ChunkIdKey {
        &self.id
    }
}

fn derive(context: &str, secret: &Secret<32>) -> Secret<32> {
    Secret::new(blake3::derive_key(context, secret.expose()))
}

pub(super) fn aead(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256-GCM takes 32 bytes"))
}

fn wrapped_nonce(wrapped: &[u8; WRAPPED_ID_KEY_LEN]) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&wrapped[..NONCE_LEN]);
    Nonce::assume_unique_for_key(nonce)
}
