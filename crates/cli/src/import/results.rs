//! The table of who has which user ID.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::Person;
use crate::failure::Failure;
use crate::files;

/// Who has which user ID, as it becomes known.
pub(super) struct Results {
    path: PathBuf,
    partial: PathBuf,
    table: csv::Writer<File>,
}

impl Results {
    pub(super) fn begin(path: &Path) -> Result<Self, Failure> {
        let partial = files::beside(path);
        // One left behind by a run that was killed.
        let _ = std::fs::remove_file(&partial);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&partial);
        let mut table = csv::Writer::from_writer(file.map_err(|error| Failure::file("write", &partial, &error))?);
        table.write_record(["line", "user_id", "new"]).map_err(|error| Failure::file("write", &partial, &io::Error::other(error)))?;
        Ok(Self { path: path.to_owned(), partial, table })
    }

    pub(super) fn add(&mut self, line: Option<u64>, person: &Person) -> Result<(), Failure> {
        let record = [line.unwrap_or(0).to_string(), person.user_id.clone(), person.made.to_string()];
        self.table.write_record(record).map_err(|error| Failure::file("write", &self.partial, &io::Error::other(error)))
    }

    pub(super) fn finish(mut self) -> Result<PathBuf, Failure> {
        let file = self.table.flush().and_then(|()| self.table.get_ref().sync_all());
        let done = file.and_then(|()| std::fs::rename(&self.partial, &self.path)).and_then(|()| files::sync_directory(&self.path));
        done.map_err(|error| Failure::file("write", &self.path, &error))?;
        Ok(self.path)
    }
}
