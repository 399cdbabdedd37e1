//! A title as a read-only directory (FUSE): decrypted into the page cache as it is read, nothing in plain on disk.

use crate::error::Result;
use crate::io::is_running;
use crate::play::{FileInfo, PlayError, Title, name_of};
use crate::terminal::Terminal;
use counterfoil_format::content::{Entry, EntryKind};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, Request,
};
use rustix::mount::UnmountFlags;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A release never changes, so the kernel may keep what it has seen.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);
/// What the kernel reads ahead, in bytes: a few chunks, so that several threads have something to do.
const READ_AHEAD: u32 = 1 << 20;
const BLOCK: u32 = 4096;
/// What private views are called, with the process that shows them.
const PREFIX: &str = "counterfoil-";

/// A view that is mounted; unmounted when dropped.
pub struct Mounted {
    session: Option<BackgroundSession>,
    path: PathBuf,
    private: Option<tempfile::TempDir>,
}

/// Mounts a title at a directory that exists.
///
/// # Errors
/// [`PlayError::Mount`].
pub fn mount(title: Arc<Title>, at: &Path) -> Result<Mounted> {
    Ok(Mounted { session: Some(spawn(title, at)?), path: at.to_owned(), private: None })
}

/// Mounts a title at a temporary directory that only this user can enter, for as long as the view lives.
///
/// # Errors
/// [`PlayError::Mount`].
pub fn mount_private(title: Arc<Title>, terminal: &Terminal) -> Result<Mounted> {
    // The runtime directory is private and in memory; where there is none, the home is private at least.
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
    let parent = runtime.unwrap_or_else(|| terminal.home().path().to_owned());
    sweep(&parent);
    let directory = tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir_in(&parent);
    let directory = directory.map_err(|error| PlayError::Mount { path: parent, reason: error.to_string() })?;
    let path = directory.path().to_owned();
    Ok(Mounted { session: Some(spawn(title, &path)?), path, private: Some(directory) })
}

/// Unmounts private views whose terminal was killed: nobody answers there any more, and the system would keep them. What cannot be done now is
/// no reason not to play.
fn sweep(parent: &Path) {
    for item in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = item.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok());
        // Only of a process that is gone is it asked whether anybody answers: of one that was stopped, the question would wait.
        if process.is_none_or(is_running)
            || !matches!(std::fs::metadata(item.path()), Err(error) if error.kind() == io::ErrorKind::NotConnected)
        {
            continue;
        }
        if detach(&item.path()) {
            let _ = std::fs::remove_dir(item.path());
        }
    }
}

/// Asks the system's helper, which may unmount what its user has mounted; says whether it did.
fn fusermount(arguments: &[&str], path: &Path) -> io::Result<bool> {
    let run = |program| Command::new(program).args(arguments).arg("--").arg(path).stderr(Stdio::null()).status();
    let ended = match run("fusermount3") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => run("fusermount"),
        other => other,
    };
    Ok(ended?.success())
}

/// Takes a view from its path, in use or not; says whether that could be done.
fn detach(path: &Path) -> bool {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok()
        || fusermount(&["-u", "-q", "-z"], path).is_ok_and(|done| done)
}

/// Unmounts, unless something there is in use.
fn unmount_unused(path: &Path) -> io::Result<bool> {
    match rustix::mount::unmount(path, UnmountFlags::NOFOLLOW) {
        // Where nothing is mounted any more, somebody else was first.
        Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(true),
        Err(rustix::io::Errno::BUSY) => Ok(false),
        Err(rustix::io::Errno::PERM) => fusermount(&["-u", "-q"], path),
        Err(error) => Err(error.into()),
    }
}

fn spawn(title: Arc<Title>, at: &Path) -> Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::NoAtime,
        MountOption::DefaultPermissions,
        MountOption::FSName("counterfoil".into()),
        MountOption::Subtype("counterfoil".into()),
    ];
    config.n_threads = Some(std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)));
    config.clone_fd = true;
    let failed = |error: io::Error| PlayError::Mount { path: at.to_owned(), reason: error.to_string() };
    Ok(fuser::spawn_mount(View::new(title), at, &config).map_err(failed)?)
}

