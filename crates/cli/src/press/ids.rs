//! Medium IDs made elsewhere: read from a CSV file, checked line by line, imported at the authority.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use counterfoil_core::{BatchId, MediumId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::failure::Failure;
use crate::publisher::api::Api;

/// Lines in one call.
const AT_ONCE: usize = 10_000;
/// Bad lines that are named one by one.
const NAMED: usize = 20;
const COLUMN: &str = "medium_id";

/// A line that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// In the file, from 1.
    pub line: u64,
    /// What stands there.
    pub medium_id: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A file that was read through once.
pub struct Ids {
    path: PathBuf,
    /// Lines that hold an ID.
    pub good: u64,
    /// Lines that do not.
    pub bad: Vec<Bad>,
    /// Hash of the file.
    pub digest: String,
}

/// What the authority says to imported lines.
#[derive(Deserialize)]
struct Imported {
    #[serde(default)]
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Rejected {
    /// In the call, from 1.
    line: u64,
    medium_id: Option<String>,
    reason: String,
}

impl Ids {
    /// Reads the file through.
    ///
    /// # Errors
    /// `ids_invalid`: there are bad lines, and they are not to be skipped.
    pub fn check(path: &Path, skip_bad: bool) -> Result<Self, Failure> {
        let mut bad = Vec::new();
        let mut good = 0;
        each(path, |_, row| match row {
            Ok(_) => good += 1,
            Err(line) => bad.push(line),
        })?;
        if !bad.is_empty() && !skip_bad {
            return Err(refuse(&bad));
        }
        if good == 0 {
            return Err(Failure::refused("ids_invalid", format!("{} holds no medium ID", path.display())));
        }
        let mut hasher = blake3::Hasher::new();
        let hashed = File::open(path).and_then(|file| hasher.update_reader(file).map(|_| ()));
        hashed.map_err(|error| Failure::file("read", path, &error))?;
        Ok(Self { path: path.to_owned(), good, bad, digest: hasher.finalize().to_hex().to_string() })
    }

    /// Hands the good lines in; gives those that the authority does not take.
    pub fn import(&self, api: &Api, batch: BatchId) -> Result<Vec<Bad>, Failure> {
        let mut waiting: Vec<(u64, MediumId)> = Vec::with_capacity(AT_ONCE);
        let mut rejected = Vec::new();
        let mut failure = None;
        each(&self.path, |line, row| {
            if let (Ok(id), None) = (row, &failure) {
                waiting.push((line, id));
                if waiting.len() == AT_ONCE {
                    failure = hand_in(api, batch, &mut waiting, &mut rejected).err();
                }
            }
        })?;
        match failure {
            Some(failure) => return Err(failure),
            None if !waiting.is_empty() => hand_in(api, batch, &mut waiting, &mut rejected)?,
            None => {}
        }
        Ok(rejected)
    }
}

/// Nothing is pressed: these lines are bad.
pub fn refuse(bad: &[Bad]) -> Failure {
    let mut fact = format!("{} bad, and nothing was pressed:", crate::units::count(bad.len() as u64, "line is", "lines are"));
    for line in bad.iter().take(NAMED) {
        fact += &format!("\n  {line}");
    }
    if bad.len() > NAMED {
        fact += &format!("\n  and {} more", bad.len() - NAMED);
    }
    Failure::refused("ids_invalid", fact).hint("Correct them, or leave them out with `--skip-bad`.")
}

fn hand_in(api: &Api, batch: BatchId, waiting: &mut Vec<(u64, MediumId)>, rejected: &mut Vec<Bad>) -> Result<(), Failure> {
    let mut lines = String::with_capacity(waiting.len() * 48);
    for (_, id) in waiting.iter() {
        lines += &json!({ "medium_id": id }).to_string();
        lines.push('\n');
    }
    let answer: Imported = api.post_lines(&format!("/v1/batches/{batch}/media"), &lines)?;
    for line in answer.rejected {
        let place = usize::try_from(line.line).ok().and_then(|line| line.checked_sub(1)).and_then(|index| waiting.get(index));
        rejected.push(Bad { line: place.map_or(0, |place| place.0), medium_id: line.medium_id.unwrap_or_default(), reason: line.reason });
    }
    waiting.clear();
    Ok(())
}

/// Every line with an ID, or with what is wrong with it.
fn each(path: &Path, mut then: impl FnMut(u64, Result<MediumId, Bad>)) -> Result<(), Failure> {
    let unreadable = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => Failure::file("read", path, &error),
        other => Failure::refused("ids_invalid", format!("{} is not a CSV file: {other:?}", path.display())),
    };
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_path(path).map_err(unreadable)?;
    let mut column = 0;
    let mut first = true;
    // Keyed hashes instead of the IDs: 16 bytes a line. A collision would take 2^64 lines.
    let mut seen: HashMap<u128, u64> = HashMap::new();
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        let line = record.position().map_or(0, csv::Position::line);
        if std::mem::take(&mut first)
            && let Some(place) = record.iter().position(|field| field.eq_ignore_ascii_case(COLUMN.as_bytes()))
        {
            column = place;
            continue;
        }
        let text = String::from_utf8_lossy(record.get(column).unwrap_or_default()).into_owned();
        if text.is_empty() && record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        let bad = |reason: String| Bad { line, medium_id: text.clone(), reason };
        let parsed = match text.parse::<MediumId>() {
            Err(error) => Err(bad(error.to_string())),
            // Those name batch and serial of another pressing run.
            Ok(id) if id.batch_and_serial().is_some() => Err(bad("it is the ID of a medium pressed by an authority".into())),
            Ok(id) => match seen.insert(digest(&id), line) {
                Some(before) => Err(bad(format!("it stands in line {before} already"))),
                None => Ok(id),
            },
        };
        then(line, parsed);
    }
    Ok(())
}

