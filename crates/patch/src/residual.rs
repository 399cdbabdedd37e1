//! What is different from what was predicted: differences of single bytes, and corrections of references.
//!
//! The two are streams of their own, coded with adaptive models. As with all models here, what is coded is described once for both directions.

use std::io::{self, Read};

use crate::codec::mixed::{CONTEXTS, Mixed};
use crate::codec::range::{self, Bit, Coder, Decoder, Encoder, Numbers, Symbols};
use crate::varint::invalid;

/// A field that was predicted, as far as it helps to say what it is.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    /// Which kind of reference: below [`KINDS`].
    pub kind: usize,
    /// Whether this target was wrong before and is remembered since, or there is no prediction.
    pub sure: usize,
    /// What the old reference points at.
    pub target: u64,
}

/// How many kinds of references there are.
const KINDS: usize = 8;

/// So many of the last corrections are known by a number.
const RECENT: usize = 7;

/// Corrections are also remembered by where they point: pages of this length, as a power of two, in so many places.
const PAGE: u32 = 8;
const PAGES: usize = 1 << 14;

/// So many wrong bytes are kept to recognise those that repeat, and so many places say where they are.
const KEPT: usize = 1 << 20;
const INDEX_BITS: u32 = 18;

/// Highest trust in a repetition.
const TRUST: usize = 15;

/// A wrong byte: how many right ones precede it, and its difference.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Wrong {
    right: u32,
    difference: u8,
}

/// Wrong bytes of late. Where the same change is made in many places, they follow each other as before.
struct Repeats {
    kept: Vec<Wrong>,
    index: Vec<u32>,
    count: usize,
    next: Option<usize>,
    trust: usize,
}

impl Repeats {
    fn new() -> Self {
        Repeats { kept: Vec::new(), index: vec![u32::MAX; 1 << INDEX_BITS], count: 0, next: None, trust: 0 }
    }

    /// What is expected next.
    fn expected(&self) -> Option<Wrong> {
        self.next.map(|next| self.kept[next])
    }

    fn learn(&mut self, wrong: Wrong) {
        let fits = self.expected() == Some(wrong);
        let (place, before) = (self.count % KEPT, self.count.wrapping_sub(1) % KEPT);
        match self.kept.get_mut(place) {
            Some(kept) => *kept = wrong,
            None => self.kept.push(wrong),
        }
        let last = self.kept.get(before).copied().unwrap_or_default();
        let key =
            u64::from(wrong.right) << 40 ^ u64::from(last.right) << 16 ^ u64::from(wrong.difference) << 8 ^ u64::from(last.difference);
        let hash = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // Beside the place, the rest of the hash: so what is something else is mostly not even looked at.
        let check = (hash >> 20) as u32 & !(KEPT as u32 - 1);
        let found = std::mem::replace(&mut self.index[(hash >> (64 - INDEX_BITS)) as usize], check | place as u32);
        let (same, found) = (found & !(KEPT as u32 - 1) == check, (found & (KEPT as u32 - 1)) as usize);
        self.trust = if fits { (self.trust + 1).min(TRUST) } else { 0 };
        self.next = match self.next {
            Some(next) if fits => Some(next + 1),
            _ if same => self.kept.get(found).is_some_and(|kept| *kept == wrong).then_some(found + 1),
            _ => None,
        };
        self.next = self.next.map(|next| next % KEPT).filter(|next| *next < self.kept.len());
        self.count += 1;
    }
}

/// Bytes that are no references: how many are right, then one that is not.
struct Bytes<C> {
    coder: C,
    repeats: Repeats,
    as_before: [Bit; TRUST + 1],
    right: Numbers,
    /// Whether another wrong byte follows at once.
    more: Vec<Bit>,
    wrong: Mixed,
    /// How many right ones there were or are still to come.
    idle: u64,
    /// Wrong ones in a row, and the right ones before them.
    run: usize,
    counted: u64,
    before: usize,
    /// The byte before as it is, and the last two differences.
    last: u8,
    differences: [u8; 2],
}

impl<C: Coder> Bytes<C> {
    fn new(coder: C) -> Self {
        Bytes {
            coder,
            repeats: Repeats::new(),
            as_before: [Bit::NEW; TRUST + 1],
            right: Numbers::new(8 * 4),
            more: vec![Bit::NEW; 16 * 18],
            wrong: Mixed::new(4 * (TRUST + 2)),
            idle: 0,
            run: 0,
            counted: 0,
            before: 0,
            last: 0,
            differences: [0; 2],
        }
    }

