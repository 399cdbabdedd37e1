//! Replays the fuzzers' corpora of keys and messages as plain tests.
//!
//! A file whose name begins with `good` must be accepted, one that begins with `bad` must not; the rest, which fuzzers add, is only
//! answered. `write_corpus` makes the seeds again.

use std::fs;
use std::path::PathBuf;

use counterfoil_format::envelope::{self, REQUEST_TYP};
use counterfoil_format::grant::{GrantScope, HardwareBinding, seal_binding, seal_box, seal_grant};
use counterfoil_format::holder::{HolderKeys, HolderKind};
use counterfoil_format::hpke::{DiffieHellman as _, SealingKey};
use counterfoil_format::jws::{self, Signer};
use counterfoil_format::jwt::{KeyList, ListedKey};
use counterfoil_format::secret::{Secret, SystemRandom};
use counterfoil_format::sign::SigningKey;
use counterfoil_format::wrap::{Kek, RowId, wrap};

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus")).join(target)
}

#[test]
fn every_seed_is_answered_as_its_name_says() {
    for (target, run) in crate::crypto_entry::TARGETS {
        let (mut good, mut bad) = (0, 0);
        for file in fs::read_dir(corpus(target)).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let accepted = run(&fs::read(&path).unwrap());
            if name.starts_with("good") {
                assert!(accepted, "{}", path.display());
                good += 1;
            } else if name.starts_with("bad") {
                assert!(!accepted, "{}", path.display());
                bad += 1;
            }
        }
        assert!(good > 0 && bad > 0, "{target}: {good} good and {bad} bad seeds");
    }
}

/// Every seed, cut and changed at many places: a fuzzer's first steps, in every run of the tests.
#[test]
fn changed_seeds_are_answered() {
    let mut tried = 0;
    for (target, run) in crate::crypto_entry::TARGETS {
        for file in fs::read_dir(corpus(target)).unwrap() {
            let good = fs::read(file.unwrap().path()).unwrap();
            let step = good.len() / 200 + 1;
            for place in (0..good.len()).step_by(step) {
                run(&good[..place]);
                for byte in [0, b'"', b'}', b'=', 0xff, good[place] ^ 1] {
                    let mut bytes = good.clone();
                    bytes[place] = byte;
                    run(&bytes);
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 5000, "only {tried} were tried");
}

#[test]
#[ignore = "writes the seeds; run it when a format changes"]
fn write_corpus() {
    let random = &mut SystemRandom;
    let key = Secret::new([7; 32]);
    let (signing, sealing) = (SigningKey::from_seed(&key), SealingKey::from_seed(&key));
    let public = *sealing.public_key();
    let write = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(corpus(target)).unwrap();
        fs::write(corpus(target).join(name), bytes).unwrap();
    };

    let proofs = [("crd-1", Signer::Key(&signing)), ("med-1", Signer::ClaimSecret(&key))];
    let good = envelope::seal(br#"{"op":"claim"}"#, &proofs, "a", &public, random).unwrap().0.to_json();
    write("envelope", "good", &good);
    write("envelope", "bad-cut", &good[..good.len() / 2]);
    write("envelope", "bad-other-kid", &String::from_utf8(good).unwrap().replace(r#""kid":"a""#, r#""kid":"b""#).into_bytes());
    write("envelope", "bad-empty-object", b"{}");

    let sealed = crate::crypto_entry::reply_key().seal("a.b.c", random);
    write("answer", "good", sealed.as_bytes());
    write("answer", "bad-cut", &sealed.as_bytes()[..sealed.len() / 2]);
    write("answer", "bad-plain", b"a.b.c");
    write("answer", "bad-padded", format!("{sealed}=").as_bytes());

    let token = jws::sign_compact("t", "k", &serde_json::json!({ "iat": 1_780_000_000, "title": "sky-raider" }), &signing);
    write("signed", "good-compact", token.as_bytes());
    write("signed", "bad-compact-padded", format!("{token}=").as_bytes());
    write("signed", "bad-none", b"eyJhbGciOiJub25lIiwidHlwIjoidCIsImtpZCI6ImsifQ.e30.");
    write("signed", "good-general", &jws::sign_general(REQUEST_TYP, "a", b"{}", &proofs).unwrap());
    let list = KeyList { keys: vec![ListedKey::new("k", &signing.verifying_key(), Some(1_790_000_000))] };
    write("signed", "good-key-list", &serde_json::to_vec(&list).unwrap());

    let kek = Kek { purpose: "p".to_owned(), version: 3, key: key.clone() };
    let row = RowId { table: "t", key: &["k"], column: "c", version: 0 };
    write("wrapped", "good", &wrap(&kek, &row, &[5; 32], random));
    write("wrapped", "bad-other-row", &wrap(&kek, &RowId { column: "d", ..row }, &[5; 32], random));
    write("wrapped", "bad-short", &[1, 0, 0, 0, 1]);

    for kind in [HolderKind::Card, HolderKind::Device, HolderKind::Drive, HolderKind::Publisher] {
        write("key_file", &format!("good-{kind}"), &HolderKeys::generate(kind, random).to_json());
    }
    let card = String::from_utf8(HolderKeys::generate(HolderKind::Card, random).to_json().to_vec()).unwrap();
    write("key_file", "bad-version", card.replace(r#""version": 1"#, r#""version": 2"#).as_bytes());

    let scope = GrantScope { title: "t", grant: "g", device: "d" };
    let mut grant = seal_grant(&public, Some(&key), &scope, &key, Some(&key), random).unwrap();
    write("grant", "good-grant", &serde_json::to_vec(&grant).unwrap());
    grant.forget_content_key();
    write("grant", "good-grant-confirmed", &serde_json::to_vec(&grant).unwrap());
    write("grant", "good-box", &serde_json::to_vec(&seal_box(&public, &["p"], b"usr-1", random).unwrap()).unwrap());
    write("grant", "bad-box", &serde_json::to_vec(&seal_box(&public, &["q"], b"usr-1", random).unwrap()).unwrap());
    let binding = HardwareBinding { device_id: Some("d".to_owned()), drive_id: None };
    write("grant", "good-binding", seal_binding(&key, &binding, random).as_bytes());
    write("grant", "bad-binding", seal_binding(&Secret::new([8; 32]), &binding, random).as_bytes());
}
