//! Files that are imported, as tables and as JSON Lines: read to their end, turned down row by row, or refused as a whole.
#![no_main]

#[path = "../../crates/cli/src/import/rows.rs"]
#[allow(dead_code)] // what only the importer itself looks at
mod rows;

use rows::{Format, Rows};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for format in [Format::Csv, Format::Jsonl] {
        let Ok(mut found) = Rows::new(format, data, &|_| true) else { continue };
        let mut last = 0;
        while let Ok(Some(row)) = found.next() {
            let line = row.as_ref().map_or_else(|bad| bad.line, |row| row.line);
            assert!(last < line, "rows come in order");
            last = line;
        }
    }
});
