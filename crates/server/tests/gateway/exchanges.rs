//! Exchanges at the authority (C16–C18): prepared, committed, given up and undone, whatever comes in between.

mod at_authority;
mod broken;
mod counter;
mod races;
mod steps;
mod undone;
