//! What is the same on every medium of a batch: the content areas, the launcher, the client. Fetched once, checked, kept until done.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use counterfoil_format::content::{ObjectName, Release};
use counterfoil_format::sign::VerifyingKey;
use counterfoil_terminal::layout;
use serde::Deserialize;

use super::state::TitleInBatch;
use super::{Form, texts};
use crate::failure::Failure;
use crate::files;
use crate::progress::Progress;
use crate::publisher::api::Api;

/// Objects fetched side by side.
const AT_ONCE: usize = 4;

/// The files that every medium gets.
pub struct Common {
    root: PathBuf,
    /// Gone when all media are pressed.
    temporary: bool,
    /// In a stable order.
    pub files: Vec<CommonFile>,
}

/// One of them.
pub struct CommonFile {
    /// On the medium, with `/`.
    pub path: String,
    /// Here.
    pub source: PathBuf,
    /// Bytes.
    pub length: u64,
    /// Whether it is a program.
    pub executable: bool,
}

#[derive(Deserialize)]
struct ReleaseRecord {
    document: String,
    objects: Vec<ObjectRecord>,
}

#[derive(Deserialize)]
struct ObjectRecord {
    object: ObjectName,
    length: u64,
}

#[derive(Deserialize)]
struct TitleRecord {
    publisher: String,
}

#[derive(Deserialize)]
struct PublisherRecord {
    key: Option<VerifyingKey>,
}

/// Brings them together below `out`.
pub fn fetch(
    api: &Api,
    titles: &[TitleInBatch],
    out: &Path,
    form: Form,
    with_client: bool,
    progress: &Progress,
) -> Result<Common, Failure> {
    let temporary = form != Form::Identity;
    let mut common = Common { root: out.join(if temporary { ".content" } else { "common" }), temporary, files: Vec::new() };
    common.write(layout::START, texts::START.as_bytes(), 0o755)?;
    if with_client {
        common.client()?;
    }
    let mut objects = Vec::new();
    for title in titles {
        let record: ReleaseRecord = api.get(&format!("/v1/titles/{}/releases/{}", title.title, title.version))?;
        let release = check(api, title, &record.document)?;
        common.write(&layout::release(&title.title), record.document.as_bytes(), 0o644)?;
        for object in record.objects {
            let path = if object.object == release.manifest.object {
                layout::manifest(&title.title, &object.object)
            } else {
                layout::pack(&title.title, &object.object)
            };
            objects.push((path, object));
        }
    }
    progress.of(objects.iter().map(|(_, object)| object.length).sum());
    fetch_all(api, &common.root, &objects, progress)?;
    for (path, object) in objects {
        common.files.push(CommonFile { source: common.root.join(&path), path, length: object.length, executable: false });
    }
    if form == Form::Identity {
        files::replace(&out.join("README.txt"), texts::PLANT.as_bytes(), 0o644)?;
    }
    Ok(common)
}

/// The release document, if it is the publisher's for this title and version.
fn check(api: &Api, title: &TitleInBatch, document: &str) -> Result<Release, Failure> {
    let record: TitleRecord = api.get(&format!("/v1/titles/{}", title.title))?;
    let publisher: PublisherRecord = api.get(&format!("/v1/publishers/{}", record.publisher))?;
    let release = Release::verify(document, |kid| publisher.key.filter(|_| kid == record.publisher));
    let release = release.map_err(|error| {
        Failure::operation("release_invalid", format!("the authority's release {} of {} is not good: {error}", title.version, title.title))
    })?;
    if release.title != title.title.as_str() || release.version != title.version.as_str() {
        return Err(Failure::operation(
            "release_invalid",
            format!("the authority gave another release than {} of {}", title.version, title.title),
        ));
    }
    Ok(release)
}

fn fetch_all(api: &Api, root: &Path, objects: &[(String, ObjectRecord)], progress: &Progress) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    let failed_yet = || failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(objects.len()) {
            scope.spawn(|| {
                while failed_yet().is_none()
                    && let Some((path, object)) = objects.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    if let Err(failure) = fetch_one(api, &root.join(path), object, progress) {
                        failed_yet().get_or_insert(failure);
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Fetches an object, going on with what an interrupted run has of it. Only what has the right hash gets the right name.
fn fetch_one(api: &Api, path: &Path, object: &ObjectRecord, progress: &Progress) -> Result<(), Failure> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() == object.length) {
        progress.add(object.length);
        return Ok(());
    }
    let partial = files::beside(path);
    files::create_directory(path.parent().unwrap_or(path))?;
    let cannot = |error: std::io::Error| Failure::file("write", &partial, &error);
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o644).open(&partial).map_err(cannot)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file).map_err(cannot)?;
    progress.add(hasher.count());
    if hasher.count() < object.length {
        let mut body = api.object(&object.object.to_string(), hasher.count())?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = body.read(&mut buffer).map_err(|error| {
                Failure::operation("unreachable", format!("the transfer of {} broke off: {error}", object.object))
                    .hint("Repeat the command: it goes on where it was.")
            })?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read]).map_err(cannot)?;
            progress.add(read as u64);
        }
    }
    if *hasher.finalize().as_bytes() != object.object.0 {
        let whole = hasher.count() >= object.length;
        if whole {
            // Going on with it would never make it right.
            let _ = fs::remove_file(&partial);
        }
        let fact = format!("what was fetched of {} is {}", object.object, if whole { "not that object" } else { "not whole" });
        return Err(Failure::operation("damaged", fact).hint("Repeat the command."));
    }
    file.sync_all().and_then(|()| fs::rename(&partial, path)).map_err(cannot)
}

impl Common {
    fn write(&mut self, path: &str, bytes: &[u8], mode: u32) -> Result<(), Failure> {
        let source = self.root.join(path);
        files::create_directory(source.parent().unwrap_or(&self.root))?;
        files::replace(&source, bytes, mode)?;
        self.files.push(CommonFile { path: path.to_owned(), source, length: bytes.len() as u64, executable: mode & 0o100 != 0 });
        Ok(())
    }

    /// Puts this program there.
    fn client(&mut self) -> Result<(), Failure> {
        let own = std::env::current_exe().map_err(|error| Failure::operation("io", format!("cannot find this program: {error}")))?;
        let path = format!("{}/counterfoil", layout::CLIENT_DIR);
        let source = self.root.join(&path);
        files::create_directory(source.parent().unwrap_or(&self.root))?;
        let partial = files::beside(&source);
        let copied = || -> std::io::Result<u64> {
            let length = fs::copy(&own, &partial)?;
            fs::set_permissions(&partial, fs::Permissions::from_mode(0o755))?;
            File::open(&partial)?.sync_all()?;
            fs::rename(&partial, &source)?;
            Ok(length)
        };
        let length = copied().map_err(|error| Failure::file("write", &source, &error))?;
        self.files.push(CommonFile { path, source, length, executable: true });
        Ok(())
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// All media are pressed: what is not needed any more goes.
    pub fn finish(self) -> Result<(), Failure> {
        if !self.temporary {
            return Ok(());
        }
        fs::remove_dir_all(&self.root).map_err(|error| Failure::file("remove", &self.root, &error))
    }
}
