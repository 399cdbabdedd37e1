//! Playing from the library (C12): offline, with nothing in plain on disk.

use crate::card::{CardChoice, FileHolder};
use crate::claimant::open_and_check;
use crate::error::Result;
use crate::library::{Copy, Library, Listed, Record};
use crate::license::{Permitted, invalid, permit};
use crate::terminal::Terminal;
use counterfoil_core::rules::binding::Purpose;
use counterfoil_core::{Code, Refusal, TitleId};
use counterfoil_format::content::{ChunkKeys, EntryKind, FileView, LibraryKey, Manifest, ObjectName, ReadAt, ReadError, Reader, Release};
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Plaintext kept in memory, in bytes: enough for read-ahead of several files at once.
const CACHE: usize = 8 << 20;
/// Links followed one after another, as file systems have it.
const MOST_LINKS: usize = 40;

/// Why something of a title cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayError {
    /// Nothing of that name.
    #[error("`{title}` holds no `{path}`")]
    NotFound {
        /// Which title.
        title: TitleId,
        /// As asked for.
        path: String,
    },
    /// A directory where a file is needed, or the reverse.
    #[error("`{path}` is {is}")]
    Kind {
        /// As asked for.
        path: String,
        /// What it is, as `a directory`.
        is: &'static str,
    },
    /// A chunk is damaged or missing: file and offset are named.
    #[error("{source}")]
    Damaged {
        /// Where, and what is wrong.
        source: Box<ReadError>,
        /// The title, for the remedy.
        title: TitleId,
    },
    /// What was read cannot be handed on.
    #[error("cannot write what was read: {0}")]
    Output(#[from] io::Error),
    /// The view cannot be mounted.
    #[error("cannot mount at {}: {reason}", path.display())]
    Mount {
        /// Where.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl PlayError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            PlayError::NotFound { .. } => "no_such_file",
            PlayError::Kind { .. } => "wrong_kind",
            PlayError::Damaged { .. } => "damaged",
            PlayError::Output(_) => "output",
            PlayError::Mount { .. } => "not_mounted",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> String {
        match self {
            PlayError::NotFound { title, .. } => {
                format!("`counterfoil play {title} --mount DIR` shows what it holds.")
            }
            PlayError::Damaged { title, .. } => {
                format!("`counterfoil verify {title}` says what is damaged; `--repair` heals it.")
            }
            PlayError::Kind { .. } => "Name a file in it.".into(),
            PlayError::Mount { .. } => "Name an empty directory of your own; `fusermount3` must be installed.".into(),
            _ => "Check where it is written to.".into(),
        }
    }
}

/// A copy whose keys are open: what playing, verifying and repairing start from.
pub(crate) struct Unsealed {
    pub copy: Copy,
    pub record: Record,
    pub release: Release,
    pub keys: ChunkKeys,
    pub library_key: LibraryKey,
    pub holder: FileHolder,
}

/// Unseals the library key with the holder, and compares the hardware (C12) and where the copy came from (D7).
pub(crate) fn unseal(terminal: &Terminal, library: &Library, title: &TitleId, card: &CardChoice) -> Result<Unsealed> {
    let copy = library.complete(title)?;
    let record = copy.record()?;
    let holder = terminal.holder(card, Some(library.path()))?;
    let grant = holder.sealed().grant(record.listed.grant_id).ok_or_else(|| no_keys(&record.listed))?;
    // The library's own word is anybody's who can write there, and a copy that is said to be a medium's has no license to be judged by.
    if grant.origin.license() != record.listed.origin.license() {
        return Err(invalid("the library says that it came from elsewhere, and not what the card says"));
    }
    let (library_key, _) = open_and_check(terminal, &holder, grant, library.path(), Purpose::Play)?;
    let release = copy.release(&record)?;
    let library_key = LibraryKey::new(library_key);
    let keys = copy.keys(&record, &library_key)?;
    Ok(Unsealed { copy, record, release, keys, library_key, holder })
}

/// Another card's copy, or one whose keys went with a device or drive that was exchanged (C14).
fn no_keys(listed: &Listed) -> crate::Error {
    let refusal = Refusal::with(Code::PlayNotPermitted, "the card holds no keys for it");
    let hint = match listed.origin.license() {
        Some(_) => {
            format!("Use the card that it was installed with. After a repair, install it again: `counterfoil install {}`.", listed.title)
        }
        None => "Use the card that it was copied with. After a repair, copy it again: `counterfoil copy MEDIUM`.".to_owned(),
    };
    Refusal { hint, ..refusal }.into()
}

impl Unsealed {
    /// The manifest, opened and checked against the release.
    pub fn manifest(&self) -> Result<Manifest> {
        self.copy.manifest(&self.release, &self.keys)
    }
}

/// A title that can be read. Shared between threads by `Arc`.
pub struct Title {
    listed: Listed,
    permitted: Option<Permitted>,
    release: Release,
    manifest: Arc<Manifest>,
    reader: Reader,
}

/// A file of a title, ready to be read.
#[derive(Clone, Debug)]
pub struct FileInfo {
    view: FileView,
    path: String,
    executable: bool,
}

impl FileInfo {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.view.size()
    }

    /// Its path in the title, links followed.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it can be run.
    pub fn executable(&self) -> bool {
        self.executable
    }
}

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryType {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A link to one of the two.
    Link,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Without its directory.
    pub name: String,
    /// What it is.
    pub kind: EntryType,
    /// Bytes, of a file.
    pub size: u64,
}

