//! A title sent to another device (A2): who may, what that one is told, how far it is, by terminal and by browser; and jobs polled for.

use crate::support::catalogue::{TestServer, json_request};
use crate::support::licensing::one_more;
use crate::support::sales::sell;
use crate::support::terminal::{OutcomeResult as _, Terminal, exchange, media, refused, request};
use crate::support::{TestDb, db_test};

use axum::http::Method;
use counterfoil_core::wire::{Answer, InboxResult, Job, Work};
use counterfoil_core::{Code, ReleaseVersion};
use counterfoil_format::envelope::ANSWER_TYP;
use counterfoil_format::jws::verify_compact;
use counterfoil_server::{auditor, jobs, store};
use futures_util::FutureExt as _;
use serde_json::{Value, json};

use crate::accounts::browser::{Browser, text};

const PRICE: &str = "19.99 EUR";

/// Somebody with two devices, one of which has bought a title for as many devices as the terms allow.
async fn family(db: &TestDb, policy: Value) -> (TestServer, Terminal, Terminal) {
    let server = TestServer::new(db).await;
    sell(&server, db, "sky-raider", &[PRICE], policy).await;
    let desk = Terminal::registered(&server).await;
    let laptop = one_more(&server, &desk).await;
    desk.order(&server, "sky-raider", PRICE).await.unwrap();
    (server, desk, laptop)
}

async fn is_sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}

db_test!(a2_a_device_installs_what_another_one_sends_and_tells_how_far_it_is, async |db: TestDb| {
    let (server, desk, laptop) = family(&db, json!({ "devices": 2 })).await;
    let job = desk.send(&server, &laptop, "sky-raider").await.unwrap();
    let jobs = laptop.jobs(&server).await;
    assert!(matches!(jobs.as_slice(), [Job { job_id, work: Work::Install { .. }, .. }] if *job_id == job), "{jobs:?}");
    assert_eq!(db.number("SELECT devices FROM entitlement").await, 2, "the place is taken with the job");
    let told = desk.sent(&server, Some(job)).await;
    assert_eq!((told.len(), told[0].device_id, told[0].progress.clone()), (1, laptop.device_id().unwrap(), None));
    assert_eq!(laptop.sent(&server, Some(job)).await, [], "it is told to who sent it");

    laptop.at(&server, job, 10, 100).await;
    // What comes late takes nothing back; nor does another device speak for this one.
    laptop.at(&server, job, 5, 100).await;
    desk.at(&server, job, 99, 100).await;
    let at = desk.sent(&server, None).await[0].progress.clone().unwrap();
    assert_eq!((at.done, at.total), (10, 100));
    laptop.install(&server, "sky-raider").await.unwrap();
    assert_eq!(laptop.jobs(&server).await, [], "whoever installed it, nobody needs to do it again");
    let told = desk.sent(&server, Some(job)).await.remove(0);
    assert!(told.done_at.is_some() && told.failed.is_none(), "{told:?}");
    laptop.at(&server, job, 100, 100).await;
    assert_eq!(desk.sent(&server, None).await[0].progress, told.progress, "what is over is over");
    is_sound(&db).await;
});

db_test!(a2_what_is_installed_is_updated_and_one_job_waits_for_a_title, async |db: TestDb| {
    let (server, desk, laptop) = family(&db, json!({})).await;
    desk.install(&server, "sky-raider").await.unwrap();
    let job = laptop.send(&server, &desk, "sky-raider").await.unwrap();
    assert_eq!(laptop.send(&server, &desk, "sky-raider").await.unwrap(), job, "it waits already");
    let jobs = desk.jobs(&server).await;
    let title: counterfoil_core::TitleId = "sky-raider".parse().unwrap();
    assert_eq!(jobs.iter().map(|job| job.work.clone()).collect::<Vec<_>>(), [Work::Update { title: title.clone(), release: None }]);
    // Another wish takes its place.
    let version: ReleaseVersion = "1.0".parse().unwrap();
    laptop.ask(&server, laptop.send_operation(&desk, "sky-raider", Some("1.0")), None).await.unwrap();
    let jobs = desk.jobs(&server).await;
    assert_eq!(jobs.iter().map(|job| job.work.clone()).collect::<Vec<_>>(), [Work::Update { title, release: Some(version) }]);
    let told = laptop.sent(&server, Some(job)).await.remove(0);
    assert_eq!((told.failed.as_deref(), told.done_at.is_some()), (Some("superseded"), true));
    // A device may send to itself.
    desk.send(&server, &desk, "sky-raider").await.unwrap();
    let failed = desk.jobs(&server).await[0].job_id;
    desk.done(&server, failed, Some("no_title")).await;
    assert_eq!(desk.sent(&server, None).await[0].failed.as_deref(), Some("no_title"));
    is_sound(&db).await;
});

