//! How a patch begins, and how it is divided into groups that are made and applied one after the other.
//!
//! A patch, in order (numbers as in [`varint`]; of containers, a recipe precedes all this):
//!
//! - `CF 01` · length of the old files together · number of new files · stream of their lengths
//! - until all new text is made, a group: where its part of the old text begins and how long that is · length of its part of the new text ·
//!   number of covers · entries of [`STREAMS`] · the streams themselves
//!
//! An entry of a stream is its length when read and, unless that is 0, the way it is written and (if that is not 0, stored) its length in the
//! patch. `covers`, `bytes` and `references` are coded with models ([`crate::cover`], [`crate::residual`]), the rest by LZMA or not at all.

use std::io::{self, Read};
use std::ops::Range;

use crate::ReadAt;
use crate::codec::{self, Entry, Section};
use crate::varint::{self, invalid};

/// The first bytes: what this is, and which version.
const MAGIC: [u8; 2] = [0xCF, 0x01];

/// Neither side of a group is longer: positions fit 31 bits.
pub(crate) const LONGEST_TEXT: u64 = 1 << 30;

/// Streams of a group, in the order in which they lie in the patch.
pub(crate) const STREAMS: [&str; 5] = ["layouts", "covers", "bytes", "references", "literals"];

/// What the files are.
pub(crate) struct Header {
    /// Length of the old files together: a patch for others is noticed at once.
    pub old: u64,
    /// Length of each new file.
    pub new: Vec<u64>,
}

impl Header {
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend(MAGIC);
        varint::put(out, self.old);
        varint::put(out, self.new.len() as u64);
        let mut lengths = Vec::new();
        for length in &self.new {
            varint::put(&mut lengths, *length);
        }
        let lengths = codec::write(&lengths);
        lengths.put_entry(out);
        out.extend(&lengths.bytes);
    }

    /// Reads it, and tells where it ends; refuses more than `files` new files or `bytes` in them.
    pub fn read(patch: &dyn ReadAt, files: usize, bytes: u64) -> io::Result<(Self, u64)> {
        let mut from = Head::at(patch, 0);
        let mut magic = [0; 2];
        from.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(invalid("it is no patch of this version"));
        }
        let old = varint::read(&mut from)?;
        let count = varint::read(&mut from)?;
        if count > files as u64 {
            return Err(invalid("it has more files than are allowed"));
        }
        let entry = Entry::read(&mut from)?;
        let begin = from.position();
        let end = begin.checked_add(entry.len).filter(|end| *end <= patch.length() && entry.raw <= 10 * count);
        let end = end.ok_or_else(|| invalid("the lengths of the files are too long"))?;
        let mut lengths = entry.open(patch, begin)?;
        let mut header = Header { old, new: Vec::new() };
        let mut total = 0u64;
        for _ in 0..count {
            let length = varint::read(&mut lengths)?;
            total =
                total.checked_add(length).filter(|total| *total <= bytes).ok_or_else(|| invalid("it gives more bytes than are allowed"))?;
            header.new.push(length);
        }
        Ok((header, end))
    }

    /// Length of the new files together.
    pub fn total(&self) -> u64 {
        self.new.iter().sum()
    }
}

/// Reads what is not part of a stream, from somewhere on.
pub(crate) struct Head<'p>(io::BufReader<Section<'p>>);

impl<'p> Head<'p> {
    pub fn at(patch: &'p dyn ReadAt, at: u64) -> Self {
        Head(io::BufReader::with_capacity(4 << 10, Section::new(patch, at, patch.length())))
    }

    /// Where the next byte is read.
    pub fn position(&self) -> u64 {
        self.0.get_ref().at() - self.0.buffer().len() as u64
    }
}

impl Read for Head<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// Part of the new files, made from part of the old ones.
pub(crate) struct Group {
    /// Of all old files, laid one after the other.
    pub old: Range<u64>,
    /// Of all new files.
    pub new: Range<u64>,
    /// How many covers it has.
    pub covers: usize,
    /// Its streams.
    pub streams: [Entry; STREAMS.len()],
}

impl Group {
    /// What precedes the entries of the streams.
    pub fn put(old: &Range<u64>, new: &Range<u64>, covers: usize, out: &mut Vec<u8>) {
        varint::put(out, old.start);
        varint::put(out, old.end - old.start);
        varint::put(out, new.end - new.start);
        varint::put(out, covers as u64);
    }

    /// Reads the group whose new text begins at `at`.
    pub fn read(from: &mut impl Read, header: &Header, at: u64) -> io::Result<Self> {
        let (start, old_len, new_len) = (varint::read(from)?, varint::read(from)?, varint::read(from)?);
        let end = start.checked_add(old_len).filter(|end| *end <= header.old && old_len <= LONGEST_TEXT);
        let end = end.ok_or_else(|| invalid("a group lies beyond the old files"))?;
        if new_len == 0 || new_len > LONGEST_TEXT || new_len > header.total() - at {
            return Err(invalid("a group lies beyond the new files"));
        }
        let covers = usize::try_from(varint::read(from)?).map_err(|_| invalid("too many covers"))?;
        let mut streams = [const { None }; STREAMS.len()];
        for entry in &mut streams {
            *entry = Some(Entry::read(from)?);
        }
        let streams = streams.map(|entry| entry.expect("each was read above"));
        Ok(Group { old: start..end, new: at..at + new_len, covers, streams })
    }
}
