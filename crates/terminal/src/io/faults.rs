//! A file system that fails on purpose: the Nth operation, a full or read-only drive, a medium pulled out, a process killed.

use super::{Create, File, Io, Lock, Metadata};
use counterfoil_format::content::ReadAt;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is to go wrong. Operations are counted from 0 over all threads; bytes are those of writes (or reads, for a medium).
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// This operation fails with "input/output error".
    pub fail_at: Option<u64>,
    /// And so do all after it.
    pub for_good: bool,
    /// The drive is full after this many bytes; the write that crosses the line is cut there.
    pub space: Option<u64>,
    /// Below this path nothing can be written.
    pub read_only: Option<PathBuf>,
    /// Below this path reads fail once this many bytes were read: somebody pulled the medium out.
    pub pulled_out: Option<(PathBuf, u64)>,
    /// The process dies when it has written this many bytes: that write is cut, and nothing happens any more.
    pub kill_after: Option<u64>,
    /// The process dies right before this sync of a file or directory, counted from 0.
    pub kill_at_sync: Option<u64>,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations of any kind.
    pub operations: u64,
    /// Bytes written.
    pub written: u64,
    /// Bytes read below [`Plan::pulled_out`].
    pub read: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
    /// Whether the plan has struck.
    pub struck: bool,
}

/// Another [`Io`], with faults.
pub struct FaultyIo {
    inner: Arc<dyn Io>,
    state: Arc<State>,
}

struct State {
    plan: Plan,
    counts: Mutex<Counts>,
}

impl FaultyIo {
    /// Passes on to `inner` what `plan` lets through.
    pub fn new(inner: Arc<dyn Io>, plan: Plan) -> Self {
        Self { inner, state: Arc::new(State { plan, counts: Mutex::default() }) }
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        *self.state.counts()
    }

    fn wrap(&self, path: &Path, file: io::Result<Box<dyn File>>) -> io::Result<Box<dyn File>> {
        Ok(Box::new(FaultyFile { inner: file?, path: path.to_owned(), state: Arc::clone(&self.state) }))
    }
}

impl State {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dead(&self, counts: &Counts) -> bool {
        counts.struck && (self.plan.kill_after.is_some() || self.plan.kill_at_sync.is_some())
    }

    /// Counts an operation, or lets it fail.
    fn step(&self) -> io::Result<MutexGuard<'_, Counts>> {
        let mut counts = self.counts();
        if self.dead(&counts) {
            return Err(io::Error::other("the process was killed"));
        }
        let this = counts.operations;
        counts.operations += 1;
        if let Some(at) = self.plan.fail_at
            && (this == at || (self.plan.for_good && this > at))
        {
            counts.struck = true;
            return Err(io::Error::other("planned failure"));
        }
        Ok(counts)
    }

    fn change(&self, path: &Path) -> io::Result<()> {
        let mut counts = self.step()?;
        if self.plan.read_only.as_ref().is_some_and(|below| path.starts_with(below)) {
            counts.struck = true;
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut counts = self.step()?;
        if self.plan.kill_at_sync == Some(counts.syncs) {
            counts.struck = true;
            return Err(io::Error::other("the process was killed"));
        }
        counts.syncs += 1;
        Ok(())
    }

    /// How many of `length` bytes may be written, and what is said of the rest.
    fn write(&self, length: u64) -> io::Result<(usize, Option<io::Error>)> {
        let mut counts = self.step()?;
        let mut allowed = length;
        let mut error = None;
        for (limit, said) in [(self.plan.space, io::ErrorKind::StorageFull), (self.plan.kill_after, io::ErrorKind::Other)] {
            if let Some(left) = limit.map(|limit| limit.saturating_sub(counts.written))
                && left < allowed
            {
                (allowed, error) = (left, Some(said.into()));
            }
        }
        counts.written += allowed;
        counts.struck |= error.is_some();
        Ok((usize::try_from(allowed).expect("at most the length of a slice"), error))
    }
}

struct FaultyFile {
    inner: Box<dyn File>,
    path: PathBuf,
    state: Arc<State>,
}

impl ReadAt for FaultyFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut counts = self.state.step()?;
        if let Some((below, limit)) = &self.state.plan.pulled_out
            && self.path.starts_with(below)
        {
            if counts.read + buffer.len() as u64 > *limit {
                counts.struck = true;
                return Err(io::Error::other("no medium"));
            }
            counts.read += buffer.len() as u64;
        }
        drop(counts);
        self.inner.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        drop(self.state.step()?);
        self.inner.size()
    }
}

impl File for FaultyFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (allowed, error) = self.state.write(bytes.len() as u64)?;
        self.inner.write_all_at(&bytes[..allowed], offset)?;
        error.map_or(Ok(()), Err)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.state.change(&self.path)?;
        self.inner.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.state.sync()?;
        self.inner.sync()
    }
}

impl Io for FaultyIo {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        drop(self.state.step()?);
        self.wrap(path, self.inner.open(path))
    }

    fn create(&self, path: &Path, how: Create, mode: u32) -> io::Result<Box<dyn File>> {
        self.state.change(path)?;
        self.wrap(path, self.inner.create(path, how, mode))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        drop(self.state.step()?);
        self.inner.metadata(path)
    }

    fn is_plain(&self, path: &Path) -> io::Result<bool> {
        drop(self.state.step()?);
        self.inner.is_plain(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        drop(self.state.step()?);
        self.inner.list(path)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.state.change(path)?;
        self.inner.create_dir(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state.change(to)?;
        self.inner.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state.change(to)?;
        self.inner.rename_new(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.state.change(path)?;
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.state.change(path)?;
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.state.sync()?;
        self.inner.sync_dir(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        // Deliberately not lowered by the plan: a drive can fill up while it is being copied to.
        drop(self.state.step()?);
        self.inner.free_space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.state.change(path)?;
        self.inner.lock(path)
    }
}
