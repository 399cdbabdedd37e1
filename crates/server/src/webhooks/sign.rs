//! Signatures of deliveries, as the Standard Webhooks specification has them: HMAC-SHA256 over `id.timestamp.body`, written `v1,<base64>`.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_core::DeliveryId;
use counterfoil_format::secret::Secret;

/// What a secret begins with where people see it.
const PREFIX: &str = "whsec_";

/// A secret as its receiver is given it: `whsec_` and base64.
pub fn reveal(secret: &Secret<32>) -> String {
    format!("{PREFIX}{}", STANDARD.encode(secret.expose()))
}

/// The value of `webhook-signature`: a signature by each secret, the newest first. `seconds` since 1970.
pub fn header(secrets: &[Secret<32>], id: DeliveryId, seconds: i64, body: &str) -> String {
    let signed = |secret: &Secret<32>| format!("v1,{}", STANDARD.encode(mac(secret.expose(), &id.to_string(), seconds, body)));
    secrets.iter().map(signed).collect::<Vec<_>>().join(" ")
}

fn mac(key: &[u8], id: &str, seconds: i64, body: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), format!("{id}.{seconds}.{body}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries: `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`.
    #[test]
    fn the_published_vector_comes_out() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let tag = mac(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(STANDARD.encode(tag), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_sign_both_and_nothing_that_is_covered_can_change() {
        let (new, old) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let id = DeliveryId::from_bytes([3; 16]);
        let both = header(&[Secret::new([1; 32]), Secret::new([2; 32])], id, 7, "{}");
        let alone = |secret: &Secret<32>| header(std::slice::from_ref(secret), id, 7, "{}");
        assert_eq!(both, format!("{} {}", alone(&new), alone(&old)));
        let first = alone(&new);
        for other in [
            header(std::slice::from_ref(&new), DeliveryId::from_bytes([4; 16]), 7, "{}"),
            header(std::slice::from_ref(&new), id, 8, "{}"),
            header(std::slice::from_ref(&new), id, 7, "{ }"),
        ] {
            assert_ne!(first, other);
        }
        assert!(reveal(&new).starts_with("whsec_AQEB") && STANDARD.decode(&reveal(&new)[6..]).is_ok_and(|bytes| bytes == [1; 32]));
    }
}
