//! Cuts files into chunks by their content, so that a change moves few cuts (FastCDC, 2020).

use std::borrow::Cow;

use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};

/// Least bytes of a chunk, except for a file's last.
pub const MIN_CHUNK: usize = 16 * 1024;
/// Bytes of a chunk that cutting aims at.
pub const AVERAGE_CHUNK: usize = 64 * 1024;
/// Most bytes of a chunk.
pub const MAX_CHUNK: usize = 256 * 1024;

/// Finds cuts. The same seed and bytes give the same cuts.
pub struct Cutter {
    mask_small: u64,
    mask_large: u64,
    gear: Cow<'static, [u64]>,
    gear_shifted: Cow<'static, [u64]>,
}

impl Cutter {
    /// A cutter whose cuts depend on `seed`.
    pub fn new(seed: u64) -> Self {
        let (mask_small, mask_large) = select_masks(AVERAGE_CHUNK, Normalization::Level2);
        let (gear, gear_shifted) = get_gear_with_seed(seed);
        Self { mask_small, mask_large, gear, gear_shifted }
    }

    /// Length of the chunk that `data` begins with. `data` is all that is left of a file, or at least [`MAX_CHUNK`] of it.
    pub fn cut(&self, data: &[u8]) -> usize {
        let (_, length) = cut_gear(
            data,
            MIN_CHUNK,
            AVERAGE_CHUNK,
            MAX_CHUNK,
            self.mask_small,
            self.mask_large,
            self.mask_small << 1,
            self.mask_large << 1,
            &self.gear,
            &self.gear_shifted,
        );
        length
    }
}
