//! `import`: people and media from elsewhere (B1, D1), from tables or JSON Lines of any length. Every line is checked by the authority before
//! anything is written; what was written once has no second effect, so whoever was cut off repeats the command.

pub mod people;
pub mod rows;

use std::fs::File;
use std::io::{self, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use counterfoil_core::{BatchId, MediumId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::files;
use crate::progress::{Progress, Unit};
use crate::publisher::api::Api;
use crate::shop::patiently;
use crate::units;
use rows::{Format, Row, Rows};

/// Bad lines that are named one by one.
const NAMED: usize = 20;
/// Most bytes of one call.
const CALL: usize = 512 << 10;

/// For operators: bring in people and media from elsewhere
#[derive(Subcommand, Debug)]
pub enum ImportCommand {
    Users(Users),
    Media(Media),
}

/// Bring in people with their devices
///
/// Columns: user_id (made where it is not given), reference (what the person was known by elsewhere), name, email, address, and of a device
/// device_id, maker, model, device_name; several devices stand in as many rows, or in JSON Lines as a list `devices`. All lines are checked
/// before anything is written. The command may be repeated: a line that is there already changes nothing. Money is not imported.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil import users customers.csv --dry-run
  counterfoil import users customers.csv --out user-ids.csv
  counterfoil import users people.jsonl        as `counterfoil export` writes it
  zcat customers.jsonl.gz | counterfoil import users - --format jsonl")]
pub struct Users {
    #[command(flatten)]
    source: Source,
    /// Where to write who has which user ID; CSV, readable by nobody else
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    out: Option<PathBuf>,
}

/// Bring in media whose IDs were made elsewhere
///
/// The column medium_id counts, others are passed over. They belong to a batch of imported media, as
/// `counterfoil press --ids` or the API makes it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil import media serials.csv --batch bat-…")]
pub struct Media {
    #[command(flatten)]
    source: Source,
    /// The batch that they belong to
    #[arg(long, value_name = "ID")]
    batch: BatchId,
}

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
    dry_run: bool,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Written {
    /// A table whose first line names the columns
    Csv,
    /// One JSON object a line
    Jsonl,
}

impl ImportCommand {
    /// Does either.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            ImportCommand::Users(command) => command.run(context),
            ImportCommand::Media(command) => command.run(context),
        }
    }
}

/// What the authority says to a call.
#[derive(Default, Deserialize)]
struct Answer {
    #[serde(default)]
    made: u64,
    #[serde(default)]
    known: u64,
    #[serde(default)]
    devices: u64,
    #[serde(default)]
    imported: u64,
    #[serde(default)]
    repeated: u64,
    #[serde(default)]
    users: Vec<Person>,
    #[serde(default)]
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Person {
    line: usize,
    user_id: String,
    made: bool,
}

#[derive(Deserialize)]
struct Rejected {
    line: usize,
    #[serde(default)]
    column: Option<String>,
    reason: String,
}

/// What came of it all.
#[derive(Debug, Default, Serialize)]
struct Report {
    lines: u64,
    new: u64,
    there_already: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<u64>,
    /// Of an export: people who were erased, devices that were taken out.
    passed_over: u64,
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<PathBuf>,
}

/// A line with what is wrong with it.
#[derive(Clone, Debug, Serialize)]
struct Wrong {
    line: u64,
    column: Option<String>,
    reason: String,
}

/// Lines with what is wrong: the first few, and how many there are.
#[derive(Default)]
struct Wrongs {
    first: Vec<Wrong>,
    count: u64,
}

impl Wrongs {
    fn add(&mut self, line: u64, column: Option<String>, reason: String) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(Wrong { line, column, reason });
        }
    }

    fn refuse(&self, code: &str, what: &str) -> Failure {
        let mut fact = format!("{} wrong, and {what}:", units::count(self.count, "line is", "lines are"));
        for Wrong { line, column, reason } in &self.first {
            let column = column.as_ref().map(|column| format!(", column {column}")).unwrap_or_default();
            fact += &format!("\n  line {line}{column}: {reason}");
        }
        if self.count > NAMED as u64 {
            fact += &format!("\n  and {} more", self.count - NAMED as u64);
        }
        Failure::refused(code, fact).hint("Correct them and repeat the command: what is there already stays as it is.")
    }
}

/// What the authority is told of a row, nothing of an empty one; or which column is wrong, and what about it.
type LineOf<'a> = &'a dyn Fn(&Row) -> Result<Option<Value>, (String, String)>;

