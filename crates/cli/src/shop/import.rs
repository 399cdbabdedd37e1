//! `shop import`: a table of people and devices, as a production line has it; each row is done or says why not, and may come again.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use counterfoil_core::{DeviceId, UserId};
use counterfoil_terminal::Authority;
use serde::{Deserialize, Serialize};

use super::{Access, Device, Sale, authority, patiently, provision};
use crate::context::Context;
use crate::failure::Failure;
use crate::files;
use crate::progress::{Progress, Unit};
use crate::publisher::api::Api;
use crate::units;

const COLUMNS: [&str; 8] = ["user_id", "user", "email", "address", "device_id", "maker", "model", "name"];

/// Register people and devices by a table
///
/// The first line names the columns: user, device_id, and as far as they are known user_id (for somebody who has one), email, address,
/// maker, model, name (of the device). A row that cannot be registered is named with its line and why; the others are registered all the
/// same. The command may be repeated, also with the table corrected: what was registered once keeps its user ID.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil shop import devices.csv --out results.csv --profiles ./profiles")]
pub struct Import {
    /// The table, CSV with a first line that names the columns
    #[arg(value_name = "FILE")]
    table: PathBuf,
    /// Where to write what came of each row, with the user IDs; CSV, readable by nobody else
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Make a profile for each device in a directory of this one, named by the device ID
    #[arg(long, value_name = "DIR")]
    profiles: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

/// One row. Fields that are empty count as absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    user_id: String,
    user: String,
    email: String,
    address: String,
    device_id: String,
    maker: String,
    model: String,
    name: String,
}

/// What came of a row.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    line: u64,
    user: String,
    user_id: Option<UserId>,
    device_id: String,
    profile: Option<PathBuf>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Imported<'a> {
    rows: u64,
    registered: u64,
    failed: u64,
    results: &'a Path,
}

impl Import {
    /// Registers row by row.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let rows = self.count()?;
        let api = self.access.connect(context)?;
        let line = Line { authority: authority(&api)?, api, profiles: self.profiles.clone(), seen: HashMap::new() };
        let progress = Progress::counting(&context.output, "registered", Unit::Devices);
        progress.of(rows);
        let partial = files::beside(&self.out);
        let done = self.each(line, &partial, &progress);
        progress.finish();
        let (registered, failed) = done.inspect_err(|_| drop(fs::remove_file(&partial)))?;
        let renamed = fs::rename(&partial, &self.out).and_then(|()| files::sync_directory(&self.out));
        renamed.map_err(|error| Failure::file("write", &self.out, &error))?;
        let imported = Imported { rows: registered + failed, registered, failed, results: &self.out };
        if failed > 0 {
            let message = format!("{} of {} could not be registered", units::count(failed, "row", "rows"), imported.rows);
            let hint =
                format!("{} says which, and why. Correct them and repeat the command: the others keep their user IDs.", self.out.display());
            return Err(Failure::refused("rows_failed", message).hint(hint));
        }
        context.output.result(&imported, || {
            format!("registered {}\nresults  {}\n", units::count(registered, "device", "devices"), self.out.display())
        })
    }

    /// How many rows there are; the columns are checked before anything is registered.
    fn count(&self) -> Result<u64, Failure> {
        let mut reader = self.reader()?;
        let headers = reader.headers().map_err(|error| self.unreadable(error))?.clone();
        if let Some(unknown) = headers.iter().find(|column| !COLUMNS.contains(column)) {
            let hint = format!("The columns are {}.", COLUMNS.join(", "));
            return Err(Failure::usage(format!("{} has a column {unknown:?}", self.table.display())).hint(hint));
        }
        for needed in ["device_id", "user"] {
            if !headers.iter().any(|column| column == needed || (needed == "user" && column == "user_id")) {
                return Err(Failure::usage(format!("{} has no column {needed:?}", self.table.display())));
            }
        }
        let mut rows = 0;
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|error| self.unreadable(error))? {
            rows += 1;
        }
        Ok(rows)
    }

    fn each(&self, mut line: Line, out: &Path, progress: &Progress) -> Result<(u64, u64), Failure> {
        // One left behind by a run that was killed.
        let _ = fs::remove_file(out);
        let cannot = |error: &std::io::Error| Failure::file("write", out, error);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).map_err(|error| cannot(&error))?;
        let mut results = csv::Writer::from_writer(file);
        let unwritable = |error: csv::Error| match error.into_kind() {
            csv::ErrorKind::Io(error) => cannot(&error),
            other => Failure::operation("io", format!("cannot write {}: {other:?}", out.display())),
        };
        let mut reader = self.reader()?;
        let headers = reader.headers().map_err(|error| self.unreadable(error))?.clone();
        let (mut registered, mut failed) = (0, 0);
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|error| self.unreadable(error))? {
            let number = record.position().map_or(0, csv::Position::line);
            let result = line.row(number, &headers, &record)?;
            if result.error.is_some() {
                failed += 1
            } else {
                registered += 1
            }
            results.serialize(result).map_err(unwritable)?;
            // Whoever looks at it meanwhile, or after the power has failed, sees how far it came.
            results.flush().map_err(|error| cannot(&error))?;
            progress.add(1);
        }
        let file = results.into_inner().map_err(|error| cannot(error.error()))?;
        file.sync_all().map_err(|error| cannot(&error))?;
        Ok((registered, failed))
    }

    fn reader(&self) -> Result<csv::Reader<File>, Failure> {
        let reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_path(&self.table);
        reader.map_err(|error| self.unreadable(error))
    }

    fn unreadable(&self, error: csv::Error) -> Failure {
        let said = error.to_string();
        match error.into_kind() {
            csv::ErrorKind::Io(error) => Failure::file("read", &self.table, &error),
            csv::ErrorKind::Utf8 { .. } => {
                Failure::refused("table_invalid", format!("{} is no table: it is not UTF-8 text", self.table.display()))
                    .hint("Save it as CSV in UTF-8.")
            }
            _ => Failure::refused("table_invalid", format!("{} is no table: {said}", self.table.display())),
        }
    }
}

