//! Patches made and applied: what comes out is what went in, and nothing else is accepted.

#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]
mod containers;
mod corpus;
mod executables;
mod hostile;
mod round_trip;
mod support;
