//! Register, inspect, claim, confirm and heal through the whole router: every grant and every refusal of the protocol.

mod envelopes;
mod registering;

use crate::support;
use crate::support::catalogue;
use crate::support::terminal;

use catalogue::{NOW, TestServer};
use counterfoil_core::wire::{Heal, HealResult, HolderKind, Inspect, InspectResult, Operation};
use counterfoil_core::{Code, DeviceId, GrantId, MediumId};
use counterfoil_format::content::{ChunkId, ContentKey};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::grant::{SealedBox, open_binding};
use counterfoil_format::jws::Signer;
use counterfoil_format::secret::Secret;
use counterfoil_server::keys::Place;
use counterfoil_server::store::audit;
use counterfoil_server::{auditor, jobs};
use futures_util::future::join_all;
use serde_json::json;
use support::{TestDb, db_test};
use terminal::{Medium, Terminal, card, device, envelope, exchange, media, random, refused, request};

async fn one(server: &TestServer) -> Medium {
    media(server, "sky-raider", 1, json!({})).await.remove(0)
}

async fn clean(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    let report = audit::verify(&db.db, vec![], |_| Err("none was signed".to_owned())).await.unwrap();
    assert!(report.is_clean() && report.rows > 0, "{report:?}");
}

db_test!(c7_a_claim_gives_both_keys_to_the_card_and_binds_them_to_device_and_drive, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = one(&server).await;
    let owner = Terminal::registered(&server).await;
    let grants = owner.claim(&server, &medium).await.unwrap();
    assert_eq!((grants.len(), grants[0].holder, grants[0].with_device), (1, HolderKind::Card, true));
    let (library, content) = owner.open(&grants[0]);
    let wrapped =
        db.read("key", async |tx| counterfoil_server::store::content_key::get(tx, &"sky-raider".parse().unwrap(), 1).await).await.unwrap();
    let place = Place::ContentKey { title: "sky-raider", generation: 1 };
    assert!(content == server.app.keys.unwrap(&place, &wrapped.unwrap()).unwrap());
    let binding = open_binding(&library, &grants[0].binding).unwrap();
    assert_eq!(binding.device_id, owner.device_id().map(|id| id.to_string()));
    assert_eq!(binding.drive_id, owner.drive_id().map(|id| id.to_string()));
    // The user's family learns of it by the outbox, once.
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
    assert_eq!(db.number("SELECT count(*) FROM entitlement").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM outbox").await, 0);
    clean(&db).await;
});

db_test!(c5_an_entry_of_a_card_alone_is_bound_to_no_hardware, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = one(&server).await;
    let mut owner = Terminal { device: None, drive: None, ..Terminal::new() };
    owner.register(&server, None).await.unwrap();
    let grants = owner.claim(&server, &medium).await.unwrap();
    assert_eq!((grants[0].with_device, grants[0].binding.as_str()), (false, ""));
    owner.open(&grants[0]);
});

