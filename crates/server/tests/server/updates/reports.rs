//! Who may report what, and what is kept of it.

use counterfoil_core::wire::{Operation, Report, ReportResult, Status, Variable, WayKind};
use counterfoil_core::{Code, DeviceId, GrantId};
use serde_json::json;

use super::released::{ENCODER, status};
use super::support::breaking::{break_everywhere, impatient};
use super::support::{TestDb, db_test};
use super::terminal::{DAY, random, refused, request};
use super::*;

db_test!(a6_a_report_that_says_nothing_new_writes_nothing, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    let mut reported = status(TITLE, grant.grant_id, Some(&medium), "1.0");
    let written = async || {
        let audited = db.number("SELECT count(*) FROM audit").await;
        (audited, db.number("SELECT CAST(sum(reported_at) AS BIGINT) FROM status").await)
    };
    let changes = async || db.number("SELECT count(*) FROM audit WHERE event = 'status.changed'").await;
    desk.plan(&server, reported.clone()).await;
    assert_eq!(changes().await, 1);
    let before = written().await;
    server.app.clock.set(counterfoil_core::Timestamp(super::catalogue::NOW.0 + DAY));
    reported.feed = 7;
    desk.plan(&server, reported.clone()).await;
    assert_eq!(written().await, before, "the same again, a day later");

    reported.variables.insert("chapter".to_owned(), Variable::Number(3));
    desk.plan(&server, reported.clone()).await;
    assert_eq!(db.number("SELECT count(*) FROM status WHERE document LIKE '%chapter%'").await, 1);
    assert_eq!(changes().await, 1, "progress is nothing for the audit log");
    reported.release = Some("1.1".parse().unwrap());
    desk.plan(&server, reported).await;
    assert_eq!(changes().await, 2);
    assert_eq!(db.number("SELECT count(*) FROM status").await, 1);
    is_sound(&db).await;
});

db_test!(a5_nobody_reports_for_somebody_else, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    let held = || vec![status(TITLE, grant.grant_id, Some(&medium), "1.0")];
    let stranger = Terminal::registered(&server).await;
    let as_desk =
        |terminal: &Terminal| Terminal { card: terminal.card.clone(), device: terminal.device.clone(), drive: None, user: desk.user };
    assert_eq!(refused(as_desk(&stranger).report(&server, held()).await), Code::DeviceNotRegistered);
    let forged = Terminal { device: Some((desk.device_id().unwrap(), stranger.device.clone().unwrap().1)), ..as_desk(&stranger) };
    assert_eq!(refused(forged.report(&server, held()).await), Code::ProofInvalid);
    let no_device = Terminal { device: None, ..as_desk(&desk) };
    assert_eq!(refused(no_device.report(&server, held()).await), Code::DeviceNotRegistered, "an entry with devices has one report");
    let nobody = Terminal { user: None, ..as_desk(&desk) };
    assert_eq!(refused(nobody.report(&server, held()).await), Code::ProofInvalid);
    // What somebody else was granted is refused by itself; the rest is planned.
    let result = stranger.report(&server, held()).await.unwrap();
    assert_eq!(result.plans[0].refused.as_ref().unwrap().code, Code::GrantUnknown);
    let mut other = status(TITLE, GrantId::from_bytes(random()), Some(&medium), "1.0");
    let mixed = desk.report(&server, vec![other.clone(), held().remove(0)]).await.unwrap();
    assert_eq!(mixed.plans[0].refused.as_ref().unwrap().code, Code::GrantUnknown);
    assert!(mixed.plans[1].to.is_some());
    other.medium_id = None;
    assert_eq!(desk.plan(&server, other).await.refused.unwrap().code, Code::LicenseEnded);
    assert_eq!(refused(desk.report(&server, [held(), held()].concat()).await), Code::ProofInvalid);
    assert_eq!(db.number("SELECT count(*) FROM status").await, 1, "only what is held is noted");
});

db_test!(b2_a_medium_without_the_right_to_updates_gets_no_plan, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({ "update": false })).await;
    let plan = desk.plan(&server, status(TITLE, grant.grant_id, Some(&medium), "1.0")).await;
    assert_eq!((plan.refused.unwrap().code, plan.to), (Code::RightMissing, None));
});

