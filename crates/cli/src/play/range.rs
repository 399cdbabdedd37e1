//! Ranges of bytes, as on the command line and in HTTP (RFC 9110 §14.1.1).

use std::ops::Range;
use std::str::FromStr;

/// What was asked for, whatever the length of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `FIRST-LAST`, both included.
    Closed(u64, u64),
    /// `FIRST-`: to the end.
    From(u64),
    /// `-COUNT`: the last ones.
    Last(u64),
}

impl ByteRange {
    /// The bytes of a file of `size` that are meant; nothing where there are none.
    pub fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            ByteRange::Closed(first, last) => first..last.saturating_add(1).min(size),
            ByteRange::From(first) => first..size,
            ByteRange::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

impl FromStr for ByteRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a range is FIRST-LAST, FIRST- or -COUNT, in bytes from 0";
        // Digits only: `parse` alone would take a sign as well.
        let number = |text: &str| if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().map_err(|_| WRONG) } else { Err(WRONG) };
        match text.split_once('-').ok_or(WRONG)? {
            ("", count) => Ok(ByteRange::Last(number(count)?)),
            (first, "") => Ok(ByteRange::From(number(first)?)),
            (first, last) => match (number(first)?, number(last)?) {
                (first, last) if first <= last => Ok(ByteRange::Closed(first, last)),
                _ => Err(WRONG),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_cut_to_the_file() {
        for (text, size, range) in [
            ("0-0", 10, Some(0..1)),
            ("2-5", 10, Some(2..6)),
            ("2-50", 10, Some(2..10)),
            ("9-", 10, Some(9..10)),
            ("10-", 10, None),
            ("-3", 10, Some(7..10)),
            ("-30", 10, Some(0..10)),
            ("-0", 10, None),
            ("0-", 0, None),
            ("0-18446744073709551615", 10, Some(0..10)),
        ] {
            assert_eq!(text.parse::<ByteRange>().expect(text).within(size), range, "{text}");
        }
        for bad in ["", "-", "5", "5-2", "a-b", "+1-2", "1-2-3", "--1"] {
            assert!(bad.parse::<ByteRange>().is_err(), "{bad}");
        }
    }
}
