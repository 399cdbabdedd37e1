//! Identity areas that are random, or a real one with damage: opened or refused, and never a panic.

use crate::common;

use common::*;
use counterfoil_terminal::*;
use proptest::prelude::*;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// One world for all cases: making it costs more than a thousand of them.
static WORLD: LazyLock<(World, Device, Vec<u8>)> = LazyLock::new(|| {
    let world = World::new();
    let identity = world.press(1).swap_remove(0);
    assert_eq!(identity.0, layout::IDENTITY);
    (world, Device::new("pc 1", "disk 1"), identity.1)
});

/// Opens a medium with that identity area, by a home that knows its authority or by one that does not.
fn open(identity: &[u8], known: bool) -> Result<()> {
    let (world, device, _) = &*WORLD;
    let disk = io::model::DiskModel::new();
    put(&disk, MEDIUM, &[(layout::IDENTITY.to_owned(), identity.to_vec())]);
    let terminal = world.terminal(Arc::new(disk), device);
    if known {
        terminal.meet(&[])?;
    }
    Medium::open_online(&terminal, Path::new(MEDIUM)).map(|_| ())
}

/// What can be done to bytes.
#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Cut(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    // Bytes that mean something in JSON and base64url are tried more often than others.
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:.\\0-_=".to_vec())];
    prop_oneof![
        (any::<prop::sample::Index>(), byte.clone()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<prop::sample::Index>(), prop::collection::vec(byte, 1..40)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<prop::sample::Index>(), 1..200_usize).prop_map(|(at, count)| Damage::Cut(at, count)),
        (any::<prop::sample::Index>(), 1..200_usize).prop_map(|(at, count)| Damage::Repeat(at, count)),
    ]
}

fn damaged(mut bytes: Vec<u8>, all: &[Damage]) -> Vec<u8> {
    for one in all {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match one {
            Damage::Set(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Cut(at, count) => {
                let at = at.index(length);
                bytes.drain(at..length.min(at + count));
            }
            Damage::Repeat(at, count) => {
                let at = at.index(length);
                let part = bytes[at..length.min(at + count)].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

#[test]
fn the_area_that_is_damaged_below_is_good() {
    open(&WORLD.2, true).unwrap();
    open(&WORLD.2, false).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000), known: bool) {
        prop_assert!(open(&bytes, known).is_err());
    }

    #[test]
    fn damage_is_refused_or_harmless(all in prop::collection::vec(damage(), 1..6), known: bool) {
        if let Err(error) = open(&damaged(WORLD.2.clone(), &all), known) {
            // In words, whatever it was.
            prop_assert!(!error.to_string().is_empty() && error.hint().is_some());
        }
    }

    #[test]
    fn text_in_any_member_is_refused_or_harmless(number in 0..3_usize, text in any::<String>(), known: bool) {
        let mut area: serde_json::Value = serde_json::from_slice(&WORLD.2).unwrap();
        match number {
            0 => area["identity"] = text.into(),
            1 => area["claim_secret"] = text.into(),
            _ => area["authority"]["name"] = text.into(),
        }
        prop_assert!(open(&serde_json::to_vec(&area).unwrap(), known).is_err());
    }
}
