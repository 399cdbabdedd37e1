//! At least once and in order of the subject: with receivers that fail at random, two leaders at once, and one receiver that is dead.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::store::audit;
use serde_json::json;

use super::*;

const SUBJECTS: i64 = 6;
const EACH: i64 = 12;

/// Records such as a listing leaves, each of its own transaction.
async fn happen(server: &TestServer, round: i64) {
    for subject in 0..SUBJECTS {
        let (family, at) = (format!("/title/title-{subject}"), server.app.clock.now().0);
        let write = async move |tx: &mut Tx| -> Result<(), DbError> {
            audit::append(tx, &family, at, "test", "title.listed", &json!({ "on_sale": round % 2 == 0 })).await.map(drop)
        };
        server.app.db.write("test", format!("/title/title-{subject}"), write).await.unwrap();
    }
}

/// What of each subject came first, in the order in which it came.
fn first_of_each(messages: &[Message]) -> BTreeMap<String, Vec<i64>> {
    let (mut seen, mut subjects) = (BTreeSet::new(), BTreeMap::<String, Vec<i64>>::new());
    for message in messages {
        if seen.insert(message.id.clone()) {
            let (subject, sequence) = message.subject();
            subjects.entry(subject).or_default().push(sequence);
        }
    }
    subjects
}

db_test!(each_subject_arrives_in_order_though_receivers_fail_and_two_lead, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let other = server.another(&db, loopback).await;
    let receiver = Receiver::start().await;
    let hook = Hook::new(&server, &server.operator, &receiver.url(), &["title.*"]).await;
    let mut number = 0_u32;
    receiver.answer(move |_| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Two of five fail.
        if number >> 16 & 0xff < 102 { StatusCode::BAD_GATEWAY.into_response() } else { StatusCode::OK.into_response() }
    });
    for round in 0..EACH {
        happen(&server, round).await;
        pass(&server, 1000);
        other.app.clock.set(server.app.clock.now());
        tokio::join!(lead(&server), lead(&other));
    }
    // However often it fails, three days are enough for what fails two times of five.
    for _ in 0..400 {
        if db.number("SELECT count(*) FROM delivery WHERE state = 'waiting'").await == 0 {
            break;
        }
        pass(&server, 3_600_000 / 4);
        other.app.clock.set(server.app.clock.now());
        tokio::join!(lead(&server), lead(&other));
    }
    assert_eq!(db.number("SELECT count(*) FROM delivery WHERE state = 'delivered'").await, SUBJECTS * EACH);
    let messages = receiver.messages();
    let failed = messages.len() as i64 - SUBJECTS * EACH;
    assert!(failed > SUBJECTS, "{failed} attempts that failed are too few to prove anything");
    let arrived = first_of_each(&messages);
    assert_eq!(arrived.len() as i64, SUBJECTS);
    for (subject, sequences) in arrived {
        assert_eq!(sequences, (1..=EACH).collect::<Vec<_>>(), "{subject}");
    }
    assert!(hook.deliveries(&server).await.iter().all(|one| one["attempts"].as_u64().unwrap() >= 1));
    other.app.db.close().await;
});

