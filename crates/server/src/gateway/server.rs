//! A running gateway: parts put together from the configuration, served over TLS or plainly on loopback, ended in good order.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::app::{App, Parts};
use super::client::{self, Authority};
use super::config::Config;
use super::identity::IdentityError;
use super::operator::{self, Desk};
use super::payments::Payments;
use super::{alerts, driver, post, router};
use crate::clock::{Clock, Rng};
use crate::db::{Db, Tx};
use crate::server::{self, StartError};
use crate::store::setting;

/// Where the operator's pages are reached is written down under this name.
pub const OPERATOR_URL: &str = "operator_url";

/// A gateway that answers requests. Dropping it ends it at once; see [`Running::stop`].
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its parts.
    pub app: App,
    /// Where the operator's pages are reached, where there are any.
    pub operator: Option<String>,
    desk: Option<Served>,
    handle: Handle<SocketAddr>,
    task: JoinHandle<std::io::Result<()>>,
    jobs: JoinSet<()>,
}

impl From<IdentityError> for StartError {
    fn from(error: IdentityError) -> Self {
        Self::Tls(error.to_string())
    }
}

/// Puts the parts together, with the database opened and its schema checked.
///
/// # Errors
/// Whatever is missing or does not fit.
pub async fn assemble(config: Config, address: SocketAddr, db: Db, clock: Clock, rng: Rng) -> Result<App, StartError> {
    db.migration_status().await?.check()?;
    let authority = Authority::open(&config.authority, &clock)?;
    let scheme = if config.has_tls() { "https" } else { "http" };
    let urls = if config.server.public_urls.is_empty() { vec![format!("{scheme}://{address}")] } else { config.server.public_urls.clone() };
    let (relay, payments) = (config.mail.relay()?, Payments::open(&config.payments)?);
    Ok(App::new(Parts { db, authority, clock, rng, config, relay, urls, payments, left: Notify::new() }))
}

/// Listens and serves with the system's clock and randomness.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let db = Db::open_with(&config.database_url()?, config.database_options()).await?;
    start_with(config, db, Clock::System, Rng::System).await
}

/// Listens and serves with these parts.
///
/// # Errors
/// As for [`start`].
pub async fn start_with(config: Config, db: Db, clock: Clock, rng: Rng) -> Result<Running, StartError> {
    let (public, desk) = (config.server.listen, config.operator.listen);
    // A person's session is never sent over a network in plain text, whatever stands before the customers' listener.
    for (asked, allowed) in [(public, config.server.allow_plain), (desk, !config.operator.pages)] {
        if !config.has_tls() && !allowed && !asked.ip().is_loopback() {
            return Err(StartError::Plain(asked));
        }
    }
    let tls = match (&config.tls.cert_file, &config.tls.key_file) {
        (Some(cert), Some(key)) => Some(RustlsConfig::from_config(Arc::new(server::tls(cert, key)?))),
        _ => None,
    };
    let listener = listen(public)?;
    let address = listener.local_addr().map_err(cannot(public))?;
    let app = assemble(config, address, db, clock, rng).await?;
    crate::metrics::install();
    describe();
    let (operator, desk) = match app.config.operator.pages {
        // On loopback it is plain, so that no browser complains about a certificate of another name.
        true => {
            open_desk(&app, desk, tls.clone().filter(|_| !desk.ip().is_loopback())).await.map(|(url, served)| (Some(url), Some(served)))?
        }
        false => (None, None),
    };
    let (handle, task) = serve(router::router(app.clone()), listener, tls).map_err(cannot(public))?;
    let mut jobs = JoinSet::new();
    jobs.spawn(client::keep_forever(app.clone()));
    jobs.spawn(driver::drive_forever(app.clone()));
    jobs.spawn(driver::learn_forever(app.clone()));
    jobs.spawn(alerts::watch_forever(app.clone()));
    jobs.spawn(post::send_forever(app.clone()));
    Ok(Running { address, app, operator, desk, handle, task, jobs })
}

/// The operator's pages on a listener of their own; where that is, is written down for the link that leads there.
async fn open_desk(app: &App, asked: SocketAddr, tls: Option<RustlsConfig>) -> Result<(String, Served), StartError> {
    let listener = listen(asked)?;
    let address = listener.local_addr().map_err(cannot(asked))?;
    let url = format!("{}://{address}", if tls.is_some() { "https" } else { "http" });
    let known = url.clone();
    let note = async move |tx: &mut Tx| setting::put(tx, OPERATOR_URL, &known).await;
    app.db.write("note address", "/gateway", note).await?;
    let desk = Desk::new(app.clone(), tls.is_some());
    let served = serve(operator::router(desk), listener, tls).map_err(cannot(asked))?;
    Ok((url, served))
}

/// A server that runs, and how it is ended.
type Served = (Handle<SocketAddr>, JoinHandle<std::io::Result<()>>);

fn cannot(address: SocketAddr) -> impl FnOnce(std::io::Error) -> StartError {
    move |error| StartError::Listen { address, error }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).map_err(cannot(address))?;
    listener.set_nonblocking(true).map_err(cannot(address))?;
    Ok(listener)
}

fn serve(routes: axum::Router, listener: TcpListener, tls: Option<RustlsConfig>) -> std::io::Result<Served> {
    let handle = Handle::new();
    let (service, serving) = (routes.into_make_service_with_connect_info::<SocketAddr>(), handle.clone());
    let task = match tls {
        Some(tls) => {
            let server = axum_server::from_tcp_rustls(listener, tls)?.handle(serving);
            tokio::spawn(server::patient(server).serve(service))
        }
        None => {
            let server = axum_server::from_tcp(listener)?.handle(serving);
            tokio::spawn(server::patient(server).serve(service))
        }
    };
    Ok((handle, task))
}

fn describe() {
    metrics::describe_gauge!("counterfoil_gateway_alerts_open", "Alerts that are not over, by kind.");
    metrics::describe_gauge!("counterfoil_gateway_mail_waiting", "Mails that wait to be sent.");
    metrics::describe_counter!(
        "counterfoil_gateway_exchanges_total",
        "Exchanges of a gateway by what they came to: charged, voided, undone."
    );
    metrics::describe_gauge!("counterfoil_gateway_exchanges_open", "Exchanges on their way: reserved, committing, undoing.");
    metrics::describe_counter!(
        "counterfoil_gateway_payments_total",
        "Payments by card by what they came to: succeeded, cancelled, lost (the card's promise ended before it was taken)."
    );
    metrics::describe_gauge!("counterfoil_gateway_payments_open", "Payments by card on their way.");
    metrics::describe_counter!("counterfoil_gateway_payment_messages_total", "Messages of the payment provider: taken, refused.");
    metrics::describe_counter!("counterfoil_gateway_disputes_total", "Objections of card holders: opened, won.");
    metrics::describe_gauge!("counterfoil_gateway_oldest_open_seconds", "How long the oldest of them has stood where it stands.");
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
    pub async fn stop(mut self) -> std::io::Result<()> {
        // Whatever it is in the middle of is written down, and taken up again.
        self.jobs.shutdown().await;
        let patience = Duration::from_secs(self.app.config.limits.shutdown_seconds);
        self.handle.graceful_shutdown(Some(patience));
        if let Some((handle, task)) = self.desk.take() {
            handle.graceful_shutdown(Some(patience));
            task.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))?;
        }
        let ended = self.task.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
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
