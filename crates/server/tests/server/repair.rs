//! Exchange of a device or drive (C14): what becomes of copies and licenses, who is refused afterwards, and how often it may be done.

use crate::support;
use crate::support::catalogue;
use crate::support::licensing;
use crate::support::sales;
use crate::support::terminal;

use catalogue::{Answer, TestServer, make_token};
use counterfoil_core::wire::Operation;
use counterfoil_core::{Code, DeviceId, DriveId, UserId};
use counterfoil_server::auth::Role;
use counterfoil_server::{auditor, jobs, store};
use licensing::one_more;
use serde_json::{Value, json};
use support::{TestDb, db_test};
use terminal::{Medium, Terminal, device, media, random, refused};

mod entries;
mod faults;
mod races;

/// What a repair centre asks for.
fn swap(kind: &str, old: impl ToString, new: Option<String>) -> Value {
    json!({ "kind": kind, "old": old.to_string(), "new": new, "reason": "the disk is broken", "reference": "R-17" })
}

async fn exchange(server: &TestServer, user: UserId, body: &Value) -> Answer {
    server.post(&server.operator, &format!("/v1/entries/{user}/exchange"), body).await
}

/// Exchanges the terminal's device for another one, which registers with the same card, and a drive of its own.
async fn exchanged(server: &TestServer, owner: &Terminal) -> Terminal {
    let mut new = Terminal { card: owner.card.clone(), device: Some(device()), drive: owner.drive.clone(), user: None };
    let body = swap("device", owner.device_id().unwrap(), new.device_id().map(|id| id.to_string()));
    exchange(server, owner.user.unwrap(), &body).await.expect(200);
    new.register(server, owner.user).await.unwrap();
    new
}

/// Until nothing is left to tell.
async fn deliver(server: &TestServer) {
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
}

/// Copies whose grants stand, and whose device and drive are in the entry: what must never be more than the medium allows.
async fn live(db: &TestDb) -> i64 {
    db.number(
        "SELECT COALESCE(MAX(n), 0) FROM (SELECT COUNT(DISTINCT g.copy) AS n FROM grants g WHERE g.state <> 'revoked'
           AND (g.device_id IS NULL OR EXISTS (SELECT 1 FROM user_device d WHERE d.user_id = g.user_id AND d.device_id = g.device_id))
           AND (g.drive_id IS NULL OR EXISTS (SELECT 1 FROM user_drive d WHERE d.user_id = g.user_id AND d.drive_id = g.drive_id))
           GROUP BY g.medium_id) x",
    )
    .await
}

async fn is_clean(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}

db_test!(c14_a_copy_at_an_exchanged_device_is_taken_back_and_the_user_copies_again, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = &media(&server, "sky-raider", 1, json!({})).await[0];
    let owner = Terminal::registered(&server).await;
    let grants = owner.claim(&server, medium).await.unwrap();
    owner.confirm(&server, medium, &grants).await.unwrap();
    deliver(&server).await;
    let new = device();
    let mut next = Terminal { card: owner.card.clone(), device: Some(new), drive: owner.drive.clone(), user: owner.user };
    assert_eq!(refused(next.claim(&server, medium).await), Code::DeviceNotRegistered);

    let body = swap("device", owner.device_id().unwrap(), next.device_id().map(|id| id.to_string()));
    let answer = exchange(&server, owner.user.unwrap(), &body).await.expect(200);
    assert_eq!((&answer["kind"], &answer["generation"], &answer["exchanges_left"]), (&json!("device"), &json!(1), &json!(2)));
    assert_eq!(answer["freed"], json!([{ "medium_id": medium.id, "title": "sky-raider" }]));
    // With the answer, not a moment later: the flag is free, the grant has ended, and so has what the user owned.
    assert_eq!(db.number("SELECT copies_claimed * 10 + copies_freed FROM medium").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state = 'revoked'").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE state = 'ended' AND ended_at IS NOT NULL").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM medium WHERE state = 'unclaimed'").await, 1);

    // Nobody else than the one that is expected, and it only once it has registered.
    assert_eq!(refused(owner.claim(&server, medium).await), Code::DeviceExchanged);
    let lent = Terminal { card: owner.card.clone(), device: None, drive: owner.drive.clone(), user: owner.user };
    assert_eq!(refused(lent.claim(&server, medium).await), Code::DeviceNotRegistered, "a card alone, while no device is in the entry");
    let registered = next.register(&server, owner.user).await.unwrap();
    assert_eq!(registered.generation, 1);
    let again = next.claim(&server, medium).await.unwrap();
    next.confirm(&server, medium, &again).await.unwrap();
    assert_ne!(grants[0].grant_id, again[0].grant_id);
    deliver(&server).await;
    assert_eq!(live(&db).await, 1);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'medium.freed'").await, 1);
    assert_eq!(
        db.number("SELECT count(*) FROM audit WHERE event = 'user.exchanged' AND detail LIKE '%\"before\":{%' AND detail LIKE '%R-17%'")
            .await,
        1
    );
    is_clean(&db).await;
});

