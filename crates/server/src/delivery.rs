//! How an object reaches whoever asks for it: from this process, from the store, or from a CDN whose addresses are signed (docs/contents.md).
//!
//! `{cdn_url}/{object}?expires=E&signature=S`, where E is a time in seconds since 1970, and S is HMAC-SHA-256 (RFC 2104) over the ASCII text
//! `counterfoil-contents-v1\n{object}\n{E}` in base64url without padding (RFC 4648 §5).

use std::time::Duration;

use aws_lc_rs::hmac;
use counterfoil_core::Timestamp;
use counterfoil_format::content::ObjectName;
use counterfoil_format::encoding::{from_base64url, to_base64url};
use serde::Deserialize;

use crate::blobs::{BlobError, Blobs};
use crate::config::contents::read_private;
use crate::config::{ConfigError, Contents, Redirect};
use crate::problem::{ApiCode, Problem};

/// Bytes of a key.
const KEY: usize = 32;

/// What is configured, with the keys read.
pub struct Delivery {
    redirect: Redirect,
    cdn_url: String,
    /// The first signs.
    keys: Vec<hmac::Key>,
    good_for: Duration,
    require_signature: bool,
}

/// The query of a signed address.
#[derive(Debug, Default, Deserialize)]
pub struct Signed {
    expires: Option<String>,
    signature: Option<String>,
}

/// Who asks for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Somebody with an address that is signed: gets the bytes here.
    Signed,
    /// Anybody.
    Plain,
}

/// Somewhere else to get an object.
pub struct Elsewhere {
    /// Absolute.
    pub url: String,
    /// How long this answer may be used again: half the life of the address, so that it is good for the other half at least.
    pub reusable: Duration,
}

impl Delivery {
    /// As configured.
    ///
    /// # Errors
    /// `Value` when the file of keys cannot be used.
    pub fn open(contents: &Contents) -> Result<Self, ConfigError> {
        let keys = match &contents.signing_key_file {
            None => vec![],
            Some(path) => {
                let wrong = |reason: String| ConfigError::Value {
                    key: "contents.signing_key_file",
                    reason: format!("{}: {reason}", path.display()),
                };
                parse_keys(&read_private(path).map_err(wrong)?)
                    .ok_or_else(|| wrong(format!("each line is a key of {} hexadecimal digits: `openssl rand -hex {KEY}`", 2 * KEY)))?
            }
        };
        Ok(Self {
            redirect: contents.redirect,
            cdn_url: contents.cdn_url.clone().unwrap_or_default(),
            keys,
            good_for: Duration::from_secs(contents.signed_seconds),
            require_signature: contents.require_signature,
        })
    }

    /// Who asks; refuses a signature that is wrong, and none where one is required.
    ///
    /// # Errors
    /// `signature_invalid`, `url_expired`.
    pub fn asker(&self, name: ObjectName, signed: &Signed, now: Timestamp) -> Result<Asker, Problem> {
        let (expires, signature) = match (&signed.expires, &signed.signature) {
            _ if self.keys.is_empty() => return Ok(Asker::Plain),
            (None, None) if !self.require_signature => return Ok(Asker::Plain),
            (Some(expires), Some(signature)) => (expires, signature),
            _ => return Err(Problem::with(ApiCode::SignatureInvalid, "expires and signature are both needed")),
        };
        let wrong = || Problem::from(ApiCode::SignatureInvalid);
        let signature = from_base64url(signature).ok_or_else(wrong)?;
        let message = message(name, expires);
        // The signature first: an address that was never good is not told that it was good once.
        if !self.keys.iter().any(|key| hmac::verify(key, message.as_bytes(), &signature).is_ok()) {
            return Err(wrong());
        }
        let expires: i64 = expires.parse().map_err(|_| wrong())?;
        if now.0 >= expires.saturating_mul(1000) {
            return Err(ApiCode::UrlExpired.into());
        }
        Ok(Asker::Signed)
    }

    /// Where else an object is to be had; `None` where this process sends it.
    ///
    /// # Errors
    /// When the store's own signature takes a request that fails.
    pub async fn elsewhere(&self, blobs: &Blobs, name: ObjectName, now: Timestamp) -> Result<Option<Elsewhere>, BlobError> {
        let url = match self.redirect {
            Redirect::None => None,
            Redirect::Store => blobs.signed_url(name, self.good_for).await?,
            Redirect::Cdn => Some(self.cdn(name, now)),
        };
        Ok(url.map(|url| Elsewhere { url, reusable: self.good_for / 2 }))
    }

    fn cdn(&self, name: ObjectName, now: Timestamp) -> String {
        let expires = now.0.div_euclid(1000).saturating_add_unsigned(self.good_for.as_secs()).to_string();
        let key = self.keys.first().expect("the configuration was checked: a CDN has a file of keys, and that holds at least one");
        let signature = hmac::sign(key, message(name, &expires).as_bytes());
        format!("{}/{name}?expires={expires}&signature={}", self.cdn_url, to_base64url(signature.as_ref()))
    }
}

