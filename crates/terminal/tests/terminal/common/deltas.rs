//! Deltas between two releases of a test title, as a publisher makes them, and as nobody should.

use super::releases::{LEVEL, manifest_of};
use super::*;
use counterfoil_core::wire::{PatchOnOffer, Way, WayKind};
use counterfoil_format::content::{DeltaGroup, DeltaIndex, DeltaSealer, Encoder, EntryKind, Manifest, ObjectName, Run};

/// What goes into an object, before it is sealed: to be changed.
pub struct Parts {
    pub index: DeltaIndex,
    /// What the engine wrote for the manifest, then for each group.
    pub pieces: Vec<Vec<u8>>,
}

/// Chunks that are missing in groups of four at most, each against the chunks of the file at its path, or against nothing.
pub fn parts(old: &Content, new: &Content, against_file: bool) -> Parts {
    let (before, after) = (manifest_of(old), manifest_of(new));
    let there: Vec<_> = before.chunks().iter().map(|chunk| chunk.id).collect();
    let mut groups = vec![];
    let mut pieces = vec![delta(&before.encode(), &after.encode())];
    let owner = |at: &u32| after.entries().find(|entry| runs(entry.kind).is_some_and(|runs| indices(runs).any(|index| index == *at)));
    let missing = (0..after.chunks().len() as u32).filter(|at| !there.contains(&after.chunks()[*at as usize].id));
    let missing: Vec<(u32, &str)> = missing.filter_map(|at| Some((at, owner(&at)?.path))).collect();
    for of_file in missing.chunk_by(|one, next| one.1 == next.1) {
        let near =
            before.find(of_file[0].1).filter(|_| against_file).and_then(|at| runs(before.entry(at).kind)).map(joined).unwrap_or_default();
        for group in of_file.chunks(4) {
            let group = joined(&group.iter().map(|(at, _)| Run { first: *at, count: 1 }).collect::<Vec<_>>());
            pieces.push(delta(&text(old, &before, &near), &text(new, &after, &group)));
            groups.push(DeltaGroup { new: group, old: near.clone(), sealed: 0 });
        }
    }
    let (from, to) = (old.release.manifest.id, new.release.manifest.id);
    Parts { index: DeltaIndex { from, to, encoder: Encoder::name(), level: LEVEL, manifest: 0, groups }, pieces }
}

impl Parts {
    /// The object.
    pub fn seal(mut self, new: &Content) -> Vec<u8> {
        let sealer = DeltaSealer::new(ContentKey::new(new.key.clone()).delta_key(), &mut SystemRandom);
        let mut pieces = self.pieces.into_iter();
        let mut sealed = sealer.manifest(pieces.next().unwrap());
        self.index.manifest = sealed.len() as u32;
        for (at, piece) in pieces.enumerate() {
            let piece = sealer.group(at, piece);
            self.index.groups[at].sealed = piece.len() as u32;
            sealed.extend(piece);
        }
        [sealer.front(&self.index).unwrap(), sealed].concat()
    }
}

/// What the engine writes.
pub fn delta(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    counterfoil_patch::make(&vec![old], &vec![new], &counterfoil_patch::Options::default(), &mut out, &mut |_| {}).unwrap();
    out
}

fn runs(kind: EntryKind<'_>) -> Option<&[Run]> {
    match kind {
        EntryKind::File { runs, .. } => Some(runs),
        _ => None,
    }
}

fn indices(runs: &[Run]) -> impl Iterator<Item = u32> {
    runs.iter().flat_map(|run| run.indices())
}

fn joined(runs: &[Run]) -> Vec<Run> {
    let mut indices: Vec<u32> = indices(runs).collect();
    indices.sort_unstable();
    indices.dedup();
    indices.chunk_by(|one, next| one + 1 == *next).map(|run| Run { first: run[0], count: run.len() as u32 }).collect()
}

/// The plaintext of chunks in the order of their indices.
pub fn text(content: &Content, manifest: &Manifest, of: &[Run]) -> Vec<u8> {
    let mut places = BTreeMap::new();
    for entry in manifest.entries() {
        let mut at = 0;
        for index in indices(runs(entry.kind).unwrap_or_default()) {
            let length = manifest.chunks()[index as usize].plain_len as usize;
            places.insert(index, &content.files[entry.path][at..at + length]);
            at += length;
        }
    }
    indices(&joined(of)).flat_map(|index| places[&index].to_vec()).collect()
}

impl World {
    /// An object of deltas at the contents servers, as it is offered.
    pub fn deltas(&self, old: &Content, new: &Content, bytes: Vec<u8>) -> PatchOnOffer {
        let object = ObjectName::of(&bytes).to_string();
        let length = bytes.len() as u64;
        self.authority.contents.objects.lock().unwrap().insert(object.clone(), bytes);
        PatchOnOffer { from: old.title.release.clone(), to: new.title.release.clone(), object, length }
    }

    /// Deltas, then chunks, then everything.
    pub fn ways_by_deltas(&self, old: &Content, new: &Content, offer: PatchOnOffer) -> Vec<Way> {
        let mut ways = releases::ways(old, new, vec![offer]);
        ways[0].kind = WayKind::Deltas;
        ways
    }
}
