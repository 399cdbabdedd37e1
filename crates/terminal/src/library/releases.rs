//! The releases of one copy: which is played, which is kept to go back to, and what of them can go.

use super::copy::{Copy, Record};
use super::{LONGEST_MANIFEST, LONGEST_RECORD, damaged};
use crate::error::Result;
use crate::io::{IoFailure, create_dirs, parent, read_small, remove_all, replace};
use counterfoil_core::ReleaseVersion;
use counterfoil_format::content::{LibraryKey, Manifest, ObjectName};
use counterfoil_format::encoding::parse_strict;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io;
use std::path::Path;

/// `current` in the directory of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pointer {
    /// What is played.
    pub release: ReleaseVersion,
    /// What was played before, and is still here as a whole.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous: Option<ReleaseVersion>,
}

/// `damaged.json`: what the last verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownDamage {
    /// In which release.
    pub release: ReleaseVersion,
    /// Ranges of the manifest's chunks: first, and how many.
    pub chunks: Vec<(u32, u32)>,
}

impl KnownDamage {
    /// From indices in rising order.
    pub fn of(release: ReleaseVersion, indices: impl IntoIterator<Item = u32>) -> Self {
        let mut chunks: Vec<(u32, u32)> = Vec::new();
        for index in indices {
            match chunks.last_mut() {
                Some((first, count)) if *first + *count == index => *count += 1,
                _ => chunks.push((index, 1)),
            }
        }
        Self { release, chunks }
    }

    /// The indices, as far as the manifest has them.
    pub fn indices(&self, manifest: &Manifest) -> Vec<u32> {
        let most = u32::try_from(manifest.chunks().len()).unwrap_or(u32::MAX);
        self.chunks.iter().flat_map(|(first, count)| *first..first.saturating_add(*count).min(most)).collect()
    }
}

impl Copy {
    /// Which release is played, since the first update.
    pub fn pointer(&self) -> Result<Option<Pointer>> {
        self.read("current")
    }

    /// Makes a release the one that is played: of all that an update does, the moment in which it counts.
    pub fn point(&self, pointer: &Pointer) -> Result<()> {
        self.write("current", pointer)
    }

    /// What is known to be damaged.
    pub fn known_damage(&self) -> Result<Option<KnownDamage>> {
        self.read("damaged.json")
    }

    /// Notes what is damaged, or that nothing is.
    pub fn note_damage(&self, damage: &KnownDamage) -> Result<()> {
        if damage.chunks.is_empty() { self.forget("damaged.json") } else { self.write("damaged.json", damage) }
    }

    /// Reads one of the small files.
    pub fn read<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>> {
        let path = self.directory.join(name);
        let Some(bytes) = read_small(&*self.io, &path, LONGEST_RECORD)? else { return Ok(None) };
        Ok(Some(parse_strict(&bytes).map_err(|error| damaged(&path, error.to_string()))?))
    }

    /// Writes one of the small files, all or nothing.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let path = self.directory.join(name);
        create_dirs(&*self.io, parent(&path), 0o755)?;
        let bytes = serde_json::to_vec(value).expect("records are strings and numbers");
        Ok(replace(&*self.io, &path, &bytes, 0o644)?)
    }

    /// Removes one of the small files; none is fine too.
    pub fn forget(&self, name: &str) -> Result<()> {
        let path = self.directory.join(name);
        match self.io.remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(IoFailure::at("remove", &path)(error).into()),
            Ok(()) => Ok(self.io.sync_dir(parent(&path)).map_err(IoFailure::at("remove", &path))?),
        }
    }

    /// Gives the release of a copy from before there were several a directory of its own. Nothing happens where it has one.
    pub fn move_over(&self, record: &Record) -> Result<()> {
        let (jws, manifest) = (self.directory.join("release.jws"), self.directory.join("manifest"));
        let Some(token) = read_small(&*self.io, &jws, LONGEST_RECORD)? else {
            // Cut off between the two removals below.
            return self.forget("manifest");
        };
        let version = record.listed.release.as_str();
        if let Some(sealed) = read_small(&*self.io, &manifest, LONGEST_MANIFEST)? {
            self.store_manifest(version, &sealed)?;
        }
        let token = String::from_utf8(token).map_err(|_| damaged(&jws, "it is not text".into()))?;
        self.begin_release(record, &token)?;
        self.forget("release.jws")?;
        self.forget("manifest")
    }

    /// The releases that there is anything of.
    pub fn releases(&self) -> Result<Vec<ReleaseVersion>> {
        let path = self.directory.join("releases");
        let names = names(self, &path)?;
        let version = |name: &std::ffi::OsString| name.to_str().map(|name| name.strip_prefix('%').unwrap_or(name))?.parse().ok();
        Ok(names.iter().filter_map(version).collect())
    }

    /// A release with its manifest, as it lies here.
    pub fn stored(&self, version: &ReleaseVersion, library_key: &LibraryKey) -> Result<(Record, Manifest)> {
        let record = self.record_of(version)?;
        let manifest = self.manifest(&self.release(&record)?, &self.keys(&record, library_key)?)?;
        Ok((record, manifest))
    }

    /// Whether every pack of a manifest is here under its name, which it got when it was complete and durable.
    pub fn has_all(&self, manifest: &Manifest) -> Result<bool> {
        for pack in manifest.packs() {
            if self.length(&self.pack(&pack.name))? != Some(pack.length) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes what no kept release needs: packs first, then records, so that it can be cut off anywhere and done again. Returns bytes freed.
    ///
    /// Where the manifest of a kept release does not open, nothing is removed: it cannot be known what it needs.
    pub fn sweep(&self, kept: &[ReleaseVersion], library_key: &LibraryKey) -> Result<u64> {
        self.no_links()?;
        let mut needed: HashSet<ObjectName> = HashSet::new();
        for version in kept {
            let Ok((_, manifest)) = self.stored(version, library_key) else { return Ok(0) };
            needed.extend(manifest.packs().iter().map(|pack| pack.name));
        }
        let mut freed = 0;
        for name in names(self, &self.packs())? {
            let path = self.packs().join(&name);
            let stem = Path::new(&name).file_stem().and_then(|stem| stem.to_str());
            if stem.and_then(|stem| stem.parse().ok()).is_some_and(|name| needed.contains(&name)) {
                continue;
            }
            freed += self.length(&path)?.unwrap_or(0);
            self.io.remove_file(&path).map_err(IoFailure::at("remove", &path))?;
        }
        for version in self.releases()?.iter().filter(|version| !kept.contains(version)) {
            freed += remove_all(&*self.io, &self.release_dir(version.as_str()))?;
        }
        Ok(freed)
    }
}

fn names(copy: &Copy, path: &Path) -> Result<Vec<std::ffi::OsString>> {
    match copy.io.list(path) {
        Ok(names) => Ok(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(error) => Err(IoFailure::at("read", path)(error).into()),
    }
}
