//! Covers: stretches of the new text that are like a stretch of the old one.

use std::io::{self, Read};

use crate::codec::range::{self, Bit, Coder, Decoder, Encoder, Numbers, Symbols};
use crate::varint::invalid;

/// More covers than this are not made and not accepted in one group, so that applying keeps them in memory.
pub(crate) const MAX_COVERS: usize = 2 << 20;

/// `new..new + len` of the new text is like `old..old + len` of the old one. Covers are in the order of the new text and do not overlap there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cover {
    pub old: u32,
    pub new: u32,
    pub len: u32,
}

impl Cover {
    pub fn old_end(&self) -> usize {
        self.old as usize + self.len as usize
    }

    pub fn new_end(&self) -> usize {
        self.new as usize + self.len as usize
    }

    /// How far the stretch moved.
    pub fn shift(&self) -> i64 {
        i64::from(self.new) - i64::from(self.old)
    }
}

/// So many of the last shifts are known by a number: text often goes on where it was left.
const RECENT: usize = 15;

/// How a cover follows the one before it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Step {
    /// Between them in the new text.
    gap: u64,
    /// How much more it moved.
    jump: i64,
    len: u64,
}

/// How steps are coded.
struct Model {
    repeats: Repeats,
    /// Whether gap, jump and length are those of the step that is repeated; in the context of how often that was right.
    as_before: [[Bit; 16]; 3],
    gaps: Numbers,
    lengths: Numbers,
    /// Which of the recent shifts, or [`RECENT`] for another; in the context of what the last two were.
    shifts: Symbols,
    jumps: Numbers,
    backward: [Bit; 64],
    recent: Vec<i64>,
    history: usize,
    last_len: u64,
}

impl Model {
    fn new() -> Self {
        Model {
            repeats: Repeats::new(),
            as_before: [[Bit::NEW; 16]; 3],
            gaps: Numbers::new(8 * 3),
            lengths: Numbers::new(3 * 4),
            shifts: Symbols::new(4, 9 * 2),
            jumps: Numbers::new(2),
            backward: [Bit::NEW; 64],
            recent: vec![0],
            history: 0,
            last_len: 0,
        }
    }

    fn code(&mut self, coder: &mut impl Coder, step: Step) -> Step {
        let expected = self.repeats.expected();
        let trust = self.repeats.trust();
        let mut right = [false; 3];
        let mut guess = |number: usize, fits: bool| {
            right[number] = expected.is_some() && coder.bit(&mut self.as_before[number][trust], fits);
            right[number].then_some(expected).flatten()
        };
        let gap = guess(0, expected.is_some_and(|expected| expected.gap == step.gap));
        let jump = guess(1, expected.is_some_and(|expected| expected.jump == step.jump));
        let len = guess(2, expected.is_some_and(|expected| expected.len == step.len));
        let gap = match gap {
            Some(expected) => expected.gap,
            None => self.gaps.code(coder, (range::length(self.last_len) as usize / 2).min(7) * 3 + self.history % 3, step.gap),
        };
        let last = self.recent[0];
        let shift = match jump {
            Some(expected) => self.known_shift(last.wrapping_add(expected.jump)),
            None => self.shift(coder, last.wrapping_add(step.jump), gap),
        };
        let len = match len {
            Some(expected) => expected.len,
            None => self.lengths.code(coder, self.history % 3 * 4 + (range::length(gap) as usize).min(3), step.len),
        };
        let step = Step { gap, jump: shift.wrapping_sub(last), len };
        self.repeats.learn(step, right.iter().filter(|right| **right).count());
        self.last_len = len;
        step
    }

    /// Notes a shift that is known.
    fn known_shift(&mut self, shift: i64) -> i64 {
        let known = self.recent.iter().position(|recent| *recent == shift).unwrap_or(RECENT);
        self.note(known, shift)
    }

    /// Codes a shift: a recent one by its number, another one by how much it differs from the last one.
    fn shift(&mut self, coder: &mut impl Coder, shift: i64, gap: u64) -> i64 {
        let known = self.recent.iter().position(|recent| *recent == shift).unwrap_or(RECENT) as u32;
        let known = self.shifts.code(coder, self.history * 2 + usize::from(gap > 0), known) as usize;
        let shift = match self.recent.get(known) {
            Some(recent) => *recent,
            None => self.jump(coder, shift, gap),
        };
        self.note(known, shift)
    }

