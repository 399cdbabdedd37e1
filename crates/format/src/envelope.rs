//! Sealed envelopes: a terminal's request on its way to the authority, signed by what it comes from and readable for nobody between.

use serde::{Deserialize, Serialize};

use crate::encoding::{base64url, frame, parse_strict};
use crate::hpke::{self, DiffieHellman, HpkeError, SealingKey, SealingPublicKey, Suite};
use crate::jws::{General, JwsError, Signer, sign_general};
use crate::secret::{Random, Secret};
use crate::signer::SignError;

pub use reply::{MAX_SEALED_ANSWER, ReplyKey, is_sealed};

mod reply;

/// `typ` of a request.
pub const REQUEST_TYP: &str = "counterfoil-request+jws";
/// `typ` of the authority's answer, a compact JWS.
pub const ANSWER_TYP: &str = "counterfoil-answer+jwt";
/// Longest envelope, in bytes of JSON.
pub const MAX_ENVELOPE: usize = 64 * 1024;
/// Longest payload that surely fits, with every proof that an operation can ask for, in bytes.
pub const MAX_PAYLOAD: usize = 32 * 1024;

/// Longest answer, in bytes: it may list everything that a user owns, and grants for every title that a medium can carry.
pub const MAX_ANSWER: usize = 1024 * 1024;

const INFO: &[u8] = b"counterfoil envelope v1";
const MAX_KID: usize = 128;

/// What travels: HPKE in base mode to one of the authority's sealing keys. The key named by `kid` fixes the suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Which of the authority's sealing keys opens it.
    pub kid: String,
    enc: SealingPublicKey,
    #[serde(with = "base64url")]
    ct: Vec<u8>,
}

impl Envelope {
    /// Parses JSON from outside.
    pub fn parse(json: &[u8]) -> Result<Self, EnvelopeError> {
        if json.len() > MAX_ENVELOPE {
            return Err(EnvelopeError::TooLarge);
        }
        let envelope: Self = parse_strict(json).map_err(|_| EnvelopeError::Shape)?;
        if envelope.kid.len() > MAX_KID { Err(EnvelopeError::Shape) } else { Ok(envelope) }
    }

    /// The JSON that travels.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings have a JSON form")
    }

    /// Opens it with the authority's key named by `kid`. Nothing inside may be believed before [`General::verify`] was asked about
    /// each proof that the operation demands. Beside it, what an answer is sealed with, where the request wants that.
    pub fn open(&self, key: &dyn DiffieHellman) -> Result<(General, ReplyKey), EnvelopeError> {
        let public = key.public_key();
        let mut context = hpke::receiver(Suite::for_kem(public.kem()), &self.enc, key, &info(&self.kid), None)?;
        let signed = context.open(self.kid.as_bytes(), &self.ct)?;
        let request = General::parse(&signed, REQUEST_TYP, &public.to_string())?;
        Ok((request, ReplyKey::exported(self.enc, &context)))
    }

    /// Makes the key again that opens answers to this envelope, from [`ReplyKey::secret`].
    pub fn reply_key(&self, secret: Secret<32>) -> ReplyKey {
        ReplyKey::new(self.enc, secret)
    }
}

/// Signs `payload` with every proof, each by the ID of its holder, and seals it to the authority's key `kid`. Beside the envelope, what opens
/// answers to it.
pub fn seal(
    payload: &[u8],
    proofs: &[(&str, Signer<'_>)],
    kid: &str,
    authority: &SealingPublicKey,
    random: &mut dyn Random,
) -> Result<(Envelope, ReplyKey), EnvelopeError> {
    if payload.len() > MAX_PAYLOAD || kid.len() > MAX_KID {
        return Err(EnvelopeError::TooLarge);
    }
    // The signatures name the key that they were made for, so that one authority cannot pass a request on to another as its own.
    let signed = sign_general(REQUEST_TYP, &authority.to_string(), payload, proofs)?;
    let suite = Suite::for_kem(authority.kem());
    let ephemeral = SealingKey::generate(suite.kem, random);
    let (enc, mut context) = hpke::sender(suite, authority, &info(kid), None, &ephemeral)?;
    let ct = context.seal(kid.as_bytes(), &signed);
    Ok((Envelope { kid: kid.to_owned(), enc, ct }, ReplyKey::exported(enc, &context)))
}

fn info(kid: &str) -> Vec<u8> {
    frame(&[INFO, kid.as_bytes()])
}

/// Why an envelope was not sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Longer than [`MAX_ENVELOPE`], or its payload longer than [`MAX_PAYLOAD`].
    #[error("the envelope is too large")]
    TooLarge,
    /// Not the JSON of an envelope.
    #[error("not an envelope")]
    Shape,
    /// Sealed to another key, or changed since.
    #[error("the envelope cannot be opened: {0}")]
    Sealed(#[from] HpkeError),
    /// What is inside is not a signed request to this authority.
    #[error("the envelope holds no request: {0}")]
    Signed(#[from] JwsError),
    /// A token or TPM did not sign.
    #[error(transparent)]
    Signer(#[from] SignError),
}
