//! Numbers as the patch writes them: seven bits a byte, least significant first, the top bit says that more follows.

use std::io::{self, Read};

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a number that may be negative: small ones of either sign stay short.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Reads a number; `InvalidData` where it does not fit 64 bits.
pub(crate) fn read(from: &mut impl Read) -> io::Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        let bits = u64::from(byte[0] & 0x7F);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte[0] < 0x80 {
            return Ok(value);
        }
    }
    Err(invalid("a number is too long"))
}

/// Reads a number that may be negative.
pub(crate) fn read_signed(from: &mut impl Read) -> io::Result<i64> {
    let value = read(from)?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// What a patch says that cannot be.
pub(crate) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(read(&mut &out[..]).unwrap(), value);
            let mut out = Vec::new();
            put_signed(&mut out, value as i64);
            assert_eq!(read_signed(&mut &out[..]).unwrap(), value as i64);
        }
    }

    #[test]
    fn a_number_beyond_64_bits_or_cut_is_refused() {
        assert!(read(&mut &[0xFF; 11][..]).is_err());
        assert!(read(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02][..]).is_err());
        assert!(read(&mut &[0x80][..]).is_err());
    }
}
