//! Runs the fuzz targets' corpus of content as plain tests: what was found once is never found again.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

#[allow(dead_code, reason = "each program of tests uses a part of it")]
mod content_entry;

use std::fs;
use std::path::Path;

fn replay(target: &str, at_least: usize, entry: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs = 0;
    for file in fs::read_dir(&corpus).unwrap() {
        entry(&fs::read(file.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs >= at_least, "{inputs} inputs in {}", corpus.display());
}

#[test]
fn manifest_corpus() {
    replay("content_manifest", 70, content_entry::manifest);
}

#[test]
fn chunk_corpus() {
    replay("content_chunk", 5, content_entry::chunk);
}

#[test]
fn release_corpus() {
    replay("content_release", 15, content_entry::release);
}

#[test]
fn path_corpus() {
    replay("content_path", 30, content_entry::path);
}

/// The entries can fail: a body that they take for good and that is not what was stored is noticed.
#[test]
#[should_panic(expected = "a manifest that does not parse was planted")]
fn a_failing_entry_fails_its_test() {
    replay("content_manifest", 70, |data| {
        assert!(counterfoil_format::content::Manifest::parse(data).is_ok(), "a manifest that does not parse was planted");
    });
}
