//! Runs the fuzz target's corpus as plain tests: what was found once is never found again.

use std::fs;
use std::path::Path;

#[path = "../patch_entry/mod.rs"]
mod entry;

/// Gives every input to `entry`, which says whether it was a good patch; counts those.
fn replay(entry: fn(&[u8]) -> bool) -> usize {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/patch_apply");
    let (mut inputs, mut good) = (0, 0);
    for file in fs::read_dir(&corpus).unwrap() {
        good += usize::from(entry(&fs::read(file.unwrap().path()).unwrap()));
        inputs += 1;
    }
    assert!(inputs >= 6, "{inputs} inputs in {}", corpus.display());
    good
}

#[test]
fn patch_corpus() {
    assert!(replay(entry::patch) >= 2, "the corpus does not reach the end of a patch");
}
