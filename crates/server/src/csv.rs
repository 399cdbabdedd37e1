//! Tables (RFC 4180). Text is kept from being run by whoever opens the table (`counterfoil_core::cell`); numbers stay numbers.

use std::borrow::Cow;

use bytes::Bytes;
pub use counterfoil_core::cell::write as text;
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

    #[test]
    fn only_text_may_be_a_formula() {
        assert_eq!(cell(&json!(-5)), "-5", "a number is one");
        assert_eq!((cell(&json!("-5")), cell(&json!(null))), ("'-5".into(), "".into()));
        assert_eq!((cell(&json!(["=1"])), cell(&json!(true))), ("[\"=1\"]".into(), "true".into()));
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
