//! Variables that a program sets while it runs: a private file that it appends lines to, taken into the library as it grows.
//!
//! The program finds the file by its environment, with what is noted already at its beginning. A line `name=value` sets, a line `-name`
//! unsets, and the last line counts: what any language can do, and any shell (`echo chapter=3 >> "$COUNTERFOIL_STATUS"`). A line
//! counts once its end is written.

use super::{Change, change, parse_value, variables, write_value};
use crate::error::Result;
use crate::io::IoFailure;
use crate::library::Library;
use crate::terminal::Terminal;
use counterfoil_core::TitleId;
use counterfoil_core::rules::selection as limits;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Names the file for the program.
pub const STATUS_FILE: &str = "COUNTERFOIL_STATUS";
/// Most that is taken in at once, in bytes: the rest is taken in the next time.
const MOST: u64 = 1 << 20;
/// Longest line that counts, in bytes: a name, and a text with every character escaped.
const LONGEST_LINE: usize = 8 * 1024;

/// The file of one run.
pub struct ProgramStatus<'a> {
    terminal: &'a Terminal,
    library: &'a Library,
    title: TitleId,
    path: PathBuf,
    /// As far as it was taken in.
    taken: u64,
    /// Lines that were none, of which the first is named.
    refused: Option<String>,
}

impl<'a> ProgramStatus<'a> {
    /// Writes what is noted into a file at `path`, which is made and is nobody else's.
    ///
    /// # Errors
    /// As [`variables`]; what the system said.
    pub fn begin(terminal: &'a Terminal, library: &'a Library, title: &TitleId, path: &Path) -> Result<Self> {
        let lines: String =
            variables(terminal, library, title)?.iter().map(|(name, value)| format!("{name}={}\n", write_value(value))).collect();
        fs::write(path, &lines).map_err(IoFailure::at("write", path))?;
        Ok(Self { terminal, library, title: title.clone(), path: path.to_owned(), taken: lines.len() as u64, refused: None })
    }

    /// Takes in what was appended since; false where that was nothing.
    ///
    /// # Errors
    /// As [`change`]: then it is tried again the next time.
    pub fn take_in(&mut self) -> Result<bool> {
        let (lines, read) = self.new_lines().map_err(IoFailure::at("read", &self.path))?;
        if read == 0 {
            return Ok(false);
        }
        let (changes, refused) = changes(&lines);
        if !changes.is_empty() {
            change(self.terminal, self.library, &self.title, &changes)?;
        }
        self.taken += read;
        self.refused = self.refused.take().or(refused);
        Ok(true)
    }

    /// The first line that the program wrote and that sets nothing, with what is wrong with it.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Whole lines after what was taken, and their length in bytes.
    fn new_lines(&self) -> io::Result<(Vec<u8>, u64)> {
        let mut file = fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.taken))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            // A line without an end that is longer than anything that counts is passed over.
            None if bytes.len() as u64 == MOST => bytes.len(),
            None => 0,
        };
        bytes.truncate(end);
        Ok((bytes, end as u64))
    }
}

/// What lines say, and the first that says nothing.
fn changes(bytes: &[u8]) -> (Vec<Change>, Option<String>) {
    let (mut changes, mut refused) = (vec![], None);
    for line in bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).filter(|line| !line.is_empty()) {
        match std::str::from_utf8(line).map_err(|_| "a line is no text in UTF-8".to_owned()).and_then(one) {
            Ok(change) => changes.push(change),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    (changes, refused)
}

fn one(line: &str) -> std::result::Result<Change, String> {
    if line.len() > LONGEST_LINE {
        return Err(format!("a line of {} bytes; {LONGEST_LINE} are the most", line.len()));
    }
    if let Some((name, value)) = line.split_once('=') {
        let value = parse_value(value);
        return limits::check_one(name, &value).map(|()| Change::Set(name.to_owned(), value));
    }
    let name = line.strip_prefix('-').ok_or_else(|| format!("`{}`: neither NAME=VALUE nor -NAME", shown(line)))?;
    limits::check_name(name).map(|()| Change::Unset(name.to_owned()))
}

fn shown(line: &str) -> String {
    line.chars().take(60).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_core::wire::Variable;

    #[test]
    fn lines_set_and_unset_and_what_is_none_is_named() {
        let (said, refused) = changes(b"chapter=3\r\n\n-mode\nname=a=b\n");
        let set = |name: &str, value| Change::Set(name.to_owned(), value);
        let expected =
            [set("chapter", Variable::Number(3)), Change::Unset("mode".to_owned()), set("name", Variable::Text("a=b".to_owned()))];
        assert_eq!((said.as_slice(), refused), (expected.as_slice(), None));
        for bad in ["Chapter=3\n", "chapter\n", "=3\n", "-\n", "a b=3\n", &format!("a={}\n", "x".repeat(9000))] {
            let (said, refused) = changes(bad.as_bytes());
            assert!(said.is_empty() && refused.is_some(), "{bad}");
        }
        let (said, refused) = changes(b"\xff\xfe=1\nchapter=4\n");
        assert_eq!((said.len(), refused.is_some()), (1, true));
    }
}
