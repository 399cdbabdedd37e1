//! Covers: stretches of the new text that are like a stretch of the old one.

use std::io::{self, Read};

use crate::varint::{self, invalid};

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

/// Covers as three streams of numbers: gaps in the new text, lengths, and jumps in the old text beyond the gap.
#[derive(Default)]
pub(crate) struct Control {
    pub gaps: Vec<u8>,
    pub lengths: Vec<u8>,
    pub jumps: Vec<u8>,
}

impl Control {
    pub fn of(covers: &[Cover]) -> Self {
        let mut control = Control::default();
        let mut last = Cover { old: 0, new: 0, len: 0 };
        for cover in covers {
            let gap = cover.new as usize - last.new_end();
            varint::put(&mut control.gaps, gap as u64);
            varint::put(&mut control.lengths, u64::from(cover.len));
            varint::put_signed(&mut control.jumps, i64::from(cover.old) - last.old_end() as i64 - gap as i64);
            last = *cover;
        }
        control
    }
}

/// Reads `count` covers; every one lies within texts of the given lengths.
pub(crate) fn read(
    count: usize,
    old_len: u64,
    new_len: u64,
    gaps: &mut impl Read,
    lengths: &mut impl Read,
    jumps: &mut impl Read,
) -> io::Result<Vec<Cover>> {
    if count > MAX_COVERS {
        return Err(invalid("too many covers"));
    }
    let mut covers = Vec::new();
    let (mut old, mut new) = (0i64, 0u64);
    for _ in 0..count {
        let gap = varint::read(gaps)?;
        let len = varint::read(lengths)?;
        let jump = varint::read_signed(jumps)?;
        new = new.checked_add(gap).filter(|new| *new <= new_len).ok_or_else(|| invalid("a cover lies beyond the new text"))?;
        old = old.checked_add(gap as i64).and_then(|old| old.checked_add(jump)).unwrap_or(-1);
        if old < 0 || old as u64 > old_len || len == 0 || len > new_len - new || len > old_len - old as u64 {
            return Err(invalid("a cover lies beyond a text"));
        }
        let narrow = |value: u64| u32::try_from(value).map_err(|_| invalid("a cover lies beyond a text"));
        covers.push(Cover { old: narrow(old as u64)?, new: narrow(new)?, len: narrow(len)? });
        new += len;
        old += len as i64;
    }
    Ok(covers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_come_back_and_lie_within_the_texts() {
        let covers = [Cover { old: 5, new: 0, len: 3 }, Cover { old: 0, new: 4, len: 6 }, Cover { old: 9, new: 10, len: 1 }];
        let control = Control::of(&covers);
        let back = |old, new| read(3, old, new, &mut &control.gaps[..], &mut &control.lengths[..], &mut &control.jumps[..]);
        assert_eq!(back(10, 11).unwrap(), covers);
        assert!(back(9, 11).is_err());
        assert!(back(10, 10).is_err());
    }
}
