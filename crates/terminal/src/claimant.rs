//! Who asks for keys and uses them: holder, device and drive as they were registered together (C6), on the hardware they are bound to (C10).

use crate::card::{FileHolder, HolderError, SealedGrant, file::open_user};
use crate::error::{Error, Result};
use crate::exchange::refused;
use crate::home::Authority;
use crate::terminal::Terminal;
use counterfoil_core::rules::binding::{self, Binding, Purpose};
use counterfoil_core::rules::register::Combination;
use counterfoil_core::{Code, DeviceId, DriveId, Refusal, UserId};
use counterfoil_format::grant::open_binding;
use counterfoil_format::jws::Signer;
use counterfoil_format::secret::Secret;
use std::path::Path;

/// Who claims: as the holder was registered.
pub(crate) struct Claimant {
    pub user: UserId,
    pub holder_name: String,
    pub combination: Combination,
    pub device: Option<DeviceId>,
    pub drive: Option<DriveId>,
    device_keys: Option<FileHolder>,
}

impl Claimant {
    /// As the holder was registered, on this device and the drive under `library`.
    ///
    /// # Errors
    /// [`Code::UserInvalid`] (C6) where the holder is not registered, [`Code::DeviceNotRegistered`] where this device never was.
    pub(crate) fn new(terminal: &Terminal, authority: &Authority, holder: &FileHolder, library: &Path) -> Result<Self> {
        let user = open_user(holder)?;
        let registered = holder.sealed().user.as_ref().expect("a user ID was read from it");
        if registered.authority != authority.document.name {
            return Err(refused(
                Code::UserInvalid,
                format!("it is registered with `{}`, not with `{}`", registered.authority, authority.document.name),
            ));
        }
        let combination = registered.combination;
        let device_keys = if combination.device { terminal.device_keys()? } else { None };
        if combination.device && device_keys.is_none() {
            // A lent card on a computer that was never registered at all: it has no keys to ask with.
            return Err(refused(Code::DeviceNotRegistered, "the device has never been registered"));
        }
        Ok(Claimant {
            user,
            holder_name: registered.holder.clone(),
            combination,
            device: combination.device.then(|| terminal.device_id()).transpose()?,
            drive: combination.drive.then(|| terminal.drive_id(library)).transpose()?,
            device_keys,
        })
    }

    /// Signatures by holder and device, each once.
    pub(crate) fn proofs<'a>(&'a self, holder: &'a FileHolder, device_name: &'a str) -> Vec<(&'a str, Signer<'a>)> {
        let mut proofs = vec![(self.holder_name.as_str(), holder.signer())];
        if let Some(keys) = self.device_keys.as_ref().filter(|_| device_name != self.holder_name) {
            proofs.push((device_name, keys.signer()));
        }
        proofs
    }

    /// The device's signature, or the holder's where no device is registered: for what only tells.
    pub(crate) fn proof<'a>(&'a self, holder: &'a FileHolder, device_name: &'a str) -> Vec<(&'a str, Signer<'a>)> {
        match &self.device_keys {
            Some(keys) => vec![(device_name, keys.signer())],
            None => vec![(self.holder_name.as_str(), holder.signer())],
        }
    }

    /// Its device ID as in signatures; empty where none is registered.
    pub(crate) fn device_name(&self) -> String {
        self.device.map(|id| id.to_string()).unwrap_or_default()
    }
}

/// A token that fails says so itself: nobody is refused for that.
pub(crate) fn not_opened(error: HolderError, refusal: impl Into<Error>) -> Error {
    match error {
        HolderError::Token(_) => error.into(),
        _ => refusal.into(),
    }
}

/// C10, C12: opens a grant and compares what it is bound to with the hardware, before any byte is written or shown.
pub(crate) fn open_and_check(
    terminal: &Terminal,
    holder: &FileHolder,
    grant: &SealedGrant,
    library: &Path,
    purpose: Purpose,
) -> Result<(Secret<32>, Option<Secret<32>>)> {
    let code = match purpose {
        Purpose::Copy => Code::CopyNotPermitted,
        Purpose::Play => Code::PlayNotPermitted,
    };
    let device_keys = terminal.device_keys()?;
    let device_secret = device_keys.as_ref().and_then(FileHolder::device_secret);
    let (library_key, content_key) = grant
        .open(holder, device_secret)
        .map_err(|error| not_opened(error, Refusal::with(code, "the keys are sealed to another card or device")))?;
    let mut bound = Binding { device_id: None, drive_id: None };
    // A grant of an entry with neither device nor drive is bound to neither, and its claim said so.
    if !grant.binding.is_empty() || !grant.device.is_empty() {
        let opened =
            open_binding(&library_key, &grant.binding).map_err(|_| Refusal::with(code, "what the keys are bound to cannot be read"))?;
        let unreadable = |_| Refusal::with(code, "what the keys are bound to cannot be read");
        bound.device_id = opened.device_id.as_deref().map(str::parse).transpose().map_err(unreadable)?;
        bound.drive_id = opened.drive_id.as_deref().map(str::parse).transpose().map_err(unreadable)?;
    }
    binding::decide(purpose, &bound, &terminal.hardware_for(&bound, library)?)?;
    Ok((library_key, content_key))
}
