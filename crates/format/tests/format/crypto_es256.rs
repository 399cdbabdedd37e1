//! Cards whose keys are in a token or TPM: P-256, for signatures of requests (ES256) and for boxes, and for nothing else.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use counterfoil_format::content::FEED_TYP;
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::envelope::{self, ANSWER_TYP, Envelope, EnvelopeError, REQUEST_TYP};
use counterfoil_format::grant::{GrantScope, seal_box, seal_grant};
use counterfoil_format::holder::{HolderKeys, HolderKind, HolderPublic};
use counterfoil_format::hpke::{DiffieHellman as _, Kem, SealingKey};
use counterfoil_format::jws::{self, Algorithm, General, JwsError, Signer, Verifier};
use counterfoil_format::secret::{Secret, SystemRandom};
use counterfoil_format::sign::VerifyingKey;
use counterfoil_format::signer::{Ecdsa, HolderVerifyingKey, SignError};
use serde_json::json;

/// A token as this crate sees it.
struct Token {
    pair: EcdsaKeyPair,
    sealing: SealingKey,
}

impl Token {
    fn new() -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            sealing: SealingKey::generate(Kem::P256, &mut SystemRandom),
        }
    }

    fn public(&self) -> HolderPublic {
        let signing = HolderVerifyingKey::from_bytes(self.pair.public_key().as_ref()).unwrap();
        HolderPublic::new(signing, *self.sealing.public_key()).unwrap()
    }
}

impl Ecdsa for Token {
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<[u8; 64], SignError> {
        let digest = Digest::import_less_safe(digest, &SHA256).unwrap();
        Ok(self.pair.sign_digest(&digest).unwrap().as_ref().try_into().unwrap())
    }
}

/// Pulled out.
struct Gone;

impl Ecdsa for Gone {
    fn sign_digest(&self, _: &[u8; 32]) -> Result<[u8; 64], SignError> {
        Err(SignError("the token was taken out".to_owned()))
    }
}

/// RFC 7515 appendix A.3.
#[test]
fn the_example_of_the_rfc_verifies() {
    let x = from_base64url("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU").unwrap();
    let y = from_base64url("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0").unwrap();
    let key = HolderVerifyingKey::from_bytes(&[&[4][..], &x, &y].concat()).unwrap();
    let signed =
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ".as_bytes();
    let signature = from_base64url("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q").unwrap();
    key.verify(signed, &signature).unwrap();
    for place in 0..signature.len() {
        let mut other = signature.clone();
        other[place] ^= 1;
        assert!(key.verify(signed, &other).is_err());
    }
    assert!(key.verify(signed, &signature[..63]).is_err());
}

#[test]
fn a_request_of_a_card_in_a_token_is_read() {
    let (token, authority) = (Token::new(), SealingKey::generate(Kem::X25519, &mut SystemRandom));
    let device = HolderKeys::generate(HolderKind::Device, &mut SystemRandom).signing_key();
    let proofs = [("crd-1", Signer::Token(&token)), ("dev-1", Signer::Key(&device))];
    let (sealed, _) = envelope::seal(b"{}", &proofs, "authority-1", authority.public_key(), &mut SystemRandom).unwrap();
    let (request, _) = Envelope::parse(&sealed.to_json()).unwrap().open(&authority).unwrap();
    assert_eq!(request.signers().collect::<Vec<_>>(), [("crd-1", Algorithm::Es256), ("dev-1", Algorithm::EdDsa)]);
    request.verify("crd-1", Verifier::Key(&token.public().signing)).unwrap();
    request.verify("dev-1", Verifier::Key(&device.verifying_key().into())).unwrap();
    assert_eq!(request.verify("crd-1", Verifier::Key(&Token::new().public().signing)), Err(JwsError::Signature));
    assert_eq!(request.verify("crd-1", Verifier::Key(&device.verifying_key().into())), Err(JwsError::Algorithm));
    assert_eq!(request.verify("dev-1", Verifier::Key(&token.public().signing)), Err(JwsError::Algorithm));
    assert_eq!(request.verify("crd-1", Verifier::ClaimSecret(&Secret::new([1; 32]))), Err(JwsError::Algorithm));
}

