//! Sealed envelopes and key files: round trips, and everything that must not be taken for one.

use counterfoil_format::encoding::to_base64url;
use counterfoil_format::envelope::{self, Envelope, EnvelopeError, MAX_ENVELOPE, MAX_PAYLOAD};
use counterfoil_format::holder::{HolderKeys, HolderKind, KeyFileError};
use counterfoil_format::hpke::{DiffieHellman as _, HpkeError, Kem, SealingKey};
use counterfoil_format::jws::{JwsError, Signer, Verifier};
use counterfoil_format::secret::{Secret, SystemRandom};
use proptest::prelude::*;
use serde_json::{Value, json};

struct Parties {
    authority: SealingKey,
    card: HolderKeys,
    device: HolderKeys,
    claim_secret: Secret<32>,
}

fn parties() -> Parties {
    Parties {
        authority: SealingKey::generate(Kem::X25519, &mut SystemRandom),
        card: HolderKeys::generate(HolderKind::Card, &mut SystemRandom),
        device: HolderKeys::generate(HolderKind::Device, &mut SystemRandom),
        claim_secret: Secret::random(&mut SystemRandom),
    }
}

fn seal(parties: &Parties, payload: &[u8]) -> Envelope {
    let (card, device) = (parties.card.signing_key(), parties.device.signing_key());
    let proofs = [("crd-1", Signer::Key(&card)), ("dev-1", Signer::Key(&device)), ("med-1", Signer::ClaimSecret(&parties.claim_secret))];
    envelope::seal(payload, &proofs, "authority-1", parties.authority.public_key(), &mut SystemRandom).unwrap().0
}