db_test!(c14_every_request_of_an_old_device_is_refused_as_such_and_shown_in_the_entry, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = &media(&server, "sky-raider", 1, json!({})).await[0];
    sales::list(&db, "sky-raider", &["1.00 EUR"], json!({})).await;
    let owner = Terminal::registered(&server).await;
    let grants = owner.claim(&server, medium).await.unwrap();
    owner.order(&server, "sky-raider", "1.00 EUR").await.unwrap();
    let (license, redeemed) = owner.install(&server, "sky-raider").await.unwrap();
    deliver(&server).await;
    let second = exchanged(&server, &owner).await;
    for (operation, medium) in [
        (owner.register_operation(owner.user), None),
        (owner.register_operation(None), None),
        (Operation::Claim(owner.claim_operation(medium)), Some(medium)),
        (owner.confirm_operation(medium, &grants), None),
        (owner.license_operation("sky-raider", false), None),
        (owner.redeem_operation(license.transaction_id), None),
        (owner.renew_operation(license.license_id), None),
        (owner.installed_operation(redeemed.grant.grant_id), None),
        (sales::order_operation(&owner, "sky-raider", Some("1.00 EUR")), None),
        (owner.inbox_operation(vec![]), None),
        (owner.transfer_operation(&owner, &second, None, false), None),
        (owner.send_operation(&second, "sky-raider", None), None),
    ] {
        let (name, before) = (operation.name(), turned_up(&db).await);
        assert_eq!(refused(owner.ask(&server, operation, medium).await), Code::DeviceExchanged, "{name}");
        assert_eq!(turned_up(&db).await, before + 1, "{name}");
    }
    // With keys of its own, after its disk was wiped, it is the same hardware.
    let mut wiped = Terminal { device: Some((owner.device_id().unwrap(), device().1)), ..clone_of(&owner) };
    assert_eq!(refused(wiped.register(&server, owner.user).await), Code::DeviceExchanged);
    // Nor does the user announce it again; only the repair centre takes it in.
    let announced = json!({ "device_id": owner.device_id().unwrap() });
    let path = format!("/v1/users/{}/devices", owner.user.unwrap());
    assert_eq!(server.post(&server.operator, &path, &announced).await.code(), "device_exchanged");
    // Who only says to be it, without its key, is told nothing.
    let before = turned_up(&db).await;
    let stranger = Terminal { device: Some((owner.device_id().unwrap(), device().1)), card: Some(terminal::card()), ..clone_of(&owner) };
    assert_eq!(refused(stranger.claim(&server, medium).await), Code::UserInvalid);
    assert_eq!(turned_up(&db).await, before);

    let entry = server.get(&server.operator, &format!("/v1/entries/{}", owner.user.unwrap())).await.json();
    let shown = entry["refusals"].as_array().unwrap();
    assert!(
        shown.iter().any(|refusal| refusal["event"] == "device.old_turned_up" && refusal["detail"]["operation"] == "renew"),
        "{shown:?}"
    );
    // Somebody else may well have it repaired, and register it.
    let mut sold = Terminal { device: owner.device.clone(), ..Terminal::new() };
    sold.register(&server, None).await.unwrap();
    is_clean(&db).await;
});

