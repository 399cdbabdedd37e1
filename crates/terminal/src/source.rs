//! Where the sealed content of a title comes from: a medium, the contents servers, or an installation file.

pub(crate) mod area;
pub(crate) mod network;
pub(crate) mod offered;

use crate::error::Result;
use counterfoil_format::content::{ObjectName, ReadAt, Release};
use std::io::{self, Read};
use std::ops::Range;

/// Gives the objects of one release. Shared by the threads that fetch.
pub(crate) trait Source: Sync {
    /// The sealed manifest, which is the object that the release names.
    fn manifest(&self, release: &Release) -> Result<Vec<u8>>;
    /// Some bytes of a pack, one after the other.
    fn pack(&self, pack: &ObjectName, range: Range<u64>) -> Result<Box<dyn Read + Send + '_>>;
    /// Bytes to be read at once: many where reading is cheap, none where what was read and not yet written is to be small.
    fn bulk(&self) -> usize;
    /// Packs to be brought over side by side, where nobody says.
    fn at_once(&self) -> usize;
    /// That the manifest is not what the release says, in the source's own words.
    fn not_authentic(&self, reason: String) -> crate::Error;
    /// That bytes did not come, likewise.
    fn unreadable(&self, pack: &ObjectName, offset: u64, source: io::Error) -> crate::Error;
    /// That a chunk is not what its publisher signed, likewise.
    fn damaged(&self, pack: &ObjectName, offset: u64, reason: String) -> crate::Error;
}

/// One thread for each processor.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// A pack of a source, read at offsets.
pub(crate) struct Pack<'a> {
    pub source: &'a dyn Source,
    pub name: ObjectName,
}

impl ReadAt for Pack<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let range = offset..offset + buffer.len() as u64;
        self.source.pack(&self.name, range).map_err(io::Error::other)?.read_exact(buffer)
    }

    fn size(&self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
