//! Walks a directory that is to be published, in the order of trees, and refuses what a release cannot hold.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::codec::ManifestError;
use super::manifest::ManifestBuilder;
use super::path::{PathError, PathRule};

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Relative to the root, components separated by `/`.
    pub path: String,
    /// What it is.
    pub kind: FoundKind,
}

/// What a directory can hold that is published. Hard links, owners, times and extended attributes are not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Whether anybody may run it.
        executable: bool,
        /// Its size when it was found, in bytes.
        size: u64,
        /// Which file of which device it is, to notice that another was put in its place.
        identity: (u64, u64),
    },
    /// A symbolic link.
    Link {
        /// Where it points, as it is written.
        target: String,
    },
}

/// Why a directory cannot be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A path breaks a rule.
    #[error(transparent)]
    Path(#[from] PathError),
    /// More than a release may hold.
    #[error(transparent)]
    Manifest(ManifestError),
    /// It could not be looked at.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// What could not be looked at.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<ManifestError> for TreeError {
    fn from(error: ManifestError) -> Self {
        match error {
            ManifestError::Path(error) => Self::Path(error),
            other => Self::Manifest(other),
        }
    }
}

/// All that is below `root`, in tree order, checked by the rules that a manifest is checked by. Links are not followed.
pub fn walk(root: &Path) -> Result<Vec<Found>, TreeError> {
    let mut found = Vec::new();
    // Directories still to be listed, each with its path below the root; the last is next.
    let mut names = list(root, "")?;
    names.reverse();
    while let Some(path) = names.pop() {
        let kind = look_at(&root.join(&path), &path)?;
        if kind == FoundKind::Directory {
            let below = list(&root.join(&path), &path)?;
            names.extend(below.into_iter().rev());
        }
        found.push(Found { path, kind });
    }
    check(&found)?;
    Ok(found)
}

/// The paths directly in a directory, in order of their names.
fn list(directory: &Path, path: &str) -> Result<Vec<String>, TreeError> {
    let failed = |source| TreeError::Read { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let lossy = name.to_string_lossy();
        let path = if path.is_empty() { lossy.into_owned() } else { format!("{path}/{lossy}") };
        if name.to_str().is_none() {
            return Err(PathError::new(&path, PathRule::NotUnicode).into());
        }
        // Checked here as well as at the end, so that a deep or endless tree is not walked first.
        super::path::check_path(&path)?;
        paths.push(path);
    }
    paths.sort_unstable();
    Ok(paths)
}

fn look_at(full: &Path, path: &str) -> Result<FoundKind, TreeError> {
    let failed = |source| TreeError::Read { path: full.to_owned(), source };
    let metadata = fs::symlink_metadata(full).map_err(failed)?;
    if metadata.is_dir() {
        Ok(FoundKind::Directory)
    } else if metadata.is_file() {
        let (executable, size) = (is_executable(&metadata), metadata.len());
        Ok(FoundKind::File { executable, size, identity: identity(&metadata) })
    } else if metadata.is_symlink() {
        let target = fs::read_link(full).map_err(failed)?;
        match target.into_os_string().into_string() {
            Ok(target) => Ok(FoundKind::Link { target }),
            Err(_) => Err(PathError::new(path, PathRule::LinkTarget).into()),
        }
    } else {
        Err(PathError::new(path, PathRule::Special).into())
    }
}

/// Runs the rules of a manifest over the tree, before any file is read.
fn check(found: &[Found]) -> Result<(), TreeError> {
    let mut builder = ManifestBuilder::new();
    for Found { path, kind } in found {
        match kind {
            FoundKind::Directory => builder.directory(path)?,
            FoundKind::File { executable, .. } => drop(builder.file(path, *executable, &[])?),
            FoundKind::Link { target } => builder.link(path, target)?,
        }
    }
    builder.finish()?;
    Ok(())
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}

#[cfg(unix)]
pub(super) fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
pub(super) fn identity(_: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}
