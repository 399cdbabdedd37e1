//! Reads what a deflate stream (RFC 1951) holds, from its beginning or from a place marked before.

use std::io;
use std::ops::Range;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::Files;
use crate::varint::invalid;

/// So far back a stream refers at most.
const WINDOW: usize = 32 << 10;

/// Packed bytes are read in parts of this length.
const INPUT: u64 = 32 << 10;

/// Reads one stream.
pub(crate) struct Inflater<'a> {
    files: &'a dyn Files,
    file: usize,
    /// What of the file is not yet read.
    packed: Range<u64>,
    input: Vec<u8>,
    used: usize,
    state: Box<DecompressorOxide>,
    /// The last bytes before those read last, then those.
    plain: Vec<u8>,
    window: usize,
    done: bool,
}

/// A place in a stream: about 43 KB.
pub(crate) struct Mark {
    packed: u64,
    state: Box<DecompressorOxide>,
    window: Vec<u8>,
}

impl<'a> Inflater<'a> {
    /// The stream that begins at `packed.start` of a file and ends before or at `packed.end`.
    pub fn new(files: &'a dyn Files, file: usize, packed: Range<u64>) -> Self {
        Inflater { files, file, packed, input: Vec::new(), used: 0, state: Box::default(), plain: Vec::new(), window: 0, done: false }
    }

    /// The same stream from a place on.
    pub fn resume(files: &'a dyn Files, file: usize, end: u64, mark: &Mark) -> Self {
        let from = Inflater::new(files, file, mark.packed..end);
        Inflater { state: mark.state.clone(), plain: mark.window.clone(), ..from }
    }

    /// Where it is now, between two reads.
    pub fn mark(&self) -> Mark {
        let window = self.plain[self.plain.len().saturating_sub(WINDOW)..].to_vec();
        Mark { packed: self.position(), state: self.state.clone(), window }
    }

    /// The file's offset behind the packed bytes that were used.
    pub fn position(&self) -> u64 {
        self.packed.start - (self.input.len() - self.used) as u64
    }

    /// The next `len` bytes, fewer only where the stream ends; `InvalidData` where it is damaged or cut.
    pub fn read(&mut self, len: usize) -> io::Result<&[u8]> {
        let window = self.plain.len().min(WINDOW);
        self.plain.drain(..self.plain.len() - window);
        self.plain.resize(window + len, 0);
        let mut at = window;
        while at < self.plain.len() && !self.done {
            self.refill()?;
            let more = if self.packed.is_empty() { 0 } else { TINFL_FLAG_HAS_MORE_INPUT };
            let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | more;
            let (status, used, written) = decompress(&mut self.state, &self.input[self.used..], &mut self.plain, at, flags);
            self.used += used;
            at += written;
            match status {
                TINFLStatus::Done => self.done = true,
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput if more != 0 => {}
                _ => return Err(invalid("a packed stream is damaged")),
            }
        }
        self.plain.truncate(at);
        self.window = window;
        Ok(self.last())
    }

    /// What was read last.
    pub fn last(&self) -> &[u8] {
        &self.plain[self.window..]
    }

    fn refill(&mut self) -> io::Result<()> {
        if self.used == self.input.len() && !self.packed.is_empty() {
            let len = (self.packed.end - self.packed.start).min(INPUT);
            self.input.resize(len as usize, 0);
            self.used = 0;
            self.files.read_exact_at(self.file, &mut self.input, self.packed.start)?;
            self.packed.start += len;
        }
        Ok(())
    }
}
