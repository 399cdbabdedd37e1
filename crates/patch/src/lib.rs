//! Differences between the files of two releases: made once, by the publisher; applied everywhere, in bounded memory.
//!
//! [`make`] lays the changed files of the old and of the new release side by side as two texts, finds what of the new text is like something
//! in the old one (`matching`) and writes where that is, how it differs, and what is new. [`apply`] gives the new files in order, each from
//! beginning to end. Neither knows names, packs or keys.

mod apply;
mod codec;
mod cover;
mod exe;
mod header;
mod make;
mod matching;
mod residual;
mod text;
mod unwrap;
mod varint;

use std::io;

pub use apply::{ApplyError, Limits};
pub use make::{Made, MakeError, Options, StreamSize};
pub use unwrap::{apply, make};

/// The files that one side of a patch consists of, numbered from 0: read at any offset, by several threads at once.
pub trait Files: Sync {
    /// How many.
    fn count(&self) -> usize;

    /// Length of a file in bytes.
    fn length(&self, file: usize) -> u64;

    /// Fills `buffer` from `offset` of a file; `UnexpectedEof` where it ends before.
    fn read_exact_at(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Files in memory.
impl<T: AsRef<[u8]> + Sync> Files for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }

    fn length(&self, file: usize) -> u64 {
        self[file].as_ref().length()
    }

    fn read_exact_at(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self[file].as_ref().read_exact_at(buffer, offset)
    }
}

/// A patch to apply, read at any offset: it holds several streams that are read side by side, each from its beginning to its end.
pub trait ReadAt: Sync {
    /// Its length in bytes.
    fn length(&self) -> u64;

    /// Fills `buffer` from `offset`; `UnexpectedEof` where the patch ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = self.get(from..).and_then(|rest| rest.get(..buffer.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl ReadAt for &[u8] {
    fn length(&self) -> u64 {
        (**self).length()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn length(&self) -> u64 {
        self.as_slice().length()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }
}

/// Takes the files that applying a patch gives: one after the other in the order of their numbers, each from its beginning to its end.
pub trait Sink {
    /// A file begins. It will have `length` bytes.
    fn begin(&mut self, file: usize, length: u64) -> io::Result<()>;

    /// Its next bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// How far making or applying is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the new files that are dealt with.
    pub done: u64,
    /// Bytes of the new files in all.
    pub total: u64,
}
