//! The library: a user's encrypted store on a drive, one directory for each title and grant.
//!
//! ```text
//! library.json                                   what this is
//! lock                                           one writer at a time
//! titles/<title>/current                         which grant's copy is the complete one; replaced atomically, last of all
//! titles/<title>/<grant>/                        the copy under a grant, see [`Copy`]
//! ```
//!
//! A grant has its own library key, so its copy has its own directory: a second copy of a title does not touch the first before it is
//! complete. The keys themselves are on the card; nothing here opens without it.

mod copy;
mod releases;

use crate::error::Result;
use crate::io::{IoFailure, Lock, create_dirs, no_links, read_small, remove_all, replace, wait_for_lock};
use crate::origin::Origin;
use crate::terminal::{Terminal, absolute};
use counterfoil_core::wire::PublisherOnMedium;
use counterfoil_core::{GrantId, Kind, ReleaseVersion, Timestamp, TitleId};
use counterfoil_format::encoding::parse_strict;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use copy::{Copy, Record};
pub(crate) use releases::{KnownDamage, Pointer};

const VERSION: u32 = 1;
const TITLES: &str = "titles";
/// Longest of the small files, in bytes.
const LONGEST_RECORD: u64 = 256 * 1024;
/// Longest manifest that is read, in bytes.
const LONGEST_MANIFEST: u64 = (counterfoil_format::content::limits::MANIFEST_BYTES as u64) + 1024;

/// What is wrong with a library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// There is none.
    #[error("there is no library at {}", .0.display())]
    Missing(PathBuf),
    /// Of a later version, or not one at all.
    #[error("{} is damaged or was edited: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It does not hold the title.
    #[error("the library at {} does not hold `{title}`", path.display())]
    NoTitle {
        /// Which library.
        path: PathBuf,
        /// Which title.
        title: TitleId,
    },
    /// It holds only part of it.
    #[error("`{0}` was not copied to its end")]
    Incomplete(TitleId),
}

impl LibraryError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            LibraryError::Missing(_) => "no_library",
            LibraryError::Damaged { .. } => "damaged",
            LibraryError::NoTitle { .. } => "no_title",
            LibraryError::Incomplete(_) => "incomplete",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self {
            LibraryError::Missing(_) => "Name it: `--library DIR`. `counterfoil copy` and `counterfoil install` make one.",
            LibraryError::Damaged { .. } => "`counterfoil verify TITLE` says what is damaged; `--repair` heals it.",
            LibraryError::NoTitle { .. } => {
                "`counterfoil list` shows what is there; `counterfoil copy` and `counterfoil install` bring more."
            }
            LibraryError::Incomplete(_) => "Repeat `counterfoil copy` with its medium, or `counterfoil install`; it goes on where it was.",
        }
    }
}

/// A library on a drive.
#[derive(Clone)]
pub struct Library {
    io: Arc<dyn crate::io::Io>,
    path: PathBuf,
}

/// What is known of a copy without any key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// What it is a copy of.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// What kind of thing.
    pub kind: Kind,
    /// Which release.
    pub release: ReleaseVersion,
    /// Bytes of its files.
    pub size: u64,
    /// Bytes that it takes up here.
    pub packed: u64,
    /// Number of its files.
    pub files: u64,
    /// Under which grant.
    pub grant_id: GrantId,
    /// What it came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Since when.
    pub copied_at: Timestamp,
    /// What is run or played first.
    pub entry: Option<String>,
    /// Whether it was copied to its end.
    #[serde(skip)]
    pub complete: bool,
    /// The release that was played before, where it is still here: `rollback` goes back to it.
    #[serde(skip)]
    pub previous: Option<ReleaseVersion>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Current {
    grant_id: GrantId,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    counterfoil_library: u32,
}

/// Titles whose records cannot be read, and why.
pub type Unreadable = Vec<(TitleId, LibraryError)>;

/// The library that was last registered or copied to from this home.
///
/// # Errors
/// [`crate::home::HomeError::Profile`].
pub fn default_library(terminal: &Terminal) -> Result<Option<PathBuf>> {
    Ok(terminal.home().profile()?.library)
}

