//! One attempt at a delivery: a POST to somebody's server, which may be slow, lie, send without end, or be nobody's business to talk to.

use std::error::Error;
use std::time::Duration;

use counterfoil_core::{DeliveryId, Timestamp};
use counterfoil_format::secret::Secret;
use reqwest::{Certificate, Client, Url, redirect};

use super::{address, sign};
use crate::config::{ConfigError, Webhooks};

/// How long connecting may take; the whole attempt is bounded by the configuration.
const CONNECT: Duration = Duration::from_secs(5);
/// An answer of this many bytes is read, so that the connection can be used again; a longer one is not.
const DRAINED: u64 = 4096;

/// Sends deliveries. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    client: Client,
    allow_private: bool,
}

/// What is sent, and where.
pub struct Message<'a> {
    /// Where.
    pub url: &'a str,
    /// The same in every attempt.
    pub id: DeliveryId,
    /// The same in every attempt.
    pub body: &'a str,
    /// The newest first.
    pub secrets: &'a [Secret<32>],
    /// When this attempt is made.
    pub at: Timestamp,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was answered, if anything was.
    pub status: Option<u16>,
    /// Why it counts as not delivered; nothing where it was.
    pub failure: Option<&'static str>,
}

/// Anything but a status from 200 to 299 was answered; redirects are not followed.
pub const STATUS: &str = "status";
/// The address is not on the internet.
pub const NOT_PUBLIC: &str = "not_public";
/// The name is nobody's.
pub const UNRESOLVED: &str = "unresolved";
/// Nobody takes connections there.
pub const UNREACHABLE: &str = "unreachable";
/// Certificate or handshake.
pub const TLS: &str = "tls";
/// No answer in time.
pub const TIMED_OUT: &str = "timed_out";
/// The connection broke, or what was answered is no HTTP.
pub const BROKEN: &str = "broken";
/// Its address cannot be used as configured, or its secret does not open.
pub const UNUSABLE: &str = "unusable";

impl Sender {
    /// As configured.
    ///
    /// # Errors
    /// `Value`: the list of certificates.
    pub fn new(config: &Webhooks) -> Result<Self, ConfigError> {
        let wrong = |reason: String| ConfigError::Value { key: "webhooks.ca_file", reason };
        let mut builder = Client::builder()
            .timeout(Duration::from_secs(config.timeout_seconds.into()))
            .connect_timeout(CONNECT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("Counterfoil-Webhooks/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &config.ca_file {
            let pem = std::fs::read(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            let listed = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            builder = builder.tls_certs_merge(listed);
        }
        if !config.allow_private {
            builder = builder.dns_resolver(address::PublicOnly).https_only(true);
        }
        let client = builder.build().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { client, allow_private: config.allow_private })
    }

    /// Makes one attempt. What is answered beyond the status is of no interest, and goes nowhere.
    pub async fn attempt(&self, message: &Message<'_>) -> Outcome {
        let Ok(url) = check(message.url, self.allow_private) else { return Outcome { status: None, failure: Some(UNUSABLE) } };
        if !self.allow_private && is_inside(&url) {
            return Outcome { status: None, failure: Some(NOT_PUBLIC) };
        }
        let seconds = message.at.seconds();
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", message.id.to_string())
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", sign::header(message.secrets, message.id, seconds, message.body))
            .body(message.body.to_owned());
        match request.send().await {
            Ok(response) => {
                let status = response.status();
                drain(response).await;
                Outcome { status: Some(status.as_u16()), failure: (!status.is_success()).then_some(STATUS) }
            }
            Err(error) => Outcome { status: None, failure: Some(failure(&error)) },
        }
    }
}

/// An address that deliveries can be sent to: `https`, or `http` where receivers may be inside; without password.
///
/// # Errors
/// What is wrong with it.
pub fn check(url: &str, allow_private: bool) -> Result<Url, &'static str> {
    let parsed = Url::parse(url).map_err(|_| "`url` is no address")?;
    let good = parsed.scheme() == "https" || (allow_private && parsed.scheme() == "http");
    if !good || parsed.host_str().is_none_or(str::is_empty) {
        return Err("`url` begins with https://");
    }
    if !parsed.username().is_empty() || parsed.password().is_some() || parsed.fragment().is_some() || url.len() > 500 {
        return Err("`url` has at most 500 characters, no password and no #fragment");
    }
    if !allow_private && is_inside(&parsed) {
        return Err("`url` is at no public address");
    }
    Ok(parsed)
}

/// Whether it names an address that is not public. A name is looked at when it is connected to.
fn is_inside(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse().is_ok_and(|address| !address::is_public(address))
}

/// Reads a short answer to its end; a connection with a longer one is closed.
async fn drain(response: reqwest::Response) {
    if response.content_length().is_some_and(|length| length <= DRAINED) {
        // What is still missing after a second is not waited for; the status is known.
        let _ = tokio::time::timeout(Duration::from_secs(1), response.bytes()).await;
    }
}

/// In one word why there was no answer: nothing that tells what is inside of our network.
fn failure(error: &reqwest::Error) -> &'static str {
    match () {
        () if caused_by::<address::NotPublic>(error) => NOT_PUBLIC,
        () if caused_by::<rustls::Error>(error) => TLS,
        () if error.is_dns() => UNRESOLVED,
        () if error.is_timeout() => TIMED_OUT,
        () if error.is_connect() => UNREACHABLE,
        () => BROKEN,
    }
}

/// Whether an error of this type lies at the bottom. What `io::Error` wraps is not its source, but itself.
fn caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<E>() || wrapped.is_some_and(|wrapped| caused_by::<E>(wrapped)) || error.source().is_some_and(caused_by::<E>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_are_seen_however_they_are_written() {
        for inside in [
            "https://127.0.0.1/x",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://127.1:8443/",
            "https://[::1]/",
            "https://[::ffff:7f00:1]/",
            "https://[::ffff:169.254.169.254]/latest",
            "https://169.254.169.254/",
            "https://10.0.0.1/",
            "https://0/",
            "https://①27.0.0.1/",
        ] {
            assert!(check(inside, false).is_err(), "{inside}");
            assert!(check(inside, true).is_ok(), "{inside}");
        }
        for bad in
            ["http://example.com", "ftp://example.com", "https://u:p@example.com", "https://example.com/#x", "https://", "example.com", ""]
        {
            assert!(check(bad, false).is_err(), "{bad}");
        }
        assert!(check("https://example.com/hook?key=1", false).is_ok() && check("http://example.com", true).is_ok());
    }
}
