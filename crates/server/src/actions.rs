//! The use cases, one a file: they open the transaction, have `core` decide, and write what was decided.

pub mod token;
