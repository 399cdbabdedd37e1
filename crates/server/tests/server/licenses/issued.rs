//! Asking for a license, fetching it, renewing it (D5, D6), and what is refused on the way.

use counterfoil_core::wire::{AddDevice, AskLicense, Operation};
use counterfoil_core::{Code, Timestamp, TransactionId, UserId};
use counterfoil_format::jws::Signer;
use counterfoil_server::keys::{Purpose, RootKey, RootSource, rotate};
use counterfoil_server::roles::ServerRole;
use serde_json::json;

use super::catalogue::{NOW, TestServer, publish};
use super::is_sound;
use super::licensing::{one_more, verified};
use super::sales::sell;
use super::support::{TestDb, db_test};
use super::terminal::{DAY, Terminal, device, envelope, exchange, random, refused, request, send};

const PRICE: &str = "19.99 EUR";

/// A server with one title on sale, and somebody who has bought it.
async fn bought(db: &TestDb, policy: serde_json::Value) -> (TestServer, Terminal) {
    let server = TestServer::new(db).await;
    sell(&server, db, "sky-raider", &[PRICE], policy).await;
    let anna = Terminal::registered(&server).await;
    anna.order(&server, "sky-raider", PRICE).await.unwrap();
    (server, anna)
}

db_test!(d6_a_license_is_issued_fetched_by_its_transaction_id_and_good_for_whoever_verifies_it, async |db: TestDb| {
    let policy = json!({ "devices": 2, "control_program": true, "attributes": { "edition": "gold" } });
    let (server, anna) = bought(&db, policy).await;
    let issued = anna.license(&server, "sky-raider").await.unwrap();
    assert_eq!((issued.title.name.as_str(), issued.title.release.as_str()), ("sky-raider", "1.0"));
    assert_eq!(issued.title.publisher.id, "blue-fox");
    assert_eq!(anna.license(&server, "sky-raider").await.unwrap().transaction_id, issued.transaction_id, "the same until it is fetched");

    let redeemed = anna.redeem(&server, issued.transaction_id).await.unwrap();
    let license = verified(&server, &anna, &redeemed.license);
    assert_eq!((license.iss.as_str(), license.sub, license.grant), ("test.example", issued.license_id, redeemed.grant.grant_id));
    assert_eq!((license.title.as_str(), license.release.as_str()), ("sky-raider", "1.0"));
    assert_eq!((license.devices, license.control_program, license.trial, license.ends), (2, true, false, false));
    assert_eq!(license.attributes["edition"], "gold");
    assert_eq!((license.iat, license.exp, license.grace), (NOW.seconds(), Some(NOW.seconds() + 30 * 86_400), 7 * 86_400));
    assert!(!redeemed.license.contains(&anna.user.unwrap().to_string()), "it names no user");
    let (library, content) = anna.open(&redeemed.grant);

    // A crash before the installation was confirmed: the same grant, sealed anew, nothing drawn twice.
    let again = anna.redeem(&server, issued.transaction_id).await.unwrap();
    let (same_library, same_content) = anna.open(&again.grant);
    assert_eq!(again.grant.grant_id, redeemed.grant.grant_id);
    assert_eq!((same_library.expose(), same_content.expose()), (library.expose(), content.expose()));
    assert_ne!(again.grant.keys, redeemed.grant.keys);

    anna.installed(&server, redeemed.grant.grant_id).await.unwrap();
    anna.installed(&server, redeemed.grant.grant_id).await.unwrap();
    assert_eq!(refused(anna.redeem(&server, issued.transaction_id).await), Code::TransactionSpent);
    assert_eq!(db.number("SELECT count(*) FROM license WHERE state = 'settled'").await, 1);
    assert!(anna.jobs(&server).await.is_empty(), "nobody needs to install it any more");
    is_sound(&db).await;
});

