//! After a repair (C14): the card loses what ended and keeps what stands, and the medium is copied again, in one command.

use crate::common;

use common::*;
use counterfoil_core::{Code, DeviceId, DriveId, UserId};
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::*;
use std::path::Path;
use std::sync::Arc;

/// A copied title; whose, and on which device and drive.
struct Copied {
    world: World,
    device: Device,
    disk: DiskModel,
    user: UserId,
    device_id: DeviceId,
    drive_id: DriveId,
}

impl Copied {
    fn new() -> Self {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        let terminal = world.terminal(Arc::new(disk.clone()), &device);
        copy_once(&terminal).unwrap();
        let user = card_show(&terminal, &CardChoice::Default).unwrap().user_id.unwrap();
        let (device_id, drive_id) = (terminal.device_id().unwrap(), terminal.drive_id(Path::new(LIBRARY)).unwrap());
        Self { world, device, disk, user, device_id, drive_id }
    }

    fn terminal(&self) -> Terminal {
        self.world.terminal(Arc::new(self.disk.clone()), &self.device)
    }

    /// The repaired computer: another device ID, the same disk.
    fn repaired(&self) -> (Device, Terminal) {
        let device = Device::new("pc 2", "disk 1");
        let terminal = self.world.terminal(Arc::new(self.disk.clone()), &device);
        (device, terminal)
    }

    fn register(&self, terminal: &Terminal) {
        let options = RegisterOptions { library: Some(LIBRARY.into()), user: Some(self.user), ..RegisterOptions::default() };
        register(terminal, &options).unwrap();
    }

    fn exchange_device(&self) {
        let (_device, repaired) = self.repaired();
        let new = repaired.device_id().unwrap();
        self.world.authority.state.lock().unwrap().exchange_device(self.user, self.device_id, new);
    }
}

fn grants(terminal: &Terminal) -> Vec<CardGrant> {
    card_show(terminal, &CardChoice::Default).unwrap().grants
}

/// proves: C14
#[test]
fn c14_a_device_is_exchanged_the_card_is_wiped_at_the_next_contact_and_one_command_copies_again() {
    let start = Copied::new();
    start.exchange_device();
    // Until it hears of it, the card holds what it held.
    assert_eq!(grants(&start.terminal()).len(), 1);
    let (_device, terminal) = start.repaired();
    let old = grants(&terminal)[0].grant_id;
    start.register(&terminal);
    assert_eq!(grants(&terminal), [], "the grant of the old device is gone");
    let error = open(&terminal).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "play_not_permitted");
    assert!(error.hint().unwrap().contains("counterfoil copy"), "{error:?}");

    copy_once(&terminal).unwrap();
    assert_plays(&start.world, &terminal);
    let left: Vec<_> = start.disk.named_files().into_iter().filter(|(path, _)| path.to_string_lossy().contains(&old.to_string())).collect();
    assert!(left.is_empty(), "nothing is left of the copy that opens no more: {:?}", left.iter().map(|(path, _)| path).collect::<Vec<_>>());
    // And the copy is used up again.
    assert_eq!(refusal(copy_again(&terminal)), Code::MediumSpent);
}

/// proves: C14
#[test]
fn c14_a_claim_tells_of_a_repair_as_a_registration_does() {
    let start = Copied::new();
    let old = grants(&start.terminal())[0].grant_id;
    // The new drive is in the entry at once: nothing is to be registered.
    let device = Device::new("pc 1", "disk 2");
    let terminal = start.world.terminal(Arc::new(start.disk.clone()), &device);
    let new = terminal.drive_id(Path::new(LIBRARY)).unwrap();
    assert_ne!(new, start.drive_id);
    start.world.authority.state.lock().unwrap().exchange_drive(start.user, start.drive_id, new);
    copy_once(&terminal).unwrap();
    let now = grants(&terminal);
    assert_eq!(now.len(), 1);
    assert_ne!(now[0].grant_id, old);
    assert_plays(&start.world, &terminal);
}

/// proves: C14
#[test]
fn c14_an_unfinished_copy_on_a_drive_that_was_exchanged_does_not_stand_in_the_way() {
    let start = Copied::new();
    put(&start.disk, "/medium-2", &start.world.press(2));
    let begun = |terminal: &Terminal| {
        let medium = Medium::open_online(terminal, Path::new("/medium-2")).unwrap();
        let library = Library::create_or_open(terminal, Path::new(LIBRARY)).unwrap();
        copy(terminal, &medium, &library, &CopyOptions { again: true, ..CopyOptions::default() }, &|_| {})
    };
    // Claimed, and its confirmation lost: the content key is still on the card.
    let sent = start.world.faults.lock().unwrap().sent;
    start.world.faults.lock().unwrap().lose_requests = vec![sent + 1];
    begun(&start.terminal()).unwrap_err();
    start.world.faults.lock().unwrap().lose_requests.clear();
    assert!(grants(&start.terminal()).iter().any(|grant| grant.content_key));

    let device = Device::new("pc 1", "disk 2");
    let terminal = start.world.terminal(Arc::new(start.disk.clone()), &device);
    // Without a repair it is other hardware, whether the authority can be reached or not (C10).
    assert_eq!(refusal(begun(&terminal)), Code::CopyNotPermitted);
    start.world.faults.lock().unwrap().offline = true;
    assert_eq!(refusal(begun(&terminal)), Code::CopyNotPermitted);
    start.world.faults.lock().unwrap().offline = false;

    let new = terminal.drive_id(Path::new(LIBRARY)).unwrap();
    start.world.authority.state.lock().unwrap().exchange_drive(start.user, start.drive_id, new);
    begun(&terminal).unwrap();
    assert_plays(&start.world, &terminal);
}

