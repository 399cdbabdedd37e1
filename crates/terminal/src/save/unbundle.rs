//! The way back: a bundle into files beside their place, and from there into it.
//!
//! What comes in is the user's own, and not trusted for that: names follow the rules of releases, there are files and directories and
//! nothing else, and everything lies below the one root. Nothing is in its place before all of it is durable beside it.

use super::bundle::{BLOCK, MOST_ENTRIES, ROOT, headers, padding};
use crate::error::Result;
use crate::io::{Create, Io, IoFailure, create_dirs, parent, remove_all};
use counterfoil_format::container::read_up_to;
use counterfoil_format::content::{check_path, fold_name};
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// Longest name, in bytes, with its zero byte.
const LONGEST_NAME: usize = 4096 + 1;
/// Bytes that are passed on at once.
const BUFFER: usize = 64 * 1024;

/// Why a bundle was not taken apart.
#[derive(Debug)]
pub(super) enum Failed {
    /// It is none, or could not be read: what is wrong with it.
    Bundle(io::Error),
    /// It could not be written.
    Write(crate::Error),
}

impl From<crate::Error> for Failed {
    fn from(error: crate::Error) -> Self {
        Self::Write(error)
    }
}

impl From<IoFailure> for Failed {
    fn from(error: IoFailure) -> Self {
        Self::Write(error.into())
    }
}

fn bad<T>(reason: &str) -> std::result::Result<T, Failed> {
    Err(Failed::Bundle(io::Error::new(io::ErrorKind::InvalidData, reason)))
}

/// Where the new content of `path` is made.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".counterfoil-{what}"));
    path.with_file_name(name)
}

/// Takes a bundle apart at `root`, where nothing lies yet; reads `from` to its end. Durable when it returns.
///
/// # Errors
/// [`Failed`].
pub(super) fn unbundle(io: &dyn Io, from: &mut dyn Read, root: &Path) -> std::result::Result<(), Failed> {
    let mut taking = Taking { io, from, root, directories: Vec::new(), names: HashMap::new(), entries: 0 };
    while taking.entry()? {}
    taking.finish()
}

struct Taking<'a> {
    io: &'a dyn Io,
    from: &'a mut dyn Read,
    root: &'a Path,
    /// To be synced at the end.
    directories: Vec<PathBuf>,
    /// Every name in lower case and one Unicode form, and whether it is a directory.
    names: HashMap<String, bool>,
    entries: usize,
}

impl Taking<'_> {
    /// Takes the next entry; false at the end.
    fn entry(&mut self) -> std::result::Result<bool, Failed> {
        let block = self.block()?;
        if block == [0; BLOCK] {
            return if self.block()? == [0; BLOCK] { Ok(false) } else { bad("it does not end as it should") };
        }
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            return bad("it holds too many files");
        }
        let (name, block) = self.name(block)?;
        let found = Header::from_byte_slice(&block);
        let (Ok(length), Ok(mode)) = (found.entry_size(), found.mode()) else { return bad("a header holds no numbers") };
        let kind = found.entry_type();
        let good = match kind {
            EntryType::Regular => matches!(mode, 0o644 | 0o755),
            EntryType::Directory => mode == 0o755 && length == 0,
            _ => false,
        };
        // One spelling: no other kind of entry, owner, time or trick with the name comes through.
        if !good || headers(&name, kind, length, mode).last() != Some(&block) {
            return bad("it holds what no save holds");
        }
        self.check(&name, kind == EntryType::Directory)?;
        let path = name.strip_prefix(ROOT).map(|below| below.trim_start_matches('/')).unwrap_or_default();
        let path = if path.is_empty() { self.root.to_owned() } else { self.root.join(path) };
        match kind {
            EntryType::Directory => {
                self.io.create_dir(&path, 0o755).map_err(IoFailure::at("make directory", &path))?;
                self.directories.push(path);
            }
            _ => self.file(&path, length, mode)?,
        }
        Ok(true)
    }

    /// The name of an entry, which is in its header or came before it, and its header.
    fn name(&mut self, block: [u8; BLOCK]) -> std::result::Result<(String, [u8; BLOCK]), Failed> {
        let found = Header::from_byte_slice(&block);
        if found.entry_type() != EntryType::GNULongName {
            return match String::from_utf8(found.path_bytes().into_owned()) {
                Ok(name) => Ok((name, block)),
                Err(_) => bad("a name is not Unicode"),
            };
        }
        let length = found.entry_size().ok().and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= LONGEST_NAME);
        let Some(length) = length.filter(|length| *length > 1) else { return bad("a name is too long") };
        let mut text = Vec::new();
        while text.len() < length {
            text.extend_from_slice(&self.block()?);
        }
        if text[length - 1..].iter().any(|byte| *byte != 0) {
            return bad("a name does not end where it should");
        }
        text.truncate(length - 1);
        let Ok(name) = String::from_utf8(text) else { return bad("a name is not Unicode") };
        let next = self.block()?;
        // The one before it was as it should be, too.
        if headers(&name, EntryType::Regular, 0, 0).first() != Some(&block) { bad("a long name is not needed") } else { Ok((name, next)) }
    }

    /// In a directory that was there before it, by a name that none has yet.
    fn check(&mut self, name: &str, directory: bool) -> std::result::Result<(), Failed> {
        if let Err(error) = check_path(name) {
            return bad(&error.to_string());
        }
        let place = match name.rsplit_once('/') {
            None => name == ROOT && self.names.is_empty(),
            Some((above, _)) => self.names.get(&fold_name(above)) == Some(&true),
        };
        if !place {
            return bad("something lies outside of its directory");
        }
        match self.names.insert(fold_name(name), directory) {
            None => Ok(()),
            Some(_) => bad("two of its names are the same where case does not count"),
        }
    }

    fn file(&mut self, path: &Path, length: u64, mode: u32) -> std::result::Result<(), Failed> {
        let write = IoFailure::at;
        let file = self.io.create(path, Create::New, mode).map_err(write("write", path))?;
        let (mut at, mut buffer) = (0, vec![0; BUFFER]);
        while at < length {
            let count = buffer.len().min(usize::try_from(length - at).unwrap_or(usize::MAX));
            if read_up_to(self.from, &mut buffer[..count]).map_err(Failed::Bundle)? < count {
                return bad("it is cut off");
            }
            file.write_all_at(&buffer[..count], at).map_err(write("write", path))?;
            at += count as u64;
        }
        let mut rest = [0; BLOCK];
        let rest = &mut rest[..padding(length)];
        if read_up_to(self.from, rest).map_err(Failed::Bundle)? < rest.len() || rest.iter().any(|byte| *byte != 0) {
            return bad("something lies between its files");
        }
        Ok(file.sync().map_err(write("write", path))?)
    }

    fn block(&mut self) -> std::result::Result<[u8; BLOCK], Failed> {
        let mut block = [0; BLOCK];
        if read_up_to(self.from, &mut block).map_err(Failed::Bundle)? < BLOCK { bad("it is cut off") } else { Ok(block) }
    }

    fn finish(self) -> std::result::Result<(), Failed> {
        // To its end: only there is all of a container authentic.
        if read_up_to(self.from, &mut [0]).map_err(Failed::Bundle)? != 0 {
            return bad("something comes after its end");
        }
        // Neither anything nor anything in the one directory.
        if self.names.len() == self.directories.len().min(1) {
            return bad("nothing is in it");
        }
        for directory in self.directories.iter().rev() {
            self.io.sync_dir(directory).map_err(IoFailure::at("write", directory))?;
        }
        Ok(())
    }
}

