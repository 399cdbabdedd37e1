//! Sealed answers: what comes back opens for who asked, and for nobody else, in whatever order it comes.

use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::envelope::{self, Envelope, MAX_ANSWER, MAX_SEALED_ANSWER, ReplyKey, is_sealed};
use counterfoil_format::hpke::{DiffieHellman as _, HpkeError, Kem, SealingKey};
use counterfoil_format::jws::Signer;
use counterfoil_format::secret::{Secret, SystemRandom};
use counterfoil_format::sign::SigningKey;
use proptest::prelude::*;

/// An envelope on both sides: with the terminal's key, and the authority's.
fn both_sides(kem: Kem) -> (Envelope, ReplyKey, ReplyKey) {
    let authority = SealingKey::generate(kem, &mut SystemRandom);
    let device = SigningKey::from_seed(&Secret::random(&mut SystemRandom));
    let proofs = [("dev-1", Signer::Key(&device))];
    let (sent, terminal) = envelope::seal(b"{}", &proofs, "authority-1", authority.public_key(), &mut SystemRandom).unwrap();
    let (_, answers) = Envelope::parse(&sent.to_json()).unwrap().open(&authority).unwrap();
    (sent, terminal, answers)
}

#[test]
fn an_answer_arrives_at_who_asked() {
    for kem in [Kem::X25519, Kem::P256] {
        let (sent, terminal, authority) = both_sides(kem);
        for answer in ["", "a.b.c", &"x".repeat(100_000)] {
            let sealed = authority.seal(answer, &mut SystemRandom);
            assert!(is_sealed(&sealed));
            assert_eq!(terminal.open(&sealed).as_deref(), Ok(answer));
            // After a crash: from what is stored.
            let stored = Secret::new(*terminal.secret().expose());
            assert_eq!(Envelope::parse(&sent.to_json()).unwrap().reply_key(stored).open(&sealed).as_deref(), Ok(answer));
        }
    }
}

#[test]
fn what_comes_back_says_nothing_and_is_never_the_same() {
    let (_, terminal, authority) = both_sides(Kem::X25519);
    let canary = "canary-in-the-answer-of-the-authority";
    let (first, second) = (authority.seal(canary, &mut SystemRandom), authority.seal(canary, &mut SystemRandom));
    assert!(!first.contains(canary) && !first.contains(&to_base64url(canary.as_bytes())[..20]));
    assert_ne!(first, second);
    // A stream answers one envelope many times, and what is lost or doubled on the way shuts nothing.
    assert_eq!(terminal.open(&second), terminal.open(&first));
    let plain = [from_base64url(&first["sealed.".len()..]).unwrap(), from_base64url(&second["sealed.".len()..]).unwrap()];
    assert!(plain[0].iter().zip(&plain[1]).skip(32).filter(|(a, b)| a == b).count() < 10, "the same key stream twice");
}

#[test]
fn an_answer_opens_for_its_own_envelope_only() {
    let (sent, _, authority) = both_sides(Kem::X25519);
    let (other, others, _) = both_sides(Kem::X25519);
    let sealed = authority.seal("a.b.c", &mut SystemRandom);
    assert_eq!(others.open(&sealed), Err(HpkeError::Open));
    // Even where the secret is known: it is the key to that one envelope.
    assert_eq!(other.reply_key(Secret::new(*authority.secret().expose())).open(&sealed), Err(HpkeError::Open));
    assert!(sent.reply_key(Secret::new(*authority.secret().expose())).open(&sealed).is_ok());
}

#[test]
fn changed_answers_do_not_open() {
    let (_, terminal, authority) = both_sides(Kem::X25519);
    let good = authority.seal("a.b.c", &mut SystemRandom);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let opened = String::from_utf8(bytes).is_ok_and(|changed| terminal.open(&changed).is_ok());
        assert!(!opened, "bit {bit}");
    }
    for length in 0..good.len() {
        assert_eq!(terminal.open(&good[..length]), Err(HpkeError::Open), "cut to {length}");
    }
    for hostile in ["", "sealed.", "a.b.c", "sealed.AAAA", &format!("{good}A"), &format!("{good}="), &format!(" {good}")] {
        assert_eq!(terminal.open(hostile), Err(HpkeError::Open), "{hostile}");
    }
}

#[test]
fn the_longest_answer_fits() {
    let (_, terminal, authority) = both_sides(Kem::X25519);
    let longest = authority.seal(&"x".repeat(MAX_ANSWER), &mut SystemRandom);
    assert_eq!(longest.len(), MAX_SEALED_ANSWER);
    assert_eq!(terminal.open(&longest).unwrap().len(), MAX_ANSWER);
    let longer = authority.seal(&"x".repeat(MAX_ANSWER + 1), &mut SystemRandom);
    assert_eq!(terminal.open(&longer), Err(HpkeError::Open));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_answer_arrives_and_any_bytes_are_answered(answer in ".{0,2000}", hostile in ".{0,200}", bytes: Vec<u8>) {
        let (_, terminal, authority) = both_sides(Kem::X25519);
        let arrived = terminal.open(&authority.seal(&answer, &mut SystemRandom));
        prop_assert_eq!(arrived.as_deref(), Ok(&answer[..]));
        prop_assert!(terminal.open(&hostile).is_err());
        let random = ["sealed.", &to_base64url(&bytes)].concat();
        prop_assert!(terminal.open(&random).is_err());
    }
}