async fn turned_up(db: &TestDb) -> i64 {
    db.number("SELECT count(*) FROM audit WHERE event = 'device.old_turned_up'").await
}

fn clone_of(terminal: &Terminal) -> Terminal {
    Terminal { card: terminal.card.clone(), device: terminal.device.clone(), drive: terminal.drive.clone(), user: terminal.user }
}

db_test!(c14_what_was_repaired_after_all_is_taken_in_again_by_the_repair_centre, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = &media(&server, "sky-raider", 1, json!({})).await[0];
    let owner = Terminal::registered(&server).await;
    owner.claim(&server, medium).await.unwrap();
    let lent = exchanged(&server, &owner).await;
    lent.claim(&server, medium).await.unwrap_err();
    deliver(&server).await;
    lent.claim(&server, medium).await.unwrap();
    deliver(&server).await;
    let back = swap("device", lent.device_id().unwrap(), owner.device_id().map(|id| id.to_string()));
    exchange(&server, owner.user.unwrap(), &back).await.expect(200);
    let mut back = clone_of(&owner);
    back.register(&server, owner.user).await.unwrap();
    back.claim(&server, medium).await.unwrap();
    assert_eq!(refused(lent.claim(&server, medium).await), Code::DeviceExchanged);
    deliver(&server).await;
    assert_eq!(live(&db).await, 1);
    is_clean(&db).await;
});

db_test!(c14_of_a_medium_with_several_copies_those_of_the_old_device_alone_are_taken_back, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = &media(&server, "sky-raider", 1, json!({ "copies": 2 })).await[0];
    let first = Terminal::registered(&server).await;
    let second = one_more(&server, &first).await;
    first.claim(&server, medium).await.unwrap();
    let kept = second.claim(&server, medium).await.unwrap();
    deliver(&server).await;
    let third = exchanged(&server, &first).await;
    // The flag that is free is one of two, and the copy gets a number of its own.
    third.claim(&server, medium).await.unwrap();
    second.confirm(&server, medium, &kept).await.unwrap();
    assert_eq!(refused(Terminal::registered(&server).await.claim(&server, medium).await), Code::MediumSpent);
    deliver(&server).await;
    assert_eq!(db.number("SELECT copies_claimed * 10 + copies_freed FROM medium").await, 21);
    assert_eq!(db.number("SELECT count(DISTINCT copy) FROM grants").await, 3);
    assert_eq!(live(&db).await, 2);
    is_clean(&db).await;
});