    /// How many right bytes follow.
    fn count(&mut self, right: u64) -> u64 {
        let expected = self.repeats.expected().map(|expected| u64::from(expected.right)).filter(|expected| *expected > 0);
        let as_before = expected.filter(|expected| self.coder.bit(&mut self.as_before[self.repeats.trust], *expected == right));
        let right = match as_before {
            Some(right) => right,
            None => self.right.code(&mut self.coder, self.before * 4 + self.run.min(3), right & i64::MAX as u64),
        };
        self.counted = right;
        self.before = (range::length(right) as usize / 2).min(7);
        self.run = 0;
        right
    }

    /// A wrong byte: what was predicted, what is.
    fn difference(&mut self, predicted: u8, actual: u8) -> u8 {
        let one = u32::from(self.differences[0]);
        let expected = self.repeats.expected().filter(|expected| u64::from(expected.right) == self.counted);
        let trust = expected.map_or(0, |_| self.repeats.trust + 1);
        let (predicted_bits, last) = (u32::from(predicted), u32::from(self.last));
        let place = self.run.min(3) as u32;
        let contexts: [u32; CONTEXTS] = [
            place << 8 | one,
            1 << 24 | predicted_bits << 8 | last,
            expected.map_or(0, |expected| 1 << 16 | u32::from(expected.difference) << 8 | trust as u32),
        ];
        let set = place as usize * (TRUST + 2) + trust;
        let difference = self.wrong.code(&mut self.coder, set, contexts, actual.wrapping_sub(predicted));
        self.repeats.learn(Wrong { right: self.counted as u32, difference });
        self.counted = 0;
        self.differences = [difference, self.differences[0]];
        self.run += 1;
        predicted.wrapping_add(difference)
    }

    /// Whether another one follows.
    fn another(&mut self, more: bool) -> bool {
        let expected = self.repeats.expected().map_or(0, |expected| 1 + usize::from(expected.right == 0) * 8 + self.repeats.trust / 2);
        let context = (self.run.min(7) * 2 + usize::from(self.differences[0] == self.differences[1])) * 18 + expected;
        self.coder.bit(&mut self.more[context], more)
    }
}

/// References: right, or by how much they are not.
struct Corrections<C> {
    coder: C,
    right: Vec<Bit>,
    which: Symbols,
    sizes: Numbers,
    negative: [Bit; KINDS],
    recent: [i64; RECENT],
    pages: Vec<i64>,
    history: usize,
}

impl<C: Coder> Corrections<C> {
    fn new(coder: C) -> Self {
        Corrections {
            coder,
            right: vec![Bit::NEW; KINDS * 4 * 64],
            which: Symbols::new(3, KINDS),
            sizes: Numbers::new(KINDS),
            negative: [Bit::NEW; KINDS],
            recent: [0; RECENT],
            pages: vec![0; PAGES],
            history: 0,
        }
    }

    /// Codes the correction of a field.
    fn code(&mut self, field: Field, correction: i64) -> i64 {
        let page = (field.target >> PAGE).wrapping_mul(0x9E37_79B9_7F4A_7C15) as usize >> (64 - PAGES.trailing_zeros());
        let context = (field.kind * 4 + field.sure) * 64 + self.history;
        let right = self.coder.bit(&mut self.right[context], correction == 0);
        self.history = (self.history << 1 | usize::from(right)) & 63;
        if right {
            return 0;
        }
        let known = if self.pages[page] == correction {
            0
        } else {
            self.recent[1..].iter().position(|recent| *recent == correction).map_or(RECENT, |at| at + 1)
        };
        let known = self.which.code(&mut self.coder, field.kind, known as u32) as usize;
        let correction = match known {
            0 => self.pages[page],
            RECENT => self.size(field.kind, correction),
            _ => self.recent[known],
        };
        let end = if known == 0 || known == RECENT { RECENT - 1 } else { known };
        self.recent[..=end].rotate_right(1);
        self.recent[0] = correction;
        self.recent[1] = if end >= 1 { self.recent[1] } else { 0 };
        self.pages[page] = correction;
        correction
    }

    fn size(&mut self, kind: usize, correction: i64) -> i64 {
        let negative = self.coder.bit(&mut self.negative[kind], correction < 0);
        let size = self.sizes.code(&mut self.coder, kind, correction.unsigned_abs() & i64::MAX as u64) as i64;
        if negative { -size } else { size }
    }
}

/// By how much a field is not as predicted.
fn distance(predicted: &[u8], actual: &[u8]) -> i64 {
    match (<[u8; 4]>::try_from(predicted), <[u8; 4]>::try_from(actual)) {
        (Ok(predicted), Ok(actual)) => i64::from(i32::from_le_bytes(actual).wrapping_sub(i32::from_le_bytes(predicted))),
        _ => eight(actual).wrapping_sub(eight(predicted)),
    }
}

fn eight(field: &[u8]) -> i64 {
    i64::from_le_bytes(field.try_into().expect("fields have four or eight bytes"))
}

