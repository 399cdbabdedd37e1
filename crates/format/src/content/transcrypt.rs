//! From one key to another, pack by pack: open, check, seal again at the same place, in one reused buffer.

use std::io::{self, Read, Write};
use std::ops::Range;

use zeroize::Zeroize;

use super::chunk::{ChunkError, MAX_PLAIN, OVERHEAD};
use super::keys::ChunkKeys;
use super::manifest::{ChunkRef, Manifest};
use super::names::{ChunkId, ObjectName};
use super::release::ManifestRef;

/// Why a pack was not brought under the other key to its end. What was written before is good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranscryptError {
    /// The source could not be read, or ended too early (`UnexpectedEof`).
    #[error("pack {pack} could not be read at {offset}")]
    Read {
        /// The pack.
        pack: ObjectName,
        /// Bytes of it that were read and are good.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The target could not be written.
    #[error("pack {pack} could not be written")]
    Write {
        /// The pack.
        pack: ObjectName,
        /// What the system said.
        source: io::Error,
    },
    /// A chunk did not open.
    #[error("chunk {id} at {offset} of pack {pack} is bad: {source}")]
    Chunk {
        /// The pack.
        pack: ObjectName,
        /// Where the chunk begins in it.
        offset: u64,
        /// The chunk.
        id: ChunkId,
        /// What is wrong with it.
        source: ChunkError,
    },
}

/// Brings packs from one key to another (C11); one for each thread.
///
/// Chunks keep lengths and offsets. Nothing is allocated per chunk, and only sealed bytes are written.
pub struct Transcrypter<'k> {
    from: &'k ChunkKeys,
    to: &'k ChunkKeys,
    buffer: Vec<u8>,
}

impl<'k> Transcrypter<'k> {
    /// Bytes read at once where the source is a disk.
    pub const BULK: usize = 1 << 20;

    /// From the keys of the medium or store to those of the library, or the other way; reads [`BULK`](Self::BULK) at once.
    pub fn new(from: &'k ChunkKeys, to: &'k ChunkKeys) -> Self {
        Self::with_bulk(from, to, Self::BULK)
    }

    /// Reads about `bulk` bytes at once and at least a chunk. What is in the buffer is lost when the process is killed: where
    /// bytes are dear (a network) a `bulk` of 0, a chunk at a time, loses least.
    pub fn with_bulk(from: &'k ChunkKeys, to: &'k ChunkKeys, bulk: usize) -> Self {
        Self { from, to, buffer: vec![0; bulk.max(MAX_PLAIN + OVERHEAD)] }
    }

    /// Transcrypts a pack from its chunk number `skip` to its end, as [`part`](Self::part) does.
    pub fn pack(
        &mut self,
        manifest: &Manifest,
        pack: usize,
        skip: usize,
        source: impl Read,
        target: impl Write,
        progress: impl FnMut(u64),
    ) -> Result<(), TranscryptError> {
        self.part(manifest, pack, skip..manifest.pack_chunks(pack).len(), source, target, progress)
    }

    /// Transcrypts some chunks of a pack, counted from its first. `source` and `target` stand at the first one's offset.
    ///
    /// `progress` is told the bytes of each write. When a chunk is bad or an end is cut off, all good chunks before it have
    /// been written.
    pub fn part(
        &mut self,
        manifest: &Manifest,
        pack: usize,
        chunks: Range<usize>,
        mut source: impl Read,
        mut target: impl Write,
        mut progress: impl FnMut(u64),
    ) -> Result<(), TranscryptError> {
        let name = manifest.packs()[pack].name;
        let mut left = &manifest.pack_chunks(pack)[chunks];
        while let Some(first) = left.first() {
            let (group, rest) = self.next_group(left);
            let start = u64::from(first.offset);
            let length: usize = group.iter().map(|chunk| chunk.sealed_len as usize).sum();
            let (filled, read_error) = fill(&mut source, &mut self.buffer[..length]);
            let (good, chunk_error) = self.reseal(group, filled);

            target.write_all(&self.buffer[..good]).map_err(|source| TranscryptError::Write { pack: name, source })?;
            progress(good as u64);
            if let Some((chunk, source)) = chunk_error {
                let offset = u64::from(chunk.offset);
                return Err(TranscryptError::Chunk { pack: name, offset, id: chunk.id, source });
            }
            if let Some(source) = read_error {
                return Err(TranscryptError::Read { pack: name, offset: start + good as u64, source });
            }
            left = rest;
        }
        Ok(())
    }

    /// As many chunks as fit into the buffer, and what follows them.
    fn next_group<'m>(&self, chunks: &'m [ChunkRef]) -> (&'m [ChunkRef], &'m [ChunkRef]) {
        let mut length = 0;
        let fits = |chunk: &&ChunkRef| {
            length += chunk.sealed_len as usize;
            length <= self.buffer.len()
        };
        let count = chunks.iter().take_while(fits).count();
        chunks.split_at(count)
    }

    /// Opens and seals again the whole chunks among the first `filled` bytes; returns how many bytes of them are good.
    fn reseal<'m>(&mut self, group: &'m [ChunkRef], filled: usize) -> (usize, Option<(&'m ChunkRef, ChunkError)>) {
        let mut at = 0;
        for chunk in group {
            let end = at + chunk.sealed_len as usize;
            if end > filled {
                break;
            }
            let sealed = &mut self.buffer[at..end];
            if let Err(error) = self.from.open_in_place(&chunk.id, sealed) {
                return (at, Some((chunk, error)));
            }
            self.to.seal_in_place(&chunk.id, sealed);
            at = end;
        }
        (at, None)
    }
}

impl Drop for Transcrypter<'_> {
    fn drop(&mut self) {
        // A chunk that failed may have left plaintext behind.
        self.buffer.zeroize();
    }
}

/// Brings a sealed manifest from one key to another, in place.
pub fn transcrypt_manifest(reference: &ManifestRef, from: &ChunkKeys, to: &ChunkKeys, sealed: &mut [u8]) -> Result<(), ChunkError> {
    if sealed.len() as u64 != reference.length {
        return Err(ChunkError::Size);
    }
    from.open_in_place(&reference.id, sealed)?;
    to.seal_in_place(&reference.id, sealed);
    Ok(())
}

/// What of a pack is there and good, from its beginning on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoodPrefix {
    /// Good chunks: where [`Transcrypter::pack`] goes on.
    pub chunks: usize,
    /// Their bytes: where source and target are to be positioned, and what the target is to be cut to.
    pub bytes: u64,
}

/// Opens the chunks of an unfinished pack until one is bad or cut off. Only reading itself can fail.
pub fn good_prefix(manifest: &Manifest, pack: usize, keys: &ChunkKeys, mut partial: impl Read) -> io::Result<GoodPrefix> {
    let mut buffer = vec![0; MAX_PLAIN + OVERHEAD];
    let mut good = GoodPrefix { chunks: 0, bytes: 0 };
    for chunk in manifest.pack_chunks(pack) {
        let sealed = &mut buffer[..chunk.sealed_len as usize];
        match partial.read_exact(sealed) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        if keys.open_in_place(&chunk.id, sealed).is_err() {
            break;
        }
        good.chunks += 1;
        good.bytes += u64::from(chunk.sealed_len);
    }
    buffer.zeroize();
    Ok(good)
}

/// Reads until `buffer` is full; how far it came, and what stopped it.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => return (filled, Some(io::ErrorKind::UnexpectedEof.into())),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}
