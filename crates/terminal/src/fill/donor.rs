//! Another copy of a title in the library, from which chunks are taken that need not be fetched then.

use crate::card::FileHolder;
use crate::claimant::open_and_check;
use crate::library::{Copy, Library};
use crate::terminal::Terminal;
use counterfoil_core::rules::binding::Purpose;
use counterfoil_core::{GrantId, TitleId};
use counterfoil_format::content::{ChunkId, ChunkKeys, ChunkRef, LibraryKey, Manifest, ReadAt};
use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

/// A copy under another grant, or of another release, whose keys are here.
pub(crate) struct Donor {
    copy: Copy,
    manifest: Arc<Manifest>,
    pub keys: ChunkKeys,
    /// Indices of its chunks, by name.
    by_id: Vec<u32>,
    /// What turned out to be damaged.
    bad: Mutex<HashSet<ChunkId>>,
}

impl Donor {
    /// The complete copy of a title, unless it is the one that is being made. Where it does not open, all is fetched: that is no error.
    pub fn find(terminal: &Terminal, library: &Library, holder: &FileHolder, title: &TitleId, but: GrantId) -> Option<Self> {
        let copy = library.complete(title).ok()?;
        let record = copy.record().ok()?;
        let grant = holder.sealed().grant(record.listed.grant_id).filter(|grant| grant.grant_id != but)?;
        let (library_key, _) = open_and_check(terminal, holder, grant, library.path(), Purpose::Play).ok()?;
        let keys = copy.keys(&record, &LibraryKey::new(library_key)).ok()?;
        let manifest = copy.manifest(&copy.release(&record).ok()?, &keys).ok()?;
        Some(Self::of(copy, Arc::new(manifest), keys))
    }

    /// Another release of a copy.
    pub fn of(copy: Copy, manifest: Arc<Manifest>, keys: ChunkKeys) -> Self {
        let count = u32::try_from(manifest.chunks().len()).expect("a manifest numbers its chunks so");
        let mut by_id: Vec<u32> = (0..count).collect();
        by_id.sort_unstable_by_key(|index| manifest.chunks()[*index as usize].id.0);
        Self { copy, manifest, keys, by_id, bad: Mutex::default() }
    }

    /// Whether it has a chunk, as far as is known.
    pub fn has(&self, chunk: &ChunkRef) -> bool {
        self.lookup(chunk).is_some() && !self.bad.lock().unwrap_or_else(PoisonError::into_inner).contains(&chunk.id)
    }

    /// Notes that a chunk is damaged or missing.
    pub fn lacks(&self, chunk: &ChunkRef) {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).insert(chunk.id);
    }

    /// The sealed bytes of chunks that it has, one behind the other.
    pub fn read<'a>(&'a self, wanted: &'a [ChunkRef]) -> impl Read + 'a {
        Chunks { donor: self, wanted, done: 0, open: None }
    }

    fn lookup(&self, wanted: &ChunkRef) -> Option<&ChunkRef> {
        let chunk = |index: &u32| &self.manifest.chunks()[*index as usize];
        let found = self.by_id.binary_search_by_key(&wanted.id.0, |index| chunk(index).id.0).ok()?;
        Some(chunk(&self.by_id[found])).filter(|found| found.sealed_len == wanted.sealed_len)
    }
}

struct Chunks<'a> {
    donor: &'a Donor,
    wanted: &'a [ChunkRef],
    /// Bytes read of the first one.
    done: u32,
    /// The pack that was read last.
    open: Option<(u32, Box<dyn ReadAt>)>,
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((first, rest)) = self.wanted.split_first() else { return Ok(0) };
        let chunk = self.donor.lookup(first).ok_or(io::ErrorKind::NotFound)?;
        let file = match &mut self.open {
            Some((pack, file)) if *pack == chunk.pack => file,
            other => {
                let name = &self.donor.manifest.packs()[chunk.pack as usize].name;
                let file: Box<dyn ReadAt> = self.donor.copy.io.open(&self.donor.copy.pack(name))?;
                &mut other.insert((chunk.pack, file)).1
            }
        };
        let count = buffer.len().min((chunk.sealed_len - self.done) as usize);
        file.read_exact_at(&mut buffer[..count], u64::from(chunk.offset) + u64::from(self.done))?;
        self.done += count as u32;
        if self.done == chunk.sealed_len {
            (self.wanted, self.done) = (rest, 0);
        }
        Ok(count)
    }
}
