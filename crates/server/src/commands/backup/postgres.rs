//! Backups of PostgreSQL, by its own tools: the address goes to them by their environment, because command lines are seen by everybody.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::super::{Failure, at};
use crate::clock::Clock;
use crate::db::DbUrl;

/// Dumps the database as it is at one moment, while servers use it.
///
/// # Errors
/// The tool's own words.
pub fn dump(url: &DbUrl, out: &Path) -> Result<(), Failure> {
    let partial = out.with_extension("partial");
    // Made first, readable by nobody else, as pg_dump would not.
    crate::keys::root::write_private(&partial, "").map_err(at(&partial))?;
    let made = (|| {
        let mut command = Command::new("pg_dump");
        // What a restore has set aside is no part of this database.
        command.args(["--format=custom", "--exclude-schema=replaced_*", "--file"]).arg(&partial);
        run(command, url)?;
        check(&partial)?;
        fs::File::open(&partial).and_then(|file| file.sync_all()).map_err(at(&partial))?;
        fs::rename(&partial, out).map_err(at(out))
    })();
    if made.is_err() {
        // Whatever went wrong is told; half a backup helps nobody.
        let _ = fs::remove_file(&partial);
    }
    made
}

/// Puts a dump in place, whole or not at all; answers with the name of the schema that what was there is kept in.
///
/// # Errors
/// Refused while something is there or used; else the tool's own words.
pub fn restore(url: &DbUrl, from: &Path, replace: bool) -> Result<Option<String>, Failure> {
    check(from)?;
    let used = query(
        url,
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'counterfoild' AND pid <> pg_backend_pid()",
    )?;
    if used != "0" {
        return Err(Failure::refused(format!("{used} connections of counterfoild use {url}")).hint("Stop every counterfoild, then repeat."));
    }
    let mut kept = None;
    if query(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")? != "0" {
        if !replace {
            return Err(Failure::refused(format!("there are tables in {url} already"))
                .hint("Stop every counterfoild, then repeat with --replace: what is there is kept in a schema beside it."));
        }
        let aside = format!("replaced_{}", Clock::System.now().0);
        query(url, &format!("BEGIN; ALTER SCHEMA public RENAME TO {aside}; CREATE SCHEMA public; COMMIT"))?;
        kept = Some(aside);
    }
    let mut command = Command::new("pg_restore");
    command.args(["--exit-on-error", "--single-transaction", "--no-owner", "--dbname", ""]).arg(from);
    match (run(command, url), &kept) {
        (Err(failure), Some(aside)) => {
            query(url, &format!("BEGIN; DROP SCHEMA public; ALTER SCHEMA {aside} RENAME TO public; COMMIT"))?;
            Err(failure)
        }
        (outcome, _) => outcome.map(|_| kept),
    }
}

/// Whether it is a dump at all, and can be read to its end.
fn check(dump: &Path) -> Result<(), Failure> {
    let mut command = Command::new("pg_restore");
    command.args(["--file", "/dev/null"]).arg(dump);
    let output = spawn(command)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::operation(format!("{} is no dump that pg_restore reads: {}", dump.display(), said(&output)))
        .hint("Name a file made by `counterfoild backup` of PostgreSQL."))
}

fn query(url: &DbUrl, sql: &str) -> Result<String, Failure> {
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command", sql]);
    let output = run(command, url)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn run(mut command: Command, url: &DbUrl) -> Result<Output, Failure> {
    // What the caller's shell says about other databases must not mix with this address.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
        command.env_remove(name);
    }
    command.envs(url.libpq().map_err(Failure::from)?);
    let output = spawn(command)?;
    match output.status.success() {
        true => Ok(output),
        false => Err(Failure::operation(said(&output)).hint("The words are those of PostgreSQL's own tool.")),
    }
}

fn spawn(mut command: Command) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::operation(format!("{name} is not installed here"))
            .hint("Install PostgreSQL's client tools, of the server's version or later; on Debian: apt-get install postgresql-client."),
        _ => Failure::operation(format!("{name}: {error}")),
    })
}

fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    if said.trim().is_empty() { output.status.to_string() } else { said.trim().to_owned() }
}
