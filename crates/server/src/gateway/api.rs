//! What a gateway answers over HTTP: one file a subject.

pub mod accounts;
pub mod exchange;
pub mod ledger;
pub mod payments;
pub mod server;
