//! LZMA without container, in the few settings that pay for streams of patches.

use std::io::{self, BufRead, Write};

use liblzma::stream::{Filters, LzmaOptions, MatchFinder, PRESET_EXTREME, Stream};

/// Reads what [`compress`] wrote.
pub(super) type Reader<R> = liblzma::bufread::XzDecoder<R>;

/// No window is larger: that is the memory which a reader needs.
const LARGEST_WINDOW: u64 = 16 << 20;

/// How many bits of the byte before, of the position for literals, and of the position for all else are context.
const SETTINGS: [(u32, u32, u32); 5] = [(3, 0, 2), (4, 0, 0), (0, 0, 0), (0, 0, 3), (0, 2, 2)];

/// Settings to try on a stream: long ones are worth fewer tries.
pub(super) fn worth_trying(len: usize) -> std::ops::Range<u8> {
    match len {
        0..=0x60_0000 => 0..SETTINGS.len() as u8,
        0x60_0001..=0x180_0000 => 0..2,
        _ => 0..1,
    }
}

/// Whether there is such a setting.
pub(super) fn exists(setting: u8) -> bool {
    usize::from(setting) < SETTINGS.len()
}

pub(super) fn compress(raw: &[u8], setting: u8) -> Vec<u8> {
    encode(raw, &filters(setting, raw.len() as u64))
}

/// For an estimate only: nothing can read it.
pub(super) fn quickly(raw: &[u8]) -> Vec<u8> {
    let mut filters = Filters::new();
    filters.lzma2(&LzmaOptions::new_preset(1).expect("preset 1 exists"));
    encode(raw, &filters)
}

fn encode(raw: &[u8], filters: &Filters) -> Vec<u8> {
    let stream = Stream::new_raw_encoder(filters).expect("the settings are among those that LZMA has");
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(raw).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

pub(super) fn reader<R: BufRead>(from: R, setting: u8, raw: u64) -> io::Result<Reader<R>> {
    Ok(Reader::new_stream(from, Stream::new_raw_decoder(&filters(setting, raw)).map_err(io::Error::from)?))
}

fn filters(setting: u8, raw: u64) -> Filters {
    let (literal, literal_position, position) = SETTINGS[usize::from(setting)];
    let mut options = LzmaOptions::new_preset(9 | PRESET_EXTREME).expect("preset 9 exists");
    options
        .literal_context_bits(literal)
        .literal_position_bits(literal_position)
        .position_bits(position)
        .match_finder(MatchFinder::BinaryTree4)
        .dict_size(raw.min(LARGEST_WINDOW).next_power_of_two().max(64 << 10) as u32);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    filters
}
