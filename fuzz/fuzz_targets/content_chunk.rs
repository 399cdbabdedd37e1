//! `chunk` of crates/format/tests/format/content_entry: what it runs and what must hold is said there.
#![no_main]

#[path = "../../crates/format/tests/format/content_entry/mod.rs"]
#[allow(dead_code)] // the other targets
mod content_entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| content_entry::chunk(data));
