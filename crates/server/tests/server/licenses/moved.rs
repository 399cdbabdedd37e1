//! Moving licenses between devices (D8–D10): who may, what it costs, what becomes of the source, and what each device is told.

use counterfoil_core::wire::{LicenseResult, RedeemResult, TransferResult, Work};
use counterfoil_core::{Code, Timestamp};
use counterfoil_server::actions::transfer::{self, Requester, Wanted};
use counterfoil_server::db::{DbError, Tx};
use serde_json::json;

use super::catalogue::{NOW, TestServer};
use super::is_sound;
use super::licensing::{one_more, verified};
use super::sales::sell;
use super::support::{TestDb, db_test};
use super::terminal::{DAY, Terminal, device, exchange, refused, request};

const PRICE: &str = "19.99 EUR";

/// Somebody with two devices, on one of which a title is installed.
struct Moving {
    server: TestServer,
    desk: Terminal,
    laptop: Terminal,
    issued: LicenseResult,
    redeemed: RedeemResult,
}

async fn moving(db: &TestDb, policy: serde_json::Value) -> Moving {
    let server = TestServer::new(db).await;
    sell(&server, db, "sky-raider", &[PRICE], policy).await;
    let desk = Terminal::registered(&server).await;
    let laptop = one_more(&server, &desk).await;
    desk.order(&server, "sky-raider", PRICE).await.unwrap();
    let (issued, redeemed) = desk.install(&server, "sky-raider").await.unwrap();
    Moving { server, desk, laptop, issued, redeemed }
}

/// Everything that is written anywhere in the user's family.
async fn rows(db: &TestDb) -> i64 {
    db.number(
        "SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM request) + (SELECT count(*) FROM inbox) + (SELECT count(*) FROM license)
           + (SELECT count(*) FROM user_device) + (SELECT count(*) FROM balance_entry) + (SELECT count(*) FROM orders)",
    )
    .await
}

db_test!(d8_d9_d10_a_license_moves_with_its_transaction_id_and_the_source_is_left_with_nothing, async |db: TestDb| {
    let Moving { server, desk, laptop, issued, redeemed } = moving(&db, json!({})).await;
    let runs_until = Timestamp((NOW.seconds() + 37 * 86_400) * 1000);
    let (orders, before) = (db.number("SELECT count(*) FROM orders").await, rows(&db).await);

    let shown = laptop.preview(&server, &desk, &laptop, Some("sky-raider")).await.unwrap();
    assert_eq!(rows(&db).await, before, "a preview writes nothing");
    let moved = laptop.transfer(&server, &desk, &laptop, Some("sky-raider")).await.unwrap();
    assert_eq!(shown, moved, "what was shown is what was done");
    assert_eq!((moved.moved.len(), moved.source_deregistered), (1, false));
    let license = &moved.moved[0];
    assert_eq!((license.license_id, license.name.as_str(), license.transfers_left), (issued.license_id, "sky-raider", 2));
    assert_eq!(license.source_runs_until, Some(runs_until));

    // D10: the source can neither fetch nor renew nor be licensed again.
    assert_eq!(refused(desk.renew(&server, issued.license_id).await), Code::LicenseEnded);
    assert_eq!(refused(desk.redeem(&server, issued.transaction_id).await), Code::TransactionUnknown);
    assert_eq!(refused(desk.license(&server, "sky-raider").await), Code::NotEntitled);
    assert_eq!(refused(desk.installed(&server, redeemed.grant.grant_id).await), Code::GrantUnknown);
    let told = desk.jobs(&server).await;
    let title: counterfoil_core::TitleId = "sky-raider".parse().unwrap();
    assert_eq!(told[0].work, Work::End { title: title.clone(), license_id: issued.license_id });

    // D9: the destination is told to install, with the license and the transaction ID that there are; nothing is charged.
    let jobs = laptop.jobs(&server).await;
    let transaction_id = Some(issued.transaction_id);
    assert_eq!(
        jobs.iter().map(|job| job.work.clone()).collect::<Vec<_>>(),
        [Work::Install { title, license_id: issued.license_id, transaction_id, release: None }]
    );
    let (again, fetched) = laptop.install(&server, "sky-raider").await.unwrap();
    assert_eq!((again.license_id, again.transaction_id), (issued.license_id, issued.transaction_id));
    assert_ne!(fetched.grant.grant_id, redeemed.grant.grant_id);
    assert_ne!(laptop.open(&fetched.grant).0.expose(), desk.open(&redeemed.grant).0.expose());
    assert_eq!(verified(&server, &laptop, &fetched.license).cnf.kid, laptop.device_id().unwrap());
    assert_eq!(db.number("SELECT count(*) FROM orders").await, orders, "no second charge");
    assert!(laptop.jobs(&server).await.is_empty(), "it is installed");
    assert_eq!(refused(laptop.redeem(&server, issued.transaction_id).await), Code::TransactionSpent);
    laptop.renew(&server, issued.license_id).await.unwrap();
    assert_eq!(db.number("SELECT moves FROM license").await, 1);
    is_sound(&db).await;
});

