//! `[accounts]` and `[mail]`: people who sign in with a browser, and how mail reaches them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ConfigError;
use super::contents::read_private;
use crate::mail::Relay;

/// `[accounts]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounts {
    /// Attempts a second from one address to sign up, to sign in or to recover an account; 0 is no limit.
    pub attempts_per_second: u32,
    /// How many one address may make at once before that counts.
    pub attempts_burst: u32,
}

impl Default for Accounts {
    fn default() -> Self {
        Self { attempts_per_second: 1, attempts_burst: 30 }
    }
}

/// `[mail]`
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// `smtps://user:password@host:465`, `smtp://user:password@host:587?tls=required`, or `smtp://localhost:25`.
    #[serde(skip_serializing)]
    pub smtp_url: Option<Zeroizing<String>>,
    /// A file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_url_file: Option<PathBuf>,
    /// Whom mails come from: `Blue Fox <no-reply@example.com>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl std::fmt::Debug for Mail {
    /// Without the address of the server, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("smtp_url_file", &self.smtp_url_file).field("from", &self.from).finish_non_exhaustive()
    }
}

impl Mail {
    /// Whether mail is sent at all.
    pub fn is_on(&self) -> bool {
        self.smtp_url.is_some() || self.smtp_url_file.is_some()
    }

    /// The server that takes mail; none where none is configured.
    ///
    /// # Errors
    /// `Value`.
    pub fn relay(&self) -> Result<Option<Relay>, ConfigError> {
        let wrong = |key, reason: String| ConfigError::Value { key, reason };
        let url = match (&self.smtp_url, &self.smtp_url_file) {
            (_, Some(path)) => read_private(path).map_err(|reason| wrong("mail.smtp_url_file", format!("{}: {reason}", path.display())))?,
            (Some(url), None) => url.clone(),
            (None, None) => return Ok(None),
        };
        let from = self.from.as_deref().ok_or_else(|| wrong("mail.from", "says whom mails come from, and must be given".to_owned()))?;
        Relay::new(url.trim(), from).map(Some).map_err(|reason| wrong("mail", reason))
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        // What is in a file is read at start.
        if self.smtp_url_file.is_none() { self.relay().map(drop) } else { Ok(()) }
    }
}
