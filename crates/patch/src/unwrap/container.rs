//! Finds the deflate streams of containers: those that a zip's directory names, those of a gzip's members.

use std::io;
use std::ops::Range;

use super::inflate::Inflater;
use crate::Files;

/// Where a zip's directory is looked for, from its end: the longest comment and the record before it.
const TAIL: u64 = 22 + 0xFFFF;

/// Longer directories are not read.
const LONGEST_DIRECTORY: u64 = 64 << 20;

/// Containers with more streams than this stay as they are.
const MOST_STREAMS: usize = 1 << 18;

/// The packed ranges of a file, in order, none reaching into another; empty where it is no container, or one that is damaged.
pub(crate) fn streams(files: &dyn Files, file: usize, limit: u64) -> io::Result<Vec<Range<u64>>> {
    let length = files.length(file);
    let mut magic = [0; 4];
    if length < 20 {
        return Ok(Vec::new());
    }
    files.read_exact_at(file, &mut magic, 0)?;
    let found = match magic {
        [0x1F, 0x8B, 8, _] => gzip(files, file, limit)?,
        _ => zip(files, file)?,
    };
    Ok(if found.len() > MOST_STREAMS { Vec::new() } else { found })
}

/// The members of a gzip file (RFC 1952).
fn gzip(files: &dyn Files, file: usize, limit: u64) -> io::Result<Vec<Range<u64>>> {
    let length = files.length(file);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = gzip_header(files, file, at)? {
        let mut inflater = Inflater::new(files, file, start..length);
        let mut plain = 0;
        loop {
            match inflater.read(64 << 10) {
                Ok([]) => break,
                Ok(bytes) => plain += bytes.len() as u64,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(found),
                Err(error) => return Err(error),
            }
            if plain > limit {
                return Ok(found);
            }
        }
        found.push(start..inflater.position());
        at = inflater.position() + 8;
    }
    Ok(found)
}

/// Where the stream of the member that begins at `at` begins.
fn gzip_header(files: &dyn Files, file: usize, at: u64) -> io::Result<Option<u64>> {
    let head = upto(files, file, at, 10)?;
    let [0x1F, 0x8B, 8, flags, ..] = head[..] else { return Ok(None) };
    if head.len() < 10 || flags & 0xE0 != 0 {
        return Ok(None);
    }
    // An extra field, a name and a comment are rarely longer than this; a longer one leaves the file as it is.
    let rest = upto(files, file, at + 10, 4 << 10)?;
    let mut skip = 0;
    if flags & 4 != 0 {
        let Some(extra) = u16_at(&rest, 0) else { return Ok(None) };
        skip += 2 + usize::from(extra);
    }
    for text in [8, 16] {
        if flags & text != 0 {
            let Some(end) = rest.get(skip..).and_then(|rest| rest.iter().position(|byte| *byte == 0)) else { return Ok(None) };
            skip += end + 1;
        }
    }
    if flags & 2 != 0 {
        skip += 2;
    }
    Ok((skip < rest.len()).then_some(at + 10 + skip as u64))
}

/// The packed entries of a zip (PKWARE's APPNOTE.TXT, 4.3).
fn zip(files: &dyn Files, file: usize) -> io::Result<Vec<Range<u64>>> {
    let Some((directory, count)) = directory(files, file)? else { return Ok(Vec::new()) };
    let mut bytes = vec![0; (directory.end - directory.start) as usize];
    files.read_exact_at(file, &mut bytes, directory.start)?;
    let mut found = Vec::new();
    let mut rest = &bytes[..];
    for _ in 0..count.min(MOST_STREAMS as u64 + 1) {
        let Some((entry, after)) = entry(rest) else { break };
        rest = after;
        if let Some((header, packed)) = entry
            && let Some(range) = entry_data(files, file, header, packed, directory.start)?
        {
            found.push(range);
        }
    }
    found.sort_by_key(|range| (range.start, range.end));
    let mut end = 0;
    found.retain(|range| {
        let apart = range.start >= end && range.start < range.end;
        end = end.max(range.end);
        apart
    });
    Ok(found)
}

