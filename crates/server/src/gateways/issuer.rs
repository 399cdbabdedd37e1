//! The authority's own certificate authority for gateways: made at first use, its key sealed like the authority's others, rotated without a gap.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_core::wire::AUTHORITY_NAME;
use counterfoil_core::{GatewayId, Timestamp};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer as Signer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::clock::Rng;
use crate::db::{Db, DbError, Tx};
use crate::keys::{Keys, KeysError, Place};
use crate::problem::{ApiCode, Problem};
use crate::store::gateway::issuer::{self, IssuerRow};
use crate::store::{audit, setting};

/// How long a certificate for a gateway or a listener is good, in milliseconds. Both are renewed after two thirds of it.
pub const GOOD_FOR: i64 = 30 * Timestamp::DAY;
/// How long the certificate authority is good.
const AUTHORITY_FOR: i64 = 3650 * Timestamp::DAY;
/// How long an issuer signs beside its successor: within that time every gateway has renewed its certificate, and heard of the new one.
pub const HANDOVER: i64 = GOOD_FOR;

/// A certificate, as it is kept and shown.
pub struct Signed {
    /// DER.
    pub der: CertificateDer<'static>,
    /// PEM.
    pub pem: String,
    /// Until when it is good.
    pub not_after: Timestamp,
}

/// SHA-256 of a certificate, in DER: what gateways pin, and what they are told by.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, der).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// All issuers of an authority, opened: one is in use, others are about to be, or were.
pub struct Issuers(Vec<Issuer>);

struct Issuer {
    row: IssuerRow,
    key: SeedKey,
}

impl Issuers {
    /// Those of the database; the first is made where there is none.
    ///
    /// # Errors
    /// Failures of the database, and keys that do not open.
    pub async fn load(db: &Db, keys: &Keys, authority: &str, now: Timestamp, rng: &Rng) -> Result<Self, KeysError> {
        let mut rows = db.read("gateway issuers", async |tx: &mut Tx| issuer::all(tx).await).await?;
        if rows.is_empty() {
            let row = new(keys, authority, now, rng)?;
            db.write("first gateway issuer", setting::FAMILY, async move |tx: &mut Tx| {
                if issuer::first(tx, &row).await? {
                    audit::append(tx, setting::FAMILY, now.0, ACTOR, "gateway_issuer.made", &json!({ "issuer": row.id })).await?;
                }
                Ok::<_, DbError>(())
            })
            .await?;
            rows = db.read("gateway issuers", async |tx: &mut Tx| issuer::all(tx).await).await?;
        }
        let mut opened = vec![];
        for row in rows {
            let seed: Secret<32> = keys.open(db, &Place::GatewayIssuer { issuer: &row.id }, &row.wrapped).await?;
            opened.push(Issuer { key: SeedKey::new(&seed), row });
        }
        Ok(Self(opened))
    }

