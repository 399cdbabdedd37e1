//! The body of a chunk: one codec byte, then the bytes as they are or compressed by zstd.

use std::io;

/// Bytes of the AES-GCM tag at the end of a sealed chunk.
pub const TAG_LEN: usize = 16;
/// Bytes that sealing adds to what is stored: codec byte and tag.
pub const OVERHEAD: usize = 1 + TAG_LEN;
/// Most plaintext bytes of one chunk of a file.
pub const MAX_PLAIN: usize = 256 * 1024;

/// How a chunk's bytes are stored; the first byte of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    Stored = 0,
    /// One zstd frame (RFC 8878).
    Zstd = 1,
}

/// Why a chunk did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// Fewer bytes than codec byte and tag.
    #[error("shorter than a chunk can be")]
    TooShort,
    /// The authentication tag is not of these bytes under this key.
    #[error("damaged, or sealed under another key")]
    Tag,
    /// It opened, but to something other than what its name says.
    #[error("does not hold what its name says")]
    Id,
    /// The codec byte is not one that we know.
    #[error("unknown codec {0}")]
    Codec(u8),
    /// The compressed bytes are not a zstd frame of the declared size.
    #[error("does not decompress to its declared size")]
    Compression,
    /// The stored bytes are more or fewer than declared.
    #[error("has another size than declared")]
    Size,
}

/// Makes chunk bodies, reusing one compression context.
pub struct Encoder {
    zstd: zstd::bulk::Compressor<'static>,
}

impl Encoder {
    /// An encoder at a zstd `level` (1–22; 3 is the default of the publisher's tools).
    pub fn new(level: i32) -> io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(level)? })
    }

    /// What compresses here, such as `zstd 1.5.7`: the same one at the same level gives the same chunks for the same bytes.
    pub fn name() -> String {
        format!("zstd {}", zstd::zstd_safe::version_string())
    }

    /// [`name`](Self::name) with its level, such as `zstd 1.5.7 level 3`.
    pub fn name_at(level: i32) -> String {
        format!("{} level {level}", Self::name())
    }

    /// Writes the body of `plain` to the front of `out`, which has room for `plain.len() + 1`; returns the body's length.
    ///
    /// What does not shrink by at least a 64th is stored as it is: decompressing it at every read would cost more.
    pub fn encode(&mut self, plain: &[u8], out: &mut [u8]) -> usize {
        let worthwhile = plain.len() - plain.len().div_ceil(64);
        match self.zstd.compress_to_buffer(plain, &mut out[1..1 + worthwhile]) {
            Ok(length) => {
                out[0] = Codec::Zstd as u8;
                1 + length
            }
            // The frame did not fit into what would be worthwhile.
            Err(_) => {
                out[0] = Codec::Stored as u8;
                out[1..1 + plain.len()].copy_from_slice(plain);
                1 + plain.len()
            }
        }
    }
}

/// Turns chunk bodies back into plaintext, reusing one decompression context.
pub struct Decoder {
    zstd: zstd::bulk::Decompressor<'static>,
}

impl Decoder {
    /// A decoder with its own context.
    pub fn new() -> io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Decompressor::new()? })
    }

    /// Fills `out`, whose length is the plaintext's declared length, from a `body`. Never writes or allocates more.
    pub fn decode(&mut self, body: &[u8], out: &mut [u8]) -> Result<(), ChunkError> {
        let (&codec, stored) = body.split_first().ok_or(ChunkError::TooShort)?;
        if codec == Codec::Stored as u8 {
            if stored.len() != out.len() {
                return Err(ChunkError::Size);
            }
            out.copy_from_slice(stored);
            Ok(())
        } else if codec == Codec::Zstd as u8 {
            match self.zstd.decompress_to_buffer(stored, out) {
                Ok(length) if length == out.len() => Ok(()),
                _ => Err(ChunkError::Compression),
            }
        } else {
            Err(ChunkError::Codec(codec))
        }
    }
}
