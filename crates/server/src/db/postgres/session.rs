//! One connection to PostgreSQL with the statements it has prepared.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::Settings;
use super::super::error::DbError;
use super::super::row::Row;
use super::super::url::PostgresTarget;
use super::super::value::Value;
use super::{Access, milliseconds};

pub(in crate::db) struct Session {
    client: Client,
    access: Access,
    // By text: the same literal may have several addresses. Dropped with the session, and so never older than its connection.
    prepared: RefCell<HashMap<&'static str, Statement>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects within the time allowed and sets what every session has: limits on waiting, and for readers that they only read.
    pub(in crate::db) async fn connect(target: &PostgresTarget, settings: &Settings, access: Access) -> Result<Self, DbError> {
        let client = connect(target, settings).await?;
        let limit = milliseconds(settings.attempt_for);
        let mut setup = format!(
            "SET statement_timeout = {limit}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {limit}",
            limit / 2 + 1
        );
        if access == Access::Read {
            setup += "; SET default_transaction_read_only = on";
        }
        client.batch_execute(&setup).await.map_err(|error| explain(&error, "SET"))?;
        Ok(Self { client, access, prepared: RefCell::default() })
    }

    pub(in crate::db) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(in crate::db) async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, DbError> {
        let run = async {
            let statement = self.prepare(sql).await?;
            let mut stream = std::pin::pin!(self.client.query_raw(&statement, values).await?);
            let mut rows = Vec::new();
            while let Some(row) = stream.try_next().await? {
                let values = (0..row.len()).map(|column| row.try_get(column)).collect::<Result<Vec<_>, _>>()?;
                rows.push(Row::new(values, sql));
            }
            Ok(rows)
        };
        run.await.map_err(|error| self.explain(&error, sql))
    }

    pub(in crate::db) async fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, DbError> {
        let run = async {
            let statement = self.prepare(sql).await?;
            self.client.execute_raw(&statement, values).await
        };
        run.await.map_err(|error| self.explain(&error, sql))
    }

    /// Begins or ends a transaction.
    pub(super) async fn control(&self, sql: &'static str) -> Result<(), DbError> {
        self.client.batch_execute(sql).await.map_err(|error| match explain(&error, sql) {
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

    async fn prepare(&self, sql: &'static str) -> Result<Statement, tokio_postgres::Error> {
        let known = self.prepared.borrow().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.prepared.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }
}

/// A bare connection; its background task ends with the client.
pub(in crate::db) async fn connect(target: &PostgresTarget, settings: &Settings) -> Result<Client, DbError> {
    let mut config = target.config.clone();
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(settings.connect_for);
    }
    let attempt = async {
        if config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = config.connect(NoTls).await.map_err(|error| explain(&error, "connect"))?;
            tokio::spawn(report(connection));
            return Ok(client);
        }
        let tls = MakeRustlsConnect::new(tls_config(target)?);
        let (client, connection) = config.connect(tls).await.map_err(|error| explain(&error, "connect"))?;
        tokio::spawn(report(connection));
        Ok(client)
    };
    // The limit of `config` is for TCP alone, this one for TLS and log-in as well.
    match tokio::time::timeout(settings.connect_for, attempt).await {
        Ok(result) => result.map_err(|error| match error {
            DbError::Statement { message, .. } => DbError::Lost(message),
            other => other,
        }),
        Err(_) => Err(DbError::Lost("connecting took too long".to_owned())),
    }
}

async fn report(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::warn!(%error, "a connection to PostgreSQL ended");
    }
}

fn tls_config(target: &PostgresTarget) -> Result<rustls::ClientConfig, DbError> {
    let mut roots = rustls::RootCertStore::empty();
    match &target.root_certificates {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let bad = |error: &dyn std::fmt::Display| DbError::Url(format!("sslrootcert {}: {error}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
                roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DbError::Url(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn explain(error: &tokio_postgres::Error, sql: &'static str) -> DbError {
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
    ];
    // Serialization failure, deadlock, lock timeout: the session is fine, the transaction must be run again.
    if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE].contains(code) {
        return DbError::Conflict("a row");
    }
    match code.code().get(..2) {
        Some("23") => DbError::Constraint(message),
        // Connection, resources, operator's intervention, system error.
        Some("08" | "53" | "57" | "58") => DbError::Lost(message),
        _ if cached_plan || lost.contains(code) => DbError::Lost(message),
        _ => DbError::Statement { sql, message },
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}
