//! Predicts what the references of the new text say, from where the covers say that their targets moved, and from what was right before.

use std::io;

use super::layout::Kind;
use super::{Image, Images, image_at};
use crate::cover::Cover;
use crate::residual::Field;

/// Targets whose prediction was wrong are remembered in so many places.
const REMEMBERED: usize = 1 << 18;

/// Gets what is predicted, and of a reference what it is; makes of it what is.
pub(crate) type Settle<'a> = dyn FnMut(&mut [u8], Option<Field>) -> io::Result<()> + 'a;

/// Turns covered parts of the old text into the new text.
pub(crate) struct Predictor<'a> {
    old: &'a Images,
    new: &'a [Image],
    moves: Moves<'a>,
    /// Old target and new target, by a hash of the old one.
    remembered: Vec<(u64, u64)>,
}

/// Where a reference lies on both sides.
struct Place<'a> {
    kind: Kind,
    old: &'a Image,
    new: &'a Image,
    old_at: u64,
    new_at: u64,
    old_table: u64,
    new_table: u64,
}

impl<'a> Predictor<'a> {
    pub fn new(old: &'a Images, new: &'a [Image], covers: &'a [Cover]) -> Self {
        let used = !old.is_empty() && !new.is_empty();
        let moves = Moves::of(if used { covers } else { &[] });
        Predictor { old, new, moves, remembered: if used { vec![(u64::MAX, 0); REMEMBERED] } else { Vec::new() } }
    }

    /// How much of a cover from `done` on to deal with at once: at most `most`, and no reference is split.
    pub fn part(&self, cover: &Cover, done: usize, most: usize) -> usize {
        let left = cover.len as usize - done;
        if left <= most || self.remembered.is_empty() {
            return left.min(most);
        }
        let end = u64::from(cover.old) + (done + most) as u64;
        let before = self.old.references.from(end.saturating_sub(8)).take_while(|(at, _)| *at < end);
        match before.last() {
            Some((at, kind)) if at + kind.width() as u64 > end => (at - u64::from(cover.old)) as usize - done,
            _ => most,
        }
    }

    /// Turns `bytes`, a part of a cover from `done` on as the old text has it, into the new text: `settle` gets what is predicted, piece by
    /// piece, and makes of it what is.
    pub fn turn(&mut self, cover: &Cover, done: usize, bytes: &mut [u8], settle: &mut Settle<'_>) -> io::Result<()> {
        if self.remembered.is_empty() {
            return settle(bytes, None);
        }
        let begin = u64::from(cover.old) + done as u64;
        let end = begin + bytes.len() as u64;
        let mut settled = 0;
        let old = self.old;
        for (at, kind) in old.references.from(begin).take_while(|(at, kind)| at + kind.width() as u64 <= end) {
            let from = (at - begin) as usize;
            let to = from + kind.width();
            let Some(place) = self.place(cover, at, kind) else { continue };
            let Some(target) = place.old.layout.target(kind, place.old_at, &bytes[from..to], place.old_table) else { continue };
            settle(&mut bytes[settled..from], None)?;
            let known = self.remembered(&place, target);
            let predicted = known.or_else(|| self.moved(&place, target));
            if let Some(field) = predicted.and_then(|predicted| place.new.layout.field(kind, place.new_at, predicted, place.new_table)) {
                bytes[from..to].copy_from_slice(&field[..to - from]);
            }
            let sure = if known.is_some() { 1 } else { usize::from(predicted.is_none()) * 2 };
            settle(&mut bytes[from..to], Some(Field { kind: kind as usize, sure, target }))?;
            let actual = place.new.layout.target(kind, place.new_at, &bytes[from..to], place.new_table);
            if let Some(actual) = actual.filter(|_| actual != predicted) {
                self.remembered[slot(target, kind)] = (key(target, kind), actual);
            }
            settled = to;
        }
        settle(&mut bytes[settled..], None)
    }

