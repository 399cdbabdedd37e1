//! The database beside its servers: looked into, and damaged on purpose.

use crate::authority::Failure;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Where the servers keep their rows.
#[derive(Clone, Debug)]
pub enum Database {
    /// The file.
    Sqlite(PathBuf),
    /// The URL; `psql` talks to it.
    Postgres(String),
}

impl Database {
    /// That of a server whose data lie in `data`, which was given this URL or none.
    pub fn of(data: &Path, url: Option<&str>) -> Database {
        url.map_or_else(|| Database::Sqlite(data.join("counterfoil.db")), |url| Database::Postgres(url.to_owned()))
    }

    /// Runs statements, separated by semicolons; on PostgreSQL in one transaction.
    ///
    /// # Errors
    /// What the database said.
    pub fn execute(&self, sql: &str) -> Result<(), Failure> {
        match self {
            Database::Sqlite(path) => open(path)?.execute_batch(sql).map_err(|error| Failure::Broken(format!("{sql}: {error}"))),
            Database::Postgres(url) => psql(url, sql).map(drop),
        }
    }

    /// The one number that a query answers with.
    ///
    /// # Errors
    /// What the database said, or that it is no number.
    pub fn number(&self, sql: &str) -> Result<i64, Failure> {
        match self {
            Database::Sqlite(path) => {
                open(path)?.query_row(sql, [], |row| row.get(0)).map_err(|error| Failure::Broken(format!("{sql}: {error}")))
            }
            Database::Postgres(url) => {
                let said = psql(url, sql)?;
                said.trim().parse().map_err(|_| Failure::Broken(format!("{sql}: {said:?} is no number")))
            }
        }
    }

    /// The rows that a query answers with, of one column of text.
    ///
    /// # Errors
    /// What the database said.
    pub fn lines(&self, sql: &str) -> Result<Vec<String>, Failure> {
        match self {
            Database::Sqlite(path) => {
                let said = || -> rusqlite::Result<Vec<String>> {
                    let database = rusqlite::Connection::open(path)?;
                    database.busy_timeout(Duration::from_secs(10))?;
                    let mut statement = database.prepare(sql)?;
                    statement.query_map([], |row| row.get(0))?.collect()
                };
                said().map_err(|error| Failure::Broken(format!("{sql}: {error}")))
            }
            Database::Postgres(url) => Ok(psql(url, sql)?.lines().map(str::to_owned).collect()),
        }
    }

    /// An empty database beside this one, in the same cluster; replaced where it is there.
    ///
    /// # Errors
    /// What PostgreSQL said; SQLite has no clusters.
    pub fn beside(&self, name: &str) -> Result<Database, Failure> {
        let Database::Postgres(url) = self else { return Err(Failure::Broken("a database beside another needs PostgreSQL".into())) };
        let (cluster, own) = url.rsplit_once('/').ok_or_else(|| Failure::Broken(format!("{url} names no database")))?;
        for sql in [format!("DROP DATABASE IF EXISTS {own}_{name} WITH (FORCE)"), format!("CREATE DATABASE {own}_{name}")] {
            psql(&format!("{cluster}/postgres"), &sql)?;
        }
        Ok(Database::Postgres(format!("{url}_{name}")))
    }

    /// User and system seconds of all that serve connections to it, on this machine; SQLite's are the server's own.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let Database::Postgres(url) = self else { return None };
        let pids = psql(url, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").ok()?;
        Some(pids.lines().filter_map(|pid| crate::server::cpu_seconds(pid.parse().ok()?)).sum())
    }

    /// A second database that holds the same rows and goes its own way from now on. Nobody may be connected to this one.
    ///
    /// # Errors
    /// What PostgreSQL said; SQLite has no servers that could be split.
    pub fn fork(&self) -> Result<Database, Failure> {
        let Database::Postgres(url) = self else { return Err(Failure::Broken("a fork needs PostgreSQL".into())) };
        let (cluster, name) = url.rsplit_once('/').ok_or_else(|| Failure::Broken(format!("{url} names no database")))?;
        psql(&format!("{cluster}/postgres"), &format!("CREATE DATABASE {name}_fork TEMPLATE {name}"))?;
        Ok(Database::Postgres(format!("{url}_fork")))
    }

