//! A binary range coder with adaptive models: what is likely costs little, and models learn what is likely.
//!
//! A description of how something is coded is written once, over [`Coder`]: with an [`Encoder`] it writes what it is given, with a
//! [`Decoder`] it ignores what it is given and returns what was written.

use std::io::{self, Read};

/// Probabilities have so many bits.
const BITS: u32 = 15;

/// No bit is taken for more certain than this.
const FLOOR: u32 = 24;

/// Below this, the range is scaled up by a byte.
const LEAST_RANGE: u32 = 1 << 24;

/// The probability of a bit, from the bits before: a fast and a slow estimate, of which the mean counts.
#[derive(Clone, Copy)]
pub(crate) struct Bit {
    fast: u16,
    slow: u16,
}

impl Bit {
    /// As likely as not.
    pub const NEW: Bit = Bit { fast: 1 << 15, slow: 1 << 15 };

    /// Probability of a set bit, within `1 << BITS`.
    #[inline]
    fn probability(self) -> u32 {
        ((u32::from(self.fast) + u32::from(self.slow)) >> (17 - BITS)).clamp(FLOOR, (1 << BITS) - FLOOR)
    }

    #[inline]
    fn learn(&mut self, bit: bool) {
        if bit {
            self.fast += (u16::MAX - self.fast) >> 4;
            self.slow += (u16::MAX - self.slow) >> 7;
        } else {
            self.fast -= self.fast >> 4;
            self.slow -= self.slow >> 7;
        }
    }
}

/// Writes or reads bits.
pub(crate) trait Coder {
    /// Codes a bit with a model, which learns it.
    #[inline]
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool {
        let bit = self.raw_bit(model.probability(), bit);
        model.learn(bit);
        bit
    }

    /// Codes a bit that is set with a probability, in 1/32768, of neither 0 nor 1.
    fn raw_bit(&mut self, probability: u32, bit: bool) -> bool;
}

/// Writes bits.
pub(crate) struct Encoder {
    low: u64,
    range: u32,
    /// The last byte that a carry may still change, and how many bytes of 255 follow it.
    last: Option<u8>,
    full: usize,
    out: Vec<u8>,
}

impl Encoder {
    pub fn new() -> Self {
        Encoder { low: 0, range: u32::MAX, last: None, full: 0, out: Vec::new() }
    }

    fn shift(&mut self) {
        let carry = self.low > u64::from(u32::MAX);
        if carry || self.low < 0xFF00_0000 {
            if let Some(last) = self.last {
                self.out.push(last.wrapping_add(u8::from(carry)));
            }
            let full = if carry { 0 } else { 0xFF };
            self.out.resize(self.out.len() + self.full, full);
            self.full = 0;
            self.last = Some((self.low >> 24) as u8);
        } else {
            self.full += 1;
        }
        self.low = (self.low & 0x00FF_FFFF) << 8;
    }

    /// What was written. Zeros at the end are left out: a decoder reads them anyway.
    pub fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        while self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

impl Coder for Encoder {
    fn raw_bit(&mut self, probability: u32, bit: bool) -> bool {
        let bound = (self.range >> BITS) * probability;
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        while self.range < LEAST_RANGE {
            self.range <<= 8;
            self.shift();
        }
        bit
    }
}

/// Reads bits. Behind the end there are zeros; whoever reads knows how much there is.
pub(crate) struct Decoder<R> {
    from: R,
    range: u32,
    code: u32,
    failed: Option<io::Error>,
}

impl<R: Read> Decoder<R> {
    pub fn new(from: R) -> Self {
        let mut decoder = Decoder { from, range: u32::MAX, code: 0, failed: None };
        for _ in 0..4 {
            decoder.code = decoder.code << 8 | decoder.byte();
        }
        decoder
    }

    fn byte(&mut self) -> u32 {
        let mut byte = [0];
        if self.failed.is_none()
            && let Err(error) = self.from.read_exact(&mut byte)
            && error.kind() != io::ErrorKind::UnexpectedEof
        {
            self.failed = Some(error);
        }
        u32::from(byte[0])
    }

