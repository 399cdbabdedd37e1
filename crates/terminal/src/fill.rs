//! Brings one title into the library, from wherever its packs come, under the library key of its grant (C11, D4).
//!
//! What was interrupted is gone on with: a pack is complete when it has its name, and what an unfinished one holds is used.

mod donor;
pub(crate) mod packs;

use crate::card::SealedGrant;
use crate::copy::CopyError;
use crate::error::Result;
use crate::io::IoFailure;
use crate::library::{Copy, Library, Listed, Record};
use crate::medium::refresh::Refreshing;
use crate::source::Source;
use crate::terminal::Terminal;
use counterfoil_core::wire::{TitleOnMedium, WayKind};
use counterfoil_core::{ReleaseVersion, TitleId};
use counterfoil_format::content::{ChunkKeys, ContentKey, LibraryKey, Manifest, Release, ReleaseError, transcrypt_manifest};
use counterfoil_format::encoding::to_base64url;
use std::num::NonZeroUsize;
use std::path::Path;

pub(crate) use donor::Donor;

/// Left free on the drive besides the content, in bytes: names, records, the card.
const SLACK: u64 = 1 << 20;

/// What is being done.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The authority is being asked.
    Claiming,
    /// A title is begun, or gone on with.
    Title {
        /// Which.
        title: TitleId,
        /// Which release of it.
        release: ReleaseVersion,
        /// Whether part of it was there.
        resumed: bool,
    },
    /// Bytes of the title.
    Bytes(Progress),
    /// The authority is being told.
    Confirming,
    /// The authority had a new identity for the medium (B7).
    Refreshing(Refreshing),
    /// The title's control program is running (D4).
    Control,
    /// A way of an update is taken (A5), with what it needs: bytes to fetch, and to write at most.
    Way {
        /// Which.
        kind: WayKind,
        /// Bytes to fetch.
        fetch: u64,
        /// Bytes to write.
        write: u64,
    },
    /// A way of an update does not lead there; the next one is tried.
    GivenUp {
        /// Which.
        kind: WayKind,
        /// Why.
        reason: String,
    },
}

/// How far it is, in bytes of sealed packs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// All of it.
    pub total: u64,
    /// Reused and written (or looked at, when verifying).
    pub done: u64,
    /// Found there from before.
    pub reused: u64,
    /// Written now.
    pub written: u64,
    /// Of what was written, what another copy in the library had; the rest came from the source.
    pub taken: u64,
    /// Bytes fetched over the network, where that is not what was written: of an update.
    pub fetched: u64,
}

/// One title that was brought into the library.
#[derive(Clone, Debug, PartialEq)]
pub struct CopiedTitle {
    /// Which.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// Which release.
    pub release: ReleaseVersion,
    /// What is run or played first.
    pub entry: Option<String>,
    /// Bytes of its files.
    pub size: u64,
    /// Bytes that it takes up.
    pub packed: u64,
    /// Bytes written now.
    pub written: u64,
    /// Bytes found there from before.
    pub reused: u64,
    /// Of what was written, what another copy in the library had.
    pub taken: u64,
}

/// One title on its way.
pub(crate) struct Filling<'a> {
    pub terminal: &'a Terminal,
    pub library: &'a Library,
    pub source: &'a dyn Source,
    pub donor: Option<&'a Donor>,
    pub on_medium: &'a TitleOnMedium,
    /// The release document, verified.
    pub token: &'a str,
    pub release: &'a Release,
    pub grant: &'a SealedGrant,
}

impl Filling<'_> {
    /// Does it. The title appears in the library when the caller makes it the current one.
    pub fn run(
        &self,
        library_key: &LibraryKey,
        content_key: &ContentKey,
        jobs: Option<NonZeroUsize>,
        progress: &(dyn Fn(Step) + Sync),
    ) -> Result<CopiedTitle> {
        let (on_medium, release) = (self.on_medium, self.release);
        let content_keys = content_key.chunk_keys();
        let library_keys = library_key.chunk_keys(content_keys.id_key());
        let copy = self.library.copy(&on_medium.title, self.grant.grant_id);
        let (manifest, fetched) = manifest(&copy, release, self.source, &content_keys, &library_keys)?;
        let listed = listed(self.terminal, on_medium, release, self.grant, manifest.packed_size() + release.manifest.length);
        let record = Record::new(listed, on_medium.publisher.clone(), to_base64url(&library_key.wrap_id_key(content_keys.id_key())));
        let work = packs::Work {
            copy: &copy,
            source: self.source,
            donor: self.donor,
            manifest: &manifest,
            from: &content_keys,
            to: &library_keys,
        };
        let found = work.found()?;
        check_space(self.terminal, self.library.path(), found.missing + release.manifest.length)?;
        copy.begin(&record, self.token)?;
        if let Some(sealed) = fetched {
            copy.store_manifest(&release.version, &sealed)?;
        }
        progress(Step::Title { title: on_medium.title.clone(), release: on_medium.release.clone(), resumed: found.any });
        let done = work.run(&found, jobs, &|bytes| progress(Step::Bytes(bytes)))?;
        copy.io.sync_dir(&copy.directory).map_err(IoFailure::at("write", &copy.directory))?;
        Ok(CopiedTitle {
            title: on_medium.title.clone(),
            name: on_medium.name.clone(),
            release: on_medium.release.clone(),
            entry: release.entry.clone(),
            size: release.size,
            packed: record.listed.packed,
            written: done.written,
            reused: done.reused,
            taken: done.taken,
        })
    }
}

/// The manifest, as an earlier attempt has left it, or else from the source, sealed under the library key for the copy to keep.
pub(crate) fn manifest(
    copy: &Copy,
    release: &Release,
    source: &dyn Source,
    from: &ChunkKeys,
    to: &ChunkKeys,
) -> Result<(Manifest, Option<Vec<u8>>)> {
    if let Ok(manifest) = copy.manifest(release, to) {
        return Ok((manifest, None));
    }
    let mut sealed = source.manifest(release)?;
    let not = |error: ReleaseError| source.not_authentic(error.to_string());
    transcrypt_manifest(&release.manifest, from, to, &mut sealed).map_err(|error| not(error.into()))?;
    let kept = sealed.clone();
    Ok((release.open_manifest(to, &mut sealed).map_err(not)?, Some(kept)))
}

/// What the library says of a copy under a grant.
pub(crate) fn listed(terminal: &Terminal, on_medium: &TitleOnMedium, release: &Release, grant: &SealedGrant, packed: u64) -> Listed {
    Listed {
        title: on_medium.title.clone(),
        name: on_medium.name.clone(),
        kind: on_medium.kind,
        release: on_medium.release.clone(),
        size: release.size,
        packed,
        files: release.files,
        grant_id: grant.grant_id,
        origin: grant.origin.clone(),
        copied_at: terminal.clock().now(),
        entry: release.entry.clone(),
        complete: false,
        previous: None,
    }
}

/// Whether the drive that a directory lies on has room for so many bytes more.
pub(crate) fn check_space(terminal: &Terminal, path: &Path, bytes: u64) -> Result<()> {
    let free = terminal.io().free_space(path).map_err(IoFailure::at("look at", path))?;
    let needed = bytes.saturating_add(SLACK);
    if free < needed { Err(CopyError::Space { needed, free }.into()) } else { Ok(()) }
}
