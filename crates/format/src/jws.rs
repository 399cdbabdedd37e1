//! JSON Web Signatures (RFC 7515), the strict part of them that this project uses.
//!
//! A header holds `alg`, `typ` and `kid` and nothing else: no extension is understood, so none is accepted (`crit`, `b64`, `zip`),
//! and no header may bring its own key (`jwk`, `jku`, `x5c`, `x5u`). The algorithm is the caller's choice of function, never the token's.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::content::{FEED_TYP, MAX_FEED};
use crate::encoding::{from_base64url, parse_strict, to_base64url};
use crate::envelope::{ANSWER_TYP, MAX_ANSWER};
use crate::secret::Secret;
use crate::sign::{SigningKey, VerifyingKey};
use crate::signer::{Ecdsa, HolderVerifyingKey, SignError, es256};

/// Longest token that is looked at, in bytes; an answer of the authority ([`MAX_ANSWER`]) and a feed ([`MAX_FEED`]) may be longer.
pub const MAX_TOKEN: usize = 64 * 1024;
/// Longest protected header, in bytes of base64url.
pub const MAX_HEADER: usize = 1024;
/// Most signatures on one payload.
pub const MAX_SIGNATURES: usize = 8;

/// Signs `payload` as compact JWS, `alg` `EdDSA`.
///
/// # Panics
/// If `payload` has no JSON form (a map with keys that are not strings).
pub fn sign_compact<T: Serialize + ?Sized>(typ: &str, kid: &str, payload: &T, key: &SigningKey) -> String {
    let payload = serde_json::to_vec(payload).expect("what is signed here has a JSON form");
    sign_compact_bytes(typ, kid, &payload, key)
}

/// Signs bytes that are JSON already.
pub fn sign_compact_bytes(typ: &str, kid: &str, payload: &[u8], key: &SigningKey) -> String {
    let mut token = protected_header(Algorithm::EdDsa, typ, kid, None);
    token.push('.');
    token.push_str(&to_base64url(payload));
    let signature = key.sign(token.as_bytes());
    token.push('.');
    token.push_str(&to_base64url(&signature));
    token
}

/// Verifies a compact JWS of the given `typ` by the key that `keys` knows under its `kid`, and parses its payload.
pub fn verify_compact<T: DeserializeOwned>(token: &str, typ: &str, keys: impl FnOnce(&str) -> Option<VerifyingKey>) -> Result<T, JwsError> {
    let (_, payload) = verify_compact_bytes(token, typ, keys)?;
    parse_strict(&payload).map_err(|_| JwsError::Payload)
}

/// As [`verify_compact`], but answers with the `kid` and the payload's bytes. A payload that has a member twice is refused only
/// when it is parsed, with [`parse_strict`].
pub fn verify_compact_bytes(
    token: &str,
    typ: &str,
    keys: impl FnOnce(&str) -> Option<VerifyingKey>,
) -> Result<(String, Vec<u8>), JwsError> {
    if token.len() > longest(typ) {
        return Err(JwsError::TooLarge);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Shape)?;
    let (header, payload) = signed.split_once('.').ok_or(JwsError::Shape)?;
    let header = Header::parse(header, typ, None)?;
    if header.algorithm() != Some(Algorithm::EdDsa) {
        return Err(JwsError::Algorithm);
    }
    let signature = from_base64url(signature).ok_or(JwsError::Encoding)?;
    let key = keys(&header.kid).ok_or(JwsError::UnknownKey)?;
    key.verify(signed.as_bytes(), &signature).map_err(|_| JwsError::Signature)?;
    let payload = from_base64url(payload).ok_or(JwsError::Encoding)?;
    Ok((header.kid, payload))
}

/// The payload of a compact JWS whose signature is not looked at: it was verified before, or is somebody else's to verify.
pub fn unverified_payload(token: &str) -> Option<Vec<u8>> {
    from_base64url(token.split('.').nth(1)?)
}

fn longest(typ: &str) -> usize {
    match typ {
        ANSWER_TYP => MAX_ANSWER,
        FEED_TYP => MAX_FEED,
        _ => MAX_TOKEN,
    }
}