db_test!(c14_copies_on_an_exchanged_drive_are_taken_back_wherever_the_device_is, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 2, json!({})).await;
    sales::list(&db, "sky-raider", &["1.00 EUR"], json!({})).await;
    let owner = Terminal::registered(&server).await;
    owner.claim(&server, &media[0]).await.unwrap();
    owner.order(&server, "sky-raider", "1.00 EUR").await.unwrap();
    let (license, _) = owner.install(&server, "sky-raider").await.unwrap();
    deliver(&server).await;
    let new = DriveId::from_bytes(random());
    let answer = exchange(&server, owner.user.unwrap(), &swap("drive", owner.drive_id().unwrap(), Some(new.to_string()))).await.expect(200);
    assert_eq!(answer["licenses"][0]["state"], "waiting");
    assert_eq!(refused(owner.claim(&server, &media[1]).await), Code::DeviceExchanged, "to the old drive");
    assert_eq!(turned_up(&db).await, 1);
    assert_eq!(refused(owner.renew(&server, license.license_id).await), Code::LicenseEnded, "what is on the old drive runs out");
    let there = Terminal { drive: Some((new, None)), ..clone_of(&owner) };
    there.claim(&server, &media[0]).await.unwrap();
    // Its ticket is good for the new drive, and nothing is paid again.
    there.redeem(&server, license.transaction_id).await.unwrap();
    // A drive that was only taken out leaves an entry that asks for one.
    exchange(&server, owner.user.unwrap(), &swap("drive", new, None)).await.expect(200);
    let without = Terminal { drive: None, ..clone_of(&owner) };
    assert_eq!(refused(without.claim(&server, &media[1]).await), Code::DeviceNotRegistered);
    assert_eq!(db.number("SELECT count(*) FROM orders").await, 1);
    deliver(&server).await;
    assert_eq!(live(&db).await, 0);
    is_clean(&db).await;
});

db_test!(c14_licenses_move_to_the_new_device_under_their_transaction_ids_and_are_no_transfer, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sales::sell(&server, &db, "game-1", &["5.00 EUR"], json!({ "transfers": 0, "devices": 2 })).await;
    let owner = Terminal::registered(&server).await;
    owner.order(&server, "game-1", "5.00 EUR").await.unwrap();
    let (license, redeemed) = owner.install(&server, "game-1").await.unwrap();
    let next = exchanged(&server, &owner).await;
    // It waits there already, and is fetched with the ticket that was bought.
    assert_eq!(next.jobs(&server).await.len(), 1);
    let fetched = next.redeem(&server, license.transaction_id).await.unwrap();
    next.installed(&server, fetched.grant.grant_id).await.unwrap();
    assert_ne!(fetched.grant.grant_id, redeemed.grant.grant_id);
    assert_eq!(db.number("SELECT count(*) FROM orders").await, 1, "nothing is paid twice");
    assert_eq!(db.number("SELECT transfers FROM entitlement").await, 0);
    // Without a new one they end, and their place is free for another device.
    let alone = swap("device", next.device_id().unwrap(), None);
    let answer = exchange(&server, owner.user.unwrap(), &alone).await.expect(200);
    assert_eq!(answer["licenses"][0]["state"], "ended");
    assert_eq!(db.number("SELECT devices FROM entitlement").await, 0);
    let mut later = Terminal { device: Some(device()), ..clone_of(&owner) };
    later.register(&server, owner.user).await.unwrap();
    later.install(&server, "game-1").await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM orders").await, 1);
    is_clean(&db).await;
});

db_test!(c14_an_entry_whose_devices_hold_their_own_keys_goes_on_with_the_new_one, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = &media(&server, "sky-raider", 1, json!({})).await[0];
    let mut owner = Terminal { card: None, drive: None, ..Terminal::new() };
    owner.register(&server, None).await.unwrap();
    owner.claim(&server, medium).await.unwrap();
    deliver(&server).await;
    let mut next = Terminal { device: Some(device()), ..clone_of(&owner) };
    exchange(&server, owner.user.unwrap(), &swap("device", owner.device_id().unwrap(), next.device_id().map(|id| id.to_string())))
        .await
        .expect(200);
    // The entry still names the old one as its first holder; that opens nothing.
    assert_eq!(refused(owner.claim(&server, medium).await), Code::DeviceExchanged);
    let nameless = Operation::Claim(counterfoil_core::wire::Claim { device_id: None, ..owner.claim_operation(medium) });
    assert_eq!(refused(owner.ask(&server, nameless, Some(medium)).await), Code::DeviceNotRegistered);
    next.register(&server, owner.user).await.unwrap();
    next.claim(&server, medium).await.unwrap();
    deliver(&server).await;
    assert_eq!(live(&db).await, 1);
    is_clean(&db).await;
});

