//! Masks references by a label of what they point at: what calls the same function looks the same in both texts, wherever the function is.

use super::layout::Kind;
use super::{Images, image_at};

/// So many bytes at its target are what a reference is labelled by.
const LABEL: usize = 16;

/// What replaces the references of a target that is not in the file.
const ELSEWHERE: u64 = 0x0123_4567_89AB_CDEF;

/// Replaces every reference in `text`, whose executables `images` are.
pub(crate) fn mask(text: &mut [u8], images: &Images) {
    let targets: Vec<Target> = images.references.from(0).map(|(at, kind)| target(text, images, at, kind)).collect();
    // Labels are taken of texts in which every reference is blank, so that they do not depend on addresses themselves.
    for (at, kind) in images.references.from(0) {
        field(text, at, kind).fill(0xA0 + kind as u8);
    }
    let labels: Vec<u64> = targets.iter().map(|target| target.label(text)).collect();
    for ((at, kind), label) in images.references.from(0).zip(labels) {
        field(text, at, kind).copy_from_slice(&label.to_le_bytes()[..kind.width()]);
    }
}

fn field(text: &mut [u8], at: u64, kind: Kind) -> &mut [u8] {
    let at = at as usize;
    &mut text[at..at + kind.width()]
}

/// Bytes that a reference points at, of the text.
#[derive(Clone, Copy)]
struct Target {
    from: u32,
    to: u32,
    is_name: bool,
}

fn target(text: &[u8], images: &Images, at: u64, kind: Kind) -> Target {
    let nowhere = Target { from: 0, to: 0, is_name: false };
    let Some((_, image)) = image_at(&images.images, at) else { return nowhere };
    let base = || images.references.table(at).and_then(|table| image.layout.address(table.at - image.at));
    let table = if kind == Kind::Table { base().unwrap_or(0) } else { 0 };
    let bytes = &text[at as usize..at as usize + kind.width()];
    let target = image.layout.target(kind, at - image.at, bytes, table);
    let offset = if kind.is_name() { target } else { target.and_then(|target| image.layout.offset(target)) };
    match offset {
        Some(offset) if offset < image.len => {
            let from = image.at + offset;
            let to = (from + LABEL as u64).min(image.at + image.len);
            Target { from: from as u32, to: to as u32, is_name: kind.is_name() }
        }
        _ => nowhere,
    }
}

impl Target {
    fn label(self, text: &[u8]) -> u64 {
        let mut bytes = &text[self.from as usize..self.to as usize];
        if bytes.is_empty() {
            return ELSEWHERE;
        }
        if self.is_name {
            bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        }
        bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
            let hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
            hash ^ hash >> 29
        })
    }
}