/// What rows are registered with.
struct Line {
    api: Api,
    authority: Authority,
    profiles: Option<PathBuf>,
    /// In which line each device stands.
    seen: HashMap<DeviceId, u64>,
}

impl Line {
    /// Registers one row. What is wrong with it is part of the result; only what stops all others is an error.
    fn row(&mut self, line: u64, headers: &csv::StringRecord, record: &csv::ByteRecord) -> Result<Outcome, Failure> {
        let mut result = Outcome { line, ..Outcome::default() };
        let row = match read(headers, record) {
            Ok(row) => row,
            Err(error) => return Ok(Outcome { error: Some(error), ..result }),
        };
        (result.user, result.device_id) = (row.user.clone(), row.device_id.clone());
        let sale = match self.sale(line, row) {
            Ok(sale) => sale,
            Err(error) => return Ok(Outcome { error: Some(error), ..result }),
        };
        match patiently(|| sale.close(&self.api)) {
            Ok(user) => result.user_id = Some(user),
            Err(failure) if failure.is_refusal() => return Ok(Outcome { error: Some(failure.message), ..result }),
            Err(failure) => return Err(failure.hint("Repeat the command: what is registered already keeps its user ID.")),
        }
        if let (Some(profiles), Some(user)) = (&self.profiles, result.user_id) {
            let profile = profiles.join(&result.device_id);
            match provision(&profile, &self.authority, user) {
                Ok(()) => result.profile = Some(profile),
                Err(failure) => result.error = Some(failure.message),
            }
        }
        Ok(result)
    }

    fn sale(&mut self, line: u64, row: Row) -> Result<Sale, String> {
        if row.device_id.is_empty() {
            return Err("device_id: it is missing".to_owned());
        }
        let device_id: DeviceId = row.device_id.parse().map_err(|error| format!("device_id: {error}"))?;
        let user_id = given(row.user_id).map(|text| text.parse::<UserId>()).transpose().map_err(|error| format!("user_id: {error}"))?;
        if user_id.is_none() && row.user.is_empty() {
            return Err("user: the name is missing".to_owned());
        }
        if let Some(before) = self.seen.insert(device_id, line) {
            self.seen.insert(device_id, before);
            return Err(format!("device_id: it stands in line {before} already"));
        }
        let device = Device { device_id, maker: given(row.maker), model: given(row.model), name: given(row.name) };
        Ok(Sale { user_id, name: given(row.user), email: given(row.email), address: given(row.address), device: Some(device) })
    }
}

fn read(headers: &csv::StringRecord, record: &csv::ByteRecord) -> Result<Row, String> {
    if record.len() != headers.len() {
        return Err(format!("the row has {} instead of {}", units::count(record.len() as u64, "field", "fields"), headers.len()));
    }
    let record = csv::StringRecord::from_byte_record(record.clone()).map_err(|_| "the row is not UTF-8".to_owned())?;
    record.deserialize(Some(headers)).map_err(|error| error.to_string())
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
