//! Signed documents, good and hostile, from a data file made by another implementation.
//!
//! The runner takes the verifier as a function and is run again over verifiers with one check left out, each of which it must catch.

use base64::Engine as _;
use counterfoil_format::envelope::{ANSWER_TYP, MAX_ANSWER};
use counterfoil_format::jws::{self, General, JwsError, Signer, Verifier};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::{SigningKey, VerifyingKey};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Vectors {
    typ: String,
    kid: String,
    aud: String,
    seed: String,
    public: String,
    claim_secret: String,
    compact: Vec<Case>,
    general: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    token: String,
    expect: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Payload {
    title: String,
    count: u32,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../vectors/crypto/jws.json")).unwrap()
}

fn unhex(text: &str) -> Secret<32> {
    let bytes: Vec<u8> = (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect();
    Secret::from_slice(&bytes).unwrap()
}

fn key(v: &Vectors) -> SigningKey {
    SigningKey::from_seed(&unhex(&v.seed))
}

fn name<T>(result: &Result<T, JwsError>) -> String {
    result.as_ref().map_or_else(|error| format!("{error:?}"), |_| "ok".to_owned())
}

/// The cases that did not come out as the file says.
fn wrong(cases: &[Case], verify: impl Fn(&str) -> Result<(), JwsError>) -> Vec<String> {
    let found = |case: &Case| name(&verify(&case.token));
    cases
        .iter()
        .filter(|case| found(case) != case.expect)
        .map(|case| format!("{}: {} and not {}", case.name, found(case), case.expect))
        .collect()
}

fn verify_compact(v: &Vectors, token: &str) -> Result<(), JwsError> {
    let public = key(v).verifying_key();
    let payload: Payload = jws::verify_compact(token, &v.typ, |kid| (kid == v.kid).then_some(public))?;
    assert_eq!(payload, Payload { title: "sky-raider".to_owned(), count: 3 });
    Ok(())
}

fn verify_general(v: &Vectors, token: &str) -> Result<(), JwsError> {
    let general = General::parse(token.as_bytes(), &v.typ, &v.aud)?;
    general.verify("crd-1", Verifier::Key(&key(v).verifying_key().into()))?;
    general.verify("med-1", Verifier::ClaimSecret(&unhex(&v.claim_secret)))
}

#[test]
fn compact_documents() {
    let v = vectors();
    assert_eq!(key(&v).verifying_key().as_bytes(), unhex(&v.public).expose());
    assert!(v.compact.len() >= 70);
    assert_eq!(wrong(&v.compact, |token| verify_compact(&v, token)), Vec::<String>::new());
}

#[test]
fn documents_with_several_signatures() {
    let v = vectors();
    assert!(v.general.len() >= 30);
    assert_eq!(wrong(&v.general, |token| verify_general(&v, token)), Vec::<String>::new());
}

/// A verifier as it is often written. Each field is a check that it makes.
#[derive(Clone, Copy)]
struct Naive {
    typ: bool,
    own_algorithm: bool,
    known_header: bool,
    canonical: bool,
    single_members: bool,
}

const CAREFUL: Naive = Naive { typ: true, own_algorithm: true, known_header: true, canonical: true, single_members: true };

impl Naive {
    /// Whether it lets the token in.
    fn accepts(self, v: &Vectors, token: &str) -> Option<()> {
        let public = key(v).verifying_key();
        let decode = |text: &str| {
            if self.canonical {
                return counterfoil_format::encoding::from_base64url(text);
            }
            let lenient = base64::engine::GeneralPurposeConfig::new()
                .with_decode_allow_trailing_bits(true)
                .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent);
            base64::engine::GeneralPurpose::new(&base64::alphabet::URL_SAFE, lenient).decode(text.trim()).ok()
        };
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else { return None };
        let (signed, signature) = (format!("{header}.{payload}"), decode(signature)?);
        let header = decode(header)?;
        if self.single_members {
            counterfoil_format::encoding::parse_strict::<serde_json::Value>(&header).ok()?;
            counterfoil_format::encoding::parse_strict::<serde_json::Value>(&decode(payload)?).ok()?;
        }
        let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&header).ok()?;
        let text = |name: &str| header.get(name).and_then(|value| value.as_str());
        let fits = (!self.typ || text("typ") == Some(&v.typ))
            && (!self.known_header || header.keys().all(|name| ["alg", "typ", "kid"].contains(&name.as_str())))
            && text("kid") == Some(&v.kid)
            && token.len() <= jws::MAX_TOKEN;
        let verified = match text("alg")? {
            "EdDSA" | "Ed25519" => public.verify(signed.as_bytes(), &signature).is_ok(),
            "HS256" if !self.own_algorithm => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.as_bytes());
                aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
            }
            "none" if !self.own_algorithm => true,
            _ => false,
        };
        serde_json::from_slice::<Payload>(&decode(payload)?).ok()?;
        (fits && verified).then_some(())
    }

    /// Hostile documents that it lets in.
    fn fooled_by(self, v: &Vectors) -> Vec<&str> {
        let hostile = v.compact.iter().filter(|case| case.expect != "ok");
        hostile.filter(|case| self.accepts(v, &case.token).is_some()).map(|case| case.name.as_str()).collect()
    }
}

