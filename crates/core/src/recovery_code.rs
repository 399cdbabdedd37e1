//! The code that a user writes down beside the user ID, for the day the card is lost (C15).

use crate::id::digit;
use std::{fmt, str::FromStr};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Base-32 characters of 80 bits, without the check characters.
const DATA_CHARS: usize = 16;
const CHECK_CHARS: usize = 2;
/// As IDs have it: any single wrong character and any two neighbours exchanged change the remainder.
const CHECK_MODULUS: u32 = 1021;
/// Where the sum begins, so that part of an ID is not taken for a code.
const BEGIN: u32 = 11;

/// Why a text is not a recovery code. Says nothing of whether it would be the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryCodeError {
    /// Something was left out or doubled.
    #[error("it has {0} characters instead of 18")]
    Length(usize),
    /// A character that no code contains.
    #[error("the character {0:?} does not occur in recovery codes")]
    Character(char),
    /// A typing error: the check characters do not fit the rest.
    #[error("its check characters do not fit: a character is wrong or two are exchanged")]
    Check,
}

/// 80 random bits, written as `XXXX-XXXX-XXXX-XXXX-XX`: 16 characters of Crockford's base 32 and two check characters. Who has it and the
/// user ID may ask for a new card, so it is shown once and compared as a hash.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode([u8; 10]);

impl RecoveryCode {
    /// From 80 random bits.
    pub const fn from_bytes(bytes: [u8; 10]) -> Self {
        Self(bytes)
    }

    /// The 80 bits.
    pub const fn as_bytes(&self) -> &[u8; 10] {
        &self.0
    }
}

impl fmt::Display for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(&self.0, BEGIN, f)
    }
}

impl FromStr for RecoveryCode {
    type Err = RecoveryCodeError;

    /// As people type it: case, spaces and hyphens do not matter, O is 0, I and L are 1.
    fn from_str(text: &str) -> Result<Self, RecoveryCodeError> {
        read(text, BEGIN).map(Self)
    }
}

/// Writes 80 bits with the check characters of a sum that begins so.
pub(crate) fn write(bytes: &[u8; 10], begin: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let bits = bytes.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    let data: [u8; DATA_CHARS] = std::array::from_fn(|place| (bits >> (5 * (DATA_CHARS - 1 - place)) & 31) as u8);
    let check = check_value(&data, begin);
    let digits = data.into_iter().chain([(check >> 5) as u8, (check & 31) as u8]);
    for (place, digit) in digits.enumerate() {
        if place % 4 == 0 && place > 0 {
            f.write_str("-")?;
        }
        fmt::Write::write_char(f, char::from(ALPHABET[usize::from(digit)]))?;
    }
    Ok(())
}

/// Reads what [`write`] wrote, as people type it.
pub(crate) fn read(text: &str, begin: u32) -> Result<[u8; 10], RecoveryCodeError> {
    let mut digits = Vec::with_capacity(DATA_CHARS + CHECK_CHARS);
    for character in text.trim().chars().filter(|c| !matches!(c, '-' | ' ')) {
        digits.push(digit(character).ok_or(RecoveryCodeError::Character(character))?);
    }
    if digits.len() != DATA_CHARS + CHECK_CHARS {
        return Err(RecoveryCodeError::Length(digits.len()));
    }
    let (data, check) = digits.split_at(DATA_CHARS);
    if check_value(data, begin) != u32::from(check[0]) << 5 | u32::from(check[1]) {
        return Err(RecoveryCodeError::Check);
    }
    let bits = data.iter().fold(0u128, |bits, digit| bits << 5 | u128::from(*digit));
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&bits.to_be_bytes()[6..]);
    Ok(bytes)
}

/// Not even by accident in a log.
impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

fn check_value(data: &[u8], begin: u32) -> u32 {
    data.iter().fold(begin, |sum, digit| (sum * 32 + u32::from(*digit)) % CHECK_MODULUS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c15_a_code_is_read_as_people_type_it() {
        for seed in 0..=255u8 {
            let code =
                RecoveryCode::from_bytes(std::array::from_fn(|place| seed.wrapping_mul(151).wrapping_add((place as u8).wrapping_mul(29))));
            let shown = code.to_string();
            assert_eq!((shown.len(), shown.matches('-').count()), (22, 4), "{shown}");
            for typed in [shown.clone(), shown.to_lowercase(), shown.replace('-', " "), shown.replace('1', "l").replace('0', "o")] {
                assert_eq!(typed.parse(), Ok(code.clone()), "{typed}");
            }
        }
    }

    #[test]
    fn c15_typing_errors_are_told() {
        let shown = RecoveryCode::from_bytes([0x5A, 3, 99, 250, 7, 81, 12, 200, 33, 4]).to_string();
        let places: Vec<usize> = (0..shown.len()).filter(|place| shown.as_bytes()[*place] != b'-').collect();
        for place in &places {
            for other in ALPHABET.iter().filter(|other| **other != shown.as_bytes()[*place]) {
                let mut wrong = shown.clone().into_bytes();
                wrong[*place] = *other;
                let wrong = String::from_utf8(wrong).expect("ASCII");
                assert_eq!(wrong.parse::<RecoveryCode>(), Err(RecoveryCodeError::Check), "{wrong}");
            }
        }
        for pair in places.windows(2).filter(|pair| shown.as_bytes()[pair[0]] != shown.as_bytes()[pair[1]]) {
            let mut wrong = shown.clone().into_bytes();
            wrong.swap(pair[0], pair[1]);
            let wrong = String::from_utf8(wrong).expect("ASCII");
            assert_eq!(wrong.parse::<RecoveryCode>(), Err(RecoveryCodeError::Check), "{wrong}");
        }
        assert_eq!("U".parse::<RecoveryCode>(), Err(RecoveryCodeError::Character('U')));
        assert_eq!(shown[1..].parse::<RecoveryCode>(), Err(RecoveryCodeError::Length(17)));
        assert!(!format!("{:?}", RecoveryCode::from_bytes([1; 10])).contains("04"));
    }
}