#[test]
fn an_envelope_arrives_with_all_its_proofs() {
    for kem in [Kem::X25519, Kem::P256] {
        let parties = Parties { authority: SealingKey::generate(kem, &mut SystemRandom), ..parties() };
        let sent = seal(&parties, br#"{"op":"claim"}"#);
        let received = Envelope::parse(&sent.to_json()).unwrap();
        assert_eq!((&received, received.kid.as_str()), (&sent, "authority-1"));
        let (request, _) = received.open(&parties.authority).unwrap();
        assert_eq!(request.payload, br#"{"op":"claim"}"#);
        assert_eq!(request.signers().map(|(kid, _)| kid).collect::<Vec<_>>(), ["crd-1", "dev-1", "med-1"]);
        request.verify("crd-1", Verifier::Key(&parties.card.public().signing)).unwrap();
        request.verify("dev-1", Verifier::Key(&parties.device.public().signing)).unwrap();
        request.verify("med-1", Verifier::ClaimSecret(&parties.claim_secret)).unwrap();
        // One for another, and a guessed claim secret.
        assert_eq!(request.verify("crd-1", Verifier::Key(&parties.device.public().signing)), Err(JwsError::Signature));
        assert_eq!(request.verify("med-1", Verifier::ClaimSecret(&Secret::new([0; 32]))), Err(JwsError::Signature));
        assert_eq!(request.verify("drv-1", Verifier::Key(&parties.device.public().signing)), Err(JwsError::UnknownKey));
    }
}

#[test]
fn what_travels_says_nothing() {
    let parties = parties();
    let secret = "canary-in-the-payload";
    let json = String::from_utf8(seal(&parties, secret.as_bytes()).to_json()).unwrap();
    let public = parties.card.public().signing.to_string();
    for canary in [secret, &to_base64url(secret.as_bytes())[..20], "crd-1", "med-1", &public] {
        assert!(!json.contains(canary));
    }
    assert_ne!(seal(&parties, b"same").to_json(), seal(&parties, b"same").to_json());
}

#[test]
fn an_envelope_opens_for_its_authority_only() {
    let parties = parties();
    let sent = seal(&parties, b"{}");
    for kem in [Kem::X25519, Kem::P256] {
        let other = SealingKey::generate(kem, &mut SystemRandom);
        assert!(matches!(sent.open(&other), Err(EnvelopeError::Sealed(HpkeError::Open | HpkeError::Key))));
    }
    let mut renamed = sent;
    renamed.kid = "authority-2".to_owned();
    assert!(matches!(renamed.open(&parties.authority), Err(EnvelopeError::Sealed(HpkeError::Open))));
}

#[test]
fn an_authority_cannot_pass_a_request_on_to_another() {
    let parties = parties();
    let other = SealingKey::generate(Kem::X25519, &mut SystemRandom);
    // What the first authority reads, it seals to the second: the signatures are genuine, but made for the first.
    let card = parties.card.signing_key();
    let signed_for_first = counterfoil_format::jws::sign_general(
        envelope::REQUEST_TYP,
        &parties.authority.public_key().to_string(),
        b"{}",
        &[("crd-1", Signer::Key(&card))],
    )
    .unwrap();
    let passed_on = seal_raw(&signed_for_first, "authority-1", &other);
    assert_eq!(passed_on.open(&other).err(), Some(EnvelopeError::Signed(JwsError::Audience)));
    // Sealed to the one that they were made for, the same bytes are good: the test would notice if they were bad for another reason.
    assert!(seal_raw(&signed_for_first, "authority-1", &parties.authority).open(&parties.authority).is_ok());
}

/// Seals bytes as an envelope, whatever they are, by the description in the specification.
fn seal_raw(signed: &[u8], kid: &str, to: &SealingKey) -> Envelope {
    use counterfoil_format::{encoding::frame, hpke};
    let ephemeral = SealingKey::generate(Kem::X25519, &mut SystemRandom);
    let info = frame(&[b"counterfoil envelope v1", kid.as_bytes()]);
    let (enc, mut context) = hpke::sender(hpke::Suite::X25519, to.public_key(), &info, None, &ephemeral).unwrap();
    let json = json!({ "kid": kid, "enc": enc, "ct": to_base64url(&context.seal(kid.as_bytes(), signed)) });
    Envelope::parse(json.to_string().as_bytes()).unwrap()
}

#[test]
fn what_is_sealed_must_be_a_request() {
    let parties = parties();
    let card = parties.card.signing_key();
    let to = parties.authority.public_key().to_string();
    let answer = counterfoil_format::jws::sign_general(envelope::ANSWER_TYP, &to, b"{}", &[("crd-1", Signer::Key(&card))]).unwrap();
    for (inside, error) in
        [(&b""[..], JwsError::Shape), (b"{}", JwsError::Shape), (b"{\"op\":\"claim\"}", JwsError::Shape), (&answer, JwsError::Type)]
    {
        assert_eq!(seal_raw(inside, "a", &parties.authority).open(&parties.authority).err(), Some(EnvelopeError::Signed(error)));
    }
}

#[test]
fn changed_envelopes_do_not_open() {
    let parties = parties();
    let good = seal(&parties, b"{}").to_json();
    let opens = |bytes: &[u8]| Envelope::parse(bytes).is_ok_and(|envelope| envelope.open(&parties.authority).is_ok());
    assert!(opens(&good));
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(&bytes), "bit {bit}");
    }
    for length in 0..good.len() {
        assert!(!opens(&good[..length]), "cut to {length}");
    }
    assert!(!opens(&[&good[..], b"x"].concat()));
    assert!(!opens(&[&good[..], &good].concat()));
    // An opener that looks at the first object only lets the doubled one in: the check above is able to fail.
    let first_only = |bytes: &[u8]| serde_json::Deserializer::from_slice(bytes).into_iter::<Envelope>().next().is_some_and(|e| e.is_ok());
    assert!(first_only(&[&good[..], &good].concat()));
}

#[test]
fn hostile_envelopes() {
    let parties = parties();
    let good: Value = serde_json::from_slice(&seal(&parties, b"{}").to_json()).unwrap();
    let with = |name: &str, value: Value| {
        let mut json = good.clone();
        json[name] = value;
        json.to_string()
    };
    let text = good.to_string();
    for hostile in [
        "".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        format!("[{},{},{}]", good["kid"], good["enc"], good["ct"]),
        with("more", json!(1)),
        with("kid", json!(null)),
        with("kid", json!("k".repeat(200))),
        with("enc", json!("AAAA")),
        with("enc", json!(format!("{}=", good["enc"].as_str().unwrap()))),
        with("ct", json!([1, 2])),
        with("ct", json!("A+/A")),
        format!("{},\"kid\":\"other\"}}", &text[..text.len() - 1]),
    ] {
        assert_eq!(Envelope::parse(hostile.as_bytes()).err(), Some(EnvelopeError::Shape), "{hostile}");
    }
    let zero = Envelope::parse(with("enc", json!(to_base64url(&[0; 32]))).as_bytes()).unwrap();
    assert_eq!(zero.open(&parties.authority).err(), Some(EnvelopeError::Sealed(HpkeError::Key)));
    for ct in ["", "AAAA"] {
        let short = Envelope::parse(with("ct", json!(ct)).as_bytes()).unwrap();
        assert_eq!(short.open(&parties.authority).err(), Some(EnvelopeError::Sealed(HpkeError::Open)));
    }
}

