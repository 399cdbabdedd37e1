//! Tables (RFC 4180): how a cell is written, so that it is not run by whoever opens the table, and read again as it was.
//!
//! A spreadsheet takes text that begins with `=`, `+`, `-`, `@`, a tab or a line's end for a formula. Such a text gets an apostrophe in front,
//! as people type one there; imports take it away again. Numbers stay numbers.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use crate::problem::Problem;

pub mod lists;

/// What tables are sent as.
pub const MEDIA_TYPE: &str = "text/csv; charset=utf-8; header=present";

/// Rows that become bytes together.
pub struct Table(::csv::Writer<Vec<u8>>);

impl Default for Table {
    fn default() -> Self {
        Self(::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(vec![]))
    }
}

impl Table {
    /// Adds a row of as many cells as every other has.
    ///
    /// # Errors
    /// `internal` for a row of another length.
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = Cow<'a, str>>) -> Result<(), Problem> {
        for cell in cells {
            self.0.write_field(cell.as_bytes()).map_err(Problem::internal)?;
        }
        self.0.write_record(None::<&[u8]>).map_err(Problem::internal)
    }

    /// All rows.
    ///
    /// # Errors
    /// None that memory could give.
    pub fn finish(self) -> Result<Bytes, Problem> {
        self.0.into_inner().map(Bytes::from).map_err(Problem::internal)
    }
}

/// A text as a cell.
pub fn text(text: &str) -> Cow<'_, str> {
    match text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        true => Cow::Owned(format!("'{text}")),
        false => Cow::Borrowed(text),
    }
}

/// A value of JSON as a cell: nothing is empty, what holds more than one value is JSON.
pub fn cell(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(words) => text(words),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Cow::Owned(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As `counterfoil import` reads it.
    fn read(cell: &str) -> &str {
        match cell.strip_prefix('\'') {
            Some(rest) if rest.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) => rest,
            _ => cell,
        }
    }

    #[test]
    fn no_text_is_a_formula_and_each_is_read_as_it_was() {
        let texts = ["=1+1", "+49 30", "-1", "@home", "\tx", "\r=x", "'=x", "''=x", "'s Gravenhage", "plain", "", "'", "a=b", "5-1"];
        for before in texts {
            let cell = text(before);
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{cell:?}");
            assert_eq!(read(&cell), before);
        }
        assert_eq!((text("'s Gravenhage"), text("plain")), ("'s Gravenhage".into(), "plain".into()));
        assert_eq!(cell(&json!(-5)), "-5", "a number is one");
        assert_eq!((cell(&json!(null)), cell(&json!(["=1"])), cell(&json!(true))), ("".into(), "[\"=1\"]".into(), "true".into()));
    }

    #[test]
    fn rows_are_of_rfc_4180() {
        let mut table = Table::default();
        for row in [["a", "b"], ["1,2", "say \"x\""], ["", "two\nlines"]] {
            table.row(row.map(text)).expect("two cells");
        }
        let bytes = table.finish().expect("in memory");
        assert_eq!(&bytes[..], b"a,b\r\n\"1,2\",\"say \"\"x\"\"\"\r\n,\"two\nlines\"\r\n");
        let mut table = Table::default();
        table.row(["a", "b"].map(text)).expect("two cells");
        assert!(table.row(["a"].map(text)).is_err(), "a row that is too short");
    }
}