    fn note(&mut self, known: usize, shift: i64) -> i64 {
        let class = if known >= self.recent.len() { 2 } else { usize::from(known > 1) };
        self.history = self.history % 3 * 3 + class;
        if known < self.recent.len() {
            self.recent.remove(known);
        }
        self.recent.truncate(RECENT - 1);
        self.recent.insert(0, shift);
        shift
    }

    fn jump(&mut self, coder: &mut impl Coder, shift: i64, gap: u64) -> i64 {
        let last = self.recent[0];
        let jump = shift.wrapping_sub(last);
        let size = self.jumps.code(coder, usize::from(gap > 0), jump.unsigned_abs() & i64::MAX as u64) as i64;
        let backward = coder.bit(&mut self.backward[range::length(size as u64) as usize], jump < 0);
        last.wrapping_add(if backward { -size } else { size })
    }
}

/// Steps that were made before: where one file has the same changes as another, they follow each other as they did there.
struct Repeats {
    steps: Vec<Step>,
    /// After which step a step with this hash was made last.
    index: Vec<u32>,
    /// The step that is expected next, and how often the expectation was right of late.
    next: Option<usize>,
    trust: usize,
}

impl Repeats {
    fn new() -> Self {
        Repeats { steps: Vec::new(), index: vec![u32::MAX; 1 << 18], next: None, trust: 0 }
    }

    fn expected(&self) -> Option<Step> {
        self.next.and_then(|next| self.steps.get(next)).copied()
    }

    fn trust(&self) -> usize {
        self.trust
    }

    fn learn(&mut self, step: Step, right: usize) {
        self.trust = match right {
            3 => (self.trust + 1).min(15),
            0 => 0,
            _ => self.trust / 2,
        };
        let hash = (step.gap.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ step.len).wrapping_mul(0xC2B2_AE3D_27D4_EB4F) ^ step.jump as u64;
        let slot = (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 46) as usize;
        let before = self.index[slot] as usize;
        self.next = match self.next {
            Some(next) if right > 0 => Some(next + 1),
            _ => self.steps.get(before).filter(|found| **found == step).map(|_| before + 1),
        };
        self.index[slot] = self.steps.len() as u32;
        self.steps.push(step);
    }
}

/// Writes covers.
pub(crate) fn write(covers: &[Cover]) -> Vec<u8> {
    let (mut model, mut encoder) = (Model::new(), Encoder::new());
    let (mut at, mut shift) = (0, 0);
    for cover in covers {
        let gap = (cover.new as usize - at) as u64;
        model.code(&mut encoder, Step { gap, jump: cover.shift() - shift, len: u64::from(cover.len) });
        (at, shift) = (cover.new_end(), cover.shift());
    }
    encoder.finish()
}

/// Reads `count` covers; every one lies within texts of the given lengths.
pub(crate) fn read(count: usize, old_len: u64, new_len: u64, from: &mut impl Read) -> io::Result<Vec<Cover>> {
    if count > MAX_COVERS {
        return Err(invalid("too many covers"));
    }
    let (mut model, mut decoder) = (Model::new(), Decoder::new(from));
    let mut covers = Vec::new();
    let (mut at, mut shift) = (0u64, 0i64);
    for _ in 0..count {
        let Step { gap, jump, len } = model.code(&mut decoder, Step::default());
        decoder.check()?;
        shift = shift.wrapping_add(jump);
        let new = at.checked_add(gap).filter(|new| *new <= new_len && len > 0 && len <= new_len - new);
        let old =
            new.and_then(|new| u64::try_from((new as i64).checked_sub(shift)?).ok()).filter(|old| *old <= old_len && len <= old_len - old);
        let narrow =
            |value: Option<u64>| value.and_then(|value| u32::try_from(value).ok()).ok_or_else(|| invalid("a cover lies beyond a text"));
        let cover = Cover { old: narrow(old)?, new: narrow(new)?, len: narrow(Some(len))? };
        at = cover.new_end() as u64;
        covers.push(cover);
    }
    Ok(covers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_come_back_and_lie_within_the_texts() {
        let covers = [
            Cover { old: 5, new: 0, len: 3 },
            Cover { old: 0, new: 4, len: 6 },
            Cover { old: 9, new: 10, len: 1 },
            Cover { old: 7, new: 11, len: 2 },
            Cover { old: 9, new: 14, len: 1 },
        ];
        let written = write(&covers);
        let back = |old, new| read(covers.len(), old, new, &mut &written[..]);
        assert_eq!(back(10, 15).unwrap(), covers);
        assert!(back(9, 15).is_err());
        assert!(back(10, 14).is_err());
        assert!(read(MAX_COVERS + 1, 10, 15, &mut &written[..]).is_err());
    }
}
