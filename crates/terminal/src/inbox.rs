//! The inbox: what there is to do for this device, as it comes (D9).

use crate::asker::Asker;
use crate::card::CardChoice;
use crate::error::Result;
use crate::exchange;
use crate::library::Library;
use crate::terminal::Terminal;
use counterfoil_core::wire::{Inbox, InboxResult, Job, JobDone, JobProgress, Operation};
use std::ops::ControlFlow;

/// Tells what has come to its end, and asks what there is to do, at once. Jobs that were told before are not told again.
///
/// # Errors
/// The refusals of `inbox`; [`crate::transport::TransportError`]: then it can be told again.
pub fn acknowledge(terminal: &Terminal, library: &Library, card: &CardChoice, done: Vec<JobDone>) -> Result<Vec<Job>> {
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, Some(library.path()))?;
    let result: InboxResult = exchange::ask(terminal, &authority, &operation(&asker, done, vec![]), &asker.device_proof())?;
    Ok(result.jobs)
}

/// Tells how far a job is, for whoever has sent it.
///
/// # Errors
/// As [`acknowledge`].
pub fn tell_progress(terminal: &Terminal, library: &Library, card: &CardChoice, at: JobProgress) -> Result<()> {
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, Some(library.path()))?;
    exchange::ask::<InboxResult>(terminal, &authority, &operation(&asker, vec![], vec![at]), &asker.device_proof()).map(drop)
}

/// Asks once what there is to do, and waits a while where that is what is `known`, by the name that the last poll gave it. For where something
/// in between lets no stream through.
///
/// # Errors
/// As [`listen`].
pub fn poll(terminal: &Terminal, library: &Library, card: &CardChoice, known: Option<&str>) -> Result<(Vec<Job>, String)> {
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, Some(library.path()))?;
    let (result, id) =
        exchange::poll::<InboxResult>(terminal, &authority, &operation(&asker, vec![], vec![]), &asker.device_proof(), known)?;
    Ok((result.jobs, id))
}

/// Waits for jobs and hands them on as they come; nothing, where the authority only says that it is still there. Ends when `take` says so,
/// or when the authority ends the stream.
///
/// # Errors
/// The refusals of `inbox`; [`crate::transport::TransportError`].
pub fn listen(
    terminal: &Terminal,
    library: &Library,
    card: &CardChoice,
    take: &mut dyn FnMut(Option<Vec<Job>>) -> ControlFlow<()>,
) -> Result<()> {
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, Some(library.path()))?;
    exchange::listen::<InboxResult>(terminal, &authority, &operation(&asker, vec![], vec![]), &asker.device_proof(), &mut |result| {
        take(result.map(|result| result.jobs))
    })
}

fn operation(asker: &Asker, done: Vec<JobDone>, progress: Vec<JobProgress>) -> Operation {
    Operation::Inbox(Inbox { user_id: asker.user, device_id: asker.device, done, progress })
}
