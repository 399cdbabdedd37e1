//! The file that is imported, or standard input.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::rows::Format;
use crate::failure::Failure;

/// What is read, and how.
#[derive(Args, Debug)]
pub struct Source {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How it is written [default: by the ending, .csv or .jsonl]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Written>,
    /// Check every line, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Written {
    /// A table whose first line names the columns
    Csv,
    /// One JSON object a line
    Jsonl,
}

impl Source {
    /// Of what its rows are.
    pub(super) fn format(&self) -> Result<Format, Failure> {
        let ending = self.file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match (self.format, ending.as_deref()) {
            (Some(Written::Csv), _) | (None, Some("csv")) => Ok(Format::Csv),
            (Some(Written::Jsonl), _) | (None, Some("jsonl" | "ndjson")) => Ok(Format::Jsonl),
            (None, _) => Err(Failure::usage(format!("how {} is written cannot be told by its name", self.file.display()))
                .hint("Give `--format csv` or `--format jsonl`.")),
        }
    }

    /// What can be read twice: of standard input, a copy on the disk.
    pub(super) fn open(&self) -> Result<File, Failure> {
        let opened = if self.file == Path::new("-") { spool(&mut io::stdin().lock()) } else { File::open(&self.file).and_then(seekable) };
        opened.map_err(|error| self.unreadable(&error))
    }

    pub(super) fn unreadable(&self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::InvalidData => Failure::refused("file_invalid", format!("{}: {error}", self.file.display()))
                .hint("`counterfoil import --help` says what is read."),
            _ => Failure::file("read", &self.file, error),
        }
    }
}

fn seekable(mut file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { spool(&mut file) }
}

fn spool(from: &mut dyn io::Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(from, &mut file)?;
    Ok(file)
}
