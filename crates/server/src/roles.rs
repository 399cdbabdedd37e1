//! What a process does of all that `counterfoild` can do: its roles. The router says which route belongs to which.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One role. Any of them can share a process, or have one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ServerRole {
    /// Who owns what: the HTTP API, and what terminals register, inspect and claim
    Authority,
    /// What was granted: what terminals confirm and heal
    License,
    /// Sealed contents, without root key and database
    Content,
    /// Pages for people
    Console,
}

impl ServerRole {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Authority, Self::License, Self::Content, Self::Console];

    /// As in configuration and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::License => "license",
            Self::Content => "content",
            Self::Console => "console",
        }
    }
}

/// The roles of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(BTreeSet<ServerRole>);

impl Default for Roles {
    fn default() -> Self {
        Self(ServerRole::ALL.into())
    }
}

impl FromIterator<ServerRole> for Roles {
    fn from_iter<I: IntoIterator<Item = ServerRole>>(roles: I) -> Self {
        Self(roles.into_iter().collect())
    }
}

impl Roles {
    /// Whether this is one of them.
    pub fn has(&self, role: ServerRole) -> bool {
        self.0.contains(&role)
    }

    /// Whether any of these is.
    pub fn has_any(&self, roles: &[ServerRole]) -> bool {
        roles.iter().any(|role| self.has(*role))
    }

    /// None at all, with which a process would do nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = ServerRole> {
        self.0.iter().copied()
    }

    /// Whether it needs the database, and the root key to what lies in there. Who only serves sealed contents needs neither, and so has
    /// nothing to betray.
    pub fn need_database(&self) -> bool {
        self.iter().any(|role| role != ServerRole::Content)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&names(self.iter()))
    }
}

/// `authority, license`, for people.
pub fn names(roles: impl IntoIterator<Item = ServerRole>) -> String {
    roles.into_iter().map(ServerRole::as_str).collect::<Vec<_>>().join(", ")
}
