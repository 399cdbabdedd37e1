//! A copy that the authority itself charges for (C18): its refusal names the price, and the same request goes once more with what was agreed to.

use super::stored::Stored;
use crate::error::{Error, Result};
use crate::price::{Price, Unpaid};
use crate::terminal::Terminal;
use counterfoil_core::wire::Operation;
use counterfoil_core::{Code, Currency, Money, Refusal};

/// How often an authority may come with another price for one request.
pub(super) const PRICES: usize = 3;

/// Asks about the price that a refusal names, where it names one that can be agreed to; then what was agreed to is in operation and request, to be
/// sealed again. Nothing was charged for the request until then, and none of its refusals is recorded by the authority.
///
/// # Errors
/// [`Unpaid`] where nobody agrees.
pub(super) fn consent(terminal: &Terminal, operation: &mut Operation, stored: &mut Stored, refusal: &Refusal) -> Result<bool> {
    let asks = matches!(refusal.code, Code::PaymentRequired | Code::PriceChanged);
    let Some(offer) = refusal.offer.as_deref().filter(|_| asks && matches!(operation, Operation::Claim(_))) else { return Ok(false) };
    let price = Price::of(offer, currency(operation))?;
    let at = terminal.authority()?.map(|authority| authority.document.name).unwrap_or_default();
    terminal.consent(&at, &price, stored.agreed)?;
    (stored.agreed, stored.pays_authority) = (Some(price.price), true);
    agree(operation, price.price);
    Ok(true)
}

/// Has an operation say what was agreed to.
pub(super) fn agree(operation: &mut Operation, price: Money) {
    if let Operation::Claim(claim) = operation {
        claim.pay = Some(price);
    }
}

/// Takes out of it what it is paid with.
pub(super) fn strip(operation: &mut Operation) {
    if let Operation::Claim(claim) = operation {
        claim.pay = None;
    }
}

/// A refusal, with the price where it names one.
pub(super) fn unpaid(operation: &Operation, refusal: Refusal) -> Error {
    let price = refusal.offer.as_deref().and_then(|offer| Price::of(offer, currency(operation)).ok());
    match price {
        Some(offer) => Box::new(Unpaid { refusal, offer }).into(),
        None => refusal.into(),
    }
}

fn currency(operation: &Operation) -> Option<Currency> {
    match operation {
        Operation::Claim(claim) => claim.currency,
        _ => None,
    }
}
