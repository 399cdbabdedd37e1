//! How a command fails: the fact, the remedy, a stable code, and an exit status that scripts can rely on.

use std::fmt;
use std::process::ExitCode;

use counterfoil_core::Refusal;
use counterfoil_terminal::Price;
use serde::Serialize;

use crate::output::Output;

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    #[serde(skip)]
    kind: Kind,
    /// Stable name; of the contract's codes where the authority or the terminal refused.
    pub code: String,
    /// The fact.
    pub message: String,
    /// The remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What would be charged, where that was not agreed to or cannot be paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge: Option<Box<Price>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Somebody said no.
    Refused,
    /// The command line makes no sense.
    Usage,
    /// It could not be reached, read or written.
    Operation,
    /// Whoever read the output has gone: nothing to say, and nobody to say it to.
    Silent,
    /// A program was run, and this is what it ended with.
    Status(u8),
}

impl Failure {
    /// A "no": exit status 1.
    pub fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, code, message)
    }

    /// Wrong usage: exit status 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, "usage", message)
    }

    /// Could not reach or operate: exit status 3.
    pub fn operation(code: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::Operation, code, message)
    }

    /// A file that could not be read or written.
    pub fn file(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let failure = Self::operation("io", format!("cannot {doing} {}: {}", path.display(), counterfoil_terminal::io::words(error)));
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Self { code: "disk_full".into(), ..failure }.hint("Make room there, and repeat the command: it goes on where it was.")
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => failure.hint("Check who may read and write there."),
            ErrorKind::NotFound => failure.hint("Check the path."),
            _ => failure,
        }
    }

    /// What a program that was run ended with; says nothing.
    pub fn status(status: u8) -> Self {
        Self::new(Kind::Status(status), "exit_status", "")
    }

    /// The reader of standard output has gone.
    pub fn silent() -> Self {
        Self::new(Kind::Silent, "broken_pipe", "")
    }

    /// With what the person can do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether somebody said no, and the same again would be refused again.
    pub fn is_refusal(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// Says it, on stderr for people and on stdout for programs, and gives the exit status.
    pub fn report(&self, output: &Output) -> ExitCode {
        if !matches!(self.kind, Kind::Silent | Kind::Status(_)) {
            output.failure(self);
        }
        ExitCode::from(match self.kind {
            Kind::Silent => 0,
            Kind::Refused => 1,
            Kind::Usage => 2,
            Kind::Operation => 3,
            Kind::Status(status) => status,
        })
    }

    fn new(kind: Kind, code: &str, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), hint: None, charge: None }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.code.as_str(), refusal.to_string()).hint(refusal.hint)
    }
}

impl From<counterfoil_terminal::Error> for Failure {
    fn from(error: counterfoil_terminal::Error) -> Self {
        let kind = if error.exit_code() == 1 { Kind::Refused } else { Kind::Operation };
        let charge = match &error {
            counterfoil_terminal::Error::Unpaid(unpaid) => Some(Box::new(unpaid.offer.clone())),
            _ => None,
        };
        Self { hint: error.hint(), charge, ..Self::new(kind, error.code(), error.to_string()) }
    }
}

impl From<counterfoil_terminal::transport::TransportError> for Failure {
    fn from(error: counterfoil_terminal::transport::TransportError) -> Self {
        Self::operation(error.code(), error.to_string()).hint(error.hint())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