    /// A new issuer; the one before signs on for [`HANDOVER`]. Answers with its name.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn rotate(db: &Db, keys: &Keys, authority: &str, now: Timestamp, rng: &Rng) -> Result<String, KeysError> {
        let row = new(keys, authority, now, rng)?;
        let id = row.id.clone();
        db.write("rotate gateway issuer", setting::FAMILY, async move |tx: &mut Tx| {
            issuer::replace(tx, &row, Timestamp(now.0 + HANDOVER)).await?;
            audit::append(tx, setting::FAMILY, now.0, ACTOR, "gateway_issuer.rotated", &json!({ "issuer": row.id })).await
        })
        .await?;
        Ok(id)
    }

    /// Whether these are the same ones: nothing was made or retired since.
    pub fn same_as(&self, other: &Self) -> bool {
        let ids = |of: &Self| of.0.iter().map(|issuer| (issuer.row.id.clone(), issuer.row.retired_at)).collect::<Vec<_>>();
        ids(self) == ids(other)
    }

    /// The one that signs: the old one until it is retired, because by then everybody has heard of the new one.
    fn current(&self, now: Timestamp) -> Result<&Issuer, Problem> {
        let usable = self.0.iter().filter(|issuer| issuer.row.retired_at.is_none_or(|at| now < at));
        let first = usable.min_by_key(|issuer| issuer.row.retired_at.map_or(i64::MAX, |at| at.0));
        first.ok_or_else(|| Problem::internal("there is no issuer of certificates for gateways"))
    }

    /// Name of the one that signs.
    ///
    /// # Errors
    /// None signs, which cannot be.
    pub fn current_name(&self, now: Timestamp) -> Result<&str, Problem> {
        Ok(&self.current(now)?.row.id)
    }

    /// Name of the one that signs, and when it comes to its end.
    ///
    /// # Errors
    /// None signs, which cannot be.
    pub fn current_end(&self, now: Timestamp) -> Result<(&str, Timestamp), Problem> {
        let row = &self.current(now)?.row;
        Ok((&row.id, Timestamp(row.created_at.0 + AUTHORITY_FOR)))
    }

    /// What a gateway that is to be enrolled knows the listener by.
    ///
    /// # Errors
    /// None signs, which cannot be.
    pub fn pin(&self, now: Timestamp) -> Result<[u8; 32], Problem> {
        Ok(fingerprint(&self.current(now)?.row.certificate))
    }

    /// Whose certificates gateways may come with: those that sign, and those that did for as long as what they have signed is good.
    pub fn accepted(&self, now: Timestamp) -> Vec<CertificateDer<'static>> {
        let accepted = self.0.iter().filter(|issuer| issuer.row.retired_at.is_none_or(|at| now.0 < at.0 + GOOD_FOR));
        accepted.map(|issuer| CertificateDer::from(issuer.row.certificate.clone())).collect()
    }

    /// The certificates that a gateway has to trust, PEM, the one in use first.
    ///
    /// # Errors
    /// None signs, which cannot be.
    pub fn listed(&self, now: Timestamp) -> Result<String, Problem> {
        let current = self.current(now)?;
        let others = self.0.iter().filter(|issuer| issuer.row.id != current.row.id && issuer.row.retired_at.is_none_or(|at| now < at));
        Ok([current].into_iter().chain(others).map(|issuer| pem(&issuer.row.certificate)).collect())
    }

    /// A certificate for a gateway's key, which a request proves that it holds (RFC 2986); with it, SHA-256 of the key.
    ///
    /// # Errors
    /// `unprocessable` for a request that cannot be used.
    pub fn sign_gateway(&self, id: GatewayId, request: &str, now: Timestamp, rng: &Rng) -> Result<(Signed, [u8; 32]), Problem> {
        let wrong = |what: &str| Problem::with(ApiCode::Unprocessable, format!("`request`: {what}"));
        if request.len() > MAX_REQUEST {
            return Err(wrong("it is longer than a request for a certificate is"));
        }
        let asked = CertificateSigningRequestParams::from_pem(request).map_err(|error| wrong(&error.to_string()))?;
        if ![&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256].contains(&asked.public_key.algorithm()) {
            return Err(wrong("the key is Ed25519 or ECDSA on P-256"));
        }
        let mut params = CertificateParams::default();
        // Nothing of what is asked for but the key: who it is, the token or the certificate before has said.
        params.distinguished_name.push(DnType::CommonName, id.to_string());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let signed = self.sign(params, &asked.public_key, now, rng)?;
        Ok((signed, fingerprint(asked.public_key.der_bytes())))
    }

    /// A certificate for a private listener, with its chain and its key, which stays in memory.
    ///
    /// # Errors
    /// None signs, which cannot be.
    pub fn sign_listener(&self, at: std::net::IpAddr, now: Timestamp, rng: &Rng) -> Result<Listener, Problem> {
        let key = KeyPair::generate().map_err(Problem::internal)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "counterfoild");
        let name = Ia5String::try_from(AUTHORITY_NAME).map_err(Problem::internal)?;
        params.subject_alt_names = vec![SanType::DnsName(name), SanType::IpAddress(at)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let signed = self.sign(params, &key, now, rng)?;
        // With the authority's own at the end: at its enrolment a gateway has no more of it than its fingerprint.
        let chain = vec![signed.der, CertificateDer::from(self.current(now)?.row.certificate.clone())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(Problem::internal)?;
        Ok(Listener { chain, key, not_after: signed.not_after })
    }

    fn sign(&self, mut params: CertificateParams, key: &impl PublicKeyData, now: Timestamp, rng: &Rng) -> Result<Signed, Problem> {
        let issuer = self.current(now)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial(rng));
        let not_after = Timestamp(now.0 + GOOD_FOR);
        good(&mut params, now, not_after);
        let der = CertificateDer::from(issuer.row.certificate.as_slice());
        let signer = Signer::from_ca_cert_der(&der, &issuer.key).map_err(Problem::internal)?;
        let signed = params.signed_by(key, &signer).map_err(Problem::internal)?;
        Ok(Signed { pem: signed.pem(), der: signed.der().clone(), not_after })
    }
}

/// As in the audit log: it happens by itself, or by a command of the operator's.
const ACTOR: &str = "operator";
/// Longest request for a certificate, in bytes: several times one with a P-256 key.
const MAX_REQUEST: usize = 8 << 10;

/// What a private listener serves with.
pub struct Listener {
    /// Its certificate, and that of whoever signed it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// Until when it is good.
    pub not_after: Timestamp,
}

fn new(keys: &Keys, authority: &str, now: Timestamp, rng: &Rng) -> Result<IssuerRow, KeysError> {
    let seed = Secret::<32>::random(&mut rng.clone());
    let key = SeedKey::new(&seed);
    let id = format!("gwi-{}", &blake3::hash(&key.public).to_hex()[..16]);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, authority);
    // Two issuers are told apart by their names as well.
    params.distinguished_name.push(DnType::CommonName, format!("Counterfoil gateways {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial(rng));
    good(&mut params, now, Timestamp(now.0 + AUTHORITY_FOR));
    let certificate = params.self_signed(&key).map_err(|error| KeysError::Root(format!("certificate of {id}: {error}")))?;
    let wrapped = keys.wrap(&Place::GatewayIssuer { issuer: &id }, seed.expose(), &mut rng.clone())?;
    Ok(IssuerRow { id, certificate: certificate.der().to_vec(), wrapped, created_at: now, retired_at: None })
}

/// 128 random bits, positive (RFC 5280 §4.1.2.2).
fn serial(rng: &Rng) -> SerialNumber {
    let mut bytes: [u8; 16] = rng.bytes();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// Good from a day back, for hosts whose clocks are behind. Certificates know no time shorter than a second.
fn good(params: &mut CertificateParams, now: Timestamp, not_after: Timestamp) {
    let date = |at: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.max(0).unsigned_abs() / 1000);
    (params.not_before, params.not_after) = (date(now.0 - Timestamp::DAY), date(not_after.0));
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    // Base64 is ASCII.
    let lines: Vec<String> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// An issuer's key, as `rcgen` signs with it.
struct SeedKey {
    key: sign::SigningKey,
    public: [u8; 32],
}

impl SeedKey {
    fn new(seed: &Secret<32>) -> Self {
        let key = sign::SigningKey::from_seed(seed);
        Self { public: *key.verifying_key().as_bytes(), key }
    }
}

impl PublicKeyData for SeedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl rcgen::SigningKey for SeedKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign(message).to_vec())
    }
}
