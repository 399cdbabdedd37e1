//! The hash of one `PATCH` body (extension `checksum`).

use aws_lc_rs::{constant_time, digest};
use base64::prelude::{BASE64_STANDARD, Engine as _};

/// A hash that bodies are checked by. SHA-1 is the one that every server must know; it is against accidents only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 3174.
    Sha1,
    /// FIPS 180-4.
    Sha256,
}

impl Algorithm {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Sha1, Self::Sha256];

    /// As in `Upload-Checksum`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        }
    }
}

/// What a body is to hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// By what.
    pub algorithm: Algorithm,
    /// The hash.
    pub digest: Vec<u8>,
}

impl Checksum {
    /// From the header's value; `None` where it is not of its form, or of an unknown algorithm.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, hash) = text.split_once(' ')?;
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)?;
        let digest = BASE64_STANDARD.decode(hash).ok()?;
        (digest.len() == algorithm.digest().output_len()).then_some(Self { algorithm, digest })
    }

    /// Begins to hash a body.
    pub fn begin(&self) -> Summing {
        Summing(digest::Context::new(self.algorithm.digest()))
    }

    /// Whether the body was the one that was meant.
    pub fn matches(&self, body: Summing) -> bool {
        constant_time::verify_slices_are_equal(body.0.finish().as_ref(), &self.digest).is_ok()
    }
}

/// A body on its way.
pub struct Summing(digest::Context);

impl Summing {
    /// The next bytes of it.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example_is_the_hash_of_its_body() {
        let checksum = Checksum::parse("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").expect("as in the specification");
        let mut body = checksum.begin();
        body.update(b"hello ");
        body.update(b"world");
        assert!(checksum.matches(body));
        let mut other = checksum.begin();
        other.update(b"hello worle");
        assert!(!checksum.matches(other));
    }

    #[test]
    fn other_forms_are_none() {
        for text in [
            "",
            "sha1",
            "sha1 ",
            "sha1 AAAA",
            "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "md5 XUFAKrxLKna5cZ2REBfFkg==",
            "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        ] {
            assert_eq!(Checksum::parse(text), None, "{text:?}");
        }
    }
}
