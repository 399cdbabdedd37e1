//! Patches as objects: what turns the files of one release into those of another, sealed segment by segment (SPEC.md §10).

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::Aad;
use zeroize::Zeroize;

use super::chunk::TAG_LEN;
use super::codec::{Input, limits, put, put_signed, put_text};
use super::keys::{PatchKey, aead};
use super::manifest::{EntryKind, Manifest};
use super::names::{ChunkId, ObjectName};
use super::object::ReadAt;
use super::pack::PackedObject;
use super::seal::fixed_nonce;
use crate::secret::{Random, Secret};

/// Bytes of plaintext in a segment, the last one excepted: what is fetched again at most after a break.
pub const PATCH_SEGMENT: usize = 1 << 20;

const SEALED_SEGMENT: u64 = (PATCH_SEGMENT + TAG_LEN) as u64;
const SALT_LEN: usize = 32;
const MAGIC: &[u8; 8] = b"CFPATCH1";
/// As many as there are streams in a patch, and some.
const OPEN_SEGMENTS: usize = 8;
/// Bytes that say how long the header is.
const LENGTH_LEN: u64 = 4;
/// Most bytes of a header: every entry of two of the largest manifests.
const HEADER_BYTES: u64 = 64 << 20;

/// What a patch is applied to, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchHeader {
    /// The manifest of the release that it is applied to.
    pub from: ChunkId,
    /// The manifest of the release that comes of it.
    pub to: ChunkId,
    /// What the chunks of that release were compressed by, such as `zstd 1.5.7`; another one gives other chunks.
    pub encoder: String,
    /// And at which level.
    pub level: i32,
    /// The files of the one that are read, as entries of its manifest, rising.
    pub old: Vec<u32>,
    /// The files of the other that are made, as entries of its manifest, rising.
    pub new: Vec<u32>,
}

/// Why a patch cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// No patch has this length.
    #[error("a patch cannot have {0} bytes")]
    Length(u64),
    /// A segment is damaged, of another patch, of another title, or not at its place.
    #[error("segment {0} of the patch does not open")]
    Segment(u64),
    /// What it says of itself cannot be.
    #[error("the header of the patch is wrong: {0}")]
    Header(&'static str),
}

/// Seals a patch as it is written.
pub struct PatchWriter<W> {
    key: PatchKey,
    salt: [u8; SALT_LEN],
    /// The segment under way, with room for its tag.
    buffer: Vec<u8>,
    segments: u64,
    target: W,
    hasher: blake3::Hasher,
    length: u64,
}

