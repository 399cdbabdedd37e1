//! Which bytes of an object a GET asks for (RFC 9110 §13, §14): one range, validated against the object's ETag.

use axum::http::HeaderMap;
use axum::http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};

/// What to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it: 200.
    Whole,
    /// From `first` to `last`, both included: 206.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
    /// The caller has it: 304.
    NotModified,
    /// A range that lies outside: 416.
    Unsatisfiable,
}

/// Reads the conditions and the range of a request for an object of `length` bytes.
///
/// What is not understood (other units, several ranges, nonsense) is ignored, as RFC 9110 §14.2 has it: the answer is the whole object.
pub fn select(headers: &HeaderMap, etag: &str, length: u64) -> Selection {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if header(IF_NONE_MATCH).is_some_and(|tags| tags.trim() == "*" || tags.split(',').any(|tag| weakly_equal(tag.trim(), etag))) {
        return Selection::NotModified;
    }
    // Objects have strong ETags and no dates, so a date in If-Range matches nothing (§13.1.5).
    if header(IF_RANGE).is_some_and(|tag| tag.trim() != etag) {
        return Selection::Whole;
    }
    header(RANGE).and_then(|range| parse(range, length)).unwrap_or(Selection::Whole)
}

/// If-None-Match compares weakly (§13.1.2).
fn weakly_equal(tag: &str, etag: &str) -> bool {
    tag.strip_prefix("W/").unwrap_or(tag) == etag
}

/// `bytes=a-b`, `bytes=a-`, `bytes=-n`; `None` for what is to be ignored.
fn parse(range: &str, length: u64) -> Option<Selection> {
    let (unit, set) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(match length.min(suffix) {
            0 => Selection::Unsatisfiable,
            taken => Selection::Part { first: length - taken, last: length - 1 },
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(if first < length { Selection::Part { first, last: last.min(length - 1) } } else { Selection::Unsatisfiable })
}

/// Digits only; more than fit are as good as the most that fits.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn selected(headers: &[(HeaderName, &'static str)], length: u64) -> Selection {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        select(&headers, "\"tag\"", length)
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let part = |first, last| Selection::Part { first, last };
        for (range, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-5", part(2, 5)),
            ("bytes=5-", part(5, 9)),
            ("bytes=5-999", part(5, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-999", part(0, 9)),
            ("bytes=9-99999999999999999999999", part(9, 9)),
            ("BYTES = 1-2", part(1, 2)),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=5-2", Selection::Whole),
            ("bytes=0-1,4-5", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=", Selection::Whole),
            ("items=0-1", Selection::Whole),
        ] {
            assert_eq!(selected(&[(RANGE, range)], 10), expected, "{range}");
        }
        assert_eq!(selected(&[(RANGE, "bytes=0-")], 0), Selection::Unsatisfiable);
        assert_eq!(selected(&[], 0), Selection::Whole);
    }

    #[test]
    fn conditions_come_before_ranges() {
        let range = (RANGE, "bytes=0-0");
        assert_eq!(selected(&[range.clone(), (IF_RANGE, "\"tag\"")], 10), Selection::Part { first: 0, last: 0 });
        assert_eq!(selected(&[range.clone(), (IF_RANGE, "\"other\"")], 10), Selection::Whole);
        assert_eq!(selected(&[range.clone(), (IF_RANGE, "W/\"tag\"")], 10), Selection::Whole);
        assert_eq!(selected(&[range.clone(), (IF_RANGE, "Sat, 29 Oct 1994 19:43:31 GMT")], 10), Selection::Whole);
        assert_eq!(selected(&[range, (IF_NONE_MATCH, "\"x\", W/\"tag\"")], 10), Selection::NotModified);
        assert_eq!(selected(&[(IF_NONE_MATCH, "*")], 10), Selection::NotModified);
        assert_eq!(selected(&[(IF_NONE_MATCH, "\"x\"")], 10), Selection::Whole);
    }
}
