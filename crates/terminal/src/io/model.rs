//! A disk in memory that can lose power: what was not synced is dropped, torn or kept, as a seed decides.
//!
//! File content becomes durable by [`File::sync`], names by [`Io::sync_dir`] of their directory. At a power loss every unsynced write of
//! a file is kept, dropped or torn for itself, and of the unsynced changes to a directory a prefix is kept, as a journalling file system
//! keeps their order.

mod lottery;
mod names;

use super::{Create, File, Io, Lock, Metadata, parent};
use counterfoil_format::content::ReadAt;
use lottery::Lottery;
use names::{Change, Node, apply, moved, rebased};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct DiskModel {
    disk: Arc<Mutex<Disk>>,
    capacity: u64,
}

#[derive(Clone, Default)]
struct Disk {
    files: Vec<Inode>,
    /// What a program sees.
    names: BTreeMap<PathBuf, Node>,
    /// What is durable for certain.
    durable: BTreeMap<PathBuf, Node>,
    /// What happened to names since, for each directory.
    changes: BTreeMap<PathBuf, Vec<Change>>,
    locks: Vec<PathBuf>,
}

#[derive(Clone, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Clone)]
enum Write {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

impl Default for DiskModel {
    fn default() -> Self {
        let mut disk = Disk::default();
        for names in [&mut disk.names, &mut disk.durable] {
            names.insert(PathBuf::from("/"), Node::Directory { mode: 0o755 });
        }
        Self { disk: Arc::new(Mutex::new(disk)), capacity: 1 << 40 }
    }
}

impl DiskModel {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk after a power loss at this moment, as one of the ways that it can come out. This one goes on unchanged.
    pub fn lose_power(&self, seed: u64) -> DiskModel {
        let mut random = Lottery(seed.wrapping_mul(2).wrapping_add(1));
        let before = self.lock_disk().clone();
        let mut names = before.durable.clone();
        for changes in before.changes.values() {
            let kept = random.below(changes.len() as u64 + 1) as usize;
            for change in &changes[..kept] {
                apply(&mut names, change);
            }
        }
        // A name whose directory did not come into being is nowhere.
        let reachable: Vec<PathBuf> =
            names.keys().filter(|path| path.ancestors().all(|above| names.contains_key(above))).cloned().collect();
        names.retain(|path, _| reachable.binary_search(path).is_ok());
        let files = before.files.iter().map(|inode| inode.after_power_loss(&mut random)).collect();
        let disk = Disk { files, durable: names.clone(), names, changes: BTreeMap::new(), locks: vec![] };
        DiskModel { disk: Arc::new(Mutex::new(disk)), capacity: self.capacity }
    }

    /// A copy that goes its own way from here on; locks are let go, as by a process that ended.
    pub fn snapshot(&self) -> DiskModel {
        let mut disk = self.lock_disk().clone();
        disk.locks.clear();
        DiskModel { disk: Arc::new(Mutex::new(disk)), capacity: self.capacity }
    }

    /// Every file with its content, unsynced and removed ones included: what somebody who searches the bare disk finds.
    pub fn all_bytes(&self) -> Vec<Vec<u8>> {
        let disk = self.lock_disk();
        let mut all = Vec::new();
        for inode in &disk.files {
            all.push(inode.content.clone());
            all.push(inode.durable.clone());
            for write in &inode.unsynced {
                if let Write::Bytes(_, bytes) = write {
                    all.push(bytes.clone());
                }
            }
        }
        all
    }

    /// Every file that has a name, with its content.
    pub fn named_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let disk = self.lock_disk();
        let files = disk.names.iter().filter_map(|(path, node)| match node {
            Node::File { inode, .. } => Some((path.clone(), disk.files[*inode].content.clone())),
            Node::Directory { .. } => None,
        });
        files.collect()
    }

    fn lock_disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inode {
    fn after_power_loss(&self, random: &mut Lottery) -> Inode {
        let mut content = self.durable.clone();
        for write in &self.unsynced {
            match (random.below(3), write) {
                (0, _) => {}
                (1, Write::Bytes(offset, bytes)) => {
                    let torn = random.below(bytes.len() as u64 + 1) as usize;
                    write_at(&mut content, *offset, &bytes[..torn]);
                }
                (_, Write::Bytes(offset, bytes)) => write_at(&mut content, *offset, bytes),
                (_, Write::Length(length)) => content.resize(*length as usize, 0),
            }
        }
        Inode { durable: content.clone(), content, unsynced: vec![] }
    }
}

fn write_at(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(bytes);
}

struct ModelFile {
    model: DiskModel,
    inode: usize,
    writable: bool,
}

impl ModelFile {
    fn change(&self, write: Write) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut disk = self.model.lock_disk();
        let inode = &mut disk.files[self.inode];
        match &write {
            Write::Bytes(offset, bytes) => write_at(&mut inode.content, *offset, bytes),
            Write::Length(length) => inode.content.resize(*length as usize, 0),
        }
        inode.unsynced.push(write);
        Ok(())
    }
}

impl ReadAt for ModelFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.model.lock_disk().files[self.inode].content.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.model.lock_disk().files[self.inode].content.len() as u64)
    }
}

