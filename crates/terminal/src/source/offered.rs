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
use counterfoil_format::encoding::from_base64url;
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
        let (path, token) = match self {
            Self::File(file) if file.title != *title => {
                let (found, wanted) = (format!("`{}`", file.title), format!("`{title}`"));
                return Err(InstallError::Other { path: file.path().to_owned(), found, wanted }.into());
            }
            Self::File(file) => (file.path(), file.token.clone()),
            Self::Area(path, area) => (path.as_path(), OnArea { area: &**area, title }.token()?),
        };
        version(&token).ok_or_else(|| InstallError::File { path: path.to_owned(), reason: "its release document is none".into() }.into())
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
    let payload = from_base64url(token.split('.').nth(1)?)?;
    serde_json::from_slice::<Payload>(&payload).ok().map(|payload| payload.version)
}
