//! Differences between the files of two releases: made once, by the publisher; applied everywhere, in bounded memory.

use std::io;

/// The files that one side of a patch consists of, numbered from 0: read at any offset, by several threads at once.
pub trait Files: Sync {
    /// How many.
    fn count(&self) -> usize;

    /// Length of a file in bytes.
    fn length(&self, file: usize) -> u64;

    /// Fills `buffer` from `offset` of a file; `UnexpectedEof` where it ends before.
    fn read_exact_at(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Takes the files that applying a patch gives: one after the other in the order of their numbers, each from its beginning to its end.
pub trait Sink {
    /// A file begins. It will have `length` bytes.
    fn begin(&mut self, file: usize, length: u64) -> io::Result<()>;

    /// Its next bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}