impl<W: Write> PatchWriter<W> {
    /// Begins a patch: salt and header; what is written then is the engine's.
    ///
    /// # Errors
    /// `InvalidInput` for entries that do not rise; what the target says.
    pub fn new(key: PatchKey, header: &PatchHeader, random: &mut dyn Random, target: W) -> io::Result<Self> {
        if !(header.old.is_sorted_by(|a, b| a < b) && header.new.is_sorted_by(|a, b| a < b)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut salt = [0; SALT_LEN];
        random.fill(&mut salt);
        let buffer = Vec::with_capacity(PATCH_SEGMENT + TAG_LEN);
        let mut writer = Self { key, salt, buffer, segments: 0, target, hasher: blake3::Hasher::new(), length: 0 };
        writer.pass_on(&salt)?;
        let header = header.encode();
        let length = u32::try_from(header.len()).map_err(|_| io::Error::other("too many files for one patch"))?;
        writer.write_all(&length.to_le_bytes())?;
        writer.write_all(&header)?;
        Ok(writer)
    }

    /// Seals the last segment; gives the target back, and what the object is called.
    ///
    /// # Errors
    /// What the target says.
    pub fn finish(mut self) -> io::Result<(W, PackedObject)> {
        self.seal_segment(true)?;
        let name = ObjectName(*self.hasher.finalize().as_bytes());
        Ok((self.target, PackedObject { name, length: self.length }))
    }

    fn seal_segment(&mut self, is_last: bool) -> io::Result<()> {
        let key = self.key.segment_key(&self.salt, self.segments, is_last);
        let mut segment = std::mem::take(&mut self.buffer);
        let tag = aead(key.expose())
            .seal_in_place_separate_tag(fixed_nonce(), Aad::empty(), &mut segment)
            .expect("a segment is far below the 64 GiB that AES-GCM seals at once");
        segment.extend_from_slice(tag.as_ref());
        self.pass_on(&segment)?;
        segment.clear();
        self.buffer = segment;
        self.segments += 1;
        Ok(())
    }

    fn pass_on(&mut self, sealed: &[u8]) -> io::Result<()> {
        self.target.write_all(sealed)?;
        self.hasher.update(sealed);
        self.length += sealed.len() as u64;
        Ok(())
    }
}

impl<W: Write> Write for PatchWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not before more comes: the last segment is sealed as the last one, and is never empty.
        if self.buffer.len() == PATCH_SEGMENT && !bytes.is_empty() {
            self.seal_segment(false)?;
        }
        let taken = bytes.len().min(PATCH_SEGMENT - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Whole segments have been passed on already; the one under way waits for its end.
    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

/// A whole patch that lies somewhere sealed. Read at any offset, it gives the bytes that the difference engine wrote.
///
/// The engine's streams lie side by side in it and are each read forward: the last few segments stay open, 8 MiB.
pub struct SealedPatch<S> {
    key: PatchKey,
    salt: [u8; SALT_LEN],
    source: S,
    layout: Layout,
    header: PatchHeader,
    /// Where the engine's bytes begin in the plaintext.
    start: u64,
    /// Segments that were opened, the one that was used last at the end.
    open: Mutex<Vec<(u64, Arc<Segment>)>>,
}

/// Plaintext of a segment, wiped when it is no longer needed.
struct Segment(Vec<u8>);

impl Drop for Segment {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<S: ReadAt> SealedPatch<S> {
    /// Reads salt and header. Memory: the header as far as bytes justify it.
    ///
    /// # Errors
    /// [`PatchError`] as `InvalidData`; what the source says.
    pub fn open(key: PatchKey, source: S) -> io::Result<Self> {
        let layout = Layout::of(source.size()?)?;
        let mut salt = [0; SALT_LEN];
        source.read_exact_at(&mut salt, 0)?;
        let nothing =
            PatchHeader { from: ChunkId([0; 32]), to: ChunkId([0; 32]), encoder: String::new(), level: 0, old: vec![], new: vec![] };
        let mut patch = Self { key, salt, source, layout, header: nothing, start: 0, open: Mutex::default() };

        if patch.layout.plain < LENGTH_LEN {
            return Err(PatchError::Header("cut off").into());
        }
        let mut length = [0; LENGTH_LEN as usize];
        patch.read_plain(&mut length, 0)?;
        let length = u64::from(u32::from_le_bytes(length));
        if length > HEADER_BYTES || length > patch.layout.plain - LENGTH_LEN {
            return Err(PatchError::Header("longer than it can be").into());
        }
        let mut encoded = vec![0; length as usize];
        patch.read_plain(&mut encoded, LENGTH_LEN)?;
        patch.header = PatchHeader::parse(&encoded)?;
        patch.start = LENGTH_LEN + length;
        Ok(patch)
    }

    /// What it is applied to, and what comes of it.
    pub fn header(&self) -> &PatchHeader {
        &self.header
    }

    fn read_plain(&self, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
        if at.checked_add(buffer.len() as u64).is_none_or(|end| end > self.layout.plain) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buffer.is_empty() {
            let segment = self.segment(at / PATCH_SEGMENT as u64)?;
            let rest = &segment.0[(at % PATCH_SEGMENT as u64) as usize..];
            let taken = rest.len().min(buffer.len());
            buffer[..taken].copy_from_slice(&rest[..taken]);
            buffer = &mut buffer[taken..];
            at += taken as u64;
        }
        Ok(())
    }

    fn segment(&self, index: u64) -> io::Result<Arc<Segment>> {
        // Held while a segment is opened: whoever needs the same one would open it a second time.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.iter().position(|(at, _)| *at == index);
        let used = match found {
            Some(place) => open.remove(place).1,
            None => {
                if open.len() == OPEN_SEGMENTS {
                    open.remove(0);
                }
                let mut segment = Segment(Vec::new());
                self.layout.open_segment(&self.key, &self.salt, index, &self.source, &mut segment.0)?;
                Arc::new(segment)
            }
        };
        open.push((index, Arc::clone(&used)));
        Ok(used)
    }
}

impl<S: ReadAt> ReadAt for SealedPatch<S> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_plain(buffer, offset.saturating_add(self.start))
    }

    /// How many bytes the engine has written.
    fn size(&self) -> io::Result<u64> {
        Ok(self.layout.plain - self.start)
    }
}

/// How many bytes at the beginning of a patch of `length` bytes are good and lie in `source`: where to go on fetching.
///
/// # Errors
/// [`PatchError::Length`] as `InvalidData`; what the source says.
pub fn good_patch_bytes(key: &PatchKey, source: &impl ReadAt, length: u64) -> io::Result<u64> {
    let layout = Layout::of(length)?;
    let here = source.size()?;
    if here < SALT_LEN as u64 {
        return Ok(0);
    }
    let mut salt = [0; SALT_LEN];
    source.read_exact_at(&mut salt, 0)?;
    let mut buffer = Vec::new();
    let mut good = 0;
    for index in 0..layout.segments {
        let (start, sealed) = layout.segment(index);
        if start + sealed > here {
            break;
        }
        match layout.open_segment(key, &salt, index, source, &mut buffer) {
            Ok(()) => good = start + sealed,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => break,
            Err(error) => return Err(error),
        }
    }
    buffer.zeroize();
    Ok(good)
}

/// Where the segments lie; follows from the length alone.
#[derive(Clone, Copy)]
struct Layout {
    length: u64,
    segments: u64,
    plain: u64,
}

impl Layout {
    fn of(length: u64) -> Result<Self, PatchError> {
        let sealed = length.checked_sub(SALT_LEN as u64).filter(|sealed| *sealed > 0 && length <= limits::RELEASE_BYTES);
        let sealed = sealed.ok_or(PatchError::Length(length))?;
        let segments = sealed.div_ceil(SEALED_SEGMENT);
        // An empty last segment would be a second way to write the same patch.
        if sealed - (segments - 1) * SEALED_SEGMENT <= TAG_LEN as u64 {
            return Err(PatchError::Length(length));
        }
        Ok(Self { length, segments, plain: sealed - segments * TAG_LEN as u64 })
    }

