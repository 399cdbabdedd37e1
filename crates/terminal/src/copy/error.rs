//! Why a copy did not come to its end.

use counterfoil_core::{ReleaseVersion, TitleId};

/// Why a copy did not come to its end. Repeating the command goes on where it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// Not enough room on the drive; said before anything is claimed, where it can be.
    #[error("the drive has {free} bytes free, and {needed} are needed")]
    Space {
        /// Bytes to be written.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The library holds the same releases, from another medium; nothing was claimed.
    #[error("the library holds {title} {release} already, from another medium")]
    Present {
        /// One of the titles.
        title: TitleId,
        /// Its release, which is the medium's as well.
        release: ReleaseVersion,
    },
    /// A chunk on the medium is not what its publisher signed.
    #[error("the medium is damaged: {file} at {offset}: {reason}")]
    Damaged {
        /// Which file on the medium.
        file: String,
        /// Where the chunk begins in it.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Complete and playable; only the authority has not been told.
    #[error("the copy is complete and plays, but the authority could not be told: {0}")]
    NotConfirmed(Box<crate::Error>),
    /// The grant is not for what is on the medium.
    #[error("the authority's grant does not fit the medium: {0}")]
    Grant(String),
}

impl CopyError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            CopyError::Space { .. } => "no_space",
            CopyError::Present { .. } => "present",
            CopyError::Damaged { .. } => "medium_damaged",
            CopyError::NotConfirmed(inner) => inner.code(),
            CopyError::Grant(_) => "answer_not_understood",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> String {
        match self {
            CopyError::Space { .. } => "Free some space on that drive, or name a library on another: nothing was used up.".into(),
            CopyError::Present { .. } => {
                "This medium keeps its one copy. To use it up all the same, repeat the command with `--again`; to mend a damaged library: `counterfoil verify --repair-from`.".into()
            }
            CopyError::Damaged { .. } => {
                "Clean the medium, then repeat the command with the same one: it goes on where it was. Another one would be used up as well.".into()
            }
            CopyError::NotConfirmed(_) => "Repeat the command when the authority can be reached; nothing is copied again.".into(),
            CopyError::Grant(_) => "Repeat the command. If it stays so, ask the publisher.".into(),
        }
    }
}
