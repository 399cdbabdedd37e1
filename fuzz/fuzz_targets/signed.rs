//! `signed` of crates/format/tests/format/crypto_entry: what it runs and what must hold is said there.

#![no_main]

#[path = "../../crates/format/tests/format/crypto_entry/mod.rs"]
#[allow(dead_code)] // the other targets
mod crypto_entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    crypto_entry::signed(data);
});
