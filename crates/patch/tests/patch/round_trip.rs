//! What applying a patch gives is what it was made from.

use counterfoil_patch::Options;
use proptest::prelude::*;

use crate::support::{applied, noise, patch, patch_with};

fn comes_back(old: Vec<Vec<u8>>, new: Vec<Vec<u8>>) -> usize {
    let patch = patch(&old, &new);
    assert!(applied(&old, &patch).unwrap() == new);
    patch.len()
}

#[test]
fn nothing_and_empty_files() {
    comes_back(vec![], vec![]);
    comes_back(vec![b"gone".to_vec()], vec![]);
    comes_back(vec![], vec![vec![], vec![]]);
    comes_back(vec![vec![]], vec![vec![], b"x".to_vec(), vec![]]);
    comes_back(vec![b"x".to_vec()], vec![b"y".to_vec()]);
}

/// proves: A5
#[test]
fn a_few_changed_bytes_cost_a_few_bytes() {
    let old = noise(1, 3_000_000);
    let mut new = old.clone();
    new[1_000_000] ^= 1;
    new.splice(2_000_000..2_000_003, *b"hello");
    let len = comes_back(vec![old], vec![new]);
    assert!(len < 120, "{len}");
}

#[test]
fn what_moved_between_files_is_found() {
    let (one, two, three) = (noise(1, 200_000), noise(2, 150_000), noise(3, 10_000));
    let len = comes_back(vec![one.clone(), two.clone()], vec![[two, three].concat(), one]);
    assert!(len < 10_200, "{len}");
}

#[test]
fn a_thousand_small_files() {
    let old: Vec<Vec<u8>> = (0..1000u64).map(|i| noise(i, 100 + i as usize % 700)).collect();
    let new: Vec<Vec<u8>> =
        old.iter().enumerate().map(|(i, file)| if i % 7 == 0 { [&file[..50], b"+", &file[50..]].concat() } else { file.clone() }).collect();
    let total: usize = new.iter().map(Vec::len).sum();
    assert!(comes_back(old, new) < total / 20);
}

#[test]
fn groups_are_made_and_applied_one_after_the_other() {
    let old: Vec<Vec<u8>> = (0..9u64).map(|i| noise(i, 30_000)).collect();
    let mut new = old.clone();
    new[4][100] = 0;
    new[8].extend_from_slice(b"more");
    let mut options = Options::default();
    options.group = 70_000;
    let patch = patch_with(&old, &new, &options);
    assert!(applied(&old, &patch).unwrap() == new);
    assert!(patch.len() < 50_000, "{}", patch.len());
    assert_eq!(patch, patch_with(&old, &new, &options), "the same files always give the same patch");
}

/// One edit of a text.
#[derive(Clone, Debug)]
enum Edit {
    Flip(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Move(usize, usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0..40_000usize;
    prop_oneof![
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Edit::Flip(at, byte)),
        (at.clone(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at.clone(), 0..5000usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        (at.clone(), 0..9000usize, at).prop_map(|(from, len, to)| Edit::Move(from, len, to)),
    ]
}

fn edited(mut text: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let within = |at: usize, text: &[u8]| at.min(text.len());
        match edit {
            Edit::Flip(at, byte) => {
                if let Some(old) = text.get_mut(*at) {
                    *old ^= byte;
                }
            }
            Edit::Insert(at, bytes) => {
                let at = within(*at, &text);
                text.splice(at..at, bytes.iter().copied());
            }
            Edit::Remove(at, len) => {
                let (from, to) = (within(*at, &text), within(at + len, &text));
                text.drain(from..to);
            }
            Edit::Move(from, len, to) => {
                let (from, end) = (within(*from, &text), within(from + len, &text));
                let moved: Vec<u8> = text.drain(from..end).collect();
                let to = within(*to, &text);
                text.splice(to..to, moved);
            }
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_edits_come_back(seed in 0..4u64, len in 0..60_000usize, alphabet in 1..=255u8, edits in prop::collection::vec(edit(), 0..12), cuts in prop::collection::vec(0..60_000usize, 0..4)) {
        let old: Vec<u8> = noise(seed, len).into_iter().map(|byte| byte % alphabet).collect();
        let new = edited(old.clone(), &edits);
        let files = |text: &[u8]| {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            cuts.windows(2).map(|pair| text[pair[0]..pair[1]].to_vec()).collect::<Vec<_>>()
        };
        comes_back(files(&old), files(&new));
    }

    #[test]
    fn unrelated_bytes_come_back(old in prop::collection::vec(any::<u8>(), 0..3000), new in prop::collection::vec(any::<u8>(), 0..3000)) {
        comes_back(vec![old], vec![new]);
    }
}
