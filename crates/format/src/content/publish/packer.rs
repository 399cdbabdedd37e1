//! Puts sealed chunks into packs, each chunk once, and remembers which chunks make up which file.

use std::collections::{HashMap, HashSet};

use super::super::codec::ManifestError;
use super::super::manifest::{Manifest, ManifestBuilder, Run};
use super::super::names::{ChunkId, ObjectName};
use super::super::pack::{PackSink, PackedObject};
use super::super::tree::{Found, FoundKind};
use super::{PublishError, PublishProgress, SealedBatch, SealedChunk};

mod sparse;

/// A pack of an earlier release that is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reused {
    /// The pack.
    pub pack: PackedObject,
    /// Bytes of it that this release uses: at least half, because what is used of others is packed anew.
    pub used: u64,
}

/// Packs while publishing.
///
/// Chunks are numbered as they come: first those of all earlier packs, whether used or not, then the new ones.
pub struct Packer<'a> {
    sink: &'a mut dyn PackSink,
    pack_bytes: u64,
    on_progress: &'a mut dyn FnMut(&PublishProgress),
    progress: PublishProgress,
    earlier: Vec<EarlierPack<'a>>,
    earlier_chunks: u32,
    /// First eight bytes of a chunk's name to its number. Should two names share them, one of the two is packed twice.
    numbers: HashMap<u64, u32>,
    used: HashSet<u32>,
    new: Vec<NewChunk>,
    new_packs: Vec<(PackedObject, u32)>,
    /// Chunks of earlier packs that were packed anew: their number until now and from now on.
    again: HashMap<u32, u32>,
    hasher: blake3::Hasher,
    pack_len: u64,
    runs: FileRuns,
}

struct EarlierPack<'a> {
    manifest: &'a Manifest,
    index: usize,
    first: u32,
}

struct NewChunk {
    id: ChunkId,
    sealed_len: u32,
    plain_len: u32,
}

/// Runs of all files, one behind the other; `ends` says for each file where its own end.
#[derive(Default)]
struct FileRuns {
    runs: Vec<Run>,
    /// File and end of its runs, for files that have chunks, in order of files.
    ends: Vec<(u32, usize)>,
}

