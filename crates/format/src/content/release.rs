//! The release document: what a publisher signs, offline, for terminals to check before they use a byte.

use serde::{Deserialize, Serialize};

use super::chunk::{ChunkError, Decoder, OVERHEAD};
use super::codec::{ManifestError, limits};
use super::keys::ChunkKeys;
use super::manifest::{EntryKind, Manifest};
use super::names::{ChunkId, ObjectName};
use super::path::check_path;
use crate::jws::{JwsError, sign_compact, verify_compact};
use crate::sign::{SigningKey, VerifyingKey};

/// `typ` of a release document.
pub const RELEASE_TYP: &str = "counterfoil-release+jwt";

/// One published version of a title (SPEC.md §5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The title's slug: 1–64 lowercase letters, digits and inner hyphens.
    pub title: String,
    /// The version, 1–64 of `A–Z a–z 0–9 . + - _ ~`.
    pub version: String,
    /// What kind of content it is.
    pub kind: Kind,
    /// Path of the file that is run or played first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Path of the program that runs on installation and removal (D4), with `install` or `uninstall` as its argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// Generation of the content key that it is sealed under.
    pub generation: u32,
    /// Bytes of all files together.
    pub size: u64,
    /// Number of regular files.
    pub files: u64,
    /// The manifest.
    pub manifest: ManifestRef,
}

/// What kind of content a title is (C1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A game.
    Game,
    /// Music.
    Music,
    /// A movie.
    Movie,
    /// Any other program.
    App,
}

/// A sealed manifest: where it is and what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRef {
    /// Its name as a chunk, which stays the same under the library key.
    pub id: ChunkId,
    /// Its name as an object in a store or on a medium, sealed under the content key.
    pub object: ObjectName,
    /// Its sealed length in bytes.
    pub length: u64,
    /// Its length in bytes when opened and decompressed.
    pub size: u64,
}

/// Why a release, or the manifest that it names, was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Not signed by the publisher as a release document.
    #[error("release document: {0}")]
    Signature(#[from] JwsError),
    /// A member has a value that it cannot have.
    #[error("release document has an impossible `{0}`")]
    Member(&'static str),
    /// The sealed manifest has another length than the release says.
    #[error("sealed manifest has {found} bytes instead of {expected}")]
    Length {
        /// Bytes that the release names.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The sealed manifest is not the object that the release names.
    #[error("sealed manifest is object {found} instead of {expected}")]
    Object {
        /// The object that the release names.
        expected: ObjectName,
        /// What is there.
        found: ObjectName,
    },
    /// The sealed manifest does not open.
    #[error("manifest {0}")]
    Chunk(#[from] ChunkError),
    /// It opened, and is no good manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It opened, and is another release's.
    #[error("manifest has another {0} than its release says")]
    Mismatch(&'static str),
}

impl Release {
    /// The release document, signed by the publisher.
    pub fn sign(&self, kid: &str, key: &SigningKey) -> String {
        sign_compact(RELEASE_TYP, kid, self, key)
    }

    /// Checks signature and members of a release document. `keys` answers with the publisher's key of a `kid`.
    pub fn verify(token: &str, keys: impl FnOnce(&str) -> Option<VerifyingKey>) -> Result<Self, ReleaseError> {
        let release: Self = verify_compact(token, RELEASE_TYP, keys)?;
        release.check()?;
        Ok(release)
    }

    /// Checks that every member has a possible value; [`verify`](Self::verify) has done so.
    pub fn check(&self) -> Result<(), ReleaseError> {
        if !is_slug(&self.title) {
            return Err(ReleaseError::Member("title"));
        }
        if !is_version(&self.version) {
            return Err(ReleaseError::Member("version"));
        }
        if self.entry.as_deref().is_some_and(|entry| check_path(entry).is_err()) {
            return Err(ReleaseError::Member("entry"));
        }
        if self.control.as_deref().is_some_and(|control| check_path(control).is_err()) {
            return Err(ReleaseError::Member("control"));
        }
        let most = limits::MANIFEST_BYTES as u64;
        if self.manifest.size > most || self.manifest.length > most + OVERHEAD as u64 {
            return Err(ReleaseError::Member("manifest"));
        }
        Ok(())
    }

    /// Checks that a manifest sealed under the content key is the object that the release names.
    ///
    /// Under the library key its bytes differ; there, [`open_manifest`](Self::open_manifest) alone is the check.
    pub fn check_manifest_object(&self, sealed: &[u8]) -> Result<(), ReleaseError> {
        self.check_length(sealed)?;
        let (expected, found) = (self.manifest.object, ObjectName::of(sealed));
        if expected == found { Ok(()) } else { Err(ReleaseError::Object { expected, found }) }
    }

    /// Opens, in place, a manifest sealed under content key or library key, and checks that it is this release's.
    pub fn open_manifest(&self, keys: &ChunkKeys, sealed: &mut [u8]) -> Result<Manifest, ReleaseError> {
        self.check_length(sealed)?;
        let body = keys.open_in_place(&self.manifest.id, sealed)?;
        // The size is the publisher's word, bounded by `check`.
        self.check()?;
        let mut plain = vec![0; self.manifest.size as usize];
        Decoder::new().map_err(|_| ChunkError::Compression)?.decode(body, &mut plain)?;
        let manifest = Manifest::parse(&plain)?;
        if manifest.size() != self.size {
            return Err(ReleaseError::Mismatch("size"));
        }
        if manifest.files() != self.files {
            return Err(ReleaseError::Mismatch("number of files"));
        }
        for (path, member) in [(&self.entry, "entry"), (&self.control, "control")] {
            let found = path.as_ref().map(|path| manifest.find(path).map(|index| manifest.entry(index).kind));
            if !matches!(found, None | Some(Some(EntryKind::File { .. } | EntryKind::Link { .. }))) {
                return Err(ReleaseError::Mismatch(member));
            }
        }
        Ok(manifest)
    }

    fn check_length(&self, sealed: &[u8]) -> Result<(), ReleaseError> {
        let (expected, found) = (self.manifest.length, sealed.len() as u64);
        if expected == found { Ok(()) } else { Err(ReleaseError::Length { expected, found }) }
    }
}

/// A title's name: 1–64 lowercase letters, digits and inner hyphens.
pub(super) fn is_slug(text: &str) -> bool {
    is_label(text, 64)
}

/// Lowercase letters, digits and inner hyphens; at least one.
pub(super) fn is_label(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A version: 1–64 of `A–Z a–z 0–9 . + - _ ~`.
pub(super) fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-_~".contains(&b))
}
