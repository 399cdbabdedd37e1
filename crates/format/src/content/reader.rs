//! Reads any file of a release at any offset, from sealed packs, by several threads at once.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::cache::{Cache, Plain};
use super::chunk::{ChunkError, Codec, Decoder, TAG_LEN};
use super::keys::ChunkKeys;
use super::manifest::{ChunkRef, EntryKind, Manifest, Run};
use super::names::{ChunkId, ObjectName};
use super::object::ReadAt;

/// Packs held open at once: far below the usual limit of 1024 open files.
const OPEN_PACKS: usize = 64;
/// Chunks between two marks of a file: what has to be walked to find an offset.
const MARK_EVERY: u64 = 64;

/// Why a part of a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The pack is missing or could not be read.
    #[error("`{path}` cannot be read at {offset}: pack {pack}")]
    Pack {
        /// The file.
        path: String,
        /// Where in the file the chunk begins that was needed.
        offset: u64,
        /// The pack.
        pack: ObjectName,
        /// What the system said.
        source: io::Error,
    },
    /// A chunk did not open.
    #[error("`{path}` is damaged at {offset}: chunk {id} at {pack_offset} of pack {pack}")]
    Damaged {
        /// The file.
        path: String,
        /// Where in the file the chunk begins.
        offset: u64,
        /// The chunk.
        id: ChunkId,
        /// The pack that it lies in.
        pack: ObjectName,
        /// Where it begins in the pack.
        pack_offset: u64,
        /// What is wrong with it.
        source: ChunkError,
    },
}

type OpenPack = dyn Fn(&ObjectName) -> io::Result<Box<dyn ReadAt>> + Send + Sync;

/// Reads the files of one release (C12): tag and name of every chunk are checked before its bytes are used.
pub struct Reader {
    manifest: Arc<Manifest>,
    keys: ChunkKeys,
    open: Box<OpenPack>,
    packs: Mutex<Packs>,
    cache: Cache,
    scratch: Mutex<Vec<Scratch>>,
}

#[derive(Default)]
struct Packs {
    open: HashMap<u32, (Arc<dyn ReadAt>, u64)>,
    clock: u64,
}

struct Scratch {
    decoder: Decoder,
    sealed: Vec<u8>,
}

/// A file that is read: its size, and marks that find an offset in it without walking it from its beginning.
#[derive(Debug, Clone)]
pub struct FileView {
    index: usize,
    size: u64,
    marks: Vec<Mark>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Where in the file the chunk begins.
    offset: u64,
    /// Which run it is in, and at which place.
    run: u32,
    within: u32,
}

