//! Looks at every chunk of a title in the library, names what is damaged, and heals it from its medium, a file or the network.

use crate::card::{CardChoice, HolderError};
use crate::claimant::Claimant;
use crate::error::{Error, Result};
use crate::exchange::{ExchangeError, exchange};
use crate::fill::Progress;
use crate::home::Authority;
use crate::io::{Create, IoFailure, Sequential};
use crate::library::{KnownDamage, Library, LibraryError};
use crate::play::{Unsealed, unseal};
use crate::source::network::Network;
use crate::source::offered::Offered;
use crate::source::{Pack, Source};
use crate::terminal::Terminal;
use counterfoil_core::TitleId;
use counterfoil_core::wire::{Heal, HealResult, Operation};
use counterfoil_format::content::{
    ChunkError, ChunkId, DamageKind, HealingKeys, Manifest, ObjectName, OpenChunk as _, ReadAt, affected, repair_pack, verify_pack,
};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::grant::{SealedBox, purpose};
use counterfoil_format::secret::Secret;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Packs that were looked at.
    pub packs: usize,
    /// Bytes that were looked at.
    pub bytes: u64,
    /// Chunks that are not what they should be, in their order.
    pub damaged: Vec<Damaged>,
}

/// A chunk that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its index in the manifest; none where it is the manifest itself.
    pub chunk: Option<u32>,
    /// The pack that it lies in (or the manifest's own name).
    pub pack: ObjectName,
    /// Where it begins in the pack, in bytes.
    pub offset: u64,
    /// Its length there, in bytes.
    pub length: u32,
    /// The files that need it, and where in them.
    pub files: Vec<(String, u64)>,
    /// What is wrong with it.
    pub what: String,
}

/// What was healed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Chunks that are good again.
    pub healed: usize,
    /// Bytes written.
    pub bytes: u64,
    /// Chunks that the medium could not give either.
    pub left: Vec<Damaged>,
}

/// Checks every chunk of a title, on several threads.
///
/// # Errors
/// As [`crate::open_title`]. Damage is not an error: it is in the report.
pub fn verify(
    terminal: &Terminal,
    library: &Library,
    title: &TitleId,
    card: &CardChoice,
    jobs: Option<NonZeroUsize>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report> {
    let unsealed = unseal(terminal, library, title, card)?;
    match unsealed.manifest() {
        Ok(manifest) => {
            let report = check(&unsealed, &manifest, jobs, progress);
            let indices = report.damaged.iter().filter_map(|damaged| damaged.chunk);
            // What is known to be damaged is healed by the next update as well. A library that cannot be written is looked at all the same.
            let _ = unsealed.copy.note_damage(&KnownDamage::of(unsealed.record.listed.release.clone(), indices));
            Ok(report)
        }
        Err(Error::Library(LibraryError::Damaged { reason, .. })) => {
            let reference = &unsealed.release.manifest;
            let length = u32::try_from(reference.length).unwrap_or(u32::MAX);
            let what = format!("the manifest is damaged ({reason}): what else is, can be told when it is healed");
            let damaged = Damaged { chunk: None, pack: reference.object, offset: 0, length, files: vec![], what };
            Ok(Report { packs: 0, bytes: 0, damaged: vec![damaged] })
        }
        Err(error) => Err(error),
    }
}

fn check(opened: &Unsealed, manifest: &Manifest, jobs: Option<NonZeroUsize>, progress: &(dyn Fn(Progress) + Sync)) -> Report {
    let total: u64 = manifest.packs().iter().map(|pack| pack.length).sum();
    let (next, done, found) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(pack) = manifest.packs().get(index) else { return };
            let file = opened.copy.io.open(&opened.copy.pack(&pack.name)).ok();
            let file: Option<&dyn ReadAt> = file.as_ref().map(|file| &**file as &dyn ReadAt);
            let report = verify_pack(manifest, index, &opened.keys, file, |bytes| {
                let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                progress(Progress { total, done, ..Progress::default() });
            });
            found.lock().unwrap_or_else(PoisonError::into_inner).extend(report.damaged);
        }
    };
    let threads = jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get).min(manifest.packs().len());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|damage| damage.chunk);
    let describe = |damage: &counterfoil_format::content::Damage| {
        let chunk = &manifest.chunks()[damage.chunk as usize];
        let files = affected(manifest, &HashSet::from([damage.chunk]));
        Damaged {
            chunk: Some(damage.chunk),
            pack: manifest.packs()[chunk.pack as usize].name,
            offset: u64::from(chunk.offset),
            length: chunk.sealed_len,
            files: files.into_iter().map(|part| (part.path.to_owned(), part.offset)).collect(),
            what: match &damage.kind {
                DamageKind::Missing => "missing".into(),
                DamageKind::Unreadable(kind) => format!("unreadable: {kind}"),
                DamageKind::Bad(error) => error.to_string(),
            },
        }
    };
    Report { packs: manifest.packs().len(), bytes: total, damaged: found.iter().map(describe).collect() }
}