db_test!(a_license_that_was_never_asked_for_moves_as_registered, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &[PRICE], json!({})).await;
    let desk = Terminal::registered(&server).await;
    let laptop = one_more(&server, &desk).await;
    desk.order(&server, "sky-raider", PRICE).await.unwrap();
    let moved = desk.transfer(&server, &desk, &laptop, Some("sky-raider")).await.unwrap();
    assert_eq!(moved.moved[0].source_runs_until, None, "it was never fetched");
    let jobs = laptop.jobs(&server).await;
    assert!(matches!(jobs[0].work, Work::Install { transaction_id: None, .. }));
    assert!(
        !desk.jobs(&server).await.iter().any(|job| matches!(job.work, Work::Install { .. })),
        "what waited for the source is withdrawn"
    );
    assert_eq!(refused(desk.license(&server, "sky-raider").await), Code::NotEntitled);
    laptop.install(&server, "sky-raider").await.unwrap();
    is_sound(&db).await;
});

db_test!(d10_a_device_that_tries_what_is_bought_for_another_is_told_that_the_trial_is_over, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &[PRICE], json!({ "trial_days": 7, "devices": 2 })).await;
    let desk = Terminal::registered(&server).await;
    let laptop = one_more(&server, &desk).await;
    desk.try_out(&server, "sky-raider").await.unwrap();
    desk.install(&server, "sky-raider").await.unwrap();
    let (tried, _) = laptop.install(&server, "sky-raider").await.unwrap();
    desk.order(&server, "sky-raider", PRICE).await.unwrap();
    assert_eq!(refused(laptop.renew(&server, tried.license_id).await), Code::LicenseEnded);
    let end = Work::End { title: "sky-raider".parse().unwrap(), license_id: tried.license_id };
    assert_eq!(laptop.jobs(&server).await.into_iter().map(|job| job.work).collect::<Vec<_>>(), [end]);
    assert!(desk.jobs(&server).await.is_empty(), "where it was bought for there is nothing to stop");
    // It was bought for two devices.
    laptop.install(&server, "sky-raider").await.unwrap();
    is_sound(&db).await;
});

db_test!(d10_a_source_that_asked_for_its_license_anew_still_has_the_one_before_and_that_is_said, async |db: TestDb| {
    let Moving { server, desk, laptop, issued, .. } = moving(&db, json!({})).await;
    let runs_until = Timestamp((NOW.seconds() + 37 * 86_400) * 1000);
    // Its grant is taken back for a new one that is never fetched; what it was promised lies on its disk all the same.
    assert_eq!(desk.license_again(&server, "sky-raider").await.unwrap().transaction_id, issued.transaction_id);
    let shown = laptop.preview(&server, &desk, &laptop, Some("sky-raider")).await.unwrap();
    assert_eq!(shown.moved[0].source_runs_until, Some(runs_until));
    let moved = laptop.transfer(&server, &desk, &laptop, Some("sky-raider")).await.unwrap();
    assert_eq!(moved, shown);
    is_sound(&db).await;
});

