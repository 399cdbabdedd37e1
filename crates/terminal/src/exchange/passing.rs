//! An exchange through a gateway: sent by its name, and once more with the price that the person has agreed to (C17).

use super::stored::Stored;
use crate::error::{Error, Result};
use crate::price::{By, Charged};
use crate::terminal::Terminal;
use crate::transport::{self, Passage, TransportError};
use counterfoil_core::{CardId, Code, Refusal};
use counterfoil_format::jws::Signer;
use std::path::Path;

/// How often a gateway may come with another price while one exchange is made.
const PRICES: usize = 3;

/// Sends a request through a gateway, under its own ID however often it is sent, and asks about the price where there is one. What is agreed to
/// is stored before it is said, so that the same command after a crash is the same exchange, charged once. Only what is stored can be paid for.
///
/// # Errors
/// [`crate::Unpaid`] and whatever else the gateway refuses: the request stays, so that nothing is charged twice. A refusal that lets another
/// request take its place is handed back. [`TransportError`]: whether it was carried out, and charged, is told when it is repeated.
pub(super) fn send(
    terminal: &Terminal,
    gateway: &str,
    proofs: &[(&str, Signer<'_>)],
    request: &mut Stored,
    stored_at: Option<&Path>,
) -> Result<std::result::Result<String, Refusal>> {
    let line = terminal.transport(&[])?;
    // A token is for the gateway alone, and not for whoever listens on the line.
    let account = if line.is_guarded() { terminal.signed_in(gateway)? } else { None };
    let card = proofs.iter().find_map(|(name, _)| name.parse::<CardId>().ok());
    let envelope = request.envelope.to_json();
    if request.agreed_with.as_deref().is_some_and(|other| other != gateway) {
        request.agreed = None;
    }
    for _ in 0..=PRICES {
        let token = account.as_ref().map(|account| account.token.as_str());
        let passage = Passage { exchange: request.request_id, token, card, pay: request.agreed };
        let unpaid = match line.pass(&envelope, &passage) {
            Ok(passed) => {
                if let Some(transport::Charged { price, title, name, balance }) = passed.charged {
                    let (exchange, balance) = (Some(request.request_id), Some(balance));
                    terminal.note_charged(Charged { by: By::Gateway, price, title, name, exchange, order: None, payment: None, balance });
                }
                return Ok(Ok(passed.answer));
            }
            Err(TransportError::Refused(refusal)) if matches!(refusal.code, Code::EnvelopeInvalid | Code::ExchangeEnded) => {
                return Ok(Err(refusal));
            }
            Err(TransportError::Unpaid(unpaid)) => unpaid,
            Err(TransportError::Refused(refusal)) if is_gateways_own(refusal.code) => return Err(refusal.into()),
            // What the authority decides it signs.
            Err(error) => return Err(Error::Transport(error)),
        };
        let asks = matches!(unpaid.refusal.code, Code::ChargeUnconfirmed | Code::PriceChanged);
        let Some(path) = stored_at.filter(|_| asks) else { return Err(unpaid.into()) };
        terminal.consent(gateway, &unpaid.offer, request.agreed)?;
        request.agreed = Some(unpaid.offer.price);
        request.agreed_with = Some(gateway.to_owned());
        request.keep(terminal, path)?;
    }
    let reason = "it comes with one price after the other".to_owned();
    Err(Error::Transport(TransportError::NotAnAuthority { url: gateway.to_owned(), reason }))
}

/// Whether a gateway says so of itself: of accounts, of money, and of how it is asked.
fn is_gateways_own(code: Code) -> bool {
    matches!(
        code,
        Code::AccountNeeded
            | Code::ChargeUnconfirmed
            | Code::PriceChanged
            | Code::PaymentRefused
            | Code::RateLimited
            | Code::RequestMismatch
    )
}
