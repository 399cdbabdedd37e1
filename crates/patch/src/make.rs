//! Makes a patch: group by group, each of two texts that fit memory.

use std::io::{self, Write};
use std::ops::Range;

use crate::codec::{self, Written};
use crate::cover::{self, Cover};
use crate::exe::{self, Images, Predictor};
use crate::header::{Group, Header, LONGEST_TEXT, STREAMS};
use crate::text::{Cache, Text};
use crate::{Files, Progress, matching, residual};

/// A group takes files until their text is so long; a longer file is a group of its own.
const GROUP: u64 = 128 << 20;

/// Covers are written in parts of this length.
const PART: usize = 64 << 10;

/// How a patch is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// So many bytes of old and of new files are compared with each other at once. Making needs about six times as much memory.
    pub group: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { group: GROUP }
    }
}

/// A patch that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its length in bytes.
    pub length: u64,
    /// What it consists of.
    pub streams: Vec<StreamSize>,
}

/// One kind of stream in all groups of a patch.
#[derive(Clone, Debug)]
pub struct StreamSize {
    /// What it holds.
    pub name: &'static str,
    /// Bytes before they are compressed.
    pub raw: u64,
    /// Bytes in the patch.
    pub written: u64,
}

/// Why a patch could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// A file could not be read, or the patch not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Writes to `out` what turns the files of `old` into those of `new`. The same files always give the same patch.
pub fn make(
    old: &dyn Files,
    new: &dyn Files,
    options: &Options,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Made, MakeError> {
    let header = Header { old: total(old), new: (0..new.count()).map(|file| new.length(file)).collect() };
    let mut head = Vec::new();
    header.put(&mut head);
    out.write_all(&head)?;
    let mut made = Made { length: head.len() as u64, streams: STREAMS.map(|name| StreamSize { name, raw: 0, written: 0 }).to_vec() };
    let total = header.total();
    for (old_range, new_range) in groups(&header, options.group.clamp(1, LONGEST_TEXT)) {
        let start = new_range.start;
        let mut told = |done| progress(Progress { done: start + done, total });
        group(old, new, &old_range, &new_range, out, &mut made, &mut told)?;
    }
    progress(Progress { done: total, total });
    Ok(made)
}

fn total(files: &dyn Files) -> u64 {
    (0..files.count()).map(|file| files.length(file)).sum()
}

/// Which part of the new files is made from which part of the old ones: all of the old ones where they fit, else those as far along.
fn groups(header: &Header, limit: u64) -> Vec<(Range<u64>, Range<u64>)> {
    let total = header.total();
    let mut groups = Vec::new();
    let mut begin = 0;
    let mut end = 0;
    let mut flush = |from: u64, to: u64| {
        let mut from = from;
        while from < to {
            let until = if to - from > LONGEST_TEXT { from + limit } else { to };
            let room = limit.max(until - from).min(header.old);
            let middle = (u128::from(header.old) * u128::from(from + (until - from) / 2) / u128::from(total)) as u64;
            let start = middle.saturating_sub(room / 2).min(header.old - room);
            groups.push((start..start + room, from..until));
            from = until;
        }
    };
    for length in &header.new {
        if end > begin && end + length - begin > limit {
            flush(begin, end);
            begin = end;
        }
        end += length;
    }
    flush(begin, end);
    groups
}

/// Makes and writes one group.
fn group(
    old: &dyn Files,
    new: &dyn Files,
    old_range: &Range<u64>,
    new_range: &Range<u64>,
    out: &mut dyn Write,
    made: &mut Made,
    progress: &mut dyn FnMut(u64),
) -> Result<(), MakeError> {
    let (old, new) = (Text::new(old, old_range.clone()), Text::new(new, new_range.clone()));
    let (old_images, new_images) = (Images::read(&old)?, Images::read(&new)?);
    let covers = matching::covers(&masked(&old, &old_images)?, &masked(&new, &new_images)?, progress);
    let streams = streams(&old, &new, &old_images, &new_images, &covers)?;
    let mut head = Vec::new();
    Group::put(old_range, new_range, covers.len(), &mut head);
    for stream in &streams {
        stream.put_entry(&mut head);
    }
    out.write_all(&head)?;
    made.length += head.len() as u64;
    for (stream, size) in streams.iter().zip(&mut made.streams) {
        out.write_all(&stream.bytes)?;
        made.length += stream.bytes.len() as u64;
        size.raw += stream.raw();
        size.written += stream.bytes.len() as u64;
    }
    Ok(())
}

/// A text to be matched.
fn masked(text: &Text<'_>, images: &Images) -> io::Result<Vec<u8>> {
    let mut bytes = text.read()?;
    exe::mask(&mut bytes, images);
    Ok(bytes)
}

/// What the covers leave to be said, in the order of [`STREAMS`].
fn streams(
    old: &Text<'_>,
    new: &Text<'_>,
    old_images: &Images,
    new_images: &Images,
    covers: &[Cover],
) -> io::Result<[Written; STREAMS.len()]> {
    let mut cache = Cache::new(old, 8 << 20);
    let mut predictor = Predictor::new(old_images, &new_images.images, covers);
    let mut residual = residual::Writer::new();
    let mut literals = Vec::new();
    let mut at = 0;
    let (mut bytes, mut actual) = (vec![0; PART], vec![0; PART]);
    for cover in covers {
        append(new, at..cover.new as usize, &mut literals)?;
        let mut done = 0;
        while done < cover.len as usize {
            let len = predictor.part(cover, done, PART);
            cache.read_exact_at(&mut bytes[..len], (cover.old as usize + done) as u64)?;
            new.read_exact_at(&mut actual[..len], (cover.new as usize + done) as u64)?;
            let mut rest = &actual[..len];
            predictor.turn(cover, done, &mut bytes[..len], &mut |predicted, field| {
                let (now, later) = rest.split_at(predicted.len());
                residual.settle(predicted, now, field);
                rest = later;
                Ok(())
            })?;
            done += len;
        }
        at = cover.new_end();
    }
    append(new, at..new.len() as usize, &mut literals)?;
    let mut layouts = Vec::new();
    if !old_images.is_empty() {
        exe::put_layouts(&new_images.images, new, &mut layouts);
    }
    let [bytes, references] = residual.finish().map(Written::stored);
    Ok([codec::write(&layouts), Written::stored(cover::write(covers)), bytes, references, codec::write(&literals)])
}

fn append(text: &Text<'_>, range: Range<usize>, out: &mut Vec<u8>) -> io::Result<()> {
    let begin = out.len();
    out.resize(begin + range.len(), 0);
    text.read_exact_at(&mut out[begin..], range.start as u64)
}
