//! Why an installation did not come to its end.

use counterfoil_core::{ReleaseVersion, TitleId};
use counterfoil_format::content::ObjectName;
use std::path::PathBuf;

/// Why an installation did not come to its end. Repeating the command goes on where it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// What came over the network is not what its publisher signed.
    #[error("{what} sent a damaged chunk: pack {pack} at {offset}: {reason}")]
    Damaged {
        /// Who sent it.
        what: String,
        /// In which pack.
        pack: ObjectName,
        /// Where it begins in it, in bytes.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The release is not what the publisher has signed, or the manifest not what the release says.
    #[error("`{title}` is not as its publisher made it: {reason}")]
    NotAuthentic {
        /// Which title.
        title: TitleId,
        /// What is wrong.
        reason: String,
    },
    /// It is no installation file, or was cut off or altered.
    #[error("{} cannot be installed from: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is of something else.
    #[error("{} holds {found}, not {wanted}", path.display())]
    Other {
        /// Which file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What is to be installed.
        wanted: String,
    },
    /// The authority's license is not what was asked for.
    #[error("the authority's license does not fit: {0}")]
    License(String),
    /// Another release is half installed.
    #[error("{title} {begun} is being installed")]
    Begun {
        /// Which title.
        title: TitleId,
        /// Which release of it.
        begun: ReleaseVersion,
    },
}

impl InstallError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            InstallError::Damaged { .. } => "content_damaged",
            InstallError::NotAuthentic { .. } => "content_not_authentic",
            InstallError::File { .. } => "bad_installation_file",
            InstallError::Other { .. } => "other_title",
            InstallError::License(_) => "answer_not_understood",
            InstallError::Begun { .. } => "begun",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> String {
        match self {
            InstallError::Damaged { .. } => "Repeat the command: it goes on where it was. If it stays so, tell the operator.".into(),
            InstallError::NotAuthentic { .. } => {
                "Repeat the command. If it stays so, tell the operator: nothing of it was installed.".into()
            }
            InstallError::File { .. } => "Make it anew: `counterfoil download TITLE --file FILE`.".into(),
            InstallError::Other { .. } => "Name the file of that title and release, or leave `--release` out.".into(),
            InstallError::License(_) => "Update the terminal, then repeat the command.".into(),
            InstallError::Begun { title, .. } => {
                format!("Let that come to its end: `counterfoil install {title}`. Then install the other one with `--again`.")
            }
        }
    }
}
