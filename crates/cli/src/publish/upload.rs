//! Sends sealed packs while the next ones are made; what the contents server holds already is not sent.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard};

use counterfoil_format::content::{DirectorySink, PackSink, PackedObject, Published};

use crate::failure::Failure;
use crate::publisher::api::Api;

/// Packs under way at once; as many again may wait, which bounds the space for them.
const AT_ONCE: usize = 4;

/// Bytes sent, and bytes that were there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uploaded {
    /// Sent now.
    pub sent: u64,
    /// Held by the contents server from before.
    pub there: u64,
}

/// What the sending threads share.
#[derive(Default)]
pub struct Uploads {
    done: Mutex<Uploaded>,
    failed: Mutex<Option<Failure>>,
}

impl Uploads {
    /// Runs `make` with a sink whose packs are sent by several threads, and waits for the last one.
    pub fn run<T>(api: &Api, staging: &Path, make: impl FnOnce(&mut dyn PackSink) -> T) -> (T, Result<Uploaded, Failure>) {
        let uploads = Uploads::default();
        let (queue, packs) = sync_channel::<PackedObject>(AT_ONCE);
        let packs = Mutex::new(packs);
        let made = std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| uploads.send_all(api, staging, &packs));
            }
            // The sink and with it the queue end here, and the threads when the queue is empty.
            make(&mut Sink { directory: DirectorySink::new(staging), queue, uploads: &uploads })
        });
        let failed = uploads.failed().take();
        let done = *lock(&uploads.done);
        (made, failed.map_or(Ok(done), Err))
    }

    fn send_all(&self, api: &Api, staging: &Path, packs: &Mutex<Receiver<PackedObject>>) {
        loop {
            // One statement, so that the lock is not held while a pack is sent.
            let next = lock(packs).recv();
            let Ok(pack) = next else { return };
            // After a failure the queue is only emptied, so that whoever fills it is not left waiting.
            if self.failed().is_some() {
                continue;
            }
            match send(api, &staging.join(pack.name.to_string()), &pack) {
                Ok(sent) => lock(&self.done).add(sent, pack.length),
                Err(failure) => {
                    self.failed().get_or_insert(failure);
                }
            }
        }
    }

    fn failed(&self) -> MutexGuard<'_, Option<Failure>> {
        lock(&self.failed)
    }
}

impl Uploaded {
    /// Counts an object that was sent, or was there.
    pub fn add(&mut self, sent: bool, length: u64) {
        *(if sent { &mut self.sent } else { &mut self.there }) += length;
    }
}

/// Sends the sealed manifest, which is the last of a release's objects.
pub fn manifest(api: &Api, staging: &Path, published: &Published, uploaded: &mut Uploaded) -> Result<(), Failure> {
    let object = PackedObject { name: published.reference.object, length: published.reference.length };
    let path = staging.join(object.name.to_string());
    fs::write(&path, &published.sealed_manifest).map_err(|error| Failure::file("write", &path, &error))?;
    let sent = send(api, &path, &object)?;
    uploaded.add(sent, object.length);
    Ok(())
}

/// Sends an object that stays where it lies.
pub fn object(api: &Api, path: &Path, object: &PackedObject, uploaded: &mut Uploaded) -> Result<(), Failure> {
    let name = object.name.to_string();
    let missing = !api.has_object(&name)?;
    if missing {
        let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
        api.put_object(&name, object.length, file)?;
    }
    uploaded.add(missing, object.length);
    Ok(())
}

/// Says whether it had to be sent. The file is gone afterwards.
fn send(api: &Api, path: &Path, packed: &PackedObject) -> Result<bool, Failure> {
    let mut sent = Uploaded::default();
    object(api, path, packed, &mut sent)?;
    fs::remove_file(path).map_err(|error| Failure::file("remove", path, &error))?;
    Ok(sent.sent > 0)
}

/// Keeps packs in the staging directory until they are sent.
struct Sink<'a> {
    directory: DirectorySink,
    queue: SyncSender<PackedObject>,
    uploads: &'a Uploads,
}

impl PackSink for Sink<'_> {
    fn write(&mut self, sealed: &[u8]) -> io::Result<()> {
        self.directory.write(sealed)
    }

    fn finish(&mut self, object: PackedObject) -> io::Result<()> {
        self.directory.finish(object)?;
        if self.uploads.failed().is_some() {
            return Err(io::Error::other("a pack could not be sent"));
        }
        self.queue.send(object).map_err(|_| io::Error::other("nobody sends packs any more"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
