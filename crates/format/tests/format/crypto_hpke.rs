//! HPKE on the vectors of RFC 9180 and against the `hpke` crate, in both directions.
//!
//! The vector runner takes what it tests as a function, and is run once more over one with a planted bug, which it must catch.

use counterfoil_format::hpke::{self, Aead, Context, DiffieHellman, HpkeError, Kem, Psk, SealingKey, SealingPublicKey, Suite};
use counterfoil_format::secret::{Secret, SystemRandom};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[allow(non_snake_case)] // the names are the RFC's
struct Vector {
    source: String,
    mode: u8,
    kem_id: u16,
    aead_id: u16,
    info: String,
    ikmE: String,
    pkEm: String,
    skEm: String,
    ikmR: String,
    pkRm: String,
    skRm: String,
    #[serde(default)]
    psk: String,
    #[serde(default)]
    psk_id: String,
    encryptions: Vec<Encryption>,
    exports: Vec<Export>,
}

#[derive(Deserialize)]
struct Encryption {
    sequence: u64,
    aad: String,
    pt: String,
    ct: String,
}

#[derive(Deserialize)]
struct Export {
    context: String,
    length: usize,
    value: String,
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn secret(text: &str) -> Secret<32> {
    Secret::from_slice(&unhex(text)).unwrap()
}

type Seal = fn(&mut Context, &[u8], &[u8]) -> Vec<u8>;

/// How many encryptions and exports were as they should be, and how many were not.
fn run_vectors(seal: Seal) -> (usize, usize) {
    let vectors: Vectors = serde_json::from_str(include_str!("../vectors/crypto/rfc9180.json")).unwrap();
    let (mut good, mut bad) = (0, 0);
    let mut count = |fits| if fits { good += 1 } else { bad += 1 };
    for v in &vectors.vectors {
        let kem = if v.kem_id == 0x20 { Kem::X25519 } else { Kem::P256 };
        let suite = Suite { kem, aead: if v.aead_id == 1 { Aead::Aes128Gcm } else { Aead::Aes256Gcm } };
        let ephemeral = SealingKey::derive(kem, &unhex(&v.ikmE)).unwrap();
        let recipient = SealingKey::derive(kem, &unhex(&v.ikmR)).unwrap();
        assert_eq!(ephemeral.public_key().as_bytes(), unhex(&v.pkEm), "{}", v.source);
        assert_eq!(recipient.public_key().as_bytes(), unhex(&v.pkRm), "{}", v.source);
        for (private, public) in [(&v.skEm, &v.pkEm), (&v.skRm, &v.pkRm)] {
            let key = SealingKey::from_private(kem, &secret(private)).unwrap();
            assert_eq!(key.public_key().as_bytes(), unhex(public), "{}", v.source);
        }
        let (psk_secret, psk_id) = (unhex(&v.psk), unhex(&v.psk_id));
        let psk = (v.mode == 1).then_some(Psk { secret: &psk_secret, id: &psk_id });
        let info = unhex(&v.info);
        let (enc, mut sender) = hpke::sender(suite, recipient.public_key(), &info, psk, &ephemeral).unwrap();
        let receiver = hpke::receiver(suite, &enc, &recipient, &info, psk).unwrap();
        let mut next = 0;
        for e in &v.encryptions {
            let (aad, pt, ct) = (unhex(&e.aad), unhex(&e.pt), unhex(&e.ct));
            while next < e.sequence {
                seal(&mut sender, b"", b"");
                next += 1;
            }
            count(seal(&mut sender, &aad, &pt) == ct);
            next += 1;
            count(receiver.open_at(e.sequence, &aad, &ct).as_deref() == Ok(&pt[..]));
        }
        for e in &v.exports {
            let (mut ours, mut theirs) = (vec![0; e.length], vec![0; e.length]);
            sender.export(&unhex(&e.context), &mut ours);
            receiver.export(&unhex(&e.context), &mut theirs);
            count(ours == unhex(&e.value) && theirs == ours);
        }
    }
    (good, bad)
}

#[test]
fn every_vector_of_the_rfc() {
    assert_eq!(run_vectors(|context, aad, pt| context.seal(aad, pt)), (90, 0));
}

#[test]
fn planted_bug_associated_data_forgotten_is_caught() {
    let (_, bad) = run_vectors(|context, _, pt| context.seal(b"", pt));
    assert_eq!(bad, 36);
}

#[test]
fn planted_bug_sequence_off_by_one_is_caught() {
    let (_, bad) = run_vectors(|context, aad, pt| {
        context.seal(b"", b"");
        context.seal(aad, pt)
    });
    assert_eq!(bad, 36);
}

/// Both directions against another implementation, modes base and PSK, three messages each.
fn interop<K: ::hpke::Kem>(suite: Suite) {
    use ::hpke::aead::AesGcm256;
    use ::hpke::kdf::HkdfSha256;
    use ::hpke::{Deserializable as _, OpModeR, OpModeS, PskBundle, Serializable as _};

    let info = b"interop";
    let psk_secret = [7; 32];
    let psk = Psk { secret: &psk_secret, id: b"device" };
    for with_psk in [false, true] {
        let ours = with_psk.then_some(psk);
        let bundle = PskBundle::new(psk.secret, psk.id).unwrap();

        // They seal, we open.
        let (private, public) = K::gen_keypair();
        let key = SealingKey::from_private(suite.kem, &Secret::from_slice(&private.to_bytes()).unwrap()).unwrap();
        assert_eq!(key.public_key().as_bytes(), &public.to_bytes()[..]);
        let mode = if with_psk { OpModeS::Psk(bundle) } else { OpModeS::Base };
        let (enc, mut theirs) = ::hpke::setup_sender::<AesGcm256, HkdfSha256, K>(&mode, &public, info).unwrap();
        let enc = SealingPublicKey::from_bytes(&enc.to_bytes()).unwrap();
        let mut context = hpke::receiver(suite, &enc, &key, info, ours).unwrap();
        for message in [&b"one"[..], b"", b"three"] {
            let sealed = theirs.seal(message, b"aad").unwrap();
            assert_eq!(context.open(b"aad", &sealed).unwrap(), message);
        }

        // We seal, they open.
        let ephemeral = SealingKey::generate(suite.kem, &mut SystemRandom);
        let (enc, mut context) = hpke::sender(suite, key.public_key(), info, ours, &ephemeral).unwrap();
        let enc = K::EncappedKey::from_bytes(enc.as_bytes()).unwrap();
        let mode = if with_psk { OpModeR::Psk(bundle) } else { OpModeR::Base };
        let mut theirs = ::hpke::setup_receiver::<AesGcm256, HkdfSha256, K>(&mode, &private, &enc, info).unwrap();
        for message in [&b"one"[..], b"", b"three"] {
            assert_eq!(theirs.open(&context.seal(b"aad", message), b"aad").unwrap(), message);
        }
        let (mut a, mut b) = ([0; 100], [0; 100]);
        context.export(b"export", &mut a);
        theirs.export(b"export", &mut b).unwrap();
        assert_eq!(a, b);
    }
}

#[test]
fn hpke_crate_x25519() {
    interop::<::hpke::kem::X25519HkdfSha256>(Suite::X25519);
}

#[test]
fn hpke_crate_p256() {
    interop::<::hpke::kem::DhP256HkdfSha256>(Suite::P256);
}

/// As a token does it: the private key stays behind, one Diffie-Hellman at a time goes through.
struct Token {
    inside: SealingKey,
    broken: bool,
}

impl DiffieHellman for Token {
    fn public_key(&self) -> &SealingPublicKey {
        self.inside.public_key()
    }

