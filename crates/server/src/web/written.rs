//! How pages and mails write moments, besides the filters of the templates.

use counterfoil_core::Timestamp;

/// `22 Nov 2026, 12:31 UTC`.
pub fn moment(at: Timestamp) -> String {
    written(at, "%-d %b %Y, %H:%M UTC")
}

/// `22 Nov 2026`, in UTC.
pub fn day(at: Timestamp) -> String {
    written(at, "%-d %b %Y")
}

fn written(at: Timestamp, form: &str) -> String {
    let moment = jiff::Timestamp::from_millisecond(at.0);
    moment.map_or_else(|_| "never".to_owned(), |moment| moment.to_zoned(jiff::tz::TimeZone::UTC).strftime(form).to_string())
}
