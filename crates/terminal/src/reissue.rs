//! A new card for one that is lost (C15): made, asked for with what was written down, and filled when the repair centre has decided.
//!
//! The same command again goes on wherever it was interrupted: the card and what it asks for are on disk before anything is sent, the card
//! names nobody before its entry is this card's, and it is filled in one write.

use crate::card::{CardChoice, CardInfo, FileHolder, HolderError, Sealed, card_new, make_card};
use crate::collect::{Collected, collect_onto, open_card};
use crate::error::{Error, Result};
use crate::exchange::ask;
use crate::home::Authority;
use crate::terminal::Terminal;
use counterfoil_core::wire::{HolderKeys, Operation, Reissue, ReissueResult, ReissueState};
use counterfoil_core::{CardId, Code, RecoveryCode, Refusal, ReissueId, Timestamp, UserId};
use counterfoil_format::grant::{SealedBox, seal_box};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What the box of a request says that it is for, before the new card's ID.
const PURPOSE: &str = "reissue";

/// What was written down when the lost card was registered.
#[derive(Clone, Debug)]
pub struct WrittenDown {
    /// Whose entry.
    pub user_id: UserId,
    /// Shown beside it.
    pub code: RecoveryCode,
    /// How the repair centre reaches the user; 200 characters at most.
    pub contact: Option<String>,
}

/// What a new card has asked for, as it keeps that until it is filled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealedReissue {
    /// Name of the authority that is asked.
    pub authority: String,
    /// User ID, code and contact, sealed to the card itself: good for as long as its key is.
    asked: SealedBox,
    /// Since when.
    pub since: Timestamp,
    /// The authority's name for it, once it has answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reissue_id: Option<ReissueId>,
}

#[derive(Serialize, Deserialize)]
struct Asked {
    user_id: UserId,
    recovery_code: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    contact: Option<String>,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Replaced {
    /// The repair centre has not decided yet, or the time that the operator has it wait is not over.
    Waiting {
        /// The new card.
        card_id: CardId,
        /// Where it lies.
        path: PathBuf,
        /// What waits.
        reissue_id: ReissueId,
        /// Since when.
        since: Timestamp,
    },
    /// The new card is the entry's, and filled.
    Done {
        /// Where it lies.
        path: PathBuf,
        /// What it holds.
        collected: Collected,
        /// It was so before.
        already: bool,
    },
}

/// Why a card was not replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReissueError {
    /// Where the new card is to lie is another one.
    #[error("there is a card of somebody's at {}, and the authority does not know it any more", .0.display())]
    Taken(PathBuf),
    /// Nothing was asked for with this card so far.
    #[error("nothing was asked for yet with the card at {}", .0.display())]
    NotAsked(PathBuf),
}

impl ReissueError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            ReissueError::Taken(_) => "exists",
            ReissueError::NotAsked(_) => "not_asked",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self {
            ReissueError::Taken(_) => "Move the old card's file away, or name another place for the new one: `--card NEW-FILE`.",
            ReissueError::NotAsked(_) => "Give the user ID and the recovery code that you have written down: `--user`, `--recovery-code`.",
        }
    }
}