impl Mounted {
    /// Where.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts, and waits until that is done. Fails while files in the view are open.
    ///
    /// # Errors
    /// [`PlayError::Mount`].
    pub fn unmount(mut self) -> Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        let failed = |error: io::Error| PlayError::Mount { path: self.path.clone(), reason: error.to_string() };
        session.umount_and_join().map_err(failed)?;
        Ok(self.private.take().map_or(Ok(()), tempfile::TempDir::close).map_err(failed)?)
    }

    /// Unmounts if nothing in the view is in use; says whether it was done. Otherwise all stays as it is.
    ///
    /// # Errors
    /// [`PlayError::Mount`].
    pub fn unmount_if_unused(&mut self) -> Result<bool> {
        let failed = |error: io::Error| PlayError::Mount { path: self.path.clone(), reason: error.to_string() };
        if !self.ended() && !unmount_unused(&self.path).map_err(failed)? {
            return Ok(false);
        }
        let Some(session) = self.session.take() else { return Ok(true) };
        session.join().map_err(failed)?;
        self.private.take().map_or(Ok(()), tempfile::TempDir::close).map_err(failed)?;
        Ok(true)
    }

    /// Leaves the view to whoever still uses it: it is found by no path any more, and ends with this process. Where that cannot be done, the next
    /// private view of this user clears it away.
    pub fn leave(mut self) {
        let Some(session) = self.session.take() else { return };
        detach(&self.path);
        // Waiting for its end is what is not wanted here.
        std::mem::forget(session);
    }

    /// Whether somebody else has unmounted it, as with `fusermount3 -u`.
    pub fn ended(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.guard.is_finished())
    }

    /// Waits until somebody else has unmounted it.
    ///
    /// # Errors
    /// [`PlayError::Mount`].
    pub fn wait(mut self) -> Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        let path = self.path.clone();
        Ok(session.join().map_err(|error| PlayError::Mount { path, reason: error.to_string() })?)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // Nobody is left to tell.
            let _ = session.umount_and_join();
        }
    }
}

/// The manifest as inodes: 1 is the root, every entry its index and 2.
struct View {
    title: Arc<Title>,
    changed: SystemTime,
    owner: (u32, u32),
    open: Mutex<HashMap<u64, Arc<FileInfo>>>,
    next: AtomicU64,
}

impl View {
    fn new(title: Arc<Title>) -> Self {
        let milliseconds = u64::try_from(title.listed().copied_at.0).unwrap_or(0);
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let changed = UNIX_EPOCH + Duration::from_millis(milliseconds);
        Self { title, changed, owner, open: Mutex::default(), next: AtomicU64::new(1) }
    }

    fn index(&self, inode: INodeNo) -> Option<usize> {
        let index = usize::try_from(u64::from(inode).checked_sub(2)?).ok()?;
        (index < self.title.manifest().len()).then_some(index)
    }

    fn attributes(&self, index: Option<usize>) -> FileAttr {
        let entry = index.map(|index| self.title.manifest().entry(index));
        let (kind, size, perm) = match entry.as_ref().map(|entry| &entry.kind) {
            None | Some(EntryKind::Directory) => (FileType::Directory, 0, 0o555),
            Some(EntryKind::File { size, executable, .. }) => (FileType::RegularFile, *size, if *executable { 0o555 } else { 0o444 }),
            Some(EntryKind::Link { target }) => (FileType::Symlink, target.len() as u64, 0o777),
        };
        FileAttr {
            ino: inode(index),
            size,
            blocks: size.div_ceil(512),
            atime: self.changed,
            mtime: self.changed,
            ctime: self.changed,
            crtime: self.changed,
            kind,
            perm,
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        }
    }

