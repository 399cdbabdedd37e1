//! What is wrong with a request, and the status that says so.

use http::{HeaderName, StatusCode};

/// Why a request is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// 412: no version of the protocol is named, or another.
    #[error("this server speaks tus {}", crate::VERSION)]
    Version,
    /// 405: a method that means nothing here.
    #[error("tus has no such method here")]
    Method,
    /// 400: a header is missing.
    #[error("{0} is missing")]
    Missing(HeaderName),
    /// 400: a header is there twice, or not of its form.
    #[error("{0} is not of the form that tus gives it")]
    Invalid(HeaderName),
    /// 400: something that this server does not offer.
    #[error("this server does not offer {0}")]
    NotOffered(&'static str),
    /// 415: the body of a `PATCH` has another type.
    #[error("a PATCH has the type {}", crate::BODY_TYPE)]
    ContentType,
    /// 409: the body belongs elsewhere.
    #[error("the upload has {have} bytes so far")]
    Offset {
        /// How many there are.
        have: u64,
    },
    /// 413: more than was announced, or than is taken.
    #[error("the upload may have {max} bytes")]
    TooLarge {
        /// How many may be.
        max: u64,
    },
    /// 460: the body has another hash than the request says.
    #[error("the body has another checksum than was sent with it")]
    ChecksumMismatch,
    /// 404: no such upload.
    #[error("there is no such upload")]
    Unknown,
    /// 410: it has ended.
    #[error("the upload is over")]
    Gone,
}

impl Error {
    /// The status that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Version => StatusCode::PRECONDITION_FAILED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Missing(_) | Self::Invalid(_) | Self::NotOffered(_) => StatusCode::BAD_REQUEST,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Offset { .. } => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ChecksumMismatch => StatusCode::from_u16(460).expect("between 100 and 999"),
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Gone => StatusCode::GONE,
        }
    }
}
