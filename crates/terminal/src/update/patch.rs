//! A patch on its way: fetched segment by segment, applied to what the library holds, cut into the chunks that the new release names.
//!
//! What comes out is believed chunk by chunk ([`super::prepared`]).

use super::base::Base;
use super::prepared::{CACHE, Placing, Prepared};
use crate::error::{Error, Result};
use crate::io::{Create, File, IoFailure, create_dirs, parent};
use crate::library::Copy;
use crate::transport::Part;
use counterfoil_format::content::{
    ChunkRef, Encoder, EntryKind, FileView, Manifest, ObjectName, ReadAt, Reader, SealedPatch, good_patch_bytes,
};
use counterfoil_patch::{Files, Limits, Sink};
use std::io;
use zeroize::Zeroize as _;

/// Takes a patch: what it gives is cut into chunks as the new manifest says.
pub(super) fn take(patch: &Prepared<'_>) -> Result<()> {
    let sealed = SealedPatch::open(patch.content_key.patch_key(), patch.fetch()?).map_err(|error| patch.unusable(&error))?;
    let header = sealed.header();
    if header.from != patch.base.release.manifest.id || header.to != patch.release.manifest.id || header.encoder != Encoder::name() {
        return Err(patch.unusable(&"it is between other releases, or made with another compressor"));
    }
    let encoder = Encoder::new(header.level).map_err(|error| patch.unusable(&error))?;
    let old = OldFiles::new(patch.base, &header.old)?.ok_or_else(|| patch.unusable(&"it reads what is no file"))?;
    let mut cutting = Cutting::new(patch, &header.new, encoder);
    if let Ok(manifest) = patch.copy.manifest(patch.release, patch.keys) {
        cutting.take_manifest(manifest)?;
    }
    let limits = Limits { files: header.new.len() + 1, bytes: patch.release.size + patch.release.manifest.size };
    let text = Text { patch: &sealed, length: sealed.size().map_err(|error| patch.unusable(&error))? };
    let applied = counterfoil_patch::apply(&old, &text, &limits, &mut cutting, &mut |_| {});
    // What the drive says of the new text is no fault of the patch.
    match (cutting.failure.take(), applied) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => Err(patch.unusable(&error)),
        (None, Ok(())) => Ok(()),
    }
}

impl Prepared<'_> {
    /// The whole sealed patch, gone on with where an earlier attempt was cut off.
    fn fetch(&self) -> Result<Box<dyn File>> {
        let path = path(self.copy, &self.object);
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
        let mut body = self.transport.fetch(&self.object.to_string(), part).map_err(|error| self.lost(error))?;
        let mut buffer = vec![0; 256 * 1024];
        while good < length {
            let most = buffer.len().min(usize::try_from(length - good).unwrap_or(usize::MAX));
            let count = match body.read(&mut buffer[..most]) {
                Ok(0) => return Err(self.unusable(&"it was cut off")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(error)),
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

    /// A patch of an impossible length is unusable; all else is the drive's.
    fn or_unusable(&self, error: io::Error, path: &std::path::Path) -> Error {
        match error.kind() {
            io::ErrorKind::InvalidData => self.unusable(&error),
            _ => IoFailure::at("read", path)(error).into(),
        }
    }
}

fn path(copy: &Copy, object: &ObjectName) -> std::path::PathBuf {
    copy.directory.join("update").join(format!("{object}.patch"))
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
    patching: &'a Prepared<'a>,
    /// The files that come after the manifest, as entries of it.
    entries: &'a [u32],
    placing: Placing<'a>,
    manifest: Option<Manifest>,
    /// Chunks that are in no finished pack and in no unfinished one, by index.
    wanted: Vec<bool>,
    /// The file that is coming, none while the manifest is; which of its runs, and how much of that is done.
    file: Option<(usize, usize, u32)>,
    /// Of the chunk, or of the manifest.
    plain: Vec<u8>,
    /// What the drive said.
    failure: Option<Error>,
}

impl<'a> Cutting<'a> {
    fn new(patching: &'a Prepared<'a>, entries: &'a [u32], encoder: Encoder) -> Self {
        let placing = Placing::new(patching, encoder);
        Self { patching, entries, placing, manifest: None, wanted: vec![], file: None, plain: vec![], failure: None }
    }

    fn take_manifest(&mut self, manifest: Manifest) -> Result<()> {
        (self.patching.begin)(&manifest)?;
        self.wanted = self.patching.wanted(&manifest)?;
        self.manifest = Some(manifest);
        Ok(())
    }

    /// All of the manifest is here.
    fn manifest(&mut self) -> io::Result<()> {
        let Prepared { release, copy, .. } = self.patching;
        let plain = std::mem::take(&mut self.plain);
        let made = self.placing.manifest(&plain, release).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let (manifest, sealed) = made.ok_or_else(|| invalid("it gives another manifest than the publisher signed"))?;
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
            let placed = self.placing.chunk(&self.plain, &chunk, &pack);
            match placed {
                Ok(Some(length)) => (self.patching.tell)(0, length),
                Ok(None) => return Err(invalid("it gives other text than the publisher signed")),
                Err(failure) => self.or_fail(Err(failure))?,
            }
        }
        self.plain.clear();
        self.advance();
        Ok(())
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
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