db_test!(c6_only_the_registered_user_card_device_and_drive_together_may_claim, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = one(&server).await;
    let owner = Terminal::registered(&server).await;
    let nobody = Terminal::new().claim(&server, &medium).await.unwrap_err();
    assert_eq!((nobody.code, nobody.message.as_str()), (Code::UserInvalid, "USER ID INVALID. PLEASE COMPLETE USER REGISTRATION."));
    let mut thief = Terminal::registered(&server).await;
    thief.user = owner.user;
    assert_eq!(refused(thief.claim(&server, &medium).await), Code::UserInvalid, "another's user ID");
    let lent_card = Terminal { card: owner.card.clone(), user: owner.user, ..Terminal::new() };
    assert_eq!(refused(lent_card.claim(&server, &medium).await), Code::DeviceNotRegistered);
    let lent_card_and_drive = Terminal { card: owner.card.clone(), user: owner.user, drive: owner.drive.clone(), ..Terminal::new() };
    assert_eq!(refused(lent_card_and_drive.claim(&server, &medium).await), Code::DeviceNotRegistered);
    let other_drive = Terminal { card: owner.card.clone(), device: owner.device.clone(), user: owner.user, ..Terminal::new() };
    assert_eq!(refused(other_drive.claim(&server, &medium).await), Code::DeviceNotRegistered);
    let said_only = Terminal {
        device: Some((owner.device_id().unwrap(), device().1)),
        card: owner.card.clone(),
        drive: owner.drive.clone(),
        user: owner.user,
    };
    assert_eq!(refused(said_only.claim(&server, &medium).await), Code::DeviceNotRegistered, "a device ID without its key");
    // The card's ID without its key.
    let asked = request(&server, Operation::Claim(owner.claim_operation(&medium)));
    let (device_id, device) = (owner.device_id().unwrap().to_string(), owner.device.as_ref().unwrap().1.signing_key());
    let (card_id, stranger) = (owner.card_id().unwrap().to_string(), card().signing_key());
    let proofs = [
        (device_id.as_str(), Signer::Key(&device)),
        (card_id.as_str(), Signer::Key(&stranger)),
        (medium.id.as_str(), Signer::ClaimSecret(&medium.secret)),
    ];
    assert_eq!(refused(exchange(&server, &envelope(&server, &asked, &proofs)).await), Code::ProofInvalid);
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 0);
    assert_eq!(db.number("SELECT count(*) FROM medium WHERE copies_claimed > 0").await, 0, "nothing was claimed");
    assert!(owner.claim(&server, &medium).await.is_ok());
});

db_test!(c8_a_medium_is_spent_for_everybody_else_and_after_confirm_for_its_owner, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = one(&server).await;
    let (owner, other) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let asked = request(&server, Operation::Claim(owner.claim_operation(&medium)));
    let sealed = owner.sealed(&server, &asked, Some(&medium));
    let first: counterfoil_core::wire::ClaimResult = serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap();
    let spent = other.claim(&server, &medium).await.unwrap_err();
    assert_eq!((spent.code, spent.message.as_str()), (Code::MediumSpent, "CONTENT CANNOT BE COPIED FROM THIS MEDIA"));
    // The same request, and another one by the same claimant, get the same grant with the same library key.
    let again: counterfoil_core::wire::ClaimResult = serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap();
    let anew = owner.claim(&server, &medium).await.unwrap();
    for grants in [&again.grants, &anew] {
        assert_eq!(grants[0].grant_id, first.grants[0].grant_id);
        assert!(owner.open(&grants[0]).0 == owner.open(&first.grants[0]).0);
    }
    // Another device of the same user does not.
    let mut laptop = Terminal { card: owner.card.clone(), ..Terminal::new() };
    laptop.register(&server, owner.user).await.unwrap();
    assert_eq!(refused(laptop.claim(&server, &medium).await), Code::MediumSpent);
    owner.confirm(&server, &medium, &first.grants).await.unwrap();
    owner.confirm(&server, &medium, &first.grants).await.expect("a repeat says the same");
    let refusals = "SELECT count(*) FROM audit WHERE family LIKE 'med-%' AND event = 'claim.refused'";
    let before = db.number(refusals).await;
    assert_eq!(refused(exchange(&server, &sealed).await), Code::MediumSpent, "a replay after confirm");
    assert_eq!(db.number(refusals).await, before + 1, "a refusal is recorded, of a replay as well");
    assert_eq!(refused(owner.claim(&server, &medium).await), Code::MediumSpent);
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 1);
    clean(&db).await;
});

db_test!(c8_of_racing_claims_exactly_one_wins, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 4, json!({})).await;
    let mut terminals = vec![];
    for _ in 0..12 {
        terminals.push(Terminal::registered(&server).await);
    }
    for medium in &media {
        let outcomes = join_all(terminals.iter().map(|terminal| terminal.claim(&server, medium))).await;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1);
        for lost in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(lost.code, Code::MediumSpent);
        }
    }
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 4);
    clean(&db).await;
});

