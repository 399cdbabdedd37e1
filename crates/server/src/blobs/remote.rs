//! Objects in S3, GCS, Azure or whatever else the `object_store` crate reaches.
//!
//! An object appears under its name at once and whole: small ones by one PUT, larger ones when their last part is there and their hash is right.
//! Nothing relies on conditional writes, which some servers ignore: a name is the hash of the bytes, so writing twice changes nothing.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use counterfoil_format::content::ObjectName;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutPayload, WriteMultipart};
use tokio::sync::{Semaphore, mpsc};

use super::{BlobError, Piece, key};

/// Bytes of a part of an upload, and of the largest object that is sent in one request.
const PART: usize = 8 << 20;
/// Parts on their way at once. With the one that is being filled, an upload holds at most `(SENDING + 1) * PART` = 24 MiB.
const SENDING: usize = 2;
/// Uploads at once; further ones wait. Together they hold at most 384 MiB.
const UPLOADS: usize = 16;
/// S3 takes that many parts, so an object may have 78 GiB.
const PARTS: u64 = 10_000;
/// How long a request without content may take, with its repetitions.
const QUICK: Duration = Duration::from_secs(10);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) prefix: Path,
    /// As configured, for people.
    pub(super) url: Arc<str>,
    pub(super) uploads: Arc<Semaphore>,
}

impl Remote {
    pub(super) fn new<S: ObjectStore + Signer>(store: S, prefix: Path, url: &str) -> Self {
        let store = Arc::new(store);
        Self { store: store.clone(), signer: store, prefix, url: url.into(), uploads: Arc::new(Semaphore::new(UPLOADS)) }
    }

    /// A store of its own below this one's prefix.
    pub(super) fn below(&self, name: &str) -> Self {
        Self { prefix: self.prefix.clone().join(name), ..self.clone() }
    }

    /// Takes an object away that is older than `since`; true where it is gone then.
    pub(super) async fn remove(&self, name: ObjectName, since: SystemTime) -> Result<bool, BlobError> {
        let path = self.path(name);
        match found(quickly(self.store.head(&path)).await)? {
            Some(head) if SystemTime::from(head.last_modified) >= since => Ok(false),
            Some(_) => found(quickly(self.store.delete(&path)).await).map(|_| true),
            None => Ok(true),
        }
    }

    pub(super) async fn length(&self, name: ObjectName) -> Result<Option<u64>, BlobError> {
        found(quickly(self.store.head(&self.path(name))).await).map(|found| found.map(|found| found.size))
    }

    /// A range that is known to be in the object.
    pub(super) async fn read(
        &self,
        name: ObjectName,
        range: Range<u64>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, BlobError>>>, BlobError> {
        if range.is_empty() {
            return Ok(Some(stream::empty().boxed()));
        }
        let path = self.path(name);
        let Some(opened) = found(self.open(&path, range.clone()).await)? else { return Ok(None) };
        let reading = Reading { store: self.clone(), path, left: range, stream: opened, fresh: true };
        Ok(Some(stream::try_unfold(reading, Reading::next).boxed()))
    }

    async fn open(&self, path: &Path, range: Range<u64>) -> Result<Opened, BlobError> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        Ok(quickly(self.store.get_opts(path, options)).await?.into_stream())
    }

    /// Takes an upload to its end. Nothing is under the name unless it was right.
    pub(super) async fn receive(&self, name: ObjectName, mut pieces: mpsc::Receiver<Piece>) -> Result<(), BlobError> {
        let _turn = self.uploads.acquire().await.expect("nobody closes it");
        let mut parts = None;
        let result = self.take(name, &mut pieces, &mut parts).await;
        match (result, parts) {
            (Ok(()), Some(parts)) => parts.finish().await.map(drop).map_err(BlobError::from),
            (Err(error), Some(parts)) => {
                if let Err(abort) = quickly(parts.abort()).await {
                    tracing::warn!(error = %abort, store = %self.url, object = %name,
                        "an upload that came to nothing could not be taken back; the bucket's lifecycle rule has to remove its parts");
                }
                Err(error)
            }
            (result, None) => result,
        }
    }