    /// The path of an inode; `""` is the root.
    fn path(&self, inode: INodeNo) -> Option<&str> {
        if inode == INodeNo::ROOT { Some("") } else { self.index(inode).map(|index| self.title.manifest().entry(index).path) }
    }

    fn handles(&self) -> MutexGuard<'_, HashMap<u64, Arc<FileInfo>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inode(index: Option<usize>) -> INodeNo {
    INodeNo(index.map_or(1, |index| index as u64 + 2))
}

fn kind(entry: &Entry<'_>) -> FileType {
    match entry.kind {
        EntryKind::Directory => FileType::Directory,
        EntryKind::File { .. } => FileType::RegularFile,
        EntryKind::Link { .. } => FileType::Symlink,
    }
}

impl Filesystem for View {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // A smaller limit of the kernel's is the one that counts then.
        if let Err(most) = config.set_max_readahead(READ_AHEAD) {
            let _ = config.set_max_readahead(most);
        }
        for wish in [InitFlags::FUSE_PARALLEL_DIROPS, InitFlags::FUSE_CACHE_SYMLINKS] {
            let _ = config.add_capabilities(wish);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let path = self.path(parent).zip(name.to_str()).map(|(parent, name)| match parent {
            "" => name.to_owned(),
            parent => format!("{parent}/{name}"),
        });
        match path.and_then(|path| self.title.manifest().find(&path)) {
            Some(index) => reply.entry(&FOREVER, &self.attributes(Some(index)), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match (inode, self.index(inode)) {
            (INodeNo::ROOT, _) => reply.attr(&FOREVER, &self.attributes(None)),
            (_, Some(index)) => reply.attr(&FOREVER, &self.attributes(Some(index))),
            (_, None) => reply.error(Errno::ENOENT),
        }
    }

    fn readlink(&self, _: &Request, inode: INodeNo, reply: ReplyData) {
        match self.index(inode).map(|index| self.title.manifest().entry(index).kind) {
            Some(EntryKind::Link { target }) => reply.data(target.as_bytes()),
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.index(inode).and_then(|index| self.title.file_at(index)) {
            Some(file) => {
                let handle = self.next.fetch_add(1, Ordering::Relaxed);
                self.handles().insert(handle, Arc::new(file));
                reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE);
            }
            None => reply.error(Errno::EISDIR),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(file) = self.handles().get(&u64::from(handle)).cloned() else { return reply.error(Errno::EBADF) };
        let mut buffer = vec![0; size as usize];
        match self.title.read(&file, offset, &mut buffer) {
            Ok(count) => reply.data(&buffer[..count]),
            // What is damaged is told by `verify`; the program that reads gets what a bad sector gives.
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn release(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, _: Option<LockOwner>, _: bool, reply: ReplyEmpty) {
        self.handles().remove(&u64::from(handle));
        reply.ok();
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn readdir(&self, _: &Request, directory: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let index = self.index(directory);
        if directory != INodeNo::ROOT && index.is_none() {
            return reply.error(Errno::ENOENT);
        }
        // Offsets are inodes: 1 is behind `.`, 2 behind `..`, and an entry's own inode and 1 behind it, so that going on in a directory of
        // many thousand names does not begin at its first.
        let manifest = self.title.manifest();
        if offset == 0 && reply.add(directory, 1, FileType::Directory, ".") {
            return reply.ok();
        }
        if offset <= 1 && reply.add(INodeNo::ROOT, 2, FileType::Directory, "..") {
            return reply.ok();
        }
        for child in manifest.children(index) {
            let behind = u64::from(inode(Some(child))) + 1;
            if behind <= offset {
                continue;
            }
            let entry = manifest.entry(child);
            if reply.add(inode(Some(child)), behind, kind(&entry), name_of(entry.path)) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let manifest = self.title.manifest();
        let blocks = manifest.size().div_ceil(u64::from(BLOCK));
        reply.statfs(blocks, 0, 0, manifest.len() as u64 + 1, 0, BLOCK, 255, BLOCK);
    }
}
