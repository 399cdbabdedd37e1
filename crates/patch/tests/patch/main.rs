//! Patches made and applied: what comes out is what went in, and nothing else is accepted.

mod containers;
mod corpus;
mod executables;
mod hostile;
mod round_trip;
mod support;