db_test!(d5_user_device_and_title_must_be_registered_together, async |db: TestDb| {
    let (server, anna) = bought(&db, json!({})).await;
    let stranger = Terminal::registered(&server).await;
    assert_eq!(refused(stranger.license(&server, "sky-raider").await), Code::NotEntitled);
    assert_eq!(refused(anna.license(&server, "no-such-title").await), Code::NotEntitled);
    publish(&server, "red-owl", "other-title", "1.0").await;
    assert_eq!(refused(anna.license(&server, "other-title").await), Code::NotEntitled);
    let laptop = one_more(&server, &anna).await;
    assert_eq!(refused(laptop.license(&server, "sky-raider").await), Code::NotEntitled, "one device at once, by its terms");

    // A device that nobody has registered, and one of somebody else's, with the user's ID.
    let unknown = Terminal { card: anna.card.clone(), device: Some(device()), drive: None, user: anna.user };
    assert_eq!(refused(unknown.license(&server, "sky-raider").await), Code::DeviceNotRegistered);
    let liar = Terminal { user: anna.user, ..Terminal::registered(&server).await };
    assert_eq!(refused(liar.license(&server, "sky-raider").await), Code::DeviceNotRegistered);
    let nobody = Terminal { user: Some(UserId::from_bytes(random())), ..Terminal::new() };
    assert_eq!(refused(nobody.license(&server, "sky-raider").await), Code::UserInvalid);

    let ask = |release: Option<&str>, channel: Option<&str>| {
        Operation::License(AskLicense {
            user_id: anna.user.unwrap(),
            device_id: anna.device_id().unwrap(),
            title: "sky-raider".parse().unwrap(),
            release: release.map(|version| version.parse().unwrap()),
            channel: channel.map(str::to_owned),
            again: false,
            feed: 0,
        })
    };
    for operation in [ask(Some("9.9"), None), ask(None, Some("beta")), ask(None, Some("no channel!"))] {
        assert_eq!(refused(anna.ask(&server, operation, None).await), Code::ReleaseUnknown);
    }
    assert_eq!(db.number("SELECT count(*) FROM license WHERE transaction_id IS NOT NULL").await, 0, "nothing was issued");
    anna.ask(&server, ask(Some("1.0"), None), None).await.unwrap();
    is_sound(&db).await;
});

db_test!(d5_as_many_devices_as_the_terms_allow_take_a_place_each, async |db: TestDb| {
    let (server, anna) = bought(&db, json!({ "devices": 2 })).await;
    let (laptop, desk) = (one_more(&server, &anna).await, one_more(&server, &anna).await);
    let (first, _) = anna.install(&server, "sky-raider").await.unwrap();
    let (second, _) = laptop.install(&server, "sky-raider").await.unwrap();
    assert_ne!((first.license_id, first.transaction_id), (second.license_id, second.transaction_id));
    let refusal = desk.license(&server, "sky-raider").await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.detail.as_deref()),
        (Code::NotEntitled, Some("it is licensed to as many of your devices as the order allows"))
    );
    assert_eq!(db.number("SELECT devices FROM entitlement WHERE source = 'order'").await, 2);
    is_sound(&db).await;
});

db_test!(d6_a_transaction_id_that_is_unknown_or_another_devices_opens_nothing, async |db: TestDb| {
    let (server, anna) = bought(&db, json!({})).await;
    let laptop = one_more(&server, &anna).await;
    let ben = Terminal::registered(&server).await;
    let issued = anna.license(&server, "sky-raider").await.unwrap();
    assert_eq!(refused(anna.redeem(&server, TransactionId::from_bytes(random())).await), Code::TransactionUnknown);
    assert_eq!(refused(laptop.redeem(&server, issued.transaction_id).await), Code::TransactionUnknown);
    assert_eq!(refused(ben.redeem(&server, issued.transaction_id).await), Code::TransactionUnknown);

    // Signed by another key than the device's, or by the card alone.
    let operation = anna.redeem_operation(issued.transaction_id);
    let (id, _) = anna.device.as_ref().unwrap();
    let (_, other) = device();
    let asked = request(&server, operation.clone());
    let forged = envelope(&server, &asked, &[(&id.to_string(), Signer::Key(&other.signing_key()))]);
    assert_eq!(refused(exchange(&server, &forged).await), Code::ProofInvalid);
    let card = anna.card_id().unwrap().to_string();
    let by_card = envelope(&server, &asked, &[(&card, Signer::Key(&anna.card.as_ref().unwrap().signing_key()))]);
    assert_eq!(refused(exchange(&server, &by_card).await), Code::ProofInvalid);
    // To a drive that is not the user's.
    let elsewhere = Terminal { card: anna.card.clone(), device: anna.device.clone(), drive: ben.drive.clone(), user: anna.user };
    assert_eq!(refused(elsewhere.redeem(&server, issued.transaction_id).await), Code::DeviceNotRegistered);
    assert_eq!(db.number("SELECT count(*) FROM license WHERE grant_id IS NOT NULL").await, 0, "no key was drawn");
    is_sound(&db).await;
});