    fn agree(&self, peer: &SealingPublicKey) -> Result<Secret<32>, HpkeError> {
        if self.broken { Err(HpkeError::Holder("token pulled out".to_owned())) } else { self.inside.agree(peer) }
    }
}

#[test]
fn a_token_does_its_part_or_says_that_it_cannot() {
    let mut token = Token { inside: SealingKey::generate(Kem::P256, &mut SystemRandom), broken: false };
    let ephemeral = SealingKey::generate(Kem::P256, &mut SystemRandom);
    let (enc, mut sender) = hpke::sender(Suite::P256, token.public_key(), b"", None, &ephemeral).unwrap();
    let sealed = sender.seal(b"", b"to the token");
    assert_eq!(hpke::receiver(Suite::P256, &enc, &token, b"", None).unwrap().open(b"", &sealed).unwrap(), b"to the token");
    token.broken = true;
    assert!(matches!(hpke::receiver(Suite::P256, &enc, &token, b"", None), Err(HpkeError::Holder(_))));
}

#[test]
fn keys_that_are_none_are_refused() {
    let key = SealingKey::generate(Kem::X25519, &mut SystemRandom);
    let zero = SealingPublicKey::from_bytes(&[0; 32]).unwrap();
    assert!(matches!(hpke::receiver(Suite::X25519, &zero, &key, b"", None), Err(HpkeError::Key)));
    assert!(matches!(hpke::sender(Suite::X25519, &zero, b"", None, &key), Err(HpkeError::Key)));

    let p256 = SealingKey::generate(Kem::P256, &mut SystemRandom);
    let mut off_curve = p256.public_key().as_bytes().to_vec();
    off_curve[64] ^= 1;
    let off_curve = SealingPublicKey::from_bytes(&off_curve).unwrap();
    assert!(matches!(hpke::receiver(Suite::P256, &off_curve, &p256, b"", None), Err(HpkeError::Key)));
    // Keys of the other kind.
    assert!(matches!(hpke::receiver(Suite::P256, key.public_key(), &p256, b"", None), Err(HpkeError::Key)));
    assert!(matches!(hpke::receiver(Suite::X25519, key.public_key(), &p256, b"", None), Err(HpkeError::Key)));

    for bytes in [&[][..], &[1; 31], &[1; 33], &[2; 33], &[1; 64], &[2; 65], &[4; 66]] {
        assert!(SealingPublicKey::from_bytes(bytes).is_err());
    }
}

#[test]
fn a_weak_or_nameless_psk_is_refused() {
    let key = SealingKey::generate(Kem::X25519, &mut SystemRandom);
    for psk in [Psk { secret: &[1; 31], id: b"device" }, Psk { secret: &[1; 32], id: b"" }] {
        assert!(matches!(hpke::receiver(Suite::X25519, key.public_key(), &key, b"", Some(psk)), Err(HpkeError::Psk)));
    }
}
