//! How a command fails: a fact, a remedy, an exit status.

use std::fmt::Display;
use std::process::ExitCode;

use serde_json::json;

use crate::config::ConfigError;
use crate::db::{DbError, MoveError};
use crate::keys::KeysError;
use crate::problem::Problem;
use crate::server::StartError;

/// What is printed as `error:` and `hint:`.
#[derive(Debug)]
pub struct Failure {
    status: u8,
    fact: String,
    hint: Option<String>,
}

impl Failure {
    /// The answer is no: exit status 1.
    pub fn refused(fact: impl Display) -> Self {
        Self { status: 1, fact: fact.to_string(), hint: None }
    }

    /// Asked wrongly: exit status 2.
    pub fn usage(fact: impl Display) -> Self {
        Self { status: 2, ..Self::refused(fact) }
    }

    /// It could not be done: exit status 3.
    pub fn operation(fact: impl Display) -> Self {
        Self { status: 3, ..Self::refused(fact) }
    }

    /// With the remedy.
    #[must_use]
    pub fn hint(self, hint: impl Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    /// Prints it on standard error and gives the exit status.
    pub fn report(&self, as_json: bool) -> ExitCode {
        let text = if as_json {
            json!({ "error": self.fact, "hint": self.hint, "status": self.status }).to_string()
        } else {
            let hint = self.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            format!("error: {}{hint}", self.fact)
        };
        // Where standard error is closed, the exit status has to do.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr().lock(), format_args!("{text}\n"));
        ExitCode::from(self.status)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(format!("configuration: {error}"))
            .hint("`counterfoild config example` says what there is to configure. The environment, COUNTERFOILD__SECTION__KEY, goes before the file.")
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        let failure = Self::operation(format!("database: {error}"));
        match error {
            DbError::SchemaOlder { .. } => failure.hint("Make a backup, then run `counterfoild migrate`."),
            DbError::SchemaNewer { .. } => failure.hint("Use the newer version of counterfoild."),
            DbError::Moving(_) => failure.hint("Repeat the command when the move has ended."),
            DbError::Moved(to) => {
                failure.hint(format!("Configure that database: [database] url, or url_file where it has a password; it is {to}."))
            }
            DbError::HalfMoved(_) => {
                failure.hint("Run `counterfoild migrate-store` again with the same --from and --to: it goes on where it was.")
            }
            _ => failure.hint("`counterfoild doctor` checks what may be wrong."),
        }
    }
}

impl From<MoveError> for Failure {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::Db(error) => Self::operation(format!("database: {error}"))
                .hint("The old database is open, and as it was. Repeat the command: it goes on where it was."),
            MoveError::Unfit(_, hint) => Self::refused(error).hint(hint),
            MoveError::MovedAlready(_) => Self::refused(error).hint("Configure that database, and restart the servers."),
            MoveError::Differs { .. } => Self::refused(error).hint(
                "The old database is open, and as it was. Something besides this command writes to the new one: find out what, and repeat it.",
            ),
            error => Self::usage(error).hint("--from sqlite:PATH --to postgres://HOST/NAME"),
        }
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Db(error) => error.into(),
            error => {
                Self::operation(error).hint("Put the root key back that this database was made with; `counterfoild doctor` checks it.")
            }
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(error) => error.into(),
            StartError::Db(error) => error.into(),
            StartError::Keys(error) => error.into(),
            StartError::NotInitialized => Self::operation(error).hint("Run `counterfoild init`."),
            StartError::Plain(_) => Self::refused(error).hint(
                "Configure [tls] (`counterfoild init --tls-self-signed` makes a certificate), or, behind a proxy that does TLS, say --allow-plain.",
            ),
            StartError::Listen { .. } => Self::operation(error).hint("Another process may have the port: choose one with --listen, or 127.0.0.1:0 for any."),
            StartError::Tls(_) => Self::operation(error).hint("Check cert_file and key_file in section [tls]."),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let status = if problem.status.is_server_error() { 3 } else { 1 };
        let hint = (!problem.hint.is_empty()).then(|| problem.hint.to_string());
        Self { status, fact: problem.to_string(), hint }
    }
}
