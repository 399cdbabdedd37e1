//! One thing on its way: what has come is kept for the next attempt, in the library in sealed pieces.

use super::{Place, Sealed};
use crate::error::Result;
use crate::io::{Create, File, IoFailure, Sequential, parent};
use crate::terminal::Terminal;
use counterfoil_format::container::{Opening, Sealing, plain_length, sealed_length};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a piece before it is sealed; the last has fewer.
const PIECE: usize = 1 << 20;
/// Bytes moved at once.
const BUFFER: usize = 256 * 1024;

/// Receives.
pub(crate) struct Receiving<'a> {
    place: &'a Place,
    terminal: &'a Terminal,
    provider: String,
    name: String,
    partial: PathBuf,
    file: Box<dyn File>,
    hasher: blake3::Hasher,
    length: u64,
    /// What is not sealed yet, less than a piece.
    piece: Zeroizing<Vec<u8>>,
}

impl<'a> Receiving<'a> {
    pub(super) fn open(place: &'a Place, terminal: &'a Terminal, provider: &str, name: &str, fresh: bool) -> Result<Self> {
        let partial = place.path(provider, &format!(".{name}.partial"));
        let linked = matches!(place.io.is_plain(&partial), Ok(false));
        if linked {
            place.io.remove_file(&partial).map_err(IoFailure::at("remove", &partial))?;
        }
        let how = if fresh { Create::Truncate } else { Create::Resume };
        let file = place.io.create(&partial, how, 0o644).map_err(IoFailure::at("write", &partial))?;
        let (provider, name) = (provider.to_owned(), name.to_owned());
        let (hasher, piece) = (blake3::Hasher::new(), Zeroizing::new(Vec::with_capacity(PIECE)));
        let mut receiving = Self { place, terminal, provider, name, partial, file, hasher, length: 0, piece };
        receiving.look_at_what_is_there().map_err(IoFailure::at("read", &receiving.partial.clone()))?;
        Ok(receiving)
    }

    /// Bytes that are here.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// BLAKE3 of those.
    pub fn hash(&self) -> blake3::Hash {
        self.hasher.finalize()
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        if self.place.sealed.is_none() {
            self.file.write_all_at(bytes, self.length).map_err(IoFailure::at("write", &self.partial))?;
            self.length += bytes.len() as u64;
            return Ok(());
        }
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE {
                self.put_piece((self.length - bytes.len() as u64 - 1) / PIECE as u64)?;
                self.piece.clear();
            }
        }
        Ok(())
    }

    /// What has come so far is there for the next attempt.
    pub fn keep(&mut self) -> Result<()> {
        if self.place.sealed.is_some() && !self.piece.is_empty() {
            self.put_piece(self.length / PIECE as u64)?;
        }
        Ok(())
    }

    /// It is what it should be: gives it its name, durably.
    pub fn finish(mut self, terminal: &Terminal) -> Result<PathBuf> {
        let path = self.place.path(&self.provider, &self.name);
        let io = &*self.place.io;
        let whole = match &self.place.sealed {
            None => {
                self.file.sync().map_err(IoFailure::at("write", &self.partial))?;
                self.partial.clone()
            }
            Some(_) => {
                self.keep()?;
                let whole = self.place.path(&self.provider, &format!(".{}.sealed", self.name));
                self.seal_whole(terminal, &whole).map_err(IoFailure::at("write", &whole))?;
                whole
            }
        };
        let put = io.rename(&whole, &path).and_then(|()| io.sync_dir(parent(&path)));
        put.map_err(IoFailure::at("write", &path))?;
        if whole != self.partial {
            self.discard()?;
        }
        Ok(path)
    }

    /// Throws away what has come.
    pub fn discard(self) -> Result<()> {
        drop(self.file);
        Ok(self.place.io.remove_file(&self.partial).map_err(IoFailure::at("remove", &self.partial))?)
    }

    /// Takes over what an earlier attempt has left, as far as it is whole.
    fn look_at_what_is_there(&mut self) -> io::Result<()> {
        let there = self.file.size()?;
        match &self.place.sealed {
            None => {
                let mut buffer = vec![0; BUFFER];
                while self.length < there {
                    let count = buffer.len().min(usize::try_from(there - self.length).unwrap_or(usize::MAX));
                    self.file.read_exact_at(&mut buffer[..count], self.length)?;
                    self.hasher.update(&buffer[..count]);
                    self.length += count as u64;
                }
                Ok(())
            }
            Some(sealed) => {
                for index in 0.. {
                    let Some(piece) = self.piece_at(sealed, index, there)? else {
                        return self.file.set_len(index * stride());
                    };
                    self.hasher.update(&piece);
                    self.length += piece.len() as u64;
                    if piece.len() < PIECE {
                        self.piece = piece;
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// A piece that lies there; none where there is none, or none that is good.
    fn piece_at(&self, sealed: &Sealed, index: u64, there: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let length = there.saturating_sub(index * stride()).min(stride());
        let Some(plain) = plain_length(length).filter(|plain| *plain > 0) else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, index * stride())?;
        let mut piece = Zeroizing::new(Vec::with_capacity(PIECE));
        let container = sealed.container(&self.provider, &piece_name(&self.name, index));
        let opened = Opening::new(&bytes[..], &container).and_then(|mut opening| opening.read_to_end(&mut piece));
        Ok(opened.is_ok_and(|opened| opened as u64 == plain).then_some(piece))
    }

    fn put_piece(&self, index: u64) -> Result<()> {
        let Some(sealed) = &self.place.sealed else { return Ok(()) };
        let container = sealed.container(&self.provider, &piece_name(&self.name, index));
        let bytes = self.terminal.with_random(|random| {
            let mut sealing = Sealing::new(Vec::new(), &container, random)?;
            sealing.write_all(&self.piece)?;
            sealing.finish()
        });
        let put = bytes.and_then(|bytes| self.file.write_all_at(&bytes, index * stride()));
        Ok(put.map_err(IoFailure::at("write", &self.partial))?)
    }

    /// All pieces as one container, durable.
    fn seal_whole(&self, terminal: &Terminal, path: &Path) -> io::Result<()> {
        let Some(sealed) = &self.place.sealed else { return Ok(()) };
        // A link by that name is not followed.
        match self.place.io.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.place.io.create(path, Create::New, 0o644)?;
        let container = sealed.container(&self.provider, &self.name);
        let mut sealing = terminal.with_random(|random| Sealing::new(Sequential::new(&*file, 0), &container, random))?;
        let there = self.file.size()?;
        let mut length = 0;
        for index in 0..self.length.div_ceil(PIECE as u64) {
            let piece = self.piece_at(sealed, index, there)?;
            let piece = piece.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what was received has changed on the drive"))?;
            sealing.write_all(&piece)?;
            length += piece.len() as u64;
        }
        if length != self.length {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what was received has changed on the drive"));
        }
        sealing.finish()?;
        file.sync()
    }
}

/// Bytes from one piece to the next.
fn stride() -> u64 {
    sealed_length(PIECE as u64).expect("a piece is short")
}

/// No name has a slash.
fn piece_name(name: &str, index: u64) -> String {
    format!("{name}/{index}")
}
