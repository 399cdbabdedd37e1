//! One connection to PostgreSQL, and how statements go over it.

use std::cell::RefCell;
use std::collections::HashMap;

use futures_util::TryStreamExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, RowStream, Statement};

use super::super::error::DbError;
use super::super::options::Settings;
use super::super::row::Row;
use super::super::url::PostgresTarget;
use super::super::value::Value;
use super::{Access, connect, milliseconds};

pub(in crate::db) struct Session {
    client: Client,
    access: Access,
    begin: String,
    /// Statements that have been prepared; `None` where names do not last.
    ///
    /// By text: the same literal may have several addresses. Dropped with the session, and so never older than its connection.
    prepared: Option<RefCell<HashMap<&'static str, Statement>>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects within the time allowed. What every statement needs, limits on waiting and "reads only" for readers, is set for the session,
    /// or, where sessions do not last, for each transaction.
    pub(in crate::db) async fn connect(target: &PostgresTarget, settings: &Settings, access: Access) -> Result<Self, DbError> {
        let client = connect(target, settings).await?;
        let limit = milliseconds(settings.attempt_for);
        let limits = |set: &str| {
            format!(
                "{set} statement_timeout = {limit}; {set} lock_timeout = {}; {set} idle_in_transaction_session_timeout = {limit}",
                limit / 2 + 1
            )
        };
        let mut begin = "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned();
        if access == Access::Read {
            begin += " READ ONLY";
        }
        if !settings.named_statements {
            begin += &format!("; {}", limits("SET LOCAL"));
            return Ok(Self { client, access, begin, prepared: None });
        }
        let mut setup = limits("SET");
        if access == Access::Read {
            setup += "; SET default_transaction_read_only = on";
        }
        client.batch_execute(&setup).await.map_err(|error| explain(&error, "SET"))?;
        Ok(Self { client, access, begin, prepared: Some(RefCell::default()) })
    }

    pub(in crate::db) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether statements outside of a transaction have limits, and are kept from writing: the session has been told once and for all.
    pub(super) fn lasts(&self) -> bool {
        self.prepared.is_some()
    }

    pub(in crate::db) async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, DbError> {
        let run = async {
            let mut stream = std::pin::pin!(self.stream(sql, values).await?);
            let mut rows = Vec::new();
            while let Some(row) = stream.try_next().await? {
                let values = (0..row.len()).map(|column| row.try_get(column)).collect::<Result<Vec<_>, _>>()?;
                rows.push(Row::new(values, sql));
            }
            Ok(rows)
        };
        run.await.map_err(|error| self.explain(&error, sql))
    }

    async fn stream(&self, sql: &'static str, values: &[Value<'_>]) -> Result<RowStream, tokio_postgres::Error> {
        match &self.prepared {
            Some(known) => {
                let statement = self.prepare(known, sql).await?;
                self.client.query_raw(&statement, values).await
            }
            None => self.client.query_typed_raw(sql, values.iter().map(|value| (value, kind(value)))).await,
        }
    }

    pub(in crate::db) async fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, DbError> {
        let run = async {
            match &self.prepared {
                Some(known) => {
                    let statement = self.prepare(known, sql).await?;
                    self.client.execute_raw(&statement, values).await
                }
                None => {
                    let typed: Vec<_> = values.iter().map(|value| (value as &(dyn ToSql + Sync), kind(value))).collect();
                    self.client.execute_typed(sql, &typed).await
                }
            }
        };
        run.await.map_err(|error| self.explain(&error, sql))
    }

    /// Begins a transaction, with its limits.
    pub(super) async fn begin(&self) -> Result<(), DbError> {
        self.control(&self.begin).await
    }

    /// Begins or ends a transaction.
    pub(super) async fn control(&self, sql: &str) -> Result<(), DbError> {
        self.client.batch_execute(sql).await.map_err(|error| match explain(&error, "BEGIN, COMMIT or ROLLBACK") {
            DbError::Statement { message, .. } => DbError::Lost(message),
            other => other,
        })
    }

    /// A reader that is told "read only" has a statement that writes; a writer has a server that is no longer the primary.
    fn explain(&self, error: &tokio_postgres::Error, sql: &'static str) -> DbError {
        match error.code() {
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) if self.access == Access::Read => {
                DbError::Statement { sql, message: error.to_string() }
            }
            _ => explain(error, sql),
        }
    }

    async fn prepare(
        &self,
        known: &RefCell<HashMap<&'static str, Statement>>,
        sql: &'static str,
    ) -> Result<Statement, tokio_postgres::Error> {
        let found = known.borrow().get(sql).cloned();
        if let Some(statement) = found {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        known.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }
}

/// What a value is bound as where nobody asks the server first. NULL is whatever the statement makes of it.
fn kind(value: &Value<'_>) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Int(_) => Type::INT8,
        Value::Text(_) => Type::TEXT,
        Value::Bytes(_) => Type::BYTEA,
    }
}

pub(super) fn explain(error: &tokio_postgres::Error, sql: &'static str) -> DbError {
    let Some(db) = error.as_db_error() else {
        let message = std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        // Values that do not fit the statement are this program's fault; anything else here is the connection's.
        return if error.is_closed() || is_io(error) { DbError::Lost(message) } else { DbError::Statement { sql, message } };
    };
    let message = format!("{} ({})", db.message(), db.code().code());
    let code = db.code();
    let cached_plan = *code == SqlState::FEATURE_NOT_SUPPORTED && db.message().contains("cached plan");
    let lost = [
        SqlState::IN_FAILED_SQL_TRANSACTION,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::QUERY_CANCELED,
        SqlState::INVALID_SQL_STATEMENT_NAME,
        SqlState::UNDEFINED_PSTATEMENT,
        // Two clients of one pooler that chose the same name.
        SqlState::DUPLICATE_PSTATEMENT,
    ];
    // Serialization failure, deadlock, lock timeout: the session is fine, the transaction must be run again.
    if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE].contains(code) {
        return DbError::Conflict("a row");
    }
    match code.code().get(..2) {
        Some("23") => DbError::Constraint(message),
        // PostgreSQL's words for a miscounted statement; a pooler uses the same code for everything that goes wrong behind it.
        Some("08") if *code == SqlState::PROTOCOL_VIOLATION && db.message().starts_with("bind message supplies") => {
            DbError::Statement { sql, message }
        }
        // Connection, resources, operator's intervention, system error.
        Some("08" | "53" | "57" | "58") => DbError::Lost(message),
        _ if cached_plan || lost.contains(code) => DbError::Lost(message),
        _ => DbError::Statement { sql, message },
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}
