//! All tests of gateways in one program, as those of the server are.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails, as it should")]

#[path = "../server/support/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the tests of the server use all of it, these a part")]
mod support;

mod cards;
mod exchanges;
mod ledger;
mod pages;
mod reseller;
mod through;
