//! Why an update did not come to its end.

use counterfoil_core::{ReleaseVersion, TitleId};

/// Why an update did not come to its end. What is played is as it was before; repeating the command goes on where it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// A patch does not give what the publisher signed: it is damaged, for something else, or what it is applied to is damaged.
    #[error("the patch {object} cannot be used: {reason}")]
    Patch {
        /// Its name as an object.
        object: String,
        /// What is wrong.
        reason: String,
    },
    /// None of the ways led there.
    #[error("`{title}` cannot be brought to {release}: {last}")]
    NoWay {
        /// Which title.
        title: TitleId,
        /// To which release.
        release: ReleaseVersion,
        /// What went wrong on the last way.
        last: Box<crate::Error>,
    },
    /// Chunks that are damaged could not be fetched either.
    #[error("{count} damaged chunks of `{title}` could not be healed")]
    NotHealed {
        /// Which title.
        title: TitleId,
        /// How many are left.
        count: usize,
    },
    /// No earlier release is kept.
    #[error("no earlier release of `{0}` is in the library")]
    NothingBefore(TitleId),
}

impl UpdateError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            UpdateError::Patch { .. } => "patch_unusable",
            UpdateError::NoWay { last, .. } => last.code(),
            UpdateError::NotHealed { .. } => "damaged",
            UpdateError::NothingBefore(_) => "nothing_before",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> String {
        match self {
            UpdateError::Patch { .. } => "Repeat the command: another way is taken.".into(),
            UpdateError::NoWay { last, .. } => last.hint().unwrap_or_else(|| "Repeat the command; it goes on where it was.".into()),
            UpdateError::NotHealed { title, .. } => format!("`counterfoil verify {title} --repair-from MEDIUM` heals it from its medium."),
            UpdateError::NothingBefore(title) => format!("Fetch one: `counterfoil update {title} --to VERSION`."),
        }
    }
}