    /// Why reading failed, if it did: what was read since is nothing.
    pub fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl<R: Read> Coder for Decoder<R> {
    #[inline]
    fn raw_bit(&mut self, probability: u32, _: bool) -> bool {
        let bound = (self.range >> BITS) * probability;
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        while self.range < LEAST_RANGE {
            self.range <<= 8;
            self.code = self.code << 8 | self.byte();
        }
        bit
    }
}

/// Symbols of up to `1 << BITS` kinds, in contexts.
#[derive(Clone)]
pub(crate) struct Symbols {
    bits: u32,
    models: Vec<Bit>,
}

impl Symbols {
    pub fn new(bits: u32, contexts: usize) -> Self {
        Symbols { bits, models: vec![Bit::NEW; contexts << bits] }
    }

    pub fn code(&mut self, coder: &mut impl Coder, context: usize, symbol: u32) -> u32 {
        let models = &mut self.models[context << self.bits..(context + 1) << self.bits];
        let mut node = 1;
        for level in (0..self.bits).rev() {
            let bit = coder.bit(&mut models[node], symbol >> level & 1 != 0);
            node = node << 1 | usize::from(bit);
        }
        node as u32 - (1 << self.bits)
    }
}

/// Numbers below 2⁶³, in contexts: how many bits they have, then the bits, of which the first ones are modelled together.
#[derive(Clone)]
pub(crate) struct Numbers {
    lengths: Symbols,
    /// For each length: the first three bits below the leading one, then one model for each bit further down.
    heads: Vec<[Bit; 8]>,
    tails: Vec<[Bit; 64]>,
}

impl Numbers {
    pub fn new(contexts: usize) -> Self {
        Numbers { lengths: Symbols::new(6, contexts), heads: vec![[Bit::NEW; 8]; 64 * contexts], tails: vec![[Bit::NEW; 64]; 64] }
    }

    pub fn code(&mut self, coder: &mut impl Coder, context: usize, value: u64) -> u64 {
        let length = self.lengths.code(coder, context, length(value));
        if length < 2 {
            return u64::from(length);
        }
        let mut read = 1u64;
        let heads = &mut self.heads[context * 64 + length as usize];
        let tails = &mut self.tails[length as usize];
        for level in (0..length - 1).rev() {
            let model = if read < 8 { &mut heads[read as usize] } else { &mut tails[level as usize] };
            let bit = coder.bit(model, value >> level & 1 != 0);
            read = read << 1 | u64::from(bit);
        }
        read
    }
}

/// How many bits a number has.
pub(crate) fn length(value: u64) -> u32 {
    64 - value.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_symbols_come_back_and_the_likely_is_short() {
        let values: Vec<u64> =
            (0..20_000u64).map(|i| if i % 97 == 0 { i * i * i } else { i % 3 }).chain([u64::MAX >> 1, 0, u64::MAX >> 2]).collect();
        let (mut numbers, mut symbols) = (Numbers::new(2), Symbols::new(3, 1));
        let mut encoder = Encoder::new();
        for value in &values {
            numbers.code(&mut encoder, (*value & 1) as usize, *value);
            symbols.code(&mut encoder, 0, (*value & 1) as u32 + 5);
        }
        let written = encoder.finish();
        assert!(written.len() < 8_000, "{}", written.len());
        let (mut numbers, mut symbols) = (Numbers::new(2), Symbols::new(3, 1));
        let mut decoder = Decoder::new(&written[..]);
        for value in &values {
            assert_eq!(numbers.code(&mut decoder, (*value & 1) as usize, 0), *value);
            assert_eq!(symbols.code(&mut decoder, 0, 0), (*value & 1) as u32 + 5);
        }
        decoder.check().unwrap();
    }

    #[test]
    fn a_carry_reaches_every_byte_before_it() {
        // Improbable bits first, so that the low end is driven close to a carry; every pattern has to come back.
        for pattern in 0..1u32 << 12 {
            let (mut model, mut encoder) = (Bit::NEW, Encoder::new());
            for level in 0..240 {
                encoder.bit(&mut model, pattern >> (level % 12) & 1 != 0);
            }
            let written = encoder.finish();
            let (mut model, mut decoder) = (Bit::NEW, Decoder::new(&written[..]));
            for level in 0..240 {
                assert_eq!(decoder.bit(&mut model, false), pattern >> (level % 12) & 1 != 0);
            }
        }
    }
}
