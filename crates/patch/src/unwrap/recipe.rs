//! Which streams of which containers are unwrapped on either side, and how the new ones are packed again.

use std::io::{self, Read};
use std::ops::Range;

use super::encoder::Setting;
use crate::Files;
use crate::apply::Limits;
use crate::header::LONGEST_TEXT;
use crate::varint::{self, invalid};

/// Containers of either side, in the order of their files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub old: Vec<Container>,
    pub new: Vec<Container>,
}

/// A file of which streams are unwrapped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Container {
    /// Its number.
    pub file: usize,
    /// Its length as a container.
    pub length: u64,
    /// At least one, in order.
    pub streams: Vec<Stream>,
}

/// A stream of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Where it lies in the container.
    pub packed: Range<u64>,
    /// Length of its text.
    pub plain: u64,
    /// How it is packed; nobody needs to know of an old one.
    pub setting: Option<Setting>,
}

/// A stream's text is never longer than its packed bytes times this: two bits give 258 bytes at best (RFC 1951).
const MOST_PLAIN: u64 = 1032;

impl Recipe {
    /// Text of all new streams, in bytes.
    pub fn plain(&self) -> u64 {
        self.new.iter().flat_map(|container| &container.streams).map(|stream| stream.plain).sum()
    }

    fn put(&self, out: &mut Vec<u8>) {
        for side in [&self.old, &self.new] {
            varint::put(out, side.len() as u64);
            let mut file = 0;
            for container in side {
                varint::put(out, (container.file - file) as u64);
                file = container.file;
                varint::put(out, container.length);
                varint::put(out, container.streams.len() as u64);
            }
        }
        // Column by column: what is alike lies together.
        let streams: Vec<_> = [&self.old, &self.new].into_iter().flatten().flat_map(gaps).collect();
        streams.iter().for_each(|(gap, _)| varint::put(out, *gap));
        streams.iter().for_each(|(_, stream)| varint::put(out, stream.packed.end - stream.packed.start));
        streams.iter().for_each(|(_, stream)| varint::put(out, stream.plain));
        out.extend(streams.iter().filter_map(|(_, stream)| stream.setting).map(Setting::to_byte));
    }

    /// Reads one from a stream of `length` bytes; refuses what cannot be of these old files, or of new ones within the limits.
    pub fn read(from: &mut impl Read, length: u64, old: &dyn Files, limits: &Limits) -> io::Result<Self> {
        let mut recipe = Recipe::default();
        let mut counts = Vec::new();
        recipe.old = read_side(from, length, old.count(), &mut |file, length| length == old.length(file), &mut counts)?;
        let mut left = limits.bytes;
        let mut fits = |_, length| left.checked_sub(length).map(|rest| left = rest).is_some();
        recipe.new = read_side(from, length, limits.files, &mut fits, &mut counts)?;
        read_streams(from, &mut recipe, &counts)?;
        Ok(recipe)
    }
}

/// Recipes of which each is for the files of the one before; nothing at all where nothing is unwrapped.
pub(crate) fn to_bytes(layers: &[Recipe]) -> Vec<u8> {
    let mut out = Vec::new();
    if !layers.is_empty() {
        varint::put(&mut out, layers.len() as u64);
        layers.iter().for_each(|recipe| recipe.put(&mut out));
    }
    out
}

/// How many recipes follow in a stream of `length` bytes.
pub(crate) fn read_layers(from: &mut impl Read, length: u64, most: usize) -> io::Result<usize> {
    let layers = if length == 0 { 0 } else { varint::read(from)? };
    usize::try_from(layers).ok().filter(|layers| *layers <= most).ok_or_else(|| invalid("it nests containers deeper than is allowed"))
}

/// The containers of a side, and how many streams each has. Each number takes a byte at least, so none counts more than `length`.
fn read_side(
    from: &mut impl Read,
    length: u64,
    files: usize,
    fits: &mut dyn FnMut(usize, u64) -> bool,
    counts: &mut Vec<u64>,
) -> io::Result<Vec<Container>> {
    let mut side = Vec::<Container>::new();
    for _ in 0..varint::read(from)? {
        let skip = varint::read(from)?;
        let begin = side.last().map_or(0, |last| last.file as u64);
        let file = begin.checked_add(skip).and_then(|file| usize::try_from(file).ok()).filter(|file| *file < files);
        let file = file.filter(|_| skip > 0 || side.is_empty()).ok_or_else(|| invalid("a container is none of the files"))?;
        let container = Container { file, length: varint::read(from)?, streams: Vec::new() };
        if !fits(file, container.length) {
            return Err(invalid("a container has another length"));
        }
        side.push(container);
        let count = varint::read(from)?;
        if count == 0 || count > length {
            return Err(invalid("a container has no such number of streams"));
        }
        counts.push(count);
    }
    Ok(side)
}

/// The columns of all streams.
fn read_streams(from: &mut impl Read, recipe: &mut Recipe, counts: &[u64]) -> io::Result<()> {
    let columns = [(); 3].map(|()| Vec::<u64>::new());
    let [mut gaps, mut packed, mut plain] = columns;
    for column in [&mut gaps, &mut packed, &mut plain] {
        for _ in 0..counts.iter().sum::<u64>() {
            column.push(varint::read(from)?);
        }
    }
    let mut rows = gaps.into_iter().zip(packed).zip(plain);
    let old = recipe.old.len();
    for (number, container) in recipe.old.iter_mut().chain(&mut recipe.new).enumerate() {
        let mut end = 0u64;
        for ((gap, packed), plain) in rows.by_ref().take(counts[number] as usize) {
            let start = end.checked_add(gap).filter(|start| *start <= container.length && packed <= container.length - start);
            let start = start.ok_or_else(|| invalid("a stream lies beyond its container"))?;
            end = start + packed;
            if packed == 0 || plain > LONGEST_TEXT || plain > packed.saturating_mul(MOST_PLAIN) {
                return Err(invalid("a stream holds more than it can"));
            }
            let setting = if number < old { None } else { Some(read_setting(from)?) };
            container.streams.push(Stream { packed: start..end, plain, setting });
        }
    }
    Ok(())
}

fn read_setting(from: &mut impl Read) -> io::Result<Setting> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Setting::from_byte(byte[0])
}

/// The streams of a container, each with what lies before it.
fn gaps(container: &Container) -> impl Iterator<Item = (u64, &Stream)> {
    let ends = std::iter::once(0).chain(container.streams.iter().map(|stream| stream.packed.end));
    container.streams.iter().zip(ends).map(|(stream, end)| (stream.packed.start - end, stream))
}
