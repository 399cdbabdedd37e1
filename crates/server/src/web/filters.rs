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

/// `22 November 2026`, in UTC, of a moment as the API writes it.
#[askama::filter_fn]
pub fn day(moment: &str, _: &dyn Values) -> Filtered<String> {
    let Ok(at) = moment.parse::<Timestamp>() else { return Ok(moment.to_owned()) };
    Ok(at.to_zoned(TimeZone::UTC).strftime("%-d %B %Y").to_string())
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
