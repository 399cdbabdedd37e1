//! A medium that is a directory: a download, or a drive that is mounted.

use super::Area;
use crate::io::Io;
use counterfoil_format::content::ReadAt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory.
pub(super) struct Directory {
    pub io: Arc<dyn Io>,
    pub path: PathBuf,
}

impl Area for Directory {
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadAt>> {
        let file: Box<dyn ReadAt> = self.io.open(&self.path.join(path))?;
        Ok(file)
    }

    fn lengths(&self, path: &str) -> io::Result<Vec<(String, u64)>> {
        let directory = self.path.join(path);
        let length = |name: &std::ffi::OsString| Ok((name.to_string_lossy().into_owned(), self.io.metadata(&directory.join(name))?.length));
        self.io.list(&directory)?.iter().map(length).collect()
    }

    fn root(&self) -> Option<&Path> {
        Some(&self.path)
    }
}
