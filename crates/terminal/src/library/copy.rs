//! The copy of a title under one grant: its records, release by release, and its packs.

use super::{LONGEST_MANIFEST, LONGEST_RECORD, Listed, VERSION, damaged};
use crate::error::Result;
use crate::exchange::refused;
use crate::io::{Io, IoFailure, create_dirs, no_links, read_small, replace};
use counterfoil_core::wire::PublisherOnMedium;
use counterfoil_core::{Code, ReleaseVersion};
use counterfoil_format::content::{ChunkKeys, LibraryKey, Manifest, ObjectName, Release, WRAPPED_ID_KEY_LEN};
use counterfoil_format::encoding::{from_base64url, parse_strict};
use counterfoil_format::sign::VerifyingKey;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The copy of a title under one grant: its directory.
///
/// ```text
/// title.json                         what it is a copy of, as it was first copied or installed
/// current                            which release is played, since the first update; replaced atomically, last of all
/// license.json                       where it was bought
/// releases/<version>/release.json    as `title.json`, of that release: with the title's `id` key sealed under the library key
/// releases/<version>/release.jws     as the publisher signed it
/// releases/<version>/manifest        sealed under the library key
/// packs/<name>.pack                  sealed under the library key, shared by the releases; `.partial` while it is written
/// update/                            what is needed while an update is under way, see [`crate::update`]
/// damaged.json                       chunks that were found to be damaged
/// offer.json                         what the authority offered last
/// ```
///
/// Libraries from before there were updates have `release.jws` and `manifest` beside `title.json`. They are read there, and moved at the
/// first update.
#[derive(Clone)]
pub(crate) struct Copy {
    pub io: Arc<dyn Io>,
    pub directory: PathBuf,
}

/// `title.json` and `release.json`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    counterfoil_title: u32,
    #[serde(flatten)]
    pub listed: Listed,
    pub publisher: PublisherOnMedium,
    /// The title's `id` key, sealed under the library key.
    pub id_key: String,
}

impl Record {
    pub fn new(listed: Listed, publisher: PublisherOnMedium, id_key: String) -> Self {
        Self { counterfoil_title: VERSION, listed, publisher, id_key }
    }

    /// Who signs releases of the title.
    pub fn publisher_key(&self) -> Option<VerifyingKey> {
        self.publisher.key.parse().ok()
    }
}

impl Copy {
    pub fn packs(&self) -> PathBuf {
        self.directory.join("packs")
    }

    pub fn pack(&self, name: &ObjectName) -> PathBuf {
        self.packs().join(format!("{name}.pack"))
    }

    pub fn partial(&self, name: &ObjectName) -> PathBuf {
        self.packs().join(format!("{name}.partial"))
    }

    /// Where a release's own files are written.
    pub fn release_dir(&self, version: &str) -> PathBuf {
        // A version may be `..`; no version has a percent sign.
        let name = if version.starts_with('.') { format!("%{version}") } else { version.to_owned() };
        self.directory.join("releases").join(name)
    }

    /// Refuses a copy that is reached through links, before anything is written or removed there: a drive may have been prepared to lead
    /// anywhere.
    pub fn no_links(&self) -> Result<()> {
        let library = self.directory.ancestors().nth(3).unwrap_or(&self.directory);
        let mut inner = vec![self.packs(), self.directory.join("update"), self.directory.join("releases")];
        inner.extend(self.releases()?.iter().map(|version| self.release_dir(version.as_str())));
        for path in inner {
            no_links(&*self.io, library, path.strip_prefix(library).unwrap_or(&path))?;
        }
        Ok(())
    }

    /// Writes down what is going to be copied, before the first byte of it.
    pub fn begin(&self, record: &Record, token: &str) -> Result<()> {
        self.no_links()?;
        create_dirs(&*self.io, &self.packs(), 0o755)?;
        self.begin_release(record, token)?;
        Ok(replace(&*self.io, &self.directory.join("title.json"), &encode(record), 0o644)?)
    }

    /// The same for another release of it; what is played is not touched.
    pub fn begin_release(&self, record: &Record, token: &str) -> Result<()> {
        self.no_links()?;
        let directory = self.release_dir(record.listed.release.as_str());
        create_dirs(&*self.io, &directory, 0o755)?;
        replace(&*self.io, &directory.join("release.jws"), token.as_bytes(), 0o644)?;
        Ok(replace(&*self.io, &directory.join("release.json"), &encode(record), 0o644)?)
    }

