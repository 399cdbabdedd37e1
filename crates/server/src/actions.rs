//! The use cases, one a file: they open the transaction, have `core` decide, and write what was decided.

pub mod checks;
pub mod publish_release;
pub mod publisher;
pub mod title;
pub mod token;
