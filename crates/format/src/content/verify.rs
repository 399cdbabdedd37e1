//! Finds what is damaged in a pack, tells which files that concerns, and heals exactly that from another source.

use std::collections::HashSet;
use std::io::{self, Seek, SeekFrom, Write};

use zeroize::Zeroize;

use super::chunk::{ChunkError, MAX_PLAIN, OVERHEAD};
use super::healing::OpenChunk;
use super::keys::ChunkKeys;
use super::manifest::{ChunkRef, EntryKind, Manifest};
use super::object::ReadAt;

/// Bytes read at once.
const BULK: usize = 1 << 20;

/// A chunk that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its index in [`Manifest::chunks`], where its name, pack and offset stand.
    pub chunk: u32,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DamageKind {
    /// Its pack is missing, or ends before it does.
    Missing,
    /// The drive does not give it.
    Unreadable(io::ErrorKind),
    /// It is there and does not open.
    Bad(ChunkError),
}

/// What [`verify_pack`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackReport {
    /// Damaged chunks, in their order.
    pub damaged: Vec<Damage>,
    /// Bytes behind the pack's end, which do not belong there.
    pub surplus: u64,
}

impl PackReport {
    /// Whether the pack is exactly what it should be.
    pub fn is_good(&self) -> bool {
        self.damaged.is_empty() && self.surplus == 0
    }
}

/// Checks tag and name of every chunk of a pack; `None` as its file says that it is missing.
///
/// `progress` is told the bytes that were looked at. A bad sector costs the chunks that lie on it and no others.
pub fn verify_pack(
    manifest: &Manifest,
    pack: usize,
    keys: &ChunkKeys,
    file: Option<&dyn ReadAt>,
    mut progress: impl FnMut(u64),
) -> PackReport {
    let range = manifest.packs()[pack].chunks.clone();
    let Some(file) = file else {
        let missing = |chunk| Damage { chunk, kind: DamageKind::Missing };
        return PackReport { damaged: range.map(missing).collect(), surplus: 0 };
    };
    let mut report = PackReport::default();
    if let Ok(size) = file.size() {
        report.surplus = size.saturating_sub(manifest.packs()[pack].length);
    }
    let mut buffer = vec![0; BULK];
    let mut left = manifest.pack_chunks(pack);
    let mut index = range.start;
    while let Some(first) = left.first() {
        let (group, rest) = left.split_at(group_len(left));
        let length: usize = group.iter().map(|chunk| chunk.sealed_len as usize).sum();
        let bulk = file.read_exact_at(&mut buffer[..length], u64::from(first.offset));
        for chunk in group {
            let at = (chunk.offset - first.offset) as usize;
            let sealed = &mut buffer[at..at + chunk.sealed_len as usize];
            // When the bulk cannot be read, each chunk of it is tried for itself.
            let read = match &bulk {
                Ok(()) => Ok(()),
                Err(_) => file.read_exact_at(sealed, u64::from(chunk.offset)),
            };
            let kind = match read {
                Ok(()) => keys.open_in_place(&chunk.id, sealed).err().map(DamageKind::Bad),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(DamageKind::Missing),
                Err(error) => Some(DamageKind::Unreadable(error.kind())),
            };
            report.damaged.extend(kind.map(|kind| Damage { chunk: index, kind }));
            index += 1;
        }
        progress(length as u64);
        left = rest;
    }
    buffer.zeroize();
    report
}

fn group_len(chunks: &[ChunkRef]) -> usize {
    let mut length = 0;
    let fits = |chunk: &&ChunkRef| {
        length += chunk.sealed_len as usize;
        length <= BULK
    };
    chunks.iter().take_while(fits).count()
}

/// A part of a file that damaged chunks make unreadable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected<'m> {
    /// The file.
    pub path: &'m str,
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// The parts of files that consist of the given chunks, in tree order; neighbouring parts are one.
pub fn affected<'m>(manifest: &'m Manifest, chunks: &HashSet<u32>) -> Vec<Affected<'m>> {
    let mut parts: Vec<Affected<'m>> = Vec::new();
    for entry in manifest.entries() {
        let EntryKind::File { runs, .. } = entry.kind else { continue };
        let mut offset = 0;
        for index in runs.iter().flat_map(|run| run.indices()) {
            let length = u64::from(manifest.chunks()[index as usize].plain_len);
            if chunks.contains(&index) {
                match parts.last_mut() {
                    Some(last) if last.path == entry.path && last.offset + last.length == offset => last.length += length,
                    _ => parts.push(Affected { path: entry.path, offset, length }),
                }
            }
            offset += length;
        }
    }
    parts
}

/// Writes the given chunks of a pack anew, in place, from a `source` that holds the same pack and is opened by `source_keys`: those of
/// a content key or of another library, or the keys of just these chunks ([`HealingKeys`](super::HealingKeys)).
///
/// Returns the chunks that the source could not give either. The caller cuts the file to the pack's length if it has a
/// surplus, and syncs it.
pub fn repair_pack(
    manifest: &Manifest,
    chunks: impl IntoIterator<Item = u32>,
    source: &dyn ReadAt,
    source_keys: &dyn OpenChunk,
    keys: &ChunkKeys,
    mut target: impl Write + Seek,
) -> io::Result<Vec<u32>> {
    let mut buffer = vec![0; MAX_PLAIN + OVERHEAD];
    let mut not_healed = Vec::new();
    for index in chunks {
        let chunk = &manifest.chunks()[index as usize];
        let sealed = &mut buffer[..chunk.sealed_len as usize];
        let offset = u64::from(chunk.offset);
        let opened = source.read_exact_at(sealed, offset).is_ok() && source_keys.open_chunk(&chunk.id, sealed).is_ok();
        if !opened {
            not_healed.push(index);
            continue;
        }
        keys.seal_in_place(&chunk.id, sealed);
        target.seek(SeekFrom::Start(offset))?;
        target.write_all(sealed)?;
    }
    buffer.zeroize();
    Ok(not_healed)
}
