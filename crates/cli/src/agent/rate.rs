//! How many bytes a second, as people write it.

use std::num::NonZeroU64;
use std::str::FromStr;

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub NonZeroU64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.trim().trim_end_matches("/s");
        let digits = plain.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(plain.len());
        let (number, unit) = plain.split_at(digits);
        let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "kib" => 1024.0,
            "mib" => 1024.0 * 1024.0,
            "gib" => 1024.0 * 1024.0 * 1024.0,
            _ => return Err(HELP.to_owned()),
        };
        let number: f64 = number.parse().map_err(|_| HELP.to_owned())?;
        let rate = (number * factor).round();
        // Below that a chunk takes longer than servers have patience.
        if (MIN..=MAX).contains(&rate) {
            NonZeroU64::new(rate as u64).map(Self).ok_or_else(|| HELP.to_owned())
        } else {
            Err(HELP.to_owned())
        }
    }
}

const HELP: &str = "it is bytes a second, such as 500kB/s or 2MB/s, 10 kB/s at least";
const MIN: f64 = 10_000.0;
const MAX: f64 = 1e12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_written() {
        for (text, rate) in [("500kB/s", 500_000), ("2MB/s", 2_000_000), ("1.5 MB", 1_500_000), ("1MiB/s", 1 << 20), ("65536", 65_536)] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.0.get()), Ok(rate), "{text}");
        }
        for text in ["", "0", "fast", "-2MB/s", "2 parsecs", "NaN", "1kB/s", "1e9", "9999999GB/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
