//! A patch on its way: fetched segment by segment, applied to what the library holds, cut into the chunks that the new release names.
//!
//! What comes out is believed chunk by chunk, because its name stands in the manifest that the publisher signed. A patch that gives anything
//! else has failed, and nothing of it is in the library.

use super::UpdateError;
use super::base::Base;
use crate::error::{Error, Result};
use crate::fill::packs::good_chunks;
use crate::io::{Create, File, IoFailure, create_dirs, parent};
use crate::library::Copy;
use crate::transport::{Part, Transport, TransportError};
use counterfoil_core::wire::PatchOnOffer;
use counterfoil_format::content::{
    ChunkKeys, ChunkRef, ContentKey, Encoder, EntryKind, FileView, MAX_PLAIN, Manifest, OVERHEAD, ObjectName, ReadAt, Reader, Release,
    SealedPatch, TAG_LEN, good_patch_bytes,
};
use counterfoil_patch::{Files, Limits, Sink};
use std::io;
use zeroize::Zeroize as _;

/// Plaintext of the old release that is kept in memory, in bytes.
const CACHE: usize = 16 << 20;

/// A patch, and what it is applied to and for.
pub(super) struct Patching<'a> {
    pub copy: &'a Copy,
    pub offer: &'a PatchOnOffer,
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

impl Patching<'_> {
    /// Fetches it, and writes the chunks that it gives into unfinished packs, and the manifest where it is not there yet.
    pub fn run(&self) -> Result<()> {
        let file = self.fetch()?;
        let patch = SealedPatch::open(self.content_key.patch_key(), file).map_err(|error| self.unusable(&error))?;
        let header = patch.header();
        if header.from != self.base.release.manifest.id || header.to != self.release.manifest.id || header.encoder != Encoder::name() {
            return Err(self.unusable(&"it is between other releases, or made with another compressor"));
        }
        let encoder = Encoder::new(header.level).map_err(|error| self.unusable(&error))?;
        let old = OldFiles::new(self.base, &header.old)?.ok_or_else(|| self.unusable(&"it reads what is no file"))?;
        let mut cutting = Cutting::new(self, &header.new, encoder);
        if let Ok(manifest) = self.copy.manifest(self.release, self.keys) {
            cutting.take_manifest(manifest)?;
        }
        let limits = Limits { files: header.new.len() + 1, bytes: self.release.size + self.release.manifest.size };
        let text = Text { patch: &patch, length: patch.size().map_err(|error| self.unusable(&error))? };
        let applied = counterfoil_patch::apply(&old, &text, &limits, &mut cutting, &mut |_| {});
        // What the drive says of the new text is no fault of the patch.
        match (cutting.failure.take(), applied) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(self.unusable(&error)),
            (None, Ok(())) => Ok(()),
        }
    }

    /// The whole sealed patch, gone on with where an earlier attempt was cut off.
    fn fetch(&self) -> Result<Box<dyn File>> {
        let path = path(self.copy, self.offer);
        create_dirs(&*self.copy.io, parent(&path), 0o755)?;
        let fail = || IoFailure::at("write", &path);
        let file = self.copy.io.create(&path, Create::Resume, 0o644).map_err(fail())?;
        let length = self.offer.length;
        let key = self.content_key.patch_key();
        let mut good = good_patch_bytes(&key, &file, length).map_err(|error| self.or_unusable(error, &path))?;
        if good == length {
            return Ok(file);
        }
        file.set_len(good).map_err(fail())?;
        let part = Part { from: good, to: Some(length) };
        let mut body = self.transport.fetch(&self.offer.object, part).map_err(|error| self.lost(error))?;
        let mut buffer = vec![0; 256 * 1024];
        while good < length {
            let most = buffer.len().min(usize::try_from(length - good).unwrap_or(usize::MAX));
            let count = match body.read(&mut buffer[..most]) {
                Ok(0) => return Err(self.unusable(&"it was cut off")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(&self.offer.object, error)),
            };
            file.write_all_at(&buffer[..count], good).map_err(fail())?;
            good += count as u64;
            (self.tell)(count as u64, 0);
        }
        file.sync().map_err(fail())?;
        // Whoever sent something else has sent nothing: the next attempt does not go on with it.
        if good_patch_bytes(&key, &file, length).map_err(|error| self.or_unusable(error, &path))? != length {
            return Err(self.unusable(&"what was fetched is not what the publisher sealed"));
        }
        Ok(file)
    }

    fn unusable(&self, reason: &dyn std::fmt::Display) -> Error {
        UpdateError::Patch { object: self.offer.object.clone(), reason: reason.to_string() }.into()
    }

    /// A patch of an impossible length is unusable; all else is the drive's.
    fn or_unusable(&self, error: io::Error, path: &std::path::Path) -> Error {
        match error.kind() {
            io::ErrorKind::InvalidData => self.unusable(&error),
            _ => IoFailure::at("read", path)(error).into(),
        }
    }

    /// One that is not there any more is unusable; where nobody answers, nobody answers for the other ways either.
    fn lost(&self, error: TransportError) -> Error {
        match error {
            TransportError::Status { status: 400..500, .. } => self.unusable(&error),
            error => error.into(),
        }
    }
}

