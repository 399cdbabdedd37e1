//! Media without an identity (C18): what is believed of a notice, and what is not; SPEC.md §6.6.

use crate::common;

use common::*;
use counterfoil_core::Code;
use counterfoil_core::wire::{IdentityArea, Notice, NoticeClaims};
use counterfoil_format::jws::sign_compact;
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::io::{Create, Io, read_small};
use counterfoil_terminal::*;
use std::path::Path;
use std::sync::Arc;

/// A medium whose identity area has given way to a notice, which `change` may have had its way with before it was signed.
fn pressed(disk: &DiskModel, change: impl FnOnce(&mut NoticeClaims, &mut Notice) -> (&'static str, SigningKey)) {
    let path = Path::new(MEDIUM).join(layout::IDENTITY);
    let area: IdentityArea = serde_json::from_slice(&read_small(disk, &path, 1 << 16).unwrap().unwrap()).unwrap();
    let payload = counterfoil_format::jws::unverified_payload(&area.identity).unwrap();
    let identity: counterfoil_core::wire::IdentityClaims = serde_json::from_slice(&payload).unwrap();
    let mut claims = NoticeClaims { iss: identity.iss, iat: identity.iat, titles: identity.titles };
    let mut notice = Notice { counterfoil: 1, notice: String::new(), authority: area.authority };
    let (typ, key) = change(&mut claims, &mut notice);
    notice.notice = sign_compact(typ, "sig-1", &claims, &key);
    disk.remove_file(&path).unwrap();
    let bytes = serde_json::to_vec(&notice).unwrap();
    disk.create(&Path::new(MEDIUM).join(layout::NOTICE), Create::Truncate, 0o644).unwrap().write_all_at(&bytes, 0).unwrap();
}

fn authority() -> SigningKey {
    SigningKey::from_seed(&Secret::new([0xA1; 32]))
}

fn scene() -> (World, DiskModel, Terminal) {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    (world, disk, terminal)
}

fn open(terminal: &Terminal) -> Result<WithoutIdentity> {
    match Opened::open(terminal, Path::new(MEDIUM))? {
        Opened::WithoutIdentity(medium) => Ok(*medium),
        Opened::Medium(_) => panic!("it has an identity"),
    }
}

#[test]
fn c18_a_notice_says_what_is_on_the_medium_and_who_sells_its_keys() {
    let (world, disk, terminal) = scene();
    pressed(&disk, |_, _| (NOTICE_TYP, authority()));
    let medium = open(&terminal).unwrap();
    assert_eq!((medium.verdict(), medium.authority().name.as_str()), (Signature::Pinned, "test-authority"));
    let titles = &medium.claims().titles;
    assert_eq!(
        titles.iter().map(|title| &title.title).collect::<Vec<_>>(),
        world.contents.iter().map(|on| &on.title.title).collect::<Vec<_>>()
    );
    assert_eq!(medium.release(&titles[0]).unwrap().1.version, titles[0].release.as_str());
    // Whoever has met nobody yet believes it by its own keys, and says so.
    let stranger = world.terminal(Arc::new(disk.clone()), &Device::new("pc 9", "disk 9"));
    assert!(open(&stranger).is_ok());
    // It has nothing that could be claimed or presented.
    let error = Medium::open(&terminal, Path::new(MEDIUM)).err().expect("no identity");
    assert_eq!((error.code(), error.exit_code()), ("without_identity", 3));
    assert!(error.hint().expect("a remedy").contains("counterfoil copy"));
}

#[test]
fn c18_a_notice_that_its_authority_has_not_signed_as_such_is_not_believed() {
    type Change = fn(&mut NoticeClaims, &mut Notice) -> (&'static str, SigningKey);
    let all: [(&str, Change); 6] = [
        ("signed by somebody else", |_, _| (NOTICE_TYP, SigningKey::from_seed(&Secret::new([9; 32])))),
        ("signed as an identity", |_, _| (IDENTITY_TYP, authority())),
        ("of another authority", |claims, _| {
            claims.iss = "somebody".into();
            (NOTICE_TYP, authority())
        }),
        ("in the name of another authority", |_, notice| {
            notice.authority.name = "somebody".into();
            (NOTICE_TYP, authority())
        }),
        ("with nothing on it", |claims, _| {
            claims.titles.clear();
            (NOTICE_TYP, authority())
        }),
        ("of a later version", |_, notice| {
            notice.counterfoil = 2;
            (NOTICE_TYP, authority())
        }),
    ];
    for (what, change) in all {
        let (_world, disk, terminal) = scene();
        pressed(&disk, change);
        match open(&terminal) {
            Err(Error::Refused(refusal)) => assert_eq!(refusal.code, Code::MediumUnknown, "{what}"),
            other => panic!("{what}: {:?}", other.map(|_| ())),
        }
    }
    // Cut, doubled, flipped.
    let (_world, disk, terminal) = scene();
    pressed(&disk, |_, _| (NOTICE_TYP, authority()));
    let path = Path::new(MEDIUM).join(layout::NOTICE);
    let good = read_small(&disk, &path, 1 << 16).unwrap().unwrap();
    let flip = good.windows(8).position(|window| window == b"\"notice\"").unwrap() + 200;
    let mut flipped = good.clone();
    flipped[flip] ^= 1;
    for bytes in [good[..good.len() - 1].to_vec(), [good.clone(), good.clone()].concat(), flipped, vec![]] {
        disk.create(&path, Create::Truncate, 0o644).unwrap().write_all_at(&bytes, 0).unwrap();
        assert!(open(&terminal).is_err(), "{}", String::from_utf8_lossy(&bytes));
    }
}
