//! Media that get a new identity (B7): which one is believed, what it is written to, and what an old copy is told.

use crate::common;

use common::authority::refreshing::Changed;
use common::*;
use counterfoil_core::wire::{self, Refresh};
use counterfoil_core::{BatchId, Code, MediumId, Rights};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::jws::sign_compact;
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use counterfoil_terminal::io::faults::{FaultyIo, Plan};
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::io::{Io, read_small};
use counterfoil_terminal::*;
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

struct Scene {
    world: World,
    device: Device,
    disk: DiskModel,
}

/// A medium whose rights have changed since it was pressed.
pub fn changed_rights() -> Rights {
    Rights { copies: 3, upload: true, ..Rights::default() }
}

impl Scene {
    fn new() -> Self {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        world.order_refresh();
        Self { world, device, disk }
    }

    fn terminal(&self) -> Terminal {
        self.world.terminal(Arc::new(self.disk.clone()), &self.device)
    }

    fn identity(&self) -> Vec<u8> {
        read_small(&self.disk, &Path::new(MEDIUM).join(layout::IDENTITY), 1 << 20).unwrap().unwrap()
    }
}

/// Inspects, and says what became of the new identity.
pub fn inspect_at(terminal: &Terminal, path: &str) -> counterfoil_terminal::Result<Option<Refreshing>> {
    let medium = Medium::open_online(terminal, Path::new(path))?;
    let told = RefCell::new(None);
    inspect(terminal, Some(&medium), &CardChoice::Default, &|what| *told.borrow_mut() = Some(what))?;
    Ok(told.into_inner())
}

#[test]
fn b7_a_contact_brings_new_rights_and_a_new_secret() {
    let scene = Scene::new();
    let terminal = scene.terminal();
    let before = scene.identity();
    assert_eq!(inspect_at(&terminal, MEDIUM).unwrap(), Some(Refreshing::Written { epoch: 2, told: true }));
    assert_eq!(scene.world.effects("refreshed"), 1);
    let medium = Medium::open(&terminal, Path::new(MEDIUM)).unwrap();
    assert_eq!((medium.identity().epoch, &medium.identity().rights), (2, &changed_rights()));
    assert_eq!(inspect_at(&terminal, MEDIUM).unwrap(), None, "once");

    // Somebody has an old copy.
    put(&scene.disk, "/copy", &[(layout::IDENTITY.to_owned(), before)]);
    assert_eq!(refusal(inspect_at(&terminal, "/copy")), Code::MediumSuperseded);
    inspect_at(&terminal, MEDIUM).unwrap();
}

#[test]
fn b7_a_claim_refreshes_as_well_and_the_copy_plays() {
    let scene = Scene::new();
    let terminal = scene.terminal();
    let steps = std::sync::Mutex::new(Vec::new());
    copy_with(&terminal, 1, &|step| steps.lock().unwrap().push(step)).unwrap();
    assert!(steps.into_inner().unwrap().contains(&Step::Refreshing(Refreshing::Written { epoch: 2, told: true })));
    assert_plays(&scene.world, &terminal);
}

#[test]
fn b7_what_the_authority_was_not_told_it_learns_by_the_next_proof() {
    let scene = Scene::new();
    let terminal = scene.terminal();
    let next = scene.world.faults.lock().unwrap().sent + 1;
    scene.world.faults.lock().unwrap().lose_requests.push(next);
    assert_eq!(inspect_at(&terminal, MEDIUM).unwrap(), Some(Refreshing::Written { epoch: 2, told: false }));
    assert_eq!((scene.world.effects("refreshed"), scene.world.seen()), (0, 1));
    assert_eq!(inspect_at(&terminal, MEDIUM).unwrap(), None);
    assert_eq!(scene.world.seen(), 2);
}

/// A request that waits from before would be proven under the old secret, as by a copy.
#[test]
fn b7_a_request_that_waits_from_before_makes_nobody_a_cloner() {
    let scene = Scene::new();
    let terminal = scene.terminal();
    scene.world.faults.lock().unwrap().offline = true;
    inspect_at(&terminal, MEDIUM).unwrap_err();
    scene.world.faults.lock().unwrap().offline = false;
    copy_once(&terminal).unwrap();
    assert_eq!(scene.world.seen(), 2);
    inspect_at(&terminal, MEDIUM).unwrap();
}

#[test]
fn b7_a_medium_that_cannot_be_written_says_so_and_stays_as_pressed() {
    let scene = Scene::new();
    let before = scene.identity();
    let io = FaultyIo::new(Arc::new(scene.disk.clone()), Plan { read_only: Some(MEDIUM.into()), ..Plan::default() });
    let terminal = scene.world.terminal(Arc::new(io), &scene.device);
    assert_eq!(inspect_at(&terminal, MEDIUM).unwrap(), None);
    assert!(!Medium::open(&terminal, Path::new(MEDIUM)).unwrap().is_writable(&terminal));
    assert_eq!(scene.world.authority.state.lock().unwrap().refreshable, [false]);
    assert_eq!(scene.identity(), before);
    assert!(Medium::open(&scene.terminal(), Path::new(MEDIUM)).unwrap().is_writable(&scene.terminal()));
}

