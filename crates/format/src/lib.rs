//! The bytes of Counterfoil: content on its way from publisher to library, and the keys, boxes, signatures and envelopes around it.

// Content: cut, compressed, sealed, packed, listed (SPEC.md §1–§5).
pub mod content;

// Single things of any length (SPEC.md §12).
pub mod container;

// Keys and messages: secrets, HPKE, JWS, envelopes (SPEC.md §6–§9).
pub mod claim;
pub mod encoding;
pub mod envelope;
pub mod grant;
pub mod holder;
pub mod hpke;
pub mod jws;
pub mod jwt;
pub mod refresh;
mod sealing;
pub mod secret;
pub mod sign;
pub mod signer;
pub mod wrap;
