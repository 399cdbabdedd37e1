//! What the authority has for gateways (C16–C18): a listener of its own, which lets in nobody without a certificate of its own authority.
//!
//! `router.rs` is the table of what is served there, `caller.rs` says which gateway asks and ends what it has open when it is revoked, `issuer.rs`
//! is the certificate authority, `listener.rs` TLS around it.

pub use caller::Caller;

mod caller;
pub mod issuer;
pub mod listener;
mod own;
mod pace;
pub mod router;
