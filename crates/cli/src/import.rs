//! `import`: people and media from elsewhere (B1, D1), from tables or JSON Lines of any length. Every line is checked by the authority before
//! anything is written; what was written once has no second effect, so whoever was cut off repeats the command.

pub mod people;
mod results;
pub mod rows;
mod source;
mod wrong;

use std::fs::File;
use std::io::Seek as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_core::{BatchId, MediumId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::progress::{Progress, Unit};
use crate::publisher::api::Api;
use crate::shop::patiently;
use crate::units;
use results::Results;
use rows::{Format, Row, Rows};
use source::Source;
use wrong::Wrongs;

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

#[cfg(test)]
mod tests;
