//! Why not: what every function of the ABI answers with when the answer is not "yes".

use std::ffi::{CStr, CString};

use counterfoil_core::Refusal;

use crate::c_string;

/// What kind of "no" it is: the numbers of the command line's exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Kind {
    /// Somebody with the right to do so says no.
    Refused = 1,
    /// The caller's mistake.
    Usage = 2,
    /// It could not be done.
    Failed = 3,
}

/// A stable code for programs, a fact and a remedy for people.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    code: CString,
    message: CString,
    hint: CString,
}

impl Failure {
    fn new(kind: Kind, code: &str, message: &str, hint: &str) -> Self {
        Self { kind, code: c_string(code), message: c_string(message), hint: c_string(hint) }
    }

    /// The caller's mistake: code `usage`.
    pub fn usage(message: &str) -> Self {
        Self::new(Kind::Usage, "usage", message, "The header counterfoil.h says what each argument is.")
    }

    /// It could not be done.
    pub fn failed(code: &str, message: &str, hint: &str) -> Self {
        Self::new(Kind::Failed, code, message, hint)
    }

    /// A mistake in here, caught at the boundary: code `internal`.
    pub(crate) fn panicked() -> Self {
        Self::failed("internal", "something went wrong inside of Counterfoil", "Tell those who make it what the program did.")
    }

    /// What kind of "no" it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Stable: a code of docs/refusals.md, or one of the terminal's.
    pub fn code(&self) -> &CStr {
        &self.code
    }

    /// The fact, for people.
    pub fn message(&self) -> &CStr {
        &self.message
    }

    /// The remedy, for people.
    pub fn hint(&self) -> &CStr {
        &self.hint
    }
}

impl From<counterfoil_terminal::Error> for Failure {
    fn from(error: counterfoil_terminal::Error) -> Self {
        let kind = if error.exit_code() == 1 { Kind::Refused } else { Kind::Failed };
        Self::new(kind, error.code(), &error.to_string(), &error.hint().unwrap_or_default())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        counterfoil_terminal::Error::from(refusal).into()
    }
}
