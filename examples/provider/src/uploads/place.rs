//! The files of one upload: its bytes and its record in `.open`, and where they go when they are complete.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use counterfoil_tus::Error as Tus;
use http_body_util::BodyExt as _;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

use super::UploadError;

/// Where a holder's uploads lie that are not complete. No name begins with a dot.
const OPEN: &str = ".open";
/// What a record's name ends with.
const RECORD: &str = "json";
/// How long the next bytes of a body are waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Files of one name that are kept of one holder.
const MOST_OF_A_NAME: u32 = 1000;

/// What is known of an upload; beside its bytes, as JSON. It stays for as long as the upload could have lasted, so that a client that was cut
/// off after the last byte learns that all is well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What it is to be called.
    pub name: String,
    /// All its bytes.
    pub length: u64,
    /// `Upload-Metadata`, as it was said.
    pub metadata: String,
    /// In seconds since 1970.
    pub expires: i64,
}

/// Where one upload lies.
pub struct Place {
    directory: PathBuf,
    bytes: PathBuf,
    record: PathBuf,
}

impl Place {
    /// In a holder's directory.
    pub fn new(directory: PathBuf, id: &str) -> Self {
        let open = directory.join(OPEN);
        Place { bytes: open.join(id), record: open.join(format!("{id}.{RECORD}")), directory }
    }

    /// Begins it. The record comes last: without it there is none.
    pub fn make(&self, record: &Record) -> Result<(), UploadError> {
        fs::create_dir_all(self.directory.join(OPEN))?;
        File::create_new(&self.bytes)?;
        fs::write(&self.record, serde_json::to_vec(record).map_err(io::Error::other)?)?;
        if record.length == 0 {
            self.finish(record)?;
        }
        Ok(())
    }

    /// What is known of it, unless it is over.
    pub fn record(&self, now: i64) -> Result<Record, UploadError> {
        let bytes = fs::read(&self.record)
            .map_err(|error| if error.kind() == ErrorKind::NotFound { Tus::Unknown.into() } else { UploadError::Io(error) })?;
        let record: Record = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        if record.expires <= now { Err(Tus::Gone.into()) } else { Ok(record) }
    }

    /// How much of it has come. What is complete has moved.
    pub fn received(&self, record: &Record) -> io::Result<u64> {
        match fs::metadata(&self.bytes) {
            Ok(bytes) => Ok(bytes.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(record.length),
            Err(error) => Err(error),
        }
    }

    /// Whether it is complete.
    pub fn is_whole(&self) -> bool {
        !self.bytes.exists()
    }

    /// Writes a body behind the `received` bytes, and says how long it was. Nothing of it is held in memory for longer than that takes.
    pub async fn take(&self, mut body: Body, received: u64, room: u64) -> Result<u64, UploadError> {
        let mut file = tokio::fs::OpenOptions::new().append(true).open(&self.bytes).await?;
        let mut taken = 0;
        let cut = loop {
            let Ok(next) = tokio::time::timeout(PATIENCE, body.frame()).await else { break true };
            let Some(frame) = next else { break false };
            let Ok(frame) = frame else { break true };
            let Ok(bytes) = frame.into_data() else { continue };
            taken += bytes.len() as u64;
            if taken > room {
                file.flush().await?;
                file.set_len(received).await?;
                return Err(Tus::TooLarge { max: received + room }.into());
            }
            file.write_all(&bytes).await?;
        };
        file.flush().await?;
        file.sync_data().await?;
        if cut && taken < room { Err(UploadError::Cut) } else { Ok(taken) }
    }

    /// Puts what is complete to its holder's files, under a name that is free. Nothing is overwritten.
    ///
    /// # Errors
    /// It was taken away meanwhile, or the disk.
    pub fn finish(&self, record: &Record) -> Result<(), UploadError> {
        for number in 1..=MOST_OF_A_NAME {
            let name = if number == 1 { record.name.clone() } else { format!("{}.{number}", record.name) };
            match renameat_with(CWD, &self.bytes, CWD, self.directory.join(name), RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(File::open(&self.directory)?.sync_all()?),
                Err(rustix::io::Errno::EXIST) => {}
                // It has been put there already; what was taken away has no record.
                Err(rustix::io::Errno::NOENT) if self.record.exists() => return Ok(()),
                Err(rustix::io::Errno::NOENT) => return Err(Tus::Gone.into()),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Err(io::Error::other(format!("{MOST_OF_A_NAME} files are called `{}`", record.name)).into())
    }

    /// Takes it away; the record first: without it there is none.
    pub fn remove(&self) -> io::Result<()> {
        gone(fs::remove_file(&self.record))?;
        gone(fs::remove_file(&self.bytes))
    }
}

/// Bytes that are held of a holder's, with all that those under way will have, and how many are under way. Takes away what has waited too long.
pub fn held(directory: &Path, now: i64) -> io::Result<(u64, usize)> {
    let (mut bytes, mut open) = (0u64, 0);
    for entry in files(directory)? {
        bytes = bytes.saturating_add(entry.metadata()?.len());
    }
    for entry in files(&directory.join(OPEN))? {
        let path = entry.path();
        let id = path.file_stem().and_then(|id| id.to_str()).unwrap_or_default();
        let upload = Place::new(directory.to_owned(), id);
        match upload.record(now) {
            Ok(record) if path.extension().is_some() && !upload.is_whole() => {
                bytes = bytes.saturating_add(record.length);
                open += 1;
            }
            Ok(_) => {}
            Err(UploadError::Io(error)) => return Err(error),
            Err(_) => upload.remove()?,
        }
    }
    Ok((bytes, open))
}

/// Regular files of a directory that may not be there.
fn files(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let mut files = vec![];
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry);
        }
    }
    Ok(files)
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