/// Told of an answer, with the lines of the file that it is about.
type Each<'a> = &'a mut dyn FnMut(&Answer, &[u64]) -> Result<(), Failure>;

/// One way of reading rows and telling the authority of them.
struct Way<'a> {
    /// Below the authority's address.
    path: String,
    /// Most lines of a call.
    most: usize,
    column: &'a dyn Fn(&str) -> bool,
    line: LineOf<'a>,
}

impl Users {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let way = Way { path: "/v1/people".to_owned(), most: 1000, column: &people::is_column, line: &people::line };
        let mut results = self.out.as_deref().map(Results::begin).transpose()?;
        let mut devices = 0;
        let mut report = carry_out(context, &self.source, &way, &mut |answer, lines| {
            devices += answer.devices;
            let Some(results) = &mut results else { return Ok(()) };
            answer
                .users
                .iter()
                .try_for_each(|person| results.add(person.line.checked_sub(1).and_then(|place| lines.get(place)).copied(), person))
        })?;
        report.devices = (!report.dry_run).then_some(devices);
        report.results = results.map(Results::finish).transpose()?;
        context.output.result(&report, || {
            let mut text = words(&report, "person", "people");
            if devices > 0 {
                text += &format!("announced {}\n", units::count(devices, "device", "devices"));
            }
            if let Some(results) = &report.results {
                text += &format!("user IDs are in {}\n", results.display());
            }
            text
        })
    }
}

impl Media {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let line = |row: &Row| {
            let wrong = |reason: String| ("medium_id".to_owned(), reason);
            let id = row.fields.get("medium_id").ok_or_else(|| wrong("it is missing".to_owned()))?;
            let id = id.as_str().ok_or_else(|| wrong("it is a text".to_owned()))?;
            let id = id.parse::<MediumId>().map_err(|error| wrong(error.to_string()))?;
            Ok(Some(json!({ "medium_id": id })))
        };
        let way = Way { path: format!("/v1/batches/{}/media", self.batch), most: 10_000, column: &|_| true, line: &line };
        let report = carry_out(context, &self.source, &way, &mut |_, _| Ok(()))?;
        context.output.result(&report, || words(&report, "medium", "media"))
    }
}

fn words(report: &Report, one: &str, many: &str) -> String {
    if report.dry_run {
        return format!("{} checked, nothing wrong; nothing was written\n", units::count(report.lines, "line", "lines"));
    }
    let mut text = format!("imported {}\n", units::count(report.new, one, many));
    if report.there_already > 0 {
        text += &format!("{} there already\n", units::count(report.there_already, "line was", "lines were"));
    }
    if report.passed_over > 0 {
        text += &format!("{} passed over: erased or taken out\n", units::count(report.passed_over, "line was", "lines were"));
    }
    text
}

/// Checks all lines, and then writes them; `each` is told of every answer with the lines of the file that it is about.
fn carry_out(context: &Context, source: &Source, way: &Way<'_>, each: Each<'_>) -> Result<Report, Failure> {
    let format = source.format()?;
    let mut file = source.open()?;
    let (api, _) = Api::connect(context)?;
    let progress = Progress::counting(&context.output, "checked", Unit::Lines);
    let mut wrong = Wrongs::default();
    let mut report = Report { dry_run: source.dry_run, ..Report::default() };
    let check = |lines: &str| patiently(|| api.post_lines::<Answer>(&format!("{}?dry_run=true", way.path), lines));
    for_each_call(source, format, &mut file, way, &mut report, &mut wrong, &mut |call, wrong| {
        let answer = check(&call.text)?;
        call.turn_down(&answer, wrong);
        progress.add(call.lines.len() as u64);
        Ok(())
    })?;
    progress.finish();
    if wrong.count > 0 {
        return Err(wrong.refuse("lines_invalid", "nothing was written"));
    }
    if source.dry_run {
        return Ok(report);
    }
    let progress = Progress::counting(&context.output, "imported", Unit::Lines);
    progress.of(report.lines);
    report = Report::default();
    let (mut new, mut there) = (0, 0);
    for_each_call(source, format, &mut file, way, &mut report, &mut wrong, &mut |call, wrong| {
        let again = "Repeat the command: what was imported already stays as it is.";
        let answer = patiently(|| api.post_lines::<Answer>(&way.path, &call.text)).map_err(|failure| failure.hint(again))?;
        call.turn_down(&answer, wrong);
        new += answer.made + answer.imported;
        there += answer.known + answer.repeated;
        each(&answer, &call.lines)?;
        progress.add(call.lines.len() as u64);
        Ok(())
    })?;
    progress.finish();
    (report.new, report.there_already) = (new, there);
    match wrong.count {
        0 => Ok(report),
        _ => Err(wrong.refuse("lines_failed", "the others were imported")),
    }
}

