//! Asking: the code, who is believed, and who is told nothing.

use counterfoil_core::wire::{Operation, ReissueState};
use counterfoil_core::{Code, RecoveryCode, Refusal, Timestamp, UserId};
use counterfoil_server::db::{Fault, Lasting};

use super::catalogue::{NOW, TestServer};
use super::is_sound;
use super::support::{TestDb, db_test};
use crate::keys_secrecy::{everything_in, holds, spellings};
use crate::support::licensing::one_more;
use crate::support::terminal::{Terminal, exchange, refused, request, send};

fn wrong(number: u8) -> RecoveryCode {
    RecoveryCode::from_bytes([number; 10])
}

db_test!(c15_a_new_card_is_asked_for_with_user_id_and_code_and_waits, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = Terminal::registered(&server).await;
    let code = owner.recovery_code(&server).await.unwrap();
    let new = Terminal::just_a_card();
    assert_eq!(refused(new.collect(&server).await), Code::CardUnknown);
    let asked = new.reissue(&server, owner.user.unwrap(), &code).await.unwrap();
    assert_eq!(asked.state, ReissueState::Waiting);
    // The same card asks for the same thing, however often; so a terminal finds out how far it is.
    assert_eq!(new.reissue(&server, owner.user.unwrap(), &code).await.unwrap(), asked);
    assert_eq!(new.reissue(&server, owner.user.unwrap(), &wrong(1)).await.unwrap(), asked, "it is known by its keys");
    assert_eq!(refused(new.collect(&server).await), Code::ReissueWaiting);
    // Nothing is replaced yet.
    owner.collect(&server).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM reissue").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'card.reissue_asked'").await, 1);
    is_sound(&db).await;
});

db_test!(c15_one_request_sent_from_many_sides_at_once_is_one_request, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let beside = server.another(&db, |_| ()).await;
    let owner = Terminal::registered(&server).await;
    let code = owner.recovery_code(&server).await.unwrap();
    let new = Terminal::just_a_card();
    let sealed = new.sealed(&server, &request(&server, new.reissue_operation(owner.user.unwrap(), &code.to_string())), None);
    let asked = (0..30).map(|n| exchange(if n % 2 == 0 { &server } else { &beside }, &sealed));
    let answers: std::collections::BTreeSet<String> =
        futures_util::future::join_all(asked).await.into_iter().map(|outcome| outcome.unwrap().to_string()).collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(db.number("SELECT count(*) FROM reissue").await, 1);
    is_sound(&db).await;
    beside.app.db.close().await;
});

db_test!(c15_who_asks_again_with_another_card_wants_that_one, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = Terminal::registered(&server).await;
    let code = owner.recovery_code(&server).await.unwrap();
    let (first, second) = (Terminal::just_a_card(), Terminal::just_a_card());
    first.reissue(&server, owner.user.unwrap(), &code).await.unwrap();
    second.reissue(&server, owner.user.unwrap(), &code).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM reissue WHERE state = 'waiting'").await, 1);
    assert_eq!(first.reissue(&server, owner.user.unwrap(), &code).await.unwrap().state, ReissueState::Declined);
    assert_eq!(refused(first.collect(&server).await), Code::ReissueDeclined);
    assert_eq!(refused(second.collect(&server).await), Code::ReissueWaiting);
    is_sound(&db).await;
});

