//! `export`: everything that an operator holds, as files; each file is there when it is complete.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use counterfoil_terminal::clock::{Clock as _, SystemClock};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::files;
use crate::progress::Progress;
use crate::publisher::api::Api;
use crate::units;

/// What says what an export holds.
const CONTENTS: &str = "export.json";

/// For operators: write down everything that the authority holds, without secrets
///
/// One file for each kind, and `export.json` with rows and hashes of all. What is written meanwhile may or may not be in it. People, their
/// announced devices and media can be brought in again by `counterfoil import`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil export --out ./export
  counterfoil export --out ./tables --format csv --what orders --what balance_entries")]
pub struct Export {
    /// Where to: a directory, readable by nobody else
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only this kind; more than one may be given [default: all]
    #[arg(long, value_name = "KIND")]
    what: Vec<String>,
    /// How they are written
    #[arg(long, value_enum, default_value_t = Written::Jsonl, value_name = "FORMAT")]
    format: Written,
}

/// How files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Written {
    /// One JSON object a line
    Jsonl,
    /// Tables
    Csv,
}

impl Written {
    fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    kinds: Vec<Kind>,
    left_out: Value,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(deserialize_with = "name")]
    what: String,
}

/// It becomes the name of a file, which lies nowhere else than where it was said to: letters from a to z, and underscores.
fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let good = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if good { Ok(name) } else { Err(D::Error::custom(format!("{name:?} is the name of no kind"))) }
}

/// A file of an export.
#[derive(Serialize)]
struct Exported {
    what: String,
    file: String,
    bytes: u64,
    /// Lines, of a table without the one that names the columns.
    rows: Option<u64>,
    blake3: String,
}

impl Export {
    /// Fetches one kind after the other.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let listed: Listed = api.get("/v1/export")?;
        if let Some(unknown) = self.what.iter().find(|what| listed.kinds.iter().all(|kind| kind.what != **what)) {
            let known: Vec<&str> = listed.kinds.iter().map(|kind| kind.what.as_str()).collect();
            return Err(
                Failure::usage(format!("there is nothing called {unknown:?} to export")).hint(format!("There are {}.", known.join(", ")))
            );
        }
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.out);
        made.map_err(|error| Failure::file("make", &self.out, &error))?;
        let progress = Progress::new(&context.output, "exported");
        let mut files = vec![];
        for Kind { what } in listed.kinds.into_iter().filter(|kind| self.what.is_empty() || self.what.contains(&kind.what)) {
            files.push(self.fetch(&api, what, &progress)?);
        }
        progress.finish();
        let at = units::moment(SystemClock.now());
        let contents = json!({ "authority": api.server(), "at": at, "files": files, "left_out": listed.left_out });
        let text = serde_json::to_vec_pretty(&contents).expect("a JSON value has a JSON form");
        write(&self.out.join(CONTENTS), &mut text.as_slice(), &mut |_| ())?;
        context.output.result(&contents, || {
            let bytes = files.iter().map(|file| file.bytes).sum();
            format!("exported {} into {}\n{}\n", units::count(files.len() as u64, "kind", "kinds"), self.out.display(), units::bytes(bytes))
        })
    }

    fn fetch(&self, api: &Api, what: String, progress: &Progress) -> Result<Exported, Failure> {
        let file = format!("{what}.{}", self.format.as_str());
        let mut rows = api.stream(&format!("/v1/export/{what}?format={}", self.format.as_str()))?;
        let (mut hasher, mut lines) = (blake3::Hasher::new(), 0);
        let bytes = write(&self.out.join(&file), &mut rows, &mut |block| {
            hasher.update(block);
            lines += block.iter().filter(|byte| **byte == b'\n').count() as u64;
            progress.add(block.len() as u64);
        })?;
        // A cell of a table may have several lines.
        let rows = (self.format == Written::Jsonl).then_some(lines);
        Ok(Exported { what, file, bytes, rows, blake3: hasher.finalize().to_hex().to_string() })
    }
}

/// Writes a file beside its place, and puts it there when it is complete and on the disk; says how long it is.
pub fn write(path: &Path, from: &mut dyn Read, each: &mut dyn FnMut(&[u8])) -> Result<u64, Failure> {
    let partial = files::beside(path);
    // One left behind by a run that was killed.
    let _ = std::fs::remove_file(&partial);
    let cannot = |error: &io::Error| Failure::file("write", path, error);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&partial).map_err(|error| cannot(&error))?;
    let copied = copy(from, &mut file, each, &cannot).and_then(|length| {
        let kept = file.sync_all().and_then(|()| std::fs::rename(&partial, path)).and_then(|()| files::sync_directory(path));
        kept.map(|()| length).map_err(|error| cannot(&error))
    });
    copied.inspect_err(|_| drop(std::fs::remove_file(&partial)))
}

fn copy(from: &mut dyn Read, file: &mut File, each: &mut dyn FnMut(&[u8]), cannot: &dyn Fn(&io::Error) -> Failure) -> Result<u64, Failure> {
    let (mut block, mut length) = (vec![0; 64 << 10], 0);
    loop {
        let read = match from.read(&mut block) {
            Ok(0) => return Ok(length),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(
                    Failure::operation("cut_off", format!("the authority's answer was cut off: {error}")).hint("Repeat the command.")
                );
            }
        };
        file.write_all(&block[..read]).map_err(|error| cannot(&error))?;
        each(&block[..read]);
        length += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_has_exported_becomes_no_file_elsewhere() {
        let listed = |what: &str| serde_json::from_value::<Listed>(json!({ "kinds": [{ "what": what }], "left_out": [] }));
        for what in ["orders", "balance_entries"] {
            assert_eq!(listed(what).expect("a kind").kinds[0].what, what);
        }
        for what in ["", "/tmp/x/abs", "../../../evil", "a/b", "a.b", "..", "Orders", "orders\0", "größe"] {
            assert!(listed(what).is_err_and(|error| error.to_string().contains("name of no kind")), "{what}");
        }
    }
}
