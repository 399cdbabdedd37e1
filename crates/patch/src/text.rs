//! Files one after the other as one text, addressed by position.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use crate::Files;

/// Length of the blocks that [`Cache`] keeps.
const BLOCK: u64 = 64 << 10;

/// Part of a file, as part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it begins in the text.
    pub at: u64,
    /// The file.
    pub file: usize,
    /// Where it begins in the file.
    pub start: u64,
    /// Its length, never 0.
    pub len: u64,
}

/// A text: pieces of files without gaps between them.
pub(crate) struct Text<'a> {
    files: &'a dyn Files,
    pieces: Vec<Piece>,
    len: u64,
}

impl<'a> Text<'a> {
    /// The part of all files, laid one after the other, that `range` names.
    pub fn new(files: &'a dyn Files, range: Range<u64>) -> Self {
        let pieces = pieces((0..files.count()).map(|file| files.length(file)), &range);
        let len = pieces.last().map_or(0, |last| last.at + last.len);
        Text { files, pieces, len }
    }

    /// Its length.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// What it consists of, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Length of a file, of which a piece may be a part.
    pub fn file_length(&self, file: usize) -> u64 {
        self.files.length(file)
    }

    /// Fills `buffer` from a position.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
        let mut index = self.pieces.partition_point(|piece| piece.at + piece.len <= at);
        while !buffer.is_empty() {
            let piece = self.pieces.get(index).ok_or(io::ErrorKind::UnexpectedEof)?;
            let skip = at - piece.at;
            let take = (piece.len - skip).min(buffer.len() as u64) as usize;
            let (now, later) = buffer.split_at_mut(take);
            self.files.read_exact_at(piece.file, now, piece.start + skip)?;
            buffer = later;
            at += take as u64;
            index += 1;
        }
        Ok(())
    }

    /// All of it.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.len).map_err(|_| io::ErrorKind::OutOfMemory)?];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// The parts that `range` takes of files of these lengths, laid one after the other.
pub(crate) fn pieces(lengths: impl Iterator<Item = u64>, range: &Range<u64>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut begin, mut at) = (0, 0);
    for (file, length) in lengths.enumerate() {
        let end = begin + length;
        let (from, to) = (range.start.max(begin), range.end.min(end));
        if from < to {
            pieces.push(Piece { at, file, start: from - begin, len: to - from });
            at += to - from;
        }
        begin = end;
    }
    pieces
}

/// Reads a text at random through blocks that were read lately.
pub(crate) struct Cache<'t, 'f> {
    text: &'t Text<'f>,
    blocks: HashMap<u64, Block>,
    capacity: usize,
    clock: u64,
}

struct Block {
    used: u64,
    bytes: Vec<u8>,
}

impl<'t, 'f> Cache<'t, 'f> {
    /// Keeps at most `memory` bytes.
    pub fn new(text: &'t Text<'f>, memory: u64) -> Self {
        Cache { text, blocks: HashMap::new(), capacity: (memory / BLOCK).max(2) as usize, clock: 0 }
    }

    /// Fills `buffer` from a position of the text.
    pub fn read_exact_at(&mut self, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let bytes = self.block(at / BLOCK)?.get((at % BLOCK) as usize..).unwrap_or_default();
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let take = bytes.len().min(buffer.len());
            let (now, later) = buffer.split_at_mut(take);
            now.copy_from_slice(&bytes[..take]);
            buffer = later;
            at += take as u64;
        }
        Ok(())
    }

    fn block(&mut self, number: u64) -> io::Result<&[u8]> {
        self.clock += 1;
        if !self.blocks.contains_key(&number) {
            let len = self.text.len().saturating_sub(number * BLOCK).min(BLOCK);
            let mut bytes = self.room();
            bytes.resize(len as usize, 0);
            self.text.read_exact_at(&mut bytes, number * BLOCK)?;
            self.blocks.insert(number, Block { used: 0, bytes });
        }
        let block = self.blocks.get_mut(&number).expect("it was there or has just been inserted");
        block.used = self.clock;
        Ok(&block.bytes)
    }

    /// A buffer: that of the block used longest ago once the cache is full.
    fn room(&mut self) -> Vec<u8> {
        if self.blocks.len() < self.capacity {
            return Vec::new();
        }
        let oldest = self.blocks.iter().min_by_key(|(_, block)| block.used).map(|(number, _)| *number);
        oldest.and_then(|number| self.blocks.remove(&number)).map(|block| block.bytes).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_text_is_its_files_one_after_the_other() {
        let files = vec![b"abc".to_vec(), Vec::new(), b"defg".to_vec(), b"h".to_vec()];
        assert_eq!(Text::new(&files, 0..8).read().unwrap(), b"abcdefgh");
        let text = Text::new(&files, 2..7);
        assert_eq!(text.read().unwrap(), b"cdefg");
        let mut buffer = [0; 3];
        text.read_exact_at(&mut buffer, 1).unwrap();
        assert_eq!(&buffer, b"def");
        assert!(text.read_exact_at(&mut buffer, 3).is_err());
    }

    #[test]
    fn a_cache_reads_what_the_text_holds() {
        let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let files = vec![bytes[..300_000].to_vec(), bytes[300_000..].to_vec()];
        let text = Text::new(&files, 0..1_000_000);
        let mut cache = Cache::new(&text, 3 * BLOCK);
        let mut buffer = vec![0; 150_000];
        for at in [0usize, 850_000, 299_990, 65_536, 850_000, 1] {
            cache.read_exact_at(&mut buffer, at as u64).unwrap();
            assert_eq!(buffer, &bytes[at..at + 150_000]);
        }
        assert!(cache.read_exact_at(&mut buffer, 850_001).is_err());
        assert!(cache.blocks.len() <= 3);
    }
}
