//! The packs of one title, from their source to the library: several at a time, each resumable, each complete when it has its name.

use super::Progress;
use super::donor::Donor;
use crate::error::Result;
use crate::io::{Create, File, IoFailure, Sequential};
use crate::library::Copy;
use crate::source::Source;
use counterfoil_format::content::{ChunkKeys, ChunkRef, MAX_PLAIN, Manifest, OVERHEAD, TranscryptError, Transcrypter};
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroize as _;

/// What is to be done.
pub(crate) struct Work<'a> {
    pub copy: &'a Copy,
    pub source: &'a dyn Source,
    /// Another copy of the title in the library, which has some of the chunks already.
    pub donor: Option<&'a Donor>,
    pub manifest: &'a Manifest,
    pub from: &'a ChunkKeys,
    pub to: &'a ChunkKeys,
}

/// What is there from before.
pub(crate) struct Found {
    /// Indices of packs that are not complete.
    pub left: Vec<usize>,
    /// Bytes of complete packs.
    pub complete: u64,
    /// Bytes still to be written; what unfinished packs already hold is not counted again.
    pub missing: u64,
    /// Whether there is anything.
    pub any: bool,
}

/// Told by all threads.
struct Meter<'a> {
    total: u64,
    reused: AtomicU64,
    written: AtomicU64,
    taken: AtomicU64,
    tell: &'a (dyn Fn(Progress) + Sync),
}

impl Meter<'_> {
    fn add(&self, counter: &AtomicU64, bytes: u64) {
        counter.fetch_add(bytes, Ordering::Relaxed);
        (self.tell)(self.progress());
    }

    fn progress(&self) -> Progress {
        let (reused, written) = (self.reused.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed));
        Progress { total: self.total, done: reused + written, reused, written, taken: self.taken.load(Ordering::Relaxed), fetched: 0 }
    }
}

/// What a thread works with, one buffer for each place that chunks come from.
struct Transcrypters<'a> {
    source: Transcrypter<'a>,
    donor: Option<Transcrypter<'a>>,
}

impl<'a> Work<'a> {
    /// Looks at names and lengths: a pack that has its name was synced before it got it.
    pub fn found(&self) -> Result<Found> {
        let mut found = Found { left: vec![], complete: 0, missing: 0, any: false };
        for (index, pack) in self.manifest.packs().iter().enumerate() {
            let length = pack.length;
            if self.copy.length(&self.copy.pack(&pack.name))? == Some(length) {
                found.complete += length;
                found.any = true;
                continue;
            }
            let partial = self.copy.length(&self.copy.partial(&pack.name))?;
            found.any |= partial.is_some();
            found.missing += length.saturating_sub(partial.unwrap_or(0));
            found.left.push(index);
        }
        Ok(found)
    }

