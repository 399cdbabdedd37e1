//! What a medium or an entitlement allows (B2).

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rights, in the database and signed on the medium. What is absent in a document has the default below, so that documents written
/// before a right existed keep their meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rights {
    /// How many managed copies may be claimed from the medium (C7, C8). 1 unless the publisher says otherwise.
    pub copies: u32,
    /// Fetching releases and supplements from the network.
    pub download: bool,
    /// Handing content in (A4, B6).
    pub upload: bool,
    /// How much of what was handed in may be held for each title and user, in MiB; [`Rights::UPLOAD_MIB`] where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_mib: Option<u32>,
    /// Whether what is handed in leaves the device so that providers can read it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub upload_readable: bool,
    /// Being brought to later releases.
    pub update: bool,
    /// Playing from the library.
    pub play: bool,
    /// Moving the entitlement to another of the user's devices.
    pub transfer: bool,
    /// When the medium stops being good for a new claim; copies made before stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whatever else publisher and program agree on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Default for Rights {
    fn default() -> Self {
        Rights {
            copies: 1,
            download: true,
            upload: false,
            upload_mib: None,
            upload_readable: false,
            update: true,
            play: true,
            transfer: true,
            expires_at: None,
            attributes: BTreeMap::new(),
        }
    }
}

impl Rights {
    /// How much may be held of what was handed in where the rights do not say.
    pub const UPLOAD_MIB: u32 = 64;

    /// What they allow, as words with spaces between (RFC 6749 §3.3): `download upload update play transfer`.
    pub fn scope(&self) -> String {
        let words = [
            (self.download, "download"),
            (self.upload, "upload"),
            (self.update, "update"),
            (self.play, "play"),
            (self.transfer, "transfer"),
        ];
        words.into_iter().filter(|(allowed, _)| *allowed).map(|(_, word)| word).collect::<Vec<_>>().join(" ")
    }

    /// Whether they have ended at `now`.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_names_what_is_allowed_and_nothing_else() {
        let none = Rights { download: false, upload: false, update: false, play: false, transfer: false, ..Rights::default() };
        assert_eq!(none.scope(), "");
        assert_eq!(Rights { upload: true, transfer: true, ..none.clone() }.scope(), "upload transfer");
        assert_eq!(Rights { download: true, update: true, play: true, ..none }.scope(), "download update play");
    }

    #[test]
    fn rights_are_over_at_their_end_and_not_before() {
        let end = Timestamp(1_000);
        let until = Rights { expires_at: Some(end), ..Rights::default() };
        assert!(!until.expired(Timestamp(999)) && until.expired(end));
        assert!(!Rights::default().expired(Timestamp(i64::MAX)));
    }
}
