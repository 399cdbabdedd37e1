//! Recorded answers, sealed under a key that only the caller's bearer token leads to.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use axum::http::StatusCode;
use counterfoil_format::encoding::frame;
use counterfoil_format::secret::Secret;

use super::Reply;

const SALT: usize = 24;

/// Salt, then status and body sealed. The salt makes the key fresh, so that a transaction that is run again may answer differently.
pub(super) fn seal(secret: &Secret<32>, id: &str, salt: [u8; SALT], reply: &Reply) -> Vec<u8> {
    let mut plain = reply.status.as_u16().to_be_bytes().to_vec();
    plain.extend_from_slice(&reply.body);
    key(secret, id, &salt)
        .seal_in_place_append_tag(zero(), Aad::empty(), &mut plain)
        .expect("a message in memory is far below the 64 GiB that AES-GCM allows");
    [&salt[..], &plain].concat()
}

/// The answer; `None` for another caller's, or another request's.
pub(super) fn open(secret: &Secret<32>, id: &str, recorded: &[u8]) -> Option<Reply> {
    let (salt, rest) = recorded.split_first_chunk::<SALT>()?;
    let mut rest = rest.to_vec();
    let opened = key(secret, id, salt).open_in_place(zero(), Aad::empty(), &mut rest).ok()?;
    let (status, body) = opened.split_first_chunk::<2>()?;
    Some(Reply { status: StatusCode::from_u16(u16::from_be_bytes(*status)).ok()?, body: body.to_vec() })
}

fn key(secret: &Secret<32>, id: &str, salt: &[u8; SALT]) -> LessSafeKey {
    let key = blake3::keyed_hash(secret.expose(), &frame(&[id.as_bytes(), salt]));
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).expect("AES-256 has keys of 32 bytes"))
}

fn zero() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_opens_for_its_caller_and_request_only() {
        let reply = Reply { status: StatusCode::CREATED, body: b"{\"token\":\"cft_secret\"}".to_vec() };
        let caller = Secret::new([1; 32]);
        let recorded = seal(&caller, "http:a", [2; SALT], &reply);
        assert_eq!(open(&caller, "http:a", &recorded), Some(reply));
        assert_eq!(open(&caller, "http:b", &recorded), None);
        assert_eq!(open(&Secret::new([3; 32]), "http:a", &recorded), None);
        assert_eq!(open(&caller, "http:a", &recorded[..recorded.len() - 1]), None);
        assert!(!recorded.windows(10).any(|window| window == b"cft_secret"));
    }
}
