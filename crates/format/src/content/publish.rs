//! Publishes a directory: read and cut by one thread, compressed and sealed by several, packed by the caller's.
//!
//! Batches of about 1 MiB go round the workers in turn and come back in the same turn, so that what is written does not
//! depend on how many threads there are, and memory is bounded by the queues.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::chunk::{Encoder, OVERHEAD, TAG_LEN};
use super::codec::ManifestError;
use super::keys::{ChunkKeys, ContentKey};
use super::manifest::{Manifest, ManifestBuilder};
use super::names::ObjectName;
use super::object::ReadAt as _;
use super::pack::{PackSink, PackedObject};
use super::release::ManifestRef;
use super::tree::{Found, FoundKind, TreeError, walk};
use feed::{Batch, Pool, feed_tree};
pub use packer::Reused;
use packer::{Packed, Packer};

mod feed;
mod packer;

/// How to publish.
#[derive(Clone, Copy)]
pub struct PublishOptions<'a> {
    /// Level of zstd, 1–22.
    pub level: i32,
    /// Threads that compress and seal; 0 for one per processor.
    pub threads: usize,
    /// Bytes that a pack has at most.
    pub pack_bytes: u64,
    /// Manifests of earlier releases of the title, under the same content key, whose packs still are in the store.
    pub earlier: &'a [&'a Manifest],
}

impl Default for PublishOptions<'_> {
    fn default() -> Self {
        Self { level: 3, threads: 0, pack_bytes: 32 << 20, earlier: &[] }
    }
}

/// How far publishing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublishProgress {
    /// Files found, and those that something was packed of.
    pub files: u64,
    /// See `files`.
    pub files_total: u64,
    /// Bytes of files packed, of `bytes_total`.
    pub bytes: u64,
    /// Bytes of files found.
    pub bytes_total: u64,
    /// Bytes of them that were known already, from this release or an earlier one.
    pub bytes_known: u64,
    /// Sealed bytes written to the sink.
    pub written: u64,
}

/// What publishing made, for a [`Release`](super::Release) to name.
pub struct Published {
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest sealed under the content key: an object to be stored beside the packs.
    pub sealed_manifest: Vec<u8>,
    /// What the release says of it.
    pub reference: ManifestRef,
    /// Packs written to the sink, in order.
    pub packs: Vec<PackedObject>,
    /// Packs of earlier releases that this one uses as well.
    pub reused: Vec<Reused>,
    /// The last state of the progress.
    pub progress: PublishProgress,
}

