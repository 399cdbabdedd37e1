//! `patch` of crates/patch/tests/patch_entry: what it runs and what must hold is said there.
#![no_main]

#[path = "../../crates/patch/tests/patch_entry/mod.rs"]
mod patch_entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    patch_entry::patch(data);
});
