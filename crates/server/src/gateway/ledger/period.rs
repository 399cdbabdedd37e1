//! A calendar month, in UTC: what statements and settlements are made of.

use std::fmt;
use std::str::FromStr;

use counterfoil_core::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::db::{FromValue, Value};

/// A month, as `2026-11`. Later months are greater, in the database as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    year: i16,
    month: i8,
}

/// A text that is no month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a month is written as `2026-11`")]
pub struct NoPeriod;

impl Period {
    /// Before anything was booked.
    pub const FIRST: Period = Period { year: 0, month: 1 };

    /// The month that a moment lies in.
    pub fn of(at: Timestamp) -> Self {
        // Outside of what a calendar knows there is nothing to settle.
        jiff::Timestamp::from_millisecond(at.0).map_or(Self::FIRST, |at| {
            let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
            Self { year: date.year().max(0), month: date.month() }
        })
    }

    /// The month after.
    pub fn next(self) -> Self {
        if self.month == 12 { Self { year: self.year + 1, month: 1 } } else { Self { month: self.month + 1, ..self } }
    }

    /// The month before; the first has none but itself.
    pub fn before(self) -> Self {
        match self {
            Self { year: ..=0, month: 1 } => self,
            Self { year, month: 1 } => Self { year: year - 1, month: 12 },
            Self { year, month } => Self { year, month: month - 1 },
        }
    }

    /// Its first moment.
    pub fn begin(self) -> Timestamp {
        let Self { year, month } = self;
        let begin = jiff::civil::Date::new(year, month, 1).and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC));
        begin.map_or(Timestamp::FOREVER, |begin| Timestamp(begin.timestamp().as_millisecond()))
    }

    /// When it is over: the first moment of the next.
    pub fn end(self) -> Timestamp {
        self.next().begin()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Period {
    type Err = NoPeriod;
    fn from_str(text: &str) -> Result<Self, NoPeriod> {
        let (year, month) = text.split_once('-').filter(|(year, month)| year.len() == 4 && month.len() == 2).ok_or(NoPeriod)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(year) || !digits(month) {
            return Err(NoPeriod);
        }
        let month: i8 = month.parse().map_err(|_| NoPeriod)?;
        if (1..=12).contains(&month) { Ok(Self { year: year.parse().map_err(|_| NoPeriod)?, month }) } else { Err(NoPeriod) }
    }
}

impl FromValue for Period {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        String::from_value(value)?.parse().map_err(|error: NoPeriod| error.to_string())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c17_a_month_ends_where_the_next_begins() {
        for text in ["2026-11", "2026-12", "2028-02", "1999-12"] {
            let period: Period = text.parse().expect(text);
            assert_eq!(period.to_string(), text);
            assert_eq!((Period::of(Timestamp(period.end().0 - 1)), Period::of(period.end())), (period, period.next()));
            assert_eq!(period.next().before(), period);
            assert!(period < period.next() && period.to_string() < period.next().to_string());
        }
    }

    #[test]
    fn what_is_no_month_is_refused() {
        for bad in ["", "2026", "2026-13", "2026-00", "2026-1", "26-11", "+026-11", "2026-11-01", "2026/11"] {
            assert_eq!(bad.parse::<Period>(), Err(NoPeriod), "{bad}");
        }
    }
}
