//! The user's devices, and what is licensed to each (D8).

use crate::asker::Asker;
use crate::card::CardChoice;
use crate::error::Result;
use crate::exchange::ask;
use crate::terminal::Terminal;
use counterfoil_core::wire::{Devices, DevicesResult, Operation};

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
