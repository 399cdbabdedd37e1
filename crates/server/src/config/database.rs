//! Where the database is.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ConfigError;
use super::contents::read_private;
use crate::db::{DbError, DbUrl};

/// `[database]`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    /// A file that holds the address, where it has a password in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// Connections of each process that write (PostgreSQL).
    pub writers: usize,
    /// Connections of each process that read; as many more to the replica, where there is one.
    pub readers: usize,
    /// Transactions that may share one commit.
    pub batch: usize,
    /// Prepared statements with names; not behind a pooler that hands every transaction another connection.
    pub named_statements: bool,
    /// `postgres://…` of a replica for reads that may lag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_url: Option<String>,
    /// A file that holds the replica's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_url_file: Option<PathBuf>,
}

impl Default for Database {
    fn default() -> Self {
        let url = "sqlite:counterfoil.db".to_owned();
        Self { url, url_file: None, writers: 2, readers: 2, batch: 64, named_statements: true, replica_url: None, replica_url_file: None }
    }
}

impl std::fmt::Debug for Database {
    /// Without the addresses, which may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("url_file", &self.url_file)
            .field("writers", &self.writers)
            .field("readers", &self.readers)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

/// An address, or the file that holds it, which goes first.
pub(crate) fn address(url: &str, file: Option<&Path>, key: &'static str) -> Result<DbUrl, ConfigError> {
    let wrong = |reason: String| ConfigError::Value { key, reason };
    let text = match file {
        Some(path) => read_private(path).map_err(|reason| wrong(format!("{}: {reason}", path.display())))?,
        None => Zeroizing::new(url.to_owned()),
    };
    text.trim().parse().map_err(|error: DbError| wrong(error.to_string()))
}