#[test]
fn planted_bugs_are_caught() {
    let v = vectors();
    assert_eq!(CAREFUL.fooled_by(&v), Vec::<&str>::new());
    let bugs = [
        ("typ not checked", Naive { typ: false, ..CAREFUL }),
        ("the token chooses its algorithm", Naive { own_algorithm: false, ..CAREFUL }),
        ("unknown header parameters, crit among them, passed over", Naive { known_header: false, ..CAREFUL }),
        ("several spellings of the same bytes", Naive { canonical: false, ..CAREFUL }),
        ("the last of two members wins", Naive { single_members: false, ..CAREFUL }),
    ];
    for (bug, verifier) in bugs {
        assert!(!verifier.fooled_by(&v).is_empty(), "not caught: {bug}");
    }
}

#[test]
fn points_of_small_order_are_no_keys() {
    // Torsion points of edwards25519, canonical and not, each with both sign bits.
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        let mut point = *unhex(point).expose();
        assert!(VerifyingKey::from_bytes(point).is_err());
        point[31] |= 0x80;
        assert!(VerifyingKey::from_bytes(point).is_err());
    }
}

fn of_seed(seed: [u8; 32]) -> SigningKey {
    SigningKey::from_seed(&Secret::new(seed))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_signed_is_read(seed: [u8; 32], title: String, count: u32, kid in "[a-z0-9-]{1,40}") {
        let key = of_seed(seed);
        let token = jws::sign_compact("t", &kid, &Payload { title: title.clone(), count }, &key);
        let read = jws::verify_compact::<Payload>(&token, "t", |found| (found == kid).then(|| key.verifying_key()));
        prop_assert_eq!(read, Ok(Payload { title, count }));
    }

    #[test]
    fn one_changed_character_is_refused(seed: [u8; 32], place: prop::sample::Index, to in "[A-Za-z0-9_.=-]") {
        let key = of_seed(seed);
        let mut token = jws::sign_compact("t", "k", &Payload { title: "sky-raider".to_owned(), count: 1 }, &key);
        let place = place.index(token.len());
        prop_assume!(token[place..=place] != to);
        token.replace_range(place..=place, &to);
        prop_assert!(jws::verify_compact::<Payload>(&token, "t", |_| Some(key.verifying_key())).is_err());
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, text in "\\PC{0,200}") {
        let public = of_seed([1; 32]).verifying_key();
        prop_assert!(jws::verify_compact::<Payload>(&text, "t", |_| Some(public)).is_err());
        prop_assert!(General::parse(&bytes, "t", "a").is_err());
    }

    #[test]
    fn every_signer_is_needed_and_none_stands_for_another(seed_a: [u8; 32], seed_b: [u8; 32], secret: [u8; 32], payload: Vec<u8>) {
        prop_assume!(seed_a != seed_b);
        let (a, b) = (of_seed(seed_a), of_seed(seed_b));
        let secret = Secret::new(secret);
        let signers = [("a", Signer::Key(&a)), ("b", Signer::Key(&b)), ("m", Signer::ClaimSecret(&secret))];
        let general = General::parse(&jws::sign_general("t", "aud", &payload, &signers).unwrap(), "t", "aud").unwrap();
        prop_assert_eq!(&general.payload, &payload);
        prop_assert_eq!(general.signers().count(), 3);
        prop_assert_eq!(general.verify("a", Verifier::Key(&a.verifying_key().into())), Ok(()));
        prop_assert_eq!(general.verify("b", Verifier::Key(&b.verifying_key().into())), Ok(()));
        prop_assert_eq!(general.verify("m", Verifier::ClaimSecret(&secret)), Ok(()));
        prop_assert_eq!(general.verify("a", Verifier::Key(&b.verifying_key().into())), Err(JwsError::Signature));
        prop_assert_eq!(general.verify("b", Verifier::ClaimSecret(&secret)), Err(JwsError::Algorithm));
        prop_assert_eq!(general.verify("m", Verifier::Key(&a.verifying_key().into())), Err(JwsError::Algorithm));
        prop_assert_eq!(general.verify("c", Verifier::Key(&a.verifying_key().into())), Err(JwsError::UnknownKey));
    }
}

#[test]
fn an_answer_may_be_longer_than_any_other_document_and_not_endless() {
    let key = SigningKey::from_seed(&Secret::new([7; 32]));
    let signed = |typ: &str, length: usize| jws::sign_compact(typ, "sig-1", &serde_json::json!({ "x": "x".repeat(length) }), &key);
    let verified = |typ: &str, token: &str| jws::verify_compact::<serde_json::Value>(token, typ, |_| Some(key.verifying_key()));
    assert!(verified(ANSWER_TYP, &signed(ANSWER_TYP, jws::MAX_TOKEN)).is_ok());
    assert_eq!(verified(ANSWER_TYP, &signed(ANSWER_TYP, MAX_ANSWER)), Err(JwsError::TooLarge));
    assert_eq!(verified("license+jwt", &signed("license+jwt", jws::MAX_TOKEN)), Err(JwsError::TooLarge));
}
