//! Patches that are cut, flipped, extended or made for something else end in an error, or in other bytes; never in a panic.

use counterfoil_patch::{ApplyError, Limits, apply};
use proptest::prelude::*;

use crate::support::{Collect, applied, noise, patch};

fn pair() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let old = noise(7, 40_000);
    let mut new = [&old[..9_000], &old[20_000..], b"and something new that compresses, compresses, compresses"].concat();
    for at in (0..new.len()).step_by(211) {
        new[at] ^= 3;
    }
    let (one, two) = (new[..10].to_vec(), new[10..].to_vec());
    (vec![old], vec![one, vec![], two])
}

#[test]
fn every_cut_is_an_error() {
    let (old, new) = pair();
    let patch = patch(&old, &new);
    for len in 0..patch.len() {
        assert!(applied(&old, &patch[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn an_extended_patch_is_an_error() {
    let (old, new) = pair();
    let mut patch = patch(&old, &new);
    patch.push(0);
    assert!(matches!(applied(&old, &patch), Err(ApplyError::Damaged(_))));
}

#[test]
fn a_flipped_bit_is_an_error_or_gives_files_of_the_same_lengths() {
    let (old, new) = pair();
    let patch = patch(&old, &new);
    let mut errors = 0;
    for at in 0..patch.len() {
        let mut flipped = patch.clone();
        flipped[at] ^= 1 << (at % 8);
        errors += usize::from(applied(&old, &flipped).is_err());
    }
    assert!(errors > patch.len() / 10, "{errors} of {}", patch.len());
}

#[test]
fn a_patch_for_other_files_is_an_error() {
    let (old, new) = pair();
    let patch = patch(&old, &new);
    assert!(matches!(applied(&new, &patch), Err(ApplyError::Damaged(_))));
}

#[test]
fn limits_hold() {
    let (old, new) = pair();
    let patch = patch(&old, &new);
    let total: u64 = new.iter().map(|file| file.len() as u64).sum();
    let with = |files, bytes| apply(&old, &patch, &Limits { files, bytes }, &mut Collect::default(), &mut |_| ());
    with(3, total).unwrap();
    assert!(matches!(with(2, total), Err(ApplyError::Damaged(_))));
    assert!(matches!(with(3, total - 1), Err(ApplyError::Damaged(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn garbage_does_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..200), begin in any::<bool>()) {
        let (old, new) = pair();
        if begin {
            let good = patch(&old, &new);
            bytes.splice(0..0, good[..40].iter().copied());
        }
        let _ = applied(&old, &bytes);
    }
}
