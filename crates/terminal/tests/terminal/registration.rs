//! Registration of card, device and drive against an authority in memory, and what goes wrong with them.

use crate::common;

use common::*;
use counterfoil_core::wire::HolderKind;
use counterfoil_core::{Code, DeviceId, UserId};
use counterfoil_terminal::io::Io as _;
use counterfoil_terminal::*;
use std::path::Path;
use std::sync::Arc;

#[test]
fn c4_a_dead_card_is_refused_in_the_words_of_the_source() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let terminal = world.terminal(Arc::new(io::model::DiskModel::new()), &device);
    let card = card_new(&terminal, None).unwrap();
    world.authority.state.lock().unwrap().dead.push(card.card_id.into());
    let error = register_default(&terminal).unwrap_err();
    assert_eq!(error.to_string(), "USER REGISTRATION CANNOT BE COMPLETED WITH THIS MEMORY CARD");
    assert_eq!((error.exit_code(), error.code()), (1, "card_unknown"));
}

#[test]
fn c5_every_subset_registers_copies_and_plays() {
    for bits in 1..8 {
        let (card, with_device, with_drive) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = io::model::DiskModel::new();
        put(&disk, MEDIUM, &world.press(1));
        let terminal = world.terminal(Arc::new(disk), &device);
        if card {
            card_new(&terminal, None).unwrap();
        }
        let options = RegisterOptions {
            device: if with_device { Part::Read } else { Part::Without },
            drive: if with_drive { Part::Read } else { Part::Without },
            library: Some(LIBRARY.into()),
            ..RegisterOptions::default()
        };
        let registered = register(&terminal, &options).unwrap();
        let holder = if card {
            HolderKind::Card
        } else if with_device {
            HolderKind::Device
        } else {
            HolderKind::Drive
        };
        assert_eq!(registered.holder, holder);
        assert_eq!(register(&terminal, &options).unwrap(), registered, "registering again changes nothing");
        copy_once(&terminal).unwrap();
        assert_plays(&world, &terminal);
    }
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let terminal = world.terminal(Arc::new(io::model::DiskModel::new()), &device);
    let nothing = RegisterOptions { device: Part::Without, drive: Part::Without, ..RegisterOptions::default() };
    assert_eq!(register(&terminal, &nothing).unwrap_err().code(), "no_keys");
}

#[test]
fn c5_ids_are_typed_where_hardware_cannot_be_read_and_refused_where_it_says_otherwise() {
    let world = World::new();
    let bare = Device { root: tempfile::tempdir().unwrap() };
    let disk = io::model::DiskModel::new();
    put(&disk, MEDIUM, &world.press(1));
    let terminal = world.terminal(Arc::new(disk), &bare);
    card_new(&terminal, None).unwrap();
    let without_drive = RegisterOptions { drive: Part::Without, ..RegisterOptions::default() };
    let error = register(&terminal, &without_drive).unwrap_err();
    assert_eq!(error.code(), "hardware_not_readable");
    assert!(error.hint().unwrap().contains("--device"));
    let typed = DeviceId::from_bytes([9; 16]);
    register(&terminal, &RegisterOptions { device: Part::Typed(typed), ..without_drive.clone() }).unwrap();
    copy_once(&terminal).unwrap();
    assert_plays(&world, &terminal);

    let device = Device::new("pc 1", "disk 1");
    let other = world.terminal(Arc::new(io::model::DiskModel::new()), &device);
    card_new(&other, None).unwrap();
    let error = register(&other, &RegisterOptions { device: Part::Typed(typed), ..without_drive }).unwrap_err();
    assert_eq!(error.code(), "hardware_contradicts");
}

#[test]
fn c3_a_second_device_takes_the_user_id_and_a_wrong_one_is_refused() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let user = card_show(&world.terminal(Arc::new(disk.clone()), &device), &CardChoice::Default).unwrap().user_id.unwrap();
    let second = Device::new("pc 2", "disk 2");
    let moved = disk.snapshot();
    moved.remove_file(Path::new("/home/device.json")).unwrap();
    let terminal = world.terminal(Arc::new(moved), &second);
    let with = |user| RegisterOptions { user, library: Some(LIBRARY.into()), ..RegisterOptions::default() };
    assert_eq!(refusal(register(&terminal, &with(None))), Code::UserInvalid);
    assert_eq!(refusal(register(&terminal, &with(Some(UserId::from_bytes([3; 16]))))), Code::UserInvalid);
    assert_eq!(register(&terminal, &with(Some(user))).unwrap().user_id, user);
    copy_once(&terminal).unwrap();
    assert_plays(&world, &terminal);
}

#[test]
fn a_key_file_that_others_can_read_is_an_error() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup {
        home: directory.path().join("home"),
        hardware_root: device.root.path().to_owned(),
        server: Some("memory:".into()),
        ca: None,
        card: None,
        via: None,
    };
    let terminal = world.terminal_at(Arc::new(io::RealIo), setup).unwrap();
    let card = card_new(&terminal, None).unwrap();
    assert_eq!(card_new(&terminal, None).unwrap_err().code(), "exists");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&card.path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    std::fs::set_permissions(&card.path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(card_show(&terminal, &CardChoice::Default).unwrap_err().code(), "loose_mode");
}

#[test]
fn c6_without_registration_or_with_a_foreign_card_nothing_is_claimed() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = io::model::DiskModel::new();
    put(&disk, MEDIUM, &world.press(1));
    let terminal = world.terminal(Arc::new(disk), &device);
    card_new(&terminal, None).unwrap();
    assert_eq!(refusal(copy_once(&terminal)), Code::UserInvalid);
    assert_eq!(world.effects("claim"), 0);
}