db_test!(c14_the_policy_bounds_exchanges_and_an_operator_overrides_it_on_record, async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.repair.exchanges = 1).await;
    let centre = make_token(&server.app, Role::Repair, None).await;
    let owner = Terminal::registered(&server).await;
    let path = format!("/v1/entries/{}/exchange", owner.user.unwrap());
    let (second, third): (DeviceId, DeviceId) = (device().0, device().0);
    let first = swap("device", owner.device_id().unwrap(), Some(second.to_string()));
    server.post(&centre, &path, &first).await.expect(200);
    let mut next = swap("device", second, Some(third.to_string()));
    let refusal = server.post(&centre, &path, &next).await;
    assert_eq!((refusal.status.as_u16(), refusal.code().as_str()), (403, "repair_not_allowed"));
    next["override"] = json!(true);
    assert_eq!(server.post(&centre, &path, &next).await.code(), "forbidden", "that is the operator's");
    let answer = server.post(&server.operator, &path, &next).await.expect(200);
    assert_eq!((&answer["overridden"], &answer["generation"]), (&json!(true), &json!(2)));
    assert_eq!(db.number("SELECT count(*) FROM repair WHERE overridden = 1").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'user.exchanged' AND detail LIKE '%\"overridden\":true%'").await, 1);
    is_clean(&db).await;
});

db_test!(c14_what_is_not_there_or_not_theirs_is_not_exchanged, async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.registration.max_devices = 1).await;
    let (owner, other) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let user = owner.user.unwrap();
    let code = async |body: Value| exchange(&server, user, &body).await.code();
    let old = owner.device_id().unwrap();
    assert_eq!(code(swap("device", other.device_id().unwrap(), None)).await, "not_in_entry");
    assert_eq!(code(swap("drive", other.drive_id().unwrap(), None)).await, "not_in_entry");
    assert_eq!(code(swap("device", old, Some(old.to_string()))).await, "unprocessable");
    assert_eq!(code(swap("device", "dev-7Q2M", None)).await, "unprocessable");
    assert_eq!(code(swap("drive", old, None)).await, "unprocessable", "a device is no drive");
    let mut silent = swap("device", old, None);
    silent["reason"] = json!(" ");
    assert_eq!(code(silent).await, "unprocessable");
    let nobody = UserId::from_bytes([7; 16]);
    assert_eq!(exchange(&server, nobody, &swap("device", old, None)).await.status, 404);
    for role in [Role::Publisher, Role::Shop, Role::Support, Role::Gateway, Role::User] {
        let tenant = (role == Role::Publisher).then_some("blue-fox");
        let token = make_token(&server.app, role, tenant).await;
        let answer = server.post(&token, &format!("/v1/entries/{user}/exchange"), &swap("device", old, None)).await;
        assert_eq!(answer.status, 403, "{role:?}");
    }
    let mut alone = Terminal { card: None, device: None, drive: Some((DriveId::from_bytes(random()), Some(device().1))), user: None };
    alone.register(&server, None).await.unwrap();
    let drive = exchange(&server, alone.user.unwrap(), &swap("drive", alone.drive_id().unwrap(), None)).await;
    assert_eq!(drive.code(), "repair_not_allowed", "its keys are on it");
    assert_eq!(db.number("SELECT count(*) FROM repair").await, 0);
    // One place, and the new one takes it.
    let answer = exchange(&server, user, &swap("device", old, Some(device().0.to_string()))).await.expect(200);
    assert_eq!(answer["generation"], 1);
    is_clean(&db).await;
});

/// A medium in the hand of whoever has it, and what is known of the one copy of it.
async fn claimed(server: &TestServer) -> (Medium, Terminal) {
    let medium = terminal::press(server, "sky-raider", 1, json!({})).await.remove(0);
    let owner = Terminal::registered(server).await;
    owner.claim(server, &medium).await.unwrap();
    (medium, owner)
}