db_test!(c15_a_wrong_user_id_no_code_a_wrong_code_and_a_lock_are_told_alike_and_cost_alike, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (with, without) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let locked = Terminal::registered(&server).await;
    with.recovery_code(&server).await.unwrap();
    let right = locked.recovery_code(&server).await.unwrap();
    for number in 0..10 {
        let refusal = Terminal::just_a_card().reissue(&server, locked.user.unwrap(), &wrong(number)).await;
        assert_eq!(refused(refusal), Code::UserInvalid);
    }
    let nobody = UserId::from_bytes([77; 16]);
    // What is nobody's has a record of its own as soon as somebody has tried.
    let _ = Terminal::just_a_card().reissue(&server, nobody, &wrong(1)).await;
    let mut told: Vec<(Refusal, u64)> = vec![];
    for (user, code) in [
        (nobody, wrong(1).to_string()),
        (without.user.unwrap(), wrong(1).to_string()),
        (with.user.unwrap(), wrong(1).to_string()),
        (with.user.unwrap(), "no code at all".to_owned()),
        (locked.user.unwrap(), wrong(1).to_string()),
        (locked.user.unwrap(), right.to_string()),
    ] {
        let new = Terminal::just_a_card();
        let sealed = new.sealed(&server, &request(&server, new.reissue_operation(user, &code)), None);
        db.faults.arm(Fault::Statement(u64::MAX), Lasting::Once);
        let refusal = exchange(&server, &sealed).await.unwrap_err();
        told.push((refusal, db.faults.statements()));
        db.faults.disarm();
    }
    let (first, statements) = told[0].clone();
    assert!(first.code == Code::UserInvalid && statements >= 4, "{first:?} {statements}");
    assert!(told.iter().all(|each| *each == (first.clone(), statements)), "{told:#?}");
    assert_eq!(db.number("SELECT count(*) FROM reissue").await, 0);
    is_sound(&db).await;
});

db_test!(c15_ten_wrong_codes_lock_the_recovery_of_an_entry_at_every_process_and_after_a_restart, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let beside = server.another(&db, |_| ()).await;
    let owner = Terminal::registered(&server).await;
    let code = owner.recovery_code(&server).await.unwrap();
    let user = owner.user.unwrap();
    // Nine do not, and a right one in between forgives them.
    for number in 0..9 {
        Terminal::just_a_card().reissue(&server, user, &wrong(number)).await.unwrap_err();
    }
    Terminal::just_a_card().reissue(&server, user, &code).await.unwrap();
    // All at once: each is counted.
    let tries = (0..10u8).map(|number| {
        let at = if number % 2 == 0 { &server } else { &beside };
        async move { Terminal::just_a_card().reissue(at, user, &wrong(number)).await }
    });
    assert!(futures_util::future::join_all(tries).await.into_iter().all(|outcome| outcome.is_err()));
    for at in [&server, &beside] {
        assert_eq!(refused(Terminal::just_a_card().reissue(at, user, &code).await), Code::UserInvalid);
    }
    let restarted = server.another(&db, |_| ()).await;
    let new = Terminal::just_a_card();
    restarted.app.clock.set(Timestamp(NOW.0 + 15 * 60_000 - 1));
    assert_eq!(refused(new.reissue(&restarted, user, &code).await), Code::UserInvalid);
    restarted.app.clock.set(Timestamp(NOW.0 + 15 * 60_000));
    new.reissue(&restarted, user, &code).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'user.recovery_refused'").await, 22);
    is_sound(&db).await;
    beside.app.db.close().await;
    restarted.app.db.close().await;
});

db_test!(c15_a_code_is_good_until_another_takes_its_place, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = Terminal::registered(&server).await;
    let user = owner.user.unwrap();
    let asked = request(&server, owner.recovery_code_operation());
    let sealed = owner.sealed(&server, &asked, None);
    let opened = async || owner.open_code(serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap());
    let first = opened().await;
    assert!(opened().await == first, "the same request, the same code");
    for _ in 0..2 {
        Terminal::just_a_card().reissue(&server, user, &first).await.unwrap();
    }
    let second = owner.recovery_code(&server).await.unwrap();
    assert!(first != second);
    assert_eq!(refused(Terminal::just_a_card().reissue(&server, user, &first).await), Code::UserInvalid);
    Terminal::just_a_card().reissue(&server, user, &second).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'user.recovery_code_made'").await, 2);
    is_sound(&db).await;
});

db_test!(c15_a_code_lies_in_the_database_as_a_hash_alone, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = Terminal::registered(&server).await;
    let code = owner.recovery_code(&server).await.unwrap();
    Terminal::just_a_card().reissue(&server, owner.user.unwrap(), &code).await.unwrap();
    let database = everything_in(&db).await;
    let written = code.to_string();
    let mut needles = spellings(code.as_bytes());
    for text in [written.clone(), written.replace('-', ""), written.to_lowercase(), written.replace('-', "").to_lowercase()] {
        needles.extend(spellings(text.as_bytes()));
    }
    for needle in needles {
        assert!(!holds(&database, &needle), "{}", String::from_utf8_lossy(&needle));
    }
    // The search can fail: the hash of it is found.
    let hash = counterfoil_server::store::entry_recovery::hash(owner.user.unwrap(), &code);
    assert!(spellings(&hash).iter().any(|spelling| holds(&database, spelling)));
});

