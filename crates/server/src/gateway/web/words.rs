//! How a gateway's pages say what its database holds.

use counterfoil_core::{Currency, Money};

use crate::gateway::ledger::Balance;
use crate::gateway::statement::signed;
use crate::gateway::store::exchange::State;
use crate::web::console::words::Chip;

/// Where an exchange stands, as its customer reads it.
pub fn state(state: State) -> &'static str {
    match state {
        State::Offered => "not agreed to yet",
        State::Reserved | State::Committing => "on its way",
        State::Charged => "charged",
        State::Voided => "not carried out, nothing was charged",
        State::Lapsed => "not agreed to, nothing was charged",
        State::Undoing => "on its way back",
        State::Undone => "given back",
    }
}

/// The same for whoever runs the gateway.
pub fn chip(state: State) -> Chip {
    match state {
        State::Charged => Chip::good("charged"),
        State::Reserved | State::Committing | State::Undoing => Chip::warn(state.as_str()),
        State::Voided | State::Undone => Chip::bad(state.as_str()),
        State::Offered | State::Lapsed => Chip::plain(state.as_str()),
    }
}

/// `-19.99 EUR`.
pub fn amount(amount: i64, currency: Currency) -> String {
    format!("{} {currency}", signed(amount, currency))
}

/// What can be spent.
pub fn available(held: Balance, currency: Currency) -> Money {
    // The ledger keeps it from being negative.
    Money { amount: held.available().unsigned_abs(), currency }
}

/// What a line of a statement is.
pub fn kind(kind: &str) -> &'static str {
    match kind {
        "top_up" => "Top-up",
        "voucher" => "Voucher",
        "reserve" => "Reserved",
        "charge" => "Charge",
        "void" => "Not charged",
        "refund" => "Refund",
        "chargeback" => "Taken back by the bank",
        "release" => "Not taken from the card",
        "repayment" => "Back to the card",
        "repayment_failed" => "Did not get back to the card",
        _ => "Fee",
    }
}

/// Money as somebody types it: with its currency, or in the one that is usual here.
pub fn money(typed: &str, usual: Currency) -> Option<Money> {
    let typed = typed.trim();
    let typed = if typed.ends_with(|last: char| last.is_ascii_digit()) { format!("{typed} {usual}") } else { typed.to_ascii_uppercase() };
    typed.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn money_is_read_with_its_currency_or_without() {
        let eur = "EUR".parse().unwrap();
        for (typed, read) in [("5", "5.00 EUR"), (" 19.99 ", "19.99 EUR"), ("19.99 usd", "19.99 USD"), ("3 JPY", "3 JPY")] {
            assert_eq!(money(typed, eur).unwrap().to_string(), read);
        }
        for wrong in ["", "EUR", "5.001", "-5", "five"] {
            assert!(money(wrong, eur).is_none(), "{wrong}");
        }
    }
}
