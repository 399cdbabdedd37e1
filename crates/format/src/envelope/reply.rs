//! Sealed answers: what the authority says on the way back to whoever sealed the request, readable for nobody between.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize as _;

use super::MAX_ANSWER;
use crate::encoding::{from_base64url, to_base64url};
use crate::hpke::{Context, HpkeError, SealingPublicKey, TAG, hkdf_expand, hkdf_extract};
use crate::secret::{Random, Secret};

/// What a sealed answer begins with; a plain one is a compact JWS, whose first part has no dot before its end and is no such word.
pub const SEALED: &str = "sealed.";
/// Longest sealed answer, in bytes: what an answer of [`MAX_ANSWER`] comes to.
pub const MAX_SEALED_ANSWER: usize = SEALED.len() + ((NONCE + MAX_ANSWER + TAG) * 4).div_ceil(3);

const EXPORT: &[u8] = b"counterfoil answer v1";
/// The longer of the AEAD's key and nonce (RFC 9458 §4.4).
const NONCE: usize = 32;

/// Seals answers to one envelope, and opens them: both sides have it from the envelope's own context, and nobody else does.
///
/// The terminal keeps it as long as it may send the envelope again: [`secret`](Self::secret), and
/// [`Envelope::reply_key`](super::Envelope::reply_key) for the way back.
#[derive(Clone)]
pub struct ReplyKey {
    enc: SealingPublicKey,
    secret: Secret<32>,
}

impl ReplyKey {
    pub(super) fn exported(enc: SealingPublicKey, context: &Context) -> Self {
        let mut secret = [0; 32];
        context.export(EXPORT, &mut secret);
        let key = Self::new(enc, Secret::new(secret));
        secret.zeroize();
        key
    }

    pub(super) fn new(enc: SealingPublicKey, secret: Secret<32>) -> Self {
        Self { enc, secret }
    }

    /// What the key is, besides the envelope.
    pub fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    /// Seals an answer (RFC 9458 §4.4): any number of answers to one envelope, each under a key of its own.
    pub fn seal(&self, answer: &str, random: &mut dyn Random) -> String {
        let mut sealed = vec![0; NONCE];
        random.fill(&mut sealed);
        let (key, nonce) = self.message_key(&sealed);
        let mut ct = answer.as_bytes().to_vec();
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut ct)
            .expect("an answer in memory is far below the 64 GiB that AES-GCM allows");
        sealed.append(&mut ct);
        format!("{SEALED}{}", to_base64url(&sealed))
    }

    /// Opens a sealed answer. What is inside is still to be verified: a key says which envelope it answers, and not who answers.
    ///
    /// # Errors
    /// [`HpkeError::Open`] where it was sealed to another envelope, was changed since, is too long, or is not sealed at all.
    pub fn open(&self, answer: &str) -> Result<String, HpkeError> {
        let text = answer.strip_prefix(SEALED).filter(|_| answer.len() <= MAX_SEALED_ANSWER).ok_or(HpkeError::Open)?;
        let mut bytes = from_base64url(text).filter(|bytes| bytes.len() >= NONCE + TAG).ok_or(HpkeError::Open)?;
        let (nonce, ct) = bytes.split_at_mut(NONCE);
        let (key, nonce) = self.message_key(nonce);
        let opened = key.open_in_place(nonce, Aad::empty(), ct).map_err(|_| HpkeError::Open)?;
        String::from_utf8(opened.to_vec()).map_err(|_| HpkeError::Open)
    }

    fn message_key(&self, response_nonce: &[u8]) -> (LessSafeKey, Nonce) {
        let salt = [self.enc.as_bytes(), response_nonce].concat();
        let prk = hkdf_extract(&salt, &[self.secret.expose()]);
        let mut key = [0; 32];
        hkdf_expand(prk.expose(), &[b"key"], &mut key);
        let mut nonce = [0; 12];
        hkdf_expand(prk.expose(), &[b"nonce"], &mut nonce);
        let unbound = UnboundKey::new(&AES_256_GCM, &key).expect("AES-256 has keys of 32 bytes");
        key.zeroize();
        (LessSafeKey::new(unbound), Nonce::assume_unique_for_key(nonce))
    }
}

/// Whether an answer is sealed, or plain as an authority answers that is not asked to seal, or does not know how yet.
pub fn is_sealed(answer: &str) -> bool {
    answer.starts_with(SEALED)
}