fn path(copy: &Copy, offer: &PatchOnOffer) -> std::path::PathBuf {
    copy.directory.join("update").join(format!("{}.patch", offer.object))
}

/// The line broke while a patch was fetched.
fn broken(object: &str, error: io::Error) -> Error {
    let known = error.downcast::<TransportError>();
    known.unwrap_or_else(|error| TransportError::Unreachable { url: format!("content {object}"), reason: error.to_string() }).into()
}

/// What the patch reads: the old manifest as file 0, then files of the old release through the library's own reader, which checks every
/// chunk's tag and name.
struct OldFiles {
    manifest: Vec<u8>,
    reader: Reader,
    views: Vec<FileView>,
}

impl OldFiles {
    /// None where an entry is no file.
    fn new(base: &Base<'_>, entries: &[u32]) -> Result<Option<Self>> {
        let reader = base.reader(CACHE)?;
        let view = |entry: &u32| (*entry as usize).lt(&base.manifest.len()).then(|| reader.file(*entry as usize)).flatten();
        let Some(views) = entries.iter().map(view).collect() else { return Ok(None) };
        Ok(Some(Self { manifest: base.manifest.encode(), reader, views }))
    }
}

impl Files for OldFiles {
    fn count(&self) -> usize {
        1 + self.views.len()
    }

    fn length(&self, file: usize) -> u64 {
        match file.checked_sub(1) {
            None => self.manifest.len() as u64,
            Some(file) => self.views[file].size(),
        }
    }

    fn read_exact_at(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(file) = file.checked_sub(1) else { return self.manifest.read_exact_at(buffer, offset) };
        match self.reader.read_at(&self.views[file], offset, buffer) {
            Ok(count) if count == buffer.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// The engine's bytes.
struct Text<'a> {
    patch: &'a SealedPatch<Box<dyn File>>,
    length: u64,
}

impl counterfoil_patch::ReadAt for Text<'_> {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.patch.read_exact_at(buffer, offset)
    }
}

/// Takes the new manifest, then cuts the new files as it says; compresses, names, seals and writes what of them is wanted.
struct Cutting<'a> {
    patching: &'a Patching<'a>,
    /// The files that come after the manifest, as entries of it.
    entries: &'a [u32],
    encoder: Encoder,
    manifest: Option<Manifest>,
    /// Chunks that are in no finished pack and in no unfinished one, by index.
    wanted: Vec<bool>,
    /// The file that is coming, none while the manifest is; which of its runs, and how much of that is done.
    file: Option<(usize, usize, u32)>,
    /// Of the chunk, or of the manifest.
    plain: Vec<u8>,
    sealed: Vec<u8>,
    /// The pack that was written to last.
    open: Option<(u32, Box<dyn File>)>,
    /// What the drive said.
    failure: Option<Error>,
}

impl<'a> Cutting<'a> {
    fn new(patching: &'a Patching<'a>, entries: &'a [u32], encoder: Encoder) -> Self {
        let sealed = vec![0; MAX_PLAIN + OVERHEAD];
        Self { patching, entries, encoder, manifest: None, wanted: vec![], file: None, plain: vec![], sealed, open: None, failure: None }
    }

    fn take_manifest(&mut self, manifest: Manifest) -> Result<()> {
        (self.patching.begin)(&manifest)?;
        self.wanted = wanted(self.patching.copy, &manifest, self.patching.keys)?;
        self.manifest = Some(manifest);
        Ok(())
    }

