//! Executables: where they refer to addresses, so that a function that moved does not change everything that calls it.
//!
//! Every reference of an executable is found by reading it ([`elf`], [`x86`]). Before matching, references are masked by a label of what they
//! point at ([`labels`]); after matching, they are predicted from where that moved ([`predict`]), so that only wrong predictions cost bytes.
//! Both sides find the references of the old files by themselves; of the new ones, the patch says the layout only.

mod elf;
mod labels;
mod layout;
mod predict;
mod references;
mod x86;

use std::io::{self, Read};

pub(crate) use labels::mask;
pub(crate) use predict::Predictor;

use layout::Layout;
use references::References;

use crate::text::{Piece, Text};
use crate::varint::{self, invalid};

/// Larger files are taken as they are: what is known of an executable is kept in memory.
const LARGEST: u64 = 512 << 20;

/// More executables in one text are taken as they are, for the same reason.
const MOST: usize = 4096;

/// An executable in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Where it begins in the text.
    pub at: u64,
    /// Its length.
    pub len: u64,
    /// How its addresses lie.
    pub layout: Layout,
}

/// The executables of a text, in order, and all their references.
pub(crate) struct Images {
    pub images: Vec<Image>,
    pub references: References,
}

impl Images {
    /// Those of a text in which none matter.
    pub fn none() -> Self {
        Images { images: Vec::new(), references: References::new(0) }
    }

    /// Reads those of a text. A damaged one just has fewer references.
    pub fn read(text: &Text<'_>) -> io::Result<Self> {
        let mut images = Images { images: Vec::new(), references: References::new(text.len()) };
        for piece in text.pieces() {
            if images.images.len() == MOST {
                break;
            }
            if let Some(layout) = whole(text, piece).then(|| elf::read(text, piece, &mut images.references)).transpose()?.flatten() {
                images.images.push(Image { at: piece.at, len: piece.len, layout });
            }
        }
        images.references.finish();
        Ok(images)
    }

    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }
}

fn whole(text: &Text<'_>, piece: &Piece) -> bool {
    piece.start == 0 && piece.len <= LARGEST && text.file_length(piece.file) == piece.len
}

/// The image that holds a position of its text.
pub(crate) fn image_at(images: &[Image], at: u64) -> Option<(usize, &Image)> {
    let index = images.partition_point(|image| image.at <= at).checked_sub(1)?;
    let image = &images[index];
    (at < image.at + image.len).then_some((index, image))
}

/// Layouts of new executables as the patch says them.
pub(crate) fn put_layouts(images: &[Image], text: &Text<'_>, out: &mut Vec<u8>) {
    let mut next = 0;
    for (number, piece) in text.pieces().iter().enumerate() {
        if let Some(image) = images.iter().find(|image| image.at == piece.at) {
            varint::put(out, (number - next) as u64);
            image.layout.put(out);
            next = number + 1;
        }
    }
}

/// Reads them, to the end of the stream.
pub(crate) fn read_layouts(from: &mut impl Read, length: u64, text: &[Piece]) -> io::Result<Vec<Image>> {
    let mut from = from.take(length);
    let mut images = Vec::new();
    let mut next = 0usize;
    while from.limit() > 0 {
        if images.len() == MOST {
            return Err(invalid("there are too many executables"));
        }
        let skip = varint::read(&mut from)?;
        let number = usize::try_from(skip).ok().and_then(|skip| next.checked_add(skip));
        let (number, piece) = number
            .and_then(|number| Some((number, text.get(number)?)))
            .ok_or_else(|| invalid("an executable lies beyond the new files"))?;
        images.push(Image { at: piece.at, len: piece.len, layout: Layout::read(&mut from)? });
        next = number + 1;
    }
    Ok(images)
}
