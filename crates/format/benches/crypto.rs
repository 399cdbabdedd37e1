//! What a claim's cryptography costs, beside the bare Diffie-Hellman, signing and verifying in it, and beside the `hpke` crate.

#![expect(clippy::unwrap_used, reason = "a bench that fails here has failed")]

use std::hint::black_box;

use aws_lc_rs::agreement;
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use counterfoil_format::encoding::parse_strict;
use counterfoil_format::envelope::{self, ANSWER_TYP, Envelope};
use counterfoil_format::grant::{GrantScope, HardwareBinding, seal_binding, seal_grant};
use counterfoil_format::holder::{HolderKeys, HolderKind};
use counterfoil_format::hpke::{self, DiffieHellman as _, Kem, SealingKey, SealingPublicKey, Suite};
use counterfoil_format::jws::{self, Signer, Verifier};
use counterfoil_format::secret::{Random as _, Secret, SystemRandom};
use counterfoil_format::sign::SigningKey;
use counterfoil_format::signer::{Ecdsa, HolderVerifyingKey, SignError};
use counterfoil_format::wrap::{Kek, RowId, unwrap_secret, wrap};
use criterion::{Criterion, criterion_group, criterion_main};

fn hpke_alone(c: &mut Criterion) {
    let mut group = c.benchmark_group("seal 32 bytes");
    for (name, suite) in [("x25519", Suite::X25519), ("p256", Suite::P256)] {
        let recipient = SealingKey::generate(suite.kem, &mut SystemRandom);
        let public = *recipient.public_key();
        group.bench_function(format!("bare key and Diffie-Hellman, {name}"), |b| b.iter(|| bare_agreement(suite.kem, public.as_bytes())));
        group.bench_function(format!("here, {name}"), |b| {
            b.iter(|| {
                let ephemeral = SealingKey::generate(suite.kem, &mut SystemRandom);
                let (_, mut context) = hpke::sender(suite, &public, b"info", None, &ephemeral).unwrap();
                context.seal(b"", &[7; 32])
            })
        });
    }
    group.bench_function("hpke crate, x25519", other_seal::<::hpke::kem::X25519HkdfSha256>);
    group.bench_function("hpke crate, p256", other_seal::<::hpke::kem::DhP256HkdfSha256>);
    group.finish();

    let mut group = c.benchmark_group("open 32 bytes");
    for (name, suite) in [("x25519", Suite::X25519), ("p256", Suite::P256)] {
        let recipient = SealingKey::generate(suite.kem, &mut SystemRandom);
        let ephemeral = SealingKey::generate(suite.kem, &mut SystemRandom);
        let (enc, mut context) = hpke::sender(suite, recipient.public_key(), b"info", None, &ephemeral).unwrap();
        let sealed = context.seal(b"", &[7; 32]);
        group.bench_function(format!("bare Diffie-Hellman, {name}"), |b| b.iter(|| recipient.agree(&enc).unwrap()));
        group.bench_function(format!("here, {name}"), |b| {
            b.iter(|| hpke::receiver(suite, &enc, &recipient, b"info", None).unwrap().open(b"", &sealed).unwrap())
        });
    }
    group.finish();
}

fn bare_agreement(kem: Kem, peer: &[u8]) -> [u8; 32] {
    let algorithm = if kem == Kem::X25519 { &agreement::X25519 } else { &agreement::ECDH_P256 };
    let key = agreement::PrivateKey::generate(algorithm).unwrap();
    black_box(key.compute_public_key().unwrap());
    let peer = agreement::UnparsedPublicKey::new(algorithm, peer);
    agreement::agree(&key, peer, (), |shared| Ok(shared.try_into().unwrap())).unwrap()
}

fn other_seal<K: ::hpke::Kem>(b: &mut criterion::Bencher<'_>) {
    let (_, public) = K::gen_keypair();
    b.iter(|| {
        let (_, mut context) =
            ::hpke::setup_sender::<::hpke::aead::AesGcm256, ::hpke::kdf::HkdfSha256, K>(&::hpke::OpModeS::Base, &public, b"info").unwrap();
        context.seal(&[7; 32], b"").unwrap()
    });
}

/// A token, as far as it is seen from here.
struct Token(EcdsaKeyPair);

impl Ecdsa for Token {
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<[u8; 64], SignError> {
        let digest = Digest::import_less_safe(digest, &SHA256).unwrap();
        Ok(self.0.sign_digest(&digest).unwrap().as_ref().try_into().unwrap())
    }
}

