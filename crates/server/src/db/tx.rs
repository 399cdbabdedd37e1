//! The transaction that an action works in, and the statements it runs there.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::error::DbError;
use super::faults::Faults;
use super::row::{FromRow, Row};
use super::value::Value;
use super::watched::Watched;
use super::{postgres, sqlite};

/// One transaction of an action, on either engine.
///
/// A statement that fails ends it: later statements return the same failure, and nothing is written, whatever the action answers. So that
/// both engines behave alike, an action cannot catch a broken constraint and go on; `ON CONFLICT DO NOTHING` and the row count tell the same.
#[derive(Debug)]
pub struct Tx {
    engine: Engine,
    faults: Option<Arc<Faults>>,
    failure: Option<DbError>,
    wrote: bool,
    changed: bool,
    waiting: Rc<Cell<bool>>,
    watched: Watched,
}

#[derive(Debug)]
pub(super) enum Engine {
    Sqlite(Rc<rusqlite::Connection>),
    Postgres(Rc<postgres::Session>),
}

impl Tx {
    pub(super) fn new(engine: Engine, faults: Option<Arc<Faults>>) -> Self {
        Self { engine, faults, failure: None, wrote: false, changed: false, waiting: Rc::default(), watched: Watched::default() }
    }

    /// One whose records somebody may want to be told of.
    pub(super) fn watched_by(self, watched: &Watched) -> Self {
        Self { watched: watched.clone(), ..self }
    }

    /// Whether somebody outside wants to be told of this record of the audit log; costs nothing.
    pub fn is_watched(&self, record: &str) -> bool {
        self.watched.wants(record)
    }

    /// Begins a statement. The text is a literal, so that no input can become part of it; `$1` is what is bound first.
    ///
    /// Both engines must understand it. PostgreSQL wants `CAST($1 AS TEXT)` where nothing else tells the type of `$1`, and
    /// `CAST(sum(x) AS BIGINT)` for sums.
    pub fn query<'a>(&'a mut self, sql: &'static str) -> Query<'a> {
        Query { tx: self, sql, values: Vec::new() }
    }

    /// Says that a guarded statement met a row that somebody else changed since this action read it; return the error, and the facade runs
    /// the action again from the start.
    #[must_use = "return this error"]
    pub fn conflict(&mut self, what: &'static str) -> DbError {
        self.fail(DbError::Conflict(what))
    }

    /// The first failure, which decides about the transaction.
    pub(super) fn take_failure(&mut self) -> Option<DbError> {
        self.failure.take()
    }

    /// Whether anything other than SELECT was run.
    pub(super) fn wrote(&self) -> bool {
        self.wrote
    }

    /// Whether a statement other than SELECT met a row.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Is true while a statement is under way.
    pub(super) fn waiting(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.waiting)
    }

    fn fail(&mut self, error: DbError) -> DbError {
        self.failure.get_or_insert(error).clone()
    }

    fn admit(&mut self, sql: &'static str) -> Result<(), DbError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if let Some(faults) = &self.faults {
            faults.before_statement().map_err(|fault| self.failure.insert(fault).clone())?;
        }
        self.wrote |= writes(sql);
        Ok(())
    }
}

fn writes(sql: &str) -> bool {
    !sql.trim_start().get(..6).is_some_and(|verb| verb.eq_ignore_ascii_case("select"))
}

/// A statement with its values, not run yet.
#[must_use = "a statement runs when one(), opt(), all() or execute() is awaited"]
#[derive(Debug)]
pub struct Query<'a> {
    tx: &'a mut Tx,
    sql: &'static str,
    values: Vec<Value<'a>>,
}

impl<'a> Query<'a> {
    /// Binds the next value: `$1`, `$2` … in order.
    pub fn bind(mut self, value: impl Into<Value<'a>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// The one row.
    ///
    /// # Errors
    /// `NoRow`, `ManyRows`, `Column`, or a failure of the statement.
    pub async fn one<R: FromRow>(self) -> Result<R, DbError> {
        let sql = self.sql;
        self.opt().await?.ok_or(DbError::NoRow(sql))
    }

    /// The row, if there is one.
    ///
    /// # Errors
    /// `ManyRows`, `Column`, or a failure of the statement.
    pub async fn opt<R: FromRow>(self) -> Result<Option<R>, DbError> {
        let sql = self.sql;
        let mut rows = self.rows().await?;
        if rows.len() > 1 {
            return Err(DbError::ManyRows(sql));
        }
        rows.pop().map(Row::read).transpose()
    }

    /// All rows, held in memory: bound them with LIMIT.
    ///
    /// # Errors
    /// `Column`, or a failure of the statement.
    pub async fn all<R: FromRow>(self) -> Result<Vec<R>, DbError> {
        self.rows().await?.into_iter().map(Row::read).collect()
    }

    /// Runs a statement that answers no rows; returns how many it changed.
    ///
    /// # Errors
    /// A failure of the statement.
    pub async fn execute(self) -> Result<u64, DbError> {
        let Self { tx, sql, values } = self;
        tx.admit(sql)?;
        let result = match &tx.engine {
            Engine::Sqlite(connection) => sqlite::execute(connection, sql, &values),
            Engine::Postgres(session) => {
                tx.waiting.set(true);
                let result = session.execute(sql, &values).await;
                tx.waiting.set(false);
                result
            }
        };
        tx.changed |= writes(sql) && matches!(result, Ok(1..));
        result.map_err(|error| tx.fail(error))
    }

    async fn rows(self) -> Result<Vec<Row>, DbError> {
        let Self { tx, sql, values } = self;
        tx.admit(sql)?;
        let result = match &tx.engine {
            Engine::Sqlite(connection) => sqlite::rows(connection, sql, &values),
            Engine::Postgres(session) => {
                tx.waiting.set(true);
                let result = session.rows(sql, &values).await;
                tx.waiting.set(false);
                result
            }
        };
        tx.changed |= writes(sql) && matches!(&result, Ok(rows) if !rows.is_empty());
        result.map_err(|error| tx.fail(error))
    }
}