/// What a signature was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519: `EdDSA` is written; `Ed25519` (RFC 9864) is read as well.
    EdDsa,
    /// ECDSA over P-256 with SHA-256 (RFC 7518 §3.4): requests of a card in a token or TPM, and no document.
    Es256,
    /// HMAC-SHA-256 under a claim secret.
    Hs256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }
}

/// What a signature in a general JWS is made with.
#[derive(Clone, Copy)]
pub enum Signer<'a> {
    /// A card, device or drive whose key is in a file: `EdDSA`.
    Key(&'a SigningKey),
    /// A card whose key is in a token or TPM: `ES256`.
    Token(&'a dyn Ecdsa),
    /// A medium, by its claim secret: `HS256`.
    ClaimSecret(&'a Secret<32>),
}

impl Signer<'_> {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Key(_) => Algorithm::EdDsa,
            Self::Token(_) => Algorithm::Es256,
            Self::ClaimSecret(_) => Algorithm::Hs256,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(match self {
            Self::Key(key) => key.sign(message).to_vec(),
            Self::Token(key) => es256(*key, message)?.to_vec(),
            Self::ClaimSecret(secret) => aws_lc_rs::hmac::sign(&mac_key(secret), message).as_ref().to_vec(),
        })
    }
}

fn mac_key(secret: &Secret<32>) -> aws_lc_rs::hmac::Key {
    aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.expose())
}