impl Library {
    /// Opens a library that exists. Nothing is written, and none of it needs to be writable.
    ///
    /// # Errors
    /// [`LibraryError::Missing`], [`LibraryError::Damaged`]; what the system said.
    pub fn open(terminal: &Terminal, path: &Path) -> Result<Self> {
        let library = Self { io: terminal.io().clone(), path: absolute(path) };
        let marker = library.path.join("library.json");
        let bytes = read_small(&*library.io, &marker, LONGEST_RECORD)?.ok_or_else(|| LibraryError::Missing(path.to_owned()))?;
        match parse_strict::<Marker>(&bytes) {
            Ok(Marker { counterfoil_library: VERSION }) => Ok(library),
            Ok(other) => Err(damaged(&marker, format!("version {} is not known", other.counterfoil_library))),
            Err(error) => Err(damaged(&marker, error.to_string())),
        }
    }

    /// Opens a library, and makes one where there is none.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn create_or_open(terminal: &Terminal, path: &Path) -> Result<Self> {
        match Self::open(terminal, path) {
            Err(crate::Error::Library(LibraryError::Missing(_))) => {}
            other => return other,
        }
        let path = absolute(path);
        create_dirs(&**terminal.io(), &path, 0o755)?;
        let marker = serde_json::to_vec(&Marker { counterfoil_library: VERSION }).expect("a number");
        replace(&**terminal.io(), &path.join("library.json"), &marker, 0o644)?;
        Self::open(terminal, &path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One writer at a time; others wait for it, but not for long.
    ///
    /// # Errors
    /// Code `busy`; what the system said.
    pub fn lock(&self) -> Result<Box<dyn Lock>> {
        let path = self.path.join("lock");
        Ok(wait_for_lock(&*self.io, &path).map_err(IoFailure::at("write to", &path))?)
    }

    /// What it holds, by title; copies that did not come to their end included. What is damaged is left out: it keeps nobody from the rest.
    ///
    /// # Errors
    /// What the system said.
    pub fn list(&self) -> Result<Vec<Listed>> {
        Ok(self.look()?.0)
    }

    /// The titles whose records cannot be read, and why ([`LibraryError::Damaged`]). They can be removed.
    ///
    /// # Errors
    /// What the system said.
    pub fn damaged(&self) -> Result<Unreadable> {
        Ok(self.look()?.1)
    }

    fn look(&self) -> Result<(Vec<Listed>, Unreadable)> {
        let (mut all, mut unreadable) = (Vec::new(), Vec::new());
        for name in self.names(&self.path.join(TITLES))? {
            let Some(title) = name.to_str().and_then(|name| name.parse::<TitleId>().ok()) else { continue };
            match self.copies(&title) {
                Ok(listed) => all.extend(listed),
                Err(crate::Error::Library(error @ LibraryError::Damaged { .. })) => unreadable.push((title, error)),
                Err(error) => return Err(error),
            }
        }
        Ok((all, unreadable))
    }

    /// The copy of a title, or what there is of those that did not come to their end.
    fn copies(&self, title: &TitleId) -> Result<Vec<Listed>> {
        if let Some(grant) = self.current(title)? {
            let copy = self.copy(title, grant);
            let previous = copy.pointer()?.and_then(|pointer| pointer.previous);
            return Ok(vec![Listed { complete: true, previous, ..copy.record()?.listed }]);
        }
        let mut begun = Vec::new();
        for grant in self.grants(title)? {
            // Without its record, nothing of it has been written yet.
            begun.extend(self.copy(title, grant).record_if_any()?.map(|record| record.listed));
        }
        Ok(begun)
    }

    /// Removes a title, finished or not; returns the bytes freed.
    ///
    /// # Errors
    /// [`LibraryError::NoTitle`]; code `busy`; what the system said.
    pub fn remove(&self, title: &TitleId) -> Result<u64> {
        let _lock = self.lock()?;
        let directory = self.title_dir(title);
        no_links(&*self.io, &self.path, Path::new(TITLES))?;
        if !self.is_plain(title)? {
            // Of a link nothing is here but the link.
            return Ok(remove_all(&*self.io, &directory)?);
        }
        // The pointer goes first: whatever happens after that, the title is gone and not half there.
        let current = directory.join("current");
        match self.io.remove_file(&current) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(IoFailure::at("remove", &current)(error).into()),
            _ => self.io.sync_dir(&directory).map_err(IoFailure::at("remove", &directory))?,
        }
        Ok(remove_all(&*self.io, &directory)?)
    }

