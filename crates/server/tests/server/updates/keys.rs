//! The keys to a release: for whom, of what, and that none leaves without its record.

use counterfoil_core::Code;
use counterfoil_core::wire::UpdateResult;
use counterfoil_format::content::Release;
use serde_json::json;

use super::catalogue::publisher_key;
use super::released::{content_key, say};
use super::support::breaking::{break_everywhere, impatient};
use super::support::licensing::one_more;
use super::support::{TestDb, db_test};
use super::terminal::{exchange, refused, request};
use super::*;

/// What was sealed is the library key of before and the title's content key, and the release is the publisher's.
async fn check(server: &TestServer, desk: &Terminal, before: &GrantDocument, given: &UpdateResult, version: &str) {
    assert_eq!((given.grant.grant_id, &given.grant.binding.is_empty()), (before.grant_id, &before.binding.is_empty()));
    let ((library_key, _), (same, content)) = (desk.open(before), desk.open(&given.grant));
    assert_eq!(library_key.expose(), same.expose());
    assert_eq!(content.expose(), content_key(server, TITLE).await.expose());
    assert_eq!(given.title.release.as_str(), version);
    let key = publisher_key("blue-fox").0.verifying_key();
    assert_eq!(given.title.publisher.key, key.to_string());
    assert_eq!(Release::verify(&given.release, |_| Some(key)).unwrap().version, version);
}

db_test!(a5_the_same_grant_and_library_key_are_sealed_anew_with_the_content_key, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let given = async || db.number("SELECT count(*) FROM audit WHERE event = 'update.keys'").await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    for version in ["1.3", "1.0"] {
        let keys = desk.update(&server, grant.grant_id, Some(&medium), version).await.unwrap();
        check(&server, &desk, &grant, &keys, version).await;
    }
    assert_eq!(given().await, 2);
    let (laptop, license) = bought(&server, &db).await;
    let keys = laptop.update(&server, license.grant_id, None, "1.2").await.unwrap();
    check(&server, &laptop, &license, &keys, "1.2").await;
    assert_eq!(given().await, 3);

    // The answer was lost: the same request has them sealed once more, and another under its ID has not.
    for (terminal, operation) in [
        (&desk, desk.update_operation(grant.grant_id, Some(&medium), "1.3")),
        (&laptop, laptop.update_operation(license.grant_id, None, "1.3")),
    ] {
        let mut asked = request(&server, operation);
        let first: UpdateResult =
            serde_json::from_value(exchange(&server, &terminal.sealed(&server, &asked, None)).await.unwrap()).unwrap();
        let again: UpdateResult =
            serde_json::from_value(exchange(&server, &terminal.sealed(&server, &asked, None)).await.unwrap()).unwrap();
        assert_ne!(first.grant.keys, again.grant.keys, "nothing was kept to be told again");
        assert_eq!(terminal.open(&first.grant).0.expose(), terminal.open(&again.grant).0.expose());
        if let counterfoil_core::wire::Operation::Update(update) = &mut asked.operation {
            update.release = "1.1".parse().unwrap();
        }
        assert_eq!(refused(exchange(&server, &terminal.sealed(&server, &asked, None)).await), Code::RequestMismatch);
    }
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'update.repeated'").await, 2);
    is_sound(&db).await;
});

db_test!(a5_what_is_not_there_withdrawn_or_not_allowed_has_no_keys, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    let (laptop, license) = bought(&server, &db).await;
    say(&server, TITLE, "1.2", json!({ "withdrawn": true })).await;
    for (terminal, id, medium) in [(&desk, grant.grant_id, Some(&medium)), (&laptop, license.grant_id, None)] {
        assert_eq!(refused(terminal.update(&server, id, medium, "9.9").await), Code::ReleaseUnknown);
        assert_eq!(refused(terminal.update(&server, id, medium, "1.2").await), Code::ReleaseWithdrawn);
    }
    let (poor, theirs, other) = copied(&server, json!({ "update": false })).await;
    assert_eq!(refused(poor.update(&server, other.grant_id, Some(&theirs), "1.3").await), Code::RightMissing);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'update.keys'").await, 0);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'update.refused'").await, 5);
});