impl File for ModelFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Write::Bytes(offset, bytes.to_vec()))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(Write::Length(length))
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.model.lock_disk();
        let inode = &mut disk.files[self.inode];
        inode.durable = inode.content.clone();
        inode.unsynced.clear();
        Ok(())
    }
}

struct ModelLock {
    model: DiskModel,
    path: PathBuf,
}

impl Lock for ModelLock {}

impl Drop for ModelLock {
    fn drop(&mut self) {
        self.model.lock_disk().locks.retain(|locked| *locked != self.path);
    }
}

impl Disk {
    fn node(&self, path: &Path) -> io::Result<Node> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, directory: &Path, change: Change) -> io::Result<()> {
        if !matches!(self.node(directory)?, Node::Directory { .. }) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        apply(&mut self.names, &change);
        self.changes.entry(directory.to_owned()).or_default().push(change);
        Ok(())
    }

    fn has_children(&self, path: &Path) -> bool {
        self.names.keys().any(|other| other.parent() == Some(path))
    }
}

impl Io for DiskModel {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        match self.lock_disk().node(path)? {
            Node::File { inode, .. } => Ok(Box::new(ModelFile { model: self.clone(), inode, writable: false })),
            Node::Directory { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn create(&self, path: &Path, how: Create, mode: u32) -> io::Result<Box<dyn File>> {
        let mut disk = self.lock_disk();
        let inode = match disk.names.get(path) {
            Some(Node::Directory { .. }) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(_) if how == Create::New => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(Node::File { inode, .. }) => *inode,
            None => {
                let inode = disk.files.len();
                disk.files.push(Inode::default());
                disk.change(parent(path), Change::Set(path.to_owned(), Node::File { inode, mode }))?;
                inode
            }
        };
        drop(disk);
        let file = ModelFile { model: self.clone(), inode, writable: true };
        if how == Create::Truncate {
            file.set_len(0)?;
        }
        Ok(Box::new(file))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let disk = self.lock_disk();
        Ok(match disk.node(path)? {
            Node::Directory { mode } => Metadata { length: 0, directory: true, mode, own: true },
            Node::File { inode, mode } => Metadata { length: disk.files[inode].content.len() as u64, directory: false, mode, own: true },
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let disk = self.lock_disk();
        if !matches!(disk.node(path)?, Node::Directory { .. }) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let inside = disk.names.keys().filter(|other| other.parent() == Some(path));
        Ok(inside.filter_map(|other| other.file_name()).map(ToOwned::to_owned).collect())
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut disk = self.lock_disk();
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.change(parent(path), Change::Set(path.to_owned(), Node::Directory { mode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        assert_eq!(parent(from), parent(to), "the model renames within a directory only, as everything here does");
        let mut disk = self.lock_disk();
        disk.node(from)?;
        if matches!(disk.node(to), Ok(Node::Directory { .. })) && disk.has_children(to) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        disk.change(parent(to), Change::Renamed(from.to_owned(), to.to_owned()))?;
        // What has happened in a directory happened in it whatever it is called.
        let inside = std::mem::take(&mut disk.changes).into_iter();
        disk.changes = inside.map(|(at, changes)| (rebased(&at, from, to), moved(&at, changes, from, to))).collect();
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.lock_disk().names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock_disk();
        match disk.node(path)? {
            Node::File { .. } => disk.change(parent(path), Change::Gone(path.to_owned())),
            Node::Directory { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock_disk();
        match disk.node(path)? {
            Node::Directory { .. } if disk.has_children(path) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
            Node::Directory { .. } => disk.change(parent(path), Change::Gone(path.to_owned())),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock_disk();
        disk.node(path)?;
        for change in disk.changes.remove(path).unwrap_or_default() {
            apply(&mut disk.durable, &change);
        }
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        let used: usize = self.lock_disk().files.iter().map(|inode| inode.content.len()).sum();
        Ok(self.capacity.saturating_sub(used as u64))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.create(path, Create::Resume, 0o600)?;
        let mut disk = self.lock_disk();
        if disk.locks.iter().any(|locked| locked == path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        disk.locks.push(path.to_owned());
        Ok(Box::new(ModelLock { model: self.clone(), path: path.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{read_small, replace};

    /// Content and names that were synced are always there; what was not is sometimes there and sometimes not.
    #[test]
    fn power_loss_spares_what_was_synced_and_nothing_else() {
        let disk = DiskModel::new();
        let path = Path::new("/a");
        replace(&disk, path, b"old", 0o600).expect("an empty disk takes a file");
        disk.create(path, Create::Resume, 0o600).expect("there").write_all_at(b"new", 0).expect("writable");
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let after = disk.lose_power(seed);
            seen.insert(read_small(&after, path, 9).expect("readable").expect("its name was synced"));
        }
        assert!(seen.contains(b"old".as_slice()) && seen.contains(b"new".as_slice()) && seen.len() > 2, "{seen:?}");
    }

    #[test]
    fn a_name_that_was_not_synced_can_vanish() {
        let disk = DiskModel::new();
        let file = disk.create(Path::new("/a"), Create::New, 0o600).expect("new");
        file.write_all_at(b"x", 0).expect("writable");
        file.sync().expect("a model syncs");
        let there = (0..64).filter(|seed| disk.lose_power(*seed).metadata(Path::new("/a")).is_ok()).count();
        assert!((1..64).contains(&there), "{there} of 64");
    }
}
