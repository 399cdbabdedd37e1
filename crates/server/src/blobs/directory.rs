//! Objects in a directory: durable before they have their name.
//!
//! An object is written beside the store's objects, hashed on the way, synced, and only then given its name: whatever is found under a name is
//! complete, after a loss of power as well. Two uploads of one object do the same work twice and end in the same bytes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use counterfoil_format::content::ObjectName;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use super::{BlobError, Piece, key};

/// An unfinished upload that nothing was written to for so long belongs to a process that is gone.
pub(super) const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes that are read at a time: what one download holds in memory.
const PIECE: usize = 128 * 1024;
pub(super) const UNFINISHED: &str = "unfinished";

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) root: Arc<Path>,
    /// Whether it lies in another one's root, which makes it when something is received.
    within: bool,
}

impl Directory {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join(UNFINISHED))?;
        Ok(Self { root: root.into(), within: false })
    }

    /// A store of its own in a directory of this one's root.
    pub(super) fn below(&self, name: &str) -> Self {
        Self { root: self.root.join(name).into(), within: true }
    }

    /// Takes an object away that is older than `since`; true where it is gone then.
    pub(super) fn remove(&self, name: ObjectName, since: SystemTime) -> io::Result<bool> {
        let path = self.path(name);
        match fs::metadata(&path).and_then(|found| found.modified()) {
            Ok(modified) if modified >= since => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        }
    }

    pub(super) async fn length(&self, name: ObjectName) -> Result<Option<u64>, BlobError> {
        found(tokio::fs::metadata(self.path(name)).await).map(|found| found.map(|found| found.len()))
    }

    pub(super) async fn read(
        &self,
        name: ObjectName,
        range: Range<u64>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, BlobError>>>, BlobError> {
        let Some(mut file) = found(tokio::fs::File::open(self.path(name)).await)? else { return Ok(None) };
        if range.start > 0 {
            file.seek(io::SeekFrom::Start(range.start)).await?;
        }
        file.set_max_buf_size(PIECE);
        let reader = file.take(range.end.saturating_sub(range.start));
        Ok(Some(ReaderStream::with_capacity(reader, PIECE).map_err(BlobError::from).boxed()))
    }

    /// The blocking half of an upload.
    pub(super) fn receive(&self, name: ObjectName, pieces: mpsc::Receiver<Piece>) -> Result<(), BlobError> {
        let mut unfinished = self.unfinished()?;
        let found = fill(unfinished.as_file_mut(), pieces)?;
        if found != name {
            return Err(BlobError::Name(found));
        }
        unfinished.as_file().sync_all()?;
        let path = self.path(name);
        let fan_out = path.parent().expect("an object lies two directories below the root");
        let first = fan_out.parent().expect("as above");
        fs::create_dir_all(fan_out)?;
        // Replacing the same bytes by the same bytes is no change, and readers keep the file that they opened.
        unfinished.persist(&path).map_err(|error| error.error)?;
        for directory in [fan_out, first, &self.root] {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    /// A file beside the objects, to be given its name once it is durable.
    pub(super) fn unfinished(&self) -> io::Result<NamedTempFile> {
        let unfinished = self.root.join(UNFINISHED);
        NamedTempFile::new_in(&unfinished).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                fs::create_dir_all(&unfinished)?;
                if let Some(above) = self.root.parent() {
                    File::open(above)?.sync_all()?;
                }
                NamedTempFile::new_in(&unfinished)
            }
            _ => Err(error),
        })
    }

    /// Throws away what processes that were killed had received; younger leftovers may be somebody's upload under way.
    pub(super) fn sweep(&self, now: SystemTime) -> io::Result<usize> {
        let mut removed = 0;
        // One below this one has none before something was received there.
        if !self.root.join(UNFINISHED).exists() {
            return Ok(removed);
        }
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

    /// Every object with its length, in no order.
    pub(super) fn list(&self) -> BoxStream<'static, Result<(ObjectName, u64), BlobError>> {
        let directories = match subdirectories(&self.root) {
            Ok(directories) => directories,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.within => vec![],
            Err(error) => return stream::iter([Err(error.into())]).boxed(),
        };
        let root = Arc::clone(&self.root);
        // One directory of the first level is in memory at a time.
        stream::iter(directories)
            .then(move |first| {
                let root = Arc::clone(&root);
                async move {
                    let below = tokio::task::spawn_blocking(move || objects_below(&root, &first)).await.map_err(io::Error::other)??;
                    Ok::<_, BlobError>(stream::iter(below).map(Ok::<_, BlobError>))
                }
            })
            .try_flatten()
            .boxed()
    }

    /// Whether something can be written, by writing it.
    pub(super) fn probe(&self, file: &str, writes: bool) -> io::Result<()> {
        fs::read_dir(&self.root)?;
        if !writes {
            return Ok(());
        }
        let probe = self.root.join(file);
        fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe))
    }

    pub(super) fn path(&self, name: ObjectName) -> PathBuf {
        self.root.join(key(name))
    }
}

fn found<T>(result: io::Result<T>) -> Result<Option<T>, BlobError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn subdirectories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut directories = vec![];
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        }
    }
    Ok(directories)
}

/// What lies below `ab/` under the names that objects have; anything else is nobody's object.
fn objects_below(root: &Path, first: &Path) -> io::Result<Vec<(ObjectName, u64)>> {
    let mut objects = vec![];
    for second in subdirectories(first)? {
        for entry in fs::read_dir(second)? {
            let entry = entry?;
            let name: Option<ObjectName> = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(name) = name.filter(|name| entry.path() == root.join(key(*name))) {
                objects.push((name, entry.metadata()?.len()));
            }
        }
    }
    Ok(objects)
}

/// Writes the pieces, and names what was written.
pub(super) fn fill(out: &mut impl Write, mut pieces: mpsc::Receiver<Piece>) -> Result<ObjectName, BlobError> {
    let mut hasher = blake3::Hasher::new();
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(piece)) => {
                hasher.update(&piece);
                out.write_all(&piece)?;
            }
            Some(Piece::End) => return Ok(ObjectName(*hasher.finalize().as_bytes())),
            None => return Err(BlobError::no_end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::{Blobs, Put};
    use futures_util::Stream;
    use std::convert::Infallible;

    fn pieces(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
        // Copied, so that the stream owns what it yields; 1,000 bytes a piece, so that there are many.
        stream::iter(bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>())
    }

    fn path(directory: &tempfile::TempDir, name: ObjectName) -> PathBuf {
        directory.path().join(key(name))
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
        assert!(blobs.read(name, 0..1).await.expect("reads").is_none());
        assert_eq!(blobs.put(name, pieces(&bytes)).await.expect("stored"), Put::Stored);
        assert_eq!(blobs.put(name, pieces(&bytes)).await.expect("there"), Put::Present);
        assert_eq!(blobs.length(name).await.expect("reads"), Some(100_001));
        assert_eq!(fs::read(path(&directory, name)).expect("reads"), bytes);
        assert_eq!(everything_below(directory.path()), [path(&directory, name)]);
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
        assert_eq!(everything_below(directory.path()), [path(&directory, name)]);
        assert_eq!(fs::read(path(&directory, name)).expect("reads"), bytes);
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
