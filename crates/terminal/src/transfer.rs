//! A transfer asked for: licenses move from one of the user's devices to another, without a second charge (D8–D10).

use crate::asker::Asker;
use crate::card::CardChoice;
use crate::error::Result;
use crate::exchange::{ask, exchange};
use crate::library::Library;
use crate::license::end;
use crate::terminal::Terminal;
use counterfoil_core::wire::{Operation, Transfer, TransferResult};
use counterfoil_core::{DeviceId, LicenseId, TitleId};

/// What is to be moved, and between which of the user's devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transferred {
    /// The device that gives up.
    pub source: DeviceId,
    /// The device that receives.
    pub destination: DeviceId,
    /// What; none where everything moves and the source is taken out of the entry.
    pub title: Option<TitleId>,
}

/// Moves licenses, or with `preview` only says what would be moved. `library` is this device's: what moves away from here is marked in it, and
/// stays on disk.
///
/// # Errors
/// The refusals of `transfer`; [`crate::transport::TransportError`]: then a repeat has no second effect.
pub fn transfer(
    terminal: &Terminal,
    library: Option<&Library>,
    card: &CardChoice,
    what: &Transferred,
    preview: bool,
) -> Result<TransferResult> {
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, library.map(Library::path))?;
    let operation = Operation::Transfer(Transfer {
        user_id: asker.user,
        card_id: asker.card_id(),
        device_id: asker.device,
        source: what.source,
        destination: what.destination,
        title: what.title.clone(),
        preview,
    });
    if preview {
        return ask(terminal, &authority, &operation, &asker.proofs());
    }
    let _home = terminal.home().lock()?;
    let accepted = exchange::<TransferResult>(terminal, &authority, operation, &asker.proofs())?;
    if let Some(library) = library.filter(|_| what.source == asker.device) {
        let moved: Vec<LicenseId> = accepted.result.moved.iter().map(|moved| moved.license_id).collect();
        end(terminal, library, &moved)?;
    }
    Ok(accepted.applied(terminal))
}
