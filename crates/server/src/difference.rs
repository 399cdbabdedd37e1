//! What one release has that another one has not, by their manifests (A5): kept in memory, because a fleet asks for the same ones again.
//!
//! A manifest is opened once with the content key; what stays of it are hashes and lengths, no path and no key. Nothing grows stale: an
//! object never changes.

use std::collections::HashSet;
use std::sync::Arc;

use counterfoil_core::TitleId;
use counterfoil_core::rules::plan::Difference;
use counterfoil_format::content::{ContentKey, Manifest, ObjectName, Release};
use counterfoil_format::secret::Secret;
use futures_util::StreamExt as _;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::blobs::BlobError;
use crate::db::Tx;
use crate::keys::Place;
use crate::problem::Problem;
use crate::store::content_key;

/// Bytes of outlines that are kept: some fifty releases of 10⁵ chunks.
const OUTLINES: u64 = 128 << 20;
/// Differences that are kept, of some 200 bytes each.
const FOUND: usize = 100_000;
/// Manifests that are opened at once: each takes a processor and some tens of MiB.
const AT_ONCE: usize = 2;

/// The differences that were asked for lately.
pub struct Differences {
    outlines: Cache<ObjectName, Arc<Outline>, ByBytes>,
    found: Cache<(ObjectName, ObjectName), Difference>,
    opening: Semaphore,
}

impl Default for Differences {
    fn default() -> Self {
        let outlines = Cache::with_weighter(64, OUTLINES, ByBytes);
        Self { outlines, found: Cache::new(FOUND), opening: Semaphore::new(AT_ONCE) }
    }
}

/// A release, for the manifest that it names.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// Of which title.
    pub title: &'a TitleId,
    /// As the publisher signed it.
    pub release: &'a Release,
}

impl Differences {
    /// What `to` has that `from` has not; nothing where they are sealed under different keys, or one does not open.
    ///
    /// # Errors
    /// The contents store does not answer; a failure of the database.
    pub async fn between(&self, app: &App, from: Of<'_>, to: Of<'_>) -> Result<Option<Difference>, Problem> {
        let names = (from.release.manifest.object, to.release.manifest.object);
        if let Some(found) = self.found.get(&names) {
            return Ok(Some(found));
        }
        let Some((from, to)) = self.both(app, from, to).await? else { return Ok(None) };
        let found = to.without(&from, &HashSet::new());
        self.found.insert(names, found);
        Ok(Some(found))
    }

    /// The same where chunks of `from` are damaged, named by ranges of indices; with the sealed bytes of those.
    ///
    /// # Errors
    /// As for [`Self::between`].
    pub async fn between_damaged(
        &self,
        app: &App,
        from: Of<'_>,
        to: Of<'_>,
        damaged: &[(u32, u32)],
    ) -> Result<Option<(Difference, u64)>, Problem> {
        let Some((from, to)) = self.both(app, from, to).await? else { return Ok(None) };
        let damaged = from.indices(damaged);
        Ok(Some((to.without(&from, &damaged), from.bytes_of(&damaged))))
    }

    /// What `to` has in whole packs that `from` has not: for media, whose packs nobody can cut without the keys.
    ///
    /// # Errors
    /// As for [`Self::between`].
    pub async fn of_packs(&self, app: &App, from: Of<'_>, to: Of<'_>) -> Result<Option<Difference>, Problem> {
        let Some((from, to)) = self.both(app, from, to).await? else { return Ok(None) };
        let known: HashSet<ObjectName> = from.packs.iter().map(|pack| pack.name).collect();
        let missing = to.packs.iter().filter(|pack| !known.contains(&pack.name)).map(|pack| pack.length).sum();
        Ok(Some(Difference { chunks: missing, write: missing }))
    }

    async fn both(&self, app: &App, from: Of<'_>, to: Of<'_>) -> Result<Option<(Arc<Outline>, Arc<Outline>)>, Problem> {
        if from.release.generation != to.release.generation {
            return Ok(None);
        }
        let (Some(from), Some(to)) = (self.outline(app, from).await?, self.outline(app, to).await?) else { return Ok(None) };
        Ok(Some((from, to)))
    }

    async fn outline(&self, app: &App, of: Of<'_>) -> Result<Option<Arc<Outline>>, Problem> {
        let name = of.release.manifest.object;
        if let Some(known) = self.outlines.get(&name) {
            return Ok(Some(known));
        }
        let _turn = self.opening.acquire().await.map_err(Problem::internal)?;
        // Somebody else may have opened it meanwhile.
        if let Some(known) = self.outlines.get(&name) {
            return Ok(Some(known));
        }
        let Some(outline) = open(app, of).await? else { return Ok(None) };
        let outline = Arc::new(outline);
        self.outlines.insert(name, Arc::clone(&outline));
        Ok(Some(outline))
    }
}

