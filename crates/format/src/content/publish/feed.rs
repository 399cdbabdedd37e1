//! Reads the files of a tree one after the other and hands them out in batches of whole chunks.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};

use super::super::chunk::OVERHEAD;
use super::super::cut::{Cutter, MAX_CHUNK};
use super::super::tree::{Found, FoundKind, identity};
use super::PublishError;

/// Bytes of whole chunks from which on a batch is handed out.
const BATCH: usize = 1 << 20;
/// Most chunks of a batch: what bounds the overhead of many small files.
const PIECES: usize = 4096;
/// A batch and one chunk that is not cut off yet, or all of them sealed.
const BUFFER: usize = BATCH + 2 * MAX_CHUNK + PIECES * OVERHEAD;

/// Plaintext cut into chunks.
pub struct Batch {
    pub data: Vec<u8>,
    pub pieces: Vec<Piece>,
}

/// A chunk of a batch: the next `length` bytes, which belong to the file at index `file`.
pub struct Piece {
    pub file: u32,
    pub length: u32,
}

/// Buffers that have been used before, so that memory is set up once and not for every batch.
#[derive(Default)]
pub struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    pub fn take(&self) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; BUFFER])
    }

    pub fn give_back(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Hands all files to the workers, batch by batch in turn.
pub fn feed_tree(root: &Path, found: &[Found], seed: u64, workers: Vec<SyncSender<Batch>>, pool: &Pool) -> Result<(), PublishError> {
    let mut feed = Feed { cutter: Cutter::new(seed), workers, turn: 0, pool, data: pool.take(), filled: 0, cut: 0, pieces: vec![] };
    for (index, Found { path, kind }) in found.iter().enumerate() {
        let FoundKind::File { identity, .. } = kind else { continue };
        match feed.file(&root.join(path), path, *identity, index as u32) {
            Ok(()) => {}
            Err(Stop::Failed(error)) => return Err(error),
            // The packer has failed; it tells why.
            Err(Stop::NobodyListens) => return Ok(()),
        }
    }
    // Nobody listening is no error here either.
    let _ = feed.hand_out();
    Ok(())
}

enum Stop {
    Failed(PublishError),
    NobodyListens,
}

struct Feed<'a> {
    cutter: Cutter,
    workers: Vec<SyncSender<Batch>>,
    turn: usize,
    pool: &'a Pool,
    /// The batch under way: up to `cut` it is cut into `pieces`, up to `filled` it is read.
    data: Vec<u8>,
    filled: usize,
    cut: usize,
    pieces: Vec<Piece>,
}

impl Feed<'_> {
    fn file(&mut self, full: &Path, path: &str, identity_found: (u64, u64), index: u32) -> Result<(), Stop> {
        let failed = |source| Stop::Failed(PublishError::Read { path: path.to_owned(), source });
        let changed = || Stop::Failed(PublishError::Changed(path.to_owned()));
        let mut file = File::open(full).map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        if !before.is_file() || identity(&before) != identity_found {
            return Err(changed());
        }
        let mut read = 0;
        let mut at_end = false;
        while !at_end || self.cut < self.filled {
            while !at_end && self.filled - self.cut < MAX_CHUNK {
                if self.filled == self.data.len() {
                    self.hand_out()?;
                }
                match file.read(&mut self.data[self.filled..]) {
                    Ok(0) => at_end = true,
                    Ok(n) => {
                        self.filled += n;
                        read += n as u64;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            self.cut_chunks(index, at_end)?;
        }
        let after = file.metadata().map_err(failed)?;
        if read != after.len() || version(&before) != version(&after) {
            return Err(changed());
        }
        Ok(())
    }

    /// Cuts off chunks while there is enough to cut, or all of it at the file's end.
    fn cut_chunks(&mut self, file: u32, at_end: bool) -> Result<(), Stop> {
        while self.filled - self.cut >= MAX_CHUNK || (at_end && self.filled > self.cut) {
            let length = self.cutter.cut(&self.data[self.cut..self.filled]);
            self.pieces.push(Piece { file, length: length as u32 });
            self.cut += length;
            if self.cut >= BATCH || self.pieces.len() == PIECES {
                self.hand_out()?;
            }
        }
        Ok(())
    }

    /// Hands the whole chunks to the next worker, and begins a batch with what is not cut yet.
    fn hand_out(&mut self) -> Result<(), Stop> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        let mut next = self.pool.take();
        let rest = self.filled - self.cut;
        next[..rest].copy_from_slice(&self.data[self.cut..self.filled]);
        let batch = Batch { data: std::mem::replace(&mut self.data, next), pieces: std::mem::take(&mut self.pieces) };
        (self.filled, self.cut) = (rest, 0);
        let worker = &self.workers[self.turn];
        self.turn = (self.turn + 1) % self.workers.len();
        worker.send(batch).map_err(|_| Stop::NobodyListens)
    }
}

/// What changes when a file is written to.
#[cfg(unix)]
fn version(metadata: &Metadata) -> impl PartialEq {
    use std::os::unix::fs::MetadataExt;
    (metadata.size(), metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn version(metadata: &Metadata) -> impl PartialEq {
    (metadata.len(), metadata.modified().ok())
}
