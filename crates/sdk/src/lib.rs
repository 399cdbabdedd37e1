//! The terminal for programs in other languages: an offline check of a license, and reading from a title in the library, over a C ABI.
//!
//! `include/counterfoil.h` is what such a program sees, and says all that there is to know; `tests/header.rs` holds the two together.
//! [`abi`] is the only module with `unsafe` in it. Whatever it is asked is answered by [`check`] and [`files`], which are safe Rust and have no
//! way to the network.

pub mod abi;
pub mod check;
pub mod failure;
pub mod files;

pub use check::License;
pub use failure::Failure;
pub use files::{Entries, File, Opened};

use std::ffi::CString;

/// Text for C, which ends at a NUL: none can be within it.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).expect("no NUL is left")
}
