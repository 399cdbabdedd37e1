//! Brings one copy from the release that it holds to another, by the ways that a plan names, cheapest first.
//!
//! ```text
//! pin ─▶ way ─▶ … ─▶ way          each fills what is missing; what an earlier one has written stays
//!         └▶ all packs complete ─▶ damage healed ─▶ pointer ─▶ sweep ─▶ pin gone
//! ```
//!
//! What is played is the old release until the pointer is replaced, and the new one from then on. Cut off anywhere, the next attempt finds
//! the pin and goes on.

use super::UpdateError;
use super::base::Base;
use super::counted::Counted;
use super::heal::heal;
use super::prepared::{Prepared, Take};
use super::{deltas, patch};
use crate::copy::CopyError;
use crate::error::{Error, Result};
use crate::fill::packs::Work;
use crate::fill::{self, Progress, Step, check_space};
use crate::io::{IoFailure, remove_all};
use crate::library::{Copy, KnownDamage, Library, Listed, Pointer, Record};
use crate::source::Source;
use crate::terminal::Terminal;
use crate::transport::{Transport, TransportError};
use counterfoil_core::wire::{PatchOnOffer, TitleOnMedium, Way, WayKind};
use counterfoil_core::{ReleaseVersion, Timestamp};
use counterfoil_format::content::{ChunkKeys, ContentKey, LibraryKey, Manifest, Release};
use counterfoil_format::encoding::to_base64url;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::num::NonZeroUsize;

/// Name of the pin, below the directory of a copy.
const PIN: &str = "update/pin.json";

/// The release that an update goes to, from its first byte until all of it is done: a newer one that appears meanwhile waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    pub release: ReleaseVersion,
    pub since: Timestamp,
    /// Whether the user has named it.
    pub asked_for: bool,
}

/// Which release an update of a copy goes to, where one is under way.
pub(crate) fn pinned(copy: &Copy) -> Result<Option<Pin>> {
    copy.read(PIN)
}

/// The keys to a release, verified: held in memory for as long as the update takes.
pub(crate) struct Keys {
    pub title: TitleOnMedium,
    /// The release document, verified.
    pub token: String,
    pub release: Release,
    pub content_key: ContentKey,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// From which release.
    pub from: ReleaseVersion,
    /// To which.
    pub to: ReleaseVersion,
    /// By which way in the end.
    pub way: WayKind,
    /// Bytes fetched.
    pub fetched: u64,
    /// Sealed bytes of the new release that were in the library already.
    pub reused: u64,
    /// Sealed bytes written.
    pub written: u64,
    /// Bytes that were freed, because no release needs them any more.
    pub freed: u64,
    /// Whether an earlier attempt was gone on with.
    pub resumed: bool,
}

/// An update of one copy.
pub(crate) struct Bringing<'a> {
    pub terminal: &'a Terminal,
    pub library: &'a Library,
    pub copy: &'a Copy,
    /// What is played.
    pub record: Record,
    pub library_key: &'a LibraryKey,
    /// Asks for the keys to releases on the way.
    pub ask: &'a dyn Fn(&ReleaseVersion) -> Result<Keys>,
    /// Chunks and manifests come from here, and patches from there.
    pub source: &'a dyn Source,
    pub patches: Option<&'a dyn Transport>,
    pub jobs: Option<NonZeroUsize>,
    /// Whether the user has named the release.
    pub asked_for: bool,
    /// Whether the release that is played now is kept to go back to.
    pub keep: bool,
    pub progress: &'a (dyn Fn(Step) + Sync),
}

