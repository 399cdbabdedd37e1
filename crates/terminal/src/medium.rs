//! Media: what they say of themselves, verified offline, and the content that lies on them (B3, B9).

mod directory;
mod image;
pub mod layout;
pub(crate) mod refresh;
mod without;

use crate::error::Result;
use crate::exchange::refused;
use crate::home::Authority;
use crate::io::{Io, IoFailure, parent};
use crate::source::area::OnArea;
use crate::terminal::{Terminal, signing_key};
use counterfoil_core::wire::{IdentityArea, IdentityClaims, TitleOnMedium};
use counterfoil_core::{Code, TitleId};
use counterfoil_format::content::{Feed, MAX_FEED, ObjectName, ReadAt, Release, ReleaseError};
use counterfoil_format::encoding::{from_base64url, parse_strict};
use counterfoil_format::jws::verify_compact;
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::VerifyingKey;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

pub use without::{NOTICE_TYP, Opened, WithoutIdentity};

/// `typ` of the identity of a medium.
pub const IDENTITY_TYP: &str = "counterfoil-identity+jwt";
/// Longest release document that is read, in bytes.
pub(crate) const LONGEST_RELEASE: u64 = 64 * 1024;
/// Longest sealed manifest that is read, in bytes.
pub(crate) const LONGEST_MANIFEST: u64 = (counterfoil_format::content::limits::MANIFEST_BYTES as u64) + 1024;

/// Where the files of a medium are read from. A directory, or an image.
pub(crate) trait Area: Send + Sync {
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadAt>>;
    /// Names and lengths of the files in a directory.
    fn lengths(&self, path: &str) -> io::Result<Vec<(String, u64)>>;
    /// The directory that they are written to, where that is possible at all.
    fn root(&self) -> Option<&Path> {
        None
    }
}

/// A medium whose identity was read and verified.
pub struct Medium {
    path: PathBuf,
    files: Box<dyn Area>,
    identity: Identity,
    /// Whether the identity was read from where it belongs.
    in_place: bool,
}

/// An identity area that was verified.
struct Identity {
    area: IdentityArea,
    claims: IdentityClaims,
    signature: Signature,
    secret: Secret<32>,
}

/// By whose keys the identity was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// By those of the authority that this home knows.
    Pinned,
    /// Only by those that the medium itself carries: this home has not met its authority, or belongs to another.
    Unpinned,
}

/// What is wrong with a medium, apart from its identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediumError {
    /// Nothing there that could be one.
    #[error("{} is no medium: {reason}", path.display())]
    NotAMedium {
        /// Where.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It has no identity that could be presented, claimed or refreshed (C18).
    #[error("{} is a medium without an identity: there are others exactly like it", .0.display())]
    WithoutIdentity(PathBuf),
    /// It cannot be read: a bad sector, or somebody has pulled it out.
    #[error("the medium cannot be read: {file} at {offset}: {source}")]
    Unreadable {
        /// Which file on it.
        file: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// It does not carry the content of a title.
    #[error("the medium carries no content for `{0}`")]
    NoContent(TitleId),
    /// The release is not what the publisher has signed, or the manifest not what the release says.
    #[error("`{title}` on the medium is not as its publisher made it: {reason}")]
    NotAuthentic {
        /// Which title.
        title: TitleId,
        /// What is wrong.
        reason: String,
    },
}

impl MediumError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            MediumError::NotAMedium { .. } => "not_a_medium",
            MediumError::WithoutIdentity(_) => "without_identity",
            MediumError::Unreadable { .. } => "medium_unreadable",
            MediumError::NoContent(_) => "no_content",
            MediumError::NotAuthentic { .. } => "content_not_authentic",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self {
            MediumError::NotAMedium { .. } => "Name the directory, mount point or image that holds `identity.json`.",
            MediumError::WithoutIdentity(_) => {
                "Its key is bought when it is copied: `counterfoil copy MEDIUM`. `counterfoil inspect MEDIUM` shows what is on it."
            }
            MediumError::Unreadable { .. } => "Insert the medium again and clean it, then repeat the command; it goes on where it was.",
            MediumError::NoContent(_) => "It may carry only the right to the title. Put the content area beside it, as its maker says.",
            MediumError::NotAuthentic { .. } => "The medium is damaged or was altered. Ask where it was bought; nothing was used up.",
        }
    }
}

impl Medium {
    /// Opens a directory, a mount point or an ISO image, and verifies its identity without asking anybody.
    ///
    /// # Errors
    /// [`Code::MediumUnknown`] where the identity area was edited, forged or damaged; [`MediumError`].
    pub fn open(terminal: &Terminal, path: &Path) -> Result<Self> {
        Self::open_knowing(terminal, path, terminal.authority()?.as_ref()).map_err(|(error, _)| error)
    }

