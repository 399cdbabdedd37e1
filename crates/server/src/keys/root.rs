//! The root key: 32 bytes in a file or in the environment, never in the database.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::secret::{Random, Secret};
use counterfoil_format::wrap::{self, Kek, WrapError};
use zeroize::Zeroizing;

use super::{KeysError, kek_row};
use crate::store::key::KekRow;

const PREFIX: &str = "cfroot_";

/// A root key. It wraps the key-encryption keys and nothing else.
pub struct RootKey(Kek);

impl RootKey {
    /// Makes one.
    pub fn generate(version: u32, random: &mut dyn Random) -> Self {
        Self(Kek { purpose: "root".to_owned(), version, key: Secret::random(random) })
    }

    /// Counts rotations.
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// Reads the written form, `cfroot_<version>_<base64url>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (version, key) = text.trim().strip_prefix(PREFIX)?.split_once('_')?;
        let key = Secret::from_slice(&Zeroizing::new(from_base64url(key)?))?;
        Some(Self(Kek { purpose: "root".to_owned(), version: version.parse().ok()?, key }))
    }

    /// The written form.
    pub fn reveal(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(to_base64url(self.0.key.expose()));
        Zeroizing::new(format!("{PREFIX}{}_{}", self.0.version, *key))
    }

    /// Wraps a key-encryption key.
    pub fn wrap(&self, purpose: &str, version: u32, key: &Secret<32>, random: &mut dyn Random) -> Vec<u8> {
        kek_row(purpose, version, |row| wrap::wrap(&self.0, row, key.expose(), random))
    }

    /// Opens a key-encryption key.
    ///
    /// # Errors
    /// Another root key, or a row that was changed.
    pub fn unwrap(&self, row: &KekRow) -> Result<Secret<32>, WrapError> {
        kek_row(&row.purpose, row.version, |place| wrap::unwrap_secret(&self.0, place, &row.wrapped))
    }
}

/// Where the root key is read from; read anew whenever keys are loaded, so that a rotation takes effect.
#[derive(Clone)]
pub enum RootSource {
    /// A file of mode 0600.
    File(PathBuf),
    /// Given by environment or configuration.
    Given(Zeroizing<String>),
}

impl RootSource {
    /// Reads the key. A rotation that was cut between database and file is finished here: `version` is the one that the database wants.
    ///
    /// # Errors
    /// `Root`, with what to do.
    pub fn read(&self, version: Option<u32>) -> Result<RootKey, KeysError> {
        match self {
            Self::Given(text) => {
                RootKey::parse(text).ok_or_else(|| KeysError::Root("it is not of the form cfroot_<version>_<key>".to_owned()))
            }
            Self::File(path) => {
                let key = read_file(path)?;
                let next = next_path(path);
                if version.is_some_and(|wanted| wanted != key.version()) && next.exists() {
                    let newer = read_file(&next)?;
                    if version == Some(newer.version()) {
                        replace(&next, path).map_err(|error| cannot(path, &error))?;
                        return Ok(newer);
                    }
                }
                Ok(key)
            }
        }
    }
}

/// Where a new root key lies until the database is wrapped under it.
pub fn next_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

/// Puts the new root key in place of the old one, for good.
///
/// # Errors
/// Those of the file system.
pub fn replace(next: &Path, path: &Path) -> io::Result<()> {
    fs::rename(next, path)?;
    sync_parent(path)
}

/// Writes a secret to a new file that nobody else can read. It has its name only when all of it is on the disk: half a key is no key.
///
/// # Errors
/// Those of the file system; `AlreadyExists` where there is a file.
pub fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".secret-").tempfile_in(parent(path))?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|refused| refused.error)?;
    sync_parent(path)
}

/// Locks the root key's directory against others that rotate the key, until the answer is dropped or the process ends.
///
/// # Errors
/// `Root` where somebody else holds it.
pub fn alone(path: &Path) -> Result<File, KeysError> {
    let directory = File::open(parent(path)).map_err(|error| cannot(path, &error))?;
    directory.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => KeysError::Root("somebody else rotates it at this moment".to_owned()),
        fs::TryLockError::Error(error) => cannot(path, &error),
    })?;
    Ok(directory)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// Whether a file can be read by anybody but its owner. What systemd hands to one unit alone (`LoadCredential=`, systemd.exec(5)) may show the
/// mask of its access list where a group's rights would stand.
///
/// # Errors
/// Those of the file system.
#[cfg(unix)]
pub fn too_open(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let handed = std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|directory| path.parent() == Some(Path::new(&directory)));
    Ok(fs::metadata(path)?.permissions().mode() & if handed { 0o007 } else { 0o077 } != 0)
}

/// Whether a file can be read by anybody but its owner.
///
/// # Errors
/// Those of the file system.
#[cfg(not(unix))]
pub fn too_open(path: &Path) -> io::Result<bool> {
    fs::metadata(path).map(|_| false)
}

fn read_file(path: &Path) -> Result<RootKey, KeysError> {
    if too_open(path).map_err(|error| cannot(path, &error))? {
        return Err(KeysError::Root(format!("{} can be read by others: chmod 600 it", path.display())));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| cannot(path, &error))?);
    RootKey::parse(&text).ok_or_else(|| KeysError::Root(format!("{} does not hold cfroot_<version>_<key>", path.display())))
}

fn cannot(path: &Path, error: &io::Error) -> KeysError {
    KeysError::Root(format!("{}: {error}", path.display()))
}
