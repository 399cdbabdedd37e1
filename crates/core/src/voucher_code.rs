//! The code of a voucher, which somebody buys and types in to top up an account (C17).

use crate::recovery_code::{self, RecoveryCodeError};
use std::{fmt, str::FromStr};

/// Where the sum begins, so that no recovery code is taken for a voucher.
const BEGIN: u32 = 22;

/// Why a text is no voucher's code. Says nothing of whether there is such a voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoucherCodeError {
    /// Something was left out or doubled.
    #[error("it has {0} characters instead of 18")]
    Length(usize),
    /// A character that no code contains.
    #[error("the character {0:?} does not occur in vouchers")]
    Character(char),
    /// A typing error: the check characters do not fit the rest.
    #[error("its check characters do not fit: a character is wrong or two are exchanged")]
    Check,
}

/// 80 random bits, written as [`RecoveryCode`](crate::RecoveryCode) is: `XXXX-XXXX-XXXX-XXXX-XX`. Who has it has the money.
#[derive(Clone, PartialEq, Eq)]
pub struct VoucherCode([u8; 10]);

impl VoucherCode {
    /// From 80 random bits.
    pub const fn from_bytes(bytes: [u8; 10]) -> Self {
        Self(bytes)
    }

    /// The 80 bits.
    pub const fn as_bytes(&self) -> &[u8; 10] {
        &self.0
    }
}

impl fmt::Display for VoucherCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        recovery_code::write(&self.0, BEGIN, f)
    }
}

impl FromStr for VoucherCode {
    type Err = VoucherCodeError;

    /// As people type it: case, spaces and hyphens do not matter, O is 0, I and L are 1.
    fn from_str(text: &str) -> Result<Self, VoucherCodeError> {
        recovery_code::read(text, BEGIN).map(Self).map_err(|error| match error {
            RecoveryCodeError::Length(length) => VoucherCodeError::Length(length),
            RecoveryCodeError::Character(character) => VoucherCodeError::Character(character),
            RecoveryCodeError::Check => VoucherCodeError::Check,
        })
    }
}

/// Not even by accident in a log.
impl fmt::Debug for VoucherCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VoucherCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecoveryCode;

    #[test]
    fn c17_a_voucher_is_read_as_people_type_it_and_is_no_other_code() {
        for seed in 0..=255u8 {
            let bytes = std::array::from_fn(|place| seed.wrapping_mul(151).wrapping_add((place as u8).wrapping_mul(29)));
            let shown = VoucherCode::from_bytes(bytes).to_string();
            assert_eq!(shown.len(), 22);
            for typed in [shown.clone(), shown.to_lowercase(), shown.replace('-', " "), shown.replace('1', "l").replace('0', "o")] {
                assert_eq!(typed.parse(), Ok(VoucherCode::from_bytes(bytes)), "{typed}");
            }
            assert_eq!(RecoveryCode::from_bytes(bytes).to_string().parse::<VoucherCode>(), Err(VoucherCodeError::Check));
            let mut exchanged = shown.clone().into_bytes();
            exchanged.swap(0, 1);
            let exchanged = String::from_utf8(exchanged).expect("ASCII");
            assert!(exchanged == shown || exchanged.parse::<VoucherCode>() == Err(VoucherCodeError::Check));
        }
        assert!(!format!("{:?}", VoucherCode::from_bytes([1; 10])).contains("04"));
    }
}