/// Signs `payload` once per signer, in the general JSON serialization (RFC 7515 §7.2.1).
/// `aud` says who it is for and is signed by each.
///
/// # Errors
/// What a token or TPM said; keys in memory sign always.
pub fn sign_general(typ: &str, aud: &str, payload: &[u8], signers: &[(&str, Signer<'_>)]) -> Result<Vec<u8>, SignError> {
    let payload = to_base64url(payload);
    let sign = |(kid, signer): &(&str, Signer<'_>)| {
        let protected = protected_header(signer.algorithm(), typ, kid, Some(aud));
        let signature = signer.sign(format!("{protected}.{payload}").as_bytes())?;
        Ok(RawSignature { protected, signature: to_base64url(&signature) })
    };
    let signatures = signers.iter().map(sign).collect::<Result<_, SignError>>()?;
    Ok(serde_json::to_vec(&RawGeneral { payload, signatures }).expect("strings have a JSON form"))
}

/// A general JWS, parsed and *not verified*: nothing in it may be believed before [`General::verify`] was asked.
#[derive(Clone, Debug)]
pub struct General {
    /// The bytes that were signed.
    pub payload: Vec<u8>,
    encoded_payload: String,
    signatures: Vec<ParsedSignature>,
}

#[derive(Clone, Debug)]
struct ParsedSignature {
    algorithm: Algorithm,
    kid: String,
    protected: String,
    signature: Vec<u8>,
}

impl General {
    /// Parses the general JSON serialization of a JWS of the given `typ` for `aud`. Every signature's header is checked as in a compact one;
    /// unprotected headers, no signature at all, and two signatures under one `kid` are refused.
    pub fn parse(json: &[u8], typ: &str, aud: &str) -> Result<Self, JwsError> {
        if json.len() > MAX_TOKEN {
            return Err(JwsError::TooLarge);
        }
        let raw: RawGeneral = parse_strict(json).map_err(|_| JwsError::Shape)?;
        if raw.signatures.is_empty() || raw.signatures.len() > MAX_SIGNATURES {
            return Err(JwsError::Shape);
        }
        let mut signatures: Vec<ParsedSignature> = Vec::with_capacity(raw.signatures.len());
        for RawSignature { protected, signature } in raw.signatures {
            let header = Header::parse(&protected, typ, Some(aud))?;
            let algorithm = header.algorithm().ok_or(JwsError::Algorithm)?;
            if signatures.iter().any(|other| other.kid == header.kid) {
                return Err(JwsError::Shape);
            }
            let signature = from_base64url(&signature).ok_or(JwsError::Encoding)?;
            signatures.push(ParsedSignature { algorithm, kid: header.kid, protected, signature });
        }
        let payload = from_base64url(&raw.payload).ok_or(JwsError::Encoding)?;
        Ok(Self { payload, encoded_payload: raw.payload, signatures })
    }

    /// Who is said to have signed, and how. Unverified.
    pub fn signers(&self) -> impl Iterator<Item = (&str, Algorithm)> {
        self.signatures.iter().map(|s| (s.kid.as_str(), s.algorithm))
    }

    /// Checks that `kid` signed with `key`. The kind of key fixes the algorithm: a public key never verifies a MAC, nor one
    /// of Ed25519 what says that it is ES256.
    pub fn verify(&self, kid: &str, key: Verifier<'_>) -> Result<(), JwsError> {
        let found = self.signatures.iter().find(|s| s.kid == kid).ok_or(JwsError::UnknownKey)?;
        let signed = format!("{}.{}", found.protected, self.encoded_payload);
        match (found.algorithm, key) {
            (Algorithm::EdDsa | Algorithm::Es256, Verifier::Key(key)) if (found.algorithm == Algorithm::EdDsa) == key.is_ed25519() => {
                key.verify(signed.as_bytes(), &found.signature).map_err(|_| JwsError::Signature)
            }
            (Algorithm::Hs256, Verifier::ClaimSecret(secret)) => {
                aws_lc_rs::hmac::verify(&mac_key(secret), signed.as_bytes(), &found.signature).map_err(|_| JwsError::Signature)
            }
            _ => Err(JwsError::Algorithm),
        }
    }
}

/// What a signature in a general JWS is verified with.
#[derive(Clone, Copy)]
pub enum Verifier<'a> {
    /// The public key of a card, device or drive.
    Key(&'a HolderVerifyingKey),
    /// The claim secret of a medium.
    ClaimSecret(&'a Secret<32>),
}

/// The only header parameters that exist here. Anything else is refused as an unknown field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    /// Who a general JWS is for (RFC 7519 §5.3 lets the header say it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
}

impl Header {
    fn parse(encoded: &str, typ: &str, aud: Option<&str>) -> Result<Self, JwsError> {
        if encoded.len() > MAX_HEADER {
            return Err(JwsError::TooLarge);
        }
        let json = from_base64url(encoded).ok_or(JwsError::Encoding)?;
        let header: Self = parse_strict(&json).map_err(|_| JwsError::Header)?;
        if header.typ != typ {
            return Err(JwsError::Type);
        }
        if header.aud.as_deref() != aud { Err(JwsError::Audience) } else { Ok(header) }
    }

    fn algorithm(&self) -> Option<Algorithm> {
        match self.alg.as_str() {
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            "ES256" => Some(Algorithm::Es256),
            "HS256" => Some(Algorithm::Hs256),
            _ => None,
        }
    }
}

fn protected_header(algorithm: Algorithm, typ: &str, kid: &str, aud: Option<&str>) -> String {
    let header = Header { alg: algorithm.name().to_owned(), typ: typ.to_owned(), kid: kid.to_owned(), aud: aud.map(str::to_owned) };
    to_base64url(&serde_json::to_vec(&header).expect("strings have a JSON form"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGeneral {
    payload: String,
    signatures: Vec<RawSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSignature {
    protected: String,
    signature: String,
}

/// Why a JWS was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// Longer than anything this project signs.
    #[error("the signed document is too large")]
    TooLarge,
    /// Not three parts, or not the JSON of a general JWS.
    #[error("not a signed document")]
    Shape,
    /// Not canonical base64url.
    #[error("the signed document is not in canonical base64url")]
    Encoding,
    /// A header that is no JSON, has a member twice, lacks one, or has one that is not understood.
    #[error("the header of the signed document is not accepted")]
    Header,
    /// An algorithm that does not belong to the key.
    #[error("the algorithm of the signed document is not accepted")]
    Algorithm,
    /// A document of another kind.
    #[error("the signed document is of another kind")]
    Type,
    /// Made for somebody else.
    #[error("the signed document is for somebody else")]
    Audience,
    /// Nobody known by this `kid`.
    #[error("the signing key is not known")]
    UnknownKey,
    /// The signature is not by that key over these bytes.
    #[error("the signature does not fit")]
    Signature,
    /// Signed, but not what was expected: other members, or one of them twice.
    #[error("the signed document does not hold what it should")]
    Payload,
}
