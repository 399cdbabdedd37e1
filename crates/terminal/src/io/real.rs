//! The file system itself.

use super::{Create, File, Io, Lock, Metadata};
use counterfoil_format::content::ReadAt;
use rustix::fs::OFlags;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

const NOFOLLOW: i32 = OFlags::NOFOLLOW.bits().cast_signed();
const NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealIo;

impl File for fs::File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        fs::File::set_len(self, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

struct FileLock(#[expect(dead_code, reason = "held for as long as it is open")] fs::File);

impl Lock for FileLock {}

fn no_file() -> io::Error {
    io::Error::other("it is no file")
}

/// What the system says of a link that it was told not to follow is for those who go in circles.
fn said_of_links(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            io::Error::other("it is a link to somewhere else, which is not followed")
        }
        _ => error,
    }
}

impl Io for RealIo {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        // A pipe in a file's place would keep whoever opens it waiting for a writer.
        let file = fs::OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
        let found = file.metadata()?.file_type();
        if found.is_file() {
            return Ok(Box::new(file));
        }
        if found.is_block_device() {
            // A disc in its drive, which is waited for.
            return Ok(Box::new(fs::File::open(path)?));
        }
        // Opening a directory for reading works and reading it does not: say so here, where the path is known.
        Err(if found.is_dir() { io::ErrorKind::IsADirectory.into() } else { no_file() })
    }

    fn create(&self, path: &Path, how: Create, mode: u32) -> io::Result<Box<dyn File>> {
        let mut options = fs::OpenOptions::new();
        // Whoever has prepared a drive does not say which file of the user's is written.
        options.read(true).write(true).mode(mode).custom_flags(NOFOLLOW | NONBLOCK);
        match how {
            Create::New => options.create_new(true),
            Create::Resume | Create::Truncate => options.create(true).truncate(false),
        };
        let file = options.open(path).map_err(said_of_links)?;
        if !file.metadata()?.is_file() {
            return Err(no_file());
        }
        if how == Create::Truncate {
            file.set_len(0)?;
        }
        Ok(Box::new(file))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let metadata = fs::metadata(path)?;
        let own = metadata.uid() == rustix::process::geteuid().as_raw();
        Ok(Metadata { length: metadata.len(), directory: metadata.is_dir(), mode: metadata.mode() & 0o7777, own })
    }

    fn is_plain(&self, path: &Path) -> io::Result<bool> {
        let found = fs::symlink_metadata(path)?;
        Ok(found.is_dir() || found.is_file())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = fs::read_dir(path)?.map(|item| Ok(item?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::DirBuilder::new().mode(mode).create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Not every file system can; a link is exclusive as well, and where there are no links either, looking first has to do.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => match fs::hard_link(from, to) {
                Ok(()) => fs::remove_file(from),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
                Err(_) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(from, to),
            },
            other => Ok(other?),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match fs::File::open(path)?.sync_all() {
            // Some file systems (FAT among them, on some systems) cannot sync a directory; there is nothing more to be done on those.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            other => other,
        }
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
        let space = rustix::fs::statvfs(existing)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(NOFOLLOW);
        let file = options.open(path).map_err(said_of_links)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(FileLock(file))),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Part of a file, as if it were one: a file inside an image.
pub(crate) struct Part {
    /// The image.
    pub file: std::sync::Arc<dyn ReadAt>,
    /// Where its pieces lie in the image: offset and length, in order.
    pub extents: Vec<(u64, u64)>,
}

impl ReadAt for Part {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        for (start, length) in &self.extents {
            if buffer.is_empty() {
                return Ok(());
            }
            if offset >= *length {
                offset -= length;
                continue;
            }
            let here = usize::try_from(length - offset).unwrap_or(usize::MAX).min(buffer.len());
            let (now, later) = buffer.split_at_mut(here);
            self.file.read_exact_at(now, start + offset)?;
            buffer = later;
            offset = 0;
        }
        if buffer.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.extents.iter().map(|(_, length)| length).sum())
    }
}
