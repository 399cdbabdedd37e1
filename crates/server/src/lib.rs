//! The Counterfoil authority as a library, so that tests and the binary stand on the same modules.

pub mod db;
pub mod store;
