//! The feed: which releases of a title are good, as the publisher signed it last; and the authority's word that it is the newest.
//!
//! A release document says what a release is made of, and stays true for ever. Which one is to be installed changes, so that is said in
//! a document of its own, which has a number and an end: whoever keeps it back or shows an old one is found out (SPEC.md §11).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::names::ObjectName;
use super::release::{is_label, is_slug, is_version};
use crate::jws::{JwsError, sign_compact, verify_compact};
use crate::jwt::{self, Demands, JwtError, KeyList};
use crate::sign::{SigningKey, VerifyingKey};

/// `typ` of a feed.
pub const FEED_TYP: &str = "counterfoil-feed+jwt";
/// `typ` of the authority's word that a feed is the newest.
pub const FRESH_TYP: &str = "counterfoil-fresh+jwt";
/// Longest feed that is looked at, in bytes.
pub const MAX_FEED: usize = 256 * 1024;
/// Most releases in a feed; a publisher who has more leaves the oldest out.
pub const MAX_LISTED: usize = 1000;
/// Longest notes of a release, in bytes.
pub const MAX_NOTES: usize = 4096;
/// Longest time that a feed is good for, in seconds: a year and a day.
pub const MAX_VALIDITY: i64 = 366 * 24 * 60 * 60;
/// Highest number of a feed: what every reader of JSON can count to.
const MAX_SEQUENCE: u64 = (1 << 53) - 1;

/// What a publisher says of the releases of a title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// The title's slug.
    pub title: String,
    /// Counts the feeds of a title, from 1. A reader who has seen one accepts none with a lower number.
    pub sequence: u64,
    /// Seconds since 1970.
    pub issued_at: i64,
    /// Not to be updated by from then on; seconds since 1970, [`MAX_VALIDITY`] after `issued_at` at most.
    pub expires_at: i64,
    /// The releases in the order in which they follow each other, the oldest first.
    pub releases: Vec<ListedRelease>,
}

/// A release as the feed lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRelease {
    /// Its version.
    pub version: String,
    /// BLAKE3 of its release document, the compact JWS as text.
    pub document: ObjectName,
    /// For whom it is meant: 1–32 lowercase letters, digits and inner hyphens.
    pub channel: String,
    /// It mends something dangerous.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub critical: bool,
    /// For people: what is new; text without control characters but line feeds and tabs, [`MAX_NOTES`] bytes at most.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// It is not to be installed any more, and whoever has it is to leave it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// Whether whoever has a later one may go back to it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub allow_back: bool,
}

/// The authority's word that a feed is the newest that it knows, good for a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fresh {
    /// The authority, by name.
    pub iss: String,
    /// Whose feed.
    pub title: String,
    /// The feed's number.
    pub sequence: u64,
    /// BLAKE3 of the feed, the compact JWS as text.
    pub feed: ObjectName,
    /// Seconds since 1970.
    pub iat: i64,
    /// Not to be accepted from then on; seconds since 1970.
    pub exp: i64,
}

/// Why a feed was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// Not signed by the publisher as a feed.
    #[error("feed: {0}")]
    Signature(#[from] JwsError),
    /// A member has a value that it cannot have.
    #[error("feed has an impossible `{0}`")]
    Member(&'static str),
    /// A release is listed twice.
    #[error("feed lists {0:?} twice")]
    Twice(String),
}

impl Feed {
    /// The feed, signed by the publisher.
    ///
    /// # Errors
    /// [`FeedError::Member`], [`FeedError::Twice`]: no reader would accept it. `Signature` with `TooLarge`, likewise.
    pub fn sign(&self, kid: &str, key: &SigningKey) -> Result<String, FeedError> {
        self.check()?;
        let token = sign_compact(FEED_TYP, kid, self, key);
        if token.len() > MAX_FEED { Err(JwsError::TooLarge.into()) } else { Ok(token) }
    }

    /// Checks signature and members of a feed. `keys` answers with the publisher's key of a `kid`. Whether it is the right one to go
    /// by now is not decided here.
    ///
    /// # Errors
    /// [`FeedError`].
    pub fn verify(token: &str, keys: impl FnOnce(&str) -> Option<VerifyingKey>) -> Result<Self, FeedError> {
        let feed: Self = verify_compact(token, FEED_TYP, keys)?;
        feed.check()?;
        Ok(feed)
    }

    /// Checks that every member has a possible value; [`verify`](Self::verify) has done so.
    ///
    /// # Errors
    /// [`FeedError::Member`], [`FeedError::Twice`].
    pub fn check(&self) -> Result<(), FeedError> {
        if !is_slug(&self.title) {
            return Err(FeedError::Member("title"));
        }
        if !(1..=MAX_SEQUENCE).contains(&self.sequence) {
            return Err(FeedError::Member("sequence"));
        }
        if self.issued_at < 0 {
            return Err(FeedError::Member("issued_at"));
        }
        let validity = self.expires_at.checked_sub(self.issued_at).ok_or(FeedError::Member("expires_at"))?;
        if !(1..=MAX_VALIDITY).contains(&validity) {
            return Err(FeedError::Member("expires_at"));
        }
        if self.releases.len() > MAX_LISTED {
            return Err(FeedError::Member("releases"));
        }
        let (mut versions, mut documents) = (HashSet::new(), HashSet::new());
        for listed in &self.releases {
            listed.check()?;
            if !versions.insert(&listed.version) || !documents.insert(listed.document) {
                return Err(FeedError::Twice(listed.version.clone()));
            }
        }
        Ok(())
    }

    /// What it says of a version.
    pub fn find(&self, version: &str) -> Option<&ListedRelease> {
        self.releases.iter().find(|listed| listed.version == version)
    }
}

impl ListedRelease {
    fn check(&self) -> Result<(), FeedError> {
        if !is_version(&self.version) {
            return Err(FeedError::Member("version"));
        }
        if !is_label(&self.channel, 32) {
            return Err(FeedError::Member("channel"));
        }
        // Notes are shown in terminals, which take control characters for commands.
        if self.notes.len() > MAX_NOTES || self.notes.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(FeedError::Member("notes"));
        }
        Ok(())
    }
}

impl Fresh {
    /// Checks signature, time and form of an authority's word. `now` is seconds since 1970, of the reader's most trusted clock.
    ///
    /// # Errors
    /// [`JwtError`].
    pub fn verify(token: &str, keys: &KeyList, now: i64) -> Result<Self, JwtError> {
        let demands = Demands { typ: FRESH_TYP, now, audience: None, holder: None, must_expire: true };
        jwt::verify(token, keys, &demands)
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_yes(value: &bool) -> bool {
    *value
}