fn correct(field: &mut [u8], correction: i64) {
    match <[u8; 4]>::try_from(&*field) {
        Ok(predicted) => field.copy_from_slice(&i32::from_le_bytes(predicted).wrapping_add(correction as i32).to_le_bytes()),
        Err(_) => field.copy_from_slice(&eight(field).wrapping_add(correction).to_le_bytes()),
    }
}

/// Writes what is different.
pub(crate) struct Writer {
    bytes: Bytes<Encoder>,
    corrections: Corrections<Encoder>,
    begun: bool,
}

impl Writer {
    pub fn new() -> Self {
        Writer { bytes: Bytes::new(Encoder::new()), corrections: Corrections::new(Encoder::new()), begun: false }
    }

    /// What was predicted becomes what is.
    pub fn settle(&mut self, predicted: &mut [u8], actual: &[u8], field: Option<Field>) {
        match field {
            Some(field) => {
                self.corrections.code(field, distance(predicted, actual));
            }
            None => self.bytes(predicted, actual),
        }
        predicted.copy_from_slice(actual);
    }

    fn bytes(&mut self, predicted: &[u8], actual: &[u8]) {
        let mut at = 0;
        while at < actual.len() {
            let equal = crate::matching::common(&predicted[at..], &actual[at..]);
            self.bytes.idle += equal as u64;
            at += equal;
            if let Some(byte) = actual.get(at) {
                self.count(true);
                self.bytes.last = if at > 0 { actual[at - 1] } else { 0 };
                self.bytes.difference(predicted[at], *byte);
                at += 1;
            }
        }
    }

    /// Says how many right bytes there were since the last wrong one.
    fn count(&mut self, more: bool) {
        let idle = std::mem::take(&mut self.bytes.idle);
        let another = self.begun && self.bytes.another(more && idle == 0);
        if !another {
            self.bytes.count(idle);
        }
        self.begun = true;
    }

    /// The two streams.
    pub fn finish(mut self) -> [Vec<u8>; 2] {
        self.count(false);
        [self.bytes.coder.finish(), self.corrections.coder.finish()]
    }
}

/// Reads what is different.
pub(crate) struct Reader<R> {
    bytes: Bytes<Decoder<R>>,
    corrections: Corrections<Decoder<R>>,
}

impl<R: Read> Reader<R> {
    pub fn new(bytes: R, corrections: R) -> Self {
        let mut reader = Reader { bytes: Bytes::new(Decoder::new(bytes)), corrections: Corrections::new(Decoder::new(corrections)) };
        reader.bytes.idle = reader.bytes.count(0);
        reader
    }

    /// What was predicted becomes what is.
    pub fn settle(&mut self, predicted: &mut [u8], field: Option<Field>) -> io::Result<()> {
        match field {
            Some(field) => {
                let correction = self.corrections.code(field, 0);
                if correction != 0 {
                    correct(predicted, correction);
                }
                self.corrections.coder.check()
            }
            None => self.add(predicted),
        }
    }

    fn add(&mut self, text: &mut [u8]) -> io::Result<()> {
        let mut at = 0;
        loop {
            let skip = self.bytes.idle.min((text.len() - at) as u64);
            self.bytes.idle -= skip;
            at += skip as usize;
            if at == text.len() {
                return self.bytes.coder.check();
            }
            self.bytes.last = if at > 0 { text[at - 1] } else { 0 };
            text[at] = self.bytes.difference(text[at], 0);
            at += 1;
            if !self.bytes.another(false) {
                self.bytes.idle = self.bytes.count(0);
            }
        }
    }

    /// Nothing may be left over.
    pub fn finish(self) -> io::Result<()> {
        if self.bytes.idle == 0 { Ok(()) } else { Err(invalid("differences are left over")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_away_is_added_again() {
        let predicted = b"the quick brown fox jumps over the lazy dog, as ever".to_vec();
        for wrong in [&[0, 1, 3, 9, 10, 11, 30, 51][..], &[], &[5], &[51], &[50]] {
            let mut actual = predicted.clone();
            wrong.iter().for_each(|at| actual[*at] ^= 0x55);
            let field = Some(Field { kind: 3, sure: 1, target: 0x1234 });
            let parts = [(0..10, None), (10..14, field), (14..22, field), (22..22, None), (22..52, None)];
            let mut writer = Writer::new();
            for (part, field) in parts.clone() {
                writer.settle(&mut predicted.clone()[part.clone()], &actual[part], field);
            }
            let [bytes, corrections] = writer.finish();
            let mut text = predicted.clone();
            let mut reader = Reader::new(&bytes[..], &corrections[..]);
            for (part, field) in parts {
                reader.settle(&mut text[part], field).unwrap();
            }
            reader.finish().unwrap();
            assert_eq!(text, actual);
        }
    }
}