/// Whether a request can go on without being told user ID and code: a card that has asked, or is somebody's.
///
/// # Errors
/// [`HolderError`]; what the system said.
pub fn has_asked(terminal: &Terminal, choice: &CardChoice) -> Result<bool> {
    match open_card(terminal, choice) {
        Ok(card) => Ok(card.sealed().reissue.is_some() || card.sealed().user.is_some()),
        Err(Error::Holder(HolderError::Missing { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks for a new card in place of a lost one, or goes on with what was asked. The card is made where there is none.
///
/// # Errors
/// [`Code::UserInvalid`] where user ID and code do not fit each other; [`Code::ReissueDeclined`]; [`ReissueError`];
/// [`crate::transport::TransportError`]: then a repeat goes on.
pub fn replace_card(terminal: &Terminal, choice: &CardChoice, written: Option<&WrittenDown>) -> Result<Replaced> {
    let _home = terminal.home().lock()?;
    let authority = terminal.meet(&[])?;
    let mut card = open_or_make(terminal, choice, written)?;
    let path = card.path().to_owned();
    if card.sealed().user.is_some() {
        return match collect_onto(terminal, &authority, &mut card) {
            Ok(collected) => Ok(Replaced::Done { path, collected, already: true }),
            Err(Error::Refused(_)) => Err(ReissueError::Taken(path).into()),
            Err(error) => Err(error),
        };
    }
    if let Some(written) = written {
        keep(terminal, &authority, &mut card, written)?;
    }
    let result = ask_for(terminal, &authority, &mut card)?;
    match result.state {
        ReissueState::Declined => Err(declined(&path)),
        ReissueState::Waiting => {
            let since = card.sealed().reissue.as_ref().map_or_else(|| terminal.clock().now(), |asked| asked.since);
            Ok(Replaced::Waiting { card_id: card.card_id(), path, reissue_id: result.reissue_id, since })
        }
        ReissueState::Done => {
            let collected = collect_onto(terminal, &authority, &mut card)?;
            Ok(Replaced::Done { path, collected, already: false })
        }
    }
}

/// Makes a card for somebody whose entry gets it at the repair centre, or takes the one that an earlier attempt has made.
///
/// # Errors
/// [`ReissueError::Taken`] where it is somebody's already and [`collect()`](crate::collect()) does not say that it is this one; [`HolderError`].
pub fn card_to_issue(terminal: &Terminal, path: &Path) -> Result<(CardInfo, HolderKeys)> {
    let choice = CardChoice::File(path.to_owned());
    if !terminal.exists(path)? {
        card_new(terminal, Some(path))?;
    }
    let card = open_card(terminal, &choice)?;
    Ok((card.info(), public(&card)))
}

fn open_or_make(terminal: &Terminal, choice: &CardChoice, written: Option<&WrittenDown>) -> Result<FileHolder> {
    match (open_card(terminal, choice), written) {
        (Err(Error::Holder(HolderError::Missing { path, .. })), Some(_)) => make_card(terminal, &path),
        (Err(Error::Holder(HolderError::Missing { path, .. })), None) => Err(ReissueError::NotAsked(path).into()),
        (opened, _) => opened,
    }
}

/// What is asked for is on the card before it is sent. The same again stays as it was.
fn keep(terminal: &Terminal, authority: &Authority, card: &mut FileHolder, written: &WrittenDown) -> Result<()> {
    let asked = Asked { user_id: written.user_id, recovery_code: written.code.to_string(), contact: written.contact.clone() };
    let text = Zeroizing::new(serde_json::to_vec(&asked).expect("texts"));
    if opened(card).is_some_and(|before| Zeroizing::new(serde_json::to_vec(&before).expect("texts")) == text) {
        return Ok(());
    }
    let name = card.card_id().to_string();
    let sealed = terminal.with_random(|random| seal_box(&card.public().sealing, &[PURPOSE, &name], &text, random));
    let asked = sealed.map_err(|_| HolderError::NotOpened)?;
    let reissue = SealedReissue { authority: authority.document.name.clone(), asked, since: terminal.clock().now(), reissue_id: None };
    card.store(Sealed { reissue: Some(reissue), ..card.sealed().clone() })
}

fn opened(card: &FileHolder) -> Option<Asked> {
    let name = card.card_id().to_string();
    let text = card.sealed().reissue.as_ref()?.asked.open(card.dh(), &[PURPOSE, &name]).ok()?;
    serde_json::from_slice(&text).ok()
}

fn ask_for(terminal: &Terminal, authority: &Authority, card: &mut FileHolder) -> Result<ReissueResult> {
    let asked = opened(card).ok_or_else(|| ReissueError::NotAsked(card.path().to_owned()))?;
    let operation = Operation::Reissue(Reissue {
        user_id: asked.user_id,
        recovery_code: asked.recovery_code,
        card: public(card),
        contact: asked.contact,
    });
    let name = card.card_id().to_string();
    // What is asked for is on the card, and the same card's is the same request: every question is a new one, and hears how it stands now.
    let result: ReissueResult = match ask(terminal, authority, &operation, &[(&name, card.signer())]) {
        Ok(result) => result,
        Err(error) => {
            return match error.refusal().map(|refusal| refusal.code) {
                // What was typed was wrong: the next attempt may say something else.
                Some(Code::UserInvalid) => forget(card).and(Err(error)),
                Some(Code::ReissueDeclined) => Err(declined(card.path())),
                _ => Err(error),
            };
        }
    };
    let reissue = card.sealed().reissue.clone().map(|asked| SealedReissue { reissue_id: Some(result.reissue_id), ..asked });
    card.store(Sealed { reissue, ..card.sealed().clone() })?;
    Ok(result)
}

/// A card that was declined stays so, and another one may be asked for.
fn declined(path: &Path) -> Error {
    let hint = format!("Ask the repair centre, with the user ID at hand. To ask anew, move {} away first.", path.display());
    Refusal { hint, ..Refusal::from(Code::ReissueDeclined) }.into()
}

fn forget(card: &mut FileHolder) -> Result<()> {
    card.store(Sealed { reissue: None, ..card.sealed().clone() })
}

fn public(card: &FileHolder) -> HolderKeys {
    let public = card.public();
    HolderKeys { sign: public.signing.to_string(), seal: public.sealing.to_string() }
}
