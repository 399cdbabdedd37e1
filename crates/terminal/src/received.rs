//! What providers have given for a title (B6), kept with it:
//!
//! ```text
//! <medium>/content/<title>/received/<provider>/<name>             as it came, where the medium can be written
//! <library>/titles/<title>/<grant>/received/<provider>/<name>     sealed under the library key, and removed with the copy
//! ```
//!
//! A name stands there only when all of it is there. What is on its way is called `.<name>.partial`; in the library it is sealed in pieces.

mod receiving;

use crate::card::CardChoice;
use crate::error::Result;
use crate::io::{Io, IoFailure, Lock, Sequential, create_dirs_in, no_links, remove_all};
use crate::library::Library;
use crate::medium::refresh::LOCK;
use crate::medium::{Medium, layout};
use crate::play::unseal;
use crate::present::PresentError;
use crate::terminal::Terminal;
use counterfoil_core::rules::upload::is_slot;
use counterfoil_core::wire::ProviderContent;
use counterfoil_core::{ProviderId, TitleId};
use counterfoil_format::container::{Container, Opening, plain_length, sealed_length};
use counterfoil_format::secret::Secret;
use serde::Serialize;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use receiving::Receiving;

/// Directory beside a title.
pub(crate) const RECEIVED: &str = "received";
/// Bytes moved at once.
const BUFFER: usize = 256 * 1024;

/// Something that a provider has given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Received {
    /// For which title.
    pub title: TitleId,
    /// By whom.
    pub provider: ProviderId,
    /// Under which name.
    pub name: String,
    /// In bytes.
    pub length: u64,
}

/// Where such things are looked for.
pub enum Keeper<'a> {
    /// A medium.
    Medium(&'a Medium),
    /// A library, and whose keys open it.
    Library(&'a Library, &'a CardChoice),
}

/// Where what is given for one title lies.
pub struct Place {
    io: Arc<dyn Io>,
    /// The medium or library.
    root: PathBuf,
    lock: PathBuf,
    /// `received`, below that.
    directory: PathBuf,
    sealed: Option<Sealed>,
}

/// What it is sealed under.
struct Sealed {
    library_key: Secret<32>,
    title: TitleId,
}

impl Sealed {
    /// `name` as it lies there, or a piece of it on its way.
    fn container(&self, provider: &str, name: &str) -> Container {
        Container::received(&self.library_key, self.title.as_str(), provider, name)
    }
}

impl Place {
    pub(crate) fn on_medium(terminal: &Terminal, medium: &Medium, title: &TitleId) -> Result<Self> {
        let root = medium.root().ok_or_else(|| IoFailure::at("write to", medium.path())(io::ErrorKind::ReadOnlyFilesystem.into()))?;
        let directory = Path::new(&layout::title(title)).join(RECEIVED);
        Ok(Self { io: terminal.io().clone(), root: root.to_owned(), lock: root.join(LOCK), directory, sealed: None })
    }

    pub(crate) fn in_library(terminal: &Terminal, library: &Library, title: &TitleId, card: &CardChoice) -> Result<Self> {
        let unsealed = unseal(terminal, library, title, card)?;
        let root = library.path().to_owned();
        let directory = unsealed.copy.directory.strip_prefix(&root).unwrap_or(&unsealed.copy.directory).join(RECEIVED);
        let sealed = Some(Sealed { library_key: Secret::new(*unsealed.library_key.expose()), title: title.clone() });
        Ok(Self { io: terminal.io().clone(), lock: root.join("lock"), root, directory, sealed })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it is sealed there.
    pub fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    pub(crate) fn lock(&self, terminal: &Terminal) -> Result<Box<dyn Lock>> {
        Ok(terminal.io().lock(&self.lock).map_err(IoFailure::at("write to", &self.lock))?)
    }

    /// Bytes that receiving so many may take: pieces on their way are sealed once more in the end.
    pub(crate) fn needed(&self, length: u64) -> u64 {
        if self.is_sealed() { sealed_length(length).unwrap_or(u64::MAX / 4).saturating_mul(2) } else { length }
    }

    pub(crate) fn path(&self, provider: &str, name: &str) -> PathBuf {
        self.root.join(&self.directory).join(provider).join(name)
    }

    /// Whether it is there already, as it was announced.
    pub(crate) fn holds(&self, terminal: &Terminal, provider: &str, content: &ProviderContent) -> Result<bool> {
        let path = self.path(provider, &content.name);
        if !terminal.exists(&path)? || !self.io.is_plain(&path).map_err(IoFailure::at("read", &path))? {
            return Ok(false);
        }
        let mut hasher = blake3::Hasher::new();
        // One that is damaged is fetched again.
        Ok(self.copy_out(provider, &content.name, &mut hasher).is_ok_and(|length| length == content.length)
            && hasher.finalize().to_hex().as_str() == content.blake3)
    }

    /// Begins to receive something, or goes on where an earlier attempt broke off.
    pub(crate) fn receive<'a>(&'a self, terminal: &'a Terminal, provider: &str, name: &str, fresh: bool) -> Result<Receiving<'a>> {
        create_dirs_in(&*self.io, &self.root, &self.directory.join(provider), 0o755)?;
        Receiving::open(self, terminal, provider, name, fresh)
    }

    /// Writes out what is called so; returns how many bytes. What is sealed and was changed ends in an error, with its beginning written.
    fn copy_out(&self, provider: &str, name: &str, to: &mut dyn Write) -> Result<u64> {
        let path = self.path(provider, name);
        let file = match self.io.open(&path) {
            Ok(file) => Sequential::new(file, 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(PresentError::NotThere(name.to_owned()).into()),
            Err(error) => return Err(IoFailure::at("read", &path)(error).into()),
        };
        let copied = match &self.sealed {
            None => pour(file, to),
            Some(sealed) => Opening::new(file, &sealed.container(provider, name)).and_then(|opening| pour(opening, to)),
        };
        copied.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => PresentError::Damaged { name: name.to_owned(), reason: crate::io::words(&error) }.into(),
            _ => IoFailure::at("read", &path)(error).into(),
        })
    }

