//! The contents store: sealed objects, each named by the hash of its bytes and never changed.
//!
//! They lie in a directory (`directory.rs`) or in an object store (`remote.rs`), at `ab/cd/abcd…` in both.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use counterfoil_core::UserId;
use counterfoil_format::content::ObjectName;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;

use crate::config::{ConfigError, Contents};
use crate::problem::{ApiCode, Problem};
use directory::Directory;
use remote::Remote;
use turns::{Turn, Turns};

mod connect;
mod directory;
mod parts;
mod remote;
mod turns;

/// Pieces of an upload that may wait for the store; with pieces of at most a few hundred KiB, this bounds the memory of one upload into a
/// directory.
const WAITING: usize = 4;
/// Lengths that are remembered: 40 bytes each.
const REMEMBERED: usize = 1 << 16;
/// Where saves lie below the root: apart from what publishers have sent, so that taking one away never takes another's object.
const SAVES: &str = "saves";
/// When to ask a store again that is away, in seconds.
const ASK_AGAIN: u32 = 5;

/// A store of objects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    place: Place,
    /// Whether this is the part of it that saves lie in.
    saves: bool,
    /// Lengths of objects that were found: they cannot change.
    known: Arc<Mutex<HashMap<(bool, ObjectName), u64>>>,
    /// Turns of those who send parts.
    turns: Turns,
}

#[derive(Clone, Debug)]
enum Place {
    Directory(Directory),
    Remote(Remote),
}

/// What became of an upload that was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is in the store now.
    Stored,
    /// It was there before.
    Present,
}

/// Why an object was not stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The bytes have another hash than the name says.
    #[error("the bytes hash to {0}")]
    Name(ObjectName),
    /// More bytes than the store takes in one object.
    #[error("an object may have {0} bytes")]
    TooLong(u64),
    /// The disk, the bucket or the quota is full.
    #[error("the contents store is full")]
    Full,
    /// The upload broke off.
    #[error("the upload broke off: {0}")]
    Upload(String),
    /// The file system failed.
    #[error("the contents store failed: {0}")]
    Io(io::Error),
    /// The object store does not answer, or not as it should. To be tried again.
    #[error("the contents store is away: {0}")]
    Away(String),
    /// The object store says that there is nothing: no object, no upload, no bucket.
    #[error("the contents store knows nothing of that name: is the bucket there?")]
    Missing,
}

impl BlobError {
    fn no_end() -> Self {
        Self::Upload("it has no end".into())
    }
}

impl From<io::Error> for BlobError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::Full,
            _ => Self::Io(error),
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Name(_) => Self::with(ApiCode::ObjectMismatch, error.to_string()),
            BlobError::TooLong(_) => Self::with(ApiCode::TooLarge, error.to_string()),
            BlobError::Full => ApiCode::StorageFull.into(),
            BlobError::Upload(_) => Self::with(ApiCode::InvalidRequest, error.to_string()),
            BlobError::Io(_) => Self::internal(error),
            BlobError::Away(_) | BlobError::Missing => {
                tracing::warn!(%error, "the contents store is not available");
                Self { retry_after: Some(ASK_AGAIN), ..ApiCode::ContentsUnavailable.into() }
            }
        }
    }
}

