//! A running server: parts put together from the configuration, served over TLS or plainly on loopback, ended in good order.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::app::{App, Parts};
use crate::blobs::Blobs;
use crate::catalogue::Catalogues;
use crate::clock::{Clock, Rng};
use crate::config::{Config, ConfigError};
use crate::db::{Db, DbError};
use crate::delivery::Delivery;
use crate::difference::Differences;
use crate::gateways::{self, listener::PrivateListener};
use crate::inbox_watch::InboxWatch;
use crate::jobs::{self, Jobs, Lead};
use crate::keys::{Keys, KeysError};
use crate::limits::subjects::Subjects;
use crate::roles::ServerRole;
use crate::router;
use crate::store::pressed::Batches;
use crate::store::setting;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The address cannot be listened on.
    #[error("{address}: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// Certificate or key.
    #[error("TLS: {0}")]
    Tls(String),
    /// Neither TLS, nor loopback, nor told that it is meant so.
    #[error("{0} is not loopback, and there is no TLS")]
    Plain(SocketAddr),
    /// `init` was not run.
    #[error("this database belongs to no authority yet")]
    NotInitialized,
}

/// A server that answers requests. Dropping it ends it at once; see [`Running::stop`].
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its parts.
    pub app: App,
    /// Where gateways are let in, if they are.
    pub gateways: Option<PrivateListener>,
    handle: Handle<SocketAddr>,
    task: JoinHandle<std::io::Result<()>>,
    jobs: Jobs,
}

/// Puts the parts together, with the database opened and its schema checked.
///
/// # Errors
/// Whatever is missing or does not fit.
pub async fn assemble(config: Config, address: SocketAddr, db: Db, clock: Clock, rng: Rng) -> Result<App, StartError> {
    let (name, keys) = if config.server.roles.need_database() { identity(&config, &db).await? } else { (String::new(), Keys::absent()) };
    let (blobs, delivery) = (Blobs::connect(&config.contents)?, Delivery::open(&config.contents)?);
    let scheme = if config.has_tls() { "https" } else { "http" };
    let urls = if config.server.public_urls.is_empty() { vec![format!("{scheme}://{address}")] } else { config.server.public_urls.clone() };
    let (batches, outbox, inbox, lead) = (Batches::default(), Notify::new(), InboxWatch::default(), Lead::default());
    let (catalogues, differences) = (Catalogues::default(), Differences::default());
    let subjects = Subjects::new(&config.limits);
    let parts = Parts {
        db,
        blobs,
        delivery,
        keys,
        clock,
        rng,
        config,
        name,
        urls,
        batches,
        catalogues,
        differences,
        outbox,
        subjects,
        inbox,
        lead,
    };
    Ok(App::new(parts))
}

/// Who the authority is, and its keys.
async fn identity(config: &Config, db: &Db) -> Result<(String, Keys), StartError> {
    db.migration_status().await?.check()?;
    db.check_not_moved().await?;
    let name = db.read("authority name", async |tx| setting::find(tx, setting::AUTHORITY_NAME).await).await?;
    let name = name.ok_or(StartError::NotInitialized)?;
    Ok((name, Keys::load(db, config.root_source()).await?))
}

/// Listens and serves with the system's clock and randomness.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let db = match config.server.roles.need_database() {
        true => Db::open_with(&config.database_url()?, config.database_options()?).await?,
        false => Db::absent(),
    };
    start_with(config, db, Clock::System, Rng::System).await
}

/// Listens and serves with these parts.
///
/// # Errors
/// As for [`start`].
pub async fn start_with(config: Config, db: Db, clock: Clock, rng: Rng) -> Result<Running, StartError> {
    let asked = config.server.listen;
    let roles = &config.server.roles;
    if roles.need_database() && !roles.has(ServerRole::Authority) && config.server.public_urls.is_empty() {
        let reason = format!("a process of the roles {roles} must know how terminals reach the authority");
        return Err(ConfigError::Value { key: "server.public_urls", reason }.into());
    }
    if !config.has_tls() && !config.server.allow_plain && !asked.ip().is_loopback() {
        return Err(StartError::Plain(asked));
    }
    let tls = match (&config.tls.cert_file, &config.tls.key_file) {
        (Some(cert), Some(key)) => Some(RustlsConfig::from_config(Arc::new(tls(cert, key)?))),
        _ => None,
    };
    let cannot = |error| StartError::Listen { address: asked, error };
    let listener = TcpListener::bind(asked).map_err(cannot)?;
    listener.set_nonblocking(true).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let app = assemble(config, address, db, clock, rng).await?;
    crate::metrics::install();
    if app.config.server.roles.need_database() {
        // Before the first request, so that nothing happens that nobody is told of.
        crate::webhooks::look(&app).await?;
    }
    let gateways = match app.config.gateways.listen {
        Some(asked) if app.config.server.roles.has(ServerRole::Authority) => Some(gateways::listener::start(&app, asked).await?),
        _ => None,
    };
    let handle = Handle::new();
    let service = router::router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let serving = handle.clone();
    let task = match tls {
        Some(tls) => {
            let server = axum_server::from_tcp_rustls(listener, tls).map_err(cannot)?.handle(serving);
            tokio::spawn(patient(server).serve(service))
        }
        None => {
            let server = axum_server::from_tcp(listener).map_err(cannot)?.handle(serving);
            tokio::spawn(patient(server).serve(service))
        }
    };
    Ok(Running { address, gateways, jobs: jobs::start(&app), app, handle, task })
}

/// Bounds how long a client may take for its headers, so that idle connections cannot pile up.
pub(crate) fn patient<A: axum_server::Address, T>(mut server: axum_server::Server<A, T>) -> axum_server::Server<A, T> {
    let builder = server.http_builder();
    builder.http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(Duration::from_secs(20)).max_buf_size(64 * 1024);
    builder.http2().timer(hyper_util::rt::TokioTimer::new()).keep_alive_interval(Duration::from_secs(30)).max_concurrent_streams(64);
    server
}

/// Certificate chain and key, as files.
pub(crate) fn tls(cert: &Path, key: &Path) -> Result<ServerConfig, StartError> {
    let wrong = |path: &Path, error: &dyn std::fmt::Display| StartError::Tls(format!("{}: {error}", path.display()));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).map_err(|error| wrong(cert, &error))?.collect();
    let chain = chain.map_err(|error| wrong(cert, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| wrong(cert, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl Running {
    /// Where terminals reach it.
    pub fn url(&self) -> String {
        let scheme = if self.app.config.has_tls() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Takes no new requests, lets those under way finish, and closes the database.
    ///
    /// # Errors
    /// What the server ended with.
    pub async fn stop(self) -> std::io::Result<()> {
        // First of all: another process may do the jobs while requests finish here.
        self.jobs.stop().await;
        // Streams would go on for as long as they may.
        self.app.inbox.close();
        let grace = Duration::from_secs(self.app.config.limits.shutdown_seconds);
        self.handle.graceful_shutdown(Some(grace));
        let private = async {
            match self.gateways {
                Some(listener) => listener.stop(grace).await,
                None => Ok(()),
            }
        };
        let (ended, private) = tokio::join!(self.task, private);
        let ended = ended.unwrap_or_else(|error| Err(std::io::Error::other(error))).and(private);
        self.app.db.close().await;
        ended
    }

    /// Returns when the server has ended by itself.
    ///
    /// # Errors
    /// What it ended with.
    pub async fn ended(&mut self) -> std::io::Result<()> {
        (&mut self.task).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }
}
