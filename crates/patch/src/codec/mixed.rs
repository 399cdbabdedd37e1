//! Bytes coded with several contexts at once, whose opinions are mixed by how right they were: for what is short but many-sided.

use super::range::Coder;

/// How many contexts, without the one that is always there.
pub(crate) const CONTEXTS: usize = 3;

/// Counters of a context come in lines, one for each half of a byte; so many lines, as a power of two, has each context.
const LINES: u32 = 14;

/// Probabilities of the coder have 15 bits.
const CODER_BITS: u32 = 15;

/// Logistic values are in 1/256, within ±2047.
const LIMIT: i32 = 2047;

/// Weights are in 1/65536, within ±2, so that sums fit 32 bits.
const ONE: i32 = 1 << 16;

/// All contexts and the one that is always there.
const INPUTS: usize = CONTEXTS + 1;

/// Probabilities of the bits of half a byte, by the bits before: 1, 2, 4, 8 of them.
type Line = [u16; 16];

/// Codes bytes.
pub(crate) struct Mixed {
    lines: Vec<Line>,
    /// For each set: a weight for each input.
    weights: Vec<[i32; INPUTS]>,
    stretch: Box<[i16; 4096]>,
}

impl Mixed {
    /// With so many sets of weights.
    pub fn new(sets: usize) -> Self {
        Mixed { lines: vec![[1 << 15; 16]; INPUTS << LINES], weights: vec![[ONE * 3 / 10; INPUTS]; sets], stretch: stretches() }
    }

    /// Codes a byte. `contexts` are what may predict it.
    pub fn code(&mut self, coder: &mut impl Coder, set: usize, contexts: [u32; CONTEXTS], byte: u8) -> u8 {
        let high = self.half(coder, set, contexts, 0, byte >> 4);
        let low = self.half(coder, set, contexts, 1 + u32::from(high), byte & 15);
        high << 4 | low
    }

    /// Codes half a byte; `before` says which half, and of the second one what the first was.
    fn half(&mut self, coder: &mut impl Coder, set: usize, contexts: [u32; CONTEXTS], before: u32, half: u8) -> u8 {
        let mut places = [0; INPUTS];
        for (number, context) in contexts.into_iter().enumerate() {
            let hash = context.wrapping_mul(0x9E37_79B1).wrapping_add(before.wrapping_mul(0x3C6E_F35F));
            let hash = (hash ^ hash >> 15).wrapping_mul(0x85EB_CA6B);
            places[number] = number << LINES | (hash >> (32 - LINES)) as usize;
        }
        places[CONTEXTS] = CONTEXTS << LINES | before as usize;
        let mut lines = [[0; 16]; INPUTS];
        for (line, place) in lines.iter_mut().zip(places) {
            *line = self.lines[place];
        }
        let mut weights = self.weights[set];
        let mut node = 1;
        // Loops over arrays instead of iterators: this is where making and applying spend most of their time.
        for level in (0..4).rev() {
            let mut inputs = [0i32; INPUTS];
            let mut sum = 0;
            for number in 0..INPUTS {
                inputs[number] = i32::from(self.stretch[usize::from(lines[number][node & 15] >> 4)]);
                sum += inputs[number] * weights[number];
            }
            let probability = squash((sum >> 16).clamp(-LIMIT, LIMIT));
            let bit = coder.raw_bit(probability, half >> level & 1 != 0);
            let error = (i32::from(bit) << CODER_BITS) - probability as i32;
            for number in 0..INPUTS {
                weights[number] = (weights[number] + ((inputs[number] * error + (1 << 13)) >> 14)).clamp(-2 * ONE, 2 * ONE);
                let counter = &mut lines[number][node & 15];
                *counter = if bit { *counter + ((u16::MAX - *counter) >> 4) } else { *counter - (*counter >> 4) };
            }
            node = node << 1 | usize::from(bit);
        }
        self.weights[set] = weights;
        for (line, place) in lines.into_iter().zip(places) {
            self.lines[place] = line;
        }
        node as u8 & 15
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

/// The logistic values of probabilities in 1/4096.
fn stretches() -> Box<[i16; 4096]> {
    let mut table = Box::new([0; 4096]);
    for (probability, value) in (0..).zip(table.iter_mut()) {
        *value = stretch(probability * 2 + 1);
    }
    table
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
        let contexts = |at: usize| [at as u32 % 2, 0, at as u32];
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