    /// Everything but the last step of an upload in parts.
    async fn take(
        &self,
        name: ObjectName,
        pieces: &mut mpsc::Receiver<Piece>,
        parts: &mut Option<WriteMultipart>,
    ) -> Result<(), BlobError> {
        let (mut hasher, mut small) = (blake3::Hasher::new(), Vec::new());
        loop {
            let piece = match pieces.recv().await {
                Some(Piece::Bytes(piece)) => piece,
                Some(Piece::End) => break,
                None => return Err(BlobError::no_end()),
            };
            hasher.update(&piece);
            if hasher.count() > PARTS * PART as u64 {
                return Err(BlobError::TooLong(PARTS * PART as u64));
            }
            if parts.is_none() && small.len() + piece.len() <= PART {
                small.extend_from_slice(&piece);
                continue;
            }
            let parts = match parts {
                Some(parts) => parts,
                None => {
                    let upload = quickly(self.store.put_multipart(&self.path(name))).await?;
                    let parts = parts.insert(WriteMultipart::new_with_chunk_size(upload, PART));
                    parts.write(&std::mem::take(&mut small));
                    parts
                }
            };
            for slice in piece.chunks(PART / 8) {
                parts.wait_for_capacity(SENDING).await?;
                parts.write(slice);
            }
        }
        let hash = ObjectName(*hasher.finalize().as_bytes());
        if hash != name {
            return Err(BlobError::Name(hash));
        }
        if parts.is_none() {
            self.store.put(&self.path(name), PutPayload::from(small)).await?;
        }
        Ok(())
    }

    /// Every object with its length. Whatever else lies below the prefix is nobody's object.
    pub(super) fn list(&self) -> BoxStream<'static, Result<(ObjectName, u64), BlobError>> {
        let this = self.clone();
        self.store
            .list(Some(&self.prefix))
            .try_filter_map(move |found| {
                let name = found.location.filename().and_then(|name| name.parse().ok());
                let object = name.filter(|name| this.path(*name) == found.location).map(|name| (name, found.size));
                async move { Ok(object) }
            })
            .map_err(BlobError::from)
            .boxed()
    }

    /// An address at which the store itself answers a GET, for so long.
    pub(super) async fn signed_url(&self, name: ObjectName, good_for: Duration) -> Result<String, BlobError> {
        let path = self.path(name);
        quickly(self.signer.signed_url(object_store::signer::Method::GET, &path, good_for)).await.map(String::from)
    }

    /// Whether names can be listed (without that right S3 does not say that an object is not there), and, where this process `writes`,
    /// something can be written, read and taken away, by doing so.
    pub(super) async fn probe(&self, file: &str, writes: bool) -> Result<(), BlobError> {
        let page = async { self.store.list(Some(&self.prefix)).try_next().await };
        quickly(page).await?;
        if !writes {
            return Ok(());
        }
        let path = self.prefix.clone().join(file);
        quickly(self.store.put(&path, PutPayload::from_static(b"probe"))).await?;
        quickly(self.store.head(&path)).await?;
        quickly(self.store.delete(&path)).await
    }

    fn path(&self, name: ObjectName) -> Path {
        key(name).split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }
}

type Opened = BoxStream<'static, object_store::Result<Bytes>>;

/// A download that opens the object again, from where it was, when the store breaks off: an object never changes under its name.
struct Reading {
    store: Remote,
    path: Path,
    left: Range<u64>,
    stream: Opened,
    /// Nothing came since it was opened: whoever breaks off twice in one place has failed.
    fresh: bool,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BlobError> {
        loop {
            if self.left.is_empty() {
                return Ok(None);
            }
            let failure = match self.stream.next().await {
                Some(Ok(bytes)) => {
                    self.left.start += bytes.len() as u64;
                    self.fresh = false;
                    return Ok(Some((bytes, self)));
                }
                Some(Err(error)) => error.into(),
                None => BlobError::Away("it ended an object too early".to_owned()),
            };
            if self.fresh {
                return Err(failure);
            }
            tracing::info!(error = %failure, object = %self.path, "a download from the contents store broke off; going on with it");
            self.stream = self.store.open(&self.path, self.left.clone()).await?;
            self.fresh = true;
        }
    }
}

/// Bounds a request that carries little.
pub(super) async fn quickly<T>(asked: impl Future<Output = object_store::Result<T>>) -> Result<T, BlobError> {
    match tokio::time::timeout(QUICK, asked).await {
        Ok(answered) => answered.map_err(BlobError::from),
        Err(_) => Err(BlobError::Away(format!("no answer in {} seconds", QUICK.as_secs()))),
    }
}

pub(super) fn found<T>(result: Result<T, BlobError>) -> Result<Option<T>, BlobError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(BlobError::Missing) => Ok(None),
        Err(error) => Err(error),
    }
}

impl From<object_store::Error> for BlobError {
    /// Whatever a store answers but "not found" and "full" is an operator's matter, and over when that has been seen to: callers try again.
    fn from(error: object_store::Error) -> Self {
        /// As S3 servers, Ceph, MinIO and Azure say that there is no room.
        const FULL: [&str; 4] = ["507 Insufficient Storage", "QuotaExceeded", "StorageFull", "InsufficientStorage"];
        if matches!(error, object_store::Error::NotFound { .. }) {
            return Self::Missing;
        }
        let text = error.to_string();
        if FULL.iter().any(|sign| text.contains(sign)) { Self::Full } else { Self::Away(text) }
    }
}
