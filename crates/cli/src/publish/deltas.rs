//! Makes deltas: what an earlier release lacks of a later one, in groups of chunks, each written against the chunks that it is most like.
//!
//! Cheaper than a patch to make, in memory that depends on no file's length, and taken group by group: for devices that have only part of
//! either release, and for releases from which no patch is made any more.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterfoil_format::content::{
    ChunkId, DELTA_HEAD, DELTA_NEW, DeltaFront, DeltaGroup, DeltaIndex, DeltaSealer, Encoder, EntryKind, Manifest, ObjectName,
    PackedObject, ReadAt as _, Reader, Run, delta_front_length,
};
use counterfoil_format::secret::SystemRandom;
use counterfoil_patch::{Limits, Sink};

use super::compare;
use super::earlier::PackCache;
use super::neighbours::Neighbours;
use super::patches::{End, Workshop, named};
use crate::failure::Failure;
use crate::files;
use crate::progress::Progress;

/// What was made: the object, and sealed bytes of the chunks that it gives.
pub struct Deltas {
    pub object: PackedObject,
    pub covered: u64,
}

impl Workshop<'_> {
    /// The deltas from one release to another at `path`; or why there are none.
    pub fn deltas(
        &self,
        path: &Path,
        from: &End<'_>,
        to: &End<'_>,
        level: i32,
        cache: &PackCache,
    ) -> Result<Result<Deltas, String>, Failure> {
        if path.is_file() {
            return self.staged(path, to).map(Ok).map_err(|error| Failure::file("read", path, &error));
        }
        let chosen = compare::select(from.manifest, to.manifest);
        let (old, new) = (self.plain(from, &chosen.old, cache)?, self.plain(to, &chosen.new, cache)?);
        let failed = |error: io::Error| Failure::file("make", path, &error);
        let progress = Progress::new(&self.context.output, "compared");
        let making = Making { workshop: self, old: &old, new: &new, level, progress: &progress };
        let made = making.write(path, from, to, &chosen.old).map_err(failed)?;
        progress.finish();
        Ok(made)
    }

    /// Those that an interrupted run has made.
    fn staged(&self, path: &Path, to: &End<'_>) -> io::Result<Deltas> {
        let object = named(path)?;
        let (file, key, mut head) = (File::open(path)?, || self.key.delta_key(), [0; DELTA_HEAD]);
        file.read_exact_at(&mut head, 0)?;
        let length = delta_front_length(&key(), &head, object.length).map_err(io::Error::other)?;
        let mut front = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut front, 0)?;
        let front = DeltaFront::open(key(), &front, object.length).map_err(io::Error::other)?;
        let given = front.index().groups.iter().flat_map(|group| indices(&group.new));
        let covered = given.filter_map(|index| to.manifest.chunks().get(index as usize)).map(|chunk| u64::from(chunk.sealed_len)).sum();
        Ok(Deltas { object, covered })
    }

    fn plain<'a>(&self, end: &End<'a>, entries: &[u32], cache: &PackCache) -> Result<Plain<'a>, Failure> {
        if !end.in_packs {
            return Ok(Plain::of_directory(end.manifest, self.root));
        }
        cache.fetch(self.context, self.api, end.manifest, entries)?;
        Ok(Plain { manifest: end.manifest, source: Source::Packs(Box::new(cache.reader(end.manifest, self.key))) })
    }
}

/// The chunks of a release, in plain.
struct Plain<'a> {
    manifest: &'a Arc<Manifest>,
    source: Source,
}

enum Source {
    /// Files as they lie here: of each chunk, which file it is in, and where.
    Directory { root: PathBuf, places: HashMap<u32, (usize, u64)> },
    /// Packs that were fetched.
    Packs(Box<Reader>),
}

impl<'a> Plain<'a> {
    fn of_directory(manifest: &'a Arc<Manifest>, root: &Path) -> Self {
        let mut places = HashMap::new();
        for (entry, found) in manifest.entries().enumerate() {
            let EntryKind::File { runs, .. } = found.kind else { continue };
            let mut offset = 0;
            for index in indices(runs) {
                places.entry(index).or_insert((entry, offset));
                offset += u64::from(manifest.chunks()[index as usize].plain_len);
            }
        }
        Self { manifest, source: Source::Directory { root: root.to_owned(), places } }
    }

