//! Media by name: pressed here, or made elsewhere and imported.

use crate::id::{IdError, PREFIXES, PressedId};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One pressing run: 64 random bits, which also begin the IDs of its media.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchId(pub [u8; 8]);

/// Names one medium (C1). Pressed media carry `med-…`: the batch's 64 bits and the serial, with check characters, so that a medium that
/// nobody has touched needs no row anywhere. Imported media carry what their maker gave them: 4 to 64 of letters, digits and `._:-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MediumId(String);

/// Why a text is no medium or batch ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediumIdError {
    /// It begins as an ID pressed here does, but is not one.
    #[error("not a medium ID: {0}")]
    Pressed(IdError),
    /// Not even an ID from elsewhere.
    #[error("a medium ID is 4 to 64 of letters, digits and `._:-`")]
    Imported,
    /// An ID from elsewhere that begins as the IDs of users, cards … do: one key must never name two things.
    #[error("an ID that begins with `{0}-` names something else than a medium")]
    Taken(&'static str),
    /// Not a batch.
    #[error("a batch ID is `bat-` and 16 hexadecimal digits")]
    Batch,
}

const PREFIX: &str = "med-";

impl MediumId {
    /// The ID of the medium with this serial in a batch.
    pub fn pressed(batch: BatchId, serial: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&batch.0);
        bytes[8..].copy_from_slice(&serial.to_be_bytes());
        MediumId(PressedId::from_bytes(bytes).to_string())
    }

    /// Batch and serial, where the medium was pressed here; nothing for an imported one.
    pub fn batch_and_serial(&self) -> Option<(BatchId, u64)> {
        let bytes = *self.0.parse::<PressedId>().ok()?.as_bytes();
        let (batch, serial) = bytes.split_at(8);
        Some((
            BatchId(batch.try_into().expect("split at eight of sixteen")),
            u64::from_be_bytes(serial.try_into().expect("the other eight")),
        ))
    }

    /// The written form, which is also the key in the database.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MediumId {
    type Error = MediumIdError;
    fn try_from(text: String) -> Result<Self, MediumIdError> {
        if text.get(..PREFIX.len()).is_some_and(|head| head.eq_ignore_ascii_case(PREFIX)) {
            // Written back in the one canonical form, so that case and spacing never make two media of one.
            let id: PressedId = text.parse().map_err(MediumIdError::Pressed)?;
            return Ok(MediumId(id.to_string()));
        }
        let valid = (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
        if !valid {
            return Err(MediumIdError::Imported);
        }
        let taken = PREFIXES.into_iter().find(|prefix| text.split_once('-').is_some_and(|(head, _)| head.eq_ignore_ascii_case(prefix)));
        taken.map_or(Ok(MediumId(text)), |prefix| Err(MediumIdError::Taken(prefix)))
    }
}

impl FromStr for MediumId {
    type Err = MediumIdError;
    fn from_str(text: &str) -> Result<Self, MediumIdError> {
        text.trim().to_owned().try_into()
    }
}

impl From<MediumId> for String {
    fn from(id: MediumId) -> String {
        id.0
    }
}

impl fmt::Display for MediumId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bat-{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BatchId {
    type Err = MediumIdError;
    fn from_str(text: &str) -> Result<Self, MediumIdError> {
        text.strip_prefix("bat-")
            .filter(|hex| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .map(|number| BatchId(number.to_be_bytes()))
            .ok_or(MediumIdError::Batch)
    }
}

impl TryFrom<String> for BatchId {
    type Error = MediumIdError;
    fn try_from(text: String) -> Result<Self, MediumIdError> {
        text.parse()
    }
}

impl From<BatchId> for String {
    fn from(id: BatchId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pressed_medium_names_its_batch_and_serial(batch: [u8; 8], serial: u64) {
            let id = MediumId::pressed(BatchId(batch), serial);
            prop_assert_eq!(id.batch_and_serial(), Some((BatchId(batch), serial)));
            prop_assert_eq!(id.to_string().to_lowercase().parse::<MediumId>(), Ok(id));
            prop_assert_eq!(BatchId(batch).to_string().parse::<BatchId>(), Ok(BatchId(batch)));
        }
    }

    #[test]
    fn imported_ids_are_kept_as_they_are() {
        let id: MediumId = "DISC:2026-0001.a_b".parse().expect("all of it allowed");
        assert_eq!((id.as_str(), id.batch_and_serial()), ("DISC:2026-0001.a_b", None));
        for bad in ["", "abc", "a b c d", "a/../b", &"x".repeat(65)] {
            assert_eq!(bad.parse::<MediumId>(), Err(MediumIdError::Imported), "{bad}");
        }
    }

    #[test]
    fn an_imported_id_never_looks_like_the_id_of_something_else() {
        for prefix in PREFIXES {
            let text = format!("{}-12345", prefix.to_uppercase());
            assert!(text.parse::<MediumId>().is_err(), "{text}");
        }
        assert!("usr12345".parse::<MediumId>().is_ok());
    }

    #[test]
    fn a_mistyped_pressed_id_does_not_pass_as_an_imported_one() {
        assert!(matches!("med-0000".parse::<MediumId>(), Err(MediumIdError::Pressed(IdError::Length(4)))));
        assert!(matches!("MED-x".parse::<MediumId>(), Err(MediumIdError::Pressed(_))));
    }
}
