//! Documents verified offline: each claim, in each direction, and keys that were retired.

use counterfoil_format::jws::{self, JwsError};
use counterfoil_format::jwt::{self, Demands, JwtError, KeyList, LEEWAY, ListedKey};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use serde_json::{Value, json};

const NOW: i64 = 1_790_000_000;
const DEMANDS: Demands<'_> = Demands { typ: "license+jwt", now: NOW, audience: None, holder: None, must_expire: false };

fn key() -> SigningKey {
    SigningKey::from_seed(&Secret::new([3; 32]))
}

fn keys(retired_at: Option<i64>) -> KeyList {
    KeyList { keys: vec![ListedKey::new("k1", &key().verifying_key(), retired_at)] }
}

fn check(claims: Value, demands: Demands<'_>) -> Result<Value, JwtError> {
    jwt::verify(&jws::sign_compact(DEMANDS.typ, "k1", &claims, &key()), &keys(None), &demands)
}

#[test]
fn claims_that_are_met() {
    let reader = Demands { audience: Some("me"), ..DEMANDS };
    for (claims, demands) in [
        (json!({}), DEMANDS),
        (json!({ "anything": [1, 2] }), DEMANDS),
        (json!({ "iat": NOW, "nbf": NOW, "exp": NOW + 1 }), DEMANDS),
        (json!({ "exp": NOW + 1 }), Demands { must_expire: true, ..DEMANDS }),
        (json!({ "aud": "me" }), reader),
        (json!({ "aud": ["you", "me"] }), reader),
        (json!({ "cnf": { "kid": "dev-1" } }), Demands { holder: Some("dev-1"), ..DEMANDS }),
        // Clocks may differ a little.
        (json!({ "iat": NOW + LEEWAY, "nbf": NOW + LEEWAY, "exp": NOW - LEEWAY + 1 }), DEMANDS),
    ] {
        assert_eq!(check(claims.clone(), demands), Ok(claims));
    }
}

/// What must be refused, and why.
fn refused() -> Vec<(Value, Demands<'static>, JwtError)> {
    let reader = Demands { audience: Some("me"), ..DEMANDS };
    let payload = JwtError::Signed(JwsError::Payload);
    vec![
        (json!({ "exp": NOW - LEEWAY }), DEMANDS, JwtError::Expired),
        (json!({ "exp": i64::MIN }), DEMANDS, JwtError::Expired),
        (json!({}), Demands { must_expire: true, ..DEMANDS }, JwtError::Expired),
        (json!({ "nbf": NOW + LEEWAY + 1 }), DEMANDS, JwtError::NotYet),
        (json!({ "iat": NOW + LEEWAY + 1 }), DEMANDS, JwtError::NotYet),
        (json!({ "iat": i64::MAX }), DEMANDS, JwtError::NotYet),
        (json!({}), reader, JwtError::Audience),
        (json!({ "aud": "you" }), reader, JwtError::Audience),
        (json!({ "aud": [] }), reader, JwtError::Audience),
        (json!({ "aud": ["you", "them"] }), reader, JwtError::Audience),
        (json!({ "aud": "me" }), DEMANDS, JwtError::Audience),
        (json!({}), Demands { holder: Some("dev-1"), ..DEMANDS }, JwtError::Holder),
        (json!({ "cnf": { "kid": "dev-2" } }), Demands { holder: Some("dev-1"), ..DEMANDS }, JwtError::Holder),
        (json!({ "cnf": { "kid": "dev-1" } }), DEMANDS, JwtError::Holder),
        (json!({ "cnf": { "jwk": {} } }), Demands { holder: Some("dev-1"), ..DEMANDS }, payload),
        (json!({ "exp": "never" }), DEMANDS, payload),
        (json!({ "exp": 1e300 }), DEMANDS, payload),
        (json!({ "exp": u64::MAX }), DEMANDS, payload),
        (json!({ "aud": 7 }), reader, payload),
        (json!([]), DEMANDS, payload),
    ]
}

