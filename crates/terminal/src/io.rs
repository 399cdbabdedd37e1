//! File I/O behind a trait, so that every read, write and sync of the terminal can be made to fail.
//!
//! [`RealIo`] is the file system; [`faults`] fails, fills, cuts and kills on purpose; [`model`] is a disk in memory that loses power.

pub mod faults;
pub mod model;
pub(crate) mod real;
mod sequential;

use counterfoil_format::content::ReadAt;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use real::RealIo;
pub use sequential::Sequential;

/// An open file. Reads come from [`ReadAt`]; all positions are explicit, so that threads share nothing.
pub trait File: ReadAt {
    /// Writes all of `bytes` at `offset`, making the file longer where needed.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or extends the file to `length` bytes.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Returns when the content would survive a power loss. The name needs [`Io::sync_dir`] of its directory.
    fn sync(&self) -> io::Result<()>;
}

/// How to open a file for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// It must not exist (`O_EXCL`).
    New,
    /// Keep what is there.
    Resume,
    /// Begin again at nothing.
    Truncate,
}

/// What is known of a path without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Bytes.
    pub length: u64,
    /// Whether it is a directory (links are followed).
    pub directory: bool,
    /// Permission bits.
    pub mode: u32,
    /// Whether it belongs to the user whom this program runs as.
    pub own: bool,
}

/// An exclusive lock, let go when dropped.
pub trait Lock: Send + Sync {}

/// The file system, as much of it as terminal and library use.
pub trait Io: Send + Sync {
    /// Opens a file for reading, and nothing that a reader would have to wait for.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens a file for reading and writing, and no link to one; `mode` counts where it is made.
    fn create(&self, path: &Path, how: Create, mode: u32) -> io::Result<Box<dyn File>>;
    /// What is there; `NotFound` where nothing is.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Whether it is a file or directory itself, and no link to one, no device; `NotFound` where nothing is.
    fn is_plain(&self, path: &Path) -> io::Result<bool> {
        self.metadata(path).map(|_| true)
    }
    /// Names in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;
    /// Makes one directory; `AlreadyExists` where there is something.
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Puts a file in another's place, atomically; both are in one directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name in its directory; `AlreadyExists` where that name is taken.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Returns when the names in a directory would survive a power loss.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that can still be written below `path`.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
    /// Locks a file, making it where there is none; `WouldBlock` where somebody else has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// Something of the file system did not work: what was done to which path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {}", path.display(), words(source))]
pub struct IoFailure {
    /// As in "cannot …".
    pub action: &'static str,
    /// Which file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl IoFailure {
    /// For `map_err`: names what was done and where.
    pub fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> IoFailure + 'a {
        move |source| IoFailure { action, path: path.to_owned(), source }
    }

    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => "no_space",
            io::ErrorKind::ReadOnlyFilesystem => "read_only",
            io::ErrorKind::PermissionDenied => "permission_denied",
            io::ErrorKind::NotFound => "not_found",
            io::ErrorKind::NotADirectory => "not_a_directory",
            io::ErrorKind::AlreadyExists => "exists",
            io::ErrorKind::WouldBlock => "busy",
            _ => "io",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self.code() {
            "no_space" => "Free some space on that drive and repeat the command; it goes on where it was.",
            "read_only" => "Mount the drive writable, or name another directory.",
            "permission_denied" => "Check who owns it and what its mode is.",
            "not_found" => "Check the path, and that the drive is attached.",
            "not_a_directory" => "Name a directory; a file stands where one is needed.",
            "exists" => "Name another file, or move that one away.",
            "busy" => "Another counterfoil command is using it. Wait until that has ended.",
            _ => "Check the drive or medium, then repeat the command; it goes on where it was.",
        }
    }
}

/// What the system said, without the number that it has for it.
pub fn words(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull => "no space is left".into(),
        io::ErrorKind::WouldBlock => "it is in use".into(),
        _ => {
            let said = source.to_string();
            match said.rsplit_once(" (os error ") {
                Some((words, _)) => words.to_owned(),
                None => said,
            }
        }
    }
}

