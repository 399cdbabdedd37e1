//! Builds a manifest part by part, checking each as it comes: the publisher and the parser both stand on it.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::super::chunk::{MAX_PLAIN, OVERHEAD};
use super::super::codec::{ManifestError, limits};
use super::super::names::{ChunkId, ObjectName};
use super::super::path::{PathError, PathRule, check_link, check_path, fold_name};
use super::{ChunkRef, EntryKind, Manifest, PackRef, Raw, RawKind, Run, tree_order};

/// Builds a manifest, checking each part as it comes. The parser stands on it, so that there is one set of checks.
///
/// First all packs, each as its chunks and then [`end_pack`](Self::end_pack), then all entries in tree order.
#[derive(Default)]
pub struct ManifestBuilder {
    manifest: Manifest,
    open_pack: u64,
    /// For each chunk, the plaintext bytes up to its end, so that a run is summed in one step however long it is.
    plain_ends: Vec<u64>,
    references: u64,
    pack_names: HashSet<ObjectName>,
    /// The directories that the last entry is in.
    directories: Vec<usize>,
    /// Directory and folded name of every entry.
    names: HashSet<(u32, String)>,
}

impl ManifestBuilder {
    /// An empty manifest.
    pub fn new() -> Self {
        Self::default()
    }

    pub(in super::super) fn reserve(&mut self, chunks: usize, entries: usize) {
        self.manifest.chunks.reserve(chunks);
        self.plain_ends.reserve(chunks);
        self.manifest.entries.reserve(entries);
    }

    /// Adds a chunk at the end of the pack that is being built; returns its index.
    pub fn chunk(&mut self, id: ChunkId, sealed_len: u32, plain_len: u32) -> Result<u32, ManifestError> {
        let most_sealed = MAX_PLAIN + OVERHEAD;
        if plain_len == 0 || plain_len as usize > MAX_PLAIN || (sealed_len as usize) <= OVERHEAD || sealed_len as usize > most_sealed {
            return Err(ManifestError::Limit("length of a chunk"));
        }
        if self.manifest.chunks.len() >= limits::CHUNKS {
            return Err(ManifestError::Limit("number of chunks"));
        }
        let index = self.manifest.chunks.len() as u32;
        let offset = self.open_pack as u32;
        self.open_pack += u64::from(sealed_len);
        if self.open_pack > limits::PACK_BYTES {
            return Err(ManifestError::Limit("length of a pack"));
        }
        let pack = self.manifest.packs.len() as u32;
        self.manifest.chunks.push(ChunkRef { id, pack, offset, sealed_len, plain_len });
        self.plain_ends.push(self.plain_before(index) + u64::from(plain_len));
        Ok(index)
    }

    /// Ends the pack that is being built; returns its index.
    pub fn end_pack(&mut self, name: ObjectName) -> Result<u32, ManifestError> {
        let start = self.manifest.packs.last().map_or(0, |pack| pack.chunks.end);
        let end = self.manifest.chunks.len() as u32;
        if start == end {
            return Err(ManifestError::EmptyPack);
        }
        if !self.pack_names.insert(name) {
            return Err(ManifestError::PackTwice(name));
        }
        // The name is not told to be that of what it holds: whoever fetches it checks that.
        let length = std::mem::take(&mut self.open_pack);
        self.manifest.packs.push(PackRef { name, length, chunks: start..end });
        Ok(self.manifest.packs.len() as u32 - 1)
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str) -> Result<(), ManifestError> {
        let path = self.path(path)?;
        self.directories.push(self.manifest.entries.len());
        // The end is set when the directory is left.
        self.manifest.entries.push(Raw { path, kind: RawKind::Directory { end: 0 } });
        Ok(())
    }

