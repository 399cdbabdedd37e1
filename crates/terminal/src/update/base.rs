//! A release that is complete in the library: what an update starts from.

use crate::error::Result;
use crate::fill::Donor;
use crate::library::{Copy, Record};
use counterfoil_format::content::{LibraryKey, Manifest, ObjectName, ReadAt, Reader, Release};
use std::sync::Arc;

/// A release of a copy, with what opens it.
pub(crate) struct Base<'a> {
    pub copy: Copy,
    pub record: Record,
    pub release: Release,
    pub manifest: Arc<Manifest>,
    library_key: &'a LibraryKey,
}

impl<'a> Base<'a> {
    /// A release by its version.
    ///
    /// # Errors
    /// [`crate::LibraryError::Damaged`]: for one, where its manifest does not open.
    pub fn open(copy: &Copy, record: Record, library_key: &'a LibraryKey) -> Result<Self> {
        let release = copy.release(&record)?;
        let manifest = Arc::new(copy.manifest(&release, &copy.keys(&record, library_key)?)?);
        Ok(Self { copy: copy.clone(), record, release, manifest, library_key })
    }

    /// Reads its files; `cache` bytes of plaintext are kept in memory.
    pub fn reader(&self, cache: usize) -> Result<Reader> {
        let copy = self.copy.clone();
        let open = move |name: &ObjectName| {
            let pack: Box<dyn ReadAt> = copy.io.open(&copy.pack(name))?;
            Ok(pack)
        };
        Ok(Reader::new(Arc::clone(&self.manifest), self.copy.keys(&self.record, self.library_key)?, cache, open))
    }

    /// Its chunks, for packs of other releases that have them too.
    pub fn donor(&self) -> Result<Donor> {
        let keys = self.copy.keys(&self.record, self.library_key)?;
        Ok(Donor::of(self.copy.clone(), Arc::clone(&self.manifest), keys))
    }
}