/// The header says one algorithm and the signature is good under another: the key decides, and says no.
#[test]
fn the_token_does_not_choose_the_algorithm() {
    let (token, file) = (Token::new(), HolderKeys::generate(HolderKind::Card, &mut SystemRandom));
    let payload = to_base64url(b"{}");
    let forged = |alg: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let protected = to_base64url(json!({ "alg": alg, "typ": "t", "kid": "k", "aud": "a" }).to_string().as_bytes());
        let signature = to_base64url(&sign(format!("{protected}.{payload}").as_bytes()));
        let document = json!({ "payload": payload, "signatures": [{ "protected": protected, "signature": signature }] });
        General::parse(document.to_string().as_bytes(), "t", "a")
    };
    let es256 = |message: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&SHA256, message);
        token.sign_digest(digest.as_ref().try_into().unwrap()).unwrap().to_vec()
    };
    let eddsa = |message: &[u8]| file.signing_key().sign(message).to_vec();
    let (in_token, in_file) = (token.public().signing, file.public().signing);
    assert_eq!(forged("ES256", &es256).unwrap().verify("k", Verifier::Key(&in_token)), Ok(()));
    assert_eq!(forged("EdDSA", &eddsa).unwrap().verify("k", Verifier::Key(&in_file)), Ok(()));
    assert_eq!(forged("EdDSA", &es256).unwrap().verify("k", Verifier::Key(&in_token)), Err(JwsError::Algorithm));
    assert_eq!(forged("ES256", &eddsa).unwrap().verify("k", Verifier::Key(&in_file)), Err(JwsError::Algorithm));
    // A MAC under the public key's bytes, which everybody knows.
    let mac = |message: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, in_token.as_bytes());
        aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
    };
    assert_eq!(forged("HS256", &mac).unwrap().verify("k", Verifier::Key(&in_token)), Err(JwsError::Algorithm));
    for other in ["ES384", "ES256K", "es256", "PS256", "none", ""] {
        assert_eq!(forged(other, &es256).err(), Some(JwsError::Algorithm), "{other}");
    }
}

/// No answer, license, feed or identity is signed with P-256, whoever asks: its verifier takes another type of key, and `alg` is refused.
#[test]
fn no_document_is_signed_like_that() {
    let token = Token::new();
    let public = HolderKeys::generate(HolderKind::Publisher, &mut SystemRandom).signing_key().verifying_key();
    for typ in [ANSWER_TYP, FEED_TYP, "license+jwt"] {
        let header = to_base64url(json!({ "alg": "ES256", "typ": typ, "kid": "k" }).to_string().as_bytes());
        let signed = format!("{header}.{}", to_base64url(b"{}"));
        let digest = aws_lc_rs::digest::digest(&SHA256, signed.as_bytes());
        let signature = token.sign_digest(digest.as_ref().try_into().unwrap()).unwrap();
        let document = format!("{signed}.{}", to_base64url(&signature));
        let verified = jws::verify_compact::<serde_json::Value>(&document, typ, |_| Some(public));
        assert_eq!(verified, Err(JwsError::Algorithm), "{typ}");
    }
    let text = token.public().signing.to_string();
    assert!(text.parse::<HolderVerifyingKey>().is_ok() && text.parse::<VerifyingKey>().is_err());
}

#[test]
fn boxes_open_with_the_token_and_its_id_follows_from_both_keys() {
    let (token, other) = (Token::new(), Token::new());
    let sealed = seal_box(&token.public().sealing, &["p"], b"usr-1", &mut SystemRandom).unwrap();
    assert_eq!(*sealed.open(&token.sealing, &["p"]).unwrap(), b"usr-1");
    assert!(sealed.open(&other.sealing, &["p"]).is_err());
    let scope = GrantScope { title: "t", grant: "g", device: "d" };
    let (secret, key) = (Secret::new([3; 32]), Secret::new([4; 32]));
    let grant = seal_grant(&token.public().sealing, Some(&secret), &scope, &key, None, &mut SystemRandom).unwrap();
    assert!(grant.open(&token.sealing, Some(&secret), &scope).unwrap().library_key().unwrap() == key);
    let opened = grant.open(&token.sealing, Some(&key), &scope);
    assert!(opened.and_then(|open| open.library_key()).is_err(), "with another device's secret");
    let exchanged = HolderPublic { sealing: other.public().sealing, ..token.public() };
    let signs = HolderPublic { signing: other.public().signing, ..token.public() };
    assert!(token.public().id() != exchanged.id() && token.public().id() != signs.id());
}

#[test]
fn keys_of_two_kinds_are_no_holder() {
    let (token, file) = (Token::new().public(), HolderKeys::generate(HolderKind::Card, &mut SystemRandom).public());
    assert!(HolderPublic::new(token.signing, file.sealing).is_err());
    assert!(HolderPublic::new(file.signing, token.sealing).is_err());
    assert_eq!(HolderPublic::new(file.signing, file.sealing), Ok(file));
    for bytes in [&[][..], &[2; 33], &[4; 64], &[4; 66], &[5; 65]] {
        assert!(HolderVerifyingKey::from_bytes(bytes).is_err(), "{} bytes", bytes.len());
    }
    // Not on the curve: nothing verifies under it.
    let nowhere = HolderVerifyingKey::from_bytes(&[4; 65]).unwrap();
    assert!(nowhere.verify(b"x", &[1; 64]).is_err());
}

#[test]
fn a_token_that_fails_fails_the_request() {
    let authority = SealingKey::generate(Kem::X25519, &mut SystemRandom);
    let sealed = envelope::seal(b"{}", &[("crd-1", Signer::Token(&Gone))], "a", authority.public_key(), &mut SystemRandom);
    assert_eq!(sealed.err(), Some(EnvelopeError::Signer(SignError("the token was taken out".to_owned()))));
    assert!(jws::sign_general(REQUEST_TYP, "a", b"{}", &[("crd-1", Signer::Token(&Gone))]).is_err());
}
