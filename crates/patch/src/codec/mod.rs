//! Streams of a patch: each written in the shortest of a few ways, read again from beginning to end in little memory.

mod lzma;
pub(crate) mod mixed;
pub(crate) mod range;

use std::io::{self, BufReader, Read};

use crate::ReadAt;
use crate::varint::{self, invalid};

/// A stream that is written: which way, and the bytes.
pub(crate) struct Written {
    way: u8,
    raw: u64,
    pub bytes: Vec<u8>,
}

/// The bytes as they are.
const STORED: u8 = 0;

/// Streams shorter than this gain nothing.
const TINY: usize = 12;

/// Writes a stream the shortest way.
pub(crate) fn write(raw: &[u8]) -> Written {
    let mut best = Written { way: STORED, raw: raw.len() as u64, bytes: raw.to_vec() };
    if raw.len() <= TINY {
        return best;
    }
    for way in lzma::worth_trying(raw.len()) {
        let bytes = lzma::compress(raw, way);
        if bytes.len() < best.bytes.len() {
            best = Written { way: way + 1, bytes, ..best };
        }
    }
    best
}

/// About how long a stream would become.
pub(crate) fn estimate(raw: &[u8]) -> usize {
    lzma::quickly(raw).len().min(raw.len())
}

impl Written {
    /// A stream that is as short as it gets.
    pub fn stored(bytes: Vec<u8>) -> Self {
        Written { way: STORED, raw: bytes.len() as u64, bytes }
    }

    /// What the reader has to know beforehand.
    pub fn put_entry(&self, out: &mut Vec<u8>) {
        varint::put(out, self.raw);
        if self.raw > 0 {
            out.push(self.way);
            if self.way != STORED {
                varint::put(out, self.bytes.len() as u64);
            }
        }
    }

    /// Its length before.
    pub fn raw(&self) -> u64 {
        self.raw
    }
}

/// Where a stream lies in a patch.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    way: u8,
    /// Its length when read.
    pub raw: u64,
    /// Its length in the patch.
    pub len: u64,
}

impl Entry {
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let raw = varint::read(from)?;
        if raw == 0 {
            return Ok(Entry { way: STORED, raw, len: 0 });
        }
        let mut way = [0];
        from.read_exact(&mut way)?;
        let len = if way[0] == STORED { raw } else { varint::read(from)? };
        Ok(Entry { way: way[0], raw, len })
    }

    /// Reads the stream, which begins at `at` of the patch.
    pub fn open<'p>(&self, patch: &'p dyn ReadAt, at: u64) -> io::Result<Stream<'p>> {
        let section = BufReader::with_capacity(32 << 10, Section { patch, at, end: at + self.len });
        let bytes = match self.way {
            STORED => Bytes::Stored(section),
            way if lzma::exists(way - 1) => Bytes::Lzma(Box::new(lzma::reader(section, way - 1, self.raw)?)),
            _ => return Err(invalid("a stream is written in an unknown way")),
        };
        Ok(BufReader::with_capacity(16 << 10, Limited { bytes, left: self.raw }))
    }
}

/// A stream that is read.
pub(crate) type Stream<'p> = BufReader<Limited<'p>>;

/// Exactly as many bytes as were announced.
pub(crate) struct Limited<'p> {
    bytes: Bytes<'p>,
    left: u64,
}

enum Bytes<'p> {
    Stored(BufReader<Section<'p>>),
    Lzma(Box<lzma::Reader<BufReader<Section<'p>>>>),
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let take = self.left.min(buffer.len() as u64) as usize;
        if take == 0 {
            return Ok(0);
        }
        let read = match &mut self.bytes {
            Bytes::Stored(from) => from.read(&mut buffer[..take])?,
            Bytes::Lzma(from) => from.read(&mut buffer[..take])?,
        };
        if read == 0 {
            return Err(invalid("a stream ends early"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Part of a patch.
pub(crate) struct Section<'p> {
    patch: &'p dyn ReadAt,
    at: u64,
    end: u64,
}

impl<'p> Section<'p> {
    pub fn new(patch: &'p dyn ReadAt, at: u64, end: u64) -> Self {
        Section { patch, at, end }
    }

    /// Where the next byte is read.
    pub fn at(&self) -> u64 {
        self.at
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let take = (self.end - self.at).min(buffer.len() as u64) as usize;
        self.patch.read_exact_at(&mut buffer[..take], self.at)?;
        self.at += take as u64;
        Ok(take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_come_back_whichever_way_they_are_written() {
        let text: Vec<u8> = (0..60_000u32).flat_map(|i| format!("{} of many\n", i % 977).into_bytes()).collect();
        let noise: Vec<u8> = (0..5_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 21) as u8).collect();
        for raw in [&text[..], &noise, b"short", b""] {
            let written = write(raw);
            assert!(written.bytes.len() <= raw.len());
            let mut head = Vec::new();
            written.put_entry(&mut head);
            let entry = Entry::read(&mut &head[..]).unwrap();
            assert_eq!((entry.raw, entry.len), (raw.len() as u64, written.bytes.len() as u64));
            let mut back = Vec::new();
            entry.open(&written.bytes, 0).unwrap().read_to_end(&mut back).unwrap();
            assert_eq!(back, raw);
        }
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let raw = b"all work and no play makes jack a dull boy ".repeat(50);
        let written = write(&raw);
        let entry = Entry { way: written.way, raw: raw.len() as u64, len: written.bytes.len() as u64 - 8 };
        let cut = written.bytes[..written.bytes.len() - 8].to_vec();
        assert!(entry.open(&cut, 0).unwrap().read_to_end(&mut Vec::new()).is_err());
    }
}