    /// What lies there, by provider and name.
    fn list(&self, title: &TitleId) -> Result<Vec<Received>> {
        list(&*self.io, &self.root.join(&self.directory), title, self.is_sealed())
    }
}

fn pour(mut from: impl Read, to: &mut dyn Write) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut length = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => break,
            count => {
                to.write_all(&buffer[..count])?;
                length += count as u64;
            }
        }
    }
    to.flush()?;
    Ok(length)
}

fn list(io: &dyn Io, directory: &Path, title: &TitleId, sealed: bool) -> Result<Vec<Received>> {
    let mut all = Vec::new();
    for provider in names(io, directory)? {
        let Ok(provider_id) = provider.parse::<ProviderId>() else { continue };
        let below = directory.join(&provider);
        for name in names(io, &below)?.into_iter().filter(|name| is_slot(name)) {
            let path = below.join(&name);
            let metadata = io.metadata(&path).map_err(IoFailure::at("read", &path))?;
            let length = if sealed { plain_length(metadata.length) } else { Some(metadata.length) };
            if let Some(length) = length.filter(|_| !metadata.directory) {
                all.push(Received { title: title.clone(), provider: provider_id, name, length });
            }
        }
    }
    Ok(all)
}

fn names(io: &dyn Io, path: &Path) -> Result<Vec<String>> {
    match io.list(path) {
        Ok(names) => Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(vec![]),
        Err(error) => Err(IoFailure::at("read", path)(error).into()),
    }
}

impl Keeper<'_> {
    /// All that was received, by title, provider and name. Needs no keys.
    ///
    /// # Errors
    /// What the system said; of a library as [`Library::list`].
    pub fn list(&self, terminal: &Terminal) -> Result<Vec<Received>> {
        let mut all = Vec::new();
        match self {
            Keeper::Medium(medium) => {
                for title in &medium.identity().titles {
                    // Nothing was ever written to an image.
                    if let Ok(place) = Place::on_medium(terminal, medium, &title.title) {
                        all.extend(place.list(&title.title)?);
                    }
                }
            }
            Keeper::Library(library, _) => {
                for listed in library.list()?.into_iter().filter(|listed| listed.complete) {
                    let directory = library.copy(&listed.title, listed.grant_id).directory.join(RECEIVED);
                    all.extend(list(&**terminal.io(), &directory, &listed.title, true)?);
                }
            }
        }
        Ok(all)
    }

    /// Writes it out as it was given; returns how many bytes.
    ///
    /// # Errors
    /// [`PresentError::NotThere`], [`PresentError::Damaged`]; of a library as [`crate::open_title`]; what the system said.
    pub fn get(&self, terminal: &Terminal, which: &Received, to: &mut dyn Write) -> Result<u64> {
        self.place(terminal, &which.title)?.copy_out(&which.provider.to_string(), &which.name, to)
    }

    /// Removes it; returns the bytes freed.
    ///
    /// # Errors
    /// Code `busy`; what the system said.
    pub fn remove(&self, terminal: &Terminal, which: &Received) -> Result<u64> {
        let (root, directory, lock) = match self {
            Keeper::Medium(medium) => {
                let place = Place::on_medium(terminal, medium, &which.title)?;
                (place.root.clone(), place.root.join(&place.directory), place.lock)
            }
            Keeper::Library(library, _) => {
                let root = library.path().to_owned();
                (root.clone(), library.complete(&which.title)?.directory.join(RECEIVED), root.join("lock"))
            }
        };
        let io = terminal.io();
        let _lock = io.lock(&lock).map_err(IoFailure::at("write to", &lock))?;
        let below = directory.join(which.provider.to_string());
        no_links(&**io, &root, below.strip_prefix(&root).unwrap_or(&below))?;
        let path = below.join(&which.name);
        let freed = io.metadata(&path).map_err(IoFailure::at("remove", &path))?.length;
        io.remove_file(&path).and_then(|()| io.sync_dir(&below)).map_err(IoFailure::at("remove", &path))?;
        if io.list(&below).is_ok_and(|left| left.is_empty()) {
            // A directory with nothing in it is nobody's.
            let _ = remove_all(&**io, &below);
        }
        Ok(freed)
    }

    /// What of it does not open any more: damaged, or changed since it came. On a medium nothing is sealed, and nothing can be told.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn damaged(&self, terminal: &Terminal, title: &TitleId) -> Result<Vec<Received>> {
        let mut damaged = Vec::new();
        let all: Vec<Received> = self.list(terminal)?.into_iter().filter(|received| received.title == *title).collect();
        for received in all {
            match self.get(terminal, &received, &mut io::sink()) {
                Ok(_) => {}
                Err(crate::Error::Present(PresentError::Damaged { .. })) => damaged.push(received),
                Err(error) => return Err(error),
            }
        }
        Ok(damaged)
    }

    fn place(&self, terminal: &Terminal, title: &TitleId) -> Result<Place> {
        match self {
            Keeper::Medium(medium) => Place::on_medium(terminal, medium, title),
            Keeper::Library(library, card) => Place::in_library(terminal, library, title, card),
        }
    }
}
