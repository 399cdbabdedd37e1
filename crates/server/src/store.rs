//! What is kept: one aggregate a file, the SQL text and the types of its rows.

pub mod audit;
pub mod batch;
pub mod content_key;
pub mod domain;
pub mod key;
pub mod outbox;
pub mod publisher;
pub mod release;
pub mod request;
pub mod setting;
pub mod title;
pub mod token;
