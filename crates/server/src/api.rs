//! The HTTP API: one resource a file, JSON over the actions.

pub mod audit;
pub mod batches;
pub mod cards;
pub mod contents;
pub mod health;
pub mod home;
pub mod inbox;
pub mod listings;
pub mod media;
pub mod openapi;
pub mod orders;
pub mod page;
pub mod pictures;
pub mod publishers;
pub mod range;
pub mod releases;
pub mod shop;
pub mod store;
pub mod store_release;
pub mod terminal;
pub mod titles;
pub mod tokens;
pub mod users;
pub mod well_known;
pub mod whoami;