    /// Whether what there is of a title, finished or not, readable or not, is a directory and no link.
    ///
    /// # Errors
    /// [`LibraryError::NoTitle`] where there is nothing; what the system said.
    pub fn is_plain(&self, title: &TitleId) -> Result<bool> {
        let directory = self.title_dir(title);
        match self.io.is_plain(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(LibraryError::NoTitle { path: self.path.clone(), title: title.clone() }.into())
            }
            found => Ok(found.map_err(IoFailure::at("read", &directory))?),
        }
    }

    /// Who has published what there is of a title, finished or not, and where that is said. What cannot be read says nothing.
    pub(crate) fn publishers(&self, title: &TitleId) -> Vec<(PathBuf, PublisherOnMedium)> {
        let copies = self.grants(title).unwrap_or_default().into_iter().map(|grant| self.copy(title, grant));
        copies.filter_map(|copy| Some((copy.directory.clone(), copy.record().ok()?.publisher))).collect()
    }

    /// The complete copy of a title.
    pub(crate) fn complete(&self, title: &TitleId) -> Result<Copy> {
        match self.current(title)? {
            Some(grant) => Ok(self.copy(title, grant)),
            None if self.grants(title)?.is_empty() => Err(LibraryError::NoTitle { path: self.path.clone(), title: title.clone() }.into()),
            None => Err(LibraryError::Incomplete(title.clone()).into()),
        }
    }

    /// The copy of a title under a grant, whether there is anything of it or not.
    pub(crate) fn copy(&self, title: &TitleId, grant: GrantId) -> Copy {
        Copy { io: self.io.clone(), directory: self.title_dir(title).join(grant.to_string()) }
    }

    /// Makes a copy the one that counts; returns grants whose copies were removed for it.
    pub(crate) fn set_current(&self, title: &TitleId, grant: GrantId) -> Result<Vec<GrantId>> {
        self.copy(title, grant).no_links()?;
        let bytes = serde_json::to_vec(&Current { grant_id: grant }).expect("an ID");
        replace(&*self.io, &self.title_dir(title).join("current"), &bytes, 0o644)?;
        let mut gone = Vec::new();
        for old in self.grants(title)?.into_iter().filter(|old| *old != grant) {
            remove_all(&*self.io, &self.copy(title, old).directory)?;
            gone.push(old);
        }
        Ok(gone)
    }

    fn current(&self, title: &TitleId) -> Result<Option<GrantId>> {
        let path = self.title_dir(title).join("current");
        let Some(bytes) = read_small(&*self.io, &path, LONGEST_RECORD)? else { return Ok(None) };
        let current: Current = parse_strict(&bytes).map_err(|error| damaged(&path, error.to_string()))?;
        Ok(Some(current.grant_id))
    }

    fn grants(&self, title: &TitleId) -> Result<Vec<GrantId>> {
        let names = self.names(&self.title_dir(title))?;
        Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    fn title_dir(&self, title: &TitleId) -> PathBuf {
        self.path.join(TITLES).join(title.as_str())
    }

    fn names(&self, path: &Path) -> Result<Vec<std::ffi::OsString>> {
        match self.io.list(path) {
            Ok(names) => Ok(names),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            Err(error) => Err(IoFailure::at("read", path)(error).into()),
        }
    }
}

pub(crate) fn damaged(path: &Path, reason: String) -> crate::Error {
    LibraryError::Damaged { path: path.to_owned(), reason }.into()
}
