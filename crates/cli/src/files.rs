//! Files of the command line tools: private ones, and ones that are there whole or not at all.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use counterfoil_terminal::io::{RealIo, write_private};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Puts `bytes` at `path` whole or not at all, readable by everybody whom `mode` lets. Whoever writes the same file meanwhile does so under
/// another name; what one that is killed leaves is `.<name>.<random>.partial`.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut builder = tempfile::Builder::new();
    let prefix = format!(".{name}.");
    let builder = builder.prefix(&prefix).suffix(".partial").permissions(fs::Permissions::from_mode(mode));
    let put = || {
        let mut file = builder.tempfile_in(parent(path))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_directory(path)
    };
    put().map_err(|error: std::io::Error| Failure::file("write", path, &error))
}

/// Makes a private file (0600) that must not exist yet. It has its name only when all of it is durable: half a key is no key.
///
/// # Errors
/// `exists` where there is one.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    create_directory(parent(path))?;
    write_private(&RealIo, path, bytes).map_err(|error| match error.source.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::refused("exists", format!("{} exists already", path.display())),
        _ => Failure::file("write", path, &error.source),
    })
}

/// A token from a file that somebody names. From a pipe as well, which has no mode to go by.
///
/// # Errors
/// `loose_mode` where others than its owner may read or write it.
pub fn read_token(path: &Path) -> Result<String, Failure> {
    let cannot = |error| Failure::file("read", path, &error);
    let metadata = fs::metadata(path).map_err(cannot)?;
    if metadata.is_file() {
        private(path, &metadata)?;
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(cannot)?);
    Ok(text.trim().to_owned())
}

fn private(path: &Path, metadata: &fs::Metadata) -> Result<(), Failure> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let fact = format!("{} can be read by others: its mode is {mode:o}", path.display());
    Err(Failure::operation("loose_mode", fact).hint(format!("Run `chmod 600 {}`.", path.display())))
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
    private(path, &metadata)?;
    if metadata.len() > limit {
        return Err(Failure::operation("io", format!("{} is larger than any file of its kind", path.display())));
    }
    fs::read(path).map(Some).map_err(|error| Failure::file("read", path, &error))
}

/// Makes a directory that only its owner can look into; one that is there stays as it is.
pub fn create_private_directory(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| Failure::file("make", path, &error))
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
    File::open(parent(path))?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
    fn a_private_file_has_its_name_only_when_it_is_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let bytes = vec![7; 64 << 20];
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                loop {
                    if let Ok(found) = fs::metadata(&path) {
                        return found.len();
                    }
                }
            });
            create_private(&path, &bytes).expect("made");
            assert_eq!(first.join().expect("seen"), bytes.len() as u64);
        });
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_token_comes_from_a_file_that_nobody_else_reads() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        fs::write(&path, "cft_x\n").expect("written");
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o644, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
            match read_token(&path) {
                Ok(token) => assert!(good && token == "cft_x", "{mode:o}"),
                Err(failure) => assert!(!good && failure.code == "loose_mode", "{mode:o}: {}", failure.message),
            }
        }
        assert_eq!(read_token(Path::new("/dev/null")).expect("no file, and nothing in it"), "");
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