/// Opens a title: judges its license, where it has one, unseals the library key, compares the hardware, opens the manifest. Nothing is asked
/// of anybody, nothing written; [`crate::renew()`] asks.
///
/// # Errors
/// [`Code::PlayNotPermitted`] (C12, C13); of a licensed title [`Code::RunNotPermitted`] (D7), [`Code::LicenseInvalid`], [`Code::LicenseEnded`],
/// [`Code::LicenseExpired`]; [`crate::LibraryError`]; [`crate::card::HolderError`]; what the system said.
pub fn open_title(terminal: &Terminal, library: &Library, title: &TitleId, card: &CardChoice) -> Result<Title> {
    let copy = library.complete(title)?;
    let permitted = permit(terminal, library, &copy, &copy.record()?.listed)?;
    let unsealed = unseal(terminal, library, title, card)?;
    let manifest = Arc::new(unsealed.manifest()?);
    let Unsealed { copy, record, release, keys, .. } = unsealed;
    let open = move |name: &ObjectName| {
        let pack: Box<dyn ReadAt> = copy.io.open(&copy.pack(name))?;
        Ok(pack)
    };
    let reader = Reader::new(Arc::clone(&manifest), keys, CACHE, open);
    Ok(Title { listed: Listed { complete: true, ..record.listed }, permitted, release, manifest, reader })
}

impl Title {
    /// What it is.
    pub fn listed(&self) -> &Listed {
        &self.listed
    }

    /// The license that it was opened by; none where it was copied from a medium.
    pub fn permitted(&self) -> Option<&Permitted> {
        self.permitted.as_ref()
    }

    /// Path of what is run or played first.
    pub fn entry_point(&self) -> Option<&str> {
        self.release.entry.as_deref()
    }

    /// Path of its control program (D4).
    pub(crate) fn control(&self) -> Option<&str> {
        self.release.control.as_deref()
    }

    /// All that it holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A file, links followed.
    ///
    /// # Errors
    /// [`PlayError::NotFound`], [`PlayError::Kind`].
    pub fn file(&self, path: &str) -> Result<FileInfo> {
        let directory = || PlayError::Kind { path: path.to_owned(), is: "a directory" };
        let index = self.resolve(path)?.ok_or_else(directory)?;
        self.file_at(index).ok_or_else(|| directory().into())
    }

    /// The file at an index of the manifest.
    pub(crate) fn file_at(&self, index: usize) -> Option<FileInfo> {
        let entry = self.manifest.entry(index);
        let EntryKind::File { executable, .. } = entry.kind else { return None };
        Some(FileInfo { view: self.reader.file(index)?, path: entry.path.to_owned(), executable })
    }

    /// What is in a directory, by name; `""` is the root.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    pub fn list(&self, path: &str) -> Result<Vec<DirEntry>> {
        let directory = self.resolve(path)?;
        if directory.is_some_and(|index| !matches!(self.manifest.entry(index).kind, EntryKind::Directory)) {
            return Err(PlayError::Kind { path: path.to_owned(), is: "a file" }.into());
        }
        let entry = |index| {
            let entry = self.manifest.entry(index);
            let (kind, size) = match entry.kind {
                EntryKind::Directory => (EntryType::Directory, 0),
                EntryKind::File { size, .. } => (EntryType::File, size),
                EntryKind::Link { .. } => (EntryType::Link, 0),
            };
            DirEntry { name: name_of(entry.path).to_owned(), kind, size }
        };
        Ok(self.manifest.children(directory).map(entry).collect())
    }

    /// Fills `buffer` from `offset` of a file; fewer bytes only at its end.
    ///
    /// # Errors
    /// [`PlayError::Damaged`], with file and offset.
    pub fn read(&self, file: &FileInfo, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let read = self.reader.read_at(&file.view, offset, buffer);
        Ok(read.map_err(|source| PlayError::Damaged { source: Box::new(source), title: self.listed.title.clone() })?)
    }

    /// Writes a range of a file; returns how many bytes, fewer than asked for only at the file's end.
    ///
    /// # Errors
    /// [`PlayError::Damaged`], [`PlayError::Output`].
    pub fn copy_range(&self, file: &FileInfo, range: Range<u64>, to: &mut dyn Write) -> Result<u64> {
        let mut buffer = vec![0; 256 * 1024];
        let mut at = range.start;
        while at < range.end {
            let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(buffer.len());
            let count = self.read(file, at, &mut buffer[..wanted])?;
            if count == 0 {
                break;
            }
            to.write_all(&buffer[..count]).map_err(PlayError::Output)?;
            at += count as u64;
        }
        to.flush().map_err(PlayError::Output)?;
        Ok(at - range.start)
    }

    /// The index of what a path leads to, links followed; `None` is the root.
    fn resolve(&self, path: &str) -> Result<Option<usize>> {
        let not_found = || PlayError::NotFound { title: self.listed.title.clone(), path: path.to_owned() };
        let mut here = String::new();
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    let up = here.rfind('/').unwrap_or(0);
                    here.truncate(up);
                    continue;
                }
                _ => {}
            }
            let next = if here.is_empty() { name } else { format!("{here}/{name}") };
            let index = self.manifest.find(&next).ok_or_else(not_found)?;
            if let EntryKind::Link { target } = self.manifest.entry(index).kind {
                links += 1;
                if links > MOST_LINKS {
                    return Err(not_found().into());
                }
                rest.extend(target.split('/').rev().map(str::to_owned));
            } else {
                here = next;
            }
        }
        if here.is_empty() { Ok(None) } else { Ok(Some(self.manifest.find(&here).ok_or_else(not_found)?)) }
    }
}

/// A path without its directory.
pub(crate) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