impl<'a> Packer<'a> {
    pub fn new(
        sink: &'a mut dyn PackSink,
        pack_bytes: u64,
        earlier_manifests: &[&'a Manifest],
        on_progress: &'a mut dyn FnMut(&PublishProgress),
    ) -> Self {
        let mut earlier: Vec<EarlierPack<'a>> = Vec::new();
        let mut names = HashSet::new();
        let mut numbers = HashMap::new();
        let mut earlier_chunks = 0;
        for &manifest in earlier_manifests {
            for (index, pack) in manifest.packs().iter().enumerate() {
                // A pack that several earlier releases share counts once.
                if !names.insert(pack.name) {
                    continue;
                }
                earlier.push(EarlierPack { manifest, index, first: earlier_chunks });
                for chunk in manifest.pack_chunks(index) {
                    numbers.entry(short(&chunk.id)).or_insert(earlier_chunks);
                    earlier_chunks += 1;
                }
            }
        }
        Self {
            sink,
            pack_bytes,
            on_progress,
            progress: PublishProgress::default(),
            earlier,
            earlier_chunks,
            numbers,
            used: HashSet::new(),
            new: Vec::new(),
            new_packs: Vec::new(),
            again: HashMap::new(),
            hasher: blake3::Hasher::new(),
            pack_len: 0,
            runs: FileRuns::default(),
        }
    }

    /// Tells what is to come, for the progress.
    pub fn expect(&mut self, found: &[Found]) {
        for Found { kind, .. } in found {
            if let FoundKind::File { size, .. } = kind {
                self.progress.files_total += 1;
                self.progress.bytes_total += size;
            }
        }
    }

    /// Packs what is new in a batch.
    pub fn add(&mut self, batch: &SealedBatch) -> Result<(), PublishError> {
        // New chunks that follow one another are written at once.
        let mut pending = 0..0;
        for chunk in &batch.chunks {
            let end = pending.end + chunk.sealed_len as usize;
            if let Some(number) = self.known(&chunk.id) {
                self.write(&batch.data[pending])?;
                pending = end..end;
                self.progress.bytes_known += u64::from(chunk.plain_len);
                self.refer(chunk, number);
                continue;
            }
            let pack_len = self.pack_len + pending.len() as u64 + u64::from(chunk.sealed_len);
            if self.is_full(pack_len, chunk.sealed_len) {
                self.write(&batch.data[pending.clone()])?;
                pending.start = pending.end;
                self.end_pack()?;
            }
            pending.end = end;
            let number = self.earlier_chunks + self.new.len() as u32;
            self.numbers.entry(short(&chunk.id)).or_insert(number);
            self.new.push(NewChunk { id: chunk.id, sealed_len: chunk.sealed_len, plain_len: chunk.plain_len });
            self.refer(chunk, number);
        }
        self.write(&batch.data[pending])?;
        (self.on_progress)(&self.progress);
        Ok(())
    }

    /// Ends the last pack.
    pub fn finish(mut self) -> Result<Packed, PublishError> {
        if self.pack_len > 0 {
            self.end_pack()?;
        }
        Ok(self.settle())
    }

    /// Whether a pack that would come to `pack_len` with a chunk is ended before it.
    fn is_full(&self, pack_len: u64, chunk: u32) -> bool {
        pack_len > self.pack_bytes && pack_len > u64::from(chunk)
    }

    fn known(&mut self, id: &ChunkId) -> Option<u32> {
        let number = *self.numbers.get(&short(id))?;
        let known = match number.checked_sub(self.earlier_chunks) {
            Some(new) => self.new[new as usize].id,
            None => {
                let pack = &self.earlier[self.earlier_pack(number)];
                pack.manifest.pack_chunks(pack.index)[(number - pack.first) as usize].id
            }
        };
        (known == *id).then_some(number)
    }

    fn earlier_pack(&self, number: u32) -> usize {
        self.earlier.partition_point(|pack| pack.first <= number) - 1
    }

    fn refer(&mut self, chunk: &SealedChunk, number: u32) {
        if number < self.earlier_chunks {
            self.used.insert(number);
        }
        if self.runs.push(chunk.file, number) {
            self.progress.files += 1;
        }
        self.progress.bytes += u64::from(chunk.plain_len);
    }

    fn write(&mut self, sealed: &[u8]) -> Result<(), PublishError> {
        if sealed.is_empty() {
            return Ok(());
        }
        self.hasher.update(sealed);
        self.sink.write(sealed).map_err(PublishError::Sink)?;
        self.pack_len += sealed.len() as u64;
        self.progress.written += sealed.len() as u64;
        Ok(())
    }

    fn end_pack(&mut self) -> Result<(), PublishError> {
        let name = ObjectName(*self.hasher.finalize().as_bytes());
        self.hasher.reset();
        let object = PackedObject { name, length: std::mem::take(&mut self.pack_len) };
        self.sink.finish(object).map_err(PublishError::Sink)?;
        self.new_packs.push((object, self.new.len() as u32));
        Ok(())
    }

    /// Numbers the chunks as the manifest will: earlier packs that are used, then new ones.
    fn settle(self) -> Packed {
        let mut listed = Vec::new();
        let mut reused = Vec::new();
        let mut next = 0;
        // For each earlier pack that is used, its first number until now and from now on.
        let mut moves = Vec::new();
        for pack in &self.earlier {
            let chunks = pack.manifest.pack_chunks(pack.index);
            let is_used = |&(at, _): &(usize, _)| self.used.contains(&(pack.first + at as u32));
            let used: u64 = chunks.iter().enumerate().filter(is_used).map(|(_, chunk)| u64::from(chunk.sealed_len)).sum();
            if used == 0 {
                continue;
            }
            let reference = &pack.manifest.packs()[pack.index];
            let object = PackedObject { name: reference.name, length: reference.length };
            reused.push(Reused { pack: object, used });
            moves.push((pack.first, next));
            next += chunks.len() as u32;
            let chunks = chunks.iter().map(|chunk| NewChunk { id: chunk.id, sealed_len: chunk.sealed_len, plain_len: chunk.plain_len });
            listed.push((reference.name, chunks.collect()));
        }
        moves.push((self.earlier_chunks, next));

        let mut new = self.new.into_iter();
        let mut start = 0;
        for (object, end) in &self.new_packs {
            listed.push((object.name, new.by_ref().take((end - start) as usize).collect()));
            start = *end;
        }
        let renumber = |number: u32| {
            let number = self.again.get(&number).copied().unwrap_or(number);
            let (from, to) = moves[moves.partition_point(|(from, _)| *from <= number) - 1];
            number - from + to
        };
        Packed {
            listed,
            runs: self.runs.renumbered(renumber),
            packs: self.new_packs.into_iter().map(|(object, _)| object).collect(),
            reused,
            progress: self.progress,
        }
    }
}

impl FileRuns {
    /// Adds a chunk to a file, which is the last one or a later one; whether it is the file's first chunk.
    fn push(&mut self, file: u32, number: u32) -> bool {
        let is_first = self.ends.last().is_none_or(|(last, _)| *last != file);
        if is_first {
            self.ends.push((file, self.runs.len()));
        }
        match self.runs.last_mut() {
            Some(run) if !is_first && run.first + run.count == number => run.count += 1,
            _ => self.runs.push(Run { first: number, count: 1 }),
        }
        if let Some((_, end)) = self.ends.last_mut() {
            *end = self.runs.len();
        }
        is_first
    }

    /// The same runs under other numbers. Runs that become neighbours are merged, as a manifest demands.
    fn renumbered(&self, number: impl Fn(u32) -> u32) -> Self {
        let mut renumbered = Self::default();
        let mut start = 0;
        for &(file, end) in &self.ends {
            for run in &self.runs[start..end] {
                for old in run.indices() {
                    renumbered.push(file, number(old));
                }
            }
            start = end;
        }
        renumbered
    }
}

/// What was packed, numbered as the manifest numbers it.
pub struct Packed {
    listed: Vec<(ObjectName, Vec<NewChunk>)>,
    runs: FileRuns,
    pub packs: Vec<PackedObject>,
    pub reused: Vec<Reused>,
    pub progress: PublishProgress,
}

impl Packed {
    /// Lists all packs and their chunks.
    pub fn list_packs(&self, builder: &mut ManifestBuilder) -> Result<(), ManifestError> {
        for (name, chunks) in &self.listed {
            for chunk in chunks {
                builder.chunk(chunk.id, chunk.sealed_len, chunk.plain_len)?;
            }
            builder.end_pack(*name)?;
        }
        Ok(())
    }

    /// The runs of a file.
    pub fn runs(&self, file: u32) -> &[Run] {
        let Ok(at) = self.runs.ends.binary_search_by_key(&file, |(file, _)| *file) else { return &[] };
        let start = if at == 0 { 0 } else { self.runs.ends[at - 1].1 };
        &self.runs.runs[start..self.runs.ends[at].1]
    }
}

fn short(id: &ChunkId) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&id.0[..8]);
    u64::from_le_bytes(first)
}
