//! The family of rows that a transaction writes.

use std::fmt;

/// What a transaction hangs from: the ID of the user, medium, title … whose rows it writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilyKey(String);

impl FamilyKey {
    /// Of what only reads.
    pub(super) fn none() -> Self {
        Self(String::new())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FamilyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for FamilyKey {
    fn from(key: String) -> Self {
        Self(key)
    }
}

impl From<&String> for FamilyKey {
    fn from(key: &String) -> Self {
        Self(key.clone())
    }
}

impl From<&str> for FamilyKey {
    fn from(key: &str) -> Self {
        Self(key.to_owned())
    }
}