db_test!(d6_one_request_has_one_answer_and_no_replay_opens_an_installed_license, async |db: TestDb| {
    let (server, anna) = bought(&db, json!({})).await;
    let (issued, redeemed) = anna.install(&server, "sky-raider").await.unwrap();
    let again = anna.sealed(&server, &request(&server, anna.license_operation("sky-raider", true)), None);
    let opened = exchange(&server, &again).await.unwrap();
    assert_eq!(opened["transaction_id"], json!(issued.transaction_id), "the same ID (D9)");
    let fetch = anna.sealed(&server, &request(&server, anna.redeem_operation(issued.transaction_id)), None);
    let fetched: counterfoil_core::wire::RedeemResult = serde_json::from_value(exchange(&server, &fetch).await.unwrap()).unwrap();
    assert_ne!(fetched.grant.grant_id, redeemed.grant.grant_id, "a new grant, with a new library key");
    let (old, new) = (anna.open(&redeemed.grant), anna.open(&fetched.grant));
    assert_ne!(old.0.expose(), new.0.expose());
    assert_eq!(refused(anna.installed(&server, redeemed.grant.grant_id).await), Code::GrantUnknown, "the old grant is over");
    anna.installed(&server, fetched.grant.grant_id).await.unwrap();

    // Somebody has kept the envelopes.
    assert_eq!(exchange(&server, &again).await.unwrap(), opened);
    assert_eq!(db.number("SELECT count(*) FROM license WHERE state = 'settled'").await, 1, "it stays installed");
    assert_eq!(refused(exchange(&server, &fetch).await), Code::TransactionSpent);
    anna.license_again(&server, "sky-raider").await.unwrap();
    assert_eq!(refused(exchange(&server, &fetch).await), Code::TransactionSpent, "not for the request that had another grant");
    assert_eq!(db.number("SELECT count(*) FROM license WHERE state = 'issued' AND grant_id IS NULL").await, 1);

    // One request ID, two contents.
    let mut twice = request(&server, anna.license_operation("sky-raider", false));
    exchange(&server, &anna.sealed(&server, &twice, None)).await.unwrap();
    twice.operation = anna.license_operation("sky-raider", true);
    assert_eq!(refused(exchange(&server, &anna.sealed(&server, &twice, None)).await), Code::RequestMismatch);
    is_sound(&db).await;
});

db_test!(a_request_of_another_day_and_an_envelope_for_nobody_are_refused, async |db: TestDb| {
    let (server, anna) = bought(&db, json!({})).await;
    let mut old = request(&server, anna.license_operation("sky-raider", false));
    old.issued_at = Timestamp(NOW.0 - 2 * DAY);
    assert_eq!(refused(exchange(&server, &anna.sealed(&server, &old, None)).await), Code::ClockSkewed);
    old.issued_at = Timestamp(NOW.0 + 2 * DAY);
    assert_eq!(refused(exchange(&server, &anna.sealed(&server, &old, None)).await), Code::ClockSkewed);
    let mut broken = anna.sealed(&server, &request(&server, anna.license_operation("sky-raider", false)), None);
    let place = broken.len() - 20;
    broken[place] = if broken[place] == b'A' { b'B' } else { b'A' };
    let answer = send(&server, &broken).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "envelope_invalid"));
    assert_eq!(db.number("SELECT count(*) FROM license WHERE transaction_id IS NOT NULL").await, 0);
});

db_test!(a_license_is_renewed_for_as_long_as_it_stands_and_what_it_promises_is_written_down, async |db: TestDb| {
    let (server, anna) = bought(&db, json!({ "lease_days": 10, "grace_days": 2, "term_days": 25 })).await;
    let (issued, first) = anna.install(&server, "sky-raider").await.unwrap();
    let end = NOW.seconds() + 25 * 86_400;
    let mut promised = vec![verified(&server, &anna, &first.license)];
    for day in [8, 14, 20] {
        server.app.clock.set(Timestamp(NOW.0 + day * DAY));
        let renewed = anna.renew(&server, issued.license_id).await.unwrap();
        promised.push(verified(&server, &anna, &renewed.license));
    }
    let seen: Vec<_> =
        promised.iter().map(|license| ((license.exp.unwrap() - NOW.seconds()) / 86_400, license.grace / 86_400, license.ends)).collect();
    assert_eq!(seen, [(10, 2, false), (18, 2, false), (24, 1, false), (25, 0, true)]);
    assert_eq!(promised.last().unwrap().exp, Some(end));
    let latest = promised.iter().map(|license| license.exp.unwrap() + license.grace).max().unwrap();
    assert_eq!(db.number("SELECT lease_until FROM license").await, latest * 1000);
    let mut names: Vec<_> = promised.iter().map(|license| license.jti.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 4, "each issue has a name of its own");

    server.app.clock.set(Timestamp(NOW.0 + 25 * DAY));
    assert_eq!(refused(anna.renew(&server, issued.license_id).await), Code::LicenseEnded);
    assert_eq!(refused(anna.license(&server, "sky-raider").await), Code::NotEntitled);
    is_sound(&db).await;
});