db_test!(c15_who_was_lent_a_card_or_has_an_old_one_is_given_no_code, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = Terminal::registered(&server).await;
    let lent = Terminal { card: owner.card.clone(), user: owner.user, ..Terminal::new() };
    assert_eq!(refused(lent.recovery_code(&server).await), Code::DeviceNotRegistered);
    let alone = Terminal { card: owner.card.clone(), user: owner.user, ..Terminal::just_a_card() };
    assert_eq!(refused(alone.recovery_code(&server).await), Code::DeviceNotRegistered);
    // A device without the card, or with somebody else's.
    let stolen = Terminal { card: Some(crate::support::terminal::card()), device: owner.device.clone(), drive: None, user: owner.user };
    assert_eq!(refused(stolen.recovery_code(&server).await), Code::UserInvalid);
    let named = request(&server, owner.recovery_code_operation());
    assert_eq!(refused(exchange(&server, &stolen.sealed(&server, &named, None)).await), Code::ProofInvalid);
    assert_eq!(db.number("SELECT count(*) FROM entry_recovery").await, 0);
    // An entry of a card alone has no device to ask with, and another device of the user's may.
    let mut bare = Terminal::just_a_card();
    bare.register(&server, None).await.unwrap();
    bare.recovery_code(&server).await.unwrap();
    one_more(&server, &owner).await.recovery_code_of(&server, owner.user.unwrap()).await;
    // Devices that hold their own keys have no card to lose.
    let mut keyed = Terminal { card: None, drive: None, ..Terminal::new() };
    keyed.register(&server, None).await.unwrap();
    let pretends = Terminal { card: Some(crate::support::terminal::card()), ..keyed };
    assert_eq!(refused(pretends.recovery_code(&server).await), Code::UserInvalid);
    is_sound(&db).await;
});

impl Terminal {
    async fn recovery_code_of(mut self, server: &TestServer, user: UserId) {
        self.user = Some(user);
        self.recovery_code(server).await.unwrap();
    }
}

db_test!(c15_a_request_that_is_not_signed_by_the_card_that_it_names_is_nothing, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = Terminal::registered(&server).await;
    let code = owner.recovery_code(&server).await.unwrap();
    let (new, thief) = (Terminal::just_a_card(), Terminal::just_a_card());
    let operation = new.reissue_operation(owner.user.unwrap(), &code.to_string());
    let sealed = thief.sealed(&server, &request(&server, operation), None);
    assert_eq!(refused(exchange(&server, &sealed).await), Code::ProofInvalid);
    let collect = thief.sealed(&server, &request(&server, owner.collect_operation(None)), None);
    assert_eq!(refused(exchange(&server, &collect).await), Code::ProofInvalid);
    // A key to which nothing can be sealed.
    let mut operation = new.reissue_operation(owner.user.unwrap(), &code.to_string());
    if let Operation::Reissue(reissue) = &mut operation {
        reissue.card.seal = counterfoil_format::encoding::to_base64url(&[0; 32]);
    }
    let sealed = new.sealed(&server, &request(&server, operation), None);
    assert_eq!(refused(exchange(&server, &sealed).await), Code::ProofInvalid);
    let mut operation = new.reissue_operation(owner.user.unwrap(), &code.to_string());
    if let Operation::Reissue(reissue) = &mut operation {
        reissue.contact = Some("two\nlines".to_owned());
    }
    let answer = send(&server, &new.sealed(&server, &request(&server, operation), None)).await;
    assert_eq!(
        refused(crate::support::terminal::OutcomeResult::outcome_result(crate::support::terminal::answer(&server, answer))),
        Code::EnvelopeInvalid
    );
    assert_eq!(db.number("SELECT count(*) FROM reissue").await, 0);
});
