//! The contents store: sealed objects in a directory, each named by the hash of its bytes and never changed.
//!
//! An object lies at `ab/cd/abcd…`. It is written beside the store's objects, hashed on the way, made durable, and only then given its name:
//! whatever is found under a name is complete. Two uploads of one object do the same work twice and end in the same bytes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use counterfoil_format::content::ObjectName;
use futures_util::{Stream, StreamExt as _};
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use crate::problem::{ApiCode, Problem};

/// Pieces of an upload that may wait for the disk; with pieces of at most a few hundred KiB, this bounds the memory of one upload.
const WAITING: usize = 4;
/// An unfinished upload that nothing was written to for so long belongs to a process that is gone.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory of objects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    root: Arc<Path>,
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
    /// The disk or the quota is full.
    #[error("the contents store is full")]
    Full,
    /// The upload broke off.
    #[error("the upload broke off: {0}")]
    Upload(String),
    /// The file system failed.
    #[error("the contents store failed: {0}")]
    Io(io::Error),
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
            BlobError::Full => ApiCode::StorageFull.into(),
            BlobError::Upload(_) => Self::with(ApiCode::InvalidRequest, error.to_string()),
            BlobError::Io(_) => Self::internal(error),
        }
    }
}

impl Blobs {
    /// Opens the store at `root`, making the directory where it is missing.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = root.as_ref();
        fs::create_dir_all(root.join(UNFINISHED))?;
        Ok(Self { root: root.into() })
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Stores what `pieces` yields under `name`, in constant memory. Nothing is left behind when it fails.
    ///
    /// # Errors
    /// `Name` when the bytes are others, `Full`, `Upload` when `pieces` fails, `Io`.
    pub async fn put<E: std::fmt::Display>(
        &self,
        name: ObjectName,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Put, BlobError> {
        let mut pieces = std::pin::pin!(pieces);
        if self.length(name).await?.is_some() {
            // Read to its end all the same: a caller in the middle of sending would take a closed connection for a failure.
            while pieces.next().await.is_some_and(|piece| piece.is_ok()) {}
            return Ok(Put::Present);
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        let store = self.clone();
        let writing = tokio::task::spawn_blocking(move || store.receive(name, receiver));
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
        // A caller that goes away drops this future before the end is sent, and what was received is thrown away.
        if failure.is_none() {
            let _ = sender.send(Piece::End).await;
        }
        drop(sender);
        let stored = writing.await.map_err(io::Error::other)?;
        failure.map_or(stored, Err)
    }

    /// Length of an object in bytes; `None` when it is not in the store.
    ///
    /// # Errors
    /// `Io`.
    pub async fn length(&self, name: ObjectName) -> Result<Option<u64>, BlobError> {
        match tokio::fs::metadata(self.path(name)).await {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens an object for reading, with its length in bytes; `None` when it is not in the store.
    ///
    /// # Errors
    /// `Io`.
    pub async fn get(&self, name: ObjectName) -> Result<Option<(tokio::fs::File, u64)>, BlobError> {
        match tokio::fs::File::open(self.path(name)).await {
            Ok(file) => {
                let length = file.metadata().await?.len();
                Ok(Some((file, length)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Throws away what processes that were killed had received; younger leftovers may be somebody's upload under way.
    ///
    /// # Errors
    /// When the directory cannot be read or a leftover cannot be removed.
    pub fn sweep(&self, now: SystemTime) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(self.root.join(UNFINISHED))? {
            let entry = entry?;
            let modified = entry.metadata()?.modified()?;
            if now.duration_since(modified).is_ok_and(|age| age >= ABANDONED) {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn path(&self, name: ObjectName) -> PathBuf {
        let hex = name.to_string();
        self.root.join(&hex[..2]).join(&hex[2..4]).join(hex)
    }

    /// The blocking half of [`put`](Self::put).
    fn receive(&self, name: ObjectName, pieces: mpsc::Receiver<Piece>) -> Result<Put, BlobError> {
        let mut unfinished = NamedTempFile::new_in(self.root.join(UNFINISHED))?;
        let found = fill(unfinished.as_file_mut(), pieces)?;
        if found != name {
            return Err(BlobError::Name(found));
        }
        unfinished.as_file().sync_all()?;
        let path = self.path(name);
        let fan_out = path.parent().expect("an object lies two directories below the root");
        let first = fan_out.parent().expect("as above");
        fs::create_dir_all(fan_out)?;
        let there = path.exists();
        // Replacing the same bytes by the same bytes is no change, and readers keep the file that they opened.
        unfinished.persist(&path).map_err(|error| error.error)?;
        for directory in [fan_out, first, &self.root] {
            File::open(directory)?.sync_all()?;
        }
        Ok(if there { Put::Present } else { Put::Stored })
    }
}

const UNFINISHED: &str = "unfinished";

/// An upload on its way to the disk. One without an end came to nothing.
enum Piece {
    Bytes(Bytes),
    End,
}

/// Writes the pieces, and names what was written.
fn fill(out: &mut impl Write, mut pieces: mpsc::Receiver<Piece>) -> Result<ObjectName, BlobError> {
    let mut hasher = blake3::Hasher::new();
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(piece)) => {
                hasher.update(&piece);
                out.write_all(&piece)?;
            }
            Some(Piece::End) => return Ok(ObjectName(*hasher.finalize().as_bytes())),
            None => return Err(BlobError::Upload("it has no end".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::convert::Infallible;

    fn pieces(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
        // Copied, so that the stream owns what it yields; 1,000 bytes a piece, so that there are many.
        stream::iter(bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>())
    }

    fn everything_below(path: &Path) -> Vec<PathBuf> {
        let mut found = vec![];
        for entry in fs::read_dir(path).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                found.extend(everything_below(&path));
            } else {
                found.push(path);
            }
        }
        found
    }

    #[tokio::test]
    async fn an_object_is_stored_once_and_read_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::open(directory.path()).expect("opens");
        let bytes = vec![7; 100_001];
        let name = ObjectName::of(&bytes);
        assert_eq!(blobs.length(name).await.expect("reads"), None);
        assert!(blobs.get(name).await.expect("reads").is_none());
        assert_eq!(blobs.put(name, pieces(&bytes)).await.expect("stored"), Put::Stored);
        assert_eq!(blobs.put(name, pieces(&bytes)).await.expect("there"), Put::Present);
        assert_eq!(blobs.length(name).await.expect("reads"), Some(100_001));
        assert_eq!(fs::read(blobs.path(name)).expect("reads"), bytes);
        assert_eq!(everything_below(directory.path()), [blobs.path(name)]);
    }

    #[tokio::test]
    async fn bytes_of_another_name_and_broken_uploads_leave_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::open(directory.path()).expect("opens");
        let name = ObjectName::of(b"right");
        assert!(matches!(blobs.put(name, pieces(b"wrong")).await, Err(BlobError::Name(found)) if found == ObjectName::of(b"wrong")));
        let broken = stream::iter([Ok(Bytes::from_static(b"rig")), Err("cable cut")]);
        assert!(matches!(blobs.put(name, broken).await, Err(BlobError::Upload(reason)) if reason == "cable cut"));
        // Cut exactly at the end: all the bytes came, and yet nobody said that it was all.
        let broken = stream::iter([Ok(Bytes::from_static(b"right")), Err("cable cut")]);
        assert!(matches!(blobs.put(name, broken).await, Err(BlobError::Upload(_))));
        assert!(everything_below(directory.path()).is_empty());
    }

    #[tokio::test]
    async fn concurrent_uploads_of_one_object_all_succeed() {
        let directory = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::open(directory.path()).expect("opens");
        let bytes = vec![9; 300_000];
        let name = ObjectName::of(&bytes);
        let uploads = (0..16).map(|_| blobs.put(name, pieces(&bytes)));
        for result in futures_util::future::join_all(uploads).await {
            result.expect("each succeeds");
        }
        assert_eq!(everything_below(directory.path()), [blobs.path(name)]);
        assert_eq!(fs::read(blobs.path(name)).expect("reads"), bytes);
    }

    /// Takes so many bytes, then is full.
    struct SmallDisk(usize);

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.0);
            self.0 -= n;
            if n == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(n) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_told_apart() {
        let (sender, receiver) = mpsc::channel(4);
        sender.send(Piece::Bytes(Bytes::from(vec![1; 5000]))).await.expect("room");
        let result = tokio::task::spawn_blocking(|| fill(&mut SmallDisk(4096), receiver)).await.expect("runs");
        assert!(matches!(result, Err(BlobError::Full)));
        assert!(sender.is_closed(), "the sender learns that it can stop");
    }

    #[test]
    fn only_old_leftovers_are_swept() {
        let directory = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::open(directory.path()).expect("opens");
        let leftover = directory.path().join(UNFINISHED).join("x");
        fs::write(&leftover, b"half").expect("writes");
        let written = fs::metadata(&leftover).and_then(|found| found.modified()).expect("a time");
        assert_eq!(blobs.sweep(written + ABANDONED / 2).expect("sweeps"), 0);
        assert_eq!(blobs.sweep(written + ABANDONED).expect("sweeps"), 1);
        assert!(everything_below(directory.path()).is_empty());
    }
}
