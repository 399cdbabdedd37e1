//! Containers made by the tools that people use come back bit for bit, whatever is wrong with them, and cost what their text costs.

use std::path::Path;

use counterfoil_patch::{ApplyError, Files, Limits, apply};
use proptest::prelude::*;

use crate::support::{Collect, applied, noise, patch};

/// `tests/containers/make` says how each was made.
fn container(name: &str, version: u32) -> Vec<u8> {
    let (stem, dot) = name.rsplit_once('.').unwrap();
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/containers/{stem}-v{version}.{dot}"))).unwrap()
}

const ALL: [&str; 12] = [
    "python-1.zip",
    "python-6.zip",
    "python-9.zip",
    "descriptors.zip",
    "zip64.zip",
    "nested.zip",
    "info-zip-9.zip",
    "7z.zip",
    "python.gz",
    "members.gz",
    "gnu.gz",
    "zopfli.gz",
];

/// A sentence was put into one text, and a mark behind another: what that costs when the text is seen, with room for headers.
const SEEN: usize = 450;

fn comes_back(old: Vec<u8>, new: Vec<u8>) -> usize {
    let (old, new) = (vec![old], vec![new]);
    let patch = patch(&old, &new);
    assert!(applied(&old, &patch).unwrap() == new);
    patch.len()
}

#[test]
fn every_container_comes_back_and_those_of_known_encoders_are_unwrapped() {
    for name in ALL {
        let (old, new) = (container(name, 1), container(name, 2));
        let length = new.len();
        let cost = comes_back(old, new);
        println!("{name}: {cost} of {length}");
        match name {
            "7z.zip" | "zopfli.gz" => assert!(cost > SEEN, "{name}: no encoder here gives these bytes, yet they cost {cost}"),
            _ => assert!(cost < SEEN, "{name}: {cost}"),
        }
    }
}

#[test]
fn a_container_beside_other_files_and_one_that_is_new() {
    let old = vec![noise(1, 500), container("python-6.zip", 1), vec![], container("python.gz", 1)];
    let new = vec![container("python.gz", 2), noise(1, 499), container("nested.zip", 2), container("python-6.zip", 2), vec![]];
    assert!(applied(&old, &patch(&old, &new)).unwrap() == new);
}

#[test]
fn a_long_stream_is_read_at_random_in_little_memory() {
    // Longer than what is kept of a stream's text, and put together the other way round.
    let text: Vec<u8> = noise(3, 12 << 20).into_iter().map(|byte| byte & 0x1F).collect();
    let (first, second) = text.split_at(text.len() / 2 + 12_345);
    let old = miniz(&text);
    let new = miniz(&[second, b"something between them", first].concat());
    let (length, cost) = (new.len(), comes_back(gzip(&old), gzip(&new)));
    assert!(cost < length / 1000, "{cost} of {length}");
}

#[test]
fn every_cut_of_a_container_comes_back() {
    for name in ALL {
        let (old, new) = (container(name, 1), container(name, 2));
        for at in (0..new.len()).step_by(new.len() / 6).chain(new.len() - 5..new.len()) {
            comes_back(old.clone(), new[..at].to_vec());
            comes_back(old[..at.min(old.len())].to_vec(), new.clone());
        }
    }
}

#[test]
fn a_patch_gives_no_more_than_is_allowed() {
    let (old, new) = (vec![container("nested.zip", 1)], vec![container("nested.zip", 2)]);
    let patch = patch(&old, &new);
    let with = |files, bytes| apply(&old, &patch, &Limits { files, bytes }, &mut Collect::default(), &mut |_| ());
    let length = new.length(0);
    assert!(with(1, length).is_ok());
    assert!(with(0, length).is_err());
    assert!(matches!(with(1, length - 1), Err(ApplyError::Damaged(_))));
}

#[test]
fn a_flipped_bit_of_a_patch_for_containers_is_no_panic() {
    let (old, new) = (vec![container("nested.zip", 1)], vec![container("nested.zip", 2)]);
    let patch = patch(&old, &new);
    let mut errors = 0;
    for at in 0..patch.len() {
        let mut flipped = patch.clone();
        flipped[at] ^= 1 << (at % 8);
        let mut sink = Collect::default();
        errors += usize::from(apply(&old, &flipped, &Limits { files: 1, bytes: new.length(0) }, &mut sink, &mut |_| ()).is_err());
        let given: usize = sink.files.iter().map(Vec::len).sum();
        assert!(given as u64 <= new.length(0));
    }
    assert!(errors > patch.len() / 10, "{errors} of {}", patch.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_containers_come_back(which in 0..ALL.len(), side: bool, hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (mut old, mut new) = (container(ALL[which], 1), container(ALL[which], 2));
        let damaged = if side { &mut old } else { &mut new };
        for (at, byte) in hits {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        comes_back(old, new);
    }

    #[test]
    fn text_packed_at_any_level_comes_back(level in 1..=10u8, len in 0..200_000usize, seed: u64) {
        let mut text: Vec<u8> = noise(seed, len).into_iter().map(|byte| byte & 0x0F).collect();
        let old = gzip(&miniz_oxide::deflate::compress_to_vec(&text, level));
        text.splice(len / 2..len / 2, *b"a few bytes more");
        comes_back(old, gzip(&miniz_oxide::deflate::compress_to_vec(&text, level)));
    }
}

fn miniz(text: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec(text, 6)
}

/// A gzip member around a stream; nothing here reads its checksum.
fn gzip(packed: &[u8]) -> Vec<u8> {
    [&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF], packed, &[0; 8]].concat()
}
