//! A file or directory as one stream of bytes: a tar archive that comes out the same as long as names and contents are the same.
//!
//! The only root is `content`: a file, or a directory in front of all that is in it, in tree order. Whether anybody may run a file is kept;
//! owners and times are not. Names follow the rules of releases, so that every system can hold them.

use super::error::{SaveError, not_savable};
use crate::error::Result;
use crate::io::{Io, IoFailure};
use counterfoil_format::content::{check_path, fold_name};
use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;
use tar::{EntryType, Header};

/// What everything lies below.
pub(super) const ROOT: &str = "content";
/// Blocks of the archive, in bytes.
pub(super) const BLOCK: usize = 512;
/// Most files and directories of one save.
pub(super) const MOST_ENTRIES: usize = 100_000;
/// The name of an entry that holds the name of the next, where that is too long for a header.
const LONG_NAME: &str = "././@LongLink";

/// Writes what lies at `path`. Constant in memory, but for names.
///
/// # Errors
/// [`SaveError::Nothing`], [`SaveError::NotSavable`], [`SaveError::Busy`]; what the system said. Those of `into` as failures to write to
/// `destination`.
pub(super) fn bundle(io: &dyn Io, path: &Path, into: &mut dyn Write, destination: &Path) -> Result<()> {
    let mut bundling = Bundling { io, into, destination, entries: 0 };
    match kind(io, path)? {
        None => return Err(SaveError::Nothing(path.to_owned()).into()),
        Some(true) => {
            bundling.directory(path, ROOT)?;
            // A directory that was made for saves is no save: handed in, it would take the place of one.
            if bundling.entries == 1 {
                return Err(SaveError::Nothing(path.to_owned()).into());
            }
        }
        Some(false) => bundling.file(path, ROOT)?,
    }
    bundling.put(&[0; 2 * BLOCK])
}

/// BLAKE3 of what [`bundle`] writes; `None` where nothing lies there, or nothing is in it.
pub(super) fn content_of(io: &dyn Io, path: &Path) -> Result<Option<String>> {
    let mut hasher = blake3::Hasher::new();
    match bundle(io, path, &mut hasher, path) {
        Ok(()) => Ok(Some(hasher.finalize().to_hex().to_string())),
        Err(crate::Error::Save(SaveError::Nothing(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether it is a directory; `None` where nothing is.
fn kind(io: &dyn Io, path: &Path) -> Result<Option<bool>> {
    match io.is_plain(path) {
        Ok(true) => {}
        Ok(false) => return Err(SaveError::NotSavable { path: path.to_owned(), reason: "it is a link or a device".into() }.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(IoFailure::at("read", path)(error).into()),
    }
    Ok(Some(io.metadata(path).map_err(IoFailure::at("read", path))?.directory))
}

struct Bundling<'a> {
    io: &'a dyn Io,
    into: &'a mut dyn Write,
    destination: &'a Path,
    entries: usize,
}

impl Bundling<'_> {
    fn directory(&mut self, path: &Path, name: &str) -> Result<()> {
        self.entry(path, name, EntryType::Directory, 0, 0o755)?;
        let mut names = HashSet::new();
        for found in self.io.list(path).map_err(IoFailure::at("read", path))? {
            let below = path.join(&found);
            let refuse = |reason: &str| SaveError::NotSavable { path: below.clone(), reason: reason.into() };
            let found = found.to_str().ok_or_else(|| refuse("its name is not Unicode"))?;
            let name = format!("{name}/{found}");
            check_path(&name).map_err(|error| not_savable(below.clone(), &error))?;
            if !names.insert(fold_name(found)) {
                return Err(refuse("another one has the same name where case does not count").into());
            }
            match kind(self.io, &below)? {
                Some(true) => self.directory(&below, &name)?,
                Some(false) => self.file(&below, &name)?,
                None => return Err(SaveError::Busy(below).into()),
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &str) -> Result<()> {
        let file = self.io.open(path).map_err(IoFailure::at("read", path))?;
        let mode = self.io.metadata(path).map_err(IoFailure::at("read", path))?.mode;
        let length = file.size().map_err(IoFailure::at("read", path))?;
        self.entry(path, name, EntryType::Regular, length, if mode & 0o111 == 0 { 0o644 } else { 0o755 })?;
        let (mut at, mut buffer) = (0, vec![0; 64 * 1024]);
        while at < length {
            let count = buffer.len().min(usize::try_from(length - at).unwrap_or(usize::MAX));
            match file.read_exact_at(&mut buffer[..count], at) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(SaveError::Busy(path.to_owned()).into()),
                other => other.map_err(IoFailure::at("read", path))?,
            }
            self.put(&buffer[..count])?;
            at += count as u64;
        }
        if file.size().map_err(IoFailure::at("read", path))? != length {
            return Err(SaveError::Busy(path.to_owned()).into());
        }
        self.put(&[0; BLOCK][..padding(length)])
    }

    fn entry(&mut self, path: &Path, name: &str, kind: EntryType, length: u64, mode: u32) -> Result<()> {
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            let reason = format!("there are more than {MOST_ENTRIES} files");
            return Err(SaveError::NotSavable { path: path.to_owned(), reason }.into());
        }
        for block in headers(name, kind, length, mode) {
            self.put(&block)?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.into.write_all(bytes).map_err(IoFailure::at("write", self.destination))?)
    }
}

/// The blocks in front of an entry: one, or the long name before it. The only spelling of it: readers accept no other.
pub(super) fn headers(name: &str, kind: EntryType, length: u64, mode: u32) -> Vec<[u8; BLOCK]> {
    let mut blocks = Vec::new();
    let mut long = Header::new_gnu();
    if long.set_path(name).is_err() {
        // With the zero byte at its end, as GNU tar writes it.
        let text = [name.as_bytes(), b"\0"].concat();
        blocks.push(header(LONG_NAME, EntryType::GNULongName, text.len() as u64, 0o644));
        for part in text.chunks(BLOCK) {
            let mut block = [0; BLOCK];
            block[..part.len()].copy_from_slice(part);
            blocks.push(block);
        }
        blocks.push(header(ROOT, kind, length, mode));
    } else {
        blocks.push(header(name, kind, length, mode));
    }
    blocks
}

fn header(name: &str, kind: EntryType, length: u64, mode: u32) -> [u8; BLOCK] {
    let mut header = Header::new_gnu();
    // Written as it is: `set_path` takes leading dots away.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(length);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(kind);
    header.set_cksum();
    *header.as_bytes()
}

/// Bytes of zeros behind a file of that length.
pub(super) fn padding(length: u64) -> usize {
    (length.next_multiple_of(BLOCK as u64) - length) as usize
}

/// Whether bytes begin as a bundle does; a container does not, its salt being random.
pub(super) fn is_bundle(beginning: &[u8]) -> bool {
    let known = |kind, length, mode| headers(ROOT, kind, length, mode)[0];
    let Some(block) = beginning.first_chunk::<BLOCK>() else { return false };
    let Ok(length) = Header::from_byte_slice(block).entry_size() else { return false };
    *block == known(EntryType::Directory, 0, 0o755) || [0o644, 0o755].iter().any(|mode| *block == known(EntryType::Regular, length, *mode))
}