/// How often a lock is tried that somebody else has, and how long is waited in between. Most have it for a question to the authority.
const TRIES: u32 = 250;
const WAIT: Duration = Duration::from_millis(20);

/// Locks a file, after a while where somebody else has it: an agent at work keeps other commands waiting and does not turn them away.
///
/// # Errors
/// `WouldBlock` where it is still in use then; what the system said.
pub(crate) fn wait_for_lock(io: &dyn Io, path: &Path) -> io::Result<Box<dyn Lock>> {
    for _ in 0..TRIES {
        match io.lock(path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(WAIT),
            locked => return locked,
        }
    }
    io.lock(path)
}

/// Reads a whole file of at most `limit` bytes; `None` where there is none.
///
/// # Errors
/// What the system said; `InvalidData` for a longer one.
pub fn read_small(io: &dyn Io, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, IoFailure> {
    let read = || -> io::Result<Vec<u8>> {
        let file = io.open(path)?;
        let length = file.size()?;
        if length > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has {length} bytes, more than the {limit} allowed")));
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(IoFailure::at("read", path)(error)),
    }
}

/// Makes a file that must not be there yet: it has its name only when all of it is durable, so that half a key file never stands there.
///
/// # Errors
/// `AlreadyExists`, or what the system said.
pub fn write_new(io: &dyn Io, path: &Path, bytes: &[u8], mode: u32) -> Result<(), IoFailure> {
    write_as(io, path, bytes, mode, |temporary| io.rename_new(temporary, path))
}

/// Makes a private file (0600, `O_EXCL`), durable with its name.
///
/// # Errors
/// As [`write_new`].
pub fn write_private(io: &dyn Io, path: &Path, bytes: &[u8]) -> Result<(), IoFailure> {
    write_new(io, path, bytes, 0o600)
}

/// Puts new content in a file's place, all or nothing: temporary file, sync, rename, sync of the directory.
///
/// # Errors
/// What the system said; the old content is still there then, or the new.
pub fn replace(io: &dyn Io, path: &Path, bytes: &[u8], mode: u32) -> Result<(), IoFailure> {
    write_as(io, path, bytes, mode, |temporary| io.rename(temporary, path))
}

fn write_as(io: &dyn Io, path: &Path, bytes: &[u8], mode: u32, put: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), IoFailure> {
    let write = || -> io::Result<()> {
        sweep_beside(io, path)?;
        let (temporary, file) = create_beside(io, path, mode)?;
        let put = file.write_all_at(bytes, 0).and_then(|()| file.sync()).and_then(|()| put(&temporary));
        if let Err(error) = put {
            let _ = io.remove_file(&temporary);
            return Err(error);
        }
        io.sync_dir(parent(path))
    };
    write().map_err(IoFailure::at("write", path))
}

/// A file `<name>.<process>-<number>.new` beside `path`, which nobody else writes: two that write the same file at once each put their own
/// in its place, and never half of the other's.
fn create_beside(io: &dyn Io, path: &Path, mode: u32) -> io::Result<(PathBuf, Box<dyn File>)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}-{}.new", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let temporary = path.with_file_name(name);
        match io.create(&temporary, Create::New, mode) {
            // Of a process that had this number before.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return Ok((temporary, made?)),
        }
    }
}

