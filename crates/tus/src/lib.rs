//! The server's half of tus 1.0 (<https://tus.io/protocols/resumable-upload>) without I/O: a request's method and headers become a typed
//! [`Request`], and what is to be answered a [`Head`].
//!
//! Where bytes and offsets are kept, who may do what, and which of two concurrent requests wins is the caller's. A body is taken like this:
//!
//! ```text
//! let server = Server { max_size: Some(limit), extensions: &[Extension::Creation, Extension::Expiration] };
//! match server.read(&method, &headers)? {                      // Err: answer server.refused(&error)
//!     Request::Patch(patch) => {
//!         let room = patch.room(received, length)?;             // 409, 413 before a byte is read
//!         // take at most `room` bytes of the body, store them, move the offset; more than that: Error::TooLarge
//!         server.accepted(new_offset, expires)                  // 204
//!     }
//!     …
//! }
//! ```
//!
//! Extensions: creation, termination, expiration, checksum (`sha1`, `sha256`). Deferred lengths, uploads with the creation and concatenation
//! are not offered, which the protocol allows.

mod checksum;
mod error;
mod head;
mod metadata;
mod request;

pub use checksum::{Algorithm, Checksum, Summing};
pub use error::Error;
pub use head::{Head, State};
pub use metadata::Metadata;
pub use request::{Create, Patch, Request};

/// The one version of the protocol that is spoken.
pub const VERSION: &str = "1.0.0";
/// The media type of a `PATCH` body.
pub const BODY_TYPE: &str = "application/offset+octet-stream";

/// What a server can do beside the core of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// `POST` makes an upload.
    Creation,
    /// `DELETE` takes one away.
    Termination,
    /// Uploads end at a time that is told.
    Expiration,
    /// A `PATCH` may bring the hash of its body.
    Checksum,
}

impl Extension {
    /// As in `Tus-Extension`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creation => "creation",
            Self::Termination => "termination",
            Self::Expiration => "expiration",
            Self::Checksum => "checksum",
        }
    }
}

/// What a server says of itself, and holds requests to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// The most that one upload may have, in bytes.
    pub max_size: Option<u64>,
    /// What it offers.
    pub extensions: &'static [Extension],
}

impl Server {
    /// Whether it offers something.
    pub fn offers(&self, extension: Extension) -> bool {
        self.extensions.contains(&extension)
    }
}

/// Names of the protocol's headers, lower case.
pub mod header {
    use http::HeaderName;

    /// Version that is spoken.
    pub const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
    /// Versions that a server knows.
    pub const SERVER_VERSION: HeaderName = HeaderName::from_static("tus-version");
    /// What it offers.
    pub const EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
    /// The most that an upload may have.
    pub const MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
    /// Hashes that it knows.
    pub const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
    /// Where a body belongs, or how far an upload is.
    pub const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
    /// Bytes of an upload.
    pub const LENGTH: HeaderName = HeaderName::from_static("upload-length");
    /// A length that follows later.
    pub const DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
    /// What the client says of an upload.
    pub const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
    /// When an upload ends.
    pub const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
    /// The hash of a body.
    pub const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
    /// The method that is meant, from clients that cannot send it.
    pub const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
}
