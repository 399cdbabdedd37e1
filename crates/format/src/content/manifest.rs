//! The manifest in memory: what a release consists of, already checked, and compact enough for 10⁶ chunks.

use std::cmp::Ordering;
use std::ops::Range;

use super::names::{ChunkId, ObjectName};

pub use builder::ManifestBuilder;

mod builder;

/// A chunk and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    /// Its name.
    pub id: ChunkId,
    /// Index of its pack.
    pub pack: u32,
    /// Where it begins in the pack, in bytes.
    pub offset: u32,
    /// Its length in the pack, in bytes, codec byte and tag included.
    pub sealed_len: u32,
    /// Its length in a file, in bytes, 1 to 256 KiB.
    pub plain_len: u32,
}

/// A pack: its chunks lie one behind the other, and nothing else is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRef {
    /// Its name in a store and on a medium; the library's pack of the same chunks goes by this name as well.
    pub name: ObjectName,
    /// Its length in bytes.
    pub length: u64,
    /// Its chunks, as indices into [`Manifest::chunks`].
    pub chunks: Range<u32>,
}

/// `count` chunks in a row, from index `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Index of the first chunk.
    pub first: u32,
    /// How many, at least 1.
    pub count: u32,
}

impl Run {
    /// The indices of its chunks.
    pub fn indices(self) -> Range<u32> {
        self.first..self.first + self.count
    }
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind<'a> {
    /// A directory; every directory is listed, empty or not.
    Directory,
    /// A regular file.
    File {
        /// Whether it may be run.
        executable: bool,
        /// Its size in bytes.
        size: u64,
        /// The chunks that it consists of, in order.
        runs: &'a [Run],
    },
    /// A symbolic link that stays inside the tree.
    Link {
        /// Where it points, relative to its directory, as the publisher wrote it.
        target: &'a str,
    },
}

/// A path and what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Relative to the root of the tree, components separated by `/`.
    pub path: &'a str,
    /// What is there.
    pub kind: EntryKind<'a>,
}

/// A checked list of a release's files and of the chunks that make them up.
///
/// Entries are in tree order: a directory comes before what is in it, and all that is in it follows without a gap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    packs: Vec<PackRef>,
    chunks: Vec<ChunkRef>,
    entries: Vec<Raw>,
    runs: Vec<Run>,
    /// All paths and targets, one behind the other.
    text: String,
    size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Raw {
    path: Range<u32>,
    kind: RawKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum RawKind {
    /// Index of the first entry behind all that is in it.
    Directory {
        end: u32,
    },
    File {
        executable: bool,
        size: u64,
        runs: Range<u32>,
    },
    Link {
        target: Range<u32>,
    },
}

impl Manifest {
    /// The packs, in the order of their chunks.
    pub fn packs(&self) -> &[PackRef] {
        &self.packs
    }

    /// All chunks.
    pub fn chunks(&self) -> &[ChunkRef] {
        &self.chunks
    }

    /// The chunks of a pack, in the order in which they lie in it.
    pub fn pack_chunks(&self, pack: usize) -> &[ChunkRef] {
        let range = &self.packs[pack].chunks;
        &self.chunks[range.start as usize..range.end as usize]
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the tree is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry at an index below [`len`](Self::len).
    pub fn entry(&self, index: usize) -> Entry<'_> {
        let raw = &self.entries[index];
        let kind = match &raw.kind {
            RawKind::Directory { .. } => EntryKind::Directory,
            RawKind::File { executable, size, runs } => {
                EntryKind::File { executable: *executable, size: *size, runs: &self.runs[runs.start as usize..runs.end as usize] }
            }
            RawKind::Link { target } => EntryKind::Link { target: self.text(target) },
        };
        Entry { path: self.text(&raw.path), kind }
    }

    /// All entries in tree order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        (0..self.len()).map(|index| self.entry(index))
    }

    /// The index of the entry at `path`.
    pub fn find(&self, path: &str) -> Option<usize> {
        self.entries.binary_search_by(|raw| tree_order(self.text(&raw.path), path)).ok()
    }

    /// The indices of what is directly in a directory, given by its index, or in the root (`None`). In order of names.
    pub fn children(&self, directory: Option<usize>) -> impl Iterator<Item = usize> {
        let (mut next, end) = match directory.map(|index| (index, &self.entries[index].kind)) {
            None => (0, self.len()),
            Some((index, RawKind::Directory { end })) => (index + 1, *end as usize),
            Some(_) => (0, 0),
        };
        std::iter::from_fn(move || {
            let this = (next < end).then_some(next)?;
            next = match self.entries[this].kind {
                RawKind::Directory { end } => end as usize,
                _ => this + 1,
            };
            Some(this)
        })
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of all packs together: what is to be fetched, and written to a library.
    pub fn packed_size(&self) -> u64 {
        self.packs.iter().map(|pack| pack.length).sum()
    }

    /// Number of regular files.
    pub fn files(&self) -> u64 {
        self.entries.iter().filter(|raw| matches!(raw.kind, RawKind::File { .. })).count() as u64
    }

    fn text(&self, range: &Range<u32>) -> &str {
        &self.text[range.start as usize..range.end as usize]
    }
}

/// Order of paths in which a directory's contents directly follow it: by components, which is by bytes with `/` lowest.
pub(super) fn tree_order(a: &str, b: &str) -> Ordering {
    a.split('/').map(str::as_bytes).cmp(b.split('/').map(str::as_bytes))
}
