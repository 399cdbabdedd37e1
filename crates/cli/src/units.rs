//! Figures as people read them.

/// Bytes in decimal units, as disks and downloads are labelled.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} {}", if count == 1 { "byte" } else { UNITS[0] });
    }
    let mut value = count as f64;
    let mut unit = 0;
    // 999.95 would be shown as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A duration in seconds, rounded up to what is worth reading.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A count with the word for what is counted.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A moment as RFC 3339 in UTC, to the second.
pub fn moment(at: counterfoil_core::Timestamp) -> String {
    jiff::Timestamp::from_second(at.seconds()).map_or_else(|_| format!("{} s after 1970", at.seconds()), |time| time.to_string())
}

/// A result of the protocol as JSON for programs, with its moments as everywhere on the command line: RFC 3339 in UTC, to the second.
/// There they are whole numbers of milliseconds, in members `since` and `…_at` and `…_until`.
pub fn dated(result: &impl serde::Serialize) -> serde_json::Value {
    fn walk(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Array(items) => items.iter_mut().for_each(walk),
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    match value.as_i64() {
                        Some(at) if name == "since" || name.ends_with("_at") || name.ends_with("_until") => {
                            *value = moment(counterfoil_core::Timestamp(at)).into();
                        }
                        _ => walk(value),
                    }
                }
            }
            _ => {}
        }
    }
    let mut value = serde_json::to_value(result).expect("results are plain data with text keys");
    walk(&mut value);
    value
}

/// A moment, or a day: then its beginning, in UTC.
pub fn read_moment(text: &str) -> Result<counterfoil_core::Timestamp, String> {
    let day = || Some(text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp());
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(day);
    moment
        .map(|moment| counterfoil_core::Timestamp(moment.as_millisecond()))
        .ok_or_else(|| format!("{text} is neither a date (2027-12-31) nor a moment (2027-12-31T12:00:00Z)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_never_show_a_thousand_of_a_unit() {
        for (number, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (8_000_000_000, "8.0 GB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn durations_and_counts_and_moments() {
        assert_eq!((duration(59), duration(61), duration(3_660)), ("59 s".into(), "1 min 1 s".into(), "1 h 1 min".into()));
        assert_eq!((count(1, "file", "files"), count(2, "file", "files")), ("1 file".into(), "2 files".into()));
        assert_eq!(moment(counterfoil_core::Timestamp(1_700_000_000_000)), "2023-11-14T22:13:20Z");
        let result = serde_json::json!({ "orders": [{ "since": 1_700_000_000_000_u64, "ended_at": null, "amount": 1999 }] });
        let shown = serde_json::json!({ "orders": [{ "since": "2023-11-14T22:13:20Z", "ended_at": null, "amount": 1999 }] });
        assert_eq!(dated(&result), shown);
    }
}