impl Blobs {
    /// Opens the store in the directory `root`, making it where it is missing.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::new(Place::Directory(Directory::open(root.as_ref())?)))
    }

    /// The store that is configured. An object store need not answer yet.
    ///
    /// # Errors
    /// `Value` names what is wrong with the settings.
    pub fn connect(contents: &Contents) -> Result<Self, ConfigError> {
        match &contents.url {
            Some(url) => Self::at(url, &contents.all_options()?),
            None => Self::at(&format!("dir:{}", contents.dir.display()), &BTreeMap::new()),
        }
    }

    /// The store at `dir:PATH`, `file:///PATH`, `s3://bucket/prefix`, `gs://…`, `az://…`.
    ///
    /// # Errors
    /// As for [`Self::connect`].
    pub fn at(place: &str, options: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let directory = match place.strip_prefix("dir:") {
            Some(path) => Some(PathBuf::from(path)),
            None => file_url(place),
        };
        let Some(directory) = directory else { return Ok(Self::new(Place::Remote(connect::connect(place, options)?))) };
        let wrong = |error| ConfigError::Value { key: "contents.dir", reason: format!("{}: {error}", directory.display()) };
        Self::open(&directory).map_err(wrong)
    }

    fn new(place: Place) -> Self {
        Self { place, saves: false, known: Arc::default(), turns: Turns::default() }
    }

    /// The part of the store that saves lie in, named as other objects are and taken away when nobody needs them.
    pub fn saves(&self) -> Self {
        let place = match &self.place {
            Place::Directory(directory) => Place::Directory(directory.below(SAVES)),
            Place::Remote(remote) => Place::Remote(remote.below(SAVES)),
        };
        Self { place, saves: true, known: Arc::clone(&self.known), turns: self.turns.clone() }
    }

    /// Waits for a turn to take a body of a user's in parts.
    pub async fn turn(&self, user: UserId) -> Turn {
        self.turns.take(user).await
    }

    /// Takes an object away that nothing was written to since `since`; true where it is gone then.
    ///
    /// # Errors
    /// `Io`, `Away`.
    pub async fn remove(&self, name: ObjectName, since: SystemTime) -> Result<bool, BlobError> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&(self.saves, name));
        match &self.place {
            Place::Directory(directory) => Ok(directory.remove(name, since)?),
            Place::Remote(remote) => remote.remove(name, since).await,
        }
    }

    /// Stores what `pieces` yields under `name`, in constant memory, unless it is there. Nothing is left under the name when it fails.
    ///
    /// # Errors
    /// `Name` when the bytes are others, `Full`, `TooLong`, `Upload` when `pieces` fails, `Io`, `Away`.
    pub async fn put<E: std::fmt::Display>(
        &self,
        name: ObjectName,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Put, BlobError> {
        if self.length(name).await?.is_some() {
            // Read to its end all the same: a caller in the middle of sending would take a closed connection for a failure.
            let mut pieces = std::pin::pin!(pieces);
            while pieces.next().await.is_some_and(|piece| piece.is_ok()) {}
            return Ok(Put::Present);
        }
        self.replace(name, pieces).await.map(|()| Put::Stored)
    }

    /// Stores what `pieces` yields under `name`, whether something is there or not.
    ///
    /// # Errors
    /// As for [`Self::put`].
    pub async fn replace<E: std::fmt::Display>(
        &self,
        name: ObjectName,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<(), BlobError> {
        let mut pieces = std::pin::pin!(pieces);
        let (sender, receiver) = mpsc::channel(WAITING);
        // A task of its own, which outlives a caller that goes away: the end is not sent then, and what was received is thrown away.
        let writing = match self.place.clone() {
            Place::Directory(directory) => tokio::task::spawn_blocking(move || directory.receive(name, receiver)),
            Place::Remote(remote) => tokio::spawn(async move { remote.receive(name, receiver).await }),
        };
        let mut failure = None;
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) => {
                    // A receiver that is gone has failed, and says below why.
                    if sender.send(Piece::Bytes(piece)).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    failure = Some(BlobError::Upload(error.to_string()));
                    break;
                }
            }
        }
        if failure.is_none() {
            let _ = sender.send(Piece::End).await;
        }
        drop(sender);
        let stored = writing.await.map_err(io::Error::other)?;
        failure.map_or(stored, Err)
    }

    /// Length of an object in bytes, as the store says now; `None` when it is not there.
    ///
    /// # Errors
    /// `Io`, `Away`.
    pub async fn length(&self, name: ObjectName) -> Result<Option<u64>, BlobError> {
        let found = match &self.place {
            Place::Directory(directory) => directory.length(name).await?,
            Place::Remote(remote) => remote.length(name).await?,
        };
        if let Some(length) = found {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert((self.saves, name), length);
        }
        Ok(found)
    }

    /// Length of an object in bytes, asking the store only for objects that were never found before.
    ///
    /// # Errors
    /// As for [`Self::length`].
    pub async fn known_length(&self, name: ObjectName) -> Result<Option<u64>, BlobError> {
        // A directory is asked faster than it is worth remembering.
        let known = match self.place {
            Place::Directory(_) => None,
            Place::Remote(_) => self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&(self.saves, name)).copied(),
        };
        if known.is_some() { Ok(known) } else { self.length(name).await }
    }

    /// Reads a part of an object that lies within its length, in constant memory; `None` when the object is not in the store.
    ///
    /// # Errors
    /// `Io`, `Away`; so may the stream.
    pub async fn read(
        &self,
        name: ObjectName,
        range: Range<u64>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, BlobError>>>, BlobError> {
        match &self.place {
            Place::Directory(directory) => directory.read(name, range).await,
            Place::Remote(remote) => remote.read(name, range).await,
        }
    }

    /// Every object with its length, in no order.
    pub fn list(&self) -> BoxStream<'static, Result<(ObjectName, u64), BlobError>> {
        match &self.place {
            Place::Directory(directory) => directory.list(),
            Place::Remote(remote) => remote.list(),
        }
    }

    /// An address at which the store itself answers a GET of the object, for so long; `None` where the store is a directory.
    ///
    /// # Errors
    /// `Away` when the signature takes a request that fails.
    pub async fn signed_url(&self, name: ObjectName, good_for: Duration) -> Result<Option<String>, BlobError> {
        match &self.place {
            Place::Directory(_) => Ok(None),
            Place::Remote(remote) => remote.signed_url(name, good_for).await.map(Some),
        }
    }

    /// Throws away what processes that were killed had received into a directory. Object stores do so by a lifecycle rule.
    ///
    /// # Errors
    /// When the directory cannot be read or a leftover cannot be removed.
    pub fn sweep(&self, now: SystemTime) -> io::Result<usize> {
        match &self.place {
            Place::Directory(directory) => Ok(directory.sweep(now)? + directory.below(SAVES).sweep(now)?),
            Place::Remote(_) => Ok(0),
        }
    }

    /// Whether the store answers, by asking for an object that nobody has.
    ///
    /// # Errors
    /// `Io`, `Away`.
    pub async fn reach(&self) -> Result<(), BlobError> {
        self.length(ObjectName([0; 32])).await.map(drop)
    }

    /// Whether the place is there and can be listed; and, where this process `writes`, whether something can be written, read and taken away,
    /// by doing so beside the objects under the name `file`.
    ///
    /// # Errors
    /// `Io`, `Away`, `Full`.
    pub async fn probe(&self, file: &str, writes: bool) -> Result<(), BlobError> {
        match &self.place {
            Place::Directory(directory) => directory.probe(file, writes).map_err(BlobError::from),
            Place::Remote(remote) => remote.probe(file, writes).await,
        }
    }
}

impl std::fmt::Display for Blobs {
    /// Where it is, for people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Directory(directory) => write!(f, "{}", directory.root.display()),
            Place::Remote(remote) => f.write_str(&remote.url),
        }
    }
}

/// An upload on its way to the store. One without an end came to nothing.
enum Piece {
    Bytes(Bytes),
    End,
}

/// Where an object lies below the root.
fn key(name: ObjectName) -> String {
    let hex = name.to_string();
    format!("{}/{}/{hex}", &hex[..2], &hex[2..4])
}

/// The path of `file:///…`.
fn file_url(place: &str) -> Option<PathBuf> {
    let url: object_store::signer::Url = place.parse().ok()?;
    if url.scheme() == "file" { url.to_file_path().ok() } else { None }
}
