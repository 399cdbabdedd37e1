//! Why nothing came back that could be used.

use std::path::PathBuf;
use std::time::Duration;

use counterfoil_core::Refusal;

use crate::price::Unpaid;

/// Why nothing came back that could be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No address to ask at.
    #[error("no authority is known yet")]
    NoAddress,
    /// Nobody answered, or the line broke. Whether the request was carried out is unknown; repeating it is safe.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why, as far as is known.
        reason: String,
    },
    /// Refused before anything was opened.
    #[error("{0}")]
    Refused(Refusal),
    /// A gateway charges for it, and nobody has agreed, or the account does not hold so much.
    #[error(transparent)]
    Unpaid(Box<Unpaid>),
    /// A password or token is not told to whoever listens on the line.
    #[error("{url} is not reached by TLS, so neither password nor token is sent there")]
    Unguarded {
        /// Where.
        url: String,
    },
    /// Somebody who does not do this says who does. Nothing was carried out.
    #[error("{url} does not do this itself")]
    Misdirected {
        /// Who.
        url: String,
        /// Who does, best first.
        urls: Vec<String>,
    },
    /// An answer that is an error.
    #[error("{url} answered {status}: {detail}")]
    Status {
        /// Who.
        url: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// An answer that is not one.
    #[error("{url} does not answer as an authority does: {reason}")]
    NotAnAuthority {
        /// Who.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// Answers come one at a time there, and not as a stream.
    #[error("{url} sends no stream of answers")]
    NoStream {
        /// Who.
        url: String,
    },
    /// There is too much to do at the moment.
    #[error("{url} is busy, and asks to be left alone for {} s", after.as_secs())]
    Later {
        /// Who.
        url: String,
        /// For how long.
        after: Duration,
    },
    /// Downloads wait: whoever runs this terminal wants none at the moment.
    #[error("downloads are held back at the moment")]
    Held,
    /// The certificate file cannot be used.
    #[error("{} is no file of PEM certificates: {reason}", path.display())]
    Certificates {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl TransportError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            TransportError::NoAddress => "no_authority",
            TransportError::Unreachable { .. } => "unreachable",
            TransportError::Refused(refusal) => refusal.code.as_str(),
            TransportError::Unpaid(unpaid) => unpaid.refusal.code.as_str(),
            TransportError::Unguarded { .. } => "not_guarded",
            TransportError::Misdirected { .. } => "misdirected",
            TransportError::Status { .. } => "server_error",
            TransportError::NotAnAuthority { .. } => "not_an_authority",
            TransportError::NoStream { .. } => "no_stream",
            TransportError::Later { .. } => "busy_server",
            TransportError::Held => "held",
            TransportError::Certificates { .. } => "bad_certificates",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> String {
        match self {
            TransportError::NoAddress => "Name it: `--server URL`. Media carry it as well: `counterfoil inspect MEDIUM`.".into(),
            TransportError::Unreachable { .. } => {
                "Check the network and the address, then repeat the command: nothing is issued or charged twice.".into()
            }
            TransportError::Refused(refusal) => refusal.hint.clone(),
            TransportError::Unpaid(unpaid) => unpaid.refusal.hint.clone(),
            TransportError::Unguarded { .. } => "Name its address with https://.".into(),
            TransportError::Misdirected { urls, .. } if urls.is_empty() => "Tell the operator: the server does not say who does it.".into(),
            TransportError::Misdirected { urls, .. } => {
                format!("Renew what is known of the authority: `counterfoil authority refresh`. It names {}.", urls.join(", "))
            }
            // It was understood, and is wrong.
            TransportError::Status { status: 400 | 413 | 415 | 422, .. } => {
                "Mend what it names: the same again is refused again. Nothing was issued or charged for it.".into()
            }
            TransportError::Status { status: 404, .. } => {
                "There is nothing of that kind there. Check the address given with `--server`: it is the authority's own, without a path."
                    .into()
            }
            TransportError::Status { .. } => "Repeat the command later: nothing is issued or charged twice.".into(),
            TransportError::NotAnAuthority { .. } => "Check the address given with `--server`.".into(),
            TransportError::NoStream { .. } => "Update the server, or leave it at asking now and then.".into(),
            TransportError::Later { .. } => "Repeat the command later: nothing is issued or charged twice.".into(),
            TransportError::Held => "`counterfoil agent status` says until when; `counterfoil agent resume` ends a pause.".into(),
            TransportError::Certificates { .. } => "Give the certificate authority's certificate in PEM form: `--ca FILE`.".into(),
        }
    }
}
