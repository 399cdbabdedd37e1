//! Finding the server that will do, among all that the address names, within the time allowed.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::error::DbError;
use super::super::options::Settings;
use super::super::url::PostgresTarget;
use super::session::explain;

/// A bare connection; its background task ends with the client.
///
/// All hosts are asked side by side, and the first that has the wanted role is taken: one that is gone, or takes the connection and then
/// says nothing, holds nobody up.
pub(in crate::db) async fn connect(target: &PostgresTarget, settings: &Settings) -> Result<Client, DbError> {
    let tls = match target.hosts.iter().all(|host| host.get_ssl_mode() == SslMode::Disable) {
        true => None,
        false => Some(MakeRustlsConnect::new(tls_config(target)?)),
    };
    let mut asked: FuturesUnordered<_> = target.hosts.iter().map(|host| one(host, tls.clone(), settings)).collect();
    let mut failures = Vec::new();
    let first = async {
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(client) => return Some(client),
                Err(error) => failures.push(error),
            }
        }
        None
    };
    match tokio::time::timeout(settings.connect_for, first).await {
        Ok(Some(client)) => Ok(client),
        Ok(None) => Err(DbError::Lost(failures.join("; "))),
        Err(_) => Err(DbError::Lost("connecting took too long".to_owned())),
    }
}

async fn one(host: &Config, tls: Option<MakeRustlsConnect>, settings: &Settings) -> Result<Client, String> {
    let failed = |error: tokio_postgres::Error| match explain(&error, "connect") {
        DbError::Lost(message) | DbError::Statement { message, .. } => message,
        other => other.to_string(),
    };
    let mut config = host.clone();
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(settings.connect_for);
    }
    match tls {
        None => {
            let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
            tokio::spawn(report(connection));
            Ok(client)
        }
        Some(tls) => {
            let (client, connection) = config.connect(tls).await.map_err(failed)?;
            tokio::spawn(report(connection));
            Ok(client)
        }
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
