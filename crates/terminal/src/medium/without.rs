//! Media without an identity (C18): everybody's is the same, nothing on them can be claimed, and the key is bought when they are copied.

use super::{Area, Medium, MediumError, Signature, authentic, find_area, layout, read_area};
use crate::error::Result;
use crate::exchange::refused;
use crate::home::Authority;
use crate::terminal::{Terminal, signing_key};
use counterfoil_core::wire::{AuthorityDocument, IdentityArea, Notice, NoticeClaims, TitleOnMedium};
use counterfoil_core::{Code, TitleId};
use counterfoil_format::content::Release;
use counterfoil_format::encoding::parse_strict;
use counterfoil_format::jws::verify_compact;
use std::io;
use std::path::{Path, PathBuf};

/// `typ` of the notice on media without an identity.
pub const NOTICE_TYP: &str = "counterfoil-notice+jwt";

/// A medium of either sort.
pub enum Opened {
    /// It has an identity, whose copies are claimed.
    Medium(Box<Medium>),
    /// It has none.
    WithoutIdentity(Box<WithoutIdentity>),
}

/// A medium without an identity, whose notice was read and verified.
pub struct WithoutIdentity {
    path: PathBuf,
    files: Box<dyn Area>,
    claims: NoticeClaims,
    authority: AuthorityDocument,
    signature: Signature,
}

impl Opened {
    /// Opens a medium of either sort, as [`Medium::open`] does.
    ///
    /// # Errors
    /// As [`Medium::open`].
    pub fn open(terminal: &Terminal, path: &Path) -> Result<Self> {
        match Medium::open(terminal, path) {
            Err(error) if is_without(&error) => Self::without(terminal, path, terminal.authority()?.as_ref()),
            opened => opened.map(|medium| Self::Medium(Box::new(medium))),
        }
    }

    /// The same, as [`Medium::open_online`].
    ///
    /// # Errors
    /// As [`Medium::open_online`].
    pub fn open_online(terminal: &Terminal, path: &Path) -> Result<Self> {
        match Medium::open_online(terminal, path) {
            Err(error) if is_without(&error) => {
                let known = terminal.authority()?;
                let opened = Self::without(terminal, path, known.as_ref());
                // Signed by a key that came after those that are known here, perhaps.
                let refused = matches!(&opened, Err(crate::Error::Refused(_)));
                match known.filter(|_| refused).and_then(|known| terminal.renew(&known)) {
                    Some(renewed) => Self::without(terminal, path, Some(&renewed)),
                    None => opened,
                }
            }
            opened => opened.map(|medium| Self::Medium(Box::new(medium))),
        }
    }

    fn without(terminal: &Terminal, path: &Path, known: Option<&Authority>) -> Result<Self> {
        let files = find_area(terminal, path)?;
        let bytes = read_area(&*files, layout::NOTICE, IdentityArea::LIMIT as u64).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => unknown(format!("its notice is damaged or was edited: {source}")),
            _ => MediumError::Unreadable { file: layout::NOTICE.into(), offset: 0, source }.into(),
        })?;
        let (claims, authority, signature) = verified(&bytes, known)?;
        let without = WithoutIdentity { path: path.to_owned(), files, claims, authority, signature };
        Ok(Self::WithoutIdentity(Box::new(without)))
    }
}

impl WithoutIdentity {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the authority vouches for.
    pub fn claims(&self) -> &NoticeClaims {
        &self.claims
    }

    /// Who sells its keys.
    pub fn authority(&self) -> &AuthorityDocument {
        &self.authority
    }

    /// By whose keys the notice was verified.
    pub fn verdict(&self) -> Signature {
        self.signature
    }

    /// The release of a title that lies on it, verified as [`Medium::release`]; with its token.
    ///
    /// # Errors
    /// [`MediumError`].
    pub fn release(&self, title: &TitleOnMedium) -> Result<(String, Release)> {
        authentic(&*self.files, title)
    }

    /// Has the terminal meet the authority that sells its keys, and checks that it is the one that this home belongs to.
    ///
    /// # Errors
    /// [`Code::MediumUnknown`] where it belongs to another; as [`Terminal::meet_by`].
    pub fn meet(&self, terminal: &Terminal) -> Result<Authority> {
        let known = terminal.meet_by(&self.authority)?;
        let (own, home) = (&self.authority.name, &known.document.name);
        if own == home {
            return Ok(known);
        }
        Err(unknown(format!("it belongs to the authority `{own}`, and this home to `{home}`; use another home: `--home DIR`")))
    }

    /// The titles on it.
    pub fn titles(&self) -> impl Iterator<Item = &TitleId> {
        self.claims.titles.iter().map(|title| &title.title)
    }
}

fn is_without(error: &crate::Error) -> bool {
    matches!(error, crate::Error::Medium(MediumError::WithoutIdentity(_)))
}

fn unknown(detail: String) -> crate::Error {
    refused(Code::MediumUnknown, detail)
}

/// Verifies a notice by the keys that its authority is known for here, or else by those in it.
fn verified(bytes: &[u8], known: Option<&Authority>) -> Result<(NoticeClaims, AuthorityDocument, Signature)> {
    let notice: Notice = parse_strict(bytes).map_err(|error| unknown(format!("its notice is damaged or was edited: {error}")))?;
    if notice.counterfoil != 1 {
        return Err(unknown(format!("its notice is of version {}, which this terminal does not know", notice.counterfoil)));
    }
    let name = &notice.authority.name;
    let (document, signature) = match known.filter(|known| known.document.name == *name) {
        Some(known) => (&known.document, Signature::Pinned),
        None => (&notice.authority, Signature::Unpinned),
    };
    let claims: NoticeClaims = verify_compact(&notice.notice, NOTICE_TYP, |kid| signing_key(document, kid))
        .map_err(|error| unknown(format!("its notice is not signed by its authority: {error}")))?;
    if claims.iss != *name || claims.titles.is_empty() {
        return Err(unknown(format!("its notice is `{}`'s, and it names `{name}` as its authority", claims.iss)));
    }
    Ok((claims, notice.authority, signature))
}