/// proves: C14
#[test]
fn c14_what_still_stands_stays_as_it_is_with_the_content_key_of_an_unfinished_copy() {
    let start = Copied::new();
    // A second computer of the same user, with the same card, on which a copy is not finished.
    let other = Device::new("laptop", "laptop's disk");
    let setup = Setup { home: "/laptop".into(), card: Some(Path::new(HOME).join("card.json")), ..other.setup() };
    let laptop = start.world.terminal_at(Arc::new(start.disk.clone()), setup).unwrap();
    let library = Path::new("/laptop-library");
    let options = RegisterOptions { library: Some(library.into()), user: Some(start.user), ..RegisterOptions::default() };
    register(&laptop, &options).unwrap();
    put(&start.disk, "/medium-2", &start.world.press(2));
    let begun = |terminal: &Terminal| {
        let medium = Medium::open_online(terminal, Path::new("/medium-2"))?;
        let library = Library::create_or_open(terminal, library)?;
        copy(terminal, &medium, &library, &CopyOptions::default(), &|_| {})
    };
    let sent = start.world.faults.lock().unwrap().sent;
    start.world.faults.lock().unwrap().lose_requests = vec![sent + 1];
    assert_eq!(begun(&laptop).unwrap_err().code(), "unreachable");
    start.world.faults.lock().unwrap().lose_requests.clear();

    start.exchange_device();
    let before = grants(&laptop);
    let collected = collect(&laptop, &CardChoice::Default).unwrap();
    assert_eq!((collected.kept, collected.added.len(), collected.dropped.len(), collected.generation), (1, 0, 1, 1));
    let after = grants(&laptop);
    assert_eq!(after, before.into_iter().filter(|grant| grant.content_key).collect::<Vec<_>>());
    let claims = start.world.effects("claim");
    assert!(begun(&laptop).unwrap().resumed, "it goes on with the keys that it had");
    assert_eq!(start.world.effects("claim"), claims);
    // Once more is nothing new.
    let again = collect(&laptop, &CardChoice::Default).unwrap();
    assert_eq!((again.kept, again.added, again.dropped), (1, vec![], vec![]));
}

/// proves: C14
#[test]
fn c14_a_grant_that_the_entry_has_not_heard_of_yet_is_not_dropped() {
    let start = Copied::new();
    start.exchange_device();
    let (_device, terminal) = start.repaired();
    start.register(&terminal);
    copy_once(&terminal).unwrap();
    let new = grants(&terminal)[0].grant_id;
    start.world.authority.state.lock().unwrap().repairs.unheard.push(new);
    let collected = collect(&terminal, &CardChoice::Default).unwrap();
    assert_eq!((collected.kept, collected.dropped), (1, vec![]), "it was issued after the exchange");
    assert_plays(&start.world, &terminal);
}

/// proves: C14
#[test]
fn c14_pages_are_put_together_and_a_repair_between_two_of_them_begins_anew() {
    let start = Copied::new();
    let terminal = start.terminal();
    for serial in 2..5 {
        let path = format!("/medium-{serial}");
        put(&start.disk, &path, &start.world.press(serial));
        let medium = Medium::open_online(&terminal, Path::new(&path)).unwrap();
        let library = Library::create_or_open(&terminal, Path::new(&format!("/library-{serial}"))).unwrap();
        copy(&terminal, &medium, &library, &CopyOptions::default(), &|_| {}).unwrap();
    }
    let before = grants(&terminal);
    assert_eq!(before.len(), 4);
    start.world.authority.state.lock().unwrap().repairs.page = Some(1);
    start.world.authority.state.lock().unwrap().repairs.raised_between_pages = true;
    let collected = collect(&terminal, &CardChoice::Default).unwrap();
    assert_eq!((collected.kept, collected.added.len(), collected.dropped.len(), collected.generation), (4, 0, 0, 1));
    assert_eq!(grants(&terminal), before);
    // 1 page, found to be of another generation at the second, then four.
    assert_eq!(start.world.effects("collect"), 6);
}

/// proves: C14
#[test]
fn c14_the_old_device_with_a_copy_of_the_card_gets_nothing_more() {
    let start = Copied::new();
    start.exchange_device();
    let (_device, terminal) = start.repaired();
    start.register(&terminal);
    let old = start.terminal();
    assert_eq!(refusal(copy_again(&old)), Code::DeviceNotRegistered);
    assert_eq!(refusal(register_default(&old)), Code::DeviceExchanged);
    copy_once(&terminal).unwrap();
}