    /// The same, and where it is signed by a key that its authority is not known for here, asks that authority for its keys once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_online(terminal: &Terminal, path: &Path) -> Result<Self> {
        let known = terminal.authority()?;
        Self::open_knowing(terminal, path, known.as_ref()).or_else(|(error, unknown_key)| {
            match known.filter(|_| unknown_key).and_then(|known| terminal.renew(&known)) {
                Some(renewed) => Self::open_knowing(terminal, path, Some(&renewed)).map_err(|(error, _)| error),
                None => Err(error),
            }
        })
    }

    /// Where it fails, whether because its key is not known.
    fn open_knowing(terminal: &Terminal, path: &Path, known: Option<&Authority>) -> std::result::Result<Self, (crate::Error, bool)> {
        let mut known_key = true;
        Self::read_and_verify(terminal, path, known, &mut known_key).map_err(|error| (error, !known_key))
    }

    fn read_and_verify(terminal: &Terminal, path: &Path, known: Option<&Authority>, known_key: &mut bool) -> Result<Self> {
        let files = find_area(terminal, path)?;
        let read = read_identity(&**terminal.io(), &*files, path).map(Zeroizing::new);
        let (identity, in_place) = match read.and_then(|bytes| verified(&bytes, known, known_key)) {
            Ok(identity) => (identity, true),
            Err(error) => refresh::recover(terminal, files.root(), known).ok_or(error)?,
        };
        Ok(Self { path: path.to_owned(), files, identity, in_place })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the authority vouches for.
    pub fn identity(&self) -> &IdentityClaims {
        &self.identity.claims
    }

    /// The identity area as it is. It holds the claim secret.
    pub fn area(&self) -> &IdentityArea {
        &self.identity.area
    }

    /// By whose keys the identity was verified.
    pub fn verdict(&self) -> Signature {
        self.identity.signature
    }

    /// What it proves that it is itself with.
    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.identity.secret
    }

    /// The directory that it is, where it is one: others cannot be written, nor those whose only good identity stands where a new one would.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.files.root().filter(|_| self.in_place)
    }

    /// Whether it can be written, and so get new rights and secrets (B7). Found out by writing to it.
    pub fn is_writable(&self, terminal: &Terminal) -> bool {
        refresh::Presented::new(self, &|_| {}).is_refreshable(terminal)
    }

    /// The release of a title that lies on it, verified with the publisher's key that the authority vouches for; with its token. It is the one
    /// that the medium was pressed with, or one that its publisher lists in the feed beside it (A12).
    ///
    /// # Errors
    /// [`MediumError`].
    pub fn release(&self, title: &TitleOnMedium) -> Result<(String, Release)> {
        authentic(&*self.files, title)
    }

    /// The content of a title on it.
    pub(crate) fn content<'a>(&'a self, title: &'a TitleId) -> OnArea<'a> {
        OnArea { area: &*self.files, title }
    }

    /// Bytes of all packs of a title that lie on the medium, opened or not.
    ///
    /// # Errors
    /// [`MediumError::NoContent`], [`MediumError::Unreadable`].
    pub fn packed_size(&self, title: &TitleId) -> Result<u64> {
        let directory = layout::title(title);
        match self.files.lengths(&directory) {
            Ok(files) => Ok(files.iter().filter(|(name, _)| name.ends_with(".pack")).map(|(_, length)| length).sum()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(MediumError::NoContent(title.clone()).into()),
            Err(source) => Err(MediumError::Unreadable { file: directory, offset: 0, source }.into()),
        }
    }
}

/// The release of a title in an area, as [`Medium::release`].
fn authentic(files: &dyn Area, title: &TitleOnMedium) -> Result<(String, Release)> {
    let token = OnArea { area: files, title: &title.title }.token()?;
    let wrong = |reason: String| MediumError::NotAuthentic { title: title.title.clone(), reason };
    let key: VerifyingKey = title.publisher.key.parse().map_err(|_| wrong("its publisher's key is none".into()))?;
    let release = Release::verify(&token, |kid| (kid == title.publisher.id).then_some(key))
        .map_err(|error: ReleaseError| wrong(error.to_string()))?;
    let pressed = release.version == title.release.as_str();
    if release.title != title.title.as_str() || !(pressed || is_listed(files, title, key, &token, &release)) {
        return Err(wrong(format!("it is release {} of `{}`", release.version, release.title)).into());
    }
    Ok((token, release))
}

