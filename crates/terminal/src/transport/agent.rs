//! The HTTP client of terminal and publisher: rustls, the certificate authorities that are trusted, and how long is waited.

use super::TransportError;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection, name lookup and TLS included.
    pub connect: Duration,
    /// For a whole exchange. Not applied to content, which takes as long as it takes.
    pub exchange: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), exchange: Duration::from_secs(60) }
    }
}

/// An HTTP client that trusts the public certificate authorities and, where given, those of a PEM file.
///
/// # Errors
/// [`TransportError::Certificates`].
pub fn agent(ca: Option<&Path>, timeouts: Timeouts) -> Result<ureq::Agent, TransportError> {
    use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder().provider(TlsProvider::Rustls).unversioned_rustls_crypto_provider(provider);
    let tls = match ca {
        None => tls.root_certs(RootCerts::WebPki),
        // Whoever names a certificate authority means that one: the public ones would only widen whom a private server is believed from.
        Some(path) => tls.root_certs(RootCerts::Specific(Arc::new(certificates(path)?))),
    };
    let config = ureq::Agent::config_builder()
        .tls_config(tls.build())
        .timeout_connect(Some(timeouts.connect))
        .timeout_recv_response(Some(timeouts.exchange))
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("counterfoil/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(config.into())
}

fn certificates(path: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>, TransportError> {
    let bad = |reason: String| TransportError::Certificates { path: path.to_owned(), reason };
    let pem = fs::read(path).map_err(|error| bad(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let ureq::tls::PemItem::Certificate(certificate) = item.map_err(|error| bad(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(bad("it holds no certificate".into())) } else { Ok(certificates) }
}
