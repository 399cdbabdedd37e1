//! What a release changes against an earlier one: file by file for people, and what a patch between the two has to be made of.

use std::collections::{HashMap, HashSet};

use counterfoil_format::content::{ChunkId, Entry, EntryKind, Manifest};
use serde::Serialize;

/// What became of a file or a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was not there, and nothing like it.
    New,
    /// Its bytes, its target or its mode are others.
    Modified,
    /// It lay at another path with the same bytes.
    Moved,
    /// It is gone.
    Deleted,
    /// Nothing.
    Same,
}

impl State {
    /// All there are, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::New, Self::Modified, Self::Moved, Self::Deleted, Self::Same];

    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Modified => "MODIFIED",
            Self::Moved => "MOVED",
            Self::Deleted => "DELETED",
            Self::Same => "SAME",
        }
    }
}

/// A file or a link, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Where it is, or was.
    pub path: String,
    /// What became of it.
    pub state: State,
    /// In bytes; of the earlier release where it is gone.
    pub size: u64,
    /// Where it lay before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Files and links of two releases, in the order of paths; those that are gone come last.
pub fn compare(old: &Manifest, new: &Manifest) -> Vec<Compared> {
    let kept: HashSet<&str> = new.entries().map(|entry| entry.path).collect();
    // What lost its path may have moved; each place is left once.
    let mut left: HashMap<Content<'_>, Vec<&str>> = HashMap::new();
    for entry in old.entries().filter(|entry| !kept.contains(entry.path) && size(entry) > 0) {
        left.entry(content(old, &entry)).or_default().push(entry.path);
    }
    let mut compared = Vec::new();
    for entry in new.entries().filter(|entry| entry.kind != EntryKind::Directory) {
        let here = content(new, &entry);
        let before = old.find(entry.path).map(|index| old.entry(index)).filter(|before| before.kind != EntryKind::Directory);
        let (state, from) = match before {
            Some(before) if content(old, &before) == here && mode(&before) == mode(&entry) => (State::Same, None),
            Some(_) => (State::Modified, None),
            None => match left.get_mut(&here).and_then(Vec::pop) {
                Some(from) => (State::Moved, Some(from.to_owned())),
                None => (State::New, None),
            },
        };
        compared.push(Compared { path: entry.path.to_owned(), state, size: size(&entry), from });
    }
    let moved: HashSet<String> = compared.iter().filter_map(|compared| compared.from.clone()).collect();
    for entry in old.entries().filter(|entry| entry.kind != EntryKind::Directory) {
        if !kept.contains(entry.path) && !moved.contains(entry.path) {
            compared.push(Compared { path: entry.path.to_owned(), state: State::Deleted, size: size(&entry), from: None });
        }
    }
    compared
}

/// The files that a patch between two releases is made of, as entries of the manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of the release that it is applied to: what changed or is gone.
    pub old: Vec<u32>,
    /// Of the release that comes of it: what has a chunk that the other one has not.
    pub new: Vec<u32>,
}

/// Chooses them: files whose chunks are all there, wherever they lie, need no patch.
pub fn select(old: &Manifest, new: &Manifest) -> Selection {
    let there = chunks(old);
    let mut chosen = Selection::default();
    let mut changed = HashSet::new();
    for (index, entry) in new.entries().enumerate() {
        if ids(new, &entry).any(|id| !there.contains(id)) {
            chosen.new.push(index as u32);
            changed.insert(entry.path);
        }
    }
    for (index, entry) in old.entries().enumerate() {
        if size(&entry) > 0 && (changed.contains(entry.path) || new.find(entry.path).is_none()) {
            chosen.old.push(index as u32);
        }
    }
    chosen
}

/// Sealed bytes of the chunks that `new` has and `old` has not: what is fetched where there is no patch, the manifest excepted.
pub fn missing(old: &Manifest, new: &Manifest) -> u64 {
    let there = chunks(old);
    let mut seen = HashSet::new();
    let missing = new.chunks().iter().filter(|chunk| !there.contains(&chunk.id) && seen.insert(chunk.id));
    missing.map(|chunk| u64::from(chunk.sealed_len)).sum()
}

fn chunks(manifest: &Manifest) -> HashSet<ChunkId> {
    manifest.chunks().iter().map(|chunk| chunk.id).collect()
}

/// What a file consists of, or where a link points: equal for the same bytes, wherever they are packed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Content<'a> {
    File([u8; 32]),
    Link(&'a str),
    Directory,
}