    /// All of the manifest is here.
    fn manifest(&mut self) -> io::Result<()> {
        let Patching { release, keys, copy, .. } = self.patching;
        let plain = std::mem::take(&mut self.plain);
        let mut sealed = vec![0; plain.len() + OVERHEAD];
        let body = self.encoder.encode(&plain, &mut sealed[..=plain.len()]);
        sealed.truncate(body + TAG_LEN);
        if keys.id_key().id_of(&sealed[..body]) != release.manifest.id {
            return Err(invalid("it gives another manifest than the publisher signed"));
        }
        keys.seal_in_place(&release.manifest.id, &mut sealed);
        let manifest =
            release.open_manifest(keys, &mut sealed.clone()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let kept = self.take_manifest(manifest).and_then(|()| copy.store_manifest(&release.version, &sealed));
        self.or_fail(kept)
    }

    /// The chunk that is coming; none at the end of a file.
    fn next(&self) -> Option<u32> {
        let (entry, run, within) = self.file?;
        match self.manifest.as_ref()?.entry(entry).kind {
            EntryKind::File { runs, .. } => runs.get(run).map(|run| run.first + within),
            _ => None,
        }
    }

    fn advance(&mut self) {
        let (Some(manifest), Some((entry, run, within))) = (&self.manifest, &mut self.file) else { return };
        let EntryKind::File { runs, .. } = manifest.entry(*entry).kind else { return };
        *within += 1;
        if runs.get(*run).is_none_or(|run| *within == run.count) {
            (*run, *within) = (*run + 1, 0);
        }
    }

    /// A chunk is whole.
    fn chunk(&mut self, index: u32, chunk: ChunkRef, pack: ObjectName) -> io::Result<()> {
        if std::mem::take(&mut self.wanted[index as usize]) {
            let keys = self.patching.keys;
            let body = self.encoder.encode(&self.plain, &mut self.sealed[..=self.plain.len()]);
            let length = body + TAG_LEN;
            if length != chunk.sealed_len as usize || keys.id_key().id_of(&self.sealed[..body]) != chunk.id {
                return Err(invalid("it gives other text than the publisher signed"));
            }
            keys.seal_in_place(&chunk.id, &mut self.sealed[..length]);
            let written = self.write_chunk(&chunk, pack, length);
            self.or_fail(written.map_err(Error::from))?;
            (self.patching.tell)(0, length as u64);
        }
        self.plain.clear();
        self.advance();
        Ok(())
    }

    fn write_chunk(&mut self, chunk: &ChunkRef, pack: ObjectName, length: usize) -> std::result::Result<(), IoFailure> {
        let copy = self.patching.copy;
        let path = copy.partial(&pack);
        let file = match &mut self.open {
            Some((open, file)) if *open == chunk.pack => file,
            other => {
                let file = copy.io.create(&path, Create::Resume, 0o644).map_err(IoFailure::at("write", &path))?;
                &mut other.insert((chunk.pack, file)).1
            }
        };
        file.write_all_at(&self.sealed[..length], u64::from(chunk.offset)).map_err(IoFailure::at("write", &path))
    }

    /// Keeps what the drive said, and stops the engine.
    fn or_fail(&mut self, done: Result<()>) -> io::Result<()> {
        done.map_err(|failure| {
            self.failure = Some(failure);
            io::Error::other("the drive failed")
        })
    }
}

impl Sink for Cutting<'_> {
    fn begin(&mut self, file: usize, length: u64) -> io::Result<()> {
        let Some(file) = file.checked_sub(1) else {
            return if length == self.patching.release.manifest.size { Ok(()) } else { Err(invalid("its manifest has another length")) };
        };
        if self.next().is_some() {
            return Err(invalid("a file is too short"));
        }
        let manifest = self.manifest.as_ref().ok_or_else(|| invalid("it gives no manifest"))?;
        let entry = *self.entries.get(file).ok_or_else(|| invalid("it gives more files than it says"))? as usize;
        if entry >= manifest.len() || !matches!(manifest.entry(entry).kind, EntryKind::File { size, .. } if size == length) {
            return Err(invalid("a file has another length than the publisher signed"));
        }
        self.file = Some((entry, 0, 0));
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            // Where it is known already, it need not come once more.
            if self.manifest.is_some() {
                return Ok(());
            }
            self.plain.extend_from_slice(bytes);
            return if self.plain.len() as u64 == self.patching.release.manifest.size { self.manifest() } else { Ok(()) };
        }
        while !bytes.is_empty() {
            let index = self.next().ok_or_else(|| invalid("a file is too long"))?;
            let manifest = self.manifest.as_ref().ok_or_else(|| invalid("it gives no manifest"))?;
            let chunk = manifest.chunks()[index as usize];
            let pack = manifest.packs()[chunk.pack as usize].name;
            let count = bytes.len().min(chunk.plain_len as usize - self.plain.len());
            self.plain.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.plain.len() == chunk.plain_len as usize {
                self.chunk(index, chunk, pack)?;
            }
        }
        Ok(())
    }
}

impl Drop for Cutting<'_> {
    fn drop(&mut self) {
        self.plain.zeroize();
        self.sealed.zeroize();
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// The chunks of packs that are not finished, but those that lie in their unfinished files already.
fn wanted(copy: &Copy, manifest: &Manifest, keys: &ChunkKeys) -> Result<Vec<bool>> {
    let mut wanted = vec![false; manifest.chunks().len()];
    for (index, pack) in manifest.packs().iter().enumerate() {
        if copy.length(&copy.pack(&pack.name))? == Some(pack.length) {
            continue;
        }
        let chunks = manifest.pack_chunks(index);
        let path = copy.partial(&pack.name);
        let good = match copy.io.open(&path) {
            Ok(file) => good_chunks(chunks, keys, &*file).map_err(IoFailure::at("read", &path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![false; chunks.len()],
            Err(error) => return Err(IoFailure::at("read", &path)(error).into()),
        };
        for (wanted, good) in wanted[pack.chunks.start as usize..].iter_mut().zip(good) {
            *wanted = !good;
        }
    }
    Ok(wanted)
}
