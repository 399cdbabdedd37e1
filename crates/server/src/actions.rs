//! The use cases, one a file: they open the transaction, have `core` decide, and write what was decided.

pub mod asked;
pub mod card;
pub mod checks;
pub mod claim;
pub mod confirm;
pub mod create_batch;
pub mod exchange;
pub mod heal;
pub mod import_media;
pub mod inspect;
pub mod press;
pub mod proof;
pub mod publish_release;
pub mod publisher;
pub mod register;
pub mod retire_medium;
pub mod seal;
pub mod title;
pub mod token;