db_test!(what_fails_holds_up_its_own_subject_and_nothing_else, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let receiver = Receiver::start().await;
    let hook = Hook::new(&server, &server.operator, &receiver.url(), &["title.*"]).await;
    receiver.answer(|message| match message.subject().0.as_str() {
        "title-0" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => StatusCode::OK.into_response(),
    });
    for round in 0..3 {
        happen(&server, round).await;
    }
    lead(&server).await;
    let delivered = |all: &[Value]| all.iter().filter(|one| one["state"] == "delivered").count() as i64;
    let all = hook.deliveries(&server).await;
    assert_eq!(delivered(&all), (SUBJECTS - 1) * 3);
    let behind: Vec<_> = all.iter().filter(|one| one["state"] == "waiting" && one.get("next_attempt_at").is_none()).collect();
    assert_eq!(behind.len(), 2, "they wait behind the first");
    // What waits behind another is not sent before it, by hand either.
    server
        .post(&server.operator, &hook.path(&format!("/deliveries/{}/resend", text(&behind[0]["delivery"]))), &json!({}))
        .await
        .expect(200);
    lead(&server).await;
    assert_eq!(first_of_each(&receiver.messages())["title-0"], [1]);
    receiver.answer_status(200);
    pass(&server, 10_000);
    lead(&server).await;
    assert_eq!(delivered(&hook.deliveries(&server).await), SUBJECTS * 3);
    assert_eq!(first_of_each(&receiver.messages())["title-0"], [1, 2, 3]);

    // The first is given up: what comes after it goes on, and what is sent again holds up nothing.
    receiver.answer_status(500);
    happen(&server, 3).await;
    happen(&server, 4).await;
    lead(&server).await;
    pass(&server, 3 * Timestamp::DAY);
    lead(&server).await;
    assert_eq!(db.number("SELECT count(*) FROM delivery WHERE state = 'failed'").await, SUBJECTS * 2, "each was tried at least once");
    let failed = hook.deliveries(&server).await.into_iter().find(|one| one["state"] == "failed").unwrap();
    server.post(&server.operator, &hook.path(&format!("/deliveries/{}/resend", text(&failed["delivery"]))), &json!({})).await.expect(200);
    receiver.answer(move |message| {
        let again = json!(message.id) == failed["delivery"];
        if again { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { StatusCode::OK.into_response() }
    });
    happen(&server, 5).await;
    lead(&server).await;
    assert_eq!(delivered(&hook.deliveries(&server).await), SUBJECTS * 4, "what happened since is delivered");
});

db_test!(a_test_waits_for_no_other_and_whoever_ends_meanwhile_is_sent_nothing, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let receiver = Receiver::start().await;
    receiver.answer_status(500);
    let hook = Hook::new(&server, &server.operator, &receiver.url(), &["title.*"]).await;
    for _ in 0..2 {
        server.post(&server.operator, &hook.path("/test"), &json!({})).await.expect(201);
        lead(&server).await;
    }
    assert_eq!(receiver.messages().len(), 2, "the first has failed, and waits to be tried again");
    // Read before it has ended, as by a leader that is in the middle of it.
    let scope = counterfoil_server::auth::Scope::All;
    let seen = db.read("test", async move |tx: &mut Tx| counterfoil_server::store::webhook::list(tx, &scope).await).await.unwrap();
    pass(&server, 3_600_000);
    let delete = catalogue::json_request(axum::http::Method::DELETE, &hook.path(""), &server.operator, &Value::Null);
    server.send(delete).await.expect(204);
    let sender = Sender::new(&server.app.config.webhooks).unwrap();
    assert_eq!(webhooks::deliver(&server.app, &sender, &seen[0]).await.unwrap(), 0);
    assert_eq!(receiver.messages().len(), 2);
});

db_test!(one_dead_receiver_keeps_no_other_waiting, |options| options.readers = 4, async |db: TestDb| {
    let server = TestServer::with(&db, |config| {
        config.webhooks.allow_private = true;
        config.webhooks.timeout_seconds = 60;
    })
    .await;
    // It takes connections, and never says anything.
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let live = Receiver::start().await;
    Hook::new(&server, &server.operator, &format!("http://{}/", dead.local_addr().unwrap()), &["title.*"]).await;
    Hook::new(&server, &server.operator, &live.url(), &["title.*"]).await;
    for round in 0..EACH {
        happen(&server, round).await;
    }
    while tell(&server.app).await.unwrap() > 0 {}
    let sender = Sender::new(&server.app.config.webhooks).unwrap();
    let all = (SUBJECTS * EACH) as usize;
    tokio::select! {
        _ = deliver_all(&server.app, &sender) => panic!("the dead one has answered"),
        arrived = tokio::time::timeout(Duration::from_secs(30), live.wait_for(all)) => arrived.unwrap(),
    }
    assert_eq!(first_of_each(&live.messages()).values().map(Vec::len).sum::<usize>(), all);
});
