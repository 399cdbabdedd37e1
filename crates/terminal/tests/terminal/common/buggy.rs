//! Disks with planted bugs, for harnesses that must notice them.

use super::CANARY;
use counterfoil_format::content::ReadAt;
use counterfoil_terminal::io::{Create, File, Io, Lock, Metadata};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A bug in a disk or in the terminal's use of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    None,
    /// Files are said to be synced, and are not.
    NoSync,
    /// Directories likewise.
    NoDirSync,
    /// What an unfinished pack held is thrown away.
    ForgetsPartial,
    /// Errors of writes and syncs are not looked at.
    SwallowsErrors,
    SwallowsErrorsAbove,
    /// Nothing is wrong with it, but it is full.
    NoRoom,
    /// Somebody writes a chunk in plain.
    LeaksPlaintext,
}

pub struct Buggy {
    pub inner: Arc<dyn Io>,
    pub bug: Bug,
}

struct BuggyFile {
    inner: Box<dyn File>,
    bug: Bug,
}

impl ReadAt for BuggyFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }
}

impl File for BuggyFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = self.inner.write_all_at(bytes, offset);
        if self.bug == Bug::SwallowsErrorsAbove { Ok(()) } else { written }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        match self.bug {
            Bug::NoSync => Ok(()),
            Bug::SwallowsErrorsAbove => self.inner.sync().or(Ok(())),
            _ => self.inner.sync(),
        }
    }
}

impl Io for Buggy {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(BuggyFile { inner: self.inner.open(path)?, bug: self.bug }))
    }

    fn create(&self, path: &Path, how: Create, mode: u32) -> io::Result<Box<dyn File>> {
        let partial = path.extension().is_some_and(|extension| extension == "partial");
        let how = if self.bug == Bug::ForgetsPartial && partial { Create::Truncate } else { how };
        if self.bug == Bug::LeaksPlaintext && partial {
            let leak = self.inner.create(&path.with_extension("tmp"), Create::Truncate, mode)?;
            leak.write_all_at(CANARY, 0)?;
        }
        Ok(Box::new(BuggyFile { inner: self.inner.create(path, how, mode)?, bug: self.bug }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.inner.metadata(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.inner.list(path)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.inner.create_dir(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename_new(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.bug == Bug::NoDirSync { Ok(()) } else { self.inner.sync_dir(path) }
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        if self.bug == Bug::NoRoom { Ok(1000) } else { self.inner.free_space(path) }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.inner.lock(path)
    }
}