    /// Whether a chunk can be read: one of a pack that is used again may belong to no file any more.
    fn has(&self, index: u32) -> bool {
        match &self.source {
            Source::Directory { places, .. } => places.contains_key(&index),
            Source::Packs(_) => true,
        }
    }

    fn read(&self, index: u32, out: &mut Vec<u8>) -> io::Result<()> {
        match &self.source {
            Source::Packs(reader) => reader.read_chunk(index, out),
            Source::Directory { root, places } => {
                let (entry, offset) = places.get(&index).ok_or(io::ErrorKind::NotFound)?;
                let begin = out.len();
                out.resize(begin + self.manifest.chunks()[index as usize].plain_len as usize, 0);
                File::open(root.join(self.manifest.entry(*entry).path))?.read_exact_at(&mut out[begin..], *offset)
            }
        }
    }

    fn text(&self, indices: &[u32]) -> io::Result<Vec<u8>> {
        let mut text = vec![];
        indices.iter().try_for_each(|index| self.read(*index, &mut text))?;
        Ok(text)
    }
}

/// Deltas on their way.
struct Making<'a> {
    workshop: &'a Workshop<'a>,
    old: &'a Plain<'a>,
    new: &'a Plain<'a>,
    level: i32,
    progress: &'a Progress,
}

/// A group that is worth it, not sealed yet.
struct Group {
    new: Vec<u32>,
    old: Vec<u32>,
    delta: Vec<u8>,
}

impl Making<'_> {
    /// Writes the object to `path`. What saves hardly anything is not worth the work of taking it.
    fn write(&self, path: &Path, from: &End<'_>, to: &End<'_>, old_entries: &[u32]) -> io::Result<Result<Deltas, String>> {
        let sealer = DeltaSealer::new(self.workshop.key.delta_key(), &mut SystemRandom);
        let manifest = sealer.manifest(make(&self.old.manifest.encode(), &self.new.manifest.encode())?);
        let mut index = DeltaIndex {
            from: from.reference.id,
            to: to.reference.id,
            encoder: Encoder::name(),
            level: self.level,
            manifest: u32::try_from(manifest.len()).map_err(io::Error::other)?,
            groups: vec![],
        };
        // The index comes before what it is of: that waits in a file, sealed.
        let (waiting, partial) = (path.with_extension("pieces"), path.with_extension("partial"));
        let mut pieces = File::options().read(true).write(true).create(true).truncate(true).open(&waiting)?;
        let mut covered = 0;
        self.groups(old_entries, &mut |group| {
            let sealed = sealer.group(index.groups.len(), group.delta);
            pieces.write_all(&sealed)?;
            covered += self.sealed(&group.new);
            let sealed = u32::try_from(sealed.len()).map_err(io::Error::other)?;
            index.groups.push(DeltaGroup { new: runs(&group.new), old: runs(&group.old), sealed });
            Ok(())
        })?;
        index.check(self.old.manifest, self.new.manifest).map_err(io::Error::other)?;
        pieces.rewind()?;
        let mut target = Hashing { file: BufWriter::new(File::create(&partial)?), hasher: blake3::Hasher::new(), length: 0 };
        target.write_all(&sealer.front(&index).map_err(io::Error::other)?)?;
        target.write_all(&manifest)?;
        io::copy(&mut pieces, &mut target)?;
        let object = target.finish()?;
        fs::remove_file(&waiting)?;
        if object.length >= covered + to.reference.length - (covered + to.reference.length) / 64 {
            fs::remove_file(&partial)?;
            return Ok(Err("they would not be smaller than chunks".to_owned()));
        }
        fs::rename(&partial, path).and_then(|()| files::sync_directory(path))?;
        Ok(Ok(Deltas { object, covered }))
    }

    /// Makes group by group, as many at once as there are processors, and gives those on that are smaller than their chunks.
    fn groups(&self, old_entries: &[u32], give: &mut dyn FnMut(Group) -> io::Result<()>) -> io::Result<()> {
        let there: HashSet<ChunkId> = self.old.manifest.chunks().iter().map(|chunk| chunk.id).collect();
        let chunks = self.new.manifest.chunks();
        let is_missing = |index: &u32| !there.contains(&chunks[*index as usize].id) && self.new.has(*index);
        let missing: Vec<u32> = (0..chunks.len() as u32).filter(is_missing).collect();
        self.progress.of(missing.iter().map(|index| u64::from(chunks[*index as usize].plain_len)).sum());
        let neighbours =
            Neighbours::of(self.old.manifest, &chunks_of(self.old.manifest, old_entries), |index, out| self.old.read(index, out))?;
        let groups = cut(&missing, self.new.manifest);
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        for some in groups.chunks(at_once) {
            let made: Vec<io::Result<Option<Group>>> = std::thread::scope(|scope| {
                let begun: Vec<_> = some.iter().map(|group| scope.spawn(|| self.group(group, &neighbours))).collect();
                let ended = begun.into_iter().map(|thread| thread.join());
                ended.map(|made| made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
            });
            for group in made {
                group?.map(&mut *give).transpose()?;
            }
        }
        Ok(())
    }

    fn group(&self, group: &[u32], neighbours: &Neighbours<'_>) -> io::Result<Option<Group>> {
        let text = self.new.text(group)?;
        let old = neighbours.choose(&text);
        let near = self.old.text(&old)?;
        let delta = make(&near, &text)?;
        self.progress.add(text.len() as u64);
        // As a device takes it; the text itself is what the manifest was made of.
        if apply(&near, &delta, text.len() as u64).as_ref() != Some(&text) {
            return Ok(None);
        }
        let sealed = self.sealed(group);
        let is_worth_it = (delta.len() as u64) < sealed - sealed / 64;
        Ok(is_worth_it.then(|| Group { new: group.to_vec(), old, delta }))
    }

    fn sealed(&self, indices: &[u32]) -> u64 {
        indices.iter().map(|index| u64::from(self.new.manifest.chunks()[*index as usize].sealed_len)).sum()
    }
}

