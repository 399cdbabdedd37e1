//! The code that is written down beside the user ID, for the day the card is lost (C15).

use crate::card::{CardChoice, HolderError, Sealed, SealedUser, file::open_user};
use crate::collect::open_card;
use crate::error::Result;
use crate::exchange::{ExchangeError, exchange, refused};
use crate::terminal::Terminal;
use counterfoil_core::wire::{AskRecoveryCode, Operation, RecoveryCodeResult};
use counterfoil_core::{Code, RecoveryCode};
use counterfoil_format::grant::{SealedBox, purpose};
use counterfoil_format::jws::Signer;

/// Asks for a recovery code, in place of the one from before. It is kept nowhere: who asked writes it down.
///
/// # Errors
/// [`Code::UserInvalid`] where the card is not registered; [`Code::DeviceNotRegistered`] where its entry has a device and this is none of it;
/// the refusals of `recovery_code`; [`crate::transport::TransportError`]: then a repeat gets the same code.
pub fn recovery_code(terminal: &Terminal, card: &CardChoice) -> Result<RecoveryCode> {
    let _home = terminal.home().lock()?;
    let authority = terminal.meet(&[])?;
    let mut card = open_card(terminal, card)?;
    let user_id = open_user(&card)?;
    let registered = card.sealed().user.clone().expect("a user ID was read from it");
    if registered.authority != authority.document.name {
        let detail = format!("it is registered with `{}`, not with `{}`", registered.authority, authority.document.name);
        return Err(refused(Code::UserInvalid, detail));
    }
    let device_keys = if registered.combination.device { terminal.device_keys()? } else { None };
    if registered.combination.device && device_keys.is_none() {
        return Err(refused(Code::DeviceNotRegistered, "the device has never been registered"));
    }
    let device_id = device_keys.as_ref().map(|_| terminal.device_id()).transpose()?;
    let (card_id, card_name) = (card.card_id(), card.card_id().to_string());
    let device_name = device_id.map(|id| id.to_string()).unwrap_or_default();
    let mut proofs: Vec<(&str, Signer<'_>)> = vec![(&card_name, card.signer())];
    proofs.extend(device_keys.as_ref().map(|keys| (device_name.as_str(), keys.signer())));
    let operation = Operation::RecoveryCode(AskRecoveryCode { user_id, card_id, device_id });
    let accepted = exchange::<RecoveryCodeResult>(terminal, &authority, operation, &proofs)?;

    let shape = |reason: String| ExchangeError::Shape(reason);
    let sealed: SealedBox = serde_json::from_value(accepted.result.code.clone()).map_err(|error| shape(error.to_string()))?;
    let code = sealed.open(card.dh(), &[purpose::RECOVERY_CODE, &card_name]).map_err(HolderError::from)?;
    let code = std::str::from_utf8(&code).ok().and_then(|text| text.parse().ok());
    let code: RecoveryCode = code.ok_or_else(|| shape("its recovery code is none".into()))?;
    let user = SealedUser { recovery_at: Some(terminal.clock().now()), ..registered };
    card.store(Sealed { user: Some(user), ..card.sealed().clone() })?;
    accepted.applied(terminal);
    Ok(code)
}
