//! Deltas as objects: chunks that one release has and another has not, in groups, each written against chunks of the other (SPEC.md §13).
//!
//! What the difference engine wrote for a group is opaque here. An object is read piece by piece, by ranges: its front says what the
//! pieces are for and where they lie.

use std::ops::Range;

use aws_lc_rs::aead::Aad;

use super::chunk::TAG_LEN;
use super::codec::{Input, limits, put, put_signed, put_text};
use super::keys::{DeltaKey, aead};
use super::manifest::{Manifest, Run};
use super::names::ChunkId;
use super::seal::fixed_nonce;
use crate::secret::Random;

/// Most bytes of plaintext that one group makes.
pub const DELTA_NEW: u64 = 1 << 20;
/// Most bytes of plaintext that one group is made from.
pub const DELTA_OLD: u64 = 4 << 20;
/// Bytes that an object begins with, whatever it holds: salt and head.
pub const DELTA_HEAD: usize = SALT_LEN + HEAD_LEN + TAG_LEN;

const SALT_LEN: usize = 32;
const HEAD_LEN: usize = MAGIC.len() + 8;
const MAGIC: &[u8; 8] = b"CFDELTA1";
/// Numbers of the pieces: the group `i` has `GROUPS + i`.
const HEAD: u64 = 0;
const INDEX: u64 = 1;
const MANIFEST: u64 = 2;
const GROUPS: u64 = 3;
/// Most sealed bytes of an index.
const INDEX_BYTES: u64 = 64 << 20;
/// Most sealed bytes of a group: whoever has more to say sends the chunks.
const GROUP_BYTES: u64 = 2 * DELTA_NEW;
/// Fewest bytes of a group in the index, and of a run.
const LEAST_GROUP: usize = 5;
const LEAST_RUN: usize = 2;

/// Why a delta cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// A piece is damaged, of another object, of another title, or not at its place.
    #[error("piece {0} of the delta does not open")]
    Piece(u64),
    /// What it says of itself cannot be.
    #[error("the index of the delta is wrong: {0}")]
    Index(&'static str),
}

/// Some chunks of the new release, and the chunks of the old one that they are written against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaGroup {
    /// Chunks of the new manifest: rising in the whole index, [`DELTA_NEW`] bytes of plaintext at most.
    pub new: Vec<Run>,
    /// Chunks of the old manifest: rising in the group, [`DELTA_OLD`] bytes of plaintext at most; none where nothing is alike.
    pub old: Vec<Run>,
    /// Bytes of the piece, sealed.
    pub sealed: u32,
}

/// What the pieces of a delta are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaIndex {
    /// The manifest of the release that is there.
    pub from: ChunkId,
    /// The manifest of the release that is gone to.
    pub to: ChunkId,
    /// What the chunks of that release were compressed by, such as `zstd 1.5.7`; another one gives other chunks.
    pub encoder: String,
    /// And at which level.
    pub level: i32,
    /// Sealed bytes of the piece that makes the new manifest from the old one; 0 where there is none.
    pub manifest: u32,
    /// The others, in the order in which they lie in the object.
    pub groups: Vec<DeltaGroup>,
}

/// Seals the pieces of one object. A number must not be sealed twice with different bytes.
pub struct DeltaSealer {
    key: DeltaKey,
    salt: [u8; SALT_LEN],
}

impl DeltaSealer {
    /// Begins an object, with a salt of its own.
    pub fn new(key: DeltaKey, random: &mut dyn Random) -> Self {
        let mut salt = [0; SALT_LEN];
        random.fill(&mut salt);
        Self { key, salt }
    }

    /// The piece that makes the manifest.
    pub fn manifest(&self, plain: Vec<u8>) -> Vec<u8> {
        self.piece(MANIFEST, plain)
    }

    /// The piece of a group, by its place in the index.
    pub fn group(&self, index: usize, plain: Vec<u8>) -> Vec<u8> {
        self.piece(GROUPS + index as u64, plain)
    }

    /// What precedes the pieces: salt, head and index.
    ///
    /// # Errors
    /// [`DeltaError::Index`] for an index that no reader would accept.
    pub fn front(&self, index: &DeltaIndex) -> Result<Vec<u8>, DeltaError> {
        if !index.rises() {
            return Err(DeltaError::Index("chunks that do not rise"));
        }
        let index = self.piece(INDEX, index.encode());
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&(index.len() as u64).to_le_bytes());
        Ok([&self.salt[..], &self.piece(HEAD, head), &index].concat())
    }

    fn piece(&self, number: u64, mut plain: Vec<u8>) -> Vec<u8> {
        let tag = aead(self.key.piece_key(&self.salt, number).expose())
            .seal_in_place_separate_tag(fixed_nonce(), Aad::empty(), &mut plain)
            .expect("a piece is far below the 64 GiB that AES-GCM seals at once");
        plain.extend_from_slice(tag.as_ref());
        plain
    }
}