/// Where the directory lies, and how many entries it has.
fn directory(files: &dyn Files, file: usize) -> io::Result<Option<(Range<u64>, u64)>> {
    let length = files.length(file);
    let begin = length.saturating_sub(TAIL);
    let tail = upto(files, file, begin, TAIL as usize)?;
    let Some(at) = (0..tail.len().saturating_sub(21)).rev().find(|at| tail[*at..].starts_with(b"PK\x05\x06")) else {
        return Ok(None);
    };
    let end = &tail[at..];
    let (Some(count), Some(size), Some(offset)) = (u16_at(end, 10), u32_at(end, 12), u32_at(end, 16)) else { return Ok(None) };
    let (mut count, mut size, mut offset) = (u64::from(count), u64::from(size), u64::from(offset));
    if count == 0xFFFF || size == 0xFFFF_FFFF || offset == 0xFFFF_FFFF {
        let Some(locator) = at.checked_sub(20).map(|at| &tail[at..]).filter(|bytes| bytes.starts_with(b"PK\x06\x07")) else {
            return Ok(None);
        };
        let record = upto(files, file, u64_at(locator, 8).unwrap_or(length), 56)?;
        if !record.starts_with(b"PK\x06\x06") {
            return Ok(None);
        }
        let fields = (u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48));
        let (Some(c), Some(s), Some(o)) = fields else { return Ok(None) };
        (count, size, offset) = (c, s, o);
    }
    let range = offset.checked_add(size).filter(|end| *end <= length && size <= LONGEST_DIRECTORY).map(|end| offset..end);
    Ok(range.map(|range| (range, count)))
}

/// An entry of the directory and what follows it: offset of its local header and packed length, if it is packed by deflate and open.
type Entry<'a> = (Option<(u64, u64)>, &'a [u8]);

fn entry(bytes: &[u8]) -> Option<Entry<'_>> {
    let fixed = bytes.get(..46).filter(|bytes| bytes.starts_with(b"PK\x01\x02"))?;
    let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(fixed, at).map(usize::from));
    let (name, extra, comment) = (name?, extra?, comment?);
    let fields = bytes.get(46 + name..46 + name + extra)?;
    let after = bytes.get(46 + name + extra + comment..)?;
    let (flags, method) = (u16_at(fixed, 8)?, u16_at(fixed, 10)?);
    let (packed, plain, header) = (u32_at(fixed, 20)?, u32_at(fixed, 24)?, u32_at(fixed, 42)?);
    let (mut packed_long, mut header_long) = (u64::from(packed), u64::from(header));
    if let Some(mut long) = extra_field(fields, 1) {
        for (short, value) in [(plain, None), (packed, Some(&mut packed_long)), (header, Some(&mut header_long))] {
            if short == 0xFFFF_FFFF {
                let number = u64_at(long, 0)?;
                long = &long[8..];
                if let Some(value) = value {
                    *value = number;
                }
            }
        }
    }
    Some(((method == 8 && flags & 1 == 0).then_some((header_long, packed_long)), after))
}

/// The data of the extra field with an ID.
fn extra_field(mut fields: &[u8], id: u16) -> Option<&[u8]> {
    loop {
        let len = usize::from(u16_at(fields, 2)?);
        let data = fields.get(4..4 + len)?;
        if u16_at(fields, 0)? == id {
            return Some(data);
        }
        fields = &fields[4 + len..];
    }
}

/// Where an entry's data lies, behind its local header and before the directory.
fn entry_data(files: &dyn Files, file: usize, header: u64, packed: u64, directory: u64) -> io::Result<Option<Range<u64>>> {
    let local = upto(files, file, header, 30)?;
    let (Some(name), Some(extra)) = (u16_at(&local, 26), u16_at(&local, 28)) else { return Ok(None) };
    if !local.starts_with(b"PK\x03\x04") {
        return Ok(None);
    }
    let start = header + 30 + u64::from(name) + u64::from(extra);
    Ok(start.checked_add(packed).filter(|end| *end <= directory).map(|end| start..end))
}

/// At most `len` bytes from `at`, fewer where the file ends.
fn upto(files: &dyn Files, file: usize, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let len = files.length(file).saturating_sub(at).min(len as u64) as usize;
    let mut bytes = vec![0; len];
    if len > 0 {
        files.read_exact_at(file, &mut bytes, at)?;
    }
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
