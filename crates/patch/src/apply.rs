//! Applies a patch: gives the new files in order, in memory that depends on neither side's length.

use std::io::{self, Read};

use crate::codec::Stream;
use crate::cover::{self, Cover};
use crate::exe::{self, Images, Predictor};
use crate::header::{Group, Head, Header, STREAMS};
use crate::text::{self, Cache, Text};
use crate::{Files, Progress, ReadAt, Sink, residual};

/// Bytes are given on in parts of at most this length.
const PART: usize = 64 << 10;

/// So much of the old text is kept.
const CACHE: u64 = 8 << 20;

/// What a patch may give. Whoever knows the new files sets these to what they are.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Number of new files.
    pub files: usize,
    /// Bytes in all new files together.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { files: 1 << 20, bytes: 1 << 40 }
    }
}

/// Why a patch could not be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The patch is damaged, not for these files, or gives more than the limits allow.
    #[error("the patch does not fit: {0}")]
    Damaged(String),
    /// An old file or the patch could not be read.
    #[error("reading failed: {0}")]
    Read(io::Error),
    /// The sink did not take what it was given.
    #[error("writing failed: {0}")]
    Write(io::Error),
}

/// Gives `sink` every new file. What it gets is unproven: a damaged patch is not always noticed here, so the caller compares with what the
/// publisher signed.
pub fn apply(
    old: &dyn Files,
    patch: &dyn ReadAt,
    limits: &Limits,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ApplyError> {
    let (header, mut at) = Header::read(patch, limits.files, limits.bytes).map_err(reading)?;
    if header.old != (0..old.count()).map(|file| old.length(file)).sum::<u64>() {
        return Err(damaged("it is for other old files"));
    }
    let mut output = Output { lengths: &header.new, file: 0, left: 0, done: 0, total: header.total(), sink, progress };
    output.begin()?;
    while output.done < output.total {
        let mut head = Head::at(patch, at);
        let group = Group::read(&mut head, &header, output.done).map_err(reading)?;
        at = apply_group(old, patch, &group, head.position(), &mut output)?;
    }
    if at == patch.length() { Ok(()) } else { Err(damaged("something follows its end")) }
}

/// Applies the group whose streams begin at `at`; tells where they end.
fn apply_group(old: &dyn Files, patch: &dyn ReadAt, group: &Group, at: u64, output: &mut Output<'_>) -> Result<u64, ApplyError> {
    let mut starts = [at; STREAMS.len()];
    let mut end = at;
    for (start, stream) in starts.iter_mut().zip(&group.streams) {
        *start = end;
        end = end.checked_add(stream.len).filter(|end| *end <= patch.length()).ok_or_else(|| damaged("it is cut"))?;
    }
    let text = Text::new(old, group.old.clone());
    let pieces = text::pieces(output.lengths.iter().copied(), &group.new);
    let new_len = group.new.end - group.new.start;
    let open = |stream: usize| group.streams[stream].open(patch, starts[stream]).map_err(reading);
    let layouts = exe::read_layouts(&mut open(0)?, group.streams[0].raw, &pieces).map_err(reading)?;
    let covers = cover::read(group.covers, text.len(), new_len, &mut open(1)?).map_err(reading)?;
    let covered: u64 = covers.iter().map(|cover| u64::from(cover.len)).sum();
    if group.streams[4].raw != new_len - covered {
        return Err(damaged("literals and covers do not make up the new text"));
    }
    let images = if layouts.is_empty() { Images::none() } else { Images::read(&text).map_err(ApplyError::Read)? };
    let mut body = Body {
        cache: Cache::new(&text, CACHE),
        predictor: Predictor::new(&images, &layouts, &covers),
        residual: residual::Reader::new(open(2)?, open(3)?),
        literals: open(4)?,
        buffer: vec![0; PART],
    };
    let mut done = 0;
    for cover in &covers {
        body.literals(u64::from(cover.new) - done, output)?;
        body.covered(cover, output)?;
        done = cover.new_end() as u64;
    }
    body.literals(new_len - done, output)?;
    body.residual.finish().map_err(reading)?;
    Ok(end)
}

/// What the new text of a group is made of.
struct Body<'t, 'f, 'p> {
    cache: Cache<'t, 'f>,
    predictor: Predictor<'t>,
    residual: residual::Reader<Stream<'p>>,
    literals: Stream<'p>,
    buffer: Vec<u8>,
}

impl Body<'_, '_, '_> {
    fn literals(&mut self, mut len: u64, output: &mut Output<'_>) -> Result<(), ApplyError> {
        while len > 0 {
            let part = &mut self.buffer[..len.min(PART as u64) as usize];
            self.literals.read_exact(part).map_err(reading)?;
            output.write(part)?;
            len -= part.len() as u64;
        }
        Ok(())
    }

    fn covered(&mut self, cover: &Cover, output: &mut Output<'_>) -> Result<(), ApplyError> {
        let mut done = 0;
        while done < cover.len as usize {
            let len = self.predictor.part(cover, done, PART);
            let part = &mut self.buffer[..len];
            self.cache.read_exact_at(part, (cover.old as usize + done) as u64).map_err(ApplyError::Read)?;
            self.predictor.turn(cover, done, part, &mut |predicted, field| self.residual.settle(predicted, field)).map_err(reading)?;
            output.write(part)?;
            done += len;
        }
        Ok(())
    }
}

/// Cuts the new text into files.
struct Output<'a> {
    lengths: &'a [u64],
    /// The file to begin next, and what the one before it still lacks.
    file: usize,
    left: u64,
    done: u64,
    total: u64,
    sink: &'a mut dyn Sink,
    progress: &'a mut dyn FnMut(Progress),
}

impl Output<'_> {
    /// Begins files until one needs bytes.
    fn begin(&mut self) -> Result<(), ApplyError> {
        while self.left == 0 && self.file < self.lengths.len() {
            self.left = self.lengths[self.file];
            self.sink.begin(self.file, self.left).map_err(ApplyError::Write)?;
            self.file += 1;
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), ApplyError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(self.left.min(bytes.len() as u64) as usize);
            self.sink.write(now).map_err(ApplyError::Write)?;
            self.left -= now.len() as u64;
            self.done += now.len() as u64;
            bytes = later;
            self.begin()?;
        }
        (self.progress)(Progress { done: self.done, total: self.total });
        Ok(())
    }
}

/// Tells what a patch says wrongly from what could not be read.
pub(crate) fn reading(error: io::Error) -> ApplyError {
    match error.kind() {
        io::ErrorKind::InvalidData => ApplyError::Damaged(error.to_string()),
        io::ErrorKind::UnexpectedEof => damaged("it is cut"),
        _ => ApplyError::Read(error),
    }
}

fn damaged(what: &str) -> ApplyError {
    ApplyError::Damaged(what.to_owned())
}