    /// Keeps the manifest of a release, sealed under the library key.
    pub fn store_manifest(&self, version: &str, sealed: &[u8]) -> Result<()> {
        let directory = self.release_dir(version);
        create_dirs(&*self.io, &directory, 0o755)?;
        Ok(replace(&*self.io, &directory.join("manifest"), sealed, 0o644)?)
    }

    /// What is played: the record of the current release.
    pub fn record(&self) -> Result<Record> {
        let path = self.directory.join("title.json");
        self.record_if_any()?.ok_or_else(|| damaged(&path, "it is missing".into()))
    }

    pub(super) fn record_if_any(&self) -> Result<Option<Record>> {
        match self.pointer()? {
            Some(pointer) => self.record_of(&pointer.release).map(Some),
            None => self.read_record(&self.directory.join("title.json")),
        }
    }

    /// The record of one release.
    pub fn record_of(&self, version: &ReleaseVersion) -> Result<Record> {
        let path = self.release_dir(version.as_str()).join("release.json");
        self.read_record(&path)?.ok_or_else(|| damaged(&path, "it is missing".into()))
    }

    fn read_record(&self, path: &Path) -> Result<Option<Record>> {
        let Some(bytes) = read_small(&*self.io, path, LONGEST_RECORD)? else { return Ok(None) };
        let record: Record = parse_strict(&bytes).map_err(|error| damaged(path, error.to_string()))?;
        if record.counterfoil_title != VERSION {
            return Err(damaged(path, format!("version {} is not known", record.counterfoil_title)));
        }
        Ok(Some(record))
    }

    /// The release as the publisher signed it.
    pub fn release(&self, record: &Record) -> Result<Release> {
        self.release_document(record).map(|(_, release)| release)
    }

    /// The same, with its token.
    pub fn release_document(&self, record: &Record) -> Result<(String, Release)> {
        let (path, bytes) = self.read_of(record.listed.release.as_str(), "release.jws", LONGEST_RECORD)?;
        let token = String::from_utf8(bytes).map_err(|_| damaged(&path, "it is not text".into()))?;
        let key = record.publisher_key().ok_or_else(|| damaged(&path, "its publisher's key is none".into()))?;
        let release = Release::verify(&token, |kid| (kid == record.publisher.id).then_some(key))
            .map_err(|error| damaged(&path, error.to_string()))?;
        if release.title != record.listed.title.as_str() || release.version != record.listed.release.as_str() {
            return Err(damaged(&path, format!("it is of {} {}", release.title, release.version)));
        }
        Ok((token, release))
    }

    /// What opens its chunks, from the library key.
    ///
    /// # Errors
    /// [`Code::PlayNotPermitted`]: the library key is not this copy's.
    pub fn keys(&self, record: &Record, library_key: &LibraryKey) -> Result<ChunkKeys> {
        let wrapped = from_base64url(&record.id_key).and_then(|bytes| <[u8; WRAPPED_ID_KEY_LEN]>::try_from(bytes).ok());
        let id_key = wrapped.as_ref().and_then(|wrapped| library_key.unwrap_id_key(wrapped));
        let id_key = id_key.ok_or_else(|| refused(Code::PlayNotPermitted, "the keys on the card are for another copy"))?;
        Ok(library_key.chunk_keys(&id_key))
    }

    /// The manifest, opened and checked against the release.
    pub fn manifest(&self, release: &Release, keys: &ChunkKeys) -> Result<Manifest> {
        let (path, mut sealed) = self.read_of(&release.version, "manifest", LONGEST_MANIFEST)?;
        release.open_manifest(keys, &mut sealed).map_err(|error| damaged(&path, error.to_string()))
    }

    /// A file of a release: in its own directory, or where it was before there were several.
    fn read_of(&self, version: &str, name: &str, longest: u64) -> Result<(PathBuf, Vec<u8>)> {
        let path = self.release_dir(version).join(name);
        let flat = self.directory.join(name);
        if let Some(bytes) = read_small(&*self.io, &path, longest)? {
            return Ok((path, bytes));
        }
        match read_small(&*self.io, &flat, longest)? {
            Some(bytes) => Ok((flat, bytes)),
            None => Err(damaged(&path, "it is missing".into())),
        }
    }

    /// Bytes of a file; none where there is none.
    pub fn length(&self, path: &Path) -> Result<Option<u64>> {
        match self.io.metadata(path) {
            Ok(metadata) => Ok(Some(metadata.length)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IoFailure::at("read", path)(error).into()),
        }
    }
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec_pretty(record).expect("a record is strings and numbers")
}
