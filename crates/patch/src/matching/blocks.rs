//! Long equal stretches, wherever they moved: blocks of the old text found in the new one by a rolling hash.

use std::collections::HashMap;

use super::common;
use crate::cover::Cover;

/// Length of a block.
const BLOCK: usize = 4096;

/// Factor of the polynomial that is the hash; odd, so that no bit is lost.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// The stretches, longest possible each, in the order of the new text.
pub(super) fn equal_stretches(old: &[u8], new: &[u8]) -> Vec<Cover> {
    let mut covers: Vec<Cover> = Vec::new();
    if old.len() < BLOCK || new.len() < BLOCK {
        return covers;
    }
    let index = Index::of(old);
    let mut at = 0;
    let mut done = 0;
    let mut hash = Rolling::new(&new[..BLOCK]);
    loop {
        if let Some(position) = index.find(hash.0, old, new, at, covers.last()) {
            let back = new[done..at].iter().rev().zip(old[..position].iter().rev()).take_while(|(a, b)| a == b).count();
            let ahead = common(&old[position..], &new[at..]);
            covers.push(Cover { old: (position - back) as u32, new: (at - back) as u32, len: (back + ahead) as u32 });
            at += ahead;
            done = at;
            match new.get(at..at + BLOCK) {
                Some(block) => hash = Rolling::new(block),
                None => break,
            }
        } else {
            if at + BLOCK >= new.len() {
                break;
            }
            hash.roll(new[at], new[at + BLOCK]);
            at += 1;
        }
    }
    covers
}

/// The hash of a block that moves through a text byte by byte.
struct Rolling(u64);

impl Rolling {
    /// `FACTOR` to the power of `BLOCK - 1`: the weight of the byte that leaves.
    const LEAVING: u64 = {
        let mut power = 1u64;
        let mut k = 1;
        while k < BLOCK {
            power = power.wrapping_mul(FACTOR);
            k += 1;
        }
        power
    };

    fn new(block: &[u8]) -> Self {
        Rolling(block.iter().fold(0, |hash: u64, byte| hash.wrapping_mul(FACTOR).wrapping_add(u64::from(*byte) + 1)))
    }

    fn roll(&mut self, leaving: u8, entering: u8) {
        let without = self.0.wrapping_sub((u64::from(leaving) + 1).wrapping_mul(Self::LEAVING));
        self.0 = without.wrapping_mul(FACTOR).wrapping_add(u64::from(entering) + 1);
    }
}

/// Where blocks of the old text are, by their hash.
struct Index {
    blocks: HashMap<u64, u32>,
    /// One bit per hash that may be there: most positions are dismissed without a look into the map.
    filter: Vec<u64>,
}

impl Index {
    fn of(old: &[u8]) -> Self {
        let mut index = Index { blocks: HashMap::with_capacity(old.len() / BLOCK), filter: vec![0; 1 << 18] };
        for (number, block) in old.chunks_exact(BLOCK).enumerate() {
            // A block of one byte only (padding) would match everywhere and say nothing about where things moved.
            if block.iter().any(|byte| *byte != block[0]) {
                let hash = Rolling::new(block).0;
                index.filter[(hash >> 46) as usize] |= 1 << (hash >> 40 & 63);
                index.blocks.entry(hash).or_insert((number * BLOCK) as u32);
            }
        }
        index
    }

    /// Where in the old text the block at `at` of the new one is; rather where the last cover goes on.
    fn find(&self, hash: u64, old: &[u8], new: &[u8], at: usize, last: Option<&Cover>) -> Option<usize> {
        if self.filter[(hash >> 46) as usize] >> (hash >> 40 & 63) & 1 == 0 {
            return None;
        }
        let indexed = *self.blocks.get(&hash)? as usize;
        let block = &new[at..at + BLOCK];
        let straight = last.and_then(|cover| usize::try_from(at as i64 - cover.shift()).ok());
        let fits = |position: &usize| old.get(*position..*position + BLOCK) == Some(block);
        straight.filter(fits).or_else(|| Some(indexed).filter(fits))
    }
}
