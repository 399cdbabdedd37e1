//! Decides what is unwrapped: streams that changed and that come back bit for bit.

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use super::recipe::{Container, Recipe, Stream};
use super::{container, encoder, inflate::Inflater};
use crate::Files;
use crate::header::LONGEST_TEXT;

/// Shorter streams cost more in the recipe than they gain.
const SHORTEST: u64 = 64;

/// Text that is unwrapped on a side at most: whoever packs zeros gives no work without end.
const MOST_TEXT: u64 = 16 << 30;

/// A container and where its streams lie, each with a hash of its packed bytes.
struct Found {
    file: usize,
    streams: Vec<(Range<u64>, blake3::Hash)>,
}

/// What of both sides is unwrapped. A stream that is the same on both sides stays packed on both: it is found as it is.
pub(crate) fn find(old: &dyn Files, new: &dyn Files) -> io::Result<Recipe> {
    let found = containers(new)?;
    if found.is_empty() {
        return Ok(Recipe::default());
    }
    let before = containers(old)?;
    let same = hashes(&before).intersection(&hashes(&found)).copied().collect();
    let new = repacked(new, &found, &same)?;
    if new.is_empty() {
        return Ok(Recipe::default());
    }
    Ok(Recipe { old: readable(old, &before, &same)?, new })
}

fn containers(files: &dyn Files) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for file in 0..files.count() {
        let mut streams = Vec::new();
        for range in container::streams(files, file, LONGEST_TEXT)? {
            if range.end - range.start >= SHORTEST {
                let hash = hash(files, file, &range)?;
                streams.push((range, hash));
            }
        }
        if !streams.is_empty() {
            found.push(Found { file, streams });
        }
    }
    Ok(found)
}

fn hash(files: &dyn Files, file: usize, range: &Range<u64>) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; (range.end - range.start).min(256 << 10) as usize];
    let mut at = range.start;
    while at < range.end {
        let part = (range.end - at).min(buffer.len() as u64) as usize;
        files.read_exact_at(file, &mut buffer[..part], at)?;
        hasher.update(&buffer[..part]);
        at += part as u64;
    }
    Ok(hasher.finalize())
}

fn hashes(found: &[Found]) -> HashSet<blake3::Hash> {
    found.iter().flat_map(|found| &found.streams).map(|(_, hash)| *hash).collect()
}

/// The new streams that an encoder gives exactly.
fn repacked(files: &dyn Files, found: &[Found], same: &HashSet<blake3::Hash>) -> io::Result<Vec<Container>> {
    let mut hint = None;
    let mut left = MOST_TEXT;
    collect(files, found, same, |file, packed| {
        let Some((setting, plain)) = encoder::identify(files, file, packed, left.min(LONGEST_TEXT), hint)? else { return Ok(None) };
        hint = Some(setting);
        left -= plain;
        Ok(Some(Stream { packed: packed.clone(), plain, setting: Some(setting) }))
    })
}

/// The old streams that can be read.
fn readable(files: &dyn Files, found: &[Found], same: &HashSet<blake3::Hash>) -> io::Result<Vec<Container>> {
    let mut left = MOST_TEXT;
    collect(files, found, same, |file, packed| {
        let mut inflater = Inflater::new(files, file, packed.clone());
        let mut plain = 0;
        loop {
            match inflater.read(64 << 10) {
                Ok([]) => break,
                Ok(bytes) => plain += bytes.len() as u64,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
                Err(error) => return Err(error),
            }
            if plain > left.min(LONGEST_TEXT) {
                return Ok(None);
            }
        }
        left -= plain;
        Ok(Some(Stream { packed: packed.clone(), plain, setting: None }))
    })
}

fn collect(
    files: &dyn Files,
    found: &[Found],
    same: &HashSet<blake3::Hash>,
    mut open: impl FnMut(usize, &Range<u64>) -> io::Result<Option<Stream>>,
) -> io::Result<Vec<Container>> {
    let mut containers = Vec::new();
    for Found { file, streams } in found {
        let mut opened = Vec::new();
        for (packed, _) in streams.iter().filter(|(_, hash)| !same.contains(hash)) {
            opened.extend(open(*file, packed)?);
        }
        if !opened.is_empty() {
            containers.push(Container { file: *file, length: files.length(*file), streams: opened });
        }
    }
    Ok(containers)
}
