//! What a publisher has prepared between two releases, on its way: a patch, or deltas; and the chunks that come of it, put where they belong.
//!
//! What comes out is believed chunk by chunk, because its name stands in the manifest that the publisher signed. What gives anything else has
//! failed, and nothing of it is in the library.

use super::UpdateError;
use super::base::Base;
use crate::error::{Error, Result};
use crate::fill::packs::good_chunks;
use crate::io::{Create, File, IoFailure};
use crate::library::Copy;
use crate::transport::{Transport, TransportError};
use counterfoil_core::wire::PatchOnOffer;
use counterfoil_format::content::{
    ChunkKeys, ChunkRef, ContentKey, Encoder, MAX_PLAIN, Manifest, OVERHEAD, ObjectName, Release, ReleaseError, TAG_LEN,
};
use std::io;
use zeroize::Zeroize as _;

/// Plaintext of the old release that is kept in memory, in bytes.
pub(super) const CACHE: usize = 16 << 20;

/// What was prepared, and what it is applied to and for.
pub(super) struct Prepared<'a> {
    pub copy: &'a Copy,
    pub offer: &'a PatchOnOffer,
    /// Its name, and that of the file that it is fetched to.
    pub object: ObjectName,
    pub transport: &'a dyn Transport,
    pub content_key: &'a ContentKey,
    pub base: &'a Base<'a>,
    /// The release that comes of it.
    pub release: &'a Release,
    /// Keys of the library, for that release.
    pub keys: &'a ChunkKeys,
    /// Told when the manifest is known, before any chunk is written.
    pub begin: &'a dyn Fn(&Manifest) -> Result<()>,
    /// Told bytes: fetched, and written.
    pub tell: &'a dyn Fn(u64, u64),
}

/// Fetches what was prepared, and writes the chunks that it gives into unfinished packs, and the manifest where it is not there yet.
pub(super) type Take = fn(&Prepared<'_>) -> Result<()>;

impl Prepared<'_> {
    /// It gives nothing that could be used, for this reason; another way may.
    pub fn unusable(&self, reason: &dyn std::fmt::Display) -> Error {
        UpdateError::Patch { object: self.object.to_string(), reason: reason.to_string() }.into()
    }

    /// One that is not there any more is unusable; where nobody answers, nobody answers for the other ways either.
    pub fn lost(&self, error: TransportError) -> Error {
        match error {
            TransportError::Status { status: 400..500, .. } => self.unusable(&error),
            error => error.into(),
        }
    }

    /// The line broke while it was fetched.
    pub fn broken(&self, error: io::Error) -> Error {
        let url = format!("content {}", self.object);
        let known = error.downcast::<TransportError>();
        known.unwrap_or_else(|error| TransportError::Unreachable { url, reason: error.to_string() }).into()
    }

    /// The chunks of packs that are not finished, but those that lie in their unfinished files already.
    pub fn wanted(&self, manifest: &Manifest) -> Result<Vec<bool>> {
        let copy = self.copy;
        let mut wanted = vec![false; manifest.chunks().len()];
        for (index, pack) in manifest.packs().iter().enumerate() {
            if copy.length(&copy.pack(&pack.name))? == Some(pack.length) {
                continue;
            }
            let chunks = manifest.pack_chunks(index);
            let path = copy.partial(&pack.name);
            let good = match copy.io.open(&path) {
                Ok(file) => good_chunks(chunks, self.keys, &*file).map_err(IoFailure::at("read", &path))?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => vec![false; chunks.len()],
                Err(error) => return Err(IoFailure::at("read", &path)(error).into()),
            };
            for (wanted, good) in wanted[pack.chunks.start as usize..].iter_mut().zip(good) {
                *wanted = !good;
            }
        }
        Ok(wanted)
    }
}

/// Compresses, names and seals what was made, and puts it where it belongs.
pub(super) struct Placing<'a> {
    copy: &'a Copy,
    keys: &'a ChunkKeys,
    encoder: Encoder,
    sealed: Vec<u8>,
    /// The pack that was written to last.
    open: Option<(u32, Box<dyn File>)>,
}

impl<'a> Placing<'a> {
    /// With the publisher's own compressor, at his level: another one gives other names.
    pub fn new(prepared: &Prepared<'a>, encoder: Encoder) -> Self {
        Self { copy: prepared.copy, keys: prepared.keys, encoder, sealed: vec![0; MAX_PLAIN + OVERHEAD], open: None }
    }

    /// The release's manifest, and its sealed bytes to be kept; nothing where it is another one.
    pub fn manifest(&mut self, plain: &[u8], release: &Release) -> std::result::Result<Option<(Manifest, Vec<u8>)>, ReleaseError> {
        let mut sealed = vec![0; plain.len() + OVERHEAD];
        let body = self.encoder.encode(plain, &mut sealed[..=plain.len()]);
        sealed.truncate(body + TAG_LEN);
        if self.keys.id_key().id_of(&sealed[..body]) != release.manifest.id {
            return Ok(None);
        }
        self.keys.seal_in_place(&release.manifest.id, &mut sealed);
        let manifest = release.open_manifest(self.keys, &mut sealed.clone())?;
        Ok(Some((manifest, sealed)))
    }

    /// Writes a chunk into its unfinished pack, and tells how many bytes; nothing where it is another chunk.
    pub fn chunk(&mut self, plain: &[u8], chunk: &ChunkRef, pack: &ObjectName) -> Result<Option<u64>> {
        let body = self.encoder.encode(plain, &mut self.sealed[..=plain.len()]);
        let length = body + TAG_LEN;
        if length != chunk.sealed_len as usize || self.keys.id_key().id_of(&self.sealed[..body]) != chunk.id {
            return Ok(None);
        }
        self.keys.seal_in_place(&chunk.id, &mut self.sealed[..length]);
        let path = self.copy.partial(pack);
        let file = match &mut self.open {
            Some((open, file)) if *open == chunk.pack => file,
            other => {
                let file = self.copy.io.create(&path, Create::Resume, 0o644).map_err(IoFailure::at("write", &path))?;
                &mut other.insert((chunk.pack, file)).1
            }
        };
        file.write_all_at(&self.sealed[..length], u64::from(chunk.offset)).map_err(IoFailure::at("write", &path))?;
        Ok(Some(length as u64))
    }
}

impl Drop for Placing<'_> {
    fn drop(&mut self) {
        self.sealed.zeroize();
    }
}