db_test!(d10_a_device_that_is_not_the_users_neither_gives_nor_receives_nor_asks, async |db: TestDb| {
    let Moving { server, desk, laptop, .. } = moving(&db, json!({})).await;
    let ben = Terminal::registered(&server).await;
    let unknown = Terminal { card: desk.card.clone(), device: Some(device()), drive: None, user: desk.user };
    for other in [&ben, &unknown] {
        assert_eq!(refused(desk.transfer(&server, &desk, other, Some("sky-raider")).await), Code::DeviceNotRegistered);
        assert_eq!(refused(desk.transfer(&server, other, &laptop, Some("sky-raider")).await), Code::DeviceNotRegistered);
        assert_eq!(refused(desk.preview(&server, &desk, other, None).await), Code::DeviceNotRegistered);
    }
    let thief = Terminal { user: desk.user, ..Terminal::registered(&server).await };
    assert_eq!(refused(thief.transfer(&server, &desk, &thief, Some("sky-raider")).await), Code::DeviceNotRegistered);
    // With the device alone, where there is a card.
    let without = Terminal { card: None, device: laptop.device.clone(), drive: None, user: desk.user };
    assert_eq!(refused(without.transfer(&server, &desk, &laptop, Some("sky-raider")).await), Code::ProofInvalid);
    assert_eq!(refused(desk.transfer(&server, &desk, &desk, Some("sky-raider")).await), Code::TransferNotAllowed);
    assert_eq!(refused(desk.transfer(&server, &laptop, &desk, Some("sky-raider")).await), Code::TransferNotAllowed);
    assert_eq!(db.number("SELECT moves FROM license").await, 0);
    is_sound(&db).await;
});

db_test!(transfers_are_counted_by_period_and_the_terms_end_them, async |db: TestDb| {
    let Moving { server, desk, laptop, .. } = moving(&db, json!({ "transfers": 2, "transfer_days": 10 })).await;
    let there = async || desk.transfer(&server, &desk, &laptop, Some("sky-raider")).await;
    let back = async || desk.transfer(&server, &laptop, &desk, Some("sky-raider")).await;
    assert_eq!(there().await.unwrap().moved[0].transfers_left, 1);
    server.app.clock.set(Timestamp(NOW.0 + 9 * DAY));
    assert_eq!(back().await.unwrap().moved[0].transfers_left, 0);
    let refusal = there().await.unwrap_err();
    assert_eq!(refusal.code, Code::TransferNotAllowed);
    assert_eq!(refusal.detail.as_deref(), Some("sky-raider: no transfer is left in this period; the next period begins in 1 days"));
    server.app.clock.set(Timestamp(NOW.0 + 10 * DAY));
    assert_eq!(there().await.unwrap().moved[0].transfers_left, 1, "a new period");
    assert_eq!(db.number("SELECT transfers FROM entitlement WHERE source = 'order'").await, 1);
    is_sound(&db).await;
});

db_test!(what_has_run_out_was_given_back_or_is_at_the_destination_does_not_move, async |db: TestDb| {
    let Moving { server, desk, laptop, .. } = moving(&db, json!({ "devices": 2, "term_days": 20 })).await;
    laptop.install(&server, "sky-raider").await.unwrap();
    let refusal = desk.transfer(&server, &desk, &laptop, Some("sky-raider")).await.unwrap_err();
    assert_eq!((refusal.code, refusal.detail.as_deref()), (Code::TransferNotAllowed, Some("the destination is licensed for it already")));
    let third = one_more(&server, &desk).await;
    server.app.clock.set(Timestamp(NOW.0 + 20 * DAY));
    assert_eq!(refused(desk.transfer(&server, &desk, &third, Some("sky-raider")).await), Code::TransferNotAllowed);
    db.run("UPDATE entitlement SET expires_at = NULL").await;
    let order = desk.orders(&server).await.orders[0].order_id;
    let path = format!("/v1/users/{}/orders/{order}/refund", desk.user.unwrap());
    server.post(&server.operator, &path, &json!({})).await.expect(200);
    assert_eq!(refused(desk.transfer(&server, &desk, &third, Some("sky-raider")).await), Code::TransferNotAllowed);
    is_sound(&db).await;
});

