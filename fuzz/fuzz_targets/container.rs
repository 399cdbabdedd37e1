//! `container` of crates/format/tests/format/container_entry: what it runs and what must hold is said there.
#![no_main]

#[path = "../../crates/format/tests/format/container_entry/mod.rs"]
mod container_entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    container_entry::container(data);
});