db_test!(a_trial_says_so_and_ends_and_a_purchase_without_lease_is_good_for_good, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &[PRICE], json!({ "trial_days": 3, "lease_days": 0 })).await;
    let anna = Terminal::registered(&server).await;
    anna.try_out(&server, "sky-raider").await.unwrap();
    let (_, tried) = anna.install(&server, "sky-raider").await.unwrap();
    let license = verified(&server, &anna, &tried.license);
    assert_eq!((license.trial, license.ends, license.grace), (true, true, 0));
    assert_eq!(license.exp, Some(NOW.seconds() + 3 * 86_400));
    let ben = Terminal::registered(&server).await;
    ben.order(&server, "sky-raider", PRICE).await.unwrap();
    let (_, owned) = ben.install(&server, "sky-raider").await.unwrap();
    let license = verified(&server, &ben, &owned.license);
    assert_eq!((license.trial, license.exp, license.grace), (false, None, 0));
    is_sound(&db).await;
});

db_test!(what_is_given_back_is_neither_fetched_nor_renewed, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &[PRICE], json!({})).await;
    let anna = Terminal::registered(&server).await;
    let order = anna.order(&server, "sky-raider", PRICE).await.unwrap();
    let (issued, redeemed) = anna.install(&server, "sky-raider").await.unwrap();
    anna.give_back(&server, order.order_id).await.unwrap();
    assert_eq!(refused(anna.renew(&server, issued.license_id).await), Code::LicenseEnded);
    assert_eq!(refused(anna.redeem(&server, issued.transaction_id).await), Code::LicenseEnded);
    assert_eq!(refused(anna.license(&server, "sky-raider").await), Code::NotEntitled);
    assert_eq!(refused(anna.license_again(&server, "sky-raider").await), Code::NotEntitled);
    assert_eq!(refused(anna.installed(&server, redeemed.grant.grant_id).await), Code::GrantUnknown);
    assert_eq!(db.number("SELECT count(*) FROM license WHERE library_key IS NOT NULL").await, 0, "its key is gone");
    is_sound(&db).await;
});

db_test!(a_dead_card_is_given_no_keys, async |db: TestDb| {
    let (server, anna) = bought(&db, json!({})).await;
    let issued = anna.license(&server, "sky-raider").await.unwrap();
    let path = format!("/v1/cards/{}/revoke", anna.card_id().unwrap());
    assert!(server.post(&server.operator, &path, &json!({ "reason": "stolen" })).await.status.is_success());
    assert_eq!(refused(anna.redeem(&server, issued.transaction_id).await), Code::UserInvalid);
    assert_eq!(refused(anna.license(&server, "sky-raider").await), Code::UserInvalid);
    assert_eq!(db.number("SELECT count(*) FROM license WHERE grant_id IS NOT NULL").await, 0);
});

db_test!(where_there_is_no_card_each_device_is_given_keys_that_only_it_opens, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &[PRICE], json!({ "devices": 2 })).await;
    let mut desk = Terminal { card: None, drive: None, ..Terminal::new() };
    desk.register(&server, None).await.unwrap();
    let mut laptop = Terminal { card: None, drive: None, ..Terminal::new() };
    let (user_id, device_id) = (desk.user.unwrap(), desk.device_id().unwrap());
    let announce = AddDevice { user_id, card_id: None, device_id, new_device_id: laptop.device_id().unwrap(), name: None };
    desk.ask(&server, Operation::AddDevice(announce), None).await.unwrap();
    laptop.register(&server, desk.user).await.unwrap();
    desk.order(&server, "sky-raider", PRICE).await.unwrap();
    let (_, first) = desk.install(&server, "sky-raider").await.unwrap();
    let (_, second) = laptop.install(&server, "sky-raider").await.unwrap();
    let ((a, content), (b, same)) = (desk.open(&first.grant), laptop.open(&second.grant));
    assert_ne!(a.expose(), b.expose(), "a library key each");
    assert_eq!(content.expose(), same.expose());
    is_sound(&db).await;
});

