//! Who publishes a title, as this home knows it: the key that was seen first is the one from then on. The authority names a publisher with
//! every license and on every medium; by a key of its own it could pass off anybody's program as the publisher's.
//!
//! ```text
//! feeds/<title>/publisher.json           who it is, since the title was first copied, installed or updated
//! ```

use crate::error::Result;
use crate::feed;
use crate::home::HomeError;
use crate::io::{create_dirs, parent, read_small, replace};
use crate::library::Library;
use crate::terminal::{Terminal, absolute};
use counterfoil_core::wire::PublisherOnMedium;
use counterfoil_core::{Code, Refusal, TitleId};
use counterfoil_format::encoding::parse_strict;
use std::path::{Path, PathBuf};

/// Longest file that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Checks that a release, whose signature was verified by the key of `publisher`, is of whoever published the title before: as is noted in
/// this home, as the copies in its libraries say, and as the feeds say that it keeps. Where nobody is known yet, it is noted.
///
/// # Errors
/// [`Code::UpdateNotAuthentic`]; [`HomeError::Profile`] for a note that cannot be read; what the system said.
pub(crate) fn check(terminal: &Terminal, library: &Library, title: &TitleId, publisher: &PublisherOnMedium) -> Result<()> {
    let pin = path(terminal, title);
    let pinned = pinned(terminal, &pin)?;
    let noted = pinned.iter().map(|known| (pin.clone(), known.clone()));
    let copies = libraries(terminal, library)?.into_iter().flat_map(|library| library.publishers(title));
    if let Some((place, _)) = noted.chain(copies).find(|(_, known)| known != publisher) {
        return Err(another(terminal, title, &place));
    }
    if pinned.is_some() {
        return Ok(());
    }
    if feed::is_strange(terminal, title, publisher)? {
        return Err(another(terminal, title, parent(&pin)));
    }
    pin_to(terminal, &pin, publisher)
}

/// Notes whose copy it is that the authority knows, where nobody is noted: copies from before there were notes.
///
/// # Errors
/// What the system said.
pub(crate) fn note(terminal: &Terminal, title: &TitleId, publisher: &PublisherOnMedium) -> Result<()> {
    let pin = path(terminal, title);
    if terminal.exists(&pin)? { Ok(()) } else { pin_to(terminal, &pin, publisher) }
}

/// Who is noted.
///
/// # Errors
/// As [`check`].
pub(crate) fn noted(terminal: &Terminal, title: &TitleId) -> Result<Option<PublisherOnMedium>> {
    pinned(terminal, &path(terminal, title))
}

fn path(terminal: &Terminal, title: &TitleId) -> PathBuf {
    feed::directory(terminal, title).join("publisher.json")
}

fn pinned(terminal: &Terminal, path: &Path) -> Result<Option<PublisherOnMedium>> {
    let Some(bytes) = read_small(&**terminal.io(), path, LONGEST)? else { return Ok(None) };
    let pinned = parse_strict(&bytes).map_err(|error| HomeError::Profile { path: path.to_owned(), reason: error.to_string() })?;
    Ok(Some(pinned))
}

fn pin_to(terminal: &Terminal, path: &Path, publisher: &PublisherOnMedium) -> Result<()> {
    create_dirs(&**terminal.io(), parent(path), 0o700)?;
    let bytes = serde_json::to_vec_pretty(publisher).expect("two texts");
    Ok(replace(&**terminal.io(), path, &bytes, 0o600)?)
}

/// The one that is written to, and others that this home knows and that are there now.
fn libraries(terminal: &Terminal, library: &Library) -> Result<Vec<Library>> {
    let profile = terminal.home().profile()?;
    let mut paths = vec![library.path().to_owned()];
    paths.extend(profile.library.into_iter().chain(profile.typed_drives.into_keys()).map(|path| absolute(&path)));
    paths.sort();
    paths.dedup();
    Ok(paths.iter().filter_map(|path| Library::open(terminal, path).ok()).collect())
}

fn another(terminal: &Terminal, title: &TitleId, place: &Path) -> crate::Error {
    let detail = format!("{title} is signed by another key than the one that is known by {}", place.display());
    let hint = format!(
        "Nothing was changed. Ask the publisher, and not the authority, whether it has a new key. If it has: `counterfoil remove {title}` wherever it is \
         installed, delete {}, and repeat the command.",
        feed::directory(terminal, title).display()
    );
    Refusal { hint, ..Refusal::with(Code::UpdateNotAuthentic, detail) }.into()
}
