//! A suffix array over the old text, or over what no equal stretch took of it: finds the longest match of any text.

use super::common;
use crate::cover::Cover;

/// So much of a stretch that is taken still belongs to the text, so that matches can begin and end in it.
const MARGIN: usize = 256;

/// Longer matches are not told apart.
const LONGEST: usize = 64 << 10;

/// Where less than this part of the new text is still to be found, only what is left of the old text is sorted.
const SMALL_PART: usize = 64;

/// The beginning of a suffix that is looked up instead of searched.
const KEY_BITS: usize = 22;

/// Shorter matches are never taken, so it does not matter where they are, nor whether they end in another part of a spliced text.
const LEAST_NEAR: usize = super::scan::MUCH_BETTER as usize + 1;

/// So many equally good matches in either direction are looked at.
const NEIGHBOURS: usize = 24;

pub(super) struct Suffixes<'a> {
    old: &'a [u8],
    /// The text that is sorted, where that is not all of the old one, and where its parts are in it.
    spliced: Option<(Vec<u8>, Vec<Part>)>,
    sorted: Vec<i32>,
    /// Where the suffixes with a given beginning of [`KEY_BITS`] start in `sorted`; one more at the end.
    starts: Vec<u32>,
}

struct Part {
    at: usize,
    old: usize,
}

impl<'a> Suffixes<'a> {
    /// Sorts what is needed to search for `missing` bytes of the new text.
    pub fn of(old: &'a [u8], taken: &[Cover], missing: usize) -> Self {
        let covered: usize = taken.iter().map(|cover| cover.len as usize).sum();
        let spliced = (missing < (covered + missing) / SMALL_PART).then(|| splice(old, taken));
        let text = if missing == 0 { &[][..] } else { spliced.as_ref().map_or(old, |(text, _)| text) };
        let sorted = sort(text);
        let mut starts = vec![0u32; (1 << KEY_BITS) + 1];
        for at in 0..text.len() {
            starts[key(&text[at..]) + 1] += 1;
        }
        for k in 0..1 << KEY_BITS {
            starts[k + 1] += starts[k];
        }
        Suffixes { old, spliced, sorted, starts }
    }

    /// Position in the old text and length of the longest match of the beginning of `sought`; of several, one near `expected`.
    pub fn longest(&self, sought: &[u8], expected: usize) -> (usize, usize) {
        let text = self.text();
        let sought = &sought[..sought.len().min(LONGEST)];
        if sought.len() < 3 || self.sorted.is_empty() {
            return (0, 0);
        }
        let key = key(sought);
        let (mut low, mut high) = (self.starts[key] as usize, self.starts[key + 1] as usize);
        if low >= high {
            return (0, 0);
        }
        high -= 1;
        // Between `low` and `high` all suffixes share with `sought` what both ends share with it.
        let (mut shared_low, mut shared_high) = (0, 0);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let suffix = &text[self.sorted[middle] as usize..];
            let known = shared_low.min(shared_high).min(suffix.len());
            let shared = known + common(&suffix[known..], &sought[known..]);
            let less = shared < sought.len() && suffix.get(shared).is_none_or(|byte| *byte < sought[shared]);
            if less {
                (low, shared_low) = (middle, shared);
            } else {
                (high, shared_high) = (middle, shared);
            }
        }
        let shared_with = |index: usize| common(&text[self.sorted[index] as usize..], sought);
        let (one, two) = (shared_with(low), shared_with(high));
        let (best, len) = if one >= two { (low, one) } else { (high, two) };
        if len == 0 {
            return (0, 0);
        }
        if len < LEAST_NEAR {
            return (self.position(self.sorted[best] as usize), len);
        }
        let position = self.nearest(best, &sought[..len], expected);
        // A match across two parts of a spliced text is none in the old one.
        (position, common(&self.old[position..], &sought[..len]))
    }

    /// Of the suffixes around `best` that match as much, the position nearest to `expected`: that is said in fewer bits.
    fn nearest(&self, best: usize, matched: &[u8], expected: usize) -> usize {
        let text = self.text();
        let matches = |index: &usize| text[self.sorted[*index] as usize..].starts_with(matched);
        let before = (best.saturating_sub(NEIGHBOURS)..best).rev().take_while(matches);
        let behind = (best + 1..self.sorted.len().min(best + 1 + NEIGHBOURS)).take_while(matches);
        let positions = [best].into_iter().chain(before).chain(behind).map(|index| self.position(self.sorted[index] as usize));
        positions.min_by_key(|position| position.abs_diff(expected)).unwrap_or(0)
    }

    fn text(&self) -> &[u8] {
        self.spliced.as_ref().map_or(self.old, |(text, _)| text)
    }

    fn position(&self, at: usize) -> usize {
        match &self.spliced {
            None => at,
            Some((_, parts)) => {
                let part = &parts[parts.partition_point(|part| part.at <= at) - 1];
                part.old + (at - part.at)
            }
        }
    }
}

fn sort(text: &[u8]) -> Vec<i32> {
    if text.is_empty() {
        return Vec::new();
    }
    libsais::SuffixArrayConstruction::for_text(text)
        .in_owned_buffer32()
        .single_threaded()
        .run()
        .expect("texts of a group are shorter than 2 GiB, and the buffer is made for the text")
        .into_vec()
}

fn key(suffix: &[u8]) -> usize {
    let byte = |at: usize| usize::from(suffix.get(at).copied().unwrap_or(0));
    (byte(0) << 16 | byte(1) << 8 | byte(2)) >> (24 - KEY_BITS)
}

/// What no cover took, with margins, and where it was.
fn splice(old: &[u8], taken: &[Cover]) -> (Vec<u8>, Vec<Part>) {
    let mut taken: Vec<(usize, usize)> =
        taken.iter().map(|cover| (cover.old as usize + MARGIN, cover.old_end().saturating_sub(MARGIN))).collect();
    taken.retain(|(from, to)| from < to);
    taken.sort_unstable();
    taken.push((old.len(), old.len()));
    let (mut text, mut parts) = (Vec::new(), Vec::new());
    let mut at = 0;
    for (from, to) in taken {
        if from > at {
            parts.push(Part { at: text.len(), old: at });
            text.extend_from_slice(&old[at..from]);
        }
        at = at.max(to);
    }
    (text, parts)
}
