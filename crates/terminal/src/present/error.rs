//! Why nothing came of a presentation.

use crate::error::Error;
use crate::transport::TransportError;
use counterfoil_core::TitleId;

/// What is wrong, with the provider or with what is wanted of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PresentError {
    /// Anybody in between could answer there.
    #[error("{0} is no provider's address: it must be https, or on this computer")]
    Address(String),
    /// It has media of others judged.
    #[error("{url} serves media of the authority `{asked}`, and this one is of `{known}`")]
    OtherAuthority {
        /// Where.
        url: String,
        /// As it says.
        asked: String,
        /// Whose this home or medium is.
        known: String,
    },
    /// It says no.
    #[error("the provider refuses: {0}")]
    Refused(String),
    /// It answers as no provider does.
    #[error("this is no provider's answer: {0}")]
    Strange(String),
    /// What came is not what was announced.
    #[error("`{name}` is not what the provider announced: {reason}")]
    Damaged {
        /// Which.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// There is nothing of that name.
    #[error("the provider offers no `{0}` for this")]
    NotOffered(String),
    /// It does not take this.
    #[error("`{name}` is not taken: {reason}")]
    NotTaken {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// Neither medium nor library can keep something for a title.
    #[error("there is no place for what is received for `{0}`: the medium cannot be written, and the library does not hold it")]
    NoPlace(TitleId),
    /// Nothing was received under that name.
    #[error("nothing was received under the name `{0}`")]
    NotThere(String),
}

impl PresentError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            PresentError::Address(_) => "provider_address",
            PresentError::OtherAuthority { .. } => "other_authority",
            PresentError::Refused(_) => "provider_refused",
            PresentError::Strange(_) => "not_a_provider",
            PresentError::Damaged { .. } => "received_damaged",
            PresentError::NotOffered(_) => "not_offered",
            PresentError::NotTaken { .. } => "not_taken",
            PresentError::NoPlace(_) => "no_place",
            PresentError::NotThere(_) => "not_received",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self {
            PresentError::Address(_) => "Check the address, which begins with https://.",
            PresentError::OtherAuthority { .. } => {
                "Nothing was told to it. Ask the provider, or use the home that belongs to that authority: `--home DIR`."
            }
            PresentError::Refused(_) => "`counterfoil inspect MEDIUM` shows what the medium allows; ask the provider about the rest.",
            PresentError::Strange(_) => "Check the address. If it is right, ask the provider.",
            PresentError::Damaged { .. } => "Nothing of it was kept. Repeat the command; if it stays so, ask the provider.",
            PresentError::NotOffered(_) => "`counterfoil present MEDIUM --to URL` shows what there is.",
            PresentError::NotTaken { .. } => "`counterfoil present MEDIUM --to URL` shows what is taken.",
            PresentError::NoPlace(_) => "Copy the medium into the library first: `counterfoil copy MEDIUM`.",
            PresentError::NotThere(_) => "`counterfoil received list` shows what was.",
        }
    }

    /// Whether somebody says no, and the same again would be refused again.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, PresentError::Strange(_) | PresentError::Damaged { .. })
    }
}

/// A provider's own "no" has codes of its own, which are the provider's to explain.
pub(super) fn refused(error: Error) -> Error {
    match error {
        Error::Transport(TransportError::Status { status: 400..=428 | 430..=499, detail, .. }) => PresentError::Refused(detail).into(),
        other => other,
    }
}