fn content<'a>(manifest: &Manifest, entry: &Entry<'a>) -> Content<'a> {
    match entry.kind {
        EntryKind::Directory => Content::Directory,
        EntryKind::Link { target } => Content::Link(target),
        EntryKind::File { .. } => {
            let mut hasher = blake3::Hasher::new();
            ids(manifest, entry).for_each(|id| {
                hasher.update(&id.0);
            });
            Content::File(*hasher.finalize().as_bytes())
        }
    }
}

/// Names of a file's chunks, in order.
fn ids<'a>(manifest: &'a Manifest, entry: &Entry<'a>) -> impl Iterator<Item = &'a ChunkId> {
    let runs = match entry.kind {
        EntryKind::File { runs, .. } => runs,
        _ => &[],
    };
    runs.iter().flat_map(|run| &manifest.chunks()[run.first as usize..(run.first + run.count) as usize]).map(|chunk| &chunk.id)
}

fn size(entry: &Entry<'_>) -> u64 {
    match entry.kind {
        EntryKind::File { size, .. } => size,
        _ => 0,
    }
}

fn mode(entry: &Entry<'_>) -> bool {
    matches!(entry.kind, EntryKind::File { executable: true, .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_format::content::{ManifestBuilder, ObjectName, Run};

    /// Files of one chunk each, named by one byte; other chunks come first, so that indices differ between manifests.
    fn manifest(before: u8, files: &[(&str, bool, u8)], link: Option<(&str, &str)>) -> Manifest {
        let mut builder = ManifestBuilder::new();
        for other in 0..before {
            builder.chunk(ChunkId([200 + other; 32]), 100, 50).expect("a chunk");
        }
        let mut first = HashMap::new();
        for (_, _, byte) in files {
            first.entry(*byte).or_insert_with(|| builder.chunk(ChunkId([*byte; 32]), 117, 100).expect("a chunk"));
        }
        builder.end_pack(ObjectName([before; 32])).expect("a pack");
        for (path, executable, byte) in files {
            builder.file(path, *executable, &[Run { first: first[byte], count: 1 }]).expect("a file");
        }
        if let Some((path, target)) = link {
            builder.link(path, target).expect("a link");
        }
        builder.finish().expect("a manifest")
    }

    #[test]
    fn every_state_is_told_from_the_others() {
        let old = manifest(0, &[("a", false, 1), ("b", false, 2), ("c", false, 3), ("d", false, 4), ("e", true, 5)], Some(("z", "a")));
        let new = manifest(3, &[("a", false, 1), ("b", false, 9), ("cc", false, 3), ("e", false, 5), ("f", false, 8)], Some(("z", "b")));
        let found: Vec<_> =
            compare(&old, &new).into_iter().map(|file| (file.path, file.state.word(), file.from.unwrap_or_default())).collect();
        let expected = [
            ("a", "SAME", ""),
            ("b", "MODIFIED", ""),
            ("cc", "MOVED", "c"),
            ("e", "MODIFIED", ""),
            ("f", "NEW", ""),
            ("z", "MODIFIED", ""),
            ("d", "DELETED", ""),
        ];
        let expected: Vec<_> = expected.iter().map(|(path, word, from)| ((*path).to_owned(), *word, (*from).to_owned())).collect();
        assert_eq!(found, expected);
        assert_eq!(compare(&old, &old).iter().filter(|file| file.state == State::Same).count(), 6);
        assert!(compare(&Manifest::default(), &new).iter().all(|file| file.state == State::New));
    }

    #[test]
    fn a_file_that_is_copied_twice_has_moved_once() {
        let old = manifest(0, &[("a", false, 1)], None);
        let new = manifest(0, &[("b", false, 1), ("c", false, 1)], None);
        let states: Vec<_> = compare(&old, &new).iter().map(|file| file.state).collect();
        assert_eq!(states, [State::Moved, State::New]);
    }

    #[test]
    fn a_patch_is_made_of_what_chunks_do_not_give() {
        let old = manifest(0, &[("a", false, 1), ("b", false, 2), ("c", false, 3), ("d", false, 4)], None);
        let new = manifest(2, &[("a", false, 1), ("b", false, 9), ("copy", false, 1), ("d", false, 4), ("f", false, 8)], None);
        // `b` changed, `f` is new; `c` is gone and may be like `f`.
        assert_eq!(select(&old, &new), Selection { old: vec![1, 2], new: vec![1, 4] });
        // The two new chunks, and the two that lie in the same pack and belong to no file.
        assert_eq!(missing(&old, &new), 2 * 117 + 2 * 100);
        assert_eq!(missing(&new, &new), 0);
    }
}