db_test!(each_of_two_copies_is_granted_once_and_a_replay_takes_no_second, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({ "copies": 2 })).await.remove(0);
    let (owner, other) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let sealed = owner.sealed(&server, &request(&server, Operation::Claim(owner.claim_operation(&medium))), Some(&medium));
    let first: counterfoil_core::wire::ClaimResult = serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap();
    owner.confirm(&server, &medium, &first.grants).await.unwrap();
    assert_eq!(refused(exchange(&server, &sealed).await), Code::MediumSpent, "a replay is not a claim of the second copy");
    assert!(other.claim(&server, &medium).await.is_ok());
    assert_eq!(refused(owner.claim(&server, &medium).await), Code::MediumSpent);
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 2);
    clean(&db).await;
});

db_test!(a_medium_that_does_not_prove_itself_is_unknown_whatever_the_reason, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = one(&server).await;
    let owner = Terminal::registered(&server).await;
    let (batch, _) = medium.id.batch_and_serial().unwrap();
    let mut wrong = vec![Medium { secret: Secret::new([1; 32]), ..medium.clone() }];
    for id in [
        MediumId::pressed(batch, 2),
        MediumId::pressed(batch, 0),
        MediumId::pressed(batch, u64::MAX),
        MediumId::pressed(counterfoil_core::BatchId([9; 8]), 1),
        "DISC-0001".parse().unwrap(),
    ] {
        wrong.push(Medium { id, secret: medium.secret.clone() });
    }
    let mut refusals = vec![];
    for wrong in &wrong {
        refusals.push(owner.claim(&server, wrong).await.unwrap_err());
        let inspect = Operation::Inspect(Inspect { medium_id: Some(wrong.id.clone()), ..Inspect::default() });
        refusals.push(owner.ask(&server, inspect, Some(wrong)).await.unwrap_err());
    }
    // No proof at all.
    refusals.push(owner.ask(&server, Operation::Claim(owner.claim_operation(&medium)), None).await.unwrap_err());
    for refusal in &refusals {
        assert_eq!(refusal, &Code::MediumUnknown.into(), "each says the same");
    }
    assert_eq!(db.number("SELECT count(*) FROM medium").await, 0, "a guess leaves no row");
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE family LIKE '/stranger/%'").await, refusals.len() as i64);
    let families = db.number("SELECT count(DISTINCT family) FROM audit WHERE family LIKE '/stranger/%'").await;
    assert!((1..=16).contains(&families));
    assert!(owner.claim(&server, &medium).await.is_ok());
});

db_test!(confirm_settles_only_ones_own_grants_on_the_device_that_copied, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = one(&server).await;
    let (owner, other) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let grants = owner.claim(&server, &medium).await.unwrap();
    assert_eq!(refused(other.confirm(&server, &medium, &grants).await), Code::GrantUnknown);
    let forged = Terminal { user: owner.user, device: Some((owner.device_id().unwrap(), device().1)), ..Terminal::new() };
    assert_eq!(refused(forged.confirm(&server, &medium, &grants).await), Code::ProofInvalid);
    let mut laptop = Terminal { card: owner.card.clone(), ..Terminal::new() };
    laptop.register(&server, owner.user).await.unwrap();
    assert_eq!(refused(laptop.confirm(&server, &medium, &grants).await), Code::GrantUnknown);
    let mut wrong = grants.clone();
    wrong[0].grant_id = GrantId::from_bytes(random());
    assert_eq!(refused(owner.confirm(&server, &medium, &wrong).await), Code::GrantUnknown);
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state = 'settled'").await, 0);
    owner.confirm(&server, &medium, &grants).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state = 'settled'").await, 1);
    clean(&db).await;
});

db_test!(b2_rights_that_have_ended_and_media_taken_out_of_use_give_nothing, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let ended = media(&server, "sky-raider", 1, json!({ "expires_at": NOW.0 })).await.remove(0);
    let owner = Terminal::registered(&server).await;
    assert_eq!(refused(owner.claim(&server, &ended).await), Code::RightMissing);
    let retired = media(&server, "moon-raider", 1, json!({})).await.remove(0);
    let path = format!("/v1/media/{}/retire", retired.id);
    assert!(server.post(&server.operator, &path, &json!({ "reason": "stolen" })).await.status.is_success());
    assert_eq!(refused(owner.claim(&server, &retired).await), Code::MediumRetired);
});

