//! Approximate matches, as Colin Percival's bsdiff finds them: an exact match is a seed, extended both ways as long as at least half of the
//! bytes fit, and a new seed is only taken where it fits much better than going on as before.

use std::ops::Range;

use super::common;
use super::suffixes::Suffixes;
use crate::cover::Cover;

/// Where so many bytes fit on the old diagonal, nothing better is searched.
const GOOD_ENOUGH: usize = 24;

/// A match has to fit so many bytes more than the old diagonal does.
pub(super) const MUCH_BETTER: i64 = 8;

/// How often the caller is told how far the search is.
const STEP: usize = 1 << 20;

/// Adds the covers within `gap` of the new text; `last` is the cover before it.
pub(super) fn approximate(
    old: &[u8],
    new: &[u8],
    gap: Range<usize>,
    suffixes: &Suffixes<'_>,
    last: Option<Cover>,
    found: &mut Vec<Cover>,
    progress: &mut dyn FnMut(u64),
) {
    let mut position = last.map_or(0, |cover| cover.old_end());
    let mut begin = gap.start;
    let mut told = gap.start;
    while begin < gap.end {
        let seed = next_seed(old, new, begin..gap.end, position as i64 - begin as i64, suffixes);
        let mut ahead = extend_ahead(&old[position..], &new[begin..seed.new]);
        let mut back = if seed.new < gap.end { extend_back(&old[..seed.old], &new[begin..seed.new]) } else { 0 };
        let overlap = (begin + ahead).saturating_sub(seed.new - back);
        if overlap > 0 {
            let keep = best_cut(old, new, position + ahead - overlap, seed.old - back, seed.new - back, overlap);
            ahead -= overlap - keep;
            back -= keep;
        }
        found.push(Cover { old: position as u32, new: begin as u32, len: ahead as u32 });
        if seed.new >= gap.end {
            return;
        }
        (begin, position) = (seed.new - back, seed.old - back);
        // What the seed covers is known to fit: the next one is searched behind it.
        if begin - told >= STEP {
            told = begin;
            progress(begin as u64);
        }
        let covered = Cover { old: position as u32, new: begin as u32, len: (back + seed.len) as u32 };
        found.push(covered);
        (begin, position) = (covered.new_end(), covered.old_end());
    }
}

/// An exact match to go on from; at the end of the gap where there is none.
struct Seed {
    old: usize,
    new: usize,
    len: usize,
}

fn next_seed(old: &[u8], new: &[u8], gap: Range<usize>, diagonal: i64, suffixes: &Suffixes<'_>) -> Seed {
    let on_diagonal = |at: usize| usize::try_from(at as i64 + diagonal).ok().filter(|at| *at < old.len());
    let fits = |at: usize| on_diagonal(at).is_some_and(|position| old[position] == new[at]);
    let mut scan = gap.start;
    // How many bytes of `scan..counted` fit on the diagonal.
    let mut counted = scan;
    let mut fitting = 0i64;
    while scan < gap.end {
        if let Some(position) = on_diagonal(scan) {
            let straight = common(&old[position..], &new[scan..gap.end]);
            if straight >= GOOD_ENOUGH {
                scan += straight;
                (counted, fitting) = (scan, 0);
                continue;
            }
        }
        let (position, len) = suffixes.longest(&new[scan..gap.end], (scan as i64 + diagonal).max(0) as usize);
        while counted < scan + len {
            fitting += i64::from(fits(counted));
            counted += 1;
        }
        if len as i64 > fitting + MUCH_BETTER {
            return Seed { old: position, new: scan, len };
        }
        if len > 0 && len as i64 == fitting {
            // The match is the diagonal itself.
            scan += len;
            (counted, fitting) = (scan, 0);
            continue;
        }
        if counted > scan {
            fitting -= i64::from(fits(scan));
        } else {
            counted = scan + 1;
        }
        scan += 1;
    }
    Seed { old: 0, new: gap.end, len: 0 }
}

/// How far to go ahead: the length with most fitting bytes beyond half.
fn extend_ahead(old: &[u8], new: &[u8]) -> usize {
    best_length(old.iter().zip(new).map(|(a, b)| a == b))
}

fn extend_back(old: &[u8], new: &[u8]) -> usize {
    best_length(old.iter().rev().zip(new.iter().rev()).map(|(a, b)| a == b))
}

fn best_length(fits: impl Iterator<Item = bool>) -> usize {
    let (mut score, mut best, mut length) = (0i64, 0i64, 0);
    for (at, fits) in fits.enumerate() {
        score += if fits { 1 } else { -1 };
        if score > best {
            (best, length) = (score, at + 1);
        }
    }
    length
}

/// Where two extensions overlap: how many of the `overlap` bytes from `at` of the new text the first one keeps.
fn best_cut(old: &[u8], new: &[u8], first: usize, second: usize, at: usize, overlap: usize) -> usize {
    let (mut score, mut best, mut keep) = (0i64, 0i64, 0);
    for k in 0..overlap {
        score += i64::from(new[at + k] == old[first + k]) - i64::from(new[at + k] == old[second + k]);
        if score > best {
            (best, keep) = (score, k + 1);
        }
    }
    keep
}