#[test]
fn claims_that_are_not() {
    for (claims, demands, error) in refused() {
        assert_eq!(check(claims.clone(), demands), Err(error), "{claims}");
    }
    // Clocks at the ends of time.
    for now in [i64::MIN, i64::MAX] {
        assert!(check(json!({ "iat": NOW, "exp": NOW + 10 }), Demands { now, ..DEMANDS }).is_err());
    }
}

/// A verifier that does not know a claim is run over the same table, which must notice.
#[test]
fn planted_bugs_are_caught() {
    for (claim, caught) in [("aud", 5), ("exp", 5), ("nbf", 1), ("iat", 2), ("cnf", 3)] {
        let wrong = refused().into_iter().filter(|(claims, demands, error)| {
            let mut claims = claims.clone();
            if let Some(members) = claims.as_object_mut() {
                members.remove(claim);
            }
            let demands = match claim {
                "aud" => Demands { audience: None, ..*demands },
                "cnf" => Demands { holder: None, ..*demands },
                _ => *demands,
            };
            check(claims, demands) != Err(*error)
        });
        assert!(wrong.count() >= caught, "not caught: {claim} not checked");
    }
}

#[test]
fn a_retired_key_speaks_for_what_it_signed_before() {
    let verify = |claims: Value, retired_at| {
        jwt::verify::<Value>(&jws::sign_compact(DEMANDS.typ, "k1", &claims, &key()), &keys(Some(retired_at)), &DEMANDS)
    };
    assert!(verify(json!({ "iat": NOW - 10 }), NOW - 10).is_ok());
    assert_eq!(verify(json!({ "iat": NOW - 10 }), NOW - 11), Err(JwtError::KeyRetired));
    assert_eq!(verify(json!({}), NOW), Err(JwtError::KeyRetired));
}

#[test]
fn key_lists() {
    let list = keys(Some(NOW));
    let text = serde_json::to_string(&list).unwrap();
    assert_eq!(KeyList::parse(text.as_bytes()), Ok(list));
    assert!(text.contains(r#""kty":"OKP","crv":"Ed25519""#) && text.contains(r#""use":"sig","alg":"EdDSA""#), "{text}");

    // Keys of other kinds may be listed, and verify nothing.
    let x = key().verifying_key().to_string();
    for other in [
        json!({ "kid": "k1", "kty": "EC", "crv": "P-256", "x": x, "y": x }),
        json!({ "kid": "k1", "kty": "oct", "k": x }),
        json!({ "kid": "k1", "kty": "OKP", "crv": "X25519", "x": x }),
        json!({ "kid": "k1", "kty": "OKP", "crv": "Ed25519", "x": x, "use": "enc" }),
        json!({ "kid": "k1", "kty": "OKP", "crv": "Ed25519", "x": x, "alg": "HS256" }),
        json!({ "kid": "k1", "kty": "OKP", "crv": "Ed25519", "x": format!("{x}=") }),
        json!({ "kid": "k1", "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }),
    ] {
        let list = KeyList::parse(json!({ "keys": [other] }).to_string().as_bytes()).unwrap();
        let token = jws::sign_compact(DEMANDS.typ, "k1", &json!({}), &key());
        assert_eq!(jwt::verify::<Value>(&token, &list, &DEMANDS), Err(JwtError::Signed(JwsError::UnknownKey)), "{other}");
    }

    let one = serde_json::to_value(&keys(None).keys[0]).unwrap();
    let twice = json!({ "keys": [one, one] });
    let many: Vec<Value> = (0..=jwt::MAX_KEYS).map(|i| json!({ "kid": i.to_string(), "kty": "oct" })).collect();
    for hostile in [twice.to_string(), json!({ "keys": many }).to_string(), "{}".to_owned(), "[]".to_owned(), format!("{text}x")] {
        assert_eq!(KeyList::parse(hostile.as_bytes()), Err(JwsError::Shape), "{hostile}");
    }
    assert_eq!(KeyList::parse(&vec![b' '; jws::MAX_TOKEN + 1]), Err(JwsError::TooLarge));
}
