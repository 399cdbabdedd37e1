//! The two sides of a patch as the difference engine reads them: the manifest as file 0, then the chosen files (SPEC.md §10).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_format::content::{EntryKind, FileView, Manifest, ReadAt as _, Reader};
use counterfoil_patch::Files;

/// One side of a patch.
pub struct Text {
    manifest: Vec<u8>,
    lengths: Vec<u64>,
    source: Source,
}

enum Source {
    /// The files as they lie here; the one that was read last stays open.
    Directory { paths: Vec<PathBuf>, open: Mutex<Option<(usize, Arc<File>)>> },
    /// The files as a release holds them.
    Packs { reader: Box<Reader>, views: Vec<FileView> },
}

impl Text {
    /// Files of a directory that was published as `manifest`.
    pub fn of_directory(manifest: &Manifest, entries: &[u32], root: &Path) -> Self {
        let paths = entries.iter().map(|&entry| root.join(manifest.entry(entry as usize).path)).collect();
        Self::new(manifest, entries, Source::Directory { paths, open: Mutex::default() })
    }

    /// Files of a release whose packs were fetched.
    pub fn of_packs(reader: Reader, entries: &[u32]) -> Self {
        let views = entries.iter().filter_map(|&entry| reader.file(entry as usize)).collect();
        let manifest = reader.manifest().clone();
        Self::new(&manifest, entries, Source::Packs { reader: Box::new(reader), views })
    }

    fn new(manifest: &Manifest, entries: &[u32], source: Source) -> Self {
        let length = |&entry: &u32| match manifest.entry(entry as usize).kind {
            EntryKind::File { size, .. } => size,
            _ => 0,
        };
        Self { manifest: manifest.encode(), lengths: entries.iter().map(length).collect(), source }
    }

    /// Bytes of all files together, the manifest among them.
    pub fn total(&self) -> u64 {
        self.manifest.len() as u64 + self.lengths.iter().sum::<u64>()
    }
}

impl Files for Text {
    fn count(&self) -> usize {
        self.lengths.len() + 1
    }

    fn length(&self, file: usize) -> u64 {
        match file.checked_sub(1) {
            None => self.manifest.len() as u64,
            Some(file) => self.lengths[file],
        }
    }

    fn read_exact_at(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(file) = file.checked_sub(1) else { return self.manifest.read_exact_at(buffer, offset) };
        match &self.source {
            Source::Directory { paths, open } => {
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                let handle = match &*open {
                    Some((at, handle)) if *at == file => Arc::clone(handle),
                    _ => {
                        let handle = Arc::new(File::open(&paths[file])?);
                        *open = Some((file, Arc::clone(&handle)));
                        handle
                    }
                };
                drop(open);
                handle.read_exact_at(buffer, offset)
            }
            Source::Packs { reader, views } => match reader.read_at(&views[file], offset, buffer) {
                Ok(read) if read == buffer.len() => Ok(()),
                Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => Err(io::Error::other(error)),
            },
        }
    }
}
