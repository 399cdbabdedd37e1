//! `counterfoild backup` and `counterfoild restore`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;
use rusqlite::backup::{Backup as Online, StepResult};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::{Failure, Global, at};
use crate::clock::{Clock, rfc3339};
use crate::config::Config;

/// Pages copied before writers get their turn, and for how long.
const STEP: (i32, Duration) = (1024, Duration::from_millis(1));

/// Where to.
#[derive(Args)]
pub struct Backup {
    /// New file, or a directory that a file named by the time is made in
    #[arg(long, value_name = "FILE|DIR")]
    out: PathBuf,
}

/// Where from.
#[derive(Args)]
pub struct Restore {
    /// A file made by `backup`
    from: PathBuf,
    /// Put it in place of a database that is there; that one is kept beside it
    #[arg(long)]
    replace: bool,
}

impl Backup {
    /// Copies the database while servers use it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        let url = database(&config)?;
        let out = if self.out.is_dir() {
            let stamp = rfc3339(Clock::System.now()).replace([':', '-'], "");
            self.out.join(format!("counterfoil-{}.{}", &stamp[..15], if sqlite_path(&url).is_some() { "db" } else { "dump" }))
        } else {
            self.out
        };
        if out.exists() {
            return Err(Failure::refused(format!("{} is there already", out.display()))
                .hint("Backups are never overwritten: choose another name, or a directory."));
        }
        let target = out.clone();
        match sqlite_path(&url) {
            Some(path) => {
                let path = path.to_owned();
                tokio::task::spawn_blocking(move || copy(&path, &target)).await.map_err(Failure::operation)??;
            }
            None => dump(&url, &target)?,
        }
        let bytes = fs::metadata(&out).map_err(at(&out))?.len();
        global.print(&json!({ "file": out, "bytes": bytes }), |_| {
            format!(
                "{} ({bytes} bytes)\nKeep the root key ({}) elsewhere: who has both has every key. Contents ({}) are encrypted and never change: copy them with any tool.",
                out.display(),
                config.root_key.file.display(),
                config.contents.url.clone().unwrap_or_else(|| config.contents.dir.display().to_string())
            )
        })
    }
}

impl Restore {
    /// Puts a backup in place. No server may run meanwhile.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        let url = database(&config)?;
        let Some(path) = sqlite_path(&url).map(PathBuf::from) else {
            return restore_dump(&url, &self.from, self.replace);
        };
        check(&self.from)?;
        let mut kept = None;
        if path.exists() {
            if !self.replace {
                return Err(Failure::refused(format!("{} is there already", path.display()))
                    .hint("Stop every counterfoild, then repeat with --replace: the database that is there is kept beside it."));
            }
            let aside = path.with_extension(format!("replaced-{}", Clock::System.now().0));
            set_aside(&path, &aside)?;
            kept = Some(aside);
        }
        let (from, to) = (self.from.clone(), path.clone());
        tokio::task::spawn_blocking(move || copy(&from, &to)).await.map_err(Failure::operation)??;
        let db = crate::db::Db::open(&config.database_url()?).await?;
        let status = db.migration_status().await?;
        db.close().await;
        global.print(&json!({ "database": path, "kept": kept, "schema": status.database }), |_| {
            let migrate = if status.pending.is_empty() { "" } else { "\nNext: `counterfoild migrate`." };
            format!("restored {}{migrate}\nThen `counterfoild audit verify`, with the last checkpoint that you kept.", path.display())
        })
    }
}

fn database(config: &Config) -> Result<String, Failure> {
    config.database_url()?;
    match &config.database.url_file {
        Some(file) => Ok(fs::read_to_string(file).map_err(at(file))?.trim().to_owned()),
        None => Ok(config.database.url.clone()),
    }
}

fn sqlite_path(url: &str) -> Option<&Path> {
    url.strip_prefix("sqlite:").map(Path::new)
}

/// SQLite's online backup: consistent while others write.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let wrong = |error: rusqlite::Error| Failure::operation(format!("{}: {error}", to.display()));
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| Failure::operation(format!("{}: {error}", from.display())))?;
    source.busy_timeout(Duration::from_secs(10)).map_err(wrong)?;
    let partial = to.with_extension("partial");
    // Made first, readable by nobody else, as SQLite would not.
    crate::keys::root::write_private(&partial, "").map_err(at(&partial))?;
    let mut target = Connection::open(&partial).map_err(wrong)?;
    {
        let online = Online::new(&source, &mut target).map_err(wrong)?;
        loop {
            match online.step(STEP.0).map_err(wrong)? {
                StepResult::Done => break,
                StepResult::More => {}
                _ => std::thread::sleep(STEP.1),
            }
        }
    }
    target.close().map_err(|(_, error)| wrong(error))?;
    check(&partial)?;
    fs::File::open(&partial).and_then(|file| file.sync_all()).map_err(at(&partial))?;
    fs::rename(&partial, to).map_err(at(to))
}

fn check(path: &Path) -> Result<(), Failure> {
    let verdict = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .and_then(|connection| connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)));
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(Failure::operation(format!("{} is damaged: {verdict}", path.display())).hint("Use another backup.")),
        Err(error) => {
            Err(Failure::operation(format!("{} is no database: {error}", path.display()))
                .hint("Name a file made by `counterfoild backup`."))
        }
    }
}

/// Moves a database with its journal, which without it would be applied to another.
fn set_aside(path: &Path, aside: &Path) -> Result<(), Failure> {
    for suffix in ["-wal", "-shm", ""] {
        let name = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        let (from, to) = (name(path), name(aside));
        if from.exists() {
            fs::rename(&from, &to).map_err(at(&from))?;
        }
    }
    Ok(())
}

fn dump(url: &str, out: &Path) -> Result<(), Failure> {
    let mut command = Command::new("pg_dump");
    command.arg("--format=custom").arg("--file").arg(out);
    run_tool(command, url, &format!("pg_dump --format=custom --file {} --dbname …", out.display()))
}

fn restore_dump(url: &str, from: &Path, replace: bool) -> Result<(), Failure> {
    let mut command = Command::new("pg_restore");
    command.args(["--exit-on-error", "--single-transaction", "--no-owner"]);
    if replace {
        command.args(["--clean", "--if-exists"]);
    }
    command.arg("--dbname").arg("").arg(from);
    run_tool(command, url, &format!("pg_restore --single-transaction --no-owner --dbname … {}", from.display()))
}

/// The address goes by the environment where it can: command lines are seen by everybody on the machine.
fn run_tool(mut command: Command, url: &str, by_hand: &str) -> Result<(), Failure> {
    let address: tokio_postgres::Config = url.split_once('?').map_or(url, |(address, _)| address).parse().map_err(Failure::operation)?;
    if let Some(tokio_postgres::config::Host::Tcp(host)) = address.get_hosts().first() {
        command.env("PGHOST", host);
    }
    if let Some(port) = address.get_ports().first() {
        command.env("PGPORT", port.to_string());
    }
    for (name, value) in [("PGUSER", address.get_user()), ("PGDATABASE", address.get_dbname())] {
        value.map(|value| command.env(name, value));
    }
    if let Some(password) = address.get_password() {
        command.env("PGPASSWORD", String::from_utf8_lossy(password).into_owned());
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::operation(format!("the tool of PostgreSQL ended with {status}")).hint("Its own words are above.")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::operation("PostgreSQL's client tools are not installed here").hint(format!("Where they are, run: {by_hand}")))
        }
        Err(error) => Err(Failure::operation(error)),
    }
}
