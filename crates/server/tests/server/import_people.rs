//! People from elsewhere: each line checked before anything is written, and as often as it comes with one effect.

use std::time::Duration;

use crate::support::catalogue::{self, Answer, TestServer};
use crate::support::terminal::Terminal;
use crate::support::{TestDb, db_test};

use axum::body::Body;
use axum::http::Method;
use counterfoil_core::{DeviceId, UserId};
use counterfoil_server::auditor;
use counterfoil_server::db::{Fault, Lasting};
use counterfoil_server::store::audit;
use serde_json::{Value, json};

async fn hand_in(server: &TestServer, query: &str, lines: &[Value]) -> Answer {
    let body: String = lines.iter().map(|line| line.to_string() + "\n").collect();
    let request = catalogue::request(Method::POST, &format!("/v1/people{query}"), &server.operator);
    server.send(request.header("content-type", "application/x-ndjson").body(Body::from(body)).unwrap()).await
}

async fn import(server: &TestServer, lines: &[Value]) -> Value {
    hand_in(server, "", lines).await.expect(200)
}

fn device(number: u8) -> String {
    DeviceId::from_bytes([number; 16]).to_string()
}

fn people() -> Vec<Value> {
    let user = UserId::from_bytes([8; 16]);
    vec![
        json!({ "reference": "4711", "name": "Ada Lovelace", "email": "ada@example.org", "address": "12 St James's Square\nLondon",
                "devices": [{ "device_id": device(1), "maker": "Engines Ltd", "model": "Difference 2", "name": "desk" },
                            { "device_id": device(2) }] }),
        json!({ "user_id": user, "name": "Charles Babbage" }),
        json!({ "user_id": user, "devices": [{ "device_id": device(3) }] }),
        json!({ "name": "Mary Somerville" }),
    ]
}

async fn is_sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}

// proves: D1
db_test!(d1_people_from_elsewhere_are_written_down_once_however_often_they_come, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let lines = people();
    let done = import(&server, &lines).await;
    assert_eq!(
        (&done["made"], &done["known"], &done["devices"], &done["rejected"]),
        (&json!(3), &json!(1), &json!(3), &json!([])),
        "{done}"
    );
    let told: Vec<(i64, bool)> =
        done["users"].as_array().unwrap().iter().map(|one| (one["line"].as_i64().unwrap(), one["made"] == true)).collect();
    assert_eq!(told, [(1, true), (2, true), (3, false), (4, true)]);
    let ada = done["users"][0]["user_id"].as_str().unwrap().to_owned();
    let known = server.get(&server.operator, &format!("/v1/users/{ada}")).await.expect(200);
    assert_eq!((&known["person"]["address"], known["devices"].as_array().unwrap().len()), (&json!("12 St James's Square\nLondon"), 2));
    let records = db.number("SELECT count(*) FROM audit").await;
    let again = import(&server, &lines).await;
    assert_eq!((&again["made"], &again["known"], &again["devices"]), (&json!(0), &json!(4), &json!(0)));
    assert_eq!(again["users"][0]["user_id"], ada.as_str(), "the same ID for the same reference");
    assert_eq!(db.number("SELECT count(*) FROM audit").await, records, "and nothing changed");
    assert_eq!(db.number("SELECT count(*) FROM user_info").await, 3);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'users.imported' AND family = '/imports'").await, 1);
    assert_eq!(
        db.number("SELECT count(*) FROM audit WHERE detail LIKE '%Ada%' OR detail LIKE '%4711%' OR detail LIKE '%example%'").await,
        0
    );
    // The device that was announced registers as its user's.
    let mut terminal = Terminal { card: None, drive: None, ..Terminal::new() };
    terminal.device = terminal.device.map(|(_, keys)| (DeviceId::from_bytes([1; 16]), keys));
    terminal.register(&server, Some(ada.parse().unwrap())).await.unwrap();
    // What is in the entry, and what was taken out of it, stays so.
    assert_eq!(import(&server, &lines).await["devices"], 0);
    is_sound(&db).await;
});

