//! Packs: sealed chunks one behind the other, until there are about 32 MiB of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::names::ObjectName;

/// An object that was written to a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedObject {
    /// Its name.
    pub name: ObjectName,
    /// Its length in bytes.
    pub length: u64,
}

/// Where objects go, one after the other: a directory, a store. What is written is sealed.
pub trait PackSink {
    /// Writes more of the object under way.
    fn write(&mut self, sealed: &[u8]) -> io::Result<()>;

    /// Ends the object under way, now that its name is known. Afterwards it is durable.
    fn finish(&mut self, object: PackedObject) -> io::Result<()>;
}

/// Writes each object to a file in a directory, named by the object's name in hex. What is there already stays.
pub struct DirectorySink {
    directory: PathBuf,
    partial: Option<(File, PathBuf)>,
}

impl DirectorySink {
    /// Writes to a directory that exists.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), partial: None }
    }

    /// Where an object lies.
    pub fn path(&self, name: &ObjectName) -> PathBuf {
        self.directory.join(name.to_string())
    }

    fn partial(&mut self) -> io::Result<&mut File> {
        if self.partial.is_none() {
            self.partial = Some(create_partial(&self.directory)?);
        }
        let (file, _) = self.partial.as_mut().expect("it was set on the line above");
        Ok(file)
    }
}

impl PackSink for DirectorySink {
    fn write(&mut self, sealed: &[u8]) -> io::Result<()> {
        self.partial()?.write_all(sealed)
    }

    fn finish(&mut self, object: PackedObject) -> io::Result<()> {
        self.partial()?.sync_all()?;
        let to = self.path(&object.name);
        if let Some((_, from)) = &self.partial {
            // Should the object be there already, the rename puts the same bytes in its place.
            fs::rename(from, to)?;
        }
        self.partial = None;
        sync_directory(&self.directory)
    }
}

impl Drop for DirectorySink {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.partial {
            // An object without an end is of no use; if it cannot be removed, the next cleaning of the store does it.
            let _ = fs::remove_file(path);
        }
    }
}

fn create_partial(directory: &Path) -> io::Result<(File, PathBuf)> {
    for number in 0.. {
        let path = directory.join(format!("object-{number}.partial"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 1000 => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the loop returns at number 1000 at the latest")
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
