//! A source that counts what it gives: the bytes that an update has fetched.

use crate::error::Result;
use crate::source::Source;
use counterfoil_format::content::{ObjectName, Release};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Another source, with a count.
pub(super) struct Counted<'a> {
    pub source: &'a dyn Source,
    pub bytes: AtomicU64,
}

impl Counted<'_> {
    /// Bytes so far.
    pub fn so_far(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Others that came another way.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

struct Counting<'a> {
    inner: Box<dyn Read + Send + 'a>,
    bytes: &'a AtomicU64,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Source for Counted<'_> {
    fn manifest(&self, release: &Release) -> Result<Vec<u8>> {
        let sealed = self.source.manifest(release)?;
        self.add(sealed.len() as u64);
        Ok(sealed)
    }

    fn pack(&self, pack: &ObjectName, range: Range<u64>) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(Counting { inner: self.source.pack(pack, range)?, bytes: &self.bytes }))
    }

    fn bulk(&self) -> usize {
        self.source.bulk()
    }

    fn at_once(&self) -> usize {
        self.source.at_once()
    }

    fn not_authentic(&self, reason: String) -> crate::Error {
        self.source.not_authentic(reason)
    }

    fn unreadable(&self, pack: &ObjectName, offset: u64, source: io::Error) -> crate::Error {
        self.source.unreadable(pack, offset, source)
    }

    fn damaged(&self, pack: &ObjectName, offset: u64, reason: String) -> crate::Error {
        self.source.damaged(pack, offset, reason)
    }
}