db_test!(a_fetched_license_survives_the_rotation_of_the_key_that_its_library_key_lies_under, async |db: TestDb| {
    let (server, anna) = bought(&db, json!({})).await;
    let issued = anna.license(&server, "sky-raider").await.unwrap();
    let before = anna.redeem(&server, issued.transaction_id).await.unwrap();
    let root = RootSource::Given(RootKey::generate(1, &mut counterfoil_server::clock::Rng::seeded(7)).reveal());
    let (version, rewrapped) = rotate::kek(&db.db, &root, &server.app.keys, Purpose::Library, NOW, &server.app.rng).await.unwrap();
    assert_eq!((version, rewrapped), (2, 1));
    let after = anna.redeem(&server, issued.transaction_id).await.unwrap();
    assert_eq!(anna.open(&before.grant).0.expose(), anna.open(&after.grant).0.expose());
    // In another row it does not open.
    let ben = Terminal::registered(&server).await;
    ben.order(&server, "sky-raider", PRICE).await.unwrap();
    let other = ben.license(&server, "sky-raider").await.unwrap();
    ben.redeem(&server, other.transaction_id).await.unwrap();
    db.run(
        "UPDATE license SET library_key = (SELECT library_key FROM license ORDER BY license_id LIMIT 1)
         WHERE license_id <> (SELECT min(license_id) FROM license)",
    )
    .await;
    let first = send(&server, &anna.sealed(&server, &request(&server, anna.redeem_operation(issued.transaction_id)), None)).await;
    let second = send(&server, &ben.sealed(&server, &request(&server, ben.redeem_operation(other.transaction_id)), None)).await;
    assert_eq!(
        [first.status.as_u16(), second.status.as_u16()].iter().filter(|status| **status == 500).count(),
        1,
        "one of them lies wrong"
    );
});

db_test!(d11_the_license_server_is_a_process_of_its_own_and_does_what_is_its, async |db: TestDb| {
    let (server, anna) = bought(&db, json!({})).await;
    let licenses = server.another(&db, |config| config.server.roles = [ServerRole::License].into_iter().collect()).await;
    let answer = send(&licenses, &anna.sealed(&server, &request(&server, anna.license_operation("sky-raider", false)), None)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (421, "misdirected"));
    let issued = anna.license(&server, "sky-raider").await.unwrap();
    let redeemed = anna.redeem(&licenses, issued.transaction_id).await.unwrap();
    anna.installed(&licenses, redeemed.grant.grant_id).await.unwrap();
    anna.renew(&licenses, issued.license_id).await.unwrap();
    assert_eq!(refused(anna.redeem(&server, issued.transaction_id).await), Code::TransactionSpent, "whoever is asked");
    let authority = server.another(&db, |config| config.server.roles = [ServerRole::Authority].into_iter().collect()).await;
    let answer = send(&authority, &anna.sealed(&server, &request(&server, anna.renew_operation(issued.license_id)), None)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (421, "misdirected"));
    is_sound(&db).await;
});

db_test!(a_license_of_another_authority_or_an_edited_one_is_nobodys, async |db: TestDb| {
    let (server, anna) = bought(&db, json!({})).await;
    let (_, redeemed) = anna.install(&server, "sky-raider").await.unwrap();
    let elsewhere = counterfoil_server::keys::Keys::absent();
    let device = anna.device_id().unwrap().to_string();
    let demands = counterfoil_format::jwt::Demands {
        typ: counterfoil_core::license::LICENSE_TYP,
        now: NOW.seconds(),
        audience: None,
        holder: Some(&device),
        must_expire: false,
    };
    let verify = |token: &str, keys| counterfoil_format::jwt::verify::<counterfoil_core::License>(token, &keys, &demands).is_ok();
    assert!(verify(&redeemed.license, server.app.keys.key_list()));
    assert!(!verify(&redeemed.license, elsewhere.key_list()));
    let mut parts: Vec<String> = redeemed.license.split('.').map(str::to_owned).collect();
    let claims = counterfoil_format::encoding::from_base64url(&parts[1]).unwrap();
    let edited = String::from_utf8(claims).unwrap().replace("\"grace\":604800", "\"grace\":904800");
    parts[1] = counterfoil_format::encoding::to_base64url(edited.as_bytes());
    assert!(!verify(&parts.join("."), server.app.keys.key_list()));
});
