//! Who asks for things that come from an order: the user, by this device, and by the card where the entry has one (D3, D5, D8).

use crate::card::{CardChoice, FileHolder, file::open_user};
use crate::error::Result;
use crate::exchange::refused;
use crate::home::Authority;
use crate::terminal::Terminal;
use counterfoil_core::wire::HolderKind;
use counterfoil_core::{CardId, Code, DeviceId, UserId};
use counterfoil_format::jws::Signer;
use std::path::Path;

/// A registered user on a registered device.
pub(crate) struct Asker {
    pub user: UserId,
    pub device: DeviceId,
    pub holder: FileHolder,
    device_keys: FileHolder,
    device_name: String,
    holder_name: String,
}

impl Asker {
    /// By the holder of keys that was registered, on this device. `library` is where a drive's own keys would lie.
    ///
    /// # Errors
    /// [`Code::UserInvalid`] where the holder is not registered, or with another authority; [`Code::DeviceNotRegistered`] where this device
    /// never was.
    pub fn new(terminal: &Terminal, authority: &Authority, card: &CardChoice, library: Option<&Path>) -> Result<Self> {
        let holder = terminal.holder(card, library)?;
        let user = open_user(&holder)?;
        let registered = holder.sealed().user.as_ref().expect("a user ID was read from it");
        if registered.authority != authority.document.name {
            let detail = format!("it is registered with `{}`, not with `{}`", registered.authority, authority.document.name);
            return Err(refused(Code::UserInvalid, detail));
        }
        let holder_name = registered.holder.clone();
        let device_keys = terminal.device_keys()?.filter(|_| registered.combination.device);
        let device_keys = device_keys.ok_or_else(|| refused(Code::DeviceNotRegistered, "the device has never been registered"))?;
        let device = terminal.device_id()?;
        Ok(Asker { user, device, holder, device_keys, device_name: device.to_string(), holder_name })
    }

    /// The card, where the entry has one.
    pub fn card_id(&self) -> Option<CardId> {
        (self.holder.kind() == HolderKind::Card).then(|| self.holder.card_id())
    }

    /// The device's signature, which is enough for what the device has already.
    pub fn device_proof(&self) -> Vec<(&str, Signer<'_>)> {
        vec![(&self.device_name, self.device_keys.signer())]
    }

    /// The device's signature and the card's, for what moves rights or money.
    pub fn proofs(&self) -> Vec<(&str, Signer<'_>)> {
        let mut proofs = self.device_proof();
        if self.holder.kind() == HolderKind::Card {
            proofs.push((&self.holder_name, self.holder.signer()));
        }
        proofs
    }
}
