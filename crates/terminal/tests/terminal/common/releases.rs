//! Further releases of a title and patches between them, as a publisher makes them, and plans as an authority does.

use super::*;
use counterfoil_core::wire::{PatchOnOffer, ReleaseOnOffer, Way, WayKind};
use counterfoil_format::content::{Encoder, EntryKind, Manifest, PatchHeader, PatchWriter};

/// The level that test titles are compressed at.
pub const LEVEL: i32 = 1;

/// The next release: the same files with a change, packs of the earlier one used again.
pub fn next_release(earlier: &Content, version: &str, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> Content {
    let mut files = earlier.files.clone();
    change(&mut files);
    let mut next = published(&earlier.release.title, version, earlier.key.clone(), files, &[&manifest_of(earlier)]);
    for (name, bytes) in &earlier.packs {
        next.packs.entry(*name).or_insert_with(|| bytes.clone());
    }
    let manifest = manifest_of(&next);
    next.packs.retain(|name, _| manifest.packs().iter().any(|pack| pack.name == *name));
    next
}

/// A change as updates bring it: a byte here and there, so that whole packs are of no more use, a paragraph more, a file more.
pub fn usual_change(files: &mut BTreeMap<String, Vec<u8>>) {
    let noise = files.get_mut("data/noise.bin").unwrap();
    for at in (0..450_000).step_by(10_000) {
        noise[at] ^= 1;
    }
    let prose = files.get_mut("data/größe.txt").unwrap();
    prose.splice(150_000..150_000, [b"A new paragraph. ".as_slice(), CANARY].concat());
    files.insert("data/news.txt".to_owned(), [CANARY, b" is new"].concat());
}

pub fn manifest_of(content: &Content) -> Manifest {
    let keys = ContentKey::new(content.key.clone()).chunk_keys();
    content.release.open_manifest(&keys, &mut content.manifest.clone()).unwrap()
}

/// The patch from one release to another, sealed: as it is offered, and its bytes.
pub fn patch(old: &Content, new: &Content) -> (PatchOnOffer, Vec<u8>) {
    let (before, after) = (manifest_of(old), manifest_of(new));
    let differs = |path: &str| old.files.get(path) != new.files.get(path);
    let (old_entries, new_entries) = (changed(&before, &differs), changed(&after, &differs));
    let header = PatchHeader {
        from: old.release.manifest.id,
        to: new.release.manifest.id,
        encoder: Encoder::name(),
        level: LEVEL,
        old: old_entries.clone(),
        new: new_entries.clone(),
    };
    let key = ContentKey::new(new.key.clone()).patch_key();
    let mut writer = PatchWriter::new(key, &header, &mut SystemRandom, Vec::new()).unwrap();
    let (old_side, new_side) = (side(old, &before, &old_entries), side(new, &after, &new_entries));
    counterfoil_patch::make(&old_side, &new_side, &counterfoil_patch::Options::default(), &mut writer, &mut |_| {}).unwrap();
    let (bytes, object) = writer.finish().unwrap();
    let (from, to) = (old.title.release.clone(), new.title.release.clone());
    (PatchOnOffer { from, to, object: object.name.to_string(), length: object.length }, bytes)
}

fn changed(manifest: &Manifest, differs: &dyn Fn(&str) -> bool) -> Vec<u32> {
    let is_changed = |index: &usize| {
        let entry = manifest.entry(*index);
        matches!(entry.kind, EntryKind::File { .. }) && differs(entry.path)
    };
    (0..manifest.len()).filter(is_changed).map(|index| index as u32).collect()
}

/// One side of a patch: the manifest, then files.
fn side(content: &Content, manifest: &Manifest, entries: &[u32]) -> Vec<Vec<u8>> {
    let file = |entry: &u32| content.files[manifest.entry(*entry as usize).path].clone();
    std::iter::once(manifest.encode()).chain(entries.iter().map(file)).collect()
}

/// Bytes of the packs that one release has and another has not.
pub fn new_bytes(old: &Content, new: &Content) -> u64 {
    new.packs.iter().filter(|(name, _)| !old.packs.contains_key(name)).map(|(_, bytes)| bytes.len() as u64).sum()
}

impl World {
    /// A release at the contents servers, for whoever has the keys.
    pub fn release(&self, content: &Content) {
        let mut objects = self.authority.contents.objects.lock().unwrap();
        objects.insert(content.release.manifest.object.to_string(), content.manifest.clone());
        objects.extend(content.packs.iter().map(|(name, bytes)| (name.to_string(), bytes.clone())));
        self.authority.state.lock().unwrap().released.push((content.title.clone(), content.token.clone()));
    }

    /// A patch at the contents servers.
    pub fn patch(&self, old: &Content, new: &Content) -> PatchOnOffer {
        let (offer, bytes) = patch(old, new);
        self.authority.contents.objects.lock().unwrap().insert(offer.object.clone(), bytes);
        offer
    }

    /// What whoever has the one release is offered: the other, by these ways.
    pub fn offer(&self, from: &Content, to: &Content, ways: Vec<Way>) {
        let key = (from.title.title.clone(), from.title.release.clone());
        self.authority.state.lock().unwrap().plans.insert(key, (on_offer(to), ways));
    }

    /// Nothing any more.
    pub fn offer_nothing(&self, from: &Content) {
        let key = (from.title.title.clone(), from.title.release.clone());
        self.authority.state.lock().unwrap().plans.remove(&key);
    }
}

fn on_offer(content: &Content) -> ReleaseOnOffer {
    ReleaseOnOffer {
        version: content.title.release.clone(),
        notes: "What is new".into(),
        critical: false,
        size: content.release.size,
        packed: content.packs.values().map(|pack| pack.len() as u64).sum(),
        encoder: Encoder::name_at(LEVEL),
        published_at: NOW,
    }
}

/// Patches, then chunks, then everything.
pub fn ways(old: &Content, new: &Content, patches: Vec<PatchOnOffer>) -> Vec<Way> {
    let write = new_bytes(old, new);
    let all = on_offer(new).packed;
    let way = |kind, fetch, write| Way { kind, patches: vec![], fetch, reuse: all - write, write };
    let chunks = [way(WayKind::Chunks, write, write), way(WayKind::Full, all, all)];
    let kind = if patches.len() > 1 { WayKind::Chain } else { WayKind::Patch };
    let fetch = patches.iter().map(|patch| patch.length).sum();
    let by_patch = (!patches.is_empty()).then(|| Way { patches, ..way(kind, fetch, write) });
    by_patch.into_iter().chain(chunks).collect()
}

pub fn update_once(terminal: &Terminal) -> counterfoil_terminal::Result<Option<update::Brought>> {
    update_as(terminal, &update::UpdateOptions { jobs: NonZeroUsize::new(1), ..Default::default() }, &|_| {})
}

/// Reports, and carries out the plan of the one title there is; none where it is up to date.
pub fn update_as(
    terminal: &Terminal,
    options: &update::UpdateOptions,
    progress: &(dyn Fn(Step) + Sync),
) -> counterfoil_terminal::Result<Option<update::Brought>> {
    let library = Library::open(terminal, Path::new(LIBRARY))?;
    let reported = update::report(terminal, &library, &[title()], options)?;
    match reported.titles[0].plan.to {
        Some(_) => update::bring(terminal, &library, &reported.titles[0], options, progress).map(Some),
        None => Ok(None),
    }
}

/// Reads every file of a release back, and compares.
pub fn plays(content: &Content, terminal: &Terminal) -> std::result::Result<(), String> {
    let opened = open(terminal).map_err(|error| error.to_string())?;
    if opened.listed().release != content.title.release {
        return Err(format!("it is release {}", opened.listed().release));
    }
    for (path, bytes) in &content.files {
        let file = opened.file(path).map_err(|error| error.to_string())?;
        let mut read = Vec::new();
        opened.copy_range(&file, 0..u64::MAX, &mut read).map_err(|error| error.to_string())?;
        if read != *bytes {
            return Err(format!("{path} differs"));
        }
    }
    Ok(())
}