db_test!(a1_a3_a7_a11_inspect_gives_a_verdict_on_each_thing_that_proves_itself, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = one(&server).await;
    let (owner, other) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let everything = |terminal: &Terminal| {
        Operation::Inspect(Inspect { medium_id: Some(medium.id.clone()), user_id: terminal.user, device_id: terminal.device_id() })
    };
    let look = async |terminal: &Terminal| -> InspectResult {
        serde_json::from_value(terminal.ask(&server, everything(terminal), Some(&medium)).await.unwrap()).unwrap()
    };
    let before = look(&owner).await;
    let verdict = before.medium.unwrap();
    assert_eq!((verdict.copies_left, verdict.yours), (1, false));
    assert_eq!((verdict.titles[0].title.as_str(), verdict.titles[0].newest.as_ref().unwrap().as_str()), ("sky-raider", "1.0"));
    assert_eq!(before.device.unwrap().id, owner.device_id().unwrap());
    owner.claim(&server, &medium).await.unwrap();
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
    let after = look(&owner).await;
    assert_eq!(after.user.unwrap().titles[0].medium_id.as_ref(), Some(&medium.id));
    assert!(after.medium.unwrap().yours);
    let theirs = look(&other).await.medium.unwrap();
    assert_eq!((theirs.copies_left, theirs.yours), (0, false));
    // Each alone; and nothing without its proof.
    for ask in [Inspect { user_id: owner.user, ..Inspect::default() }, Inspect { device_id: owner.device_id(), ..Inspect::default() }] {
        assert!(owner.ask(&server, Operation::Inspect(ask.clone()), None).await.is_ok());
        assert!(other.ask(&server, Operation::Inspect(ask), None).await.is_err());
    }
    let foreign = Inspect { user_id: owner.user, device_id: Some(DeviceId::from_bytes([1; 16])), ..Inspect::default() };
    assert_eq!(refused(owner.ask(&server, Operation::Inspect(foreign), None).await), Code::DeviceNotRegistered);
    assert_eq!(refused(owner.ask(&server, Operation::Inspect(Inspect::default()), None).await), Code::ProofInvalid);
    clean(&db).await;
});

db_test!(a_damaged_library_is_healed_with_the_keys_of_its_chunks_and_by_nobody_else, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = one(&server).await;
    let (owner, other) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let grants = owner.claim(&server, &medium).await.unwrap();
    let (_, content) = owner.open(&grants[0]);
    owner.confirm(&server, &medium, &grants).await.unwrap();
    let chunks = [ChunkId([1; 32]), ChunkId([2; 32])];
    let heal = |terminal: &Terminal| {
        let chunks = chunks.iter().map(|chunk| to_base64url(&chunk.0)).collect();
        let (user_id, device_id) = (terminal.user.unwrap(), terminal.device_id());
        Operation::Heal(Heal { user_id, medium_id: Some(medium.id.clone()), grant_id: grants[0].grant_id, device_id, chunks })
    };
    let result: HealResult = serde_json::from_value(owner.ask(&server, heal(&owner), None).await.unwrap()).unwrap();
    let sealed: SealedBox = serde_json::from_value(result.keys).unwrap();
    let keys = sealed.open(&owner.holder().1.sealing_key(), &["heal", &grants[0].grant_id.to_string()]).unwrap();
    let expected: Vec<u8> = ContentKey::new(content).keys_of(&chunks).iter().flat_map(|key| *key.expose()).collect();
    assert_eq!(*keys, expected);
    assert_eq!(refused(other.ask(&server, heal(&other), None).await), Code::GrantUnknown);
    let lent_card = Terminal { card: owner.card.clone(), user: owner.user, ..Terminal::new() };
    assert_eq!(refused(lent_card.ask(&server, heal(&lent_card), None).await), Code::DeviceNotRegistered);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'library.healed'").await, 1);
    clean(&db).await;
});
