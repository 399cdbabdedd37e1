//! Rows of a file that is imported: a table (CSV) whose first line names the columns, or JSON Lines; one at a time, in bounded memory.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use counterfoil_core::cell;
use serde_json::{Map, Value};

/// Longest line, or row of a table, in bytes.
pub const LIMIT: usize = 64 << 10;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// A row with what is in it, by column. What is empty is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where it begins, from 1.
    pub line: u64,
    /// Its fields.
    pub fields: Map<String, Value>,
}

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Where it begins, from 1.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

/// Rows as they are read.
pub enum Rows<'a> {
    /// Of a table.
    Csv(Table<'a>),
    /// Of JSON Lines.
    Jsonl(Lines<'a>),
}

impl<'a> Rows<'a> {
    /// Begins to read. A table's columns are those of `columns`; in JSON Lines that is each line's own business.
    ///
    /// # Errors
    /// `InvalidData` for a table whose first line does not name columns; those of the reader.
    pub fn new(format: Format, reader: impl Read + 'a, columns: &dyn Fn(&str) -> bool) -> io::Result<Self> {
        Ok(match format {
            Format::Csv => Self::Csv(Table::new(Box::new(reader), columns)?),
            Format::Jsonl => Self::Jsonl(Lines { reader: BufReader::new(Box::new(reader)), line: 0 }),
        })
    }

    /// The next row; nothing at the end.
    ///
    /// # Errors
    /// `InvalidData` for a row that is too long to be one; those of the reader.
    pub fn next(&mut self) -> io::Result<Option<Result<Row, Bad>>> {
        match self {
            Self::Csv(table) => table.next(),
            Self::Jsonl(lines) => lines.next(),
        }
    }
}

/// Lets so many bytes through until it is told to let through more.
struct Bounded<'a> {
    reader: Box<dyn Read + 'a>,
    left: Rc<Cell<usize>>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.left.get());
        if most == 0 && !buffer.is_empty() {
            return Err(too_long());
        }
        let read = self.reader.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - read);
        Ok(read)
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a row of more than {} KiB", LIMIT >> 10))
}

/// A table.
pub struct Table<'a> {
    reader: csv::Reader<Bounded<'a>>,
    left: Rc<Cell<usize>>,
    columns: Vec<String>,
    record: csv::ByteRecord,
}

impl<'a> Table<'a> {
    fn new(reader: Box<dyn Read + 'a>, known: &dyn Fn(&str) -> bool) -> io::Result<Self> {
        let left = Rc::new(Cell::new(LIMIT));
        // So the last line ends as all others do.
        let bounded = Bounded { reader: Box::new(reader.chain(&b"\n"[..])), left: Rc::clone(&left) };
        // A line ends with LF here, and CR is among the white space that is trimmed: the reader counts lines where LF ends them.
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).terminator(csv::Terminator::Any(b'\n')).trim(csv::Trim::Headers).from_reader(bounded);
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let columns: Vec<String> = reader.headers().map_err(unreadable)?.iter().map(str::to_owned).collect();
        if let Some(unknown) = columns.iter().find(|name| !known(name)) {
            return Err(invalid(format!("line 1: there is no column {unknown:?} in such a table")));
        }
        if let Some(twice) = columns.iter().enumerate().find_map(|(place, name)| columns[..place].contains(name).then_some(name)) {
            return Err(invalid(format!("line 1: the column {twice:?} is there twice")));
        }
        Ok(Self { reader, left, columns, record: csv::ByteRecord::new() })
    }

    fn next(&mut self) -> io::Result<Option<Result<Row, Bad>>> {
        let mut begins;
        loop {
            begins = self.reader.position().line();
            // What waits in the reader's own buffer counts for nothing, so a row may be a little longer.
            self.left.set(LIMIT);
            if !self.reader.read_byte_record(&mut self.record).map_err(unreadable)? {
                return Ok(None);
            }
            if self.record.len() > 1 || !self.record.as_slice().trim_ascii().is_empty() {
                break;
            }
        }
        // The reader says where the row ends, after empty lines that it passed over; a quote that nothing closes swallows the last line's end.
        let within = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        let line = self.reader.position().line().saturating_sub(1 + within).max(begins);
        self.record.trim();
        let bad = |reason: String| Ok(Some(Err(Bad { line, reason })));
        if self.record.len() != self.columns.len() {
            return bad(format!("the row has {} fields instead of {}", self.record.len(), self.columns.len()));
        }
        let mut fields = Map::new();
        for (column, cell) in self.columns.iter().zip(&self.record) {
            let Ok(cell) = std::str::from_utf8(cell) else { return bad(format!("column {column}: it is not UTF-8")) };
            if !cell.is_empty() {
                fields.insert(column.clone(), cell::read(cell).into());
            }
        }
        Ok(Some(Ok(Row { line, fields })))
    }
}

fn unreadable(error: csv::Error) -> io::Error {
    let said = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        csv::ErrorKind::Utf8 { .. } => io::Error::new(io::ErrorKind::InvalidData, "line 1: it is not UTF-8"),
        _ => io::Error::new(io::ErrorKind::InvalidData, said),
    }
}

/// JSON Lines.
pub struct Lines<'a> {
    reader: BufReader<Box<dyn Read + 'a>>,
    line: u64,
}

impl Lines<'_> {
    fn next(&mut self) -> io::Result<Option<Result<Row, Bad>>> {
        let mut text = vec![];
        loop {
            text.clear();
            self.line += 1;
            if Read::take(&mut self.reader, LIMIT as u64 + 1).read_until(b'\n', &mut text)? == 0 {
                return Ok(None);
            }
            if text.len() > LIMIT {
                return Err(io::Error::new(too_long().kind(), format!("line {}: {}", self.line, too_long())));
            }
            let line = text.strip_prefix(b"\xef\xbb\xbf").filter(|_| self.line == 1).unwrap_or(&text).trim_ascii();
            if line.is_empty() {
                continue;
            }
            let read = serde_json::from_slice::<Map<String, Value>>(line);
            return Ok(Some(match read {
                Ok(fields) => Ok(Row { line: self.line, fields: fields.into_iter().filter(|(_, value)| !is_absent(value)).collect() }),
                Err(error) => Err(Bad { line: self.line, reason: format!("it is no JSON object: {}", without_place(&error)) }),
            }));
        }
    }
}

fn is_absent(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

/// The line is told beside it.
fn without_place(error: &serde_json::Error) -> String {
    let said = error.to_string();
    said.rsplit_once(" at line ").map_or(said.clone(), |(words, _)| words.to_owned())
}