db_test!(nothing_is_written_where_a_line_is_wrong, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut lines = people();
    lines.insert(1, json!({ "name": "Eve", "email": "eve" }));
    lines.push(json!({ "nmae": "Eve" }));
    lines.push(json!({ "reference": "4711", "name": "Somebody Else" }));
    let refused = import(&server, &lines).await;
    let told: Vec<(i64, Value)> =
        refused["rejected"].as_array().unwrap().iter().map(|one| (one["line"].as_i64().unwrap(), one["column"].clone())).collect();
    assert_eq!(told, [(2, json!("email")), (6, Value::Null), (7, json!("reference"))], "{refused}");
    assert_eq!((&refused["made"], db.number("SELECT count(*) FROM user_info").await), (&json!(0), 0));
    let dry = hand_in(&server, "?dry_run=true", &people()).await.expect(200);
    assert_eq!((&dry["rejected"], db.number("SELECT count(*) FROM user_info").await), (&json!([]), 0));
    // Who is here already is not replaced.
    import(&server, &people()).await;
    let other = json!({ "user_id": UserId::from_bytes([8; 16]), "name": "Eve" });
    for query in ["", "?dry_run=true"] {
        let refused = hand_in(&server, query, std::slice::from_ref(&other)).await.expect(200);
        assert_eq!((&refused["rejected"][0]["line"], &refused["rejected"][0]["column"]), (&json!(1), &json!("user_id")));
    }
    let vast: Vec<Value> = (0..1001).map(|number| json!({ "name": format!("P{number}") })).collect();
    assert_eq!(hand_in(&server, "", &vast).await.code(), "too_large");
    assert_eq!(db.number("SELECT count(*) FROM user_info").await, 3);
    is_sound(&db).await;
});

db_test!(what_the_policy_forbids_is_told_of_its_line_and_the_others_are_taken, |options| options.batch = 8, async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.registration.max_devices = 2).await;
    let devices = |from: u8, count: u8| (from..from + count).map(|number| json!({ "device_id": device(number) })).collect::<Vec<_>>();
    let nobody = UserId::from_bytes([9; 16]);
    let lines = [
        json!({ "name": "Ada", "devices": devices(1, 2) }),
        json!({ "name": "Ben", "devices": devices(11, 3) }),
        json!({ "user_id": nobody, "devices": devices(21, 1) }),
        json!({ "name": "Cy", "devices": devices(31, 1) }),
    ];
    let done = import(&server, &lines).await;
    let rejected: Vec<&Value> = done["rejected"].as_array().unwrap().iter().map(|one| &one["line"]).collect();
    assert_eq!((rejected, &done["made"], &done["devices"]), (vec![&json!(2), &json!(3)], &json!(2), &json!(3)), "{done}");
    assert_eq!(db.number("SELECT count(*) FROM user_info").await, 2, "nothing of who was refused");
    is_sound(&db).await;
});

db_test!(
    an_import_that_was_cut_is_done_once_by_its_repeat,
    |options| (options.batch, options.retry_for) = (options.batch.min(16), Duration::from_millis(40)),
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let lines: Vec<Value> = (0..200)
            .map(|number| {
                json!({ "reference": number.to_string(), "name": format!("P{number}"), "devices": [{ "device_id": DeviceId::from_bytes({
        let mut id = [7; 16];
        id[0] = number as u8;
        id
    }) }] })
            })
            .collect();
        import(&server, &[]).await;
        // The database is gone after some of the commits, for good as far as this request goes.
        db.faults.arm(Fault::Commit(3), Lasting::ForGood);
        let cut = hand_in(&server, "", &lines).await;
        assert!(cut.status.is_server_error() && db.faults.fired() > 0, "{}", cut.status);
        db.faults.disarm();
        let written = db.number("SELECT count(*) FROM user_info").await;
        assert!((1..200).contains(&written), "{written} before the cut");
        let done = import(&server, &lines).await;
        assert_eq!(done["made"].as_i64().unwrap() + done["known"].as_i64().unwrap(), 200);
        assert_eq!(done["users"].as_array().unwrap().len(), 200);
        assert_eq!(db.number("SELECT count(*) FROM user_info").await, 200);
        assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'user.assigned'").await, 200);
        assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'device.announced'").await, 200);
        is_sound(&db).await;
    }
);

db_test!(what_was_exported_is_imported_elsewhere_as_it_was, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    import(&server, &people()).await;
    let exported = async |what: &str| -> Vec<Value> {
        let answer = server.get(&server.operator, &format!("/v1/export/{what}")).await;
        String::from_utf8(answer.body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (before, devices) = (exported("people").await, exported("announced_devices").await);
    db.break_all("DELETE FROM user_info WHERE user_id > ''").await;
    db.break_all("DELETE FROM device_info WHERE user_id > ''").await;
    // As `counterfoil import users` reads the two files.
    let mut lines: Vec<Value> = before
        .iter()
        .map(|row| json!({ "user_id": row["user_id"], "name": row["name"], "email": row["email"], "address": row["address"] }))
        .collect();
    lines.extend(devices.iter().map(|row| {
        json!({ "user_id": row["user_id"], "devices": [{ "device_id": row["device_id"], "maker": row["maker"],
        "model": row["model"], "name": row["device_name"] }] })
    }));
    let done = import(&server, &lines).await;
    assert_eq!((&done["made"], &done["devices"], &done["rejected"]), (&json!(3), &json!(3), &json!([])), "{done}");
    assert_eq!((exported("people").await, exported("announced_devices").await), (before, devices));
});