db_test!(a2_nothing_is_sent_without_a_right_to_it_nor_to_strangers_nor_by_them, async |db: TestDb| {
    let (server, desk, laptop) = family(&db, json!({})).await;
    desk.install(&server, "sky-raider").await.unwrap();
    let stranger = Terminal::registered(&server).await;
    assert_eq!(refused(desk.send(&server, &laptop, "sky-raider").await), Code::NothingToSend);
    assert_eq!(refused(desk.send(&server, &desk, "other").await), Code::NothingToSend);
    assert_eq!(refused(desk.send(&server, &stranger, "sky-raider").await), Code::DeviceNotRegistered);
    let unknown = desk.ask(&server, desk.send_operation(&desk, "sky-raider", Some("9.9")), None).await;
    assert_eq!(unknown.unwrap_err().code, Code::ReleaseUnknown);
    // Without the card, and without the device.
    let asked = request(&server, laptop.send_operation(&desk, "sky-raider", None));
    let cardless = Terminal { card: None, device: laptop.device.clone(), drive: None, user: laptop.user };
    assert_eq!(exchange(&server, &cardless.sealed(&server, &asked, None)).await.unwrap_err().code, Code::ProofInvalid);
    let deviceless = Terminal { card: laptop.card.clone(), device: None, drive: None, user: laptop.user };
    assert_eq!(exchange(&server, &deviceless.sealed(&server, &asked, None)).await.unwrap_err().code, Code::ProofInvalid);
    assert_eq!(db.number("SELECT count(*) FROM inbox").await, 0);
    // Repeated, it is the same job; after it is done as well.
    let sealed = laptop.sealed(&server, &asked, None);
    let first = exchange(&server, &sealed).await.unwrap();
    desk.done(&server, serde_json::from_value(first["job_id"].clone()).unwrap(), None).await;
    assert_eq!(exchange(&server, &sealed).await.unwrap(), first);
    assert_eq!(db.number("SELECT count(*) FROM inbox WHERE done_at IS NULL").await, 0);
    is_sound(&db).await;
});

db_test!(a2_what_was_copied_from_a_medium_is_brought_up_to_date, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let disc = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let desk = Terminal::registered(&server).await;
    let laptop = one_more(&server, &desk).await;
    desk.claim(&server, &disc).await.unwrap();
    assert_eq!(refused(laptop.send(&server, &desk, "sky-raider").await), Code::NothingToSend, "the user's family has not heard of it yet");
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
    laptop.send(&server, &desk, "sky-raider").await.unwrap();
    assert!(matches!(desk.jobs(&server).await.as_slice(), [Job { work: Work::Update { .. }, .. }]));
});

/// Polls for jobs; what was known before is named.
async fn poll(server: &TestServer, terminal: &Terminal, known: Option<&str>) -> (Vec<Job>, String) {
    let sealed = terminal.sealed(server, &request(server, terminal.inbox_operation(vec![])), None);
    let body: Value = serde_json::from_slice(&sealed).unwrap();
    let mut asked = json_request(Method::POST, "/v1/terminal/inbox", "", &body);
    asked.headers_mut().insert("accept", "application/json".parse().unwrap());
    if let Some(known) = known {
        asked.headers_mut().insert("last-event-id", known.parse().unwrap());
    }
    let answered = server.send(asked).await.expect(200);
    let keys = server.app.keys.key_list();
    let token = answered["answer"].as_str().unwrap();
    let answer: Answer = verify_compact(token, ANSWER_TYP, |kid| keys.find(kid)?.verifying_key()).unwrap();
    let jobs = serde_json::from_value::<InboxResult>(answer.outcome_result().unwrap()).unwrap().jobs;
    (jobs, answered["id"].as_str().unwrap().to_owned())
}

db_test!(a2_where_no_stream_comes_through_a_poll_waits_for_news, async |db: TestDb| {
    let (server, desk, laptop) = family(&db, json!({ "devices": 2 })).await;
    let (jobs, nothing) = poll(&server, &laptop, None).await;
    assert_eq!(jobs, [], "asked for the first time it answers at once");
    let waiting = poll(&server, &laptop, Some(&nothing));
    tokio::pin!(waiting);
    let send = desk.send(&server, &laptop, "sky-raider");
    tokio::pin!(send);
    let (jobs, one) = tokio::select! {
        biased;
        told = &mut waiting => panic!("it did not wait: {told:?}"),
        sent = &mut send => {
            let job = sent.unwrap();
            let told = waiting.await;
            assert_eq!(told.0[0].job_id, job);
            told
        }
    };
    assert_eq!(jobs.len(), 1);
    assert_ne!(one, nothing);
    // Whoever comes back with what was known before is told at once what came meanwhile.
    assert_eq!(poll(&server, &laptop, Some(&nothing)).await.1, one);
    let mut again = Box::pin(poll(&server, &laptop, Some(&one)));
    assert!((&mut again).now_or_never().is_none());
    drop(again);
});

db_test!(a2_a_person_sends_by_browser_and_sees_how_far_the_device_is, async |db: TestDb| {
    let (server, desk, laptop) = family(&db, json!({ "devices": 2 })).await;
    let (mut browser, _) = Browser::sign_up(&server, desk.user.unwrap(), "ada@example.org").await;
    let shown = browser.get(&server, "/devices").await;
    let first = browser.submit_from(&server, &shown, "/devices/send", &[]).await;
    let second = browser.submit_from(&server, &shown, "/devices/send", &[]).await;
    assert_eq!((first.status.as_u16(), first.header("location")), (303, "/devices?done=sent"), "{}", text(&first));
    assert_eq!(second.status, 303);
    let jobs = desk.jobs(&server).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert!(text(&browser.get(&server, "/devices?done=sent").await).contains("waits for the device"));
    desk.at(&server, jobs[0].job_id, 1, 4).await;
    assert!(text(&browser.get(&server, "/devices").await).contains("under way, 25 %"));
    desk.done(&server, jobs[0].job_id, Some("release_unknown")).await;
    assert!(text(&browser.get(&server, "/devices").await).contains("could not be done: release_unknown"));
    // To a device of somebody else, or with a form of nobody's.
    let stranger = Terminal::registered(&server).await;
    let theirs = stranger.device_id().unwrap().to_string();
    let shown = browser.get(&server, "/devices").await;
    let refused = browser.submit_from(&server, &shown, "/devices/send", &[("device", theirs.as_str())]).await;
    assert_eq!(refused.status, 422);
    assert!(text(&refused).contains("role=\"alert\""), "{}", text(&refused));
    assert_eq!(browser.post(&server, "/devices/send", &[("title", "sky-raider")]).await.status, 403);
    assert_eq!(laptop.jobs(&server).await, []);
});
