//! Moves the database of a running authority from SQLite to PostgreSQL.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::super::{Failure, Global};
use super::postgres;
use crate::auditor;
use crate::config::Config;
use crate::db::{Compared, Db, DbError, DbUrl, Move, MoveError, Pass, Progress};
use crate::keys::Keys;

/// What is told at the end.
#[derive(Serialize)]
struct Moved {
    from: String,
    to: String,
    /// While servers went on writing.
    copied: Pass,
    /// While they could not.
    closed: Pass,
    /// How long writes were refused, in milliseconds.
    closed_milliseconds: u64,
    tables: Vec<Compared>,
    audit_rows: u64,
    next: Vec<String>,
}

/// Moves it, and says what to do next.
pub async fn run(from: &str, to: &str, to_file: Option<&Path>, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let (from, to): (DbUrl, DbUrl) = (parse(from)?, parse(to)?);
    if let Some(path) = from.file().filter(|path| !path.exists()) {
        return Err(Failure::operation(format!("there is no file {}", path.display()))
            .hint("--from sqlite:PATH is what [database] url in the configuration says, until it was changed."));
    }
    let unreachable = |error: DbError| {
        Failure::operation(format!("the new database, {to}: {error}")).hint(
            "Check --to, or what is in --to-file: that it runs, has this database, and lets this user make tables. The old database is as it was.",
        )
    };
    let db = Db::open(&to).await.map_err(unreachable)?;
    if let Some(table) = postgres::foreign_table(&db).await.map_err(unreachable)? {
        return Err(Failure::refused(format!("the new database, {to}, belongs to something else: it has a table {table}"))
            .hint("Make a new, empty database, and move to that."));
    }
    db.migrate().await.map_err(unreachable)?;
    let moved = go(&config, &from, &db, global, to_file).await;
    db.close().await;
    moved
}

fn parse(address: &str) -> Result<DbUrl, Failure> {
    address.parse().map_err(|error: crate::db::DbError| Failure::usage(error))
}

async fn go(config: &Config, from: &DbUrl, db: &Db, global: &Global, to_file: Option<&Path>) -> Result<(), Failure> {
    let next = next(db.url(), to_file, global);
    let mut moving = match Move::begin(from, db).await {
        Err(MoveError::MovedAlready(to)) if to == db.url().to_string() => {
            return global.print(&serde_json::json!({ "from": from.to_string(), "to": to, "already": true, "next": next }), |_| {
                format!("{from} was moved to {to} already.\n{}", list(&next))
            });
        }
        moving => moving?,
    };
    let copied = moving.copy(teller("copied", global)).await?;
    note(global, &format!("copied {}; now {from} is closed for writes, until all is compared", in_words(&copied)));
    let begun = crate::clock::Clock::System.now().0;
    let closed = moving.close_and_copy(teller("compared", global)).await?;
    let verified = verify(config, &moving, db, global).await;
    let (tables, audit_rows) = match verified {
        Ok(verified) => verified,
        Err(failure) => {
            moving.reopen()?;
            return Err(failure);
        }
    };
    moving.finish().await?;
    let closed_milliseconds = (crate::clock::Clock::System.now().0 - begun).unsigned_abs();
    let moved = Moved { from: from.to_string(), to: db.url().to_string(), copied, closed, closed_milliseconds, tables, audit_rows, next };
    global.print(&moved, told)
}

/// Every table on both sides, then every sentence of the auditor, and the audit log from its first row, in the new database.
async fn verify(config: &Config, moving: &Move, db: &Db, global: &Global) -> Result<(Vec<Compared>, u64), Failure> {
    let tables = moving.compare(teller("read back", global)).await?;
    note(global, "every table is the same on both sides; the auditor looks at the new database");
    let keys = Keys::load(db, config.root_source()).await?;
    let audited = auditor::everything(db, &keys, vec![]).await?;
    if audited.found() == 0 {
        return Ok((tables, audited.report.rows));
    }
    let found: Vec<String> = audited.findings().take(10).collect();
    Err(Failure::refused(format!("the auditor objects to the new database, and so to the old one: {}", found.join("; ")))
        .hint("Nothing was moved, and the old database is open. `counterfoild audit verify` shows all that is wrong with it."))
}

/// What the operator does now.
fn next(to: &DbUrl, to_file: Option<&Path>, global: &Global) -> Vec<String> {
    let setting = match to_file {
        Some(file) => format!("url_file = {:?}", std::path::absolute(file).unwrap_or_else(|_| file.to_owned())),
        None => format!("url = \"{to}\" (with user, password and options, if it needs them; then better in a file, as url_file)"),
    };
    vec![
        format!("In {}, section [database]: {setting}", global.config_path().display()),
        "Restart every counterfoild of this authority; the old ones refuse writes, and say where the database is now.".to_owned(),
        "Keep the old file until there is a backup of the new database; nothing writes to it any more.".to_owned(),
    ]
}

fn told(moved: &Moved) -> String {
    let width = moved.tables.iter().map(|table| table.table.len()).max().unwrap_or_default();
    let mut lines: Vec<String> =
        moved.tables.iter().map(|table| format!("  {:width$}  {:>12}  {}", table.table, table.rows, &table.digest[..32])).collect();
    lines.insert(0, format!("{} is now {}. Rows and digest of each table, the same on both sides:\n", moved.from, moved.to));
    lines.push(format!(
        "\nCopied {} in {}; closed for writes for {}, in which {} rows were brought over that had changed. The auditor is content ({} records).",
        in_words(&moved.copied),
        seconds(moved.copied.milliseconds),
        seconds(moved.closed_milliseconds),
        moved.closed.inserted + moved.closed.changed + moved.closed.deleted,
        moved.audit_rows
    ));
    lines.push(list(&moved.next));
    lines.join("\n")
}

fn list(next: &[String]) -> String {
    let lines: Vec<String> = next.iter().zip(1..).map(|(line, number)| format!("  {number}. {line}")).collect();
    format!("\nNext:\n{}", lines.join("\n"))
}

fn in_words(pass: &Pass) -> String {
    let found = pass.rows.saturating_sub(pass.inserted + pass.changed);
    let before = if found > 0 { format!(" ({found} were there)") } else { String::new() };
    format!("{} rows{before}", pass.rows)
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:01} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

/// Says once a second how far it is.
fn teller(doing: &'static str, global: &Global) -> impl FnMut(&Progress) {
    let (mut told, global) = (Duration::ZERO, global.clone());
    move |progress| {
        if progress.elapsed < told + Duration::from_secs(1) {
            return;
        }
        told = progress.elapsed;
        let speed = u128::from(progress.rows) * 1000 / progress.elapsed.as_millis().max(1);
        note(&global, &format!("{doing} {} of about {} rows, {speed} rows/s ({})", progress.rows, progress.of, progress.table));
    }
}

/// On standard error, for people; programs read the end.
fn note(global: &Global, text: &str) {
    if !global.json {
        // Nobody is left to tell where it is closed.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr().lock(), format_args!("{text}\n"));
    }
}