/// Writes the damaged chunks of a report anew: from the medium that the title was copied from or any other that carries the same release, from
/// an installation file, or from the contents servers where nothing is named.
///
/// Where the manifest itself is damaged, it is healed first, and then what else is found.
/// The content key is gone since the copy was complete (C11), so the authority is asked for the keys of exactly these chunks (`heal`).
///
/// # Errors
/// As [`crate::open_title`]; the refusals of `heal`; [`crate::MediumError`]; [`crate::transport::TransportError`]; what the system said.
pub fn repair(
    terminal: &Terminal,
    library: &Library,
    title: &TitleId,
    card: &CardChoice,
    from: Option<&Path>,
    report: &Report,
) -> Result<Repaired> {
    let _home = terminal.home().lock()?;
    let _library = library.lock()?;
    let opened = unseal(terminal, library, title, card)?;
    let authority = terminal.meet(&[])?;
    let claimant = Claimant::new(terminal, &authority, &opened.holder, library.path())?;
    let offered = from.map(|path| Offered::open(terminal, path)).transpose()?;
    let source: Box<dyn Source + '_> = match &offered {
        Some(offered) => offered.source(title),
        None => Box::new(Network { transport: terminal.contents(&authority)?, title: title.clone() }),
    };
    let ask = |ids: &[ChunkId]| healing_keys(terminal, &authority, &claimant, &opened, ids);
    let mut repaired = Repaired::default();
    if let Some(damaged) = report.damaged.iter().find(|damaged| damaged.chunk.is_none()) {
        let reference = &opened.release.manifest;
        let mut sealed = source.manifest(&opened.release)?;
        let bad = |error: ChunkError| source.not_authentic(error.to_string());
        ask(&[reference.id])?.open_chunk(&reference.id, &mut sealed).map_err(bad)?;
        opened.keys.seal_in_place(&reference.id, &mut sealed);
        opened.copy.store_manifest(&opened.release.version, &sealed)?;
        repaired.healed += 1;
        repaired.bytes += u64::from(damaged.length);
    }
    let manifest = opened.manifest()?;
    // Nothing else could be told before the manifest was healed.
    let rest = (repaired.healed > 0).then(|| check(&opened, &manifest, None, &|_| {}));
    for some in rest.as_ref().unwrap_or(report).damaged.chunks(Heal::MOST) {
        let ids: Vec<ChunkId> = some.iter().filter_map(|damaged| Some(manifest.chunks()[damaged.chunk? as usize].id)).collect();
        let keys = ask(&ids)?;
        for of_pack in some.chunk_by(|a, b| a.pack == b.pack) {
            repair_pack_from(&opened, &manifest, &*source, &keys, of_pack, &mut repaired)?;
        }
    }
    Ok(repaired)
}

/// Asks for the keys of some chunks.
fn healing_keys<'a>(
    terminal: &Terminal,
    authority: &Authority,
    claimant: &Claimant,
    opened: &'a Unsealed,
    ids: &[ChunkId],
) -> Result<HealingKeys<'a>> {
    let listed = &opened.record.listed;
    let operation = Heal {
        user_id: claimant.user,
        medium_id: listed.origin.medium().cloned(),
        grant_id: listed.grant_id,
        device_id: claimant.device,
        chunks: ids.iter().map(|id| to_base64url(&id.0)).collect(),
    };
    let device_name = claimant.device_name();
    let proofs = claimant.proofs(&opened.holder, &device_name);
    // Nothing of the answer is kept, so nothing is lost by forgetting the request at once.
    let result: HealResult = exchange(terminal, authority, Operation::Heal(operation), &proofs)?.applied(terminal);
    let sealed: SealedBox = serde_json::from_value(result.keys).map_err(|error| ExchangeError::Shape(error.to_string()))?;
    let keys = sealed.open(opened.holder.dh(), &[purpose::HEAL, &listed.grant_id.to_string()]).map_err(HolderError::from)?;
    if keys.len() != 32 * ids.len() {
        return Err(ExchangeError::Shape("not one key for each chunk".into()).into());
    }
    let keys = keys.chunks_exact(32).map(|key| Secret::from_slice(key).expect("chunks of exactly 32 bytes"));
    Ok(HealingKeys::new(opened.keys.id_key(), ids.iter().copied().zip(keys)))
}

fn repair_pack_from(
    opened: &Unsealed,
    manifest: &Manifest,
    source: &dyn Source,
    keys: &HealingKeys<'_>,
    damaged: &[Damaged],
    repaired: &mut Repaired,
) -> Result<()> {
    let name = damaged[0].pack;
    let path = opened.copy.pack(&name);
    let fail = || IoFailure::at("write", &path);
    let source = Pack { source, name };
    let target = opened.copy.io.create(&path, Create::Resume, 0o644).map_err(fail())?;
    let chunks: Vec<u32> = damaged.iter().filter_map(|damaged| damaged.chunk).collect();
    let Some(first) = chunks.first() else { return Ok(()) };
    let length = manifest.packs()[manifest.chunks()[*first as usize].pack as usize].length;
    let left = repair_pack(manifest, chunks, &source, keys, &opened.keys, Sequential::new(&*target, 0)).map_err(fail())?;
    target.set_len(length).map_err(fail())?;
    target.sync().map_err(fail())?;
    opened.copy.io.sync_dir(&opened.copy.packs()).map_err(fail())?;
    for damaged in damaged {
        if damaged.chunk.is_some_and(|chunk| left.contains(&chunk)) {
            repaired.left.push(damaged.clone());
        } else {
            repaired.healed += 1;
            repaired.bytes += u64::from(damaged.length);
        }
    }
    Ok(())
}
