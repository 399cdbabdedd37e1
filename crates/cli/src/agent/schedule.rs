//! When the agent does things by itself: how often everything is brought up to date, and between which hours nothing is downloaded.

use std::str::FromStr;

use counterfoil_core::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan as _};

/// How often everything is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Every hour.
    Hourly,
    /// Every day, at no hour in particular.
    Daily,
    /// Every day at this time of the device.
    At(Time),
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "hourly" => Ok(Self::Hourly),
            "daily" => Ok(Self::Daily),
            time => time_of_day(time).map(Self::At).ok_or_else(|| "it is `hourly`, `daily` or a time such as 03:30".to_owned()),
        }
    }
}

impl Schedule {
    /// When the next update is due: at once, where one was missed while the device was off. `spread`, from 0 to 255, is where in the first tenth
    /// of the period this device has its turn, so that not all come at once.
    pub fn next(self, last: Timestamp, spread: u8, zone: &TimeZone) -> Timestamp {
        match self {
            Self::Hourly => after(last, HOUR + part(HOUR / 10, spread)),
            Self::Daily => after(last, 24 * HOUR + part(24 * HOUR / 10, spread)),
            Self::At(time) => {
                // A turn belongs to the day on which its hour struck, however late it was taken.
                let shift = part(HOUR / 6, spread);
                let struck = civil(after(last, -shift), zone);
                let today = struck.date().to_datetime(time);
                let next = if struck < today { today } else { today.saturating_add(1.day()) };
                let at = next.to_zoned(zone.clone()).map_or(last.0.saturating_add(24 * HOUR), |at| at.timestamp().as_millisecond());
                after(Timestamp(at), shift)
            }
        }
    }

    /// Whether the first update is due as soon as the agent runs.
    pub fn begins_at_once(self) -> bool {
        !matches!(self, Self::At(_))
    }
}

/// In milliseconds.
const HOUR: i64 = 60 * 60 * 1000;

fn part(of: i64, spread: u8) -> i64 {
    of * i64::from(spread) / 256
}

fn after(at: Timestamp, milliseconds: i64) -> Timestamp {
    Timestamp(at.0.saturating_add(milliseconds))
}

/// Hours of the day in which nothing is downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    from: Time,
    to: Time,
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hours = text.split_once('-').and_then(|(from, to)| Some(Self { from: time_of_day(from)?, to: time_of_day(to)? }));
        hours.filter(|hours| hours.from != hours.to).ok_or_else(|| "it is two times, such as 08:00-18:00".to_owned())
    }
}

impl Hours {
    /// When they end, if `now` is among them; they may go over midnight.
    pub fn until(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let here = civil(now, zone);
        let (time, overnight) = (here.time(), self.to < self.from);
        let among = if overnight { time >= self.from || time < self.to } else { time >= self.from && time < self.to };
        let day = if overnight && time >= self.from { here.date().saturating_add(1.day()) } else { here.date() };
        let end = || day.to_datetime(self.to).to_zoned(zone.clone()).ok();
        among.then(|| end().map_or(Timestamp(now.0.saturating_add(HOUR)), |end| Timestamp(end.timestamp().as_millisecond())))
    }
}

fn time_of_day(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let is_number = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| is_number(text).then(|| text.parse::<i8>().ok())?;
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

fn civil(at: Timestamp, zone: &TimeZone) -> DateTime {
    let at = jiff::Timestamp::from_duration(SignedDuration::from_millis(at.0)).unwrap_or_default();
    zone.to_datetime(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(2))
    }

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<DateTime>().unwrap().to_zoned(zone()).unwrap().timestamp().as_millisecond())
    }

    #[test]
    fn a_turn_comes_every_day_at_its_time_or_as_soon_as_it_can_after_that() {
        let three: Schedule = "03:00".parse().unwrap();
        let next = |last: &str| three.next(at(last), 0, &zone());
        assert_eq!(next("2026-11-22T02:00:00"), at("2026-11-22T03:00:00"));
        assert_eq!(next("2026-11-22T03:00:00"), at("2026-11-23T03:00:00"));
        // Taken late, the next one is not.
        assert_eq!(next("2026-11-22T21:15:00"), at("2026-11-23T03:00:00"));
        // Missed for a week: it has been due since the first of them.
        assert_eq!(next("2026-11-15T03:10:00"), at("2026-11-16T03:00:00"));
        assert_eq!(Schedule::Hourly.next(at("2026-11-22T02:00:00"), 0, &zone()), at("2026-11-22T03:00:00"));
        assert_eq!(Schedule::Daily.next(at("2026-11-22T02:00:00"), 0, &zone()), at("2026-11-23T02:00:00"));
    }

    #[test]
    fn devices_take_turns_and_none_takes_two_on_one_day() {
        for schedule in ["hourly", "daily", "03:00", "23:55", "00:00"].map(|text| text.parse::<Schedule>().unwrap()) {
            let period = if schedule == Schedule::Hourly { HOUR } else { 24 * HOUR };
            for spread in [0, 1, 128, 255] {
                let first = schedule.next(at("2026-11-22T02:00:00"), spread, &zone());
                let second = schedule.next(first, spread, &zone());
                let third = schedule.next(second, spread, &zone());
                assert!((second.0 - first.0) >= period && (third.0 - second.0) <= period + period / 10, "{schedule:?} {spread}");
            }
        }
        let turns: std::collections::BTreeSet<_> = (0..=255).map(|spread| Schedule::Hourly.next(Timestamp(0), spread, &zone())).collect();
        assert!(turns.len() > 200);
    }

    #[test]
    fn hours_are_told_from_others_over_midnight_as_well() {
        let day: Hours = "08:00-18:00".parse().unwrap();
        let night: Hours = "22:30-6:00".parse().unwrap();
        for (hours, now, until) in [
            (day, "2026-11-22T07:59:59", None),
            (day, "2026-11-22T08:00:00", Some("2026-11-22T18:00:00")),
            (day, "2026-11-22T18:00:00", None),
            (night, "2026-11-22T22:30:00", Some("2026-11-23T06:00:00")),
            (night, "2026-11-23T05:59:00", Some("2026-11-23T06:00:00")),
            (night, "2026-11-23T06:00:00", None),
        ] {
            assert_eq!(hours.until(at(now), &zone()), until.map(at), "{now}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in ["", "8", "25:00", "08:60", "08:00-", "08:00-08:00", "-1:00", "+1:00-2:00", "weekly"] {
            assert!(text.parse::<Schedule>().is_err() && text.parse::<Hours>().is_err(), "{text}");
        }
    }
}
