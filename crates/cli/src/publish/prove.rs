//! Applies a patch that was made as a device would, and compares every chunk of what comes out with the manifest that was signed.
//!
//! A patch that was made wrongly, or of files that changed meanwhile, would fail on every device after it was fetched; here it costs nothing.

use std::io;

use counterfoil_format::content::{ChunkRef, ContentKey, Encoder, EntryKind, Manifest, PatchHeader, ReadAt, SealedPatch};
use counterfoil_patch::{ApplyError, Files, Limits, Sink};

/// Why a patch is not published.
#[derive(Debug, thiserror::Error)]
pub enum NotProven {
    /// It gives something else than the release.
    #[error("it does not give what was published: {0}")]
    Wrong(String),
    /// Something could not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Checks that `patch` turns `old` into files of `new`, down to the names of their chunks.
pub fn prove<S: ReadAt>(
    patch: &SealedPatch<S>,
    key: &ContentKey,
    old: &dyn Files,
    new: &Manifest,
    progress: &mut dyn FnMut(counterfoil_patch::Progress),
) -> Result<(), NotProven> {
    let header = patch.header();
    let manifest = new.encode();
    let bytes = manifest.len() as u64 + new.size();
    let mut proof = Proof {
        header,
        manifest: &manifest,
        new,
        key,
        encoder: Encoder::new(header.level)?,
        left: Vec::new(),
        plain: Vec::new(),
        body: Vec::new(),
        files: 0,
        is_manifest: false,
    };
    let limits = Limits { files: header.new.len() + 1, bytes };
    match counterfoil_patch::apply(old, &Engine(patch), &limits, &mut proof, progress) {
        Ok(()) => proof.end(),
        Err(ApplyError::Read(error)) => Err(NotProven::Io(error)),
        Err(error) => Err(NotProven::Wrong(error.to_string())),
    }
}

/// A sealed patch as the engine reads it.
struct Engine<'a, S>(&'a SealedPatch<S>);

impl<S: ReadAt> counterfoil_patch::ReadAt for Engine<'_, S> {
    fn length(&self) -> u64 {
        // Known since the patch was opened: asking for it reads nothing.
        self.0.size().unwrap_or_default()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

struct Proof<'a> {
    header: &'a PatchHeader,
    manifest: &'a [u8],
    new: &'a Manifest,
    key: &'a ContentKey,
    encoder: Encoder,
    /// Chunks of the file under way that are still to come, the next one last.
    left: Vec<&'a ChunkRef>,
    /// Bytes of the next one that have come.
    plain: Vec<u8>,
    body: Vec<u8>,
    /// Files that began.
    files: usize,
    is_manifest: bool,
}

impl Proof<'_> {
    fn end(&self) -> Result<(), NotProven> {
        if self.files != self.header.new.len() + 1 || !self.left.is_empty() || !self.plain.is_empty() {
            return Err(NotProven::Wrong("it ends too early".to_owned()));
        }
        Ok(())
    }

    fn chunk(&mut self, chunk: &ChunkRef) -> io::Result<()> {
        self.body.resize(self.plain.len() + 1, 0);
        let length = self.encoder.encode(&self.plain, &mut self.body);
        self.plain.clear();
        if self.key.chunk_id_key().id_of(&self.body[..length]) == chunk.id {
            return Ok(());
        }
        Err(wrong("a chunk is another one"))
    }
}

impl Sink for Proof<'_> {
    fn begin(&mut self, file: usize, length: u64) -> io::Result<()> {
        if file != self.files || !self.left.is_empty() || !self.plain.is_empty() {
            return Err(wrong("a file is shorter than it should be"));
        }
        self.files += 1;
        self.is_manifest = file == 0;
        let Some(index) = file.checked_sub(1) else {
            return if length == self.manifest.len() as u64 { Ok(()) } else { Err(wrong("the manifest has another length")) };
        };
        let entry = *self.header.new.get(index).ok_or_else(|| wrong("it gives more files than it should"))?;
        let EntryKind::File { size, runs, .. } = self.new.entry(entry as usize).kind else { return Err(wrong("it makes what is no file")) };
        if size != length {
            return Err(wrong("a file has another length"));
        }
        let chunks = runs.iter().flat_map(|run| &self.new.chunks()[run.first as usize..(run.first + run.count) as usize]);
        self.left = chunks.collect();
        self.left.reverse();
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.is_manifest {
            let rest = self.manifest.strip_prefix(bytes).ok_or_else(|| wrong("the manifest is another one"))?;
            self.manifest = rest;
            return Ok(());
        }
        while !bytes.is_empty() {
            let chunk = *self.left.last().ok_or_else(|| wrong("a file is longer than it should be"))?;
            let taken = bytes.len().min(chunk.plain_len as usize - self.plain.len());
            self.plain.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.plain.len() == chunk.plain_len as usize {
                self.left.pop();
                self.chunk(chunk)?;
            }
        }
        Ok(())
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