/// Fetches and opens a manifest; nothing where it is not one. Updates go on without: the whole release is always a way.
async fn open(app: &App, of: Of<'_>) -> Result<Option<Outline>, Problem> {
    let Some(mut sealed) = fetch(app, of.release).await? else { return Ok(None) };
    let (title, generation) = (of.title.clone(), of.release.generation);
    let wrapped = app.db.read("content key of a manifest", async move |tx: &mut Tx| content_key::get(tx, &title, generation).await).await?;
    let Some(wrapped) = wrapped else { return Ok(None) };
    let place = Place::ContentKey { title: of.title.as_str(), generation };
    let key: Secret<32> = app.keys.open(&app.db, &place, &wrapped).await?;
    let release = of.release.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let manifest = release.open_manifest(&ContentKey::new(key).chunk_keys(), &mut sealed)?;
        Ok::<_, counterfoil_format::content::ReleaseError>(Outline::of(&manifest))
    });
    match opened.await.map_err(Problem::internal)? {
        Ok(outline) => Ok(Some(outline)),
        Err(error) => {
            tracing::warn!(%error, title = %of.title, version = of.release.version, "a manifest does not open: no differences to this release");
            Ok(None)
        }
    }
}

async fn fetch(app: &App, release: &Release) -> Result<Option<Vec<u8>>, Problem> {
    let reference = &release.manifest;
    // The length was checked against the store's when the release was published.
    let Some(mut stream) = app.blobs.read(reference.object, 0..reference.length).await? else {
        tracing::warn!(object = %reference.object, "a manifest is not in the contents store");
        return Ok(None);
    };
    let mut sealed = vec![];
    while let Some(piece) = stream.next().await {
        sealed.extend_from_slice(&piece.map_err(|error: BlobError| Problem::from(error))?);
    }
    Ok(Some(sealed))
}

/// What stays of a manifest.
struct Outline {
    packs: Vec<Pack>,
    /// In the order of the manifest.
    chunks: Vec<Chunk>,
    /// Indices of `chunks`, in the order of their names.
    by_name: Vec<u32>,
}

struct Pack {
    name: ObjectName,
    length: u64,
}

struct Chunk {
    /// The first half of its name: a keyed hash, so that two that agree in it are the same.
    name: [u64; 2],
    length: u32,
    pack: u32,
}

impl Outline {
    fn of(manifest: &Manifest) -> Self {
        let half = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes of a name"));
        let chunks: Vec<Chunk> = manifest
            .chunks()
            .iter()
            .map(|chunk| Chunk { name: [half(&chunk.id.0[..8]), half(&chunk.id.0[8..16])], length: chunk.sealed_len, pack: chunk.pack })
            .collect();
        let mut by_name: Vec<u32> = (0..).take(chunks.len()).collect();
        by_name.sort_unstable_by_key(|index| chunks[*index as usize].name);
        Self { packs: manifest.packs().iter().map(|pack| Pack { name: pack.name, length: pack.length }).collect(), chunks, by_name }
    }

    /// What is here and not in `other`, where what is damaged does not count.
    fn without(&self, other: &Self, damaged: &HashSet<u32>) -> Difference {
        let names = |of: &'_ Self, index: u32| of.chunks[index as usize].name;
        let mut theirs = other.by_name.iter().filter(|index| !damaged.contains(*index)).map(|index| names(other, *index)).peekable();
        let (mut chunks, mut last) = (0, None);
        for chunk in self.by_name.iter().map(|index| &self.chunks[*index as usize]) {
            // One that a release has twice is fetched once.
            if last.replace(chunk.name) == Some(chunk.name) {
                continue;
            }
            while theirs.next_if(|name| *name < chunk.name).is_some() {}
            if theirs.peek() != Some(&chunk.name) {
                chunks += u64::from(chunk.length);
            }
        }
        let known: HashSet<ObjectName> = other.packs.iter().map(|pack| pack.name).collect();
        let (here, new): (Vec<&Pack>, Vec<&Pack>) = self.packs.iter().partition(|pack| known.contains(&pack.name));
        let kept: HashSet<ObjectName> = here.into_iter().map(|pack| pack.name).collect();
        let mended = damaged.iter().map(|index| &other.chunks[*index as usize]);
        let mended: u64 =
            mended.filter(|chunk| kept.contains(&other.packs[chunk.pack as usize].name)).map(|chunk| u64::from(chunk.length)).sum();
        Difference { chunks, write: new.into_iter().map(|pack| pack.length).sum::<u64>() + mended }
    }

    /// Those of the indices named that there are.
    fn indices(&self, ranges: &[(u32, u32)]) -> HashSet<u32> {
        let most = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let mut found = HashSet::new();
        for (first, count) in ranges {
            found.extend((*first).min(most)..first.saturating_add(*count).min(most));
            if found.len() == self.chunks.len() {
                break;
            }
        }
        found
    }

    fn bytes_of(&self, indices: &HashSet<u32>) -> u64 {
        indices.iter().map(|index| u64::from(self.chunks[*index as usize].length)).sum()
    }
}

/// Outlines count by what they take.
#[derive(Clone)]
struct ByBytes;

impl Weighter<ObjectName, Arc<Outline>> for ByBytes {
    fn weight(&self, _: &ObjectName, outline: &Arc<Outline>) -> u64 {
        (200 + outline.packs.len() * size_of::<Pack>() + outline.chunks.len() * (size_of::<Chunk>() + size_of::<u32>())) as u64
    }
}
