//! What a device remembers of a slot: which version each path stands at, and a push that is under way.

use crate::error::Result;
use crate::home::HomeError;
use crate::io::{Io, IoFailure, Lock, create_dirs, parent, read_small, replace};
use crate::terminal::Terminal;
use counterfoil_core::TitleId;
use counterfoil_core::wire::{UploadResult, UploadedVersion};
use counterfoil_format::encoding::parse_strict;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest of the small files, in bytes.
const LONGEST: u64 = 1 << 20;

/// The directory of a slot.
pub(super) struct Local {
    io: Arc<dyn Io>,
    directory: PathBuf,
}

/// Which version each path stands at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    /// The path that was pushed or pulled last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<PathBuf>,
    pub paths: BTreeMap<PathBuf, Here>,
    /// What is being put in the place of a path, noted before: whoever is killed over it finds out by the content which of both lies there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub arriving: BTreeMap<PathBuf, Here>,
}

/// A path, when it was pushed or pulled last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Here {
    /// The version that it stands at.
    pub version: u32,
    /// The object of that version: another one under the same number is another history.
    pub object: String,
    /// BLAKE3 of what lay there, bundled; to notice changes.
    pub content: String,
}

impl Known {
    /// What a path stands at, where what lies there is what was pushed or pulled.
    pub fn unchanged(&self, path: &Path, content: &str) -> Option<&Here> {
        let both = [self.paths.get(path), self.arriving.get(path)];
        both.into_iter().flatten().find(|here| here.content == content)
    }

    /// The paths that stand at a version.
    pub fn at(&self, version: &UploadedVersion) -> Vec<PathBuf> {
        self.paths.iter().filter(|(_, here)| here.is(version)).map(|(path, _)| path.clone()).collect()
    }
}

impl Here {
    pub fn is(&self, version: &UploadedVersion) -> bool {
        self.version == version.version && self.object == version.object
    }
}

/// A push that was begun. Whose it is stands nowhere (C3): the directory is the holder's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub path: PathBuf,
    /// BLAKE3 of what lay there, bundled.
    pub content: String,
    /// The version that it follows.
    pub parent: u32,
    /// Of the sealed file.
    pub object: String,
    pub length: u64,
    pub note: Option<String>,
    /// Whether it is sealed.
    pub sealed: bool,
    /// What the authority has said to it.
    pub answer: Option<UploadResult>,
}

impl Local {
    pub fn new(terminal: &Terminal, holder: &[u8; 16], title: &TitleId, slot: &str) -> Self {
        let holder: String = holder.iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = terminal.home().path().join("saves").join(holder).join(title.as_str()).join(slot);
        Self { io: terminal.io().clone(), directory }
    }

    /// One push or pull of a slot at a time.
    pub fn lock(&self) -> Result<Box<dyn Lock>> {
        create_dirs(&*self.io, &self.directory, 0o700)?;
        let path = self.directory.join("lock");
        Ok(self.io.lock(&path).map_err(IoFailure::at("use", &path))?)
    }

    pub fn known(&self) -> Result<Known> {
        Ok(self.read("known.json")?.unwrap_or_default())
    }

    /// Notes what a path stands at.
    pub fn note(&self, path: &Path, here: Here) -> Result<()> {
        let mut known = self.known()?;
        known.latest = Some(path.to_owned());
        known.arriving.remove(path);
        known.paths.insert(path.to_owned(), here);
        self.write("known.json", &known)
    }

    /// Notes what a path is going to stand at.
    pub fn expect(&self, path: &Path, here: Here) -> Result<()> {
        let mut known = self.known()?;
        known.arriving.insert(path.to_owned(), here);
        self.write("known.json", &known)
    }

    /// A push under way, while what it sends is still there.
    pub fn pending(&self) -> Result<Option<Pending>> {
        let pending = self.read::<Pending>("push.json")?;
        let there = match self.io.metadata(&self.sealed()) {
            Ok(found) => Some(found.length),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(IoFailure::at("read", &self.sealed())(error).into()),
        };
        let whole = pending.filter(|pending| there == Some(pending.length));
        // Left by one that was killed.
        if whole.is_none() && there.is_some() {
            self.forget()?;
        }
        Ok(whole)
    }

    pub fn keep(&self, pending: &Pending) -> Result<()> {
        self.write("push.json", pending)
    }

    /// Forgets a push: done, or given up.
    pub fn forget(&self) -> Result<()> {
        for path in [self.directory.join("push.json"), self.sealed()] {
            match self.io.remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(IoFailure::at("remove", &path)(error).into()),
                _ => {}
            }
        }
        Ok(self.io.sync_dir(&self.directory).map_err(IoFailure::at("write", &self.directory))?)
    }

    /// Where what a push sends lies.
    pub fn sealed(&self) -> PathBuf {
        self.directory.join("push.sealed")
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.directory.join(name);
        let Some(bytes) = read_small(&*self.io, &path, LONGEST)? else { return Ok(None) };
        let value = parse_strict(&bytes).map_err(|error| HomeError::Profile { path, reason: error.to_string() })?;
        Ok(Some(value))
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let path = self.directory.join(name);
        let bytes = serde_json::to_vec_pretty(value).map_err(|error| IoFailure::at("write", &path)(io::Error::other(error)))?;
        create_dirs(&*self.io, parent(&path), 0o700)?;
        Ok(replace(&*self.io, &path, &bytes, 0o600)?)
    }
}