db_test!(d10_everything_moves_and_the_source_is_taken_out_and_told_so_again, async |db: TestDb| {
    let Moving { server, desk, laptop, issued, .. } = moving(&db, json!({})).await;
    sell(&server, &db, "deep-diver", &[PRICE], json!({ "devices": 2 })).await;
    desk.order(&server, "deep-diver", PRICE).await.unwrap();
    laptop.install(&server, "deep-diver").await.unwrap();
    let sealed = desk.sealed(&server, &request(&server, desk.transfer_operation(&desk, &laptop, None, false)), None);
    let shown = desk.preview(&server, &desk, &laptop, None).await.unwrap();
    let first: TransferResult = serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap();
    assert_eq!(shown, first);
    assert!(first.source_deregistered);
    assert_eq!(first.moved.iter().map(|moved| moved.title.as_str()).collect::<Vec<_>>(), ["sky-raider"]);
    // What the destination has already is not there twice: its place is free again, which counts like a move.
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE source = 'order' AND devices = 1 AND transfers = 1").await, 2);

    // The answer was lost on its way; the device is nobody's by now.
    let again: TransferResult = serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap();
    assert_eq!(again, first);
    assert_eq!(refused(desk.renew(&server, issued.license_id).await), Code::DeviceNotRegistered);
    assert_eq!(refused(desk.license(&server, "sky-raider").await), Code::DeviceNotRegistered);
    assert_eq!(refused(desk.order(&server, "deep-diver", PRICE).await), Code::DeviceNotRegistered);
    assert_eq!(refused(desk.transfer(&server, &laptop, &desk, None).await), Code::DeviceNotRegistered);
    assert_eq!(refused(desk.ask(&server, desk.inbox_operation(vec![]), None).await), Code::DeviceNotRegistered);
    laptop.install(&server, "sky-raider").await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM user_device").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM device_info WHERE retired_at IS NOT NULL").await, 1);
    is_sound(&db).await;
});

db_test!(d8_taking_devices_out_makes_no_more_holders_than_transfers_do, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &[PRICE], json!({ "devices": 2, "transfers": 1 })).await;
    let desk = Terminal::registered(&server).await;
    let (laptop, tablet) = (one_more(&server, &desk).await, one_more(&server, &desk).await);
    desk.order(&server, "sky-raider", PRICE).await.unwrap();
    desk.install(&server, "sky-raider").await.unwrap();
    laptop.install(&server, "sky-raider").await.unwrap();
    assert_eq!(refused(tablet.license(&server, "sky-raider").await), Code::NotEntitled);
    // Each that is taken out runs it offline until its lease ends; one takes its place, and the next none.
    desk.transfer(&server, &desk, &laptop, None).await.unwrap();
    tablet.install(&server, "sky-raider").await.unwrap();
    assert_eq!(refused(tablet.preview(&server, &tablet, &laptop, None).await), Code::TransferNotAllowed);
    assert_eq!(refused(tablet.transfer(&server, &tablet, &laptop, None).await), Code::TransferNotAllowed);
    server.app.clock.set(Timestamp(NOW.0 + 30 * DAY));
    assert!(tablet.transfer(&server, &tablet, &laptop, None).await.unwrap().source_deregistered);
    is_sound(&db).await;
});

db_test!(where_the_terms_say_so_the_source_is_taken_out_with_its_last_title, async |db: TestDb| {
    let Moving { server, desk, laptop, .. } = moving(&db, json!({ "source": "deregistered" })).await;
    sell(&server, &db, "deep-diver", &[PRICE], json!({})).await;
    desk.order(&server, "deep-diver", PRICE).await.unwrap();
    let refusal = desk.transfer(&server, &desk, &laptop, Some("sky-raider")).await.unwrap_err();
    assert_eq!(refusal.code, Code::TransferNotAllowed);
    assert!(refusal.detail.unwrap().contains("--all"));
    assert!(!desk.transfer(&server, &desk, &laptop, Some("deep-diver")).await.unwrap().source_deregistered);
    assert!(desk.transfer(&server, &desk, &laptop, Some("sky-raider")).await.unwrap().source_deregistered);
    assert_eq!(refused(desk.order(&server, "deep-diver", PRICE).await), Code::DeviceNotRegistered);
    is_sound(&db).await;
});

