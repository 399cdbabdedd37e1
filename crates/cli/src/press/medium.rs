//! One medium after the other, in one of three forms. Each is there whole or not at all.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use counterfoil_terminal::layout;

use super::Form;
use super::content::Common;
use super::identities::Label;
use crate::failure::Failure;
use crate::files;

mod image;
mod plant;

/// Writes media of one form.
pub trait Press {
    /// Writes one medium and says where: by its number, or the one without an identity.
    fn medium(&mut self, serial: Option<u64>, label: Label, progress: &mut dyn FnMut(u64)) -> Result<PathBuf, Failure>;

    /// What each medium adds to the progress.
    fn each(&self) -> u64;

    /// After how many media it is worth making them durable.
    fn mark_every(&self) -> u64;

    /// Makes what was written durable.
    fn settle(&mut self) -> Result<(), Failure>;
}

/// For `form`, into `out`.
pub fn press<'a>(form: Form, out: &'a Path, media: u64, common: &'a Common) -> Result<Box<dyn Press + 'a>, Failure> {
    let digits = media.to_string().len().max(4);
    Ok(match form {
        Form::Dir => {
            let sources = common.files.iter().map(|file| file.source.clone()).collect();
            Box::new(Directory { out, digits, common, sources })
        }
        Form::Iso => Box::new(image::Image::new(out, digits, common)),
        Form::Identity => Box::new(plant::Plant::new(out.join("identities"), digits)?),
    })
}

/// A directory each; the content is hard-linked to one copy where the file system can.
struct Directory<'a> {
    out: &'a Path,
    digits: usize,
    common: &'a Common,
    /// What to link next; another copy once a file has all the links that it can have.
    sources: Vec<PathBuf>,
}

impl Press for Directory<'_> {
    fn medium(&mut self, serial: Option<u64>, label: Label, progress: &mut dyn FnMut(u64)) -> Result<PathBuf, Failure> {
        let path = self.out.join(name(serial, self.digits));
        let partial = files::beside(&path);
        for leftover in [&partial, &path] {
            if fs::symlink_metadata(leftover).is_ok() {
                fs::remove_dir_all(leftover).map_err(|error| Failure::file("remove", leftover, &error))?;
            }
        }
        self.fill(&partial, &label, progress)?;
        fs::rename(&partial, &path).map_err(|error| Failure::file("make", &path, &error))?;
        // A copy that was made for linking moved with its medium.
        for source in &mut self.sources {
            if let Ok(inside) = source.strip_prefix(&partial) {
                *source = path.join(inside);
            }
        }
        Ok(path)
    }

    fn each(&self) -> u64 {
        self.common.bytes()
    }

    fn mark_every(&self) -> u64 {
        100
    }

    fn settle(&mut self) -> Result<(), Failure> {
        sync_file_system(self.out)
    }
}

impl Directory<'_> {
    fn fill(&mut self, directory: &Path, label: &Label, progress: &mut dyn FnMut(u64)) -> Result<(), Failure> {
        let make = |path: &Path| {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|error| Failure::file("make", path, &error))
        };
        make(directory)?;
        for (name, bytes) in [(label.file, label.area.as_slice()), (layout::README, label.readme.as_bytes())] {
            let path = directory.join(name);
            fs::write(&path, bytes).map_err(|error| Failure::file("write", &path, &error))?;
        }
        for (file, source) in self.common.files.iter().zip(&mut self.sources) {
            let path = directory.join(&file.path);
            make(path.parent().unwrap_or(directory))?;
            if fs::hard_link(&*source, &path).is_err() {
                // Another file system, one without links, or one whose count of links is full.
                fs::copy(&*source, &path).map_err(|error| Failure::file("write", &path, &error))?;
                let mode = if file.executable { 0o755 } else { 0o644 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(|error| Failure::file("write", &path, &error))?;
                source.clone_from(&path);
            }
            progress(file.length);
        }
        Ok(())
    }
}

/// `0001`: as wide as the last one. The one without an identity is all of its kind.
fn name(serial: Option<u64>, digits: usize) -> String {
    serial.map_or_else(|| "medium".to_owned(), |serial| format!("{serial:0digits$}"))
}

/// One call instead of one for every file: all of them are durable after it.
fn sync_file_system(path: &Path) -> Result<(), Failure> {
    let synced = fs::File::open(path).and_then(|directory| rustix::fs::syncfs(directory).map_err(Into::into));
    synced.map_err(|error| Failure::file("write", path, &error))
}
