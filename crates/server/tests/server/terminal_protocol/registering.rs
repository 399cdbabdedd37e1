//! Register: every combination of card, device and drive, and what the policy demands.

use counterfoil_core::rules::register::Policy;
use counterfoil_core::wire::HolderKind;
use counterfoil_core::{Code, DriveId, UserId};
use counterfoil_format::holder::{self, HolderKeys};
use counterfoil_format::jws::Signer;
use counterfoil_format::secret::SystemRandom;
use counterfoil_server::store::holder as holders;

use super::{clean, one};
use crate::support::catalogue::{NOW, TestServer};
use crate::support::terminal::{self, Terminal, envelope, exchange, refused, request};
use crate::support::{TestDb, db_test};

db_test!(c3_c5_every_combination_registers_and_its_holder_opens_the_user_id, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    for bits in 1..8 {
        let mut terminal = Terminal::new();
        terminal.card = terminal.card.filter(|_| bits & 1 != 0);
        terminal.device = terminal.device.filter(|_| bits & 2 != 0);
        terminal.drive = terminal.drive.filter(|_| bits & 4 != 0);
        if bits == 4 {
            let keys = HolderKeys::generate(holder::HolderKind::Drive, &mut SystemRandom);
            terminal.drive = Some((terminal.drive_id().unwrap(), Some(keys)));
        }
        let result = terminal.register(&server, None).await.unwrap();
        let kind = match bits {
            4 => HolderKind::Drive,
            2 | 6 => HolderKind::Device,
            _ => HolderKind::Card,
        };
        assert_eq!((result.holder, result.card_id), (kind, terminal.card_id()), "{bits}");
        // Again, in a request of its own: the same user.
        let user = terminal.user;
        terminal.register(&server, None).await.unwrap();
        assert_eq!(terminal.user, user, "{bits}");
    }
    assert_eq!(db.number("SELECT count(*) FROM user_entry").await, 7);
    clean(&db).await;
});

db_test!(c4_a_card_that_is_not_issued_or_is_dead_is_refused_in_the_sources_words, async |db: TestDb| {
    let issued_only = Policy { issued_cards_only: true, ..Policy::default() };
    let server = TestServer::with(&db, |config| config.registration = issued_only).await;
    let mut terminal = Terminal::new();
    let refusal = terminal.register(&server, None).await.unwrap_err();
    assert_eq!(refusal.code, Code::CardUnknown);
    assert_eq!(refusal.message, "USER REGISTRATION CANNOT BE COMPLETED WITH THIS MEMORY CARD");
    let id = terminal.card_id().unwrap().into();
    db.write("issue", "test", async move |tx| holders::issue(tx, id, NOW).await).await.unwrap();
    terminal.register(&server, None).await.unwrap();
    let medium = one(&server).await;
    db.write("kill", "test", async move |tx| holders::kill(tx, id).await).await.unwrap();
    assert_eq!(refused(terminal.register(&server, None).await), Code::CardUnknown);
    assert_eq!(refused(terminal.claim(&server, &medium).await), Code::UserInvalid);
    clean(&db).await;
});

db_test!(c5_the_policy_can_demand_each_of_the_three_and_bounds_devices, async |db: TestDb| {
    let policy = Policy { require_drive: true, max_devices: 1, ..Policy::default() };
    let server = TestServer::with(&db, |config| config.registration = policy).await;
    let mut terminal = Terminal { drive: None, ..Terminal::new() };
    assert_eq!(refused(terminal.register(&server, None).await), Code::RegistrationNotAllowed);
    terminal.drive = Some((DriveId::from_bytes([3; 16]), None));
    terminal.register(&server, None).await.unwrap();
    let mut second = Terminal { card: terminal.card.clone(), ..Terminal::new() };
    second.drive = terminal.drive.clone();
    assert_eq!(refused(second.register(&server, terminal.user).await), Code::TooManyDevices);
});

db_test!(c13_a_lent_card_adds_no_device_without_the_user_id, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = Terminal::registered(&server).await;
    let mut borrower = Terminal { card: owner.card.clone(), ..Terminal::new() };
    assert_eq!(refused(borrower.register(&server, None).await), Code::UserInvalid);
    assert_eq!(refused(borrower.register(&server, Some(UserId::from_bytes([5; 16]))).await), Code::UserInvalid);
    borrower.register(&server, owner.user).await.unwrap();
    assert_eq!(borrower.user, owner.user);
    // A user ID in the hands of another card proves nothing.
    assert_eq!(refused(Terminal::new().register(&server, owner.user).await), Code::UserInvalid);
});

db_test!(a_registration_is_signed_by_everything_that_it_names, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let terminal = Terminal::new();
    let asked = request(&server, terminal.register_operation(None));
    let (card, (device_id, device)) = (terminal.card.as_ref().unwrap().signing_key(), terminal.device.as_ref().unwrap());
    let (card_id, device_id, device) = (terminal.card_id().unwrap().to_string(), device_id.to_string(), device.signing_key());
    let ((card_id, device_id), stranger) = ((card_id.as_str(), device_id.as_str()), terminal::card().signing_key());
    for proofs in [
        vec![(card_id, Signer::Key(&card))],
        vec![(device_id, Signer::Key(&device))],
        vec![(card_id, Signer::Key(&stranger)), (device_id, Signer::Key(&device))],
        vec![(card_id, Signer::Key(&card)), (device_id, Signer::Key(&stranger))],
        vec![(device_id, Signer::Key(&card)), (card_id, Signer::Key(&device))],
    ] {
        assert_eq!(refused(exchange(&server, &envelope(&server, &asked, &proofs)).await), Code::ProofInvalid);
    }
    assert_eq!(db.number("SELECT count(*) FROM holder").await, 0);
});
