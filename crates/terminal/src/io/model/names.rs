//! Names on the modelled disk, and what happens to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Directory { mode: u32 },
    File { inode: usize, mode: u32 },
}

#[derive(Clone)]
pub(super) enum Change {
    Set(PathBuf, Node),
    Gone(PathBuf),
    Renamed(PathBuf, PathBuf),
}

pub(super) fn apply(names: &mut BTreeMap<PathBuf, Node>, change: &Change) {
    match change {
        Change::Set(path, node) => {
            names.insert(path.clone(), *node);
        }
        Change::Gone(path) => {
            names.remove(path);
        }
        Change::Renamed(from, to) => {
            // A directory goes with all that is in it.
            let inside: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
            for path in inside {
                if let Some(node) = names.remove(&path) {
                    names.insert(rebased(&path, from, to), node);
                }
            }
        }
    }
}

/// A path, once `from` is called `to`.
pub(super) fn rebased(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(below) if below.as_os_str().is_empty() => to.to_owned(),
        Ok(below) => to.join(below),
        Err(_) => path.to_owned(),
    }
}

/// What has happened in the directory `at`, once `from` is called `to`.
pub(super) fn moved(at: &Path, changes: Vec<Change>, from: &Path, to: &Path) -> Vec<Change> {
    if !at.starts_with(from) {
        return changes;
    }
    let rebase = |path: PathBuf| rebased(&path, from, to);
    let moved = changes.into_iter().map(|change| match change {
        Change::Set(path, node) => Change::Set(rebase(path), node),
        Change::Gone(path) => Change::Gone(rebase(path)),
        Change::Renamed(old, new) => Change::Renamed(rebase(old), rebase(new)),
    });
    moved.collect()
}
