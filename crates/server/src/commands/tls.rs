//! A certificate authority of one's own, and a certificate by it, for servers that have no other.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use counterfoil_core::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};

use super::{Failure, at};
use crate::keys::root::write_private;

/// How long the certificate authority and the certificate are good, in days.
const DAYS: (i64, i64) = (3650, 397);

/// What a certificate is for: this host, the address that is listened on, and names besides.
pub fn names(listen: SocketAddr, more: &[String]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !listen.ip().is_unspecified() && !listen.ip().is_loopback() {
        names.push(listen.ip().to_string());
    }
    names.extend(more.iter().cloned());
    names
}

/// Makes `ca.pem`, `ca.key`, `server.pem` and `server.key` in a directory, unless they are all there. Answers with the place of `ca.pem`.
pub fn make(directory: &Path, names: Vec<String>, now: Timestamp) -> Result<PathBuf, Failure> {
    let place = |name: &str| directory.join(name);
    if ["ca.pem", "ca.key", "server.pem", "server.key"].iter().all(|name| place(name).exists()) {
        return Ok(place("ca.pem"));
    }
    let wrong = |error: rcgen::Error| Failure::operation(format!("certificate: {error}"));
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "Counterfoil certificate authority of this server");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    good_for(&mut ca, now, DAYS.0)?;
    let ca_key = KeyPair::generate().map_err(wrong)?;
    let ca_key_pem = ca_key.serialize_pem();
    let ca = CertifiedIssuer::self_signed(ca, ca_key).map_err(wrong)?;

    let mut server = CertificateParams::new(names).map_err(wrong)?;
    server.distinguished_name.push(DnType::CommonName, "counterfoild");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    good_for(&mut server, now, DAYS.1)?;
    let key = KeyPair::generate().map_err(wrong)?;
    let certificate = server.signed_by(&key, &ca).map_err(wrong)?;

    for (name, text) in [("ca.key", ca_key_pem), ("server.key", key.serialize_pem())] {
        let path = place(name);
        // Left over from an `init` that was cut short, and used by nothing.
        if path.exists() {
            fs::remove_file(&path).map_err(at(&path))?;
        }
        write_private(&path, &text).map_err(at(&path))?;
    }
    for (name, text) in [("ca.pem", ca.pem()), ("server.pem", certificate.pem())] {
        fs::write(place(name), text).map_err(at(&place(name)))?;
    }
    Ok(place("ca.pem"))
}

fn good_for(params: &mut CertificateParams, now: Timestamp, days: i64) -> Result<(), Failure> {
    let midnight = |at: i64| {
        let date = jiff::Timestamp::from_millisecond(at).map_err(Failure::operation)?.to_zoned(jiff::tz::TimeZone::UTC).date();
        // Months and days count from 1 and are below 32.
        Ok::<_, Failure>(rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs()))
    };
    // A day back, for terminals whose clocks are behind.
    params.not_before = midnight(now.0 - Timestamp::DAY)?;
    params.not_after = midnight(now.0 + days * Timestamp::DAY)?;
    Ok(())
}