/// Chunks in groups, each of as much plaintext as one may have.
fn cut<'a>(chunks: &'a [u32], manifest: &Manifest) -> Vec<&'a [u32]> {
    let (mut groups, mut rest) = (vec![], chunks);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |index: &&u32| {
            bytes += u64::from(manifest.chunks()[**index as usize].plain_len);
            bytes <= DELTA_NEW
        };
        let (group, after) = rest.split_at(rest.iter().take_while(fits).count());
        groups.push(group);
        rest = after;
    }
    groups
}

/// Chunks of files, rising, each once.
fn chunks_of(manifest: &Manifest, entries: &[u32]) -> Vec<u32> {
    let mut found: Vec<u32> = vec![];
    for entry in entries {
        if let EntryKind::File { runs, .. } = manifest.entry(*entry as usize).kind {
            found.extend(indices(runs));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn indices(runs: &[Run]) -> impl Iterator<Item = u32> {
    runs.iter().flat_map(|run| run.indices())
}

fn runs(indices: &[u32]) -> Vec<Run> {
    indices.chunk_by(|one, next| one + 1 == *next).map(|run| Run { first: run[0], count: run.len() as u32 }).collect()
}

fn make(old: &[u8], new: &[u8]) -> io::Result<Vec<u8>> {
    let mut delta = vec![];
    let made = counterfoil_patch::make(&vec![old], &vec![new], &counterfoil_patch::Options::default(), &mut delta, &mut |_| {});
    made.map(|_| delta).map_err(io::Error::other)
}

fn apply(old: &[u8], delta: &[u8], length: u64) -> Option<Vec<u8>> {
    let mut text = Made(vec![]);
    let limits = Limits { files: 1, bytes: length };
    counterfoil_patch::apply(&vec![old], &delta, &limits, &mut text, &mut |_| {}).ok().map(|()| text.0)
}

struct Made(Vec<u8>);

impl Sink for Made {
    fn begin(&mut self, _: usize, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// A file that is named by what is written to it.
struct Hashing {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    length: u64,
}

impl Hashing {
    fn finish(self) -> io::Result<PackedObject> {
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(PackedObject { name: ObjectName(*self.hasher.finalize().as_bytes()), length: self.length })
    }
}

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