impl Bringing<'_> {
    /// Does it.
    pub fn run(&self, target: &Keys, ways: &[Way]) -> Result<Brought> {
        let held = &self.record.listed.release;
        let to = &target.title.release;
        self.copy.move_over(&self.record)?;
        let resumed = pinned(self.copy)?.is_some_and(|pin| pin.release == *to);
        if !resumed {
            let since = self.terminal.clock().now();
            self.copy.write(PIN, &Pin { release: to.clone(), since, asked_for: self.asked_for })?;
        }
        let base = Base::open(self.copy, self.record.clone(), self.library_key).ok();
        let counted = Counted { source: self.source, bytes: 0.into() };
        let (way, done) = self.by_some_way(target, ways, base.as_ref(), &counted)?;
        let freed = if held == to { 0 } else { self.switch(to)? };
        self.copy.forget(super::report::OFFER)?;
        remove_all(&*self.copy.io, &self.copy.directory.join("update"))?;
        let (from, to) = (held.clone(), to.clone());
        let fetched = counted.so_far();
        Ok(Brought { from, to, way, fetched, reused: done.total.saturating_sub(done.written), written: done.written, freed, resumed })
    }

    /// Finishes what an update that was cut off after its release was current has left to do.
    pub fn finish(copy: &Copy, library_key: &LibraryKey) -> Result<u64> {
        let Some(pointer) = copy.pointer()? else { return Ok(0) };
        let kept: Vec<ReleaseVersion> = [Some(pointer.release), pointer.previous].into_iter().flatten().collect();
        let freed = copy.sweep(&kept, library_key)?;
        remove_all(&*copy.io, &copy.directory.join("update"))?;
        Ok(freed)
    }

    fn by_some_way(&self, target: &Keys, ways: &[Way], base: Option<&Base<'_>>, source: &Counted<'_>) -> Result<(WayKind, Progress)> {
        let to = &target.title.release;
        let mut last: Option<Error> = None;
        for way in ways {
            (self.progress)(Step::Way { kind: way.kind, fetch: way.fetch, write: way.write });
            match self.by(way, target, base, source) {
                Ok(done) => return Ok((way.kind, done)),
                Err(error) if is_the_ways_own(&error) => {
                    (self.progress)(Step::GivenUp { kind: way.kind, reason: error.to_string() });
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let last =
            last.unwrap_or_else(|| crate::exchange::refused(counterfoil_core::Code::ReleaseUnknown, "the authority knows no way to it"));
        Err(UpdateError::NoWay { title: target.title.title.clone(), release: to.clone(), last: Box::new(last) }.into())
    }

    fn by(&self, way: &Way, target: &Keys, base: Option<&Base<'_>>, source: &Counted<'_>) -> Result<Progress> {
        if !self.copy.releases()?.contains(&target.title.release) {
            // Nothing of it is here yet: what the plan says is all that is known.
            let kept = way.patches.iter().filter(|_| way.kind != WayKind::Deltas).map(|patch| patch.length);
            self.make_room(way.write + kept.sum::<u64>())?;
        }
        let known = self.copy.known_damage()?.filter(|damage| damage.release == self.record.listed.release);
        if self.record.listed.release == target.title.release {
            return self.heal_in_place(target, known.as_ref(), source);
        }
        let Some(base) = base else { return self.reach(None, target, None, source) };
        if let (WayKind::HealAndPatch, Some(known)) = (way.kind, &known) {
            self.heal(&base.manifest, &known.indices(&base.manifest), target, source)?;
            self.copy.note_damage(&KnownDamage::of(known.release.clone(), []))?;
        }
        let done = match way.kind {
            WayKind::Heal => return Err(UpdateError::NotHealed { title: target.title.title.clone(), count: 0 }.into()),
            WayKind::Patch | WayKind::Chain | WayKind::HealAndPatch => self.along(&way.patches, base, target, source)?,
            WayKind::Deltas => {
                let offered = way.patches.first().map(|offer| (offer, deltas::take as Take));
                self.reach(Some(base), target, offered, source)?
            }
            WayKind::Chunks | WayKind::Full => self.reach(Some(base), target, None, source)?,
        };
        if let Some(known) = self.copy.known_damage()?.filter(|damage| damage.release == self.record.listed.release) {
            self.heal_shared(base, &known, target, source)?;
        }
        Ok(done)
    }

    /// Patch after patch, each to a release of its own that is complete before the next one begins.
    fn along(&self, patches: &[PatchOnOffer], base: &Base<'_>, target: &Keys, source: &Counted<'_>) -> Result<Progress> {
        let Some((last, before)) = patches.split_last() else { return self.reach(Some(base), target, None, source) };
        let mut reached: Option<Base<'_>> = None;
        for patch in before {
            let keys = (self.ask)(&patch.to)?;
            self.reach(Some(reached.as_ref().unwrap_or(base)), &keys, Some((patch, patch::take)), source)?;
            reached = Some(Base::open(self.copy, self.copy.record_of(&patch.to)?, self.library_key)?);
        }
        self.reach(Some(reached.as_ref().unwrap_or(base)), target, Some((last, patch::take)), source)
    }

    /// Makes a release complete beside the one that is played: by what was prepared as far as that goes, and all else from the base or the source.
    fn reach(
        &self,
        base: Option<&Base<'_>>,
        target: &Keys,
        prepared: Option<(&PatchOnOffer, Take)>,
        source: &Counted<'_>,
    ) -> Result<Progress> {
        let from = target.content_key.chunk_keys();
        let to = self.library_key.chunk_keys(from.id_key());
        let (release, version) = (&target.release, &target.release.version);
        let patched = Cell::new(0);
        // All bytes of its packs, and those that were here when it began.
        let shape = Cell::new(None);
        let begin = |manifest: &Manifest| {
            if shape.get().is_none() {
                let total = manifest.packed_size();
                shape.set(Some((total, total.saturating_sub(self.begin(target, manifest, &to)?))));
            }
            Ok(())
        };
        // Cut off when it was complete already: nothing that was prepared has more to give.
        let whole = match self.copy.manifest(release, &to) {
            Ok(manifest) => self.copy.has_all(&manifest)?,
            Err(_) => false,
        };
        if let (Some(base), Some((offer, take)), false) = (base, prepared, whole) {
            let unusable = |reason: &str| UpdateError::Patch { object: offer.object.clone(), reason: reason.into() };
            let transport = self.patches.ok_or_else(|| unusable("no network"))?;
            // It names a file here, too.
            let object = offer.object.parse().map_err(|_| unusable("no object has such a name"))?;
            let tell = |fetched, written| {
                source.add(fetched);
                patched.set(patched.get() + written);
                let ((total, reused), written) = (shape.get().unwrap_or_default(), patched.get());
                let done = reused + written;
                (self.progress)(Step::Bytes(Progress { total, done, reused, written, fetched: source.so_far(), taken: 0 }));
            };
            let (content_key, copy, keys) = (&target.content_key, self.copy, &to);
            take(&Prepared { copy, offer, object, transport, content_key, base, release, keys, begin: &begin, tell: &tell })?;
        }
        let (manifest, fetched) = fill::manifest(self.copy, release, source, &from, &to)?;
        begin(&manifest)?;
        if let Some(sealed) = fetched {
            self.copy.store_manifest(version, &sealed)?;
        }
        let donor = base.map(Base::donor).transpose()?;
        let work = Work { copy: self.copy, source, donor: donor.as_ref(), manifest: &manifest, from: &from, to: &to };
        let (before, progress) = (patched.get(), self.progress);
        let tell = |at: Progress| {
            let written = at.written + before;
            progress(Step::Bytes(Progress { fetched: source.so_far(), written, ..at }));
        };
        let done = work.run(&work.found()?, self.jobs, &tell)?;
        let directory = self.copy.release_dir(version);
        self.copy.io.sync_dir(&directory).map_err(IoFailure::at("write", &directory))?;
        Ok(Progress { written: done.written + patched.get(), fetched: source.so_far(), ..done })
    }

    /// Looks whether there is room, and writes down what is coming, before the first chunk of it. Returns the bytes that are missing.
    fn begin(&self, target: &Keys, manifest: &Manifest, to: &ChunkKeys) -> Result<u64> {
        let work = Work { copy: self.copy, source: self.source, donor: None, manifest, from: to, to };
        let missing = work.found()?.missing;
        self.make_room(missing + target.release.manifest.length)?;
        let old = &self.record.listed;
        let listed = Listed {
            name: target.title.name.clone(),
            kind: target.title.kind,
            release: target.title.release.clone(),
            size: target.release.size,
            packed: manifest.packed_size() + target.release.manifest.length,
            files: target.release.files,
            entry: target.release.entry.clone(),
            copied_at: self.terminal.clock().now(),
            ..old.clone()
        };
        let id_key = to_base64url(&self.library_key.wrap_id_key(to.id_key()));
        self.copy.begin_release(&Record::new(listed, target.title.publisher.clone(), id_key), &target.token)?;
        Ok(missing)
    }

    /// Room for what is new comes before room for going back.
    fn make_room(&self, needed: u64) -> Result<()> {
        match check_space(self.terminal, self.library.path(), needed) {
            Err(Error::Copy(CopyError::Space { .. })) => {
                self.forget_previous()?;
                check_space(self.terminal, self.library.path(), needed)
            }
            other => other,
        }
    }

    fn forget_previous(&self) -> Result<()> {
        let Some(pointer) = self.copy.pointer()?.filter(|pointer| pointer.previous.is_some()) else { return Ok(()) };
        let previous = pointer.previous.clone();
        self.copy.point(&Pointer { previous: None, ..pointer.clone() })?;
        // What is begun and has no manifest yet has no packs either.
        let whole = |version: &ReleaseVersion| *version == pointer.release || self.copy.stored(version, self.library_key).is_ok();
        let kept = self.copy.releases()?.into_iter().filter(|version| Some(version) != previous.as_ref() && whole(version));
        self.copy.sweep(&kept.collect::<Vec<_>>(), self.library_key)?;
        Ok(())
    }

    /// The moment in which it counts; then what nobody needs goes.
    fn switch(&self, to: &ReleaseVersion) -> Result<u64> {
        let previous = self.keep.then(|| self.record.listed.release.clone());
        self.copy.point(&Pointer { release: to.clone(), previous: previous.clone() })?;
        self.copy.forget("damaged.json")?;
        let kept: Vec<ReleaseVersion> = [Some(to.clone()), previous].into_iter().flatten().collect();
        self.copy.sweep(&kept, self.library_key)
    }

    /// The release is the one that should be there, and something of it is damaged.
    fn heal_in_place(&self, target: &Keys, known: Option<&KnownDamage>, source: &Counted<'_>) -> Result<Progress> {
        let from = target.content_key.chunk_keys();
        let to = self.library_key.chunk_keys(from.id_key());
        let (manifest, fetched) = fill::manifest(self.copy, &target.release, source, &from, &to)?;
        if let Some(sealed) = fetched {
            self.copy.store_manifest(&target.release.version, &sealed)?;
        }
        // Whole packs may be missing as well.
        let work = Work { copy: self.copy, source, donor: None, manifest: &manifest, from: &from, to: &to };
        let progress = self.progress;
        let done = work.run(&work.found()?, self.jobs, &|at| progress(Step::Bytes(at)))?;
        let Some(known) = known else { return Ok(done) };
        let written = self.heal(&manifest, &known.indices(&manifest), target, source)?;
        self.copy.note_damage(&KnownDamage::of(known.release.clone(), []))?;
        Ok(Progress { written: done.written + written, ..done })
    }

    fn heal(&self, manifest: &Manifest, indices: &[u32], target: &Keys, source: &Counted<'_>) -> Result<u64> {
        let from = target.content_key.chunk_keys();
        let healed = heal(self.copy, manifest, indices, source, &from, &self.library_key.chunk_keys(from.id_key()))?;
        match healed.left {
            0 => Ok(healed.bytes),
            count => Err(UpdateError::NotHealed { title: target.title.title.clone(), count }.into()),
        }
    }

    /// Damage in packs that the new release has as well would be its damage.
    fn heal_shared(&self, base: &Base<'_>, known: &KnownDamage, target: &Keys, source: &Counted<'_>) -> Result<()> {
        let from = target.content_key.chunk_keys();
        let to = self.library_key.chunk_keys(from.id_key());
        let new = self.copy.manifest(&target.release, &to)?;
        let shared = |index: &u32| {
            let pack = base.manifest.packs()[base.manifest.chunks()[*index as usize].pack as usize].name;
            new.packs().iter().any(|other| other.name == pack)
        };
        let indices: Vec<u32> = known.indices(&base.manifest).into_iter().filter(shared).collect();
        self.heal(&base.manifest, &indices, target, source)?;
        Ok(())
    }
}

/// Whether another way may lead there. What the drive or the user's own authority says, or that nobody answers, holds for all ways.
fn is_the_ways_own(error: &Error) -> bool {
    match error {
        Error::Update(_) | Error::Install(_) | Error::Library(_) | Error::Medium(_) | Error::Refused(_) => true,
        Error::Copy(error) => matches!(error, CopyError::Damaged { .. }),
        Error::Transport(error) => matches!(error, TransportError::Status { status: 400..500, .. }),
        _ => false,
    }
}
