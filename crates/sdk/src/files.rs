//! Reading from a title in the library: what it holds stays sealed on the drive, and only what is asked for is opened, in memory.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use counterfoil_terminal::{CardChoice, EntryType, FileInfo, Running, Title, open_title};

use crate::check::{Asked, License};
use crate::{Failure, c_string};

/// A title whose keys are open.
pub struct Opened(Arc<Used>);

/// The title, and that it is in use: noted beside its license while it is read from, and when the last handle of it is closed.
struct Used {
    title: Title,
    running: Option<Running>,
}

/// A file of an opened title; it keeps the title open.
pub struct File {
    used: Arc<Used>,
    info: FileInfo,
}

/// What is in a directory of a title, by name.
pub struct Entries(Vec<Entry>);

struct Entry {
    name: CString,
    kind: EntryType,
    size: u64,
}

impl Opened {
    /// Judges as [`crate::check::check`] does, and opens the keys.
    ///
    /// # Errors
    /// As there.
    pub fn open(asked: &Asked<'_>) -> Result<(Self, Option<License>), Failure> {
        let (terminal, library) = asked.place()?;
        let title = open_title(&terminal, &library, asked.title, &CardChoice::Default)?;
        let license = asked.judged(title.permitted())?;
        let running = Running::begin(&terminal, &library, &title);
        Ok((Self(Arc::new(Used { title, running })), license))
    }

    /// A file, links followed.
    ///
    /// # Errors
    /// `no_such_file`, `wrong_kind`.
    pub fn file(&self, path: &str) -> Result<File, Failure> {
        Ok(File { used: Arc::clone(&self.0), info: self.0.title.file(path)? })
    }

    /// What is in a directory; `""` is the root.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    pub fn list(&self, path: &str) -> Result<Entries, Failure> {
        let entries = self.0.title.list(path)?;
        Ok(Entries(entries.into_iter().map(|entry| Entry { name: c_string(&entry.name), kind: entry.kind, size: entry.size }).collect()))
    }
}

impl File {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.info.size()
    }

    /// Fills `buffer` from `offset`; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// `damaged`.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        self.used.running.iter().for_each(Running::look);
        Ok(self.used.title.read(&self.info, offset, buffer)?)
    }
}

impl Entries {
    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Name, kind (1 a file, 2 a directory, 3 a link) and bytes of one.
    pub fn get(&self, index: usize) -> Option<(&CStr, i32, u64)> {
        let entry = self.0.get(index)?;
        let kind = match entry.kind {
            EntryType::File => 1,
            EntryType::Directory => 2,
            EntryType::Link => 3,
        };
        Some((&entry.name, kind, entry.size))
    }
}
