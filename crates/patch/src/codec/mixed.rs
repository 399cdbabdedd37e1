//! Bytes coded with several contexts at once, whose opinions are mixed by how right they were: for what is short but many-sided.

use super::range::Coder;

/// How many contexts, without the one that is always there.
pub(crate) const CONTEXTS: usize = 5;

/// Counters, as a power of two; a context takes those that its hash says.
const TABLE_BITS: u32 = 18;

/// Probabilities of the counters and of the coder have 16 and 15 bits.
const CODER_BITS: u32 = 15;

/// Logistic values are in 1/256, within ±2047.
const LIMIT: i32 = 2047;

/// Weights are in 1/65536.
const ONE: i32 = 1 << 16;

/// Codes bytes.
pub(crate) struct Mixed {
    counters: Vec<u16>,
    /// For each set: a weight for each context and one for the byte alone.
    weights: Vec<[i32; CONTEXTS + 1]>,
    stretch: Vec<i16>,
}

impl Mixed {
    /// With so many sets of weights.
    pub fn new(sets: usize) -> Self {
        Mixed {
            counters: vec![1 << 15; (CONTEXTS + 1) << TABLE_BITS],
            weights: vec![[ONE * 3 / 10; CONTEXTS + 1]; sets],
            stretch: (0..4096).map(|p| stretch(p * 2 + 1)).collect(),
        }
    }

    /// Codes a byte. `contexts` are hashes of what may predict it.
    pub fn code(&mut self, coder: &mut impl Coder, set: usize, contexts: [u32; CONTEXTS], byte: u8) -> u8 {
        let mut node = 1u32;
        for level in (0..8).rev() {
            let slots = self.slots(contexts, node);
            let bit = self.bit(coder, set, slots, byte >> level & 1 != 0);
            node = node << 1 | u32::from(bit);
        }
        node as u8
    }

    fn slots(&self, contexts: [u32; CONTEXTS], node: u32) -> [usize; CONTEXTS + 1] {
        let mut slots = [0; CONTEXTS + 1];
        for (number, context) in contexts.into_iter().enumerate() {
            let hash = (context.wrapping_add(node.wrapping_mul(0x9E37_79B1))).wrapping_mul(0x85EB_CA6B);
            slots[number] = number << TABLE_BITS | (hash >> (32 - TABLE_BITS)) as usize;
        }
        slots[CONTEXTS] = CONTEXTS << TABLE_BITS | node as usize;
        slots
    }

    fn bit(&mut self, coder: &mut impl Coder, set: usize, slots: [usize; CONTEXTS + 1], bit: bool) -> bool {
        let weights = &mut self.weights[set];
        let inputs = slots.map(|slot| i32::from(self.stretch[usize::from(self.counters[slot]) >> 4]));
        let sum: i64 = inputs.iter().zip(weights.iter()).map(|(input, weight)| i64::from(*input) * i64::from(*weight)).sum();
        let probability = squash((sum >> 16).clamp(-i64::from(LIMIT), i64::from(LIMIT)) as i32);
        let bit = coder.raw_bit(probability, bit);
        let error = (if bit { 1 << CODER_BITS } else { 0 }) - probability as i32;
        for (input, weight) in inputs.iter().zip(weights.iter_mut()) {
            *weight += (input * error + (1 << 13)) >> 14;
        }
        for slot in slots {
            let counter = &mut self.counters[slot];
            if bit {
                *counter += (u16::MAX - *counter) >> 4;
            } else {
                *counter -= *counter >> 4;
            }
        }
        bit
    }
}

/// Probability of a logistic value: 1 / (1 + e^-x), of which every step is integer, so that both sides get the same.
fn squash(value: i32) -> u32 {
    /// At every 128th from -2048 on.
    const TABLE: [i32; 33] = [
        11, 18, 30, 49, 81, 134, 220, 362, 593, 967, 1566, 2512, 3967, 6102, 9010, 12539, 16384, 20229, 23758, 26666, 28801, 30256, 31202,
        31801, 32175, 32406, 32548, 32634, 32687, 32719, 32738, 32750, 32757,
    ];
    let from = (value + 2048) as usize;
    let (index, within) = (from >> 7, (from & 127) as i32);
    ((TABLE[index] * (128 - within) + TABLE[index + 1] * within) >> 7) as u32
}

/// The logistic value of a probability in 1/8192: the inverse of [`squash`].
fn stretch(probability: u32) -> i16 {
    let (mut low, mut high) = (-LIMIT, LIMIT);
    while low < high {
        let middle = (low + high).div_euclid(2);
        if squash(middle) < probability * 4 { low = middle + 1 } else { high = middle }
    }
    low as i16
}

#[cfg(test)]
mod tests {
    use super::super::range::{Decoder, Encoder};
    use super::*;

    #[test]
    fn bytes_come_back_and_the_best_context_counts() {
        let bytes: Vec<u8> = (0..30_000u32).map(|i| if i % 2 == 0 { (i.wrapping_mul(2_654_435_761) >> 24) as u8 } else { 7 }).collect();
        let contexts = |at: usize| [at as u32 % 2, 0, at as u32, 5, 6];
        let (mut model, mut encoder) = (Mixed::new(1), Encoder::new());
        for (at, byte) in bytes.iter().enumerate() {
            model.code(&mut encoder, 0, contexts(at), *byte);
        }
        let written = encoder.finish();
        assert!(written.len() < 17_000, "{}", written.len());
        let (mut model, mut decoder) = (Mixed::new(1), Decoder::new(&written[..]));
        for (at, byte) in bytes.iter().enumerate() {
            assert_eq!(model.code(&mut decoder, 0, contexts(at), 0), *byte);
        }
    }

    #[test]
    fn squash_and_stretch_are_inverse() {
        for probability in [3u32, 100, 1000, 4096, 7000, 8189] {
            let back = squash(i32::from(stretch(probability))) / 4;
            assert!(back.abs_diff(probability) <= 1 + probability / 100, "{probability} {back}");
        }
    }
}