/// Removes what was left beside `path` by processes that were killed while they wrote it.
fn sweep_beside(io: &dyn Io, path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    for found in io.list(parent(path))? {
        if is_left_over(name, &found) {
            match io.remove_file(&path.with_file_name(found)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether `found` is what nobody is writing any more that was to be called `name`. Before, all wrote `<name>.new`.
fn is_left_over(name: &OsStr, found: &OsStr) -> bool {
    let rest = found.as_encoded_bytes().strip_prefix(name.as_encoded_bytes()).and_then(|rest| rest.strip_suffix(b".new"));
    let Some(rest) = rest.and_then(|rest| str::from_utf8(rest).ok()) else { return false };
    let process = rest.strip_prefix('.').and_then(|rest| rest.split_once('-'));
    let process = process.filter(|(_, number)| number.parse::<u64>().is_ok()).and_then(|(process, _)| process.parse().ok());
    rest.is_empty() || process.is_some_and(|process| !is_running(process))
}

/// Whether there is a process of this number. What is none has none.
pub fn is_running(process: i32) -> bool {
    Pid::from_raw(process).is_none_or(|process| test_kill_process(process) != Err(Errno::SRCH))
}

/// Makes a directory and those above it, durable.
///
/// # Errors
/// What the system said.
pub fn create_dirs(io: &dyn Io, path: &Path, mode: u32) -> Result<(), IoFailure> {
    let missing = |path: &Path| matches!(io.metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
    if path.as_os_str().is_empty() || !missing(path) {
        return Ok(());
    }
    create_dirs(io, parent(path), mode)?;
    match io.create_dir(path, mode) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(IoFailure::at("make directory", path)(error)),
        _ => {}
    }
    io.sync_dir(parent(path)).map_err(IoFailure::at("make directory", path))
}

/// Makes the directory `below` in `root` and those between, durable, where no link stands on the way.
///
/// # Errors
/// As [`no_links`]; what the system said.
pub(crate) fn create_dirs_in(io: &dyn Io, root: &Path, below: &Path, mode: u32) -> Result<(), IoFailure> {
    no_links(io, root, below)?;
    create_dirs(io, &root.join(below), mode)
}

/// Refuses a way down from `root` that a link stands on: a medium or drive may have been prepared to lead anywhere. What is not there is no link.
///
/// # Errors
/// Which part of the way is one; what the system said.
pub(crate) fn no_links(io: &dyn Io, root: &Path, below: &Path) -> Result<(), IoFailure> {
    let mut path = root.to_owned();
    for part in below.components() {
        path.push(part);
        match io.is_plain(&path) {
            Ok(true) => {}
            Ok(false) => {
                return Err(IoFailure::at("write to", &path)(io::Error::other("it is a link to somewhere else, which is not followed")));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(IoFailure::at("read", &path)(error)),
        }
    }
    Ok(())
}

/// Removes what is there, a directory with all that is in it; returns the bytes of the files. Of a link only the link: what it leads to is
/// somebody else's. Nothing there is nothing to do.
///
/// # Errors
/// What the system said.
pub fn remove_all(io: &dyn Io, path: &Path) -> Result<u64, IoFailure> {
    let fail = || IoFailure::at("remove", path);
    let plain = match io.is_plain(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        found => found.map_err(fail())?,
    };
    if !plain {
        return io.remove_file(path).map(|()| 0).map_err(fail());
    }
    let found = io.metadata(path).map_err(fail())?;
    if !found.directory {
        return io.remove_file(path).map(|()| found.length).map_err(fail());
    }
    let mut freed = 0;
    for name in io.list(path).map_err(fail())? {
        freed += remove_all(io, &path.join(name))?;
    }
    io.remove_dir(path).map_err(fail())?;
    Ok(freed)
}

/// The directory that a path lies in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::faults::{FaultyIo, Plan};
    use super::model::DiskModel;
    use super::*;

    #[test]
    fn who_finds_a_lock_taken_gets_it_once_it_is_free() {
        let (io, path) = (FaultyIo::new(Arc::new(DiskModel::new()), Plan::default()), Path::new("/lock"));
        let taken = io.lock(path).expect("nobody has it");
        let before = io.counts().operations;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait_for_lock(&io, path).map(drop));
            while io.counts().operations == before {
                std::thread::yield_now();
            }
            drop(taken);
            waiting.join().expect("no panic").expect("free by now");
        });
    }
}