    /// Where a segment begins, and its sealed length.
    fn segment(&self, index: u64) -> (u64, u64) {
        let start = SALT_LEN as u64 + index * SEALED_SEGMENT;
        (start, SEALED_SEGMENT.min(self.length - start))
    }

    fn open_segment(
        &self,
        key: &PatchKey,
        salt: &[u8; SALT_LEN],
        index: u64,
        source: &impl ReadAt,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        let (start, sealed) = self.segment(index);
        buffer.resize(sealed as usize, 0);
        source.read_exact_at(buffer, start)?;
        let key: Secret<32> = key.segment_key(salt, index, index + 1 == self.segments);
        let opened = aead(key.expose()).open_in_place(fixed_nonce(), Aad::empty(), buffer).map(|plain| plain.len());
        let plain = opened.map_err(|_| PatchError::Segment(index))?;
        buffer.truncate(plain);
        Ok(())
    }
}

impl PatchHeader {
    /// Whether its files are files of the two manifests.
    ///
    /// # Errors
    /// [`PatchError::Header`].
    pub fn check(&self, old: &Manifest, new: &Manifest) -> Result<(), PatchError> {
        let is_file = |manifest: &Manifest, at: u32| {
            (at as usize) < manifest.len() && matches!(manifest.entry(at as usize).kind, EntryKind::File { .. })
        };
        if self.old.iter().all(|&at| is_file(old, at)) && self.new.iter().all(|&at| is_file(new, at)) {
            return Ok(());
        }
        Err(PatchError::Header("names what is no file of the release"))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + 64 + 32 + self.old.len() + self.new.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.from.0);
        out.extend_from_slice(&self.to.0);
        put_text(&mut out, &self.encoder);
        put_signed(&mut out, self.level);
        for entries in [&self.old, &self.new] {
            put(&mut out, entries.len() as u64);
            let mut next = 0;
            for &entry in entries {
                put(&mut out, u64::from(entry) - next);
                next = u64::from(entry) + 1;
            }
        }
        out
    }

    fn parse(bytes: &[u8]) -> Result<Self, PatchError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(PatchError::Header("not a patch of a known version"))?;
        let mut input = Input { rest };
        let wrong = |_| PatchError::Header("cut off, or a number written badly");
        let (from, to) = (ChunkId(input.hash().map_err(wrong)?), ChunkId(input.hash().map_err(wrong)?));
        let encoder = input.text().map_err(wrong)?;
        if encoder.len() > 64 {
            return Err(PatchError::Header("an encoder with a name that long"));
        }
        let level = input.signed32().map_err(wrong)?;
        let (old, new) = (entries(&mut input)?, entries(&mut input)?);
        if !input.rest.is_empty() {
            return Err(PatchError::Header("bytes behind its end"));
        }
        Ok(Self { from, to, encoder: encoder.to_owned(), level, old, new })
    }
}

fn entries(input: &mut Input<'_>) -> Result<Vec<u32>, PatchError> {
    let wrong = |_| PatchError::Header("cut off, or a number written badly");
    let count = input.count(1).map_err(wrong)?;
    let mut entries = Vec::with_capacity(count);
    let mut next = 0_u64;
    for _ in 0..count {
        let entry = next + u64::from(input.number32().map_err(wrong)?);
        if entry >= limits::ENTRIES as u64 {
            return Err(PatchError::Header("an entry that no manifest has"));
        }
        entries.push(entry as u32);
        next = entry + 1;
    }
    Ok(entries)
}

impl From<PatchError> for io::Error {
    fn from(error: PatchError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
