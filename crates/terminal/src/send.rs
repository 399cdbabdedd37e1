//! A title sent to another of the user's devices (A2), and how far that one is with it.

use crate::asker::Asker;
use crate::card::CardChoice;
use crate::error::Result;
use crate::exchange::{ask, exchange};
use crate::terminal::Terminal;
use counterfoil_core::wire::{Operation, Send, SendResult, Sent, SentJob, SentResult};
use counterfoil_core::{DeviceId, JobId, ReleaseVersion, TitleId};

/// Has another device install a title or bring it up to date.
///
/// # Errors
/// The refusals of `send`; [`crate::transport::TransportError`]: then a repeat has no second effect.
pub fn send(terminal: &Terminal, card: &CardChoice, to: DeviceId, title: &TitleId, release: Option<&ReleaseVersion>) -> Result<JobId> {
    let _home = terminal.home().lock()?;
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, None)?;
    let operation = Operation::Send(Send {
        user_id: asker.user,
        card_id: asker.card_id(),
        device_id: asker.device,
        to,
        title: title.clone(),
        release: release.cloned(),
    });
    Ok(exchange::<SendResult>(terminal, &authority, operation, &asker.proofs())?.applied(terminal).job_id)
}

/// How far jobs are that this device has sent: one of them, or all of the last days.
///
/// # Errors
/// The refusals of `sent`; [`crate::transport::TransportError`].
pub fn sent(terminal: &Terminal, card: &CardChoice, job: Option<JobId>) -> Result<Vec<SentJob>> {
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, None)?;
    let operation = Operation::Sent(Sent { user_id: asker.user, device_id: asker.device, job_id: job });
    Ok(ask::<SentResult>(terminal, &authority, &operation, &asker.device_proof())?.jobs)
}
