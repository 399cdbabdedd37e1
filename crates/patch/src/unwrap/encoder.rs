//! The encoders that a packed stream may come from, each with its settings, and which of them gives exactly the bytes of a stream.
//!
//! zlib packs what Python's `zipfile` and `gzip`, Java's `jar` and most else writes; miniz_oxide what tools written in Rust write (wheels of
//! maturin). A crate that recovers any encoder's choices was tried and left: it fails on some of the largest streams that were measured,
//! and what it reads from a patch may make it loop for ever.

use std::io;
use std::ops::Range;

use flate2::{Compress, Compression, FlushCompress};
use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params};

use super::inflate::Inflater;
use crate::Files;
use crate::varint::invalid;

// Only named to have zlib's own code linked, never a replacement that a system gives: its bytes would differ.
use libz_sys as _;

/// Which encoder, at which level: a byte in a recipe. 1 to 9 are zlib's levels, 17 to 26 miniz_oxide's 1 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting(u8);

const MINIZ: u8 = 16;

/// In which order they are tried.
const SETTINGS: [u8; 14] = [6, 9, 1, MINIZ + 6, MINIZ + 9, MINIZ + 1, 5, 7, 8, 4, 3, 2, MINIZ + 10, MINIZ + 3];

/// Text is packed in parts of this length.
const PART: usize = 64 << 10;

impl Setting {
    /// As a recipe has it.
    pub fn from_byte(byte: u8) -> io::Result<Self> {
        match byte {
            1..=9 | 17..=26 => Ok(Setting(byte)),
            _ => Err(invalid("a stream is packed in an unknown way")),
        }
    }

    /// For a recipe.
    pub fn to_byte(self) -> u8 {
        self.0
    }
}

/// Packs a stream.
pub(crate) enum Encoder {
    Zlib(Compress),
    Miniz(Box<CompressorOxide>),
}

impl Encoder {
    pub fn new(setting: Setting) -> Self {
        match setting.0 {
            level @ 0..=MINIZ => Encoder::Zlib(Compress::new(Compression::new(u32::from(level)), false)),
            level => {
                let flags = create_comp_flags_from_zip_params(i32::from(level - MINIZ), 0, 0);
                Encoder::Miniz(Box::new(CompressorOxide::new(flags)))
            }
        }
    }

    /// Takes the next text, or what is left of it with `last`; appends the packed bytes to `out`.
    pub fn push(&mut self, mut plain: &[u8], last: bool, out: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let room = out.len();
            out.resize(room + PART, 0);
            let (used, written, ended) = match self {
                Encoder::Zlib(encoder) => zlib(encoder, plain, &mut out[room..], last)?,
                Encoder::Miniz(encoder) => {
                    let flush = if last { TDEFLFlush::Finish } else { TDEFLFlush::None };
                    let (status, used, written) = compress(encoder, plain, &mut out[room..], flush);
                    if matches!(status, TDEFLStatus::BadParam | TDEFLStatus::PutBufFailed) {
                        return Err(invalid("a stream could not be packed"));
                    }
                    (used, written, status == TDEFLStatus::Done)
                }
            };
            out.truncate(room + written);
            plain = &plain[used..];
            // Whoever fills the room may have more to give.
            if ended || (!last && plain.is_empty() && written < PART) {
                return Ok(());
            }
        }
    }
}

fn zlib(encoder: &mut Compress, plain: &[u8], out: &mut [u8], last: bool) -> io::Result<(usize, usize, bool)> {
    let before = (encoder.total_in(), encoder.total_out());
    let flush = if last { FlushCompress::Finish } else { FlushCompress::None };
    let status = encoder.compress(plain, out, flush).map_err(|_| invalid("a stream could not be packed"))?;
    let used = (encoder.total_in() - before.0) as usize;
    Ok((used, (encoder.total_out() - before.1) as usize, status == flate2::Status::StreamEnd))
}

/// The setting that gives exactly the bytes of a stream, tried first with `hint`, and how long its text is; none where no setting does or
/// the text is longer than `limit`.
pub(crate) fn identify(
    files: &dyn Files,
    file: usize,
    packed: &Range<u64>,
    limit: u64,
    hint: Option<Setting>,
) -> io::Result<Option<(Setting, u64)>> {
    for setting in hint.into_iter().chain(SETTINGS.map(Setting).into_iter().filter(|setting| Some(*setting) != hint)) {
        if let Some(plain) = gives(setting, files, file, packed, limit)? {
            return Ok(Some((setting, plain)));
        }
    }
    Ok(None)
}

/// The text's length if packing it gives the very bytes.
fn gives(setting: Setting, files: &dyn Files, file: usize, packed: &Range<u64>, limit: u64) -> io::Result<Option<u64>> {
    let mut inflater = Inflater::new(files, file, packed.clone());
    let mut encoder = Encoder::new(setting);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut at, mut total) = (packed.start, 0);
    loop {
        let plain = match inflater.read(PART) {
            Ok(plain) => plain,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
            Err(error) => return Err(error),
        };
        let last = plain.len() < PART;
        total += plain.len() as u64;
        ours.clear();
        encoder.push(plain, last, &mut ours)?;
        if total > limit || ours.len() as u64 > packed.end - at {
            return Ok(None);
        }
        theirs.resize(ours.len(), 0);
        files.read_exact_at(file, &mut theirs, at)?;
        if ours != theirs {
            return Ok(None);
        }
        at += ours.len() as u64;
        if last {
            return Ok((at == packed.end).then_some(total));
        }
    }
}
