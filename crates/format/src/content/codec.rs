//! The manifest as bytes: one encoding for one manifest, limits beside the parser (SPEC.md §3).

use super::manifest::{EntryKind, Manifest, ManifestBuilder, Run};
use super::names::{ChunkId, ObjectName};
use super::path::PathError;

/// What a manifest may hold at most. Far above any release that can be made well, far below what hurts a device.
pub mod limits {
    /// Bytes of an encoded manifest, before compression.
    pub const MANIFEST_BYTES: usize = 512 << 20;
    /// Chunks: at 64 KiB each half a terabyte.
    pub const CHUNKS: usize = 8 << 20;
    /// Files, directories and links.
    pub const ENTRIES: usize = 4 << 20;
    /// Runs of chunks in all files together.
    pub const RUNS: usize = 32 << 20;
    /// Times that a file refers to a chunk, in all files together.
    pub const REFERENCES: u64 = 64 << 20;
    /// Bytes of a pack.
    pub const PACK_BYTES: u64 = 256 << 20;
    /// Bytes of all files together.
    pub const RELEASE_BYTES: u64 = 1 << 50;
    /// Bytes of all paths and link targets together.
    pub const TEXT_BYTES: usize = 512 << 20;
    /// Bytes of a path.
    pub const PATH_BYTES: usize = 4096;
    /// Bytes of a component of a path.
    pub const COMPONENT_BYTES: usize = 255;
    /// Components of a path.
    pub const DEPTH: usize = 256;
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It does not begin as a manifest of a version that we know.
    #[error("not a manifest of a known version")]
    Magic,
    /// It ends before all that it announces.
    #[error("manifest is cut off")]
    Truncated,
    /// Something follows its end.
    #[error("manifest has bytes behind its end")]
    TrailingBytes,
    /// More of something than is allowed.
    #[error("manifest exceeds the limit for the {0}")]
    Limit(&'static str),
    /// Something is not written in the one way that is allowed.
    #[error("manifest is not canonical: {0}")]
    NotCanonical(&'static str),
    /// A kind of entry that we do not know.
    #[error("manifest has an entry of unknown kind {0}")]
    UnknownKind(u8),
    /// A pack without chunks, or chunks without a pack.
    #[error("manifest has a pack without chunks or chunks without a pack")]
    EmptyPack,
    /// Two packs of one name.
    #[error("manifest lists pack {0} twice")]
    PackTwice(ObjectName),
    /// A declared length is not the sum of what it covers.
    #[error("manifest declares another {0} than its chunks have")]
    Sum(&'static str),
    /// A file refers to chunks that are not listed.
    #[error("`{0}` refers to chunks that are not listed")]
    NoSuchChunk(String),
    /// A path breaks a rule.
    #[error(transparent)]
    Path(#[from] PathError),
}

const MAGIC: &[u8; 8] = b"CFMANIF1";

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const EXECUTABLE: u8 = 2;
const LINK: u8 = 3;

/// Fewest bytes that a chunk, a pack, a run and an entry take: what bounds the memory reserved for announced counts.
const LEAST_CHUNK: usize = 32 + 1 + 1;
const LEAST_PACK: usize = 32 + 1 + 1 + LEAST_CHUNK;
const LEAST_RUN: usize = 2;
const LEAST_ENTRY: usize = 3;

impl Manifest {
    /// The one encoding of this manifest.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + self.chunks().len() * 38 + self.len() * 64);
        out.extend_from_slice(MAGIC);
        put(&mut out, self.packs().len() as u64);
        put(&mut out, self.chunks().len() as u64);
        put(&mut out, self.len() as u64);
        for (index, pack) in self.packs().iter().enumerate() {
            out.extend_from_slice(&pack.name.0);
            put(&mut out, pack.length);
            put(&mut out, pack.chunks.len() as u64);
            for chunk in self.pack_chunks(index) {
                out.extend_from_slice(&chunk.id.0);
                put(&mut out, u64::from(chunk.sealed_len));
                put(&mut out, u64::from(chunk.plain_len));
            }
        }
        for entry in self.entries() {
            let kind = match entry.kind {
                EntryKind::Directory => DIRECTORY,
                EntryKind::File { executable: false, .. } => FILE,
                EntryKind::File { executable: true, .. } => EXECUTABLE,
                EntryKind::Link { .. } => LINK,
            };
            out.push(kind);
            put_text(&mut out, entry.path);
            match entry.kind {
                EntryKind::Directory => {}
                EntryKind::File { size, runs, .. } => {
                    put(&mut out, size);
                    put(&mut out, runs.len() as u64);
                    for run in runs {
                        put(&mut out, u64::from(run.first));
                        put(&mut out, u64::from(run.count));
                    }
                }
                EntryKind::Link { target } => put_text(&mut out, target),
            }
        }
        out
    }

    /// Parses an encoded manifest and checks all of it. What is accepted encodes to the same bytes again.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > limits::MANIFEST_BYTES {
            return Err(ManifestError::Limit("length of a manifest"));
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or(ManifestError::Magic)?;
        let mut input = Input { rest };
        let packs = input.count(LEAST_PACK)?;
        let chunks = input.count(LEAST_CHUNK)?;
        let entries = input.count(LEAST_ENTRY)?;
        if chunks > limits::CHUNKS || entries > limits::ENTRIES {
            return Err(ManifestError::Limit("number of chunks or entries"));
        }
        let mut builder = ManifestBuilder::new();
        builder.reserve(chunks, entries);

        parse_packs(&mut input, packs, chunks, &mut builder)?;
        parse_entries(&mut input, entries, &mut builder)?;
        if !input.rest.is_empty() {
            return Err(ManifestError::TrailingBytes);
        }
        builder.finish()
    }
}

/// Packs with their chunks, as many as were announced.
fn parse_packs(input: &mut Input<'_>, packs: usize, chunks: usize, builder: &mut ManifestBuilder) -> Result<(), ManifestError> {
    let mut chunks_left = chunks;
    for _ in 0..packs {
        let name = ObjectName(input.hash()?);
        let length = input.number()?;
        let count = input.count(LEAST_CHUNK)?;
        chunks_left = chunks_left.checked_sub(count).ok_or(ManifestError::Sum("number of chunks"))?;
        let mut sum = 0;
        for _ in 0..count {
            let id = ChunkId(input.hash()?);
            let (sealed, plain) = (input.number32()?, input.number32()?);
            builder.chunk(id, sealed, plain)?;
            sum += u64::from(sealed);
        }
        builder.end_pack(name)?;
        if sum != length {
            return Err(ManifestError::Sum("length of a pack"));
        }
    }
    if chunks_left == 0 { Ok(()) } else { Err(ManifestError::Sum("number of chunks")) }
}

fn parse_entries(input: &mut Input<'_>, entries: usize, builder: &mut ManifestBuilder) -> Result<(), ManifestError> {
    let mut runs = Vec::new();
    for _ in 0..entries {
        let kind = input.byte()?;
        let path = input.text()?;
        match kind {
            DIRECTORY => builder.directory(path)?,
            FILE | EXECUTABLE => {
                let size = input.number()?;
                let count = input.count(LEAST_RUN)?;
                runs.clear();
                for _ in 0..count {
                    runs.push(Run { first: input.number32()?, count: input.number32()? });
                }
                if builder.file(path, kind == EXECUTABLE, &runs)? != size {
                    return Err(ManifestError::Sum("size of a file"));
                }
            }
            LINK => builder.link(path, input.text()?)?,
            other => return Err(ManifestError::UnknownKind(other)),
        }
    }
    Ok(())
}

/// Appends a number as LEB128: seven bits a byte, lowest first, the top bit set on all but the last.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a small number that may be negative: 0, -1, 1, -2, … become 0, 1, 2, 3, …
pub(super) fn put_signed(out: &mut Vec<u8>, number: i32) {
    put(out, u64::from(((number << 1) ^ (number >> 31)).cast_unsigned()));
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(super) struct Input<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ManifestError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ManifestError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, ManifestError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn hash(&mut self) -> Result<[u8; 32], ManifestError> {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.take(32)?);
        Ok(hash)
    }

    pub(super) fn number(&mut self) -> Result<u64, ManifestError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                // A last byte of zero would be a second way to write the same number.
                if byte == 0 && shift != 0 {
                    break;
                }
                return Ok(number);
            }
        }
        Err(ManifestError::NotCanonical("a number"))
    }

    pub(super) fn number32(&mut self) -> Result<u32, ManifestError> {
        u32::try_from(self.number()?).map_err(|_| ManifestError::Limit("size of a number"))
    }

    /// A number that may be negative, as [`put_signed`] writes it.
    pub(super) fn signed32(&mut self) -> Result<i32, ManifestError> {
        let number = self.number32()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// A count of things that take at least `least` bytes each: what cannot all follow is not believed.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, ManifestError> {
        let count = self.number()?;
        if count > (self.rest.len() / least) as u64 {
            return Err(ManifestError::Truncated);
        }
        Ok(count as usize)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, ManifestError> {
        let length = self.number()?;
        if length > limits::PATH_BYTES as u64 {
            return Err(ManifestError::Limit("length of a path"));
        }
        let bytes = self.take(length as usize)?;
        std::str::from_utf8(bytes).map_err(|_| ManifestError::NotCanonical("text that is not UTF-8"))
    }
}