/// The front of an object, opened: what its pieces are for, where they lie, and what opens them.
pub struct DeltaFront {
    key: DeltaKey,
    salt: [u8; SALT_LEN],
    index: DeltaIndex,
    /// Where the piece of the manifest begins, then where each group begins, then where the last one ends.
    starts: Vec<u64>,
}

/// How many bytes of an object of `length` bytes are its front, by its first [`DELTA_HEAD`] bytes.
///
/// # Errors
/// [`DeltaError`] where it is no delta of this title, or of a version that is not known.
pub fn delta_front_length(key: &DeltaKey, head: &[u8; DELTA_HEAD], length: u64) -> Result<u64, DeltaError> {
    let mut salt = [0; SALT_LEN];
    salt.copy_from_slice(&head[..SALT_LEN]);
    let mut sealed = head[SALT_LEN..].to_vec();
    let plain = open(key, &salt, HEAD, &mut sealed)?;
    let index = plain.strip_prefix(MAGIC).ok_or(DeltaError::Index("not a delta of a known version"))?;
    let index = u64::from_le_bytes(index.try_into().map_err(|_| DeltaError::Index("a head of another length"))?);
    let end = (DELTA_HEAD as u64).checked_add(index);
    end.filter(|end| index <= INDEX_BYTES && *end <= length).ok_or(DeltaError::Index("longer than it can be"))
}

impl DeltaFront {
    /// Opens the first [`delta_front_length`] bytes of an object of `length` bytes.
    ///
    /// # Errors
    /// [`DeltaError`].
    pub fn open(key: DeltaKey, front: &[u8], length: u64) -> Result<Self, DeltaError> {
        let head: &[u8; DELTA_HEAD] = front.first_chunk().ok_or(DeltaError::Index("cut off"))?;
        if delta_front_length(&key, head, length)? != front.len() as u64 {
            return Err(DeltaError::Index("of another length than its head says"));
        }
        let mut salt = [0; SALT_LEN];
        salt.copy_from_slice(&head[..SALT_LEN]);
        let mut sealed = front[DELTA_HEAD..].to_vec();
        let index = DeltaIndex::parse(open(&key, &salt, INDEX, &mut sealed)?)?;
        let mut at = front.len() as u64;
        let mut starts = vec![at];
        for sealed in [index.manifest].into_iter().chain(index.groups.iter().map(|group| group.sealed)) {
            at += u64::from(sealed);
            starts.push(at);
        }
        if at != length {
            return Err(DeltaError::Index("its pieces do not make up the object"));
        }
        Ok(Self { key, salt, index, starts })
    }

    /// What the pieces are for.
    pub fn index(&self) -> &DeltaIndex {
        &self.index
    }

    /// Where the piece lies that makes the manifest; empty where there is none.
    pub fn manifest(&self) -> Range<u64> {
        self.starts[0]..self.starts[1]
    }

    /// Where the piece of a group lies.
    pub fn group(&self, index: usize) -> Range<u64> {
        self.starts[index + 1]..self.starts[index + 2]
    }

    /// Opens the piece that makes the manifest, in place.
    ///
    /// # Errors
    /// [`DeltaError::Piece`].
    pub fn open_manifest<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a [u8], DeltaError> {
        open(&self.key, &self.salt, MANIFEST, sealed)
    }

    /// Opens the piece of a group, in place.
    ///
    /// # Errors
    /// [`DeltaError::Piece`].
    pub fn open_group<'a>(&self, index: usize, sealed: &'a mut [u8]) -> Result<&'a [u8], DeltaError> {
        open(&self.key, &self.salt, GROUPS + index as u64, sealed)
    }
}

fn open<'a>(key: &DeltaKey, salt: &[u8; SALT_LEN], number: u64, sealed: &'a mut [u8]) -> Result<&'a [u8], DeltaError> {
    let opened = aead(key.piece_key(salt, number).expose()).open_in_place(fixed_nonce(), Aad::empty(), sealed);
    opened.map(|plain| &*plain).map_err(|_| DeltaError::Piece(number))
}