/// Lines that go together.
#[derive(Default)]
struct Call {
    text: String,
    /// Where each stands in the file.
    lines: Vec<u64>,
}

impl Call {
    fn turn_down(&self, answer: &Answer, wrong: &mut Wrongs) {
        for Rejected { line, column, reason } in &answer.rejected {
            let place = line.checked_sub(1).and_then(|place| self.lines.get(place)).copied();
            wrong.add(place.unwrap_or(0), column.clone(), reason.clone());
        }
    }
}

/// Reads the file from its beginning, and has `send` take as many lines at a time as go together.
fn for_each_call(
    source: &Source,
    format: Format,
    file: &mut File,
    way: &Way<'_>,
    report: &mut Report,
    wrong: &mut Wrongs,
    send: &mut dyn FnMut(&Call, &mut Wrongs) -> Result<(), Failure>,
) -> Result<(), Failure> {
    file.rewind().map_err(|error| source.unreadable(&error))?;
    let mut rows = Rows::new(format, &*file, way.column).map_err(|error| source.unreadable(&error))?;
    let mut call = Call::default();
    while let Some(row) = rows.next().map_err(|error| source.unreadable(&error))? {
        report.lines += 1;
        let (line, told) = match row {
            Ok(row) => (row.line, (way.line)(&row).map_err(|(column, reason)| (Some(column), reason))),
            Err(bad) => (bad.line, Err((None, bad.reason))),
        };
        match told {
            Ok(Some(told)) => {
                let told = told.to_string();
                if call.lines.len() == way.most || call.text.len() + told.len() > CALL {
                    send(&std::mem::take(&mut call), wrong)?;
                }
                call.text += &told;
                call.text.push('\n');
                call.lines.push(line);
            }
            Ok(None) => report.passed_over += 1,
            Err((column, reason)) => wrong.add(line, column, reason),
        }
    }
    if call.lines.is_empty() { Ok(()) } else { send(&call, wrong) }
}

impl Source {
    fn format(&self) -> Result<Format, Failure> {
        let ending = self.file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match (self.format, ending.as_deref()) {
            (Some(Written::Csv), _) | (None, Some("csv")) => Ok(Format::Csv),
            (Some(Written::Jsonl), _) | (None, Some("jsonl" | "ndjson")) => Ok(Format::Jsonl),
            (None, _) => Err(Failure::usage(format!("how {} is written cannot be told by its name", self.file.display()))
                .hint("Give `--format csv` or `--format jsonl`.")),
        }
    }

    /// What can be read twice: of standard input, a copy on the disk.
    fn open(&self) -> Result<File, Failure> {
        let opened = if self.file == Path::new("-") { spool(&mut io::stdin().lock()) } else { File::open(&self.file).and_then(seekable) };
        opened.map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &io::Error) -> Failure {
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

/// Who has which user ID, as it becomes known.
struct Results {
    path: PathBuf,
    partial: PathBuf,
    table: csv::Writer<File>,
}

impl Results {
    fn begin(path: &Path) -> Result<Self, Failure> {
        let partial = files::beside(path);
        // One left behind by a run that was killed.
        let _ = std::fs::remove_file(&partial);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&partial);
        let mut table = csv::Writer::from_writer(file.map_err(|error| Failure::file("write", &partial, &error))?);
        table.write_record(["line", "user_id", "new"]).map_err(|error| Failure::file("write", &partial, &io::Error::other(error)))?;
        Ok(Self { path: path.to_owned(), partial, table })
    }

    fn add(&mut self, line: Option<u64>, person: &Person) -> Result<(), Failure> {
        let record = [line.unwrap_or(0).to_string(), person.user_id.clone(), person.made.to_string()];
        self.table.write_record(record).map_err(|error| Failure::file("write", &self.partial, &io::Error::other(error)))
    }

    fn finish(mut self) -> Result<PathBuf, Failure> {
        let file = self.table.flush().and_then(|()| self.table.get_ref().sync_all());
        let done = file.and_then(|()| std::fs::rename(&self.partial, &self.path)).and_then(|()| files::sync_directory(&self.path));
        done.map_err(|error| Failure::file("write", &self.path, &error))?;
        Ok(self.path)
    }
}

#[cfg(test)]
mod tests;
