//! What a gateway keeps besides its ledger: one aggregate a file, the SQL text and the types of its rows.

pub mod account;
pub mod alert;
pub mod customer;
pub mod entry;
pub mod exchange;
pub mod listed;
pub mod mail;
pub mod payment;
pub mod payment_card;
pub mod repayment;
