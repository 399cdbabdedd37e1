//! Keys of the authority that changed, and requests that lay around: a command meets both by itself, and only where that is safe.

use crate::common;

use common::authority::NOW;
use common::*;
use counterfoil_core::{Code, Timestamp};
use counterfoil_terminal::io::Io as _;
use counterfoil_terminal::*;
use std::path::Path;
use std::sync::Arc;

#[test]
fn new_keys_are_learned_from_the_first_answer_that_needs_them() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let terminal = world.terminal(Arc::new(registered(&world, &device)), &device);
    // The envelope is sealed to a key that is gone: refused, renewed, made again.
    world.authority.rotate(true);
    copy_once(&terminal).unwrap();
    assert_plays(&world, &terminal);
    assert_eq!((world.effects("claim"), world.effects("confirm")), (1, 1));
    assert_eq!(terminal.authority().unwrap().unwrap().document, world.authority.document_of());
}

#[test]
fn a_lost_answer_that_comes_again_under_a_new_key_is_believed() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let terminal = world.terminal(Arc::new(registered(&world, &device)), &device);
    let lost = world.faults.lock().unwrap().sent;
    world.faults.lock().unwrap().lose_answers.push(lost);
    assert_eq!(copy_once(&terminal).unwrap_err().code(), "unreachable");
    world.authority.rotate(true);
    copy_once(&terminal).unwrap();
    assert_plays(&world, &terminal);
    assert_eq!(card_show(&terminal, &CardChoice::Default).unwrap().grants.len(), 1);
}

#[test]
fn a_medium_pressed_under_a_new_key_is_opened_online_and_not_offline() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    world.authority.rotate(true);
    put(&disk, MEDIUM, &world.press(2));
    let terminal = world.terminal(Arc::new(disk), &device);
    let medium = Path::new(MEDIUM);
    let error = Medium::open(&terminal, medium).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::MediumUnknown.as_str());
    assert!(error.to_string().contains("authority refresh"), "{error}");
    assert_eq!(Medium::open_online(&terminal, medium).unwrap().verdict(), Signature::Pinned);
    assert_eq!(Medium::open(&terminal, medium).unwrap().verdict(), Signature::Pinned, "and is known from then on");
}

#[test]
fn nothing_is_renewed_from_a_stranger_or_where_a_stranger_can_answer() {
    for (listed, unguarded) in [(false, false), (true, true)] {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        let terminal = world.terminal(Arc::new(disk.clone()), &device);
        let known = terminal.authority().unwrap();
        world.faults.lock().unwrap().unguarded = unguarded;
        world.authority.rotate(listed);
        assert_eq!(refusal(copy_once(&terminal)), Code::EnvelopeInvalid);
        put(&disk, MEDIUM, &world.press(2));
        assert_eq!(refusal(Medium::open_online(&terminal, Path::new(MEDIUM))), Code::MediumUnknown);
        assert_eq!(terminal.authority().unwrap(), known);
        assert_eq!(world.effects("claim"), 0);
    }
}

#[test]
fn a_request_that_lay_around_for_days_is_made_anew_when_the_clock_is_right() {
    // Ahead: the clock was wrong then, and is right now.
    for days in [-400, -2, 2, 400] {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        let then = Timestamp(NOW.0 + days * Timestamp::DAY);
        let before = world.terminal_when(Arc::new(disk.clone()), device.setup(), then).unwrap();
        world.faults.lock().unwrap().offline = true;
        assert_eq!(copy_once(&before).unwrap_err().code(), "unreachable");
        assert_eq!(disk.list(Path::new("/home/requests")).unwrap().len(), 1);

        world.faults.lock().unwrap().offline = false;
        let terminal = world.terminal(Arc::new(disk.clone()), &device);
        copy_once(&terminal).unwrap();
        assert_plays(&world, &terminal);
        assert!(disk.list(Path::new("/home/requests")).unwrap().is_empty(), "{days} days");

        // While the clock is wrong it is said, and nothing lies around afterwards.
        let wrong = world.terminal_when(Arc::new(disk.clone()), device.setup(), then).unwrap();
        put(&disk, MEDIUM, &world.press(2));
        assert_eq!(refusal(copy_again(&wrong)), Code::ClockSkewed);
        assert!(disk.list(Path::new("/home/requests")).unwrap().is_empty(), "{days} days");
    }
}

