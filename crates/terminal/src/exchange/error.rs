//! What goes wrong between envelope and answer.

use counterfoil_format::envelope::EnvelopeError;
use counterfoil_format::jws::JwsError;

/// Why a request was not sealed or an answer not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The authority names no key that requests can be sealed to.
    #[error("the authority `{0}` names no key to seal requests to")]
    NoSealingKey(String),
    /// Not sealed.
    #[error("the request cannot be sealed: {0}")]
    Sealing(#[from] EnvelopeError),
    /// Not signed by the authority that this home knows.
    #[error("the answer is not the authority's: {0}")]
    Signature(#[from] JwsError),
    /// Sealed for another request, or changed on the way.
    #[error("the answer was sealed for another request, or changed on the way")]
    Sealed,
    /// Signed by the authority, and an answer to something else.
    #[error("the answer is for another request")]
    OtherRequest,
    /// Signed by the authority, and not understood.
    #[error("the answer is not understood: {0}")]
    Shape(String),
}

impl ExchangeError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            ExchangeError::NoSealingKey(_) | ExchangeError::Sealing(_) => "not_sealed",
            ExchangeError::Signature(_) | ExchangeError::Sealed | ExchangeError::OtherRequest => "answer_not_authentic",
            ExchangeError::Shape(_) => "answer_not_understood",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self {
            ExchangeError::Shape(_) => "Update the terminal, then repeat the command.",
            _ => "If the authority has changed its keys: `counterfoil authority refresh`. Then repeat the command.",
        }
    }
}
