//! One error for all of the terminal: a refusal (a "no"), or why something could not be done, each with code and remedy.

use crate::card::HolderError;
use crate::copy::CopyError;
use crate::exchange::ExchangeError;
use crate::hardware::HardwareError;
use crate::home::HomeError;
use crate::install::InstallError;
use crate::io::IoFailure;
use crate::library::LibraryError;
use crate::medium::MediumError;
use crate::play::PlayError;
use crate::present::PresentError;
use crate::price::Unpaid;
use crate::reissue::ReissueError;
use crate::save::SaveError;
use crate::status::StatusError;
use crate::transport::TransportError;
use crate::update::UpdateError;
use counterfoil_core::{Code, Refusal};

/// What the operations of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why not. `Display` is the fact, [`hint`](Error::hint) the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody with the right to do so says no.
    #[error("{0}")]
    Refused(Refusal),
    /// Files.
    #[error(transparent)]
    Io(#[from] IoFailure),
    /// IDs of hardware.
    #[error(transparent)]
    Hardware(#[from] HardwareError),
    /// State of this device.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Cards and other holders of keys.
    #[error(transparent)]
    Holder(#[from] HolderError),
    /// Requests and answers.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The network.
    #[error(transparent)]
    Transport(TransportError),
    /// Media.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// Copying.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Installing.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Libraries.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// Playing.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// Status variables.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// Updating.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// Providers.
    #[error(transparent)]
    Present(#[from] PresentError),
    /// Saves.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// New cards for lost ones.
    #[error(transparent)]
    Reissue(#[from] ReissueError),
    /// Prices at a gateway.
    #[error(transparent)]
    Unpaid(Box<Unpaid>),
}

impl From<Box<Unpaid>> for Error {
    fn from(unpaid: Box<Unpaid>) -> Self {
        Error::Unpaid(unpaid)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Refused(refusal)
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Error::Refused(code.into())
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Refused(refusal) => Error::Refused(refusal),
            TransportError::Unpaid(unpaid) => Error::Unpaid(unpaid),
            other => Error::Transport(other),
        }
    }
}

impl Error {
    /// The refusal, where it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::Refused(refusal) => Some(refusal),
            Error::Unpaid(unpaid) => Some(&unpaid.refusal),
            _ => None,
        }
    }

    /// 1: refused. 3: could not reach or operate.
    pub fn exit_code(&self) -> u8 {
        match self {
            // The terminal's own "no", which is nobody else's to give.
            Error::Copy(CopyError::Present { .. }) | Error::Install(InstallError::Begun { .. } | InstallError::Other { .. }) => 1,
            Error::Update(UpdateError::NothingBefore(_)) => 1,
            Error::Update(UpdateError::NoWay { last, .. }) => last.exit_code(),
            Error::Status(StatusError::Bad(_)) => 1,
            Error::Present(error) if error.is_refusal() => 1,
            Error::Save(error) if error.is_refusal() => 1,
            Error::Reissue(_) => 1,
            _ if self.refusal().is_some() => 1,
            _ => 3,
        }
    }

    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Refused(refusal) => refusal.code.as_str(),
            Error::Io(error) => error.code(),
            Error::Hardware(error) => error.code(),
            Error::Home(error) => error.code(),
            Error::Holder(error) => error.code(),
            Error::Exchange(error) => error.code(),
            Error::Transport(error) => error.code(),
            Error::Medium(error) => error.code(),
            Error::Copy(error) => error.code(),
            Error::Install(error) => error.code(),
            Error::Library(error) => error.code(),
            Error::Play(error) => error.code(),
            Error::Status(error) => error.code(),
            Error::Update(error) => error.code(),
            Error::Present(error) => error.code(),
            Error::Save(error) => error.code(),
            Error::Reissue(error) => error.code(),
            Error::Unpaid(unpaid) => unpaid.refusal.code.as_str(),
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Refused(refusal) => refusal.hint.clone(),
            Error::Io(error) => error.hint().into(),
            Error::Hardware(error) => error.hint(),
            Error::Home(error) => error.hint().into(),
            Error::Holder(error) => error.hint(),
            Error::Exchange(error) => error.hint().into(),
            Error::Transport(error) => error.hint(),
            Error::Medium(error) => error.hint().into(),
            Error::Copy(error) => error.hint(),
            Error::Install(error) => error.hint(),
            Error::Library(error) => error.hint().into(),
            Error::Play(error) => error.hint(),
            Error::Status(error) => error.hint().into(),
            Error::Update(error) => error.hint(),
            Error::Present(error) => error.hint().into(),
            Error::Save(error) => error.hint().into(),
            Error::Reissue(error) => error.hint().into(),
            Error::Unpaid(unpaid) => unpaid.refusal.hint.clone(),
        })
    }
}