/// Whether the publisher's feed that lies beside a release lists it, and does not take it back.
fn is_listed(files: &dyn Area, title: &TitleOnMedium, key: VerifyingKey, token: &str, release: &Release) -> bool {
    let feed = read_area(files, &format!("{}/{}", layout::title(&title.title), layout::FEED), MAX_FEED as u64);
    let Some(feed) = feed.ok().and_then(|bytes| String::from_utf8(bytes).ok()) else { return false };
    let Ok(feed) = Feed::verify(&feed, |kid| (kid == title.publisher.id).then_some(key)) else { return false };
    let listed = feed.find(&release.version).filter(|_| feed.title == title.title.as_str());
    listed.is_some_and(|listed| listed.document == ObjectName::of(token.as_bytes()) && !listed.withdrawn)
}

/// Verifies an identity area by the keys that its authority is known for here, or else by those in it. Says whether the key was known.
fn verified(bytes: &[u8], known: Option<&Authority>, known_key: &mut bool) -> Result<Identity> {
    let unknown = |detail: String| refused(Code::MediumUnknown, detail);
    let area: IdentityArea =
        parse_strict(bytes).map_err(|error| unknown(format!("its identity area is damaged or was edited: {error}")))?;
    if area.counterfoil != 1 {
        return Err(unknown(format!("its identity area is of version {}, which this terminal does not know", area.counterfoil)));
    }
    let name = &area.authority.name;
    let (document, signature) = match known.filter(|known| known.document.name == *name) {
        Some(known) => (&known.document, Signature::Pinned),
        None => (&area.authority, Signature::Unpinned),
    };
    let verified = verify_compact(&area.identity, IDENTITY_TYP, |kid| {
        let key = signing_key(document, kid);
        *known_key = key.is_some() || signature == Signature::Unpinned;
        key
    });
    let claims: IdentityClaims = verified.map_err(|error| {
        unknown(if *known_key {
            format!("its identity is not signed by its authority: {error}")
        } else {
            format!(
                "its identity is signed by a key that `{name}` is not known for here; `counterfoil authority refresh` renews what is known"
            )
        })
    })?;
    if claims.iss != *name {
        return Err(unknown(format!("its identity is `{}`'s, and it names `{name}` as its authority", claims.iss)));
    }
    let secret = from_base64url(&area.claim_secret).map(Zeroizing::new).and_then(|bytes| Secret::from_slice(&bytes));
    let secret = secret.ok_or_else(|| unknown("its claim secret is damaged or was edited".into()))?;
    Ok(Identity { area, claims, signature, secret })
}

pub(crate) fn find_area(terminal: &Terminal, path: &Path) -> Result<Box<dyn Area>> {
    let io = terminal.io();
    let not = |reason: String| MediumError::NotAMedium { path: path.to_owned(), reason };
    let metadata = match io.metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not("there is nothing".into()).into()),
        Err(error) => return Err(IoFailure::at("read", path)(error).into()),
    };
    if metadata.directory {
        return Ok(Box::new(directory::Directory { io: io.clone(), path: path.to_owned() }));
    }
    if path.file_name().is_some_and(|name| name == layout::IDENTITY || name == layout::NOTICE) {
        return Ok(Box::new(directory::Directory { io: io.clone(), path: parent(path).to_owned() }));
    }
    let file: Box<dyn ReadAt> = io.open(path).map_err(IoFailure::at("read", path))?;
    let image = image::Image::open(Arc::from(file)).map_err(IoFailure::at("read", path))?;
    Ok(Box::new(image.ok_or_else(|| not("it is neither a directory nor an ISO image".into()))?))
}

fn read_identity(io: &dyn Io, area: &dyn Area, path: &Path) -> Result<Vec<u8>> {
    match read_area(area, layout::IDENTITY, IdentityArea::LIMIT as u64) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound && area.open(layout::NOTICE).is_ok() => {
            Err(MediumError::WithoutIdentity(path.to_owned()).into())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let below = medium_below(io, path).map(|medium| format!("; {} does", medium.display())).unwrap_or_default();
            Err(MediumError::NotAMedium { path: path.to_owned(), reason: format!("it holds no `identity.json`{below}") }.into())
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(refused(Code::MediumUnknown, format!("its identity area is damaged or was edited: {error}")))
        }
        Err(source) => Err(MediumError::Unreadable { file: layout::IDENTITY.into(), offset: 0, source }.into()),
    }
}

/// The first medium that is written below a directory of media: it is easily given in the place of one of them.
fn medium_below(io: &dyn Io, path: &Path) -> Option<PathBuf> {
    const LOOKED_AT: usize = 100;
    let mut names = io.list(path).ok()?;
    names.sort();
    names.into_iter().take(LOOKED_AT).map(|name| path.join(name)).find(|below| io.metadata(&below.join(layout::IDENTITY)).is_ok())
}

pub(crate) fn read_area(area: &dyn Area, file: &str, limit: u64) -> io::Result<Vec<u8>> {
    let file = area.open(file)?;
    let size = file.size()?;
    if size > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has {size} bytes instead of at most {limit}")));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
