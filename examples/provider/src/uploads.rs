//! What has been handed in, and what is under way: plain files, `<directory>/<holder>/<name>`, with `.open` beside them.
//!
//! A file's length is how much of it has come, so that whatever is killed when, the next `HEAD` tells the truth.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use axum::body::Body;
use counterfoil_tus::{Error as Tus, Patch};

mod place;

use place::Place;
pub use place::Record;

/// So many of one holder at once.
const MOST_OPEN: usize = 10;
/// How long one waits for all its bytes, in seconds.
const LIFETIME: i64 = 24 * 3600;

/// The directory that is handed in to.
pub struct Uploads {
    directory: PathBuf,
    /// The most that one upload may have, in bytes.
    pub most: u64,
    holder_most: u64,
    /// Uploads that a body is being written to.
    busy: Arc<Mutex<HashSet<String>>>,
    /// Held while it is looked whether there is room for one more.
    making: Mutex<()>,
}

/// Something that is to be handed in.
pub struct Wanted<'a> {
    /// Its name, which is one ([`crate::contents::is_name`]).
    pub name: &'a str,
    /// In bytes.
    pub length: u64,
    /// `Upload-Metadata`, to be repeated.
    pub metadata: String,
    /// The most that may be held of the holder's, in bytes, where the authority says so.
    pub limit: Option<u64>,
}

/// Why something cannot be handed in.
#[derive(Debug)]
pub enum UploadError {
    /// As the protocol says it.
    Tus(Tus),
    /// More than may be held of this holder's.
    Quota {
        /// Bytes that are held.
        held: u64,
        /// Bytes that may be.
        limit: u64,
    },
    /// As many are under way as may be.
    TooMany,
    /// Another request writes to it.
    Busy,
    /// The body ended early; what has come is kept.
    Cut,
    /// The disk.
    Io(io::Error),
}

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> Self {
        UploadError::Io(error)
    }
}

impl From<Tus> for UploadError {
    fn from(error: Tus) -> Self {
        UploadError::Tus(error)
    }
}

/// While a body is written to an upload, nobody else does.
struct Busy {
    all: Arc<Mutex<HashSet<String>>>,
    id: String,
}

impl Uploads {
    /// In `directory`, with limits for one upload and for all of one holder's, in bytes.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(directory: PathBuf, most: u64, holder_most: u64) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        Ok(Uploads { directory, most: most.min(holder_most), holder_most, busy: Arc::default(), making: Mutex::default() })
    }

    /// Makes room for one, under the name `id`, which nobody can guess.
    ///
    /// # Errors
    /// It would be too much, or cannot be kept.
    pub fn create(&self, holder: &str, id: &str, wanted: Wanted<'_>, now: i64) -> Result<Record, UploadError> {
        if wanted.length > self.most {
            return Err(Tus::TooLarge { max: self.most }.into());
        }
        let limit = self.holder_most.min(wanted.limit.unwrap_or(u64::MAX));
        let directory = self.directory_of(holder);
        let _one_after_the_other = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, open) = place::held(&directory, now)?;
        if open >= MOST_OPEN {
            return Err(UploadError::TooMany);
        }
        if held.saturating_add(wanted.length) > limit {
            return Err(UploadError::Quota { held, limit });
        }
        let record = Record {
            name: wanted.name.to_owned(),
            length: wanted.length,
            metadata: wanted.metadata,
            expires: now.saturating_add(LIFETIME),
        };
        Place::new(directory, id).make(&record)?;
        Ok(record)
    }

    /// How much of one has come.
    ///
    /// # Errors
    /// There is none of this holder's.
    pub fn state(&self, holder: &str, id: &str, now: i64) -> Result<(u64, Record), UploadError> {
        let upload = Place::new(self.directory_of(holder), id);
        let record = upload.record(now)?;
        let received = upload.received(&record)?;
        // Somebody may have pulled the plug between the last byte and its end.
        if received == record.length
            && let Some(_busy) = self.claim(id)
        {
            upload.finish(&record)?;
        }
        Ok((received, record))
    }

    /// Takes a body in, and says how much there is then. It goes on until the body ends, whoever waits for it.
    ///
    /// # Errors
    /// It does not belong there, or does not come to its end: what has come of it is kept. Of one that is too long nothing is.
    pub async fn append(&self, holder: &str, id: &str, patch: Patch, body: Body, now: i64) -> Result<(u64, Record), UploadError> {
        let upload = Place::new(self.directory_of(holder), id);
        upload.record(now)?;
        let busy = self.claim(id).ok_or(UploadError::Busy)?;
        let written = tokio::spawn(async move {
            let _until_the_last_byte = busy;
            let record = upload.record(now)?;
            let received = upload.received(&record)?;
            let room = patch.room(received, record.length)?;
            let taken = if room == 0 { 0 } else { upload.take(body, received, room).await? };
            if received + taken == record.length {
                upload.finish(&record)?;
            }
            Ok((received + taken, record))
        });
        written.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    /// Takes one away that is not complete.
    ///
    /// # Errors
    /// There is none of this holder's, or it is complete.
    pub fn remove(&self, holder: &str, id: &str, now: i64) -> Result<(), UploadError> {
        let upload = Place::new(self.directory_of(holder), id);
        upload.record(now)?;
        let _busy = self.claim(id).ok_or(UploadError::Busy)?;
        if upload.is_whole() { Err(Tus::Gone.into()) } else { Ok(upload.remove()?) }
    }

    /// Takes away whatever has waited too long.
    ///
    /// # Errors
    /// The disk.
    pub fn sweep(&self, now: i64) -> io::Result<()> {
        let _one_after_the_other = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        for holder in fs::read_dir(&self.directory)? {
            place::held(&holder?.path(), now)?;
        }
        Ok(())
    }

    /// Named by the holder, or by its hash where that may be no name of a directory.
    fn directory_of(&self, holder: &str) -> PathBuf {
        let plain = holder.len() <= 100 && holder.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let hashed = || format!("blake3.{}", blake3::hash(holder.as_bytes()).to_hex());
        self.directory.join(if plain { holder.to_owned() } else { hashed() })
    }

    fn claim(&self, id: &str) -> Option<Busy> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(id.to_owned()).then(|| Busy { all: Arc::clone(&self.busy), id: id.to_owned() })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Whether this may be an upload's ID: 32 hexadecimal digits, so that it is no path.
pub fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