    /// Ends a fork.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub fn drop_fork(&self) -> Result<(), Failure> {
        let Database::Postgres(url) = self else { return Ok(()) };
        let (cluster, name) = url.rsplit_once('/').ok_or_else(|| Failure::Broken(format!("{url} names no database")))?;
        psql(&format!("{cluster}/postgres"), &format!("DROP DATABASE {name} WITH (FORCE)")).map(drop)
    }

    /// Puts every license that has moved onto another device of its user: the transfer is forgotten, and two may think that they have it. False
    /// where there is no transfer to forget. What an exchange has moved to a device that has not registered yet stays: its registration would
    /// put it right again.
    ///
    /// # Errors
    /// What the database said.
    pub fn forget_transfers(&self) -> Result<bool, Failure> {
        let moved = "moves > 0 AND state <> 'ended' AND EXISTS (SELECT 1 FROM user_device d WHERE d.user_id = license.user_id
               AND d.device_id <> license.device_id)
             AND EXISTS (SELECT 1 FROM user_device d WHERE d.user_id = license.user_id AND d.device_id = license.device_id)
             AND NOT EXISTS (SELECT 1 FROM license o WHERE o.user_id = license.user_id AND o.entitlement_id = license.entitlement_id
               AND o.license_id <> license.license_id)";
        if self.number(&format!("SELECT count(*) FROM license WHERE {moved}"))? == 0 {
            return Ok(false);
        }
        self.execute(&format!(
            "UPDATE license SET device_id = (SELECT min(d.device_id) FROM user_device d WHERE d.user_id = license.user_id
               AND d.device_id <> license.device_id) WHERE {moved}"
        ))?;
        Ok(true)
    }

    /// Makes the database forget that a medium was claimed: the bug that every run here exists to find.
    ///
    /// # Errors
    /// What the database said.
    pub fn forget(&self, medium: &str) -> Result<(), Failure> {
        self.execute(&format!(
            "DELETE FROM grants WHERE medium_id = '{medium}'; DELETE FROM medium WHERE medium_id = '{medium}';
             DELETE FROM request WHERE family = '{medium}'"
        ))
    }
}

/// A PostgreSQL of one's own, started by `scripts/postgres`; ended when dropped.
pub struct Throwaway {
    directory: tempfile::TempDir,
    /// Of a database in it.
    pub url: String,
}

impl Throwaway {
    /// Starts it, on a free port.
    ///
    /// # Errors
    /// Where PostgreSQL is not installed, and cannot be.
    pub fn start() -> Result<Throwaway, Failure> {
        let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
        let output = script(directory.path(), "start").output().map_err(|error| Failure::Io("starting scripts/postgres", error))?;
        if !output.status.success() {
            return Err(Failure::Broken(format!("scripts/postgres start: {}", String::from_utf8_lossy(&output.stderr))));
        }
        Ok(Throwaway { directory, url: String::from_utf8_lossy(&output.stdout).trim().to_owned() })
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        // What cannot be stopped is told by scripts/postgres itself, on stderr.
        let _ = script(self.directory.path(), "stop").status();
    }
}

fn script(directory: &Path, what: &str) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres"));
    // Not the directory itself, which the script would delete and another user could not enter.
    command.arg(what).env("COUNTERFOIL_POSTGRES_DIR", directory.with_extension("postgres"));
    command
}

fn open(path: &Path) -> Result<rusqlite::Connection, Failure> {
    let opened = rusqlite::Connection::open(path).and_then(|database| {
        database.busy_timeout(Duration::from_secs(10))?;
        Ok(database)
    });
    opened.map_err(|error| Failure::Broken(format!("{}: {error}", path.display())))
}

fn psql(url: &str, sql: &str) -> Result<String, Failure> {
    let output = Command::new("psql")
        .args(["-qXAt", "-v", "ON_ERROR_STOP=1", "-c", sql, url])
        .output()
        .map_err(|error| Failure::Io("starting psql", error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::Broken(format!("psql: {sql}: {}", String::from_utf8_lossy(&output.stderr))))
}
