//! What is kept: one aggregate a file, the SQL text and the types of its rows.

pub mod audit;
pub mod audit_log;
pub mod batch;
pub mod content_key;
pub mod counts;
pub mod domain;
pub mod entitlement;
pub mod grant;
pub mod holder;
pub mod imported;
pub mod key;
pub mod lease;
pub mod medium;
pub mod outbox;
pub mod pressed;
pub mod publisher;
pub mod release;
pub mod request;
pub mod setting;
pub mod title;
pub mod token;
pub mod user;