db_test!(a5_keys_go_to_the_owner_of_the_grant_on_its_device_and_drive, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    let (laptop, license) = bought(&server, &db).await;
    let stranger = Terminal::registered(&server).await;
    assert_eq!(refused(stranger.update(&server, grant.grant_id, Some(&medium), "1.3").await), Code::GrantUnknown);
    assert_eq!(refused(stranger.update(&server, license.grant_id, None, "1.3").await), Code::LicenseEnded);
    assert_eq!(refused(laptop.update(&server, grant.grant_id, None, "1.3").await), Code::LicenseEnded);
    // Another device of the same user, and another drive of the same device.
    let other = one_more(&server, &desk).await;
    assert_eq!(refused(other.update(&server, grant.grant_id, Some(&medium), "1.3").await), Code::GrantUnknown);
    for (terminal, id, medium) in [(&desk, grant.grant_id, Some(&medium)), (&laptop, license.grant_id, None)] {
        let moved =
            Terminal { card: terminal.card.clone(), device: terminal.device.clone(), drive: other.drive.clone(), user: terminal.user };
        assert_eq!(refused(moved.update(&server, id, medium, "1.3").await), Code::DeviceNotRegistered);
    }
    // Whoever has neither device nor card, and whoever has another one under that name.
    let forged = Terminal {
        card: desk.card.clone(),
        device: Some((desk.device_id().unwrap(), stranger.device.clone().unwrap().1)),
        drive: desk.drive.clone(),
        user: desk.user,
    };
    assert_eq!(refused(forged.update(&server, grant.grant_id, Some(&medium), "1.3").await), Code::ProofInvalid);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'update.keys'").await, 0);
    is_sound(&db).await;
});

db_test!(d10_keys_end_with_the_license, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, grant) = bought(&server, &db).await;
    let laptop = one_more(&server, &desk).await;
    desk.transfer(&server, &desk, &laptop, Some(TITLE)).await.unwrap();
    assert_eq!(refused(desk.update(&server, grant.grant_id, None, "1.3").await), Code::LicenseEnded);
    let (_, redeemed) = laptop.install(&server, TITLE).await.unwrap();
    laptop.update(&server, redeemed.grant.grant_id, None, "1.3").await.unwrap();
    let order = desk.orders(&server).await.orders[0].order_id;
    let path = format!("/v1/users/{}/orders/{order}/refund", desk.user.unwrap());
    server.post(&server.operator, &path, &json!({})).await.expect(200);
    assert_eq!(refused(laptop.update(&server, redeemed.grant.grant_id, None, "1.3").await), Code::LicenseEnded);
});

db_test!(a_broken_request_for_the_keys_of_a_copy_is_recorded_once_and_lets_none_out, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    let fresh = async |_| desk.sealed(&server, &request(&server, desk.update_operation(grant.grant_id, Some(&medium), "1.3")), None);
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM audit WHERE event = 'update.keys'").await).await;
});

db_test!(
    a_broken_request_for_the_keys_of_a_license_is_recorded_once_and_lets_none_out,
    |options| impatient(options),
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        four(&server).await;
        let (desk, grant) = bought(&server, &db).await;
        let fresh = async |_| desk.sealed(&server, &request(&server, desk.update_operation(grant.grant_id, None, "1.3")), None);
        break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM audit WHERE event = 'update.keys'").await).await;
    }
);

db_test!(d10_of_a_transfer_and_an_update_at_once_keys_leave_only_before_the_move, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let beside = server.another(&db, |_| ()).await;
    let (mut gone_first, mut given_first) = (0, 0);
    for round in 0..12 {
        let (desk, grant) = bought(&server, &db).await;
        let laptop = one_more(&server, &desk).await;
        let (moved, given) = tokio::join!(desk.transfer(&server, &desk, &laptop, Some(TITLE)), async {
            // Now the one is ahead, now the other.
            for _ in 0..round % 4 {
                tokio::task::yield_now().await;
            }
            desk.update(&beside, grant.grant_id, None, "1.3").await
        });
        moved.unwrap();
        // Whoever came first: once the license is gone, so are the keys.
        match given {
            Ok(_) => given_first += 1,
            Err(refusal) => {
                gone_first += 1;
                assert_eq!(refusal.code, Code::LicenseEnded);
            }
        }
        assert_eq!(refused(desk.update(&beside, grant.grant_id, None, "1.3").await), Code::LicenseEnded);
        let family = desk.user.unwrap().to_string();
        let order: Vec<(String,)> = db
            .read("test", async move |tx: &mut counterfoil_server::db::Tx| -> Result<_, counterfoil_server::db::DbError> {
                tx.query("SELECT event FROM audit WHERE family = $1 AND event IN ('update.keys', 'license.transferred') ORDER BY seq")
                    .bind(&family)
                    .all()
                    .await
            })
            .await
            .unwrap();
        let last = order.last().unwrap().0.as_str();
        assert_eq!(last, "license.transferred", "no key after the move: {order:?}");
    }
    assert_eq!(gone_first + given_first, 12);
    is_sound(&db).await;
    beside.app.db.close().await;
});
