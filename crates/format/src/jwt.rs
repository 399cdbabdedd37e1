//! Documents that are verified offline (RFC 7519): licenses, verdicts, rights; and the list of keys to verify them with (RFC 7517).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::encoding::parse_strict;
use crate::jws::{self, JwsError};
use crate::sign::VerifyingKey;

/// Most keys in one list.
pub const MAX_KEYS: usize = 64;
/// How far two clocks may be apart, in seconds.
pub const LEEWAY: i64 = 60;

/// What the reader of a document demands of it.
#[derive(Clone, Copy, Debug)]
pub struct Demands<'a> {
    /// Kind of document.
    pub typ: &'a str,
    /// Seconds since 1970, of the reader's most trusted clock.
    pub now: i64,
    /// Who the reader is. `None`: a document that is for somebody (`aud`) is refused.
    pub audience: Option<&'a str>,
    /// ID of the holder that presents the document (`cnf.kid`, RFC 7800). `None`: whoever has it may present it.
    pub holder: Option<&'a str>,
    /// Whether a document without `exp` is refused.
    pub must_expire: bool,
}

/// Verifies a document by the keys of a list, checks its claims, and parses it. Claims that `T` does not know are for others, unless
/// `T` says otherwise.
pub fn verify<T: DeserializeOwned>(token: &str, keys: &KeyList, demands: &Demands<'_>) -> Result<T, JwtError> {
    let (claims, payload) = signed(token, keys, demands.typ)?;
    claims.check(demands)?;
    serde_json::from_slice(&payload).map_err(|_| JwsError::Payload.into())
}

/// As [`verify`], for a reader who judges times and holder by other rules: the signature alone, and whether its key was still in use then.
pub fn verify_signature<T: DeserializeOwned>(token: &str, keys: &KeyList, typ: &str) -> Result<T, JwtError> {
    let (_, payload) = signed(token, keys, typ)?;
    serde_json::from_slice(&payload).map_err(|_| JwsError::Payload.into())
}

fn signed(token: &str, keys: &KeyList, typ: &str) -> Result<(Claims, Vec<u8>), JwtError> {
    let (kid, payload) = jws::verify_compact_bytes(token, typ, |kid| keys.find(kid).and_then(ListedKey::verifying_key))?;
    let claims: Claims = parse_strict(&payload).map_err(|_| JwsError::Payload)?;
    let retired_at = keys.find(&kid).and_then(|key| key.retired_at);
    if retired_at.is_some_and(|at| claims.iat.is_none_or(|iat| iat > at)) {
        return Err(JwtError::KeyRetired);
    }
    Ok((claims, payload))
}

/// The registered claims that are checked here. Times are whole seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
    /// Not to be accepted from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// Not to be accepted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Who may present it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

/// One reader or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// Who may present a document (RFC 7800 §3.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// ID of the holder.
    pub kid: String,
}

impl Claims {
    /// Checks the claims of a document whose signature was verified. The `typ` of the demands is not looked at.
    pub fn check(&self, demands: &Demands<'_>) -> Result<(), JwtError> {
        let meant = match (&self.aud, demands.audience) {
            (None, None) => true,
            (Some(Audience::One(aud)), Some(me)) => aud == me,
            (Some(Audience::Many(auds)), Some(me)) => auds.iter().any(|aud| aud == me),
            _ => false,
        };
        if !meant {
            return Err(JwtError::Audience);
        }
        match (&self.cnf, demands.holder) {
            (Some(cnf), Some(holder)) if cnf.kid == holder => {}
            (None, None) => {}
            _ => return Err(JwtError::Holder),
        }
        let (past, future) = (demands.now.saturating_sub(LEEWAY), demands.now.saturating_add(LEEWAY));
        match self.exp {
            Some(exp) if exp <= past => return Err(JwtError::Expired),
            None if demands.must_expire => return Err(JwtError::Expired),
            _ => {}
        }
        if self.nbf.is_some_and(|nbf| nbf > future) || self.iat.is_some_and(|iat| iat > future) {
            return Err(JwtError::NotYet);
        }
        Ok(())
    }
}

/// The keys of an authority, as served for others to verify by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// The keys.
    pub keys: Vec<ListedKey>,
}

/// One key. Others than Ed25519 may be listed, and are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedKey {
    /// Name that documents call it by.
    #[serde(default)]
    pub kid: String,
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    /// Seconds since 1970: what says that it was signed later is refused. Retired keys stay listed for what they signed before.
    #[serde(rename = "counterfoil_retired_at", default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<i64>,
}

impl ListedKey {
    /// Lists an Ed25519 key (RFC 8037).
    pub fn new(kid: &str, key: &VerifyingKey, retired_at: Option<i64>) -> Self {
        Self {
            kid: kid.to_owned(),
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: key.to_string(),
            usage: Some("sig".to_owned()),
            alg: Some("EdDSA".to_owned()),
            retired_at,
        }
    }

    /// The key, if it is one for Ed25519 signatures.
    pub fn verifying_key(&self) -> Option<VerifyingKey> {
        let fits = self.kty == "OKP"
            && self.crv == "Ed25519"
            && self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.alg.as_deref().is_none_or(|alg| matches!(alg, "EdDSA" | "Ed25519"));
        if fits { self.x.parse().ok() } else { None }
    }
}

impl KeyList {
    /// Parses a list from outside: at most [`MAX_KEYS`] keys, no `kid` twice.
    pub fn parse(json: &[u8]) -> Result<Self, JwsError> {
        if json.len() > jws::MAX_TOKEN {
            return Err(JwsError::TooLarge);
        }
        let list: Self = parse_strict(json).map_err(|_| JwsError::Shape)?;
        let mut names: Vec<&str> = list.keys.iter().map(|key| key.kid.as_str()).collect();
        names.sort_unstable();
        if list.keys.len() > MAX_KEYS || names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(JwsError::Shape);
        }
        Ok(list)
    }

    /// The key of that name.
    pub fn find(&self, kid: &str) -> Option<&ListedKey> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

/// Why a document was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// Its form or its signature.
    #[error(transparent)]
    Signed(#[from] JwsError),
    /// For somebody else, or for nobody in particular where that is not enough.
    #[error("the document is not for this reader")]
    Audience,
    /// Presented by somebody else than it was made for.
    #[error("the document was made for another holder")]
    Holder,
    /// Its time is over, or it names none where it must.
    #[error("the document has expired")]
    Expired,
    /// From the future: one of the two clocks is wrong.
    #[error("the document is not valid yet; is the clock right?")]
    NotYet,
    /// Made after the key was retired.
    #[error("the document was signed with a key that had been retired")]
    KeyRetired,
}
