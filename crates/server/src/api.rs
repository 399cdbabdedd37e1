//! The HTTP API: one resource a file, JSON over the actions.

pub mod health;
pub mod page;
pub mod publishers;
pub mod releases;
pub mod titles;
pub mod tokens;
pub mod well_known;
pub mod whoami;