/// The authority's side of a claim with card, device and medium, without its database.
fn claim(c: &mut Criterion) {
    let random = &mut SystemRandom;
    let authority = SealingKey::from_seed(&Secret::random(random));
    let signing = SigningKey::from_seed(&Secret::random(random));
    let (card, device) = (HolderKeys::generate(HolderKind::Card, random), HolderKeys::generate(HolderKind::Device, random));
    let (card_public, device_public) = (card.public(), device.public());
    let (card_key, device_key) = (card.signing_key(), device.signing_key());
    let device_secret = device.device_secret().unwrap().clone();
    let claim_secret = Secret::<32>::random(random);
    let payload = br#"{"op":"claim","request_id":"0198a7c0-0000-7000-8000-000000000000","issued_at":1790000000,"user_id":"usr-0000-0000-0000-0000","titles":["sky-raider"]}"#;
    let proofs = [("crd-1", Signer::Key(&card_key)), ("dev-1", Signer::Key(&device_key)), ("med-1", Signer::ClaimSecret(&claim_secret))];
    let sealed = envelope::seal(payload, &proofs, "authority-1", authority.public_key(), random).unwrap().0.to_json();
    let kek = Kek { purpose: "content_key".to_owned(), version: 1, key: Secret::random(random) };
    let row = RowId { table: "content_key", key: &["sky-raider"], column: "wrapped", version: 1 };
    let wrapped = wrap(&kek, &row, &[9; 32], random);
    let binding = HardwareBinding { device_id: Some("dev-1".to_owned()), drive_id: Some("drv-1".to_owned()) };
    let scope = GrantScope { title: "sky-raider", grant: "grt-1", device: "dev-1" };

    let open = || {
        let (request, _) = Envelope::parse(&sealed).unwrap().open(&authority).unwrap();
        request.verify("crd-1", Verifier::Key(&card_public.signing)).unwrap();
        request.verify("dev-1", Verifier::Key(&device_public.signing)).unwrap();
        request.verify("med-1", Verifier::ClaimSecret(&claim_secret)).unwrap();
        parse_strict::<serde_json::Value>(&request.payload).unwrap()
    };
    let grant_to = |recipient: &SealingPublicKey| {
        let content_key = unwrap_secret::<32>(&kek, &row, &wrapped).unwrap();
        let library_key = Secret::random(&mut SystemRandom);
        let binding = seal_binding(&library_key, &binding, &mut SystemRandom);
        let grant = seal_grant(recipient, Some(&device_secret), &scope, &library_key, Some(&content_key), &mut SystemRandom).unwrap();
        serde_json::json!({ "grant": grant, "binding": binding })
    };
    let grant = || grant_to(&card_public.sealing);

    let mut group = c.benchmark_group("claim");
    let enc = SealingKey::generate(Kem::X25519, random);
    let message = [5; 700];
    let signatures = [card_key.sign(&message), device_key.sign(&message)];
    group.bench_function("bare Diffie-Hellman, 2 verify, key and Diffie-Hellman, sign", |b| {
        b.iter(|| {
            black_box(authority.agree(enc.public_key()).unwrap());
            card_public.signing.verify(&message, &signatures[0]).unwrap();
            device_public.signing.verify(&message, &signatures[1]).unwrap();
            black_box(bare_agreement(Kem::X25519, card_public.sealing.as_bytes()));
            signing.sign(&message)
        })
    });
    group.bench_function("whole", |b| {
        b.iter(|| {
            black_box(open());
            jws::sign_compact(ANSWER_TYP, "authority-1", &grant(), &signing)
        })
    });
    // The same claim by a card in a token: ES256, and a box of P-256.
    let token = Token(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    let token_public = HolderVerifyingKey::from_bytes(token.0.public_key().as_ref()).unwrap();
    let token_sealing = SealingKey::generate(Kem::P256, random);
    let proofs_of_token = [("crd-1", Signer::Token(&token)), proofs[1], proofs[2]];
    let sealed_by_token = envelope::seal(payload, &proofs_of_token, "authority-1", authority.public_key(), random).unwrap().0.to_json();
    group.bench_function("whole, of a card in a token", |b| {
        b.iter(|| {
            let (request, _) = Envelope::parse(&sealed_by_token).unwrap().open(&authority).unwrap();
            request.verify("crd-1", Verifier::Key(&token_public)).unwrap();
            request.verify("dev-1", Verifier::Key(&device_public.signing)).unwrap();
            request.verify("med-1", Verifier::ClaimSecret(&claim_secret)).unwrap();
            black_box(parse_strict::<serde_json::Value>(&request.payload).unwrap());
            jws::sign_compact(ANSWER_TYP, "authority-1", &grant_to(token_sealing.public_key()), &signing)
        })
    });
    group.bench_function("open and verify the envelope", |b| b.iter(open));
    group.bench_function("seal the grant", |b| b.iter(grant));
    group.bench_function("sign the answer", |b| {
        let answer = grant();
        b.iter(|| jws::sign_compact(ANSWER_TYP, "authority-1", &answer, &signing))
    });
    group.bench_function("terminal seals the envelope", |b| {
        b.iter(|| envelope::seal(payload, &proofs, "authority-1", authority.public_key(), &mut SystemRandom).unwrap())
    });
    group.bench_function("random bytes", |b| {
        b.iter(|| {
            let mut bytes = [0; 32];
            SystemRandom.fill(&mut bytes);
            bytes
        })
    });
    group.finish();
}

criterion_group!(benches, hpke_alone, claim);
criterion_main!(benches);
