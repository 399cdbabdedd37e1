//! A gateway as the authority sees it: how it is let in and kept out, what it is told, and what it owes (C16, C17).

mod admitted;
mod books;
mod certificates;
mod pace;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use counterfoil_core::Timestamp;
use counterfoil_core::wire::{AUTHORITY_NAME, EnrolToken, Enrolled};
use counterfoil_server::app::App;
use counterfoil_server::clock::Clock;
use counterfoil_server::config::Config;
use counterfoil_server::gateways::listener::{self, PrivateListener};
use rcgen::{CertificateParams, KeyPair};
use reqwest::{Client, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use crate::support::TestDb;
use crate::support::catalogue::{NOW, TestServer, request};

/// How long something that comes within a second or two is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// An authority with its private listener.
pub struct Private {
    pub server: TestServer,
    pub listener: PrivateListener,
}

impl Private {
    pub async fn new(db: &TestDb) -> Self {
        Self::with(db, |_| ()).await
    }

    /// The same, configured otherwise.
    pub async fn with(db: &TestDb, configure: impl FnOnce(&mut Config)) -> Self {
        let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let server = TestServer::with(db, |config| {
            config.gateways.listen = Some(here);
            configure(config);
        })
        .await;
        let listener = listener::start(&server.app, here).await.unwrap();
        Self { server, listener }
    }

    /// A gateway of the operator's making.
    pub async fn made(&self, name: &str) -> String {
        let body = json!({ "name": name, "share": 3000 });
        let made = self.server.post(&self.server.operator, "/v1/gateways", &body).await.expect(201);
        made["gateway"].as_str().unwrap().to_owned()
    }

    pub async fn token(&self, gateway: &str) -> String {
        let made = self.server.post(&self.server.operator, &format!("/v1/gateways/{gateway}/token"), &json!({})).await.expect(201);
        made["token"].as_str().unwrap().to_owned()
    }

    pub async fn end(&self, gateway: &str) {
        let end = request(Method::DELETE, &format!("/v1/gateways/{gateway}"), &self.server.operator).body(axum::body::Body::empty());
        self.server.send(end.unwrap()).await.expect(204);
    }

    /// A gateway, enrolled.
    pub async fn enrolled(&self, name: &str) -> Gateway {
        let id = self.made(name).await;
        let token = self.token(&id).await;
        let key = KeyPair::generate().unwrap();
        let answer = self.enrol(&token, &key).await;
        assert_eq!(answer.status(), 200);
        Gateway { id, key, papers: answer.json().await.unwrap() }
    }

    pub async fn enrol(&self, token: &str, key: &KeyPair) -> Response {
        let ask = json!({ "token": token, "request": asked_for(key) });
        self.stranger().post(self.url("/v1/gateway/enrol")).json(&ask).send().await.unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{AUTHORITY_NAME}:{}{path}", self.listener.address.port())
    }

    /// Who has no certificate, and trusts what the token of enrolment pins.
    pub fn stranger(&self) -> Client {
        self.client(TrustsAll::config(None))
    }

    /// Whoever has this certificate, and trusts these authorities.
    pub fn somebody(&self, certificate: &str, key: &KeyPair, authorities: &str) -> Client {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(At(self.server.app.clock.clone())))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        self.client(config)
    }

    fn client(&self, config: ClientConfig) -> Client {
        let client = Client::builder().tls_backend_preconfigured(config).no_proxy().tls_info(true).http1_only();
        client.resolve(AUTHORITY_NAME, self.listener.address).build().unwrap()
    }

    /// Sets the clock of everybody.
    pub fn at(&self, days: i64) {
        self.server.app.clock.set(Timestamp(NOW.0 + days * Timestamp::DAY));
    }

    pub fn app(&self) -> &App {
        &self.server.app
    }
}

/// A gateway that was let in.
pub struct Gateway {
    pub id: String,
    pub key: KeyPair,
    pub papers: Enrolled,
}

impl Gateway {
    pub fn client(&self, at: &Private) -> Client {
        at.somebody(&self.papers.certificate, &self.key, &self.papers.authorities)
    }

    /// What it is answered at an address, where the connection is made at all.
    pub async fn get(&self, at: &Private, path: &str) -> Result<(u16, Value), reqwest::Error> {
        said(self.client(at).get(at.url(path)).send().await?).await
    }
}

pub async fn said(answer: Response) -> Result<(u16, Value), reqwest::Error> {
    Ok((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
}

/// A request for a certificate, PEM.
pub fn asked_for(key: &KeyPair) -> String {
    CertificateParams::default().serialize_request(key).unwrap().pem().unwrap()
}

pub fn pin(token: &str) -> [u8; 32] {
    EnrolToken::parse(token).unwrap().pin
}

/// The clock of the test, for both ends of a connection.
#[derive(Debug)]
struct At(Clock);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now().0.unsigned_abs())))
    }
}

/// Looks at nothing: what the listener shows before anybody is enrolled is looked at by the tests of its certificates.
#[derive(Debug)]
struct TrustsAll;

impl TrustsAll {
    fn config(own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustsAll));
        match own {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
            None => config.with_no_client_auth(),
        }
    }
}

impl rustls::client::danger::ServerCertVerifier for TrustsAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 alone".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
