//! What a gateway keeps besides its ledger: one aggregate a file, the SQL text and the types of its rows.

pub mod account;
pub mod exchange;
pub mod payment;
pub mod payment_card;
pub mod repayment;
