//! `counterfoild backup` and `counterfoild restore`

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rusqlite::backup::{Backup as Online, StepResult};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::{Failure, Global, at};
use crate::clock::{Clock, rfc3339};
use crate::db::{Db, DbUrl};

mod postgres;

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
        let url = config.database_url()?;
        let out = if self.out.is_dir() {
            let stamp = rfc3339(Clock::System.now()).replace([':', '-'], "");
            self.out.join(format!("counterfoil-{}.{}", &stamp[..15], if url.file().is_some() { "db" } else { "dump" }))
        } else {
            self.out
        };
        if out.exists() {
            return Err(Failure::refused(format!("{} is there already", out.display()))
                .hint("Backups are never overwritten: choose another name, or a directory."));
        }
        if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
            return Err(Failure::operation(format!("there is no directory {}", parent.display()))
                .hint("Make it, for the user that runs counterfoil to write in; a backup is as secret as the database."));
        }
        let target = out.clone();
        let made = tokio::task::spawn_blocking(move || match url.file() {
            Some(path) => copy(path, &target),
            None => postgres::dump(&url, &target),
        });
        made.await.map_err(Failure::operation)??;
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
        let url = config.database_url()?;
        let (from, to, replace) = (self.from, url.clone(), self.replace);
        let restored = tokio::task::spawn_blocking(move || match to.file() {
            Some(path) => restore_file(&from, path, replace),
            None => postgres::restore(&to, &from, replace),
        });
        let kept = restored.await.map_err(Failure::operation)??;
        let db = Db::open_with(&url, config.database_options()?).await?;
        let status = db.migration_status().await?;
        db.close().await;
        let database = place(&url);
        global.print(&json!({ "database": database, "kept": kept, "schema": status.database }), |_| {
            let migrate = if status.pending.is_empty() { "" } else { "\nNext: `counterfoild migrate`." };
            let kept = kept.as_ref().map(|kept| format!("\nWhat was there is kept: {kept}")).unwrap_or_default();
            format!("restored {database}{kept}{migrate}\nThen `counterfoild audit verify`, with the last checkpoint that you kept.")
        })
    }
}

/// A path, or an address without its password.
fn place(url: &DbUrl) -> String {
    url.file().map_or_else(|| url.to_string(), |path| path.display().to_string())
}

/// Answers with where the file that was there is kept.
fn restore_file(from: &Path, path: &Path, replace: bool) -> Result<Option<String>, Failure> {
    check(from)?;
    let mut kept = None;
    if path.exists() {
        if !replace {
            return Err(Failure::refused(format!("{} is there already", path.display()))
                .hint("Stop every counterfoild, then repeat with --replace: the database that is there is kept beside it."));
        }
        let aside = path.with_extension(format!("replaced-{}", Clock::System.now().0));
        set_aside(path, &aside)?;
        kept = Some(aside.display().to_string());
    }
    copy(from, path)?;
    Ok(kept)
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
