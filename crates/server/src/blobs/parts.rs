//! Parts of uploads that are not complete, each upload's by themselves: `parts/{upload}/{name}`.
//!
//! Nobody else's bytes lie there, so all of an upload's parts go at once when it is over.

use std::fs::{self, File};
use std::io::{self, Write as _};

use bytes::Bytes;
use counterfoil_core::UploadId;
use counterfoil_format::content::ObjectName;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};

use super::directory::Directory;
use super::remote::{Remote, found, quickly};
use super::{BlobError, Blobs, Place};

const PARTS: &str = "parts";

impl Blobs {
    /// Keeps a part, durably, under a name that no other part has.
    ///
    /// # Errors
    /// `Full`, `Io`, `Away`.
    pub async fn put_part(&self, upload: UploadId, name: ObjectName, bytes: Bytes) -> Result<(), BlobError> {
        match self.place.clone() {
            Place::Directory(directory) => {
                let write = move || directory.put_part(upload, name, &bytes);
                tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
            }
            Place::Remote(remote) => {
                remote.store.put(&remote.part(upload, name), PutPayload::from(bytes)).await?;
            }
        }
        Ok(())
    }

    /// Takes one part away, if it is there.
    ///
    /// # Errors
    /// `Io`, `Away`.
    pub async fn remove_part(&self, upload: UploadId, name: ObjectName) -> Result<(), BlobError> {
        match self.place.clone() {
            Place::Directory(directory) => match tokio::fs::remove_file(directory.part(upload, name)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
            Place::Remote(remote) => found(quickly(remote.store.delete(&remote.part(upload, name))).await).map(drop),
        }
    }

    /// A part; `None` where it is not there.
    ///
    /// # Errors
    /// `Io`, `Away`.
    pub async fn part(&self, upload: UploadId, name: ObjectName) -> Result<Option<Bytes>, BlobError> {
        match &self.place {
            Place::Directory(directory) => match tokio::fs::read(directory.part(upload, name)).await {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            },
            Place::Remote(remote) => {
                let path = remote.part(upload, name);
                found(quickly(async { remote.store.get(&path).await?.bytes().await }).await)
            }
        }
    }

    /// Takes all parts of an upload away.
    ///
    /// # Errors
    /// `Io`, `Away`; some may be gone then.
    pub async fn remove_parts(&self, upload: UploadId) -> Result<(), BlobError> {
        match self.place.clone() {
            Place::Directory(directory) => {
                let path = directory.root.join(PARTS).join(upload.to_string());
                match tokio::task::spawn_blocking(move || fs::remove_dir_all(path)).await.map_err(io::Error::other)? {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                    _ => Ok(()),
                }
            }
            Place::Remote(remote) => {
                let all = remote.prefix.clone().join(PARTS).join(upload.to_string());
                let mut parts = remote.store.list(Some(&all)).map_err(BlobError::from).boxed();
                while let Some(part) = parts.try_next().await? {
                    found(quickly(remote.store.delete(&part.location)).await)?;
                }
                Ok(())
            }
        }
    }
}

impl Directory {
    fn part(&self, upload: UploadId, name: ObjectName) -> std::path::PathBuf {
        self.root.join(PARTS).join(upload.to_string()).join(name.to_string())
    }

    fn put_part(&self, upload: UploadId, name: ObjectName, bytes: &[u8]) -> io::Result<()> {
        let mut unfinished = self.unfinished()?;
        unfinished.write_all(bytes)?;
        unfinished.as_file().sync_all()?;
        let path = self.part(upload, name);
        let own = path.parent().expect("a part lies two directories below the root");
        fs::create_dir_all(own)?;
        unfinished.persist(&path).map_err(|error| error.error)?;
        for directory in [own, &self.root.join(PARTS), &self.root] {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }
}

impl Remote {
    fn part(&self, upload: UploadId, name: ObjectName) -> Path {
        self.prefix.clone().join(PARTS).join(upload.to_string()).join(name.to_string())
    }
}