/// Why a directory was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The tree holds something that a release cannot.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file is not what it was when its reading began.
    #[error("`{0}` changed while it was read")]
    Changed(String),
    /// A file could not be read.
    #[error("`{path}` cannot be read")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A pack could not be written.
    #[error("packs cannot be written")]
    Sink(#[source] io::Error),
    /// The compressor does not take the level, or has no memory.
    #[error("compression cannot start")]
    Compression(#[source] io::Error),
    /// More than a release may hold.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Batches that wait before and behind each worker.
const QUEUE: usize = 2;
/// More workers than this only cost memory.
const MOST_THREADS: usize = 16;

/// Publishes what is below `root` under `key`: packs go to `sink`, the rest is returned.
///
/// The same tree, key, level and earlier manifests give the same bytes, however many threads there are. `progress` is told
/// after every batch. Memory is some MiB for each thread, and 80 bytes for each chunk.
pub fn publish(
    root: &Path,
    key: &ContentKey,
    options: &PublishOptions<'_>,
    sink: &mut dyn PackSink,
    progress: &mut dyn FnMut(&PublishProgress),
) -> Result<Published, PublishError> {
    let found = walk(root)?;
    let mut packer = Packer::new(sink, options.pack_bytes, options.earlier, progress);
    packer.expect(&found);
    run_threads(root, &found, key, options, &mut packer)?;
    repack(root, &found, key, options, &mut packer)?;
    let packed = packer.finish()?;
    let manifest = list(&found, &packed)?;

    let (sealed_manifest, reference) = seal_manifest(&manifest, &key.chunk_keys(), options.level)?;
    let Packed { packs, reused, progress, .. } = packed;
    Ok(Published { manifest, sealed_manifest, reference, packs, reused, progress })
}

fn run_threads(
    root: &Path,
    found: &[Found],
    key: &ContentKey,
    options: &PublishOptions<'_>,
    packer: &mut Packer<'_>,
) -> Result<(), PublishError> {
    let keys = key.chunk_keys();
    let seed = key.cut_seed();
    let threads = match options.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        given => given,
    };
    let threads = threads.min(MOST_THREADS);
    let mut encoders = Vec::new();
    for _ in 0..threads {
        encoders.push(Encoder::new(options.level).map_err(PublishError::Compression)?);
    }
    // A level that zstd does not know would show at the first chunk only, as chunks that are merely stored.
    if !zstd::compression_level_range().contains(&options.level) {
        return Err(PublishError::Compression(io::ErrorKind::InvalidInput.into()));
    }

    let pool = Pool::default();
    thread::scope(|scope| {
        let (mut jobs, mut done) = (Vec::new(), Vec::new());
        for mut encoder in encoders {
            let (to_worker, from_feed) = sync_channel::<Batch>(QUEUE);
            let (to_packer, from_worker) = sync_channel::<SealedBatch>(QUEUE);
            jobs.push(to_worker);
            done.push(from_worker);
            let (keys, pool) = (&keys, &pool);
            scope.spawn(move || {
                for batch in from_feed {
                    let sealed = seal_batch(&batch, keys, &mut encoder, pool);
                    pool.give_back(batch.data);
                    // The packer has failed and gone: its error is the one that is told.
                    if to_packer.send(sealed).is_err() {
                        break;
                    }
                }
            });
        }
        let feed = scope.spawn(|| feed_tree(root, found, seed, jobs, &pool));
        let packed = pack_all(&done, packer, &pool);
        // Workers that wait to hand on a batch are let go before the feed is waited for.
        drop(done);
        let fed = feed.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        packed.and(fed)
    })
}

fn pack_all(done: &[Receiver<SealedBatch>], packer: &mut Packer<'_>, pool: &Pool) -> Result<(), PublishError> {
    for worker in done.iter().cycle() {
        // No more from this worker means that the feed has ended: later batches would have come by it first.
        let Ok(batch) = worker.recv() else { break };
        packer.add(&batch)?;
        pool.give_back(batch.data);
    }
    Ok(())
}

/// Sealed chunks, in the order of the batch that they were made from.
struct SealedBatch {
    /// The chunks one behind the other, in a buffer that may be longer.
    data: Vec<u8>,
    chunks: Vec<SealedChunk>,
}

struct SealedChunk {
    id: super::names::ChunkId,
    sealed_len: u32,
    plain_len: u32,
    /// Index of the file that it is part of.
    file: u32,
}

fn seal_batch(batch: &Batch, keys: &ChunkKeys, encoder: &mut Encoder, pool: &Pool) -> SealedBatch {
    let mut data = pool.take();
    let mut chunks = Vec::with_capacity(batch.pieces.len());
    let (mut from, mut to) = (0, 0);
    for piece in &batch.pieces {
        let plain = &batch.data[from..from + piece.length as usize];
        let body_len = encoder.encode(plain, &mut data[to..to + 1 + plain.len()]);
        let id = keys.id.id_of(&data[to..to + body_len]);
        let sealed_len = body_len + TAG_LEN;
        keys.seal_in_place(&id, &mut data[to..to + sealed_len]);
        chunks.push(SealedChunk { id, sealed_len: sealed_len as u32, plain_len: piece.length, file: piece.file });
        from += plain.len();
        to += sealed_len;
    }
    SealedBatch { data, chunks }
}

/// Packs anew what is used of earlier packs that are mostly dead. Their plaintext is read a second time, which is little.
fn repack(
    root: &Path,
    found: &[Found],
    key: &ContentKey,
    options: &PublishOptions<'_>,
    packer: &mut Packer<'_>,
) -> Result<(), PublishError> {
    let keys = key.chunk_keys();
    let mut encoder = Encoder::new(options.level).map_err(PublishError::Compression)?;
    let (mut plain, mut sealed) = (Vec::new(), Vec::new());
    let mut open: Option<(u32, File)> = None;
    for again in packer.sparse() {
        let path = &found[again.file as usize].path;
        let failed = |source| PublishError::Read { path: path.clone(), source };
        let file = match open.take() {
            Some((at, file)) if at == again.file => file,
            _ => File::open(root.join(path)).map_err(failed)?,
        };
        plain.resize(again.plain_len as usize, 0);
        file.read_exact_at(&mut plain, again.offset).map_err(failed)?;
        sealed.resize(plain.len() + OVERHEAD, 0);
        let body = encoder.encode(&plain, &mut sealed);
        sealed.truncate(body + TAG_LEN);
        if keys.id.id_of(&sealed[..body]) != again.id {
            return Err(PublishError::Changed(path.clone()));
        }
        keys.seal_in_place(&again.id, &mut sealed);
        packer.add_again(&again, &sealed)?;
        open = Some((again.file, file));
    }
    Ok(())
}

/// Puts the manifest together from what was found and where it was packed.
fn list(found: &[Found], packed: &Packed) -> Result<Manifest, ManifestError> {
    let mut builder = ManifestBuilder::new();
    packed.list_packs(&mut builder)?;
    for (index, Found { path, kind }) in found.iter().enumerate() {
        match kind {
            FoundKind::Directory => builder.directory(path)?,
            FoundKind::File { executable, .. } => {
                builder.file(path, *executable, packed.runs(index as u32))?;
            }
            FoundKind::Link { target } => builder.link(path, target)?,
        }
    }
    builder.finish()
}

/// Seals a manifest as if it were one large chunk (SPEC.md §3.4).
fn seal_manifest(manifest: &Manifest, keys: &ChunkKeys, level: i32) -> Result<(Vec<u8>, ManifestRef), PublishError> {
    let plain = manifest.encode();
    if plain.len() > super::codec::limits::MANIFEST_BYTES {
        return Err(ManifestError::Limit("length of a manifest").into());
    }
    let mut sealed = vec![0; plain.len() + OVERHEAD];
    let body_len = Encoder::new(level).map_err(PublishError::Compression)?.encode(&plain, &mut sealed);
    sealed.truncate(body_len + TAG_LEN);
    let id = keys.id.id_of(&sealed[..body_len]);
    keys.seal_in_place(&id, &mut sealed);
    let reference = ManifestRef { id, object: ObjectName::of(&sealed), length: sealed.len() as u64, size: plain.len() as u64 };
    Ok((sealed, reference))
}