    fn place(&self, cover: &Cover, at: u64, kind: Kind) -> Option<Place<'a>> {
        let new_at = at.wrapping_add_signed(cover.shift());
        let (_, old) = image_at(&self.old.images, at)?;
        let (_, new) = image_at(self.new, new_at)?;
        let mut place = Place { kind, old, new, old_at: at - old.at, new_at: new_at - new.at, old_table: 0, new_table: 0 };
        if kind == Kind::Table {
            let table = self.old.references.table(at)?;
            place.old_table = old.layout.address(table.at - old.at)?;
            place.new_table = new.layout.address(table.at.wrapping_add_signed(cover.shift()).wrapping_sub(new.at))?;
        }
        Some(place)
    }

    /// The new target of an old one that was predicted wrongly before.
    fn remembered(&self, place: &Place<'_>, target: u64) -> Option<u64> {
        let (known, actual) = self.remembered[slot(target, place.kind)];
        (known == key(target, place.kind)).then_some(actual)
    }

    /// Where a target is by what the covers say.
    fn moved(&self, place: &Place<'_>, target: u64) -> Option<u64> {
        if place.kind.is_name() {
            let at = place.old.at.checked_add(target)?;
            let cover = self.moves.cover(at)?;
            return Some(at.wrapping_add_signed(cover.shift()).wrapping_sub(place.new.at));
        }
        let (number, segment) = place.old.layout.segment(target)?;
        let beyond = target.wrapping_sub(segment.address);
        if beyond >= segment.file_len {
            // Memory that is not in the file moves with the end of what is.
            let segment = place.new.layout.segments.get(number)?;
            let beyond = beyond - place.old.layout.segments[number].file_len;
            return Some(segment.address.wrapping_add(segment.file_len).wrapping_add(beyond));
        }
        let cover = self.moves.cover(place.old.at.checked_add(place.old.layout.offset(target)?)?)?;
        // How far the beginning of the cover moved, in addresses.
        let old = u64::from(cover.old).max(place.old.at);
        let new = old.wrapping_add_signed(cover.shift()).checked_sub(place.new.at)?;
        let shift = place.new.layout.address(new)?.wrapping_sub(place.old.layout.address(old - place.old.at)?);
        Some(target.wrapping_add(shift))
    }
}

fn key(target: u64, kind: Kind) -> u64 {
    target << 1 | u64::from(kind.is_name())
}

fn slot(target: u64, kind: Kind) -> usize {
    (key(target, kind).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - REMEMBERED.trailing_zeros())) as usize
}

/// Which cover moves a position of the old text: the longest of those that hold it, else the one before it.
struct Moves<'a> {
    covers: &'a [Cover],
    /// From where on which cover decides.
    from: Vec<(u32, u32)>,
    /// For each page of the old text, how many of `from` begin before it.
    pages: Vec<u32>,
}

/// Length of a page, as a power of two.
const PAGE: u32 = 10;

impl<'a> Moves<'a> {
    fn of(covers: &'a [Cover]) -> Self {
        let mut from: Vec<(u32, u32)> = Vec::new();
        let mut order: Vec<u32> = (0..covers.len() as u32).collect();
        order.sort_unstable_by_key(|index| covers[*index as usize].old);
        // Those that reach beyond the position under way, longest first.
        let mut open: std::collections::BinaryHeap<(u32, u32)> = std::collections::BinaryHeap::new();
        let mut next = order.into_iter().peekable();
        while let Some(at) = next.peek().map(|index| covers[*index as usize].old) {
            while let Some(index) = next.next_if(|index| covers[*index as usize].old == at) {
                open.push((covers[index as usize].len, index));
            }
            let until = next.peek().map_or(u32::MAX, |index| covers[*index as usize].old);
            let mut at = at;
            while at < until {
                let Some((_, index)) = open.peek().copied() else { break };
                let end = covers[index as usize].old_end() as u32;
                if end <= at {
                    open.pop();
                    continue;
                }
                if from.last().is_none_or(|(_, last)| *last != index) {
                    from.push((at, index));
                }
                at = end.min(until);
            }
        }
        let last = from.last().map_or(0, |(at, _)| at >> PAGE);
        let mut pages = Vec::with_capacity(last as usize + 2);
        for (number, (at, _)) in from.iter().enumerate() {
            while pages.len() <= (at >> PAGE) as usize {
                pages.push(number as u32);
            }
        }
        Moves { covers, from, pages }
    }

    fn cover(&self, at: u64) -> Option<&Cover> {
        let page = (at >> PAGE) as usize;
        let first = self.pages.get(page).map_or(self.from.len(), |first| *first as usize);
        let end = self.pages.get(page + 1).map_or(self.from.len(), |end| *end as usize);
        let within = self.from.get(first..end).unwrap_or_default().partition_point(|(from, _)| u64::from(*from) <= at);
        let index = (first + within).checked_sub(1)?;
        Some(&self.covers[self.from[index].1 as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_cover_that_holds_a_position_moves_it() {
        let covers = [
            Cover { old: 100, new: 0, len: 50 },
            Cover { old: 5_000, new: 100, len: 10 },
            Cover { old: 120, new: 200, len: 2_000 },
            Cover { old: 90, new: 3_000, len: 20 },
        ];
        let moves = Moves::of(&covers);
        let new = |at| moves.cover(at).map(|cover| cover.new);
        assert_eq!([new(0), new(89)], [None, None]);
        assert_eq!([new(90), new(99), new(100), new(119)], [Some(3_000), Some(3_000), Some(0), Some(0)]);
        assert_eq!([new(120), new(149), new(2_119)], [Some(200); 3]);
        assert_eq!([new(2_120), new(4_999)], [Some(200); 2], "what no cover holds moves with what is before it");
        assert_eq!([new(5_000), new(5_010), new(1 << 40)], [Some(100); 3]);
    }
}