#[test]
fn the_largest_request_fits_and_a_larger_one_is_refused() {
    let parties = parties();
    let largest = seal(&parties, &vec![b'x'; MAX_PAYLOAD]).to_json();
    assert!(largest.len() <= MAX_ENVELOPE, "{}", largest.len());
    assert_eq!(Envelope::parse(&largest).unwrap().open(&parties.authority).unwrap().0.payload.len(), MAX_PAYLOAD);
    let refused = envelope::seal(&vec![b'x'; MAX_PAYLOAD + 1], &[], "a", parties.authority.public_key(), &mut SystemRandom);
    assert_eq!(refused.err(), Some(EnvelopeError::TooLarge));
    assert_eq!(Envelope::parse(&vec![b' '; MAX_ENVELOPE + 1]).err(), Some(EnvelopeError::TooLarge));
}

// Key files

#[test]
fn key_files_are_read_as_written() {
    for kind in [HolderKind::Card, HolderKind::Device, HolderKind::Drive, HolderKind::Publisher] {
        let keys = HolderKeys::generate(kind, &mut SystemRandom);
        let file = keys.to_json();
        let read = HolderKeys::parse(&file).unwrap();
        assert_eq!((read.kind, read.public(), read.public().id()), (kind, keys.public(), keys.public().id()));
        assert!(read.device_secret() == keys.device_secret());
        assert_eq!(read.device_secret().is_some(), kind == HolderKind::Device);
        assert!(read.to_json() == file);
    }
}

#[test]
fn hostile_key_files() {
    let keys = HolderKeys::generate(HolderKind::Device, &mut SystemRandom);
    let good: Value = serde_json::from_slice(&keys.to_json()).unwrap();
    let other: Value = serde_json::from_slice(&HolderKeys::generate(HolderKind::Device, &mut SystemRandom).to_json()).unwrap();
    let with = |name: &str, value: Value| {
        let mut json = good.clone();
        json[name] = value;
        HolderKeys::parse(json.to_string().as_bytes()).err()
    };
    assert_eq!(HolderKeys::parse(good.to_string().as_bytes()).err(), None);
    for name in ["signing_key", "sealing_key", "signing_seed", "sealing_seed", "device_secret", "check"] {
        assert_eq!(with(name, other[name].clone()), Some(KeyFileError::Damaged), "{name}");
    }
    assert_eq!(with("version", json!(2)), Some(KeyFileError::Version(2)));
    for (name, value) in [
        ("format", json!("other")),
        ("kind", json!("card")), // a card with a device's secret
        ("kind", json!("toaster")),
        ("device_secret", json!(null)),
        ("device_secret", json!("AAAA")),
        ("signing_seed", json!("AAAA")),
        ("signing_seed", json!("not base64url")),
        ("more", json!(1)),
        ("version", json!(-1)),
    ] {
        assert_eq!(with(name, value.clone()), Some(KeyFileError::Shape), "{name} {value}");
    }
    for bytes in [&b""[..], b"{}", b"[]", &[b' '; 5000]] {
        assert_eq!(HolderKeys::parse(bytes).err(), Some(KeyFileError::Shape));
    }
    // A bit that fell over is noticed, wherever it matters.
    let file = keys.to_json();
    let opened = (0..file.len() * 8).filter(|bit| {
        let mut bytes = file.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        HolderKeys::parse(&bytes).is_ok_and(|read| read.to_json() != file)
    });
    assert_eq!(opened.count(), 0);
}

#[test]
fn ids_follow_from_the_keys() {
    let (a, b) = (HolderKeys::generate(HolderKind::Card, &mut SystemRandom), HolderKeys::generate(HolderKind::Card, &mut SystemRandom));
    let mut mixed = a.public();
    mixed.sealing = b.public().sealing;
    assert!(a.public().id() != b.public().id() && mixed.id() != a.public().id() && mixed.id() != b.public().id());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_payload_arrives(payload in prop::collection::vec(any::<u8>(), 0..2000)) {
        let parties = parties();
        let (request, _) = Envelope::parse(&seal(&parties, &payload).to_json()).unwrap().open(&parties.authority).unwrap();
        prop_assert_eq!(request.payload, payload);
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, json in "[\\[\\]{}\",:a-z0-9 ]{0,100}") {
        for bytes in [&bytes[..], json.as_bytes()] {
            prop_assert!(Envelope::parse(bytes).is_err());
            prop_assert!(HolderKeys::parse(bytes).is_err());
        }
    }
}
