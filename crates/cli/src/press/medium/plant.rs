//! Identity areas only, a file each, for a plant; what is the same on all media lies beside them once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{Press, name, sync_file_system};
use crate::failure::Failure;
use crate::files;
use crate::press::identities::Label;

/// Making a file costs a file system far more than its kilobyte; several at once make up for it.
const AT_ONCE: usize = 4;
/// Files that wait to be written: a megabyte or so.
const QUEUE: usize = 1000;
/// Files in one directory.
const TOGETHER: u64 = 1000;

/// Writes `identities/000/0001.json` and so on.
pub struct Plant {
    place: PathBuf,
    digits: usize,
    writers: Option<Writers>,
}

struct Writers {
    queue: SyncSender<(PathBuf, Vec<u8>)>,
    threads: Vec<JoinHandle<Result<(), Failure>>>,
}

impl Plant {
    /// Into `place`, which is made.
    pub fn new(place: PathBuf, digits: usize) -> Result<Self, Failure> {
        files::create_directory(&place)?;
        Ok(Self { place, digits, writers: None })
    }

    /// Ends the writers when everything that waits is written.
    fn join(&mut self) -> Result<(), Failure> {
        let Some(Writers { queue, threads }) = self.writers.take() else { return Ok(()) };
        drop(queue);
        let ends: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        for end in ends {
            end.unwrap_or_else(|_| Err(Failure::operation("io", "a writer of identities ended unexpectedly")))?;
        }
        Ok(())
    }
}

impl Press for Plant {
    fn medium(&mut self, serial: Option<u64>, label: Label, progress: &mut dyn FnMut(u64)) -> Result<PathBuf, Failure> {
        let number = serial.unwrap_or(0);
        let directory = self.place.join(format!("{:03}", number / TOGETHER));
        if number.is_multiple_of(TOGETHER) || self.writers.is_none() {
            files::create_directory(&directory)?;
        }
        let path = directory.join(format!("{}.json", name(serial, self.digits)));
        let writers = self.writers.get_or_insert_with(Writers::start);
        if writers.queue.send((path.clone(), label.area)).is_err() {
            // Nobody receives because all of them failed; the first says why.
            self.join()?;
        }
        progress(1);
        Ok(path)
    }

    fn each(&self) -> u64 {
        1
    }

    fn mark_every(&self) -> u64 {
        10_000
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.join()?;
        sync_file_system(&self.place)
    }
}

impl Writers {
    fn start() -> Self {
        let (queue, files) = sync_channel(QUEUE);
        let files = Arc::new(Mutex::new(files));
        let spawn = |_| {
            let files = files.clone();
            std::thread::spawn(move || write_all(&files))
        };
        Self { threads: (0..AT_ONCE).map(spawn).collect(), queue }
    }
}

fn write_all(files: &Mutex<Receiver<(PathBuf, Vec<u8>)>>) -> Result<(), Failure> {
    loop {
        // One statement, so that the lock is not held while a file is written.
        let next = files.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((path, area)) = next else { return Ok(()) };
        write(&path, &area).map_err(|error| Failure::file("write", &path, &error))?;
    }
}

fn write(path: &Path, area: &[u8]) -> std::io::Result<()> {
    let partial = files::beside(path);
    fs::write(&partial, area)?;
    fs::rename(&partial, path)
}
