//! What is kept: one aggregate a file, the SQL text and the types of its rows.

pub mod audit;
pub mod outbox;
pub mod request;
pub mod domain;
pub mod key;
pub mod setting;
pub mod token;
