//! Chunks that are known to be damaged, fetched anew with the keys of an update.

use crate::error::Result;
use crate::io::{Create, IoFailure, Sequential};
use crate::library::Copy;
use crate::source::{Pack, Source};
use counterfoil_format::content::{ChunkKeys, Manifest, repair_pack};

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Healed {
    /// Sealed bytes that were written.
    pub bytes: u64,
    /// Chunks that the source could not give either.
    pub left: usize,
}

/// Writes chunks of a manifest anew, in rising order of their indices. `from` opens what the source gives, `to` is the library's.
pub(super) fn heal(
    copy: &Copy,
    manifest: &Manifest,
    indices: &[u32],
    source: &dyn Source,
    from: &ChunkKeys,
    to: &ChunkKeys,
) -> Result<Healed> {
    let mut healed = Healed::default();
    let chunk = |index: &u32| &manifest.chunks()[*index as usize];
    for some in indices.chunk_by(|a, b| chunk(a).pack == chunk(b).pack) {
        let pack = &manifest.packs()[chunk(&some[0]).pack as usize];
        let path = copy.pack(&pack.name);
        let fail = || IoFailure::at("write", &path);
        let target = copy.io.create(&path, Create::Resume, 0o644).map_err(fail())?;
        let given = Pack { source, name: pack.name };
        let left = repair_pack(manifest, some.iter().copied(), &given, from, to, Sequential::new(&*target, 0)).map_err(fail())?;
        target.set_len(pack.length).map_err(fail())?;
        target.sync().map_err(fail())?;
        copy.io.sync_dir(&copy.packs()).map_err(fail())?;
        let written: u64 = some.iter().filter(|index| !left.contains(index)).map(|index| u64::from(chunk(index).sealed_len)).sum();
        healed.bytes += written;
        healed.left += left.len();
    }
    Ok(healed)
}