#[test]
fn b7_no_other_identity_than_the_authoritys_newer_one_of_this_medium_is_written() {
    fn resigned(area: &mut wire::IdentityArea, key: &SigningKey, change: impl Fn(&mut wire::IdentityClaims)) {
        let mut claims = claims_of(area);
        change(&mut claims);
        area.identity = sign_compact(IDENTITY_TYP, "sig-1", &claims, key);
    }
    fn claims_of(area: &wire::IdentityArea) -> wire::IdentityClaims {
        let payload = area.identity.split('.').nth(1).unwrap();
        serde_json::from_slice(&counterfoil_format::encoding::from_base64url(payload).unwrap()).unwrap()
    }
    fn authority() -> SigningKey {
        SigningKey::from_seed(&Secret::new([0xA1; 32]))
    }
    let all: [(&str, Changed); 9] = [
        ("of another medium", |_, area| {
            resigned(area, &authority(), |claims| claims.medium_id = MediumId::pressed(claims.batch, 2));
        }),
        ("of another batch", |_, area| resigned(area, &authority(), |claims| claims.batch = BatchId([9; 8]))),
        ("no newer", |offered, area| {
            offered.epoch = 1;
            resigned(area, &authority(), |claims| claims.epoch = 1);
        }),
        ("of another epoch than said", |_, area| resigned(area, &authority(), |claims| claims.epoch = 3)),
        ("signed by somebody else", |_, area| resigned(area, &SigningKey::from_seed(&Secret::new([0xEE; 32])), |_| {})),
        ("signed by the keys that it brings itself", |_, area| {
            let key = SigningKey::from_seed(&Secret::new([0xEE; 32]));
            let listed = counterfoil_format::jwt::ListedKey::new("sig-1", &key.verifying_key(), None);
            area.authority.keys.jwks = serde_json::to_value(counterfoil_format::jwt::KeyList { keys: vec![listed] }).unwrap();
            resigned(area, &key, |_| {});
        }),
        ("of another authority", |_, area| {
            area.authority.name = "other".into();
            resigned(area, &authority(), |claims| claims.iss = "other".into());
        }),
        ("without a secret", |_, area| area.claim_secret = "short".into()),
        ("not sealed to it", |offered, _| offered.sealed = to_base64url(&[7; 300])),
    ];
    for (what, changed) in all {
        let scene = Scene::new();
        scene.world.authority.state.lock().unwrap().changed = Some(changed);
        let before = scene.identity();
        let came = inspect_at(&scene.terminal(), MEDIUM).unwrap();
        assert!(matches!(came, Some(Refreshing::Failed { code: "medium_unknown", .. })), "{what}: {came:?}");
        assert_eq!(scene.identity(), before, "{what}");
        assert_eq!(scene.world.effects("refreshed"), 0, "{what}");
        scene.world.authority.state.lock().unwrap().changed = None;
        inspect_at(&scene.terminal(), MEDIUM).unwrap();
        assert_eq!(scene.world.seen(), 2, "{what}: the good one comes the next time");
    }
    // The same with nothing wrong goes through.
    let scene = Scene::new();
    scene.world.authority.state.lock().unwrap().changed = Some(|_: &mut Refresh, area| resigned(area, &authority(), |_| {}));
    assert!(matches!(inspect_at(&scene.terminal(), MEDIUM).unwrap(), Some(Refreshing::Written { .. })));
}

/// FAT may lose the name that is replaced.
#[test]
fn b7_an_identity_that_lost_its_name_is_found_and_put_in_place() {
    let scene = Scene::new();
    let terminal = scene.terminal();
    let (place, next) = (Path::new(MEDIUM).join(layout::IDENTITY), Path::new(MEDIUM).join(layout::NEXT_IDENTITY));
    scene.disk.rename(&place, &next).unwrap();
    // Where nothing can be put in place it is read all the same.
    let io = FaultyIo::new(Arc::new(scene.disk.clone()), Plan { read_only: Some(MEDIUM.into()), ..Plan::default() });
    let reader = scene.world.terminal(Arc::new(io), &scene.device);
    assert!(!Medium::open(&reader, Path::new(MEDIUM)).unwrap().is_writable(&reader));
    Medium::open(&terminal, Path::new(MEDIUM)).unwrap();
    assert!(scene.disk.metadata(&place).is_ok() && scene.disk.metadata(&next).is_err());
    // Half of one is none.
    let half = scene.identity()[..100].to_vec();
    put(&scene.disk, MEDIUM, &[(layout::NEXT_IDENTITY.to_owned(), half.clone())]);
    Medium::open(&terminal, Path::new(MEDIUM)).unwrap();
    put(&scene.disk, MEDIUM, &[(layout::IDENTITY.to_owned(), half)]);
    assert_eq!(refusal(Medium::open(&terminal, Path::new(MEDIUM))), Code::MediumUnknown);
}
