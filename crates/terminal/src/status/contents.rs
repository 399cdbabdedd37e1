//! Contents servers of others (A10): they are shown a status with a verdict token, and what they select is handed in at the authority.

use crate::asker::Asker;
use crate::card::CardChoice;
use crate::error::Result;
use crate::exchange::ask;
use crate::terminal::Terminal;
use crate::transport::TransportError;
use counterfoil_core::wire::{ContentsServer, HandIn, HandInResult, Operation, Selected, Selection, ShowStatus, ShownStatus, Status};
use std::path::Path;

/// What came of asking.
#[derive(Debug, Default)]
pub struct Shown {
    /// What was selected, and is to be installed.
    pub selected: Vec<Selected>,
    /// Which of them selected nothing because it did not answer as it should, and why.
    pub failed: Vec<(String, String)>,
}

/// Shows each contents server the status that it is to be shown. One that is slow, lies or is not there keeps nothing else back.
///
/// # Errors
/// Who asks is not registered; what the system said.
pub fn show(terminal: &Terminal, library: &Path, card: &CardChoice, servers: &[ContentsServer], statuses: &[Status]) -> Result<Shown> {
    let mut shown = Shown::default();
    if servers.is_empty() {
        return Ok(shown);
    }
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, Some(library))?;
    for server in servers {
        let Some((url, status)) = server.url.as_ref().zip(statuses.iter().find(|status| status.title == server.title)) else { continue };
        let answered = selected_by(terminal, url, server, status).and_then(|selection| {
            let verdict = server.verdict.clone();
            let operation = Operation::HandIn(HandIn { user_id: asker.user, device_id: asker.device, verdict, selection });
            ask::<HandInResult>(terminal, &authority, &operation, &asker.device_proof())
        });
        match answered {
            Ok(result) => shown.selected.extend(result.selected),
            Err(error) => shown.failed.push((url.clone(), error.to_string())),
        }
    }
    Ok(shown)
}

fn selected_by(terminal: &Terminal, url: &str, server: &ContentsServer, status: &Status) -> Result<String> {
    let body = ShowStatus { verdict: server.verdict.clone(), status: ShownStatus::from(status) };
    let body = serde_json::to_vec(&body).expect("a status is texts and numbers");
    let answer = terminal.transport_to(url)?.show(&body)?;
    let unreadable = |error: serde_json::Error| TransportError::NotAnAuthority { url: url.to_owned(), reason: error.to_string() };
    let answer: Selection = serde_json::from_slice(&answer).map_err(unreadable)?;
    Ok(answer.selection)
}