impl DeltaIndex {
    /// Whether its groups are of chunks of the two manifests, and none takes more memory than is allowed.
    ///
    /// # Errors
    /// [`DeltaError::Index`].
    pub fn check(&self, old: &Manifest, new: &Manifest) -> Result<(), DeltaError> {
        let fits = |manifest: &Manifest, runs: &[Run], most: u64| {
            let chunks = |run: &Run| manifest.chunks().get(run.first as usize..run.first as usize + run.count as usize);
            let bytes = |run: &Run| chunks(run).map(|chunks| chunks.iter().map(|chunk| u64::from(chunk.plain_len)).sum::<u64>());
            runs.iter().map(bytes).sum::<Option<u64>>().is_some_and(|bytes| bytes <= most)
        };
        match self.groups.iter().all(|group| fits(old, &group.old, DELTA_OLD) && fits(new, &group.new, DELTA_NEW)) {
            true => Ok(()),
            false => Err(DeltaError::Index("chunks that the releases have not, or too many for one group")),
        }
    }

    /// Whether runs are in the one order in which they can be written.
    fn rises(&self) -> bool {
        let rise = |runs: &[Run], next: &mut u64| {
            runs.iter().enumerate().all(|(at, run)| {
                let first = u64::from(run.first);
                let fits = first >= *next + u64::from(at > 0) && run.count > 0;
                *next = first + u64::from(run.count);
                fits
            })
        };
        let mut next = 0;
        self.groups.iter().all(|group| !group.new.is_empty() && rise(&group.new, &mut next) && rise(&group.old, &mut 0))
    }

    /// Its bytes before they are sealed (SPEC.md §13).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.groups.len() * 32);
        out.extend_from_slice(&self.from.0);
        out.extend_from_slice(&self.to.0);
        put_text(&mut out, &self.encoder);
        put_signed(&mut out, self.level);
        put(&mut out, u64::from(self.manifest));
        put(&mut out, self.groups.len() as u64);
        let mut next = 0;
        for group in &self.groups {
            put(&mut out, u64::from(group.sealed));
            next = put_runs(&mut out, &group.new, next);
            put_runs(&mut out, &group.old, 0);
        }
        out
    }

    /// Reads what [`encode`](Self::encode) has written; every index has one form.
    ///
    /// # Errors
    /// [`DeltaError::Index`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DeltaError> {
        let wrong = |_| DeltaError::Index("cut off, or a number written badly");
        let mut input = Input { rest: bytes };
        let (from, to) = (ChunkId(input.hash().map_err(wrong)?), ChunkId(input.hash().map_err(wrong)?));
        let encoder = input.text().map_err(wrong)?.to_owned();
        if encoder.len() > 64 {
            return Err(DeltaError::Index("an encoder with a name that long"));
        }
        let (level, manifest) = (input.signed32().map_err(wrong)?, input.number32().map_err(wrong)?);
        if manifest as usize > limits::MANIFEST_BYTES {
            return Err(DeltaError::Index("a piece longer than it can be"));
        }
        let count = input.count(LEAST_GROUP).map_err(wrong)?;
        let mut index = Self { from, to, encoder, level, manifest, groups: Vec::with_capacity(count) };
        let mut next = 0;
        for _ in 0..count {
            let sealed = input.number32().map_err(wrong)?;
            if sealed as usize <= TAG_LEN || u64::from(sealed) > GROUP_BYTES {
                return Err(DeltaError::Index("a piece of an impossible length"));
            }
            let new = runs(&mut input, &mut next)?;
            let old = runs(&mut input, &mut 0)?;
            if new.is_empty() {
                return Err(DeltaError::Index("a group of nothing"));
            }
            index.groups.push(DeltaGroup { new, old, sealed });
        }
        if !input.rest.is_empty() {
            return Err(DeltaError::Index("bytes behind its end"));
        }
        Ok(index)
    }
}

/// Writes runs that rise and do not touch, the first from `next` on; returns where the last one ends.
fn put_runs(out: &mut Vec<u8>, runs: &[Run], mut next: u64) -> u64 {
    put(out, runs.len() as u64);
    for run in runs {
        put(out, u64::from(run.first) - next);
        put(out, u64::from(run.count));
        next = u64::from(run.first) + u64::from(run.count);
    }
    next
}

fn runs(input: &mut Input<'_>, next: &mut u64) -> Result<Vec<Run>, DeltaError> {
    let wrong = |_| DeltaError::Index("cut off, or a number written badly");
    let count = input.count(LEAST_RUN).map_err(wrong)?;
    let mut runs = Vec::with_capacity(count);
    for at in 0..count {
        let (gap, count) = (input.number32().map_err(wrong)?, input.number32().map_err(wrong)?);
        let first = *next + u64::from(gap);
        *next = first + u64::from(count);
        if count == 0 || (at > 0 && gap == 0) || *next > limits::CHUNKS as u64 {
            return Err(DeltaError::Index("a run of chunks that cannot be"));
        }
        runs.push(Run { first: first as u32, count });
    }
    Ok(runs)
}

#[cfg(test)]
mod tests;