impl FileView {
    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Reader {
    /// Reads packs that `open` opens by name, under `keys`, keeping at most about `cache_bytes` of plaintext in memory.
    pub fn new(
        manifest: Arc<Manifest>,
        keys: ChunkKeys,
        cache_bytes: usize,
        open: impl Fn(&ObjectName) -> io::Result<Box<dyn ReadAt>> + Send + Sync + 'static,
    ) -> Self {
        Self { manifest, keys, open: Box::new(open), packs: Mutex::default(), cache: Cache::new(cache_bytes), scratch: Mutex::default() }
    }

    /// What is read.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Prepares the reading of the entry at an index; `None` if it is not a file.
    pub fn file(&self, index: usize) -> Option<FileView> {
        let EntryKind::File { size, runs, .. } = self.manifest.entry(index).kind else { return None };
        let mut marks = Vec::new();
        let mut chunks = 0;
        let mut offset = 0;
        for (run, chunk_run) in runs.iter().enumerate() {
            for within in 0..chunk_run.count {
                if chunks % MARK_EVERY == 0 {
                    marks.push(Mark { offset, run: run as u32, within });
                }
                chunks += 1;
                offset += u64::from(self.chunk(*chunk_run, within).1.plain_len);
            }
        }
        Some(FileView { index, size, marks })
    }

    /// Fills `buffer` from `offset` of the file; returns how many bytes, less than asked for only at the file's end.
    pub fn read_at(&self, file: &FileView, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let EntryKind::File { runs, .. } = self.manifest.entry(file.index).kind else { return Ok(0) };
        // The last mark at or before the offset.
        let mark = file.marks.partition_point(|mark| mark.offset <= offset);
        let Some(&Mark { offset: mut at, run, within }) = mark.checked_sub(1).map(|mark| &file.marks[mark]) else {
            return Ok(0);
        };
        let mut filled = 0;
        let mut first = within;
        for run in &runs[run as usize..] {
            for within in first..run.count {
                if filled == buffer.len() {
                    return Ok(filled);
                }
                let (index, chunk) = self.chunk(*run, within);
                let end = at + u64::from(chunk.plain_len);
                let wanted = offset + filled as u64;
                if wanted < end {
                    let plain = self.plain(index, chunk).map_err(|fault| self.name_fault(fault, file, at, chunk))?;
                    let part = &plain[(wanted - at) as usize..];
                    let n = part.len().min(buffer.len() - filled);
                    buffer[filled..filled + n].copy_from_slice(&part[..n]);
                    filled += n;
                }
                at = end;
            }
            first = 0;
        }
        Ok(filled)
    }

    /// Appends the plaintext of the chunk at an index of the manifest.
    ///
    /// # Errors
    /// `NotFound` for one that the manifest has not; [`ChunkError`] as `InvalidData`; what the pack's file says.
    pub fn read_chunk(&self, index: u32, out: &mut Vec<u8>) -> io::Result<()> {
        let chunk = self.manifest.chunks().get(index as usize).ok_or(io::ErrorKind::NotFound)?;
        let plain = self.plain(index, chunk).map_err(|fault| match fault {
            Fault::Pack(error) => error,
            Fault::Chunk(error) => io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        out.extend_from_slice(&plain);
        Ok(())
    }

    fn chunk(&self, run: Run, within: u32) -> (u32, &ChunkRef) {
        let index = run.first + within;
        (index, &self.manifest.chunks()[index as usize])
    }

    fn plain(&self, index: u32, chunk: &ChunkRef) -> Result<Arc<Plain>, Fault> {
        self.cache.get(index, |buffer| {
            let taken = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut scratch = match taken {
                Some(scratch) => scratch,
                None => Scratch { decoder: Decoder::new().map_err(Fault::Pack)?, sealed: Vec::new() },
            };
            let decoded = self.decode(chunk, buffer, &mut scratch);
            self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
            decoded
        })
    }

    fn decode(&self, chunk: &ChunkRef, mut buffer: Vec<u8>, scratch: &mut Scratch) -> Result<Plain, Fault> {
        let pack = self.pack(chunk.pack).map_err(Fault::Pack)?;
        let sealed_len = chunk.sealed_len as usize;
        let plain_len = chunk.plain_len as usize;
        scratch.sealed.resize(sealed_len, 0);
        pack.read_exact_at(&mut scratch.sealed, u64::from(chunk.offset)).map_err(Fault::Pack)?;
        let body = self.keys.open_in_place(&chunk.id, &mut scratch.sealed).map_err(Fault::Chunk)?;
        if body[0] == Codec::Stored as u8 {
            if body.len() != 1 + plain_len {
                return Err(Fault::Chunk(ChunkError::Size));
            }
            // The opened buffer itself becomes the cached one: no copy.
            std::mem::swap(&mut buffer, &mut scratch.sealed);
            return Ok(Plain { buffer, range: 1..sealed_len - TAG_LEN });
        }
        buffer.resize(plain_len, 0);
        scratch.decoder.decode(body, &mut buffer).map_err(Fault::Chunk)?;
        Ok(Plain { buffer, range: 0..plain_len })
    }

    fn pack(&self, index: u32) -> io::Result<Arc<dyn ReadAt>> {
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        packs.clock += 1;
        let now = packs.clock;
        if let Some((pack, last_used)) = packs.open.get_mut(&index) {
            *last_used = now;
            return Ok(Arc::clone(pack));
        }
        let pack: Arc<dyn ReadAt> = Arc::from((self.open)(&self.manifest.packs()[index as usize].name)?);
        if packs.open.len() >= OPEN_PACKS
            && let Some((&oldest, _)) = packs.open.iter().min_by_key(|(_, (_, last_used))| *last_used)
        {
            packs.open.remove(&oldest);
        }
        packs.open.insert(index, (Arc::clone(&pack), now));
        Ok(pack)
    }

    fn name_fault(&self, fault: Fault, file: &FileView, offset: u64, chunk: &ChunkRef) -> ReadError {
        let path = self.manifest.entry(file.index).path.to_owned();
        let pack = self.manifest.packs()[chunk.pack as usize].name;
        match fault {
            Fault::Pack(source) => ReadError::Pack { path, offset, pack, source },
            Fault::Chunk(source) => {
                let pack_offset = u64::from(chunk.offset);
                ReadError::Damaged { path, offset, id: chunk.id, pack, pack_offset, source }
            }
        }
    }
}

/// What went wrong with a chunk, before it is known which file it was read for.
enum Fault {
    Pack(io::Error),
    Chunk(ChunkError),
}
