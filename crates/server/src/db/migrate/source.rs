//! The SQLite database that is moved: its tables in order, its rows page by page, and the lock that closes it for writes.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params_from_iter};

use super::super::error::DbError;
use super::super::moved::{MOVED_TO, MOVING_TO};
use super::super::value::Value;
use super::families::{in_order, placements};
use super::rows::{Column, Kind, Range, Table, Values, quoted};

/// Rows and bytes of a page: whichever is reached first.
const PAGE: (usize, usize) = (2000, 4 << 20);

/// Longest to wait for the servers to let go of the write lock between two of their commits.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Source {
    connection: Connection,
}

/// A few rows in the order of the key.
pub(super) struct Page {
    pub(super) rows: Vec<Values>,
    /// Whether none come after them.
    pub(super) last: bool,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, DbError> {
        if !path.exists() {
            return Err(DbError::Migration(format!("there is no file {}", path.display())));
        }
        let connection = super::sqlite::open_writer(path)?;
        connection.busy_timeout(PATIENCE).map_err(explain)?;
        Ok(Self { connection })
    }

    /// Version of the schema; 0 when there is none.
    pub(super) fn schema(&self) -> Result<i64, DbError> {
        let begun = self.connection.table_exists(None, "refinery_schema_history").map_err(explain)?;
        let newest = || self.connection.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0));
        if begun { newest().map_err(explain) } else { Ok(0) }
    }

    /// The tables that there are, each after those that it points to.
    pub(super) fn tables(&self) -> Result<Vec<Table>, DbError> {
        let names: Vec<String> = self.texts(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> 'refinery_schema_history'",
            [],
        )?;
        let known = placements();
        let differs = |name: &&String| !known.contains_key(*name);
        if let Some(name) = names.iter().find(differs).or_else(|| known.keys().find(|name| !names.contains(name))) {
            return Err(DbError::Migration(format!("the table {name} is in the source or in this version, and not in both")));
        }
        let mut points_to = Vec::new();
        for name in &names {
            let targets = self.texts("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?1)", [name])?;
            points_to.extend(targets.into_iter().map(|target| (name.clone(), target)));
        }
        in_order(&names, &points_to)?.into_iter().map(|name| self.table(name)).collect()
    }

    fn table(&self, name: String) -> Result<Table, DbError> {
        let mut statement = self.connection.prepare("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid").map_err(explain)?;
        let read = |row: &rusqlite::Row<'_>| {
            let (kind, key): (String, i64) = (row.get(1)?, row.get(2)?);
            let kind = match kind.as_str() {
                "INTEGER" => Kind::Int,
                "BLOB" => Kind::Bytes,
                _ => Kind::Text,
            };
            Ok(Column { name: row.get(0)?, kind, key: usize::try_from(key - 1).ok() })
        };
        let columns: rusqlite::Result<Vec<_>> = statement.query_map([&name], read).map_err(explain)?.collect();
        Ok(Table { name, columns: columns.map_err(explain)? })
    }

    fn texts<P: rusqlite::Params>(&self, sql: &str, values: P) -> Result<Vec<String>, DbError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(explain)?;
        statement.query_map(values, |row| row.get(0)).map_err(explain)?.collect::<rusqlite::Result<_>>().map_err(explain)
    }

    /// Rows of a table, roughly: how far there is to go.
    pub(super) fn count(&self, table: &Table) -> Result<u64, DbError> {
        let sql = format!("SELECT count(*) FROM {}", quoted(&table.name));
        let rows: i64 = self.connection.query_row(&sql, [], |row| row.get(0)).map_err(explain)?;
        Ok(rows.unsigned_abs())
    }

    /// The next rows after a key.
    pub(super) fn page(&self, table: &Table, after: Option<&[Value<'static>]>) -> Result<Page, DbError> {
        let (condition, values) = table.condition(Range { after, upto: None });
        let sql = format!("SELECT {} FROM {}{condition} ORDER BY {}", table.list(), quoted(&table.name), table.key_list());
        let mut statement = self.connection.prepare_cached(&sql).map_err(explain)?;
        let mut found = statement.query(params_from_iter(values)).map_err(explain)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next().map_err(explain)? {
            let row: Values = (0..table.columns.len()).map(|column| row.get(column)).collect::<rusqlite::Result<_>>().map_err(explain)?;
            bytes += row.iter().map(size).sum::<usize>();
            check(table, &row)?;
            rows.push(row);
            if rows.len() >= PAGE.0 || bytes >= PAGE.1 {
                return Ok(Page { rows, last: false });
            }
        }
        Ok(Page { rows, last: true })
    }

    /// From here on it sees one state of the database, while servers go on writing.
    pub(super) fn look(&self) -> Result<(), DbError> {
        self.run("BEGIN")
    }

    /// Ends what `look` or `close` began; nothing is changed.
    pub(super) fn let_go(&self) -> Result<(), DbError> {
        if self.connection.is_autocommit() { Ok(()) } else { self.run("ROLLBACK") }
    }

    /// Closes the database for writes: nobody else gets SQLite's write lock until this process lets it go, or is gone.
    /// Whoever waits for the lock finds the note, and can say why.
    pub(super) fn close(&self, to: &str) -> Result<(), DbError> {
        self.note(MOVING_TO, to)?;
        self.run("BEGIN IMMEDIATE")
    }

    /// Opens it again after a move that failed.
    pub(super) fn reopen(&self) -> Result<(), DbError> {
        self.let_go()?;
        self.connection.execute("DELETE FROM setting WHERE name = $1", [MOVING_TO]).map(drop).map_err(explain)
    }

    /// Marks it as moved and lets the lock go, in the transaction that has closed it.
    pub(super) fn moved(&self, to: &str) -> Result<(), DbError> {
        self.connection.execute("DELETE FROM setting WHERE name = $1", [MOVING_TO]).map_err(explain)?;
        self.note(MOVED_TO, to)?;
        self.run("COMMIT")
    }

    /// Where it was moved to, if it was.
    pub(super) fn moved_to(&self) -> Result<Option<String>, DbError> {
        Ok(self.texts("SELECT value FROM setting WHERE name = $1", [MOVED_TO])?.pop())
    }

    fn note(&self, name: &str, value: &str) -> Result<(), DbError> {
        let sql = "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.connection.execute(sql, [name, value]).map(drop).map_err(explain)
    }

    fn run(&self, sql: &str) -> Result<(), DbError> {
        self.connection.execute_batch(sql).map_err(explain)
    }
}

fn size(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 8,
    }
}

/// PostgreSQL's text holds every character but one.
fn check(table: &Table, row: &[Value<'static>]) -> Result<(), DbError> {
    let zero = |value: &Value<'_>| matches!(value, Value::Text(text) if text.contains('\0'));
    match row.iter().position(zero) {
        Some(place) => Err(DbError::Migration(format!(
            "{}.{} holds the character NUL in the row {:?}, which PostgreSQL does not take",
            table.name,
            table.columns[place].name,
            table.key_of(row)
        ))),
        None => Ok(()),
    }
}

fn explain(error: rusqlite::Error) -> DbError {
    DbError::Migration(format!("source: {error}"))
}