db_test!(a5_what_is_bought_is_planned_for_until_it_ends, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, grant) = bought(&server, &db).await;
    let held = || status(TITLE, grant.grant_id, None, "1.0");
    assert!(desk.plan(&server, held()).await.to.is_some());
    let other = Terminal {
        device: Some((DeviceId::from_bytes(random()), desk.device.clone().unwrap().1)),
        user: desk.user,
        card: None,
        drive: None,
    };
    assert_eq!(refused(other.report(&server, vec![held()]).await), Code::DeviceNotRegistered);
    let order = desk.orders(&server).await.orders[0].order_id;
    desk.give_back(&server, order).await.unwrap();
    assert_eq!(desk.plan(&server, held()).await.refused.unwrap().code, Code::LicenseEnded);
});

/// What a medium asks for itself.
fn of_medium(medium: &Medium, title: &str, release: &str) -> Operation {
    let status = Status { grant_id: None, medium_id: None, ..status(title, GrantId::from_bytes([0; 16]), None, release) };
    let medium_id = Some(medium.id.clone());
    Operation::Report(Report { user_id: None, device_id: None, medium_id, encoder: ENCODER.to_owned(), deltas: true, titles: vec![status] })
}

db_test!(a12_a_medium_is_planned_for_by_its_own_proof_in_whole_packs, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let made = four(&server).await;
    released::patch(&server, TITLE, "1.0", "1.3", 2000).await;
    let medium = super::terminal::press(&server, TITLE, 1, json!({})).await.remove(0);
    let nobody = Terminal { card: None, device: None, drive: None, user: None };
    let ask = async |operation: Operation, proof: Option<&Medium>| -> Result<ReportResult, counterfoil_core::Refusal> {
        Ok(serde_json::from_value(nobody.ask(&server, operation, proof).await?).unwrap())
    };
    let plan = ask(of_medium(&medium, TITLE, "1.0"), Some(&medium)).await.unwrap().plans.remove(0);
    assert_eq!(plan.to.unwrap().version.as_str(), "1.3");
    assert_eq!(plan.ways.iter().map(|way| way.kind).collect::<Vec<_>>(), [WayKind::Chunks, WayKind::Full]);
    let known: Vec<String> = made[0].packs().iter().map(|pack| pack.name.to_string()).collect();
    let packs: u64 = made[3].packs().iter().filter(|pack| !known.contains(&pack.name.to_string())).map(|pack| pack.length).sum();
    assert!(plan.ways[0].fetch > packs && plan.ways[0].fetch < packs + 10_000, "the packs that are not there, and the manifest");

    let forged = Medium { id: medium.id.clone(), secret: super::support::released::secret() };
    assert_eq!(refused(ask(of_medium(&medium, TITLE, "1.0"), Some(&forged)).await), Code::MediumUnknown);
    let somebody = Terminal::registered(&server).await;
    assert_eq!(refused(somebody.ask(&server, of_medium(&medium, TITLE, "1.0"), None).await), Code::MediumUnknown, "signed by a device");
    let other = ask(of_medium(&medium, "other-title", "1.0"), Some(&medium)).await.unwrap().plans.remove(0);
    assert_eq!(other.refused.unwrap().code, Code::NotEntitled, "only what lies on it");
    assert_eq!(db.number("SELECT count(*) FROM status").await, 0);
});

db_test!(a6_a_broken_report_notes_its_news_once_or_not_at_all, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    let fresh = async |number: usize| {
        let version = ["1.0", "1.1"][number % 2];
        desk.sealed(&server, &request(&server, desk.report_operation(vec![status(TITLE, grant.grant_id, Some(&medium), version)])), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM audit WHERE event = 'status.changed'").await).await;
    assert_eq!(db.number("SELECT count(*) FROM status").await, 1);
});

db_test!(a6_of_two_reports_at_once_the_later_one_stays, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let beside = server.another(&db, |_| ()).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    for round in 0..12_i64 {
        beside.app.clock.set(counterfoil_core::Timestamp(super::catalogue::NOW.0 + 2000 * round + 1000));
        server.app.clock.set(counterfoil_core::Timestamp(super::catalogue::NOW.0 + 2000 * round));
        let at = |version| vec![status(TITLE, grant.grant_id, Some(&medium), version)];
        // Each time another one, so that it is news.
        let last = ["1.1", "1.2"][round as usize % 2];
        let (early, late) = tokio::join!(desk.report(&server, at("1.0")), desk.report(&beside, at(last)));
        assert!(early.is_ok() && late.is_ok());
        let there = if last == "1.1" {
            db.number("SELECT count(*) FROM status WHERE version = '1.1'").await
        } else {
            db.number("SELECT count(*) FROM status WHERE version = '1.2'").await
        };
        assert_eq!(there, 1, "round {round}");
    }
    is_sound(&db).await;
    beside.app.db.close().await;
});
