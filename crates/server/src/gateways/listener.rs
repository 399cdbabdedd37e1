//! The private listener (C16): TLS 1.3 and nothing else, for whoever has a certificate of the authority's own or is about to get one.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures_util::future::BoxFuture;
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{JoinHandle, JoinSet};
use tower::Layer as _;

use super::caller::{Fingerprint, Live};
use super::issuer::{self, GOOD_FOR, Issuers};
use super::router;
use crate::app::App;
use crate::clock::Clock;
use crate::problem::Problem;
use crate::server::{StartError, patient};

/// How often it is looked whether there are other issuers, or the certificate is to be renewed.
const LOOK: Duration = Duration::from_secs(5);

/// A private listener that answers. Dropping it ends it at once; see [`PrivateListener::stop`].
pub struct PrivateListener {
    /// Where it listens.
    pub address: SocketAddr,
    handle: Handle<SocketAddr>,
    task: JoinHandle<io::Result<()>>,
    identity: Arc<Identity>,
    /// What goes on beside the requests.
    _beside: JoinSet<()>,
}

/// Listens at an address.
///
/// # Errors
/// Where it cannot be listened, or the keys cannot be used.
pub async fn start(app: &App, asked: SocketAddr) -> Result<PrivateListener, StartError> {
    let cannot = |error| StartError::Listen { address: asked, error };
    let listener = TcpListener::bind(asked).map_err(cannot)?;
    listener.set_nonblocking(true).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let identity = Arc::new(Identity::make(app, address.ip()).await?);
    let (handle, live) = (Handle::new(), Live::default());
    let service = router::router(app, &live).into_make_service_with_connect_info::<SocketAddr>();
    let acceptor = WithFingerprint(RustlsAcceptor::new(identity.tls.clone()));
    let server = axum_server::from_tcp(listener).map_err(cannot)?.handle(handle.clone()).acceptor(acceptor);
    let task = tokio::spawn(patient(server).serve(service));
    let mut beside = JoinSet::new();
    beside.spawn(live.look_forever(app.clone()));
    beside.spawn(renew_forever(app.clone(), Arc::clone(&identity)));
    Ok(PrivateListener { address, handle, task, identity, _beside: beside })
}

impl PrivateListener {
    /// Shows another certificate, where the one in use has had its time, is by an issuer that signs no more, or others are to be let in. It
    /// happens by itself every few seconds.
    ///
    /// # Errors
    /// Failures of the database; the one in use stays.
    pub async fn renew(&self, app: &App) -> Result<(), Problem> {
        self.identity.renew(app).await
    }

    /// Takes no new requests, and lets those under way finish for as long as is given.
    ///
    /// # Errors
    /// What it ended with.
    pub async fn stop(mut self, grace: Duration) -> io::Result<()> {
        self.handle.graceful_shutdown(Some(grace));
        (&mut self.task).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

impl Drop for PrivateListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the listener shows, and whom it lets in: replaced as a whole, while connections go on.
struct Identity {
    at: IpAddr,
    tls: RustlsConfig,
    shown: Mutex<Shown>,
}

/// What the configuration in use was made of.
struct Shown {
    issuers: Issuers,
    signed_by: String,
    renew_at: i64,
}

impl Identity {
    async fn make(app: &App, at: IpAddr) -> Result<Self, StartError> {
        let wrong = |problem: Problem| StartError::Tls(problem.to_string());
        let (config, shown) = configured(app, at, load(app).await?).map_err(wrong)?;
        Ok(Self { at, tls: RustlsConfig::from_config(config), shown: Mutex::new(shown) })
    }

    async fn renew(&self, app: &App) -> Result<(), Problem> {
        let (issuers, now) = (load(app).await?, app.clock.now());
        let current = {
            let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            now.0 < shown.renew_at && shown.issuers.same_as(&issuers) && shown.signed_by == issuers.current_name(now)?
        };
        if !current {
            let (config, shown) = configured(app, self.at, issuers)?;
            self.tls.reload_from_config(config);
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        }
        Ok(())
    }
}

async fn renew_forever(app: App, identity: Arc<Identity>) {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Err(problem) = identity.renew(&app).await {
            tracing::warn!(error = %problem, "the private listener's certificate could not be looked after; the one in use stays");
        }
    }
}

async fn load(app: &App) -> Result<Issuers, crate::keys::KeysError> {
    Issuers::load(&app.db, &app.keys, &app.name, app.clock.now(), &app.rng).await
}

fn configured(app: &App, at: IpAddr, issuers: Issuers) -> Result<(Arc<ServerConfig>, Shown), Problem> {
    let now = app.clock.now();
    let own = issuers.sign_listener(at, now, &app.rng)?;
    let mut roots = RootCertStore::empty();
    for certificate in issuers.accepted(now) {
        roots.add(certificate).map_err(Problem::internal)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // Without a certificate one gets no further than to where certificates are given out: the layer of every other route asks for one.
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).allow_unauthenticated();
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(AppTime(app.clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Problem::internal)?
        .with_client_cert_verifier(clients.build().map_err(Problem::internal)?)
        .with_single_cert(own.chain, own.key)
        .map_err(Problem::internal)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let signed_by = issuers.current_name(now)?.to_owned();
    Ok((Arc::new(config), Shown { issuers, signed_by, renew_at: now.0 + GOOD_FOR / 3 * 2 }))
}

/// The server's clock, for the ends of certificates.
#[derive(Debug)]
struct AppTime(Clock);

impl TimeProvider for AppTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now().0.try_into().ok()?)))
    }
}

/// Tells every request of a connection the certificate that it was opened with.
#[derive(Clone)]
struct WithFingerprint(RustlsAcceptor);

impl<I, S> Accept<I, S> for WithFingerprint
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Send + 'static,
{
    type Stream = <RustlsAcceptor as Accept<I, S>>::Stream;
    type Service = AddExtension<S, Option<Fingerprint>>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let acceptor = self.0.clone();
        Box::pin(async move {
            let (stream, service) = acceptor.accept(stream, service).await?;
            let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let fingerprint = certificate.map(|certificate| Fingerprint(issuer::fingerprint(certificate)));
            let service = Extension(fingerprint).layer(service);
            Ok((stream, service))
        })
    }
}
