//! Orders: what is bought or tried for this device, what was ordered before, and what is given back (D2, D3).

use crate::asker::Asker;
use crate::card::CardChoice;
use crate::error::Result;
use crate::exchange::{ask, exchange};
use crate::library::Library;
use crate::license::end;
use crate::price::{By, Charged};
use crate::terminal::Terminal;
use counterfoil_core::rules::order::{Payment, Wanted};
use counterfoil_core::wire::{Operation, Order, OrderResult, Orders, OrdersResult, Refund, RefundResult};
use counterfoil_core::{Currency, OrderId, TitleId};

/// Orders a title for this device, paid for in that currency where the price is a gateway's. Interrupted, the same again is the same order, and is charged once.
///
/// # Errors
/// The refusals of `order`; [`crate::transport::TransportError`].
pub fn order(terminal: &Terminal, card: &CardChoice, title: &TitleId, wanted: &Wanted, currency: Option<Currency>) -> Result<OrderResult> {
    let _home = terminal.home().lock()?;
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, terminal.home().profile()?.library.as_deref())?;
    let (price, trial) = match wanted {
        Wanted::Purchase(price) => (*price, false),
        Wanted::Trial => (None, true),
    };
    let operation = Operation::Order(Order {
        user_id: asker.user,
        card_id: asker.card_id(),
        device_id: asker.device,
        title: title.clone(),
        price,
        currency,
        trial,
    });
    let placed: OrderResult = exchange(terminal, &authority, operation, &asker.proofs())?.applied(terminal);
    if let (None, Some(price)) = (terminal.via()?, placed.charged.filter(|charged| charged.amount > 0)) {
        let (title, name, order) = (title.clone(), title.to_string(), Some(placed.order_id));
        let balance = placed.balance;
        let payment = Some(if balance.is_some() { Payment::Balance } else { Payment::Invoice });
        terminal.note_charged(Charged { by: By::Authority, price, title, name, exchange: None, order, payment, balance });
    }
    Ok(placed)
}

/// What the user has ordered, on whichever device, and what is left of what was paid in advance.
///
/// # Errors
/// The refusals of `orders`; [`crate::transport::TransportError`].
pub fn orders(terminal: &Terminal, card: &CardChoice) -> Result<OrdersResult> {
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, terminal.home().profile()?.library.as_deref())?;
    let operation = Operation::Orders(Orders { user_id: asker.user, device_id: asker.device });
    ask(terminal, &authority, &operation, &asker.device_proof())
}

/// Gives an order back, with every license by it. What was installed by them here stays on disk, and starts no more.
///
/// # Errors
/// The refusals of `refund`; [`crate::transport::TransportError`]: then a repeat has no second effect.
pub fn refund(terminal: &Terminal, card: &CardChoice, order: OrderId) -> Result<RefundResult> {
    let _home = terminal.home().lock()?;
    let authority = terminal.meet(&[])?;
    let library = terminal.home().profile()?.library;
    let asker = Asker::new(terminal, &authority, card, library.as_deref())?;
    let operation = Operation::Refund(Refund { user_id: asker.user, card_id: asker.card_id(), device_id: asker.device, order_id: order });
    let accepted = exchange::<RefundResult>(terminal, &authority, operation, &asker.proofs())?;
    // Where the library is not at hand, the inbox tells of it later.
    if let Some(library) = library.and_then(|path| Library::open(terminal, &path).ok()) {
        end(terminal, &library, &accepted.result.ended)?;
    }
    Ok(accepted.applied(terminal))
}