fn message(name: ObjectName, expires: &str) -> String {
    format!("counterfoil-contents-v1\n{name}\n{expires}")
}

/// At least one key; empty lines count for nothing.
fn parse_keys(text: &str) -> Option<Vec<hmac::Key>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Option<Vec<_>> = lines
        .map(|line| {
            // ObjectName is the type of 64 hexadecimal digits; a key is nothing else, and is forgotten right away.
            let bytes: ObjectName = line.parse().ok()?;
            Some(hmac::Key::new(hmac::HMAC_SHA256, &bytes.0))
        })
        .collect();
    keys.filter(|keys| !keys.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const NOW: Timestamp = Timestamp(1_767_225_600_500);
    const KEYS: [&str; 2] = [
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    ];

    fn delivery(keys: &[&str], require_signature: bool) -> Delivery {
        Delivery {
            redirect: Redirect::Cdn,
            cdn_url: "https://cdn.example/contents".to_owned(),
            keys: parse_keys(&keys.join("\n")).unwrap(),
            good_for: Duration::from_secs(600),
            require_signature,
        }
    }

    fn query(url: &str) -> Signed {
        let (expires, signature) = url.split_once("?expires=").unwrap().1.split_once("&signature=").unwrap();
        Signed { expires: Some(expires.to_owned()), signature: Some(signature.to_owned()) }
    }

    #[test]
    fn an_address_is_signed_as_documented() {
        let url = delivery(&KEYS, true).cdn(ObjectName([0xab; 32]), NOW);
        let name = "ab".repeat(32);
        // printf 'counterfoil-contents-v1\n%s\n1767226200' $NAME | openssl dgst -sha256 -mac HMAC -macopt hexkey:$KEY -binary | basenc --base64url | tr -d =
        assert_eq!(
            url,
            format!("https://cdn.example/contents/{name}?expires=1767226200&signature=0speAVLyVVZmPrRV_Q37HOYNbyRF4SVjluvwFBH4F_Q")
        );
    }

    #[test]
    fn what_is_altered_expired_or_missing_is_refused() {
        let (name, other) = (ObjectName([1; 32]), ObjectName([2; 32]));
        let strict = delivery(&KEYS, true);
        let good = || query(&strict.cdn(name, NOW));
        let code = |name, signed: &Signed, now| strict.asker(name, signed, now).map_err(|problem| problem.code);
        assert_eq!(code(name, &good(), NOW), Ok(Asker::Signed));
        assert_eq!(code(name, &good(), Timestamp(1_767_226_199_999)), Ok(Asker::Signed));
        assert_eq!(code(name, &good(), Timestamp(1_767_226_200_000)), Err("url_expired"));
        assert_eq!(code(other, &good(), NOW), Err("signature_invalid"));
        assert_eq!(code(name, &Signed::default(), NOW), Err("signature_invalid"));
        let later = Signed { expires: Some("1767229999".to_owned()), ..good() };
        assert_eq!(code(name, &later, NOW), Err("signature_invalid"));
        // The same number, written otherwise.
        let zero = Signed { expires: Some("01767226200".to_owned()), ..good() };
        assert_eq!(code(name, &zero, NOW), Err("signature_invalid"));
        for altered in [Signed { expires: None, ..good() }, Signed { signature: None, ..good() }] {
            assert_eq!(code(name, &altered, NOW), Err("signature_invalid"));
        }
        let signature = good().signature.unwrap();
        for at in 0..signature.len() {
            let replaced = if &signature[at..=at] == "A" { "B" } else { "A" };
            let altered = format!("{}{replaced}{}", &signature[..at], &signature[at + 1..]);
            let altered = Signed { signature: Some(altered), ..good() };
            assert_eq!(code(name, &altered, NOW), Err("signature_invalid"), "digit {at}");
        }
    }

    #[test]
    fn keys_are_changed_one_after_the_other() {
        let name = ObjectName([1; 32]);
        let (old, new) = (delivery(&KEYS[..1], true), delivery(&[KEYS[1], KEYS[0]], true));
        assert_eq!(new.asker(name, &query(&old.cdn(name, NOW)), NOW).unwrap(), Asker::Signed);
        assert!(old.asker(name, &query(&new.cdn(name, NOW)), NOW).is_err());
        for text in ["", "\n\n", "xyz", "00", "hunter2"] {
            assert!(parse_keys(text).is_none(), "{text}");
        }
    }

    #[test]
    fn where_none_is_required_a_plain_address_does_and_a_wrong_signature_does_not() {
        let (name, lax) = (ObjectName([1; 32]), delivery(&KEYS, false));
        assert_eq!(lax.asker(name, &Signed::default(), NOW).unwrap(), Asker::Plain);
        assert_eq!(lax.asker(name, &query(&lax.cdn(name, NOW)), NOW).unwrap(), Asker::Signed);
        assert!(lax.asker(ObjectName([2; 32]), &query(&lax.cdn(name, NOW)), NOW).is_err());
    }
}