    /// Brings every pack that is left under the library key. Stops all threads at the first failure; what was written stays.
    pub fn run(&self, found: &Found, jobs: Option<NonZeroUsize>, tell: &(dyn Fn(Progress) + Sync)) -> Result<Progress> {
        let total = self.manifest.packs().iter().map(|pack| pack.length).sum();
        let meter = Meter { total, reused: AtomicU64::new(0), written: AtomicU64::new(0), taken: AtomicU64::new(0), tell };
        meter.add(&meter.reused, found.complete);
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let failure = Mutex::new(None);
        let work = || {
            let mut transcrypters = self.transcrypters();
            while !stop.load(Ordering::Relaxed) {
                let Some(&index) = found.left.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                if let Err(error) = self.pack(&mut transcrypters, index, &meter) {
                    stop.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        };
        let threads = jobs.map_or(self.source.at_once(), NonZeroUsize::get).min(found.left.len());
        std::thread::scope(|scope| {
            // The calling thread takes part.
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        self.copy.io.sync_dir(&self.copy.packs()).map_err(IoFailure::at("write", &self.copy.packs()))?;
        Ok(meter.progress())
    }

    fn transcrypters(&self) -> Transcrypters<'a> {
        Transcrypters {
            source: Transcrypter::with_bulk(self.from, self.to, self.source.bulk()),
            donor: self.donor.map(|donor| Transcrypter::with_bulk(&donor.keys, self.to, 0)),
        }
    }

    fn pack(&self, transcrypters: &mut Transcrypters<'_>, index: usize, meter: &Meter<'_>) -> Result<()> {
        let name = &self.manifest.packs()[index].name;
        let partial = self.copy.partial(name);
        let fail = || IoFailure::at("write", &partial);
        let target = self.copy.io.create(&partial, Create::Resume, 0o644).map_err(fail())?;
        let chunks = self.manifest.pack_chunks(index);
        let good = good_chunks(chunks, self.to, &*target).map_err(IoFailure::at("read", &partial))?;
        meter.add(&meter.reused, chunks.iter().zip(&good).filter(|(_, good)| **good).map(|(chunk, _)| u64::from(chunk.sealed_len)).sum());

        let mut at = 0;
        while let Some(skipped) = good[at..].iter().position(|good| !good) {
            at += skipped;
            let has = |chunk: &ChunkRef| self.donor.is_some_and(|donor| donor.has(chunk));
            let taken = has(&chunks[at]);
            let end = (at..chunks.len()).find(|next| good[*next] || has(&chunks[*next]) != taken).unwrap_or(chunks.len());
            at = match (self.donor, &mut transcrypters.donor) {
                (Some(donor), Some(transcrypter)) if taken => self.take(donor, transcrypter, index, at..end, &*target, meter),
                _ => self.fetch(&mut transcrypters.source, index, at..end, &*target, meter),
            }
            .map_err(|error| self.explain(error, &partial))?;
        }
        target.set_len(self.manifest.packs()[index].length).map_err(fail())?;
        target.sync().map_err(fail())?;
        self.copy.io.rename(&partial, &self.copy.pack(name)).map_err(fail())?;
        Ok(())
    }

    /// Chunks of a pack from their source; returns where to go on.
    fn fetch(
        &self,
        transcrypter: &mut Transcrypter<'_>,
        index: usize,
        part: Range<usize>,
        target: &dyn File,
        meter: &Meter<'_>,
    ) -> std::result::Result<usize, Trouble> {
        let pack = &self.manifest.packs()[index];
        let chunks = self.manifest.pack_chunks(index);
        let start = u64::from(chunks[part.start].offset);
        let range = start..chunks.get(part.end).map_or(pack.length, |chunk| u64::from(chunk.offset));
        let source = self.source.pack(&pack.name, range)?;
        let end = part.end;
        transcrypter.part(self.manifest, index, part, source, Sequential::new(target, start), |bytes| meter.add(&meter.written, bytes))?;
        Ok(end)
    }

    /// Chunks of a pack from another copy; returns where to go on: at the first one that turned out to be bad there, if one did.
    fn take(
        &self,
        donor: &Donor,
        transcrypter: &mut Transcrypter<'_>,
        index: usize,
        part: Range<usize>,
        target: &dyn File,
        meter: &Meter<'_>,
    ) -> std::result::Result<usize, Trouble> {
        let chunks = self.manifest.pack_chunks(index);
        let (start, end) = (u64::from(chunks[part.start].offset), part.end);
        let source = donor.read(&chunks[part.clone()]);
        let done = transcrypter.part(self.manifest, index, part, source, Sequential::new(target, start), |bytes| {
            meter.taken.fetch_add(bytes, Ordering::Relaxed);
            meter.add(&meter.written, bytes);
        });
        match done {
            Ok(()) => Ok(end),
            Err(TranscryptError::Read { offset, .. } | TranscryptError::Chunk { offset, .. }) => {
                // All before it was written.
                let bad = chunks.partition_point(|chunk| u64::from(chunk.offset) < offset);
                donor.lacks(&chunks[bad]);
                Ok(bad)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// In the words of source and library: which file, and where in it.
    fn explain(&self, trouble: Trouble, partial: &std::path::Path) -> crate::Error {
        match trouble {
            Trouble::Told(error) => error,
            Trouble::Transcrypt(TranscryptError::Read { pack, offset, source }) => self.source.unreadable(&pack, offset, source),
            Trouble::Transcrypt(TranscryptError::Write { source, .. }) => IoFailure::at("write", partial)(source).into(),
            Trouble::Transcrypt(TranscryptError::Chunk { pack, offset, source, .. }) => {
                self.source.damaged(&pack, offset, format!("a chunk {source}"))
            }
            Trouble::Transcrypt(other) => IoFailure::at("write", partial)(io::Error::other(other)).into(),
        }
    }
}

/// Which chunks of an unfinished pack are there and good, wherever in it. Only reading itself can fail.
pub(crate) fn good_chunks(chunks: &[ChunkRef], keys: &ChunkKeys, partial: &dyn File) -> io::Result<Vec<bool>> {
    let mut buffer = vec![0; MAX_PLAIN + OVERHEAD];
    let mut good = vec![false; chunks.len()];
    for (chunk, good) in chunks.iter().zip(&mut good) {
        let sealed = &mut buffer[..chunk.sealed_len as usize];
        match partial.read_exact_at(sealed, u64::from(chunk.offset)) {
            Ok(()) => *good = keys.open_in_place(&chunk.id, sealed).is_ok(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    buffer.zeroize();
    Ok(good)
}

/// What stopped a pack.
enum Trouble {
    Transcrypt(TranscryptError),
    /// In words already.
    Told(crate::Error),
}

impl From<TranscryptError> for Trouble {
    fn from(error: TranscryptError) -> Self {
        Trouble::Transcrypt(error)
    }
}

impl From<crate::Error> for Trouble {
    fn from(error: crate::Error) -> Self {
        Trouble::Told(error)
    }
}
