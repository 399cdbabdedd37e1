//! What a person names to install from or to heal from: an installation file, or whatever has a content area.

use super::Source;
use super::area::OnArea;
use crate::error::Result;
use crate::image::InstallationFile;
use crate::install::InstallError;
use crate::io::IoFailure;
use crate::medium::{Area, find_area};
use crate::terminal::Terminal;
use counterfoil_core::{ReleaseVersion, TitleId};
use counterfoil_format::content::ReadAt;
use counterfoil_format::jws::unverified_payload;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A file, directory or image with the content of titles.
pub(crate) enum Offered {
    File(InstallationFile),
    Area(PathBuf, Box<dyn Area>),
}

impl Offered {
    /// Opens what is at a path.
    pub fn open(terminal: &Terminal, path: &Path) -> Result<Self> {
        let io = terminal.io();
        if io.metadata(path).is_ok_and(|metadata| !metadata.directory) {
            let file: Box<dyn ReadAt> = io.open(path).map_err(IoFailure::at("read", path))?;
            if InstallationFile::is_one(&*file) {
                return Ok(Self::File(InstallationFile::open(path, file)?));
            }
        }
        Ok(Self::Area(path.to_owned(), find_area(terminal, path)?))
    }

    /// Which release of a title it holds, by what stands there: it is verified when it is installed.
    pub fn release(&self, title: &TitleId) -> Result<ReleaseVersion> {
        version(&self.token(title)?).ok_or_else(|| self.wrong("its release document is none"))
    }

    /// Checks that it holds the release of that document, and says so itself.
    pub fn check(&self, title: &TitleId, token: &str) -> Result<()> {
        if self.token(title)? == token { Ok(()) } else { Err(self.wrong("its release document is not the one that the authority knows")) }
    }

    fn token(&self, title: &TitleId) -> Result<String> {
        match self {
            Self::File(file) if file.title != *title => {
                let (found, wanted) = (format!("`{}`", file.title), format!("`{title}`"));
                Err(InstallError::Other { path: file.path.clone(), found, wanted }.into())
            }
            Self::File(file) => Ok(file.token.clone()),
            Self::Area(_, area) => OnArea { area: &**area, title }.token(),
        }
    }

    fn wrong(&self, reason: &str) -> crate::Error {
        let (Self::File(InstallationFile { path, .. }) | Self::Area(path, _)) = self;
        InstallError::File { path: path.clone(), reason: reason.into() }.into()
    }

    /// The objects of a title.
    pub fn source<'a>(&'a self, title: &'a TitleId) -> Box<dyn Source + 'a> {
        match self {
            Self::File(file) => Box::new(file),
            Self::Area(_, area) => Box::new(OnArea { area: &**area, title }),
        }
    }
}

/// The version in a release document whose signature nobody has looked at.
fn version(token: &str) -> Option<ReleaseVersion> {
    #[derive(Deserialize)]
    struct Payload {
        version: ReleaseVersion,
    }
    serde_json::from_slice::<Payload>(&unverified_payload(token)?).ok().map(|payload| payload.version)
}
