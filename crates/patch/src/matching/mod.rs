//! Finds what of the new text is like something in the old one.

mod blocks;
mod scan;
mod suffixes;

use crate::codec;
use crate::cover::{Cover, MAX_COVERS};

/// A cover away from the diagonal of the one before it has to fit in at least so many bytes.
const LEAST: usize = 16;

/// So many literals tell how well they compress.
const SAMPLE: usize = 4 << 20;

/// Up to so many bytes between two covers of one diagonal are bridged.
const BRIDGED: usize = 8;

/// How many bytes two texts have in common at their beginning.
pub(crate) fn common(one: &[u8], two: &[u8]) -> usize {
    let len = one.len().min(two.len());
    let (one, two) = (&one[..len], &two[..len]);
    let mut at = 0;
    for (a, b) in one.chunks_exact(8).zip(two.chunks_exact(8)) {
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("chunks of 8 bytes"));
        let differ = word(a) ^ word(b);
        if differ != 0 {
            return at + (differ.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + one[at..].iter().zip(&two[at..]).take_while(|(a, b)| a == b).count()
}

/// Covers of `new` by `old`, in the order of the new text; `progress` takes how much of the new text is searched.
pub(crate) fn covers(old: &[u8], new: &[u8], progress: &mut dyn FnMut(u64)) -> Vec<Cover> {
    let equal = blocks::equal_stretches(old, new);
    let mut gaps = Vec::new();
    let mut at = 0;
    for cover in &equal {
        gaps.push((at..cover.new as usize, None::<Cover>));
        at = cover.new_end();
        gaps.last_mut().expect("just pushed").1 = Some(*cover);
    }
    gaps.push((at..new.len(), None));
    let missing: usize = gaps.iter().map(|(gap, _)| gap.len()).sum();
    let suffixes = suffixes::Suffixes::of(old, &equal, missing);
    let mut found = Vec::new();
    let mut last = None;
    for (gap, after) in gaps {
        if !gap.is_empty() {
            scan::approximate(old, new, gap, &suffixes, last, &mut found, progress);
        }
        if let Some(cover) = after {
            found.push(cover);
            last = Some(cover);
        }
    }
    progress(new.len() as u64);
    let mut covers = tidy(old, new, joined(found), LEAST);
    let mut least = worthwhile(&literals(new, &covers));
    loop {
        covers = tidy(old, new, covers, least);
        if covers.len() <= MAX_COVERS {
            return covers;
        }
        least *= 2;
    }
}

/// In how many bytes a cover has to fit to save more than it costs to say where it is: many, where literals compress well.
fn worthwhile(literals: &[u8]) -> usize {
    let bits_per_byte = 8.0 * codec::estimate(literals) as f64 / literals.len().max(1) as f64;
    (12.0 + 30.0 / bits_per_byte.max(0.5)) as usize
}

/// Some of what no cover covers.
fn literals(new: &[u8], covers: &[Cover]) -> Vec<u8> {
    let ends = covers.iter().map(Cover::new_end);
    let begins = covers.iter().map(|cover| cover.new as usize).chain([new.len()]);
    let mut literals = Vec::new();
    for (from, to) in [0].into_iter().chain(ends).zip(begins) {
        literals.extend_from_slice(&new[from..to]);
        if literals.len() > SAMPLE {
            break;
        }
    }
    literals
}

/// Covers that go on where another ended become one.
fn joined(covers: Vec<Cover>) -> Vec<Cover> {
    let mut joined: Vec<Cover> = Vec::with_capacity(covers.len());
    for cover in covers.into_iter().filter(|cover| cover.len > 0) {
        match joined.last_mut() {
            Some(last) if last.new_end() == cover.new as usize && last.old_end() == cover.old as usize => last.len += cover.len,
            _ => joined.push(cover),
        }
    }
    joined
}

/// Leaves out covers that cost more than they save, then joins those of one diagonal with little between them.
fn tidy(old: &[u8], new: &[u8], covers: Vec<Cover>, least: usize) -> Vec<Cover> {
    let mut kept: Vec<Cover> = Vec::with_capacity(covers.len());
    for cover in covers {
        let Some(last) = kept.last_mut() else {
            kept.push(cover);
            continue;
        };
        if cover.shift() == last.shift() {
            let between = cover.new as usize - last.new_end();
            if cover.old as usize >= last.old_end() && between <= BRIDGED {
                last.len = (cover.new_end() - last.new as usize) as u32;
                continue;
            }
        } else if equal_bytes(old, new, &cover) < least {
            continue;
        }
        kept.push(cover);
    }
    kept
}

fn equal_bytes(old: &[u8], new: &[u8], cover: &Cover) -> usize {
    let (old, new) = (&old[cover.old as usize..cover.old_end()], &new[cover.new as usize..cover.new_end()]);
    old.iter().zip(new).filter(|(a, b)| a == b).count()
}
