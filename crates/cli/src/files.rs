//! Files of the command line tools: private ones, and ones that are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Puts `bytes` at `path` whole or not at all, readable by everybody.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let cannot = |error| Failure::file("write", path, &error);
    let temporary = beside(path);
    // One left behind by a run that was killed.
    let _ = fs::remove_file(&temporary);
    let result = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_directory(path));
    result.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        cannot(error)
    })
}

/// Makes a private file that must not exist yet (0600, O_EXCL).
///
/// # Errors
/// `exists` where there is one.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::refused("exists", format!("{} exists already", path.display())),
        _ => Failure::file("write", path, &error),
    };
    create_directory(path.parent().unwrap_or(Path::new(".")))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(cannot)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| sync_directory(path));
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        cannot(error)
    })
}

/// Reads a private file of `limit` bytes at most; nothing where there is none.
///
/// # Errors
/// `loose_mode` where others than its owner may read or write it.
pub fn read_private(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("read", path, &error)),
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        let fact = format!("{} can be read by others: its mode is {:o}", path.display(), metadata.permissions().mode() & 0o777);
        return Err(Failure::operation("loose_mode", fact).hint(format!("Run `chmod 600 {}`.", path.display())));
    }
    if metadata.len() > limit {
        return Err(Failure::operation("io", format!("{} is larger than any file of its kind", path.display())));
    }
    fs::read(path).map(Some).map_err(|error| Failure::file("read", path, &error))
}

/// Makes a directory and those above it.
pub fn create_directory(path: &Path) -> Result<(), Failure> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(|error| Failure::file("make", path, &error))
}

/// The name that a file or directory has while it is made.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    path.with_file_name(name)
}

/// Makes the name of a new or renamed file durable.
pub fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_made_once_and_read_only_while_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deep/key");
        assert!(read_private(&path, 100).expect("absent is no error").is_none());
        create_private(&path, b"secret").expect("made");
        assert_eq!(create_private(&path, b"other").expect_err("there already").code, "exists");
        assert_eq!(read_private(&path, 100).expect("private"), Some(b"secret".to_vec()));
        assert!(read_private(&path, 3).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
        assert_eq!(read_private(&path, 100).expect_err("loose").code, "loose_mode");
    }

    #[test]
    fn replacing_leaves_no_other_file_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state");
        replace(&path, b"one", 0o644).expect("written");
        replace(&path, b"two", 0o644).expect("replaced");
        assert_eq!(fs::read(&path).expect("there"), b"two");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }
}
