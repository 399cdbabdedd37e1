//! Who a gateway is to the authority: key and certificate in one file, replaced as a whole, and TLS that trusts nobody but that authority.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_core::Timestamp;
use counterfoil_core::wire::{AUTHORITY_NAME, EnrolToken, Enrolled};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{DangerousClientConfigBuilder, HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::Clock;

/// Why there is no way to the authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not enrolled, or the file cannot be read.
    #[error("{0}")]
    File(String),
    /// What stands in it cannot be used.
    #[error("identity: {0}")]
    Unusable(String),
}

fn unusable(error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Unusable(error.to_string())
}

/// A gateway's key, and what the authority has made of it. It has no way to print itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Private key, PEM.
    key: Zeroizing<String>,
    /// What was answered; nothing where enrolment was begun and not completed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub enrolled: Option<Enrolled>,
    /// SHA-256 of the token that the certificate was given for, in hexadecimal: whoever repeats that enrolment asks with this key. Nothing for a
    /// certificate that was given for the one before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    token: Option<String>,
}

impl Identity {
    /// Draws a key (ECDSA on P-256).
    ///
    /// # Errors
    /// `Unusable`.
    pub fn generate() -> Result<Self, IdentityError> {
        let key = KeyPair::generate().map_err(unusable)?;
        Ok(Self { key: Zeroizing::new(key.serialize_pem()), enrolled: None, token: None })
    }

    /// Notes for which token its certificate is asked.
    #[must_use]
    pub fn for_token(self, token: &EnrolToken) -> Self {
        Self { token: Some(mark(token)), ..self }
    }

    /// Whether its certificate was asked for by this token.
    #[must_use]
    pub fn is_for(&self, token: &EnrolToken) -> bool {
        self.token.as_deref() == Some(&mark(token))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// `File`, `Unusable`.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        let text = fs::read_to_string(path).map(Zeroizing::new).map_err(|error| cannot(path, &error))?;
        serde_json::from_str(&text).map_err(|error| IdentityError::File(format!("{}: {error}", path.display())))
    }

    /// Writes the file: whoever reads it has the old one or the new one, and nobody else can (mode 0600).
    ///
    /// # Errors
    /// `File`.
    pub fn write(&self, path: &Path) -> Result<(), IdentityError> {
        let text = Zeroizing::new(serde_json::to_string_pretty(self).map_err(unusable)?);
        replace(path, text.as_bytes()).map_err(|error| cannot(path, &error))
    }

    /// What a certificate is asked for with (RFC 2986), PEM. The authority decides what stands in the certificate.
    ///
    /// # Errors
    /// `Unusable`.
    pub fn request(&self) -> Result<String, IdentityError> {
        let key = KeyPair::from_pem(&self.key).map_err(unusable)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Counterfoil gateway");
        params.serialize_request(&key).and_then(|request| request.pem()).map_err(unusable)
    }

    fn enrolled(&self) -> Result<&Enrolled, IdentityError> {
        self.enrolled.as_ref().ok_or_else(|| unusable("the authority has given no certificate yet"))
    }

    /// With what the authority has made of it.
    #[must_use]
    pub fn with(self, enrolled: Enrolled) -> Self {
        Self { enrolled: Some(enrolled), ..self }
    }

    /// From when until when the certificate is good.
    ///
    /// # Errors
    /// `Unusable`.
    pub fn validity(&self) -> Result<(Timestamp, Timestamp), IdentityError> {
        let enrolled = self.enrolled()?;
        let chain = certificates(&enrolled.certificate)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).map_err(unusable)?;
        let at = |time: &x509_parser::time::ASN1Time| Timestamp(time.timestamp().saturating_mul(1000));
        Ok((at(&parsed.validity().not_before), at(&parsed.validity().not_after)))
    }

    /// How the authority is spoken to: it alone is believed, and gets this certificate to see.
    ///
    /// # Errors
    /// `Unusable`.
    pub fn tls(&self, clock: &Clock) -> Result<ClientConfig, IdentityError> {
        let enrolled = self.enrolled()?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&enrolled.authorities)? {
            roots.add(root).map_err(unusable)?;
        }
        let believes = Believes::Roots(verifier(roots).map_err(unusable)?);
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(unusable)?;
        let chain = certificates(&enrolled.certificate)?;
        builder(clock)?.with_custom_certificate_verifier(Arc::new(believes)).with_client_auth_cert(chain, key).map_err(unusable)
    }
}

/// How the authority is spoken to before it has given a certificate: it is the one whose own certificate authority has this SHA-256.
///
/// # Errors
/// `Unusable`.
pub fn pinned(pin: [u8; 32], clock: &Clock) -> Result<ClientConfig, IdentityError> {
    Ok(builder(clock)?.with_custom_certificate_verifier(Arc::new(Believes::Pinned(pin))).with_no_client_auth())
}

fn builder(clock: &Clock) -> Result<DangerousClientConfigBuilder, IdentityError> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Time(clock.clone())));
    Ok(builder.with_safe_default_protocol_versions().map_err(unusable)?.dangerous())
}

/// The gateway's clock, for certificates.
#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now().0.unsigned_abs())))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    built.map_err(|error| rustls::Error::General(error.to_string()))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read.map_err(unusable)? {
        none if none.is_empty() => Err(unusable("no certificate in the PEM text")),
        some => Ok(some),
    }
}

/// Looks for the authority's own name, whatever address was dialled, in a certificate that comes from whom it believes.
#[derive(Debug)]
enum Believes {
    /// The certificate authorities that were told at enrolment.
    Roots(Arc<WebPkiServerVerifier>),
    /// The one certificate authority of this SHA-256, which the listener sends along, and no other.
    Pinned([u8; 32]),
}

impl ServerCertVerifier for Believes {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = ServerName::try_from(AUTHORITY_NAME).expect("the constant is a DNS name");
        let verifier = match self {
            Believes::Roots(verifier) => Arc::clone(verifier),
            Believes::Pinned(pin) => {
                let root = intermediates.iter().find(|certificate| sha256(certificate) == *pin).ok_or(CertificateError::UnknownIssuer)?;
                let mut roots = RootCertStore::empty();
                roots.add(root.clone().into_owned())?;
                verifier(roots)?
            }
        };
        verifier.verify_server_cert(end_entity, intermediates, &name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn mark(token: &EnrolToken) -> String {
    sha256(&token.secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// When a certificate is asked for its successor: at two thirds of its life.
pub fn renewal_due(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    Timestamp(not_before.0 + (not_after.0 - not_before.0) / 3 * 2)
}

fn cannot(path: &Path, error: &io::Error) -> IdentityError {
    IdentityError::File(format!("{}: {error}", path.display()))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made with mode 0600, under a name of its own.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(directory)?.sync_all()
}
