//! The packs of one title, from medium to library: several at a time, each resumable, each complete when it has its name.

use super::{CopyError, Progress};
use crate::error::Result;
use crate::io::{Create, IoFailure, Sequential};
use crate::library::Copy;
use crate::medium::{Medium, MediumError, layout};
use counterfoil_core::TitleId;
use counterfoil_format::content::{ChunkKeys, Manifest, TranscryptError, Transcrypter, good_prefix};
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is to be done.
pub(super) struct Work<'a> {
    pub copy: &'a Copy,
    pub medium: &'a Medium,
    pub title: &'a TitleId,
    pub manifest: &'a Manifest,
    pub from: &'a ChunkKeys,
    pub to: &'a ChunkKeys,
}

/// What is there from before.
pub(super) struct Found {
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
    tell: &'a (dyn Fn(Progress) + Sync),
}

impl Meter<'_> {
    fn add(&self, reused: u64, written: u64) {
        let reused = self.reused.fetch_add(reused, Ordering::Relaxed) + reused;
        let written = self.written.fetch_add(written, Ordering::Relaxed) + written;
        (self.tell)(Progress { total: self.total, done: reused + written, reused, written });
    }

    fn progress(&self) -> Progress {
        let (reused, written) = (self.reused.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed));
        Progress { total: self.total, done: reused + written, reused, written }
    }
}

impl Work<'_> {
    /// Looks at names and lengths: a pack that has its name was synced before it got it.
    pub fn found(&self) -> Result<Found> {
        let mut found = Found { left: vec![], complete: 0, missing: 0, any: false };
        for (index, pack) in self.manifest.packs().iter().enumerate() {
            let length = pack.length;
            if self.length(&self.copy.pack(&pack.name))? == Some(length) {
                found.complete += length;
                found.any = true;
                continue;
            }
            let partial = self.length(&self.copy.partial(&pack.name))?;
            found.any |= partial.is_some();
            found.missing += length.saturating_sub(partial.unwrap_or(0));
            found.left.push(index);
        }
        Ok(found)
    }

    fn length(&self, path: &std::path::Path) -> Result<Option<u64>> {
        match self.copy.io.metadata(path) {
            Ok(metadata) => Ok(Some(metadata.length)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IoFailure::at("read", path)(error).into()),
        }
    }

    /// Brings every pack that is left under the library key. Stops all threads at the first failure; what was written stays.
    pub fn run(&self, found: &Found, jobs: Option<NonZeroUsize>, tell: &(dyn Fn(Progress) + Sync)) -> Result<Progress> {
        let total = self.manifest.packs().iter().map(|pack| pack.length).sum();
        let meter = Meter { total, reused: AtomicU64::new(0), written: AtomicU64::new(0), tell };
        meter.add(found.complete, 0);
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let failure = Mutex::new(None);
        let work = || {
            let mut transcrypter = Transcrypter::new(self.from, self.to);
            while !stop.load(Ordering::Relaxed) {
                let Some(&index) = found.left.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                if let Err(error) = self.pack(&mut transcrypter, index, &meter) {
                    stop.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        };
        let threads = jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get).min(found.left.len());
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

    fn pack(&self, transcrypter: &mut Transcrypter<'_>, index: usize, meter: &Meter<'_>) -> Result<()> {
        let name = &self.manifest.packs()[index].name;
        let partial = self.copy.partial(name);
        let fail = || IoFailure::at("write", &partial);
        let target = self.copy.io.create(&partial, Create::Resume, 0o644).map_err(fail())?;
        let good = good_prefix(self.manifest, index, self.to, Sequential::new(&*target, 0)).map_err(IoFailure::at("read", &partial))?;
        target.set_len(good.bytes).map_err(fail())?;
        meter.add(good.bytes, 0);

        let source = self.medium.pack(self.title, name)?;
        let (from, to) = (Sequential::new(&*source, good.bytes), Sequential::new(&*target, good.bytes));
        transcrypter
            .pack(self.manifest, index, good.chunks, from, to, |bytes| meter.add(0, bytes))
            .map_err(|error| self.explain(error, &partial))?;
        target.sync().map_err(fail())?;
        self.copy.io.rename(&partial, &self.copy.pack(name)).map_err(fail())?;
        Ok(())
    }

    /// In the words of medium and library: which file, and where in it.
    fn explain(&self, error: TranscryptError, partial: &std::path::Path) -> crate::Error {
        match error {
            TranscryptError::Read { pack, offset, source } => {
                let file = layout::pack(self.title, &pack);
                MediumError::Unreadable { file, offset, source }.into()
            }
            TranscryptError::Write { source, .. } => IoFailure::at("write", partial)(source).into(),
            TranscryptError::Chunk { pack, offset, source, .. } => {
                CopyError::Damaged { file: layout::pack(self.title, &pack), offset, reason: format!("a chunk {source}") }.into()
            }
            other => CopyError::Damaged { file: self.title.to_string(), offset: 0, reason: other.to_string() }.into(),
        }
    }
}