    /// Adds a file that consists of the chunks of `runs`, which must not be mergeable with one another; returns its size.
    pub fn file(&mut self, path: &str, executable: bool, runs: &[Run]) -> Result<u64, ManifestError> {
        let name = path;
        let path = self.path(name)?;
        let start = self.manifest.runs.len() as u32;
        let mut size = 0_u64;
        let mut before: Option<u32> = None;
        for run in runs {
            let end = run.first.checked_add(run.count).ok_or_else(|| ManifestError::NoSuchChunk(name.to_owned()))?;
            if run.count == 0 || before == Some(run.first) {
                return Err(ManifestError::NotCanonical("runs of chunks"));
            }
            if end as usize > self.manifest.chunks.len() {
                return Err(ManifestError::NoSuchChunk(name.to_owned()));
            }
            size += self.plain_before(end) - self.plain_before(run.first);
            self.references += u64::from(run.count);
            // Checked at each run, so that no sum comes near to overflowing.
            if self.manifest.size + size > limits::RELEASE_BYTES || self.references > limits::REFERENCES {
                return Err(ManifestError::Limit("size of the release"));
            }
            before = Some(end);
        }
        if self.manifest.runs.len() + runs.len() > limits::RUNS {
            return Err(ManifestError::Limit("number of runs"));
        }
        self.manifest.runs.extend_from_slice(runs);
        let runs = start..self.manifest.runs.len() as u32;
        self.manifest.size += size;
        self.manifest.entries.push(Raw { path, kind: RawKind::File { executable, size, runs } });
        Ok(size)
    }

    /// Adds a symbolic link. Where it leads is checked at the end, when all links are known.
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), ManifestError> {
        let path = self.path(path)?;
        let target = self.push_text(target)?;
        self.manifest.entries.push(Raw { path, kind: RawKind::Link { target } });
        Ok(())
    }

    /// Ends the manifest, after checking every link.
    pub fn finish(mut self) -> Result<Manifest, ManifestError> {
        if self.open_pack != 0 {
            return Err(ManifestError::EmptyPack);
        }
        self.leave_directories(0);
        let manifest = self.manifest;
        // By folded path: where case does not count, a link is followed however it is written.
        let links: HashMap<String, &str> = manifest
            .entries()
            .filter_map(|entry| match entry.kind {
                EntryKind::Link { target } => Some((fold_name(entry.path), target)),
                _ => None,
            })
            .collect();
        let link_at = |path: &str| links.get(&fold_name(path)).copied();
        for entry in manifest.entries() {
            if let EntryKind::Link { target } = entry.kind {
                check_link(entry.path, target, link_at)?;
            }
        }
        Ok(manifest)
    }

    fn plain_before(&self, chunk: u32) -> u64 {
        if chunk == 0 { 0 } else { self.plain_ends[chunk as usize - 1] }
    }

    /// Checks a path against the rules and against what came before it, and stores it.
    fn path(&mut self, path: &str) -> Result<Range<u32>, ManifestError> {
        check_path(path)?;
        let index = self.manifest.entries.len();
        if index >= limits::ENTRIES {
            return Err(ManifestError::Limit("number of entries"));
        }
        if let Some(last) = self.manifest.entries.last()
            && tree_order(self.manifest.text(&last.path), path) != Ordering::Less
        {
            return Err(PathError::new(path, PathRule::Order).into());
        }
        let depth = path.matches('/').count();
        if depth > self.directories.len() {
            return Err(PathError::new(path, PathRule::NoDirectory).into());
        }
        self.leave_directories(depth);
        let name = match path.rsplit_once('/') {
            None => path,
            Some((directory, name)) => {
                let open = self.directories.last().map(|&index| self.manifest.entry(index).path);
                if open != Some(directory) {
                    return Err(PathError::new(path, PathRule::NoDirectory).into());
                }
                name
            }
        };
        let directory = self.directories.last().map_or(u32::MAX, |&index| index as u32);
        if !self.names.insert((directory, fold_name(name))) {
            return Err(self.same_name(path, name, directory).into());
        }
        self.push_text(path)
    }

    fn same_name(&self, path: &str, name: &str, directory: u32) -> PathError {
        let folded = fold_name(name);
        let prefix = path.strip_suffix(name).unwrap_or_default();
        let from = if directory == u32::MAX { 0 } else { directory as usize };
        let other = (from..self.manifest.len())
            .map(|index| self.manifest.entry(index).path)
            .find(|other| other.strip_prefix(prefix).is_some_and(|other| !other.contains('/') && fold_name(other) == folded));
        PathError::new(path, PathRule::SameName(other.unwrap_or_default().to_owned()))
    }

    fn leave_directories(&mut self, depth: usize) {
        let here = self.manifest.entries.len() as u32;
        for directory in self.directories.drain(depth..) {
            self.manifest.entries[directory].kind = RawKind::Directory { end: here };
        }
    }

    fn push_text(&mut self, text: &str) -> Result<Range<u32>, ManifestError> {
        let start = self.manifest.text.len();
        if start + text.len() > limits::TEXT_BYTES {
            return Err(ManifestError::Limit("length of all paths"));
        }
        self.manifest.text.push_str(text);
        Ok(start as u32..self.manifest.text.len() as u32)
    }
}
