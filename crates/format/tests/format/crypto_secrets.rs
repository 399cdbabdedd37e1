//! Secrets have no way to print themselves, and compare by their bytes.

use std::fmt::{Debug, Display};
use std::marker::PhantomData;

use counterfoil_format::claim::ClaimSecretKey;
use counterfoil_format::grant::OpenGrant;
use counterfoil_format::holder::HolderKeys;
use counterfoil_format::hpke::{Context, SealingKey};
use counterfoil_format::secret::{Random, Secret, SystemRandom};
use counterfoil_format::sign::SigningKey;
use counterfoil_format::wrap::Kek;

/// Whether a type can be printed: the inherent constant is found first, but is there only for types that can.
struct Prints<T>(PhantomData<T>);

trait Otherwise {
    const DEBUG: bool = false;
    const DISPLAY: bool = false;
}

impl<T> Otherwise for Prints<T> {}

impl<T: Debug> Prints<T> {
    const DEBUG: bool = true;
}

impl<T: Display> Prints<T> {
    const DISPLAY: bool = true;
}

macro_rules! prints {
    ($($type:ty),* $(,)?) => { [$((stringify!($type), Prints::<$type>::DEBUG || Prints::<$type>::DISPLAY)),*] };
}

#[test]
fn secrets_cannot_be_printed() {
    let secrets = prints![Secret<32>, SigningKey, SealingKey, HolderKeys, Kek, ClaimSecretKey, Context, OpenGrant<'static>];
    assert_eq!(secrets.iter().filter(|(_, prints)| *prints).collect::<Vec<_>>(), Vec::<&(&str, bool)>::new());
    // The probe is able to say yes.
    let printable = prints![[u8; 32], Vec<u8>, counterfoil_format::sign::VerifyingKey, Option<String>];
    assert!(printable.iter().all(|(_, prints)| *prints));
}

#[test]
fn secrets_compare_by_their_bytes() {
    assert!(Secret::new([1; 32]) == Secret::new([1; 32]));
    for place in 0..32 {
        let mut other = [1; 32];
        other[place] ^= 0x80;
        assert!(Secret::new([1; 32]) != Secret::new(other));
    }
    assert!(Secret::<4>::from_slice(&[1, 2, 3]).is_none() && Secret::<4>::from_slice(&[1, 2, 3, 4, 5]).is_none());
    assert!(Secret::<4>::from_slice(&[1, 2, 3, 4]).is_some_and(|secret| *secret.expose() == [1, 2, 3, 4]));
}

#[test]
fn randomness_fills_everything_and_does_not_repeat() {
    let mut all = [0; 4096];
    SystemRandom.fill(&mut all);
    // 4,096 fair bytes miss one of the 256 values once in 36,000 runs of this test, and three of them practically never.
    let seen = (0..=255_u8).filter(|value| all.contains(value)).count();
    assert!(seen >= 254, "{seen}");
    assert!(Secret::<32>::random(&mut SystemRandom) != Secret::random(&mut SystemRandom));
}
