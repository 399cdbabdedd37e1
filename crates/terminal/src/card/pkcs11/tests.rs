//! In SoftHSM, each test in a token of its own: what the keys do, and that nothing takes them out.

use super::*;
use crate::card::Pin;
use crate::card::pin::Pins;
use crate::io::RealIo;
use counterfoil_format::hpke::{Kem, SealingKey};
use counterfoil_format::jws::{General, Signer, Verifier, sign_general};
use cryptoki::object::AttributeInfo;
use std::process::Command;
use std::sync::Arc;

const PIN: &str = "123456";

/// SoftHSM reads its settings from the environment when it is loaded, which is the whole process's: the test runs itself again in one of its own.
fn in_token(test: &str, run: impl FnOnce(&Path)) {
    const MODULE: &str = "COUNTERFOIL_TEST_MODULE";
    if let Some(module) = std::env::var_os(MODULE) {
        return run(Path::new(&module));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/softhsm");
    let made = Command::new(script).arg(dir.path()).args(["Anna", PIN]).output().expect("the script runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8(made.stdout).expect("text");
    let (module, settings) = said.trim_end().split_once('\n').expect("module and settings");
    let itself = std::env::current_exe().expect("this test");
    let name = format!("card::pkcs11::tests::{test}");
    let ran = Command::new(itself).args(["--exact", &name]).env(MODULE, module).env("SOFTHSM2_CONF", settings).output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
}

/// A home, and somebody who knows the PIN.
struct Anna {
    _dir: tempfile::TempDir,
    home: Home,
    pins: Pins,
}

impl Anna {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::open(Arc::new(RealIo), dir.path()).expect("a home");
        Self { _dir: dir, home, pins: Pins::new(Box::new(|_| Ok(Some(Pin::new(PIN.to_owned()))))) }
    }

    fn means(&self) -> Means<'_> {
        Means { pins: &self.pins, home: &self.home }
    }
}

#[test]
fn the_keys_sign_and_agree_as_those_of_a_file_would() {
    in_token("the_keys_sign_and_agree_as_those_of_a_file_would", |module| {
        let anna = Anna::new();
        let (public, place) = make(module, "Anna", &anna.means()).expect("made");
        let token = Token::reach(&place, &public, &anna.means()).expect("reached");
        let signed = sign_general("t", "a", b"{}", &[("k", Signer::Token(&token))]).expect("signed");
        let signed = General::parse(&signed, "t", "a").expect("a request");
        assert_eq!(signed.verify("k", Verifier::Key(&public.signing)), Ok(()));
        let other = SealingKey::generate(Kem::P256, &mut SystemRandom);
        for _ in 0..20 {
            let peer = SealingKey::generate(Kem::P256, &mut SystemRandom);
            let (ours, theirs) = (token.agree(peer.public_key()).expect("agreed"), peer.agree(token.public_key()).expect("agreed"));
            assert!(ours == theirs && ours != other.agree(peer.public_key()).expect("agreed"));
        }
        let nowhere = SealingPublicKey::from_bytes(&[4; 65]).expect("65 bytes");
        assert_eq!(token.agree(&nowhere).err(), Some(HpkeError::Key));
        let x25519 = SealingKey::generate(Kem::X25519, &mut SystemRandom);
        assert_eq!(token.agree(x25519.public_key()).err(), Some(HpkeError::Key));
        // Nothing is left of what was derived.
        let left = token.session().find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY)]).expect("looked");
        assert!(left.is_empty());
    });
}

/// proves: C2
#[test]
fn c2_the_private_keys_cannot_be_had() {
    in_token("c2_the_private_keys_cannot_be_had", |module| {
        let anna = Anna::new();
        let (public, place) = make(module, "Anna", &anna.means()).expect("made");
        let token = Token::reach(&place, &public, &anna.means()).expect("reached");
        let pkcs11 = introduce(&anna.home, module).expect("loaded");
        let (slot, _) = find(&pkcs11, "it", |label, _| label == "Anna").expect("there");
        let session = login(&pkcs11, slot, "it", &anna.pins, true).expect("logged in");
        let readable = |key| match &session.get_attribute_info(key, &[AttributeType::Value]).expect("asked")[..] {
            [AttributeInfo::Available(_)] => true,
            [AttributeInfo::Sensitive] => false,
            other => panic!("{other:?}"),
        };
        for key in [token.signing, token.sealing] {
            assert!(!readable(key));
            assert!(!matches!(session.get_attributes(key, &[AttributeType::Value]).as_deref(), Ok([_, ..])));
            for loosened in [Attribute::Sensitive(false), Attribute::Extractable(true)] {
                assert!(session.update_attributes(key, std::slice::from_ref(&loosened)).is_err());
                assert!(session.copy_object(key, std::slice::from_ref(&loosened)).is_err());
            }
            assert_eq!(kept_secret(&session, key).ok(), Some(true));
        }
        // A token that does not keep it to itself is found out, by both ways of looking.
        let loose = [Attribute::Sensitive(false), Attribute::Extractable(true), Attribute::Private(true), Attribute::Sign(true)];
        let (_, private) =
            session.generate_key_pair(&Mechanism::EccKeyPairGen, &[Attribute::EcParams(P256.to_vec())], &loose).expect("made");
        assert!(readable(private));
        assert_eq!(kept_secret(&session, private).ok(), Some(false));
    });
}

/// proves: C2
#[test]
fn c2_a_card_has_no_module_loaded_that_nobody_but_its_file_names() {
    in_token("c2_a_card_has_no_module_loaded_that_nobody_but_its_file_names", |module| {
        let (anna, ben, stick) = (Anna::new(), Anna::new(), tempfile::tempdir().expect("a directory"));
        let (public, place) = make(module, "Anna", &anna.means()).expect("made");
        Token::reach(&place, &public, &ben.means()).expect("the system vouches for its own module, at every home");
        assert!(anna.home.profile().expect("read").modules.is_empty(), "which is not remembered");

        let evil = stick.path().join("evil.so");
        std::fs::copy(module, &evil).expect("copied");
        let through = stick.path().join("link.so");
        std::os::unix::fs::symlink(&evil, &through).expect("linked");
        let loaded = || MODULES.lock().expect("no panic").keys().any(|path| path.starts_with(stick.path().canonicalize().expect("there")));
        for named in [&evil, &through] {
            let place = Place { module: named.clone(), ..place.clone() };
            let refused = Token::reach(&place, &public, &anna.means()).err();
            assert_eq!(refused, Some(TokenError::ModuleUntrusted { module: named.clone() }));
            assert!(!loaded(), "it was run before it was refused");
        }

        // Named by the person, it is taken from then on: at that home, by that name.
        introduce(&anna.home, &evil).expect("a module");
        let place = Place { module: evil, ..place };
        Token::reach(&place, &public, &anna.means()).expect("reached");
        assert!(matches!(Token::reach(&place, &public, &ben.means()), Err(TokenError::ModuleUntrusted { .. })));
        let place = Place { module: through, ..place };
        assert!(matches!(Token::reach(&place, &public, &anna.means()), Err(TokenError::ModuleUntrusted { .. })));
        // What is no module is not remembered.
        assert!(introduce(&ben.home, Path::new("/etc/hostname")).is_err());
        assert!(ben.home.profile().expect("read").modules.is_empty());
    });
}