fn digest(id: &MediumId) -> u128 {
    let hash = blake3::hash(id.as_str().as_bytes());
    let (first, _) = hash.as_bytes().split_at(16);
    u128::from_le_bytes(first.try_into().expect("split at sixteen"))
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {:?}: {}", self.line, self.medium_id, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn a_plain_list_and_a_table_are_read_alike() {
        for text in ["AAAA-1\nAAAA-2\n", "name,Medium_ID\nx,AAAA-1\n\ny, AAAA-2 \n", "medium_id\r\nAAAA-1\r\nAAAA-2"] {
            let ids = Ids::check(file(text).path(), false).expect("good");
            assert_eq!((ids.good, ids.bad.len()), (2, 0), "{text:?}");
        }
    }

    #[test]
    fn bad_lines_are_named_by_line() {
        let text = "medium_id\nAAAA-1\nx\nAAAA-1\nmed-0000\nBBBB-2\n";
        let path = file(text);
        let failure = Ids::check(path.path(), false).map(|_| ()).expect_err("three bad lines");
        for words in ["line 3: \"x\"", "line 4: \"AAAA-1\": it stands in line 2 already", "line 5: \"med-0000\""] {
            assert!(failure.message.contains(words), "{}", failure.message);
        }
        let ids = Ids::check(path.path(), true).expect("two good ones");
        assert_eq!((ids.good, ids.bad.iter().map(|bad| bad.line).collect::<Vec<_>>()), (2, vec![3, 4, 5]));
    }

    #[test]
    fn a_file_without_ids_is_refused() {
        assert_eq!(Ids::check(file("medium_id\n\n").path(), true).map(|_| ()).expect_err("empty").code, "ids_invalid");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..proptest::prelude::ProptestConfig::with_cases(400) })]

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600), skip_bad: bool) {
            read_or_refused(&bytes, skip_bad);
        }

        #[test]
        fn any_lines_are_read_or_refused(
            lines in proptest::collection::vec("(medium_id|[A-Za-z0-9._:-]{0,70}|med-[0-9A-Z-]{0,34}|\\PC{0,8})(,|;|\"|\r|\t| )?", 0..40),
            skip_bad: bool,
        ) {
            read_or_refused(lines.join("\n").as_bytes(), skip_bad);
        }
    }

    /// Every line that is neither empty nor the heading is good or bad, and named in order.
    fn read_or_refused(bytes: &[u8], skip_bad: bool) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        match Ids::check(file.path(), skip_bad) {
            Ok(ids) => {
                assert!(ids.good > 0 && (skip_bad || ids.bad.is_empty()));
                assert!(ids.bad.windows(2).all(|pair| pair[0].line <= pair[1].line), "{:?}", ids.bad);
                let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64 + 1;
                assert!(ids.good + ids.bad.len() as u64 <= lines && ids.bad.iter().all(|bad| (1..=lines).contains(&bad.line)));
            }
            Err(failure) => assert_eq!(failure.code, "ids_invalid"),
        }
    }
}