/// Makes room for new content beside `path`: what a command that was killed has left is removed.
///
/// # Errors
/// What the system said.
pub(super) fn clear(io: &dyn Io, path: &Path) -> Result<()> {
    Ok(remove_all(io, &beside(path, "new")).map(drop)?)
}

/// Puts back what a command was killed over that was putting new content in its place.
///
/// # Errors
/// What the system said.
pub(super) fn recover(io: &dyn Io, path: &Path) -> Result<()> {
    let old = beside(path, "old");
    if !exists(io, &old)? {
        return Ok(());
    }
    if exists(io, path)? {
        // The new content is in its place.
        return Ok(remove_all(io, &old).map(drop)?);
    }
    io.rename(&old, path).map_err(IoFailure::at("write", path))?;
    Ok(io.sync_dir(parent(path)).map_err(IoFailure::at("write", parent(path)))?)
}

/// Puts what [`unbundle`] has made beside `path` in its place. A file at once; a directory by way of a moment in which the old one has
/// another name, after which [`recover`] finds it.
///
/// # Errors
/// What the system said; the old content is there then, or the new.
pub(super) fn put_in_place(io: &dyn Io, path: &Path) -> Result<()> {
    let (new, old) = (beside(path, "new"), beside(path, "old"));
    let sync = || -> Result<()> { Ok(io.sync_dir(parent(path)).map_err(IoFailure::at("write", parent(path)))?) };
    let is_directory = |path: &Path| match io.metadata(path) {
        Ok(found) => Ok(Some(found.directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(IoFailure::at("read", path)(error)),
    };
    // What was made must have its name for good before anything makes way for it.
    sync()?;
    match (is_directory(path)?, is_directory(&new)?) {
        (None, _) | (Some(false), Some(false)) => io.rename(&new, path).map_err(IoFailure::at("write", path))?,
        _ => {
            io.rename(path, &old).map_err(IoFailure::at("write", path))?;
            sync()?;
            if let Err(error) = io.rename(&new, path) {
                let _ = io.rename(&old, path);
                return Err(IoFailure::at("write", path)(error).into());
            }
        }
    }
    sync()?;
    remove_all(io, &old)?;
    sync()
}

/// Makes the directory that `path` is to lie in.
///
/// # Errors
/// What the system said.
pub(super) fn make_room(io: &dyn Io, path: &Path) -> Result<()> {
    Ok(create_dirs(io, parent(path), 0o755)?)
}

fn exists(io: &dyn Io, path: &Path) -> Result<bool> {
    match io.metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(IoFailure::at("read", path)(error).into()),
    }
}
