//! The user's devices, what is licensed to each (D8), and announcing one more.

use crate::asker::Asker;
use crate::card::CardChoice;
use crate::error::Result;
use crate::exchange::{ask, exchange};
use crate::terminal::Terminal;
use counterfoil_core::DeviceId;
use counterfoil_core::wire::{AddDevice, AddDeviceResult, Devices, DevicesResult, Operation};

/// Asks the authority for the user's devices.
///
/// # Errors
/// The refusals of `devices`; [`crate::transport::TransportError`].
pub fn devices(terminal: &Terminal, card: &CardChoice) -> Result<DevicesResult> {
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, None)?;
    let operation = Operation::Devices(Devices { user_id: asker.user, device_id: asker.device });
    ask(terminal, &authority, &operation, &asker.device_proof())
}

/// Announces a device that is going to register for the user, with keys of its own.
///
/// # Errors
/// The refusals of `add_device`; [`crate::transport::TransportError`]: then a repeat has no second effect.
pub fn add_device(terminal: &Terminal, card: &CardChoice, new: DeviceId, name: Option<String>) -> Result<AddDeviceResult> {
    let _home = terminal.home().lock()?;
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, None)?;
    let operation = Operation::AddDevice(AddDevice {
        user_id: asker.user,
        card_id: asker.card_id(),
        device_id: asker.device,
        new_device_id: new,
        name,
    });
    Ok(exchange::<AddDeviceResult>(terminal, &authority, operation, &asker.proofs())?.applied(terminal))
}