db_test!(there_and_back_the_source_of_old_is_a_device_like_any_other, async |db: TestDb| {
    let Moving { server, desk, laptop, issued, .. } = moving(&db, json!({})).await;
    desk.transfer(&server, &desk, &laptop, Some("sky-raider")).await.unwrap();
    desk.transfer(&server, &laptop, &desk, Some("sky-raider")).await.unwrap();
    // One job for each license at each device: the end that it was never told of is no more.
    let jobs = desk.jobs(&server).await;
    assert!(matches!(jobs.as_slice(), [job] if matches!(job.work, Work::Install { .. })), "{jobs:?}");
    assert_eq!(refused(desk.renew(&server, issued.license_id).await), Code::LicenseEnded, "it has to be fetched again");
    desk.install(&server, "sky-raider").await.unwrap();
    desk.renew(&server, issued.license_id).await.unwrap();
    is_sound(&db).await;
});

db_test!(d8_somebody_who_has_signed_in_moves_it_with_one_effect_for_one_request, async |db: TestDb| {
    let Moving { server, desk, laptop, .. } = moving(&db, json!({})).await;
    let requester = Requester { user: desk.user.unwrap(), actor: "web".into(), request_id: "one".into(), digest: [1; 32] };
    let wanted =
        Wanted { source: desk.device_id().unwrap(), destination: laptop.device_id().unwrap(), title: Some("sky-raider".parse().unwrap()) };
    let shown = transfer::preview(&server.app, requester.user, wanted.clone()).await.unwrap().unwrap();
    let moved = transfer::carry_out(&server.app, &requester, wanted.clone()).await.unwrap().unwrap();
    let again = transfer::carry_out(&server.app, &requester, wanted.clone()).await.unwrap().unwrap();
    assert_eq!((&shown, &again), (&moved, &moved));
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'license.transferred' AND actor = 'web'").await, 1);
    let other = Requester { digest: [2; 32], ..requester };
    let refusal = transfer::carry_out(&server.app, &other, wanted).await.unwrap().unwrap_err();
    assert_eq!(refusal.code, Code::RequestMismatch);
    is_sound(&db).await;
});

db_test!(a_job_is_ended_once_by_the_device_that_it_is_for_and_forgotten_in_time, async |db: TestDb| {
    let Moving { server, desk, laptop, .. } = moving(&db, json!({})).await;
    desk.transfer(&server, &desk, &laptop, Some("sky-raider")).await.unwrap();
    let end = desk.jobs(&server).await.remove(0);
    let install = laptop.jobs(&server).await.remove(0);
    assert_eq!(desk.done(&server, install.job_id, None).await.len(), 1, "another device's");
    assert_eq!(laptop.jobs(&server).await.len(), 1);
    assert_eq!(laptop.done(&server, install.job_id, Some("release_unknown")).await, []);
    assert_eq!(laptop.done(&server, install.job_id, None).await, []);
    assert_eq!(db.number("SELECT count(*) FROM inbox WHERE failed = 'release_unknown'").await, 1, "what was said first stands");
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'inbox.done'").await, 1);
    assert_eq!(desk.jobs(&server).await[0], end);

    server.app.clock.set(Timestamp(NOW.0 + 31 * DAY));
    counterfoil_server::jobs::purge(&server.app).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM inbox").await, 1, "what is open stays");
    let many = vec![counterfoil_core::wire::JobDone { job_id: end.job_id, failed: None }; 101];
    assert_eq!(refused(desk.ask(&server, desk.inbox_operation(many), None).await), Code::RateLimited);
    is_sound(&db).await;
});

/// A statement that moves a license does so only from where it was seen.
async fn moves(db: &TestDb, license: counterfoil_core::LicenseId, from: &Terminal, to: &Terminal) -> bool {
    let (user, source, destination) = (from.user.unwrap(), from.device_id().unwrap(), to.device_id().unwrap());
    db.write("move", user.to_string(), async move |tx: &mut Tx| -> Result<bool, DbError> {
        counterfoil_server::store::license::move_to(tx, user, license, source, destination).await
    })
    .await
    .unwrap()
}

db_test!(a_license_moves_only_from_the_device_that_it_is_at, async |db: TestDb| {
    let Moving { desk, laptop, issued, .. } = moving(&db, json!({})).await;
    assert!(moves(&db, issued.license_id, &desk, &laptop).await);
    assert!(!moves(&db, issued.license_id, &desk, &laptop).await, "it is not there any more");
    db.run("UPDATE license SET state = 'ended'").await;
    assert!(!moves(&db, issued.license_id, &laptop, &desk).await, "it has ended");
});
