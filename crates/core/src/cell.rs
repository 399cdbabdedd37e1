//! Text in a cell of a table (RFC 4180): written so that it is not run by whoever opens the table, and read again as it was.
//!
//! A spreadsheet takes text that begins with `=`, `+`, `-`, `@`, a tab or a line's end for a formula. Such a text gets an apostrophe in front,
//! as people type one there.

use std::borrow::Cow;

const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(FORMULA)
}

/// A text as a cell.
#[must_use]
pub fn write(text: &str) -> Cow<'_, str> {
    if is_formula(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// A cell as the text that it was.
#[must_use]
pub fn read(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula_and_each_is_read_as_it_was() {
        let texts = ["=1+1", "+49 30", "-1", "@home", "\tx", "\r=x", "'=x", "''=x", "'s Gravenhage", "plain", "", "'", "a=b", "5-1"];
        for before in texts {
            let cell = write(before);
            assert!(!cell.starts_with(FORMULA), "{cell:?}");
            assert_eq!(read(&cell), before);
        }
        assert_eq!((write("'s Gravenhage"), write("plain"), write("=1")), ("'s Gravenhage".into(), "plain".into(), "'=1".into()));
    }
}
