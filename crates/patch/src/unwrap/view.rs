//! Files with their containers unwrapped: each stream's text is a file, and what lies before, between and after streams is one each.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::inflate::{Inflater, Mark};
use super::recipe::Container;
use crate::Files;
use crate::varint::invalid;

/// Text of a stream is read from places so far apart, or farther: at most [`MOST_MARKS`] of them are remembered.
const SEGMENT: u64 = 512 << 10;

/// Places remembered, about 43 KB each.
const MOST_MARKS: u64 = 256;

/// Text that is kept, in bytes.
const CACHE: usize = 16 << 20;

/// Files, unwrapped: reads streams at any offset in memory that depends on neither their number nor their length.
pub(crate) struct View<'a> {
    files: &'a dyn Files,
    parts: Vec<Part>,
    segment: u64,
    plain: Mutex<Plain>,
}

/// What a file of the view is.
enum Part {
    /// Part of a file as it is.
    Raw { file: usize, range: Range<u64> },
    /// The text of a stream, by its number among all of them.
    Stream { file: usize, packed: Range<u64>, plain: u64, number: usize },
}

/// What is known of the text of streams.
struct Plain {
    /// Of each stream, the places where its second and each following segment begin, as far as it was read.
    marks: Vec<Vec<Mark>>,
    /// Segments by stream and number, and when each was used.
    segments: HashMap<(usize, u64), (u64, Vec<u8>)>,
    order: BTreeMap<u64, (usize, u64)>,
    bytes: usize,
    clock: u64,
}

impl<'a> View<'a> {
    pub fn new(files: &'a dyn Files, containers: &[Container]) -> Self {
        let mut parts = Vec::new();
        let (mut next, mut number, mut total) = (containers.iter().peekable(), 0, 0);
        for file in 0..files.count() {
            let mut at = 0;
            if let Some(container) = next.next_if(|container| container.file == file) {
                for stream in &container.streams {
                    parts.push(Part::Raw { file, range: at..stream.packed.start });
                    parts.push(Part::Stream { file, packed: stream.packed.clone(), plain: stream.plain, number });
                    at = stream.packed.end;
                    number += 1;
                    total += stream.plain;
                }
            }
            parts.push(Part::Raw { file, range: at..files.length(file) });
        }
        let marks = (0..number).map(|_| Vec::new()).collect();
        let plain = Plain { marks, segments: HashMap::new(), order: BTreeMap::new(), bytes: 0, clock: 0 };
        View { files, parts, segment: SEGMENT.max(total.div_ceil(MOST_MARKS)), plain: Mutex::new(plain) }
    }

    fn part(&self, file: usize) -> &Part {
        &self.parts[file]
    }
}

impl Files for View<'_> {
    fn count(&self) -> usize {
        self.parts.len()
    }

    fn length(&self, file: usize) -> u64 {
        match self.part(file) {
            Part::Raw { range, .. } => range.end - range.start,
            Part::Stream { plain, .. } => *plain,
        }
    }

    fn read_exact_at(&self, part: usize, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        if self.length(part).checked_sub(offset).is_none_or(|left| left < buffer.len() as u64) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match self.part(part) {
            Part::Raw { .. } if buffer.is_empty() => Ok(()),
            Part::Raw { file, range } => self.files.read_exact_at(*file, buffer, range.start + offset),
            Part::Stream { file, packed, plain, number } => {
                let source = Source { files: self.files, file: *file, packed: packed.clone(), plain: *plain, segment: self.segment };
                // Whoever panicked while holding it left it whole: entries are added last.
                let mut cached = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
                while !buffer.is_empty() {
                    let bytes = cached.segment(&source, *number, offset / self.segment)?;
                    let bytes = &bytes[(offset % self.segment) as usize..];
                    let (now, later) = buffer.split_at_mut(bytes.len().min(buffer.len()));
                    now.copy_from_slice(&bytes[..now.len()]);
                    offset += now.len() as u64;
                    buffer = later;
                }
                Ok(())
            }
        }
    }
}

/// Where a stream is read from.
struct Source<'a> {
    files: &'a dyn Files,
    file: usize,
    packed: Range<u64>,
    plain: u64,
    segment: u64,
}

impl Plain {
    /// A segment of a stream's text: from memory, or read from the nearest place before it that is known.
    fn segment(&mut self, source: &Source<'_>, number: usize, index: u64) -> io::Result<&[u8]> {
        self.clock += 1;
        let key = (number, index);
        if !self.segments.contains_key(&key) {
            let bytes = inflate(source, &mut self.marks[number], index)?;
            self.bytes += bytes.len();
            self.segments.insert(key, (self.clock, bytes));
            self.order.insert(self.clock, key);
            self.make_room();
        }
        let (used, bytes) =
            self.segments.get_mut(&key).expect("it was there or has just been inserted, and what is newest is never dropped");
        self.order.remove(used);
        self.order.insert(self.clock, key);
        *used = self.clock;
        Ok(bytes)
    }

    fn make_room(&mut self) {
        while self.bytes > CACHE && self.order.len() > 1 {
            let Some((_, key)) = self.order.pop_first() else { return };
            self.bytes -= self.segments.remove(&key).map_or(0, |(_, bytes)| bytes.len());
        }
    }
}

/// Reads up to the end of a segment; remembers where those begin that were not reached before.
fn inflate(source: &Source<'_>, marks: &mut Vec<Mark>, index: u64) -> io::Result<Vec<u8>> {
    let first = index.min(marks.len() as u64);
    let mut inflater = match first.checked_sub(1).map(|mark| &marks[mark as usize]) {
        None => Inflater::new(source.files, source.file, source.packed.clone()),
        Some(mark) => Inflater::resume(source.files, source.file, source.packed.end, mark),
    };
    for at in first..=index {
        let len = (source.plain - at * source.segment).min(source.segment) as usize;
        if inflater.read(len)?.len() < len {
            return Err(invalid("a packed stream holds less than it should"));
        }
        if at == marks.len() as u64 && (at + 1) * source.segment < source.plain {
            marks.push(inflater.mark());
        }
    }
    Ok(inflater.last().to_vec())
}