/// What the authority shows, and whether somebody could stand between.
type Shown = fn(&authority::Authority);

#[test]
fn c16_at_first_contact_a_medium_says_whose_keys_are_the_authoritys() {
    let keeps: Shown = |_| {};
    let cases: [(&str, Shown, bool, Option<KeysBy>); 8] = [
        ("as on the medium", keeps, true, Some(KeysBy::Medium)),
        ("as on the medium, with TLS", keeps, false, Some(KeysBy::Medium)),
        ("those after, vouched for", |it| it.rotate_stated(true), true, Some(KeysBy::Medium)),
        ("those after, vouched for, the first forgotten", |it| it.rotate_stated(false), true, Some(KeysBy::Medium)),
        (
            "those after, from before keys vouched for others, with TLS",
            |it| it.rotate(true),
            false,
            Some(KeysBy::Contact("memory:".into())),
        ),
        ("the medium's beside others", |it| it.rotate(true), true, None),
        ("an impostor's", |it| it.rotate(false), true, None),
        ("an impostor's, with TLS", |it| it.rotate(false), false, None),
    ];
    for (what, show, unguarded, expected) in cases {
        let (world, device, disk) = (World::new(), Device::new("pc 1", "disk 1"), io::model::DiskModel::new());
        put(&disk, MEDIUM, &world.press(1));
        show(&world.authority);
        world.faults.lock().unwrap().unguarded = unguarded;
        let terminal = world.terminal(Arc::new(disk), &device);
        let medium = Medium::open(&terminal, Path::new(MEDIUM)).unwrap();
        let met = terminal.meet_by(&medium.area().authority);
        match (met, &expected) {
            (Ok(_), Some(_)) => assert_eq!(terminal.home().profile().unwrap().keys_by, expected, "{what}"),
            (Err(error), None) => {
                assert_eq!(error.code(), "keys_unproven", "{what}: {error}");
                assert_eq!(terminal.authority().unwrap(), None, "{what}");
                // The way out, where the operator has told the fingerprint.
                let told = Authority { document: world.authority.document_of(), pinned_at: NOW }.fingerprint();
                assert!(error.to_string().contains(&told) && error.hint().unwrap().contains("--fingerprint"), "{error}");
                assert_eq!(terminal.refresh(Some("0000-0000")).unwrap_err().code(), "keys_unproven");
                assert_eq!(terminal.authority().unwrap(), None, "{what}");
                assert_eq!(terminal.refresh(Some(&told)).unwrap().fingerprint(), told);
                terminal.meet_by(&medium.area().authority).unwrap();
            }
            (met, expected) => panic!("{what}: {met:?} in place of {expected:?}"),
        }
    }
}

#[test]
fn c16_a_medium_of_another_authority_pins_nothing() {
    let (world, device, disk) = (World::new(), Device::new("pc 1", "disk 1"), io::model::DiskModel::new());
    let terminal = world.terminal(Arc::new(disk), &device);
    let mut strange = world.authority.document_of();
    strange.name = "another".into();
    assert_eq!(terminal.meet_by(&strange).unwrap_err().code(), "other_authority");
    assert_eq!(terminal.authority().unwrap(), None);
}

#[test]
fn c16_where_anybody_can_answer_new_keys_are_believed_as_through_a_gateway() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let terminal = world.terminal(Arc::new(registered(&world, &device)), &device);
    let known = terminal.authority().unwrap();
    world.faults.lock().unwrap().unguarded = true;
    world.authority.rotate(true);
    assert_eq!(terminal.refresh(None).unwrap_err().code(), "keys_unproven");
    assert_eq!(terminal.authority().unwrap(), known);
    world.authority.rotate_stated(true);
    assert_eq!(terminal.refresh(None).unwrap().document.keys.epoch, 1);

    let terminal = world.terminal(Arc::new(registered(&World::new(), &device)), &device);
    world.authority.rotate(true);
    let told = Authority { document: world.authority.document_of(), pinned_at: NOW }.fingerprint();
    assert_eq!(terminal.refresh(Some(&told)).unwrap().fingerprint(), told);

    let terminal = world.terminal(Arc::new(registered(&World::new(), &device)), &device);
    world.faults.lock().unwrap().unguarded = false;
    assert_eq!(terminal.refresh(None).unwrap().fingerprint(), told);
}
