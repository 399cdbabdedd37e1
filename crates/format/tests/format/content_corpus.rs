//! Runs the fuzz targets' corpus of content as plain tests: what was found once is never found again.

use counterfoil_format::content::{ChunkId, DeltaGroup, DeltaIndex, Run};
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
    replay("content_manifest", 70, crate::content_entry::manifest);
}

#[test]
fn chunk_corpus() {
    replay("content_chunk", 5, crate::content_entry::chunk);
}

#[test]
fn release_corpus() {
    replay("content_release", 15, crate::content_entry::release);
}

#[test]
fn delta_corpus() {
    replay("content_delta", 10, crate::content_entry::delta);
}

/// Indices of all kinds, and each of them cut and with a byte changed where it matters.
#[test]
#[ignore = "writes the corpus"]
fn write_delta_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/content_delta");
    fs::create_dir_all(&corpus).unwrap();
    let run = |first, count| Run { first, count };
    let group = |new: &[Run], old: &[Run], sealed| DeltaGroup { new: new.to_vec(), old: old.to_vec(), sealed };
    let index = |manifest, groups: &[DeltaGroup]| DeltaIndex {
        from: ChunkId([1; 32]),
        to: ChunkId([2; 32]),
        encoder: "zstd 1.5.7".into(),
        level: 3,
        manifest,
        groups: groups.to_vec(),
    };
    let whole = group(&[run(0, 3), run(5, 1)], &[run(2, 2), run(9, 1)], 4000);
    let made = [
        ("good-nothing", index(0, &[])),
        ("good-manifest", index(300, &[])),
        ("good-one", index(0, std::slice::from_ref(&whole))),
        ("good-new-alone", index(17, &[group(&[run(7, 1)], &[], 17)])),
        ("good-many", index(40, &(0..50).map(|at| group(&[run(10 * at, 3)], &[run(at, 1)], 100 + at)).collect::<Vec<_>>())),
    ];
    for (name, index) in made {
        fs::write(corpus.join(name), index.encode()).unwrap();
    }
    let good = index(0, &[whole]).encode();
    for at in [0, 31, 64, 70, 75, 77, 79, 80, 81, 84, good.len() - 1] {
        fs::write(corpus.join(format!("cut-{at}")), &good[..at]).unwrap();
        let mut bad = good.clone();
        bad[at] = 0xff;
        fs::write(corpus.join(format!("bad-{at}")), bad).unwrap();
    }
    fs::write(corpus.join("bad-behind"), [&good[..], b"x"].concat()).unwrap();
}

#[test]
fn path_corpus() {
    replay("content_path", 30, crate::content_entry::path);
}

/// The entries can fail: a body that they take for good and that is not what was stored is noticed.
#[test]
#[should_panic(expected = "a manifest that does not parse was planted")]
fn a_failing_entry_fails_its_test() {
    replay("content_manifest", 70, |data| {
        assert!(counterfoil_format::content::Manifest::parse(data).is_ok(), "a manifest that does not parse was planted");
    });
}
