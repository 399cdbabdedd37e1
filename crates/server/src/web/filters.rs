//! How pages write kinds, days and sizes: filters of the templates.
#![allow(missing_docs, reason = "the macro makes a type of each without the words above it")]

use askama::Values;
use counterfoil_core::Kind;
use jiff::Timestamp;
use jiff::tz::TimeZone;

type Filtered<T> = askama::Result<T>;

/// `Game`, `Music`, `Film`, `Application`.
#[askama::filter_fn]
pub fn named(kind: &Kind, _: &dyn Values) -> Filtered<&'static str> {
    Ok(match kind {
        Kind::Game => "Game",
        Kind::Music => "Music",
        Kind::Movie => "Film",
        Kind::App => "Application",
    })
}

/// The first letter, for a title without a picture.
#[askama::filter_fn]
pub fn initial(name: &str, _: &dyn Values) -> Filtered<String> {
    Ok(name.chars().take(1).flat_map(char::to_uppercase).collect())
}

/// The paragraphs of a plain text.
#[askama::filter_fn]
pub fn paragraphs(text: &str, _: &dyn Values) -> Filtered<Vec<String>> {
    let mut paragraphs = vec![String::new()];
    for line in text.lines().map(str::trim_end) {
        match paragraphs.last_mut() {
            Some(last) if !line.is_empty() => {
                if !last.is_empty() {
                    last.push('\n');
                }
                last.push_str(line);
            }
            _ => paragraphs.push(String::new()),
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    Ok(paragraphs)
}

/// `22 Nov 2026`, in UTC, of a moment as the API writes it.
#[askama::filter_fn]
pub fn day(moment: &str, _: &dyn Values) -> Filtered<String> {
    let Ok(at) = moment.parse::<Timestamp>() else { return Ok(moment.to_owned()) };
    Ok(at.to_zoned(TimeZone::UTC).strftime("%-d %b %Y").to_string())
}

/// `22 Nov 2026, 12:31:05`, in UTC, of a moment as the API writes it.
#[askama::filter_fn]
pub fn moment(moment: &str, _: &dyn Values) -> Filtered<String> {
    let Ok(at) = moment.parse::<Timestamp>() else { return Ok(moment.to_owned()) };
    Ok(at.to_zoned(TimeZone::UTC).strftime("%-d %b %Y, %H:%M:%S").to_string())
}

/// `22 Nov 2026`, in UTC, of a moment as the database holds it.
#[askama::filter_fn]
pub fn day_of(milliseconds: &i64, _: &dyn Values) -> Filtered<String> {
    Ok(written(*milliseconds, "%-d %b %Y"))
}

/// `22 Nov 2026, 12:31:05`, in UTC, of a moment as the database holds it.
#[askama::filter_fn]
pub fn moment_of(milliseconds: &i64, _: &dyn Values) -> Filtered<String> {
    Ok(written(*milliseconds, "%-d %b %Y, %H:%M:%S"))
}

fn written(milliseconds: i64, form: &str) -> String {
    let at = Timestamp::from_millisecond(milliseconds);
    at.map_or_else(|_| "never".to_owned(), |at| at.to_zoned(TimeZone::UTC).strftime(form).to_string())
}

/// `1.4 GB`, in powers of ten as shops count.
#[askama::filter_fn]
pub fn bytes(size: &u64, _: &dyn Values) -> Filtered<String> {
    let mut units = ["kB", "MB", "GB", "TB"].into_iter();
    let (mut shown, mut unit) = (*size as f64, "bytes");
    while shown >= 999.95 {
        let Some(next) = units.next() else { break };
        (shown, unit) = (shown / 1000.0, next);
    }
    Ok(if unit == "bytes" { format!("{size} bytes") } else { format!("{shown:.1} {unit}") })
}

#[cfg(test)]
mod tests {
    use askama::Template;
    use counterfoil_core::Kind;

    use super::super::filters;

    #[derive(Template)]
    #[template(
        source = "{% for p in text|paragraphs %}<{{ p }}>{% endfor %} {{ at|day }} {{ size|bytes }} {{ name|initial }} {{ kind|named }}",
        ext = "txt"
    )]
    struct All<'a> {
        text: &'a str,
        at: &'a str,
        size: u64,
        name: &'a str,
        kind: Kind,
    }

    fn shown(text: &str, at: &str, size: u64, name: &str) -> String {
        All { text, at, size, name, kind: Kind::Movie }.render().expect("filled in")
    }

    #[test]
    fn texts_days_and_sizes_are_written_for_people() {
        assert_eq!(shown("a\nb\n\n \n\nc\n", "2026-01-01T23:59:59.9Z", 999, "élan"), "<a\nb><c> 1 Jan 2026 999 bytes É Film");
        assert_eq!(shown("", "2026-11-22T00:00:00Z", 999_950, ""), " 22 Nov 2026 1.0 MB  Film");
        assert_eq!(shown("", "no moment", 1_400_000_000, "x"), " no moment 1.4 GB X Film");
    }
}
