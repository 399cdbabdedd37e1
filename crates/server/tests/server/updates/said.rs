//! What publishers say of releases: whom it reaches, what it changes, and that it is recorded.

use counterfoil_core::Code;
use counterfoil_core::wire::{AskLicense, Operation};
use serde_json::{Value, json};

use super::released::{release_with, say};
use super::support::{TestDb, db_test};
use super::terminal::refused;
use super::*;

db_test!(a5_what_is_said_of_a_release_is_kept_shown_and_recorded_once, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    released::title(&server, TITLE).await;
    let more = json!({ "notes": "First.\nReally.", "critical": true, "rollout": 10, "held": true, "encoder": "zstd 1.5.7 level 3" });
    release_with(&server, TITLE, "1.0", &files("1.0"), &[], more.clone()).await;
    let path = format!("/v1/titles/{TITLE}/releases/1.0");
    let shown = server.get(&server.fox, &path).await.expect(200);
    for (name, value) in more.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    assert_eq!((&shown["withdrawn"], &shown["allow_back"]), (&json!(false), &json!(true)));
    let changes = async || db.number("SELECT count(*) FROM audit WHERE event = 'release.changed'").await;
    let changed = server.patch(&server.fox, &path, &json!({ "rollout": 50, "critical": true })).await.expect(200);
    assert_eq!((&changed["rollout"], &changed["notes"], &changed["held"]), (&json!(50), &json!("First.\nReally."), &json!(true)));
    server.patch(&server.fox, &path, &json!({ "rollout": 50 })).await.expect(200);
    assert_eq!(changes().await, 1, "the same again changes nothing");
    server.patch(&server.fox, &path, &json!({ "held": false, "withdrawn": true, "allow_back": false })).await.expect(200);
    assert_eq!(changes().await, 2);
    let listed = server.get(&server.fox, &format!("/v1/titles/{TITLE}/releases")).await.expect(200);
    assert_eq!((&listed["items"][0]["withdrawn"], &listed["items"][0]["held"]), (&json!(true), &json!(false)));
    is_sound(&db).await;
});

db_test!(what_cannot_be_said_is_refused_and_nobody_speaks_for_another_publisher, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let path = format!("/v1/titles/{TITLE}/releases/1.0");
    for wrong in [json!({ "rollout": 101 }), json!({ "rollout": -1 }), json!({ "notes": "\u{7}" }), json!({ "shown": true })] {
        server.patch(&server.fox, &path, &wrong).await.expect(422);
    }
    server.patch(&server.owl, &path, &json!({ "withdrawn": true })).await.expect(404);
    server.patch(&server.fox, &format!("/v1/titles/{TITLE}/releases/9.9"), &json!({ "held": true })).await.expect(404);
    let channel = format!("/v1/titles/{TITLE}/channels/stable");
    server.put_json(&server.owl, &channel, &json!({ "minimum": "1.1" })).await.expect(404);
    server.put_json(&server.fox, &channel, &json!({ "minimum": "9.9" })).await.expect(422);
    assert_eq!(server.get(&server.fox, &channel).await.expect(200)["minimum"], Value::Null);
    server.put_json(&server.fox, &channel, &json!({ "minimum": "1.1" })).await.expect(200);
    server.put_json(&server.fox, &channel, &json!({ "minimum": "1.1" })).await.expect(200);
    assert_eq!(server.get(&server.fox, &channel).await.expect(200)["minimum"], "1.1");
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'channel.changed'").await, 1);
    server.put_json(&server.fox, &channel, &json!({ "minimum": null })).await.expect(200);
    assert_eq!(server.get(&server.fox, &channel).await.expect(200)["minimum"], Value::Null);
    assert_eq!(db.number("SELECT count(*) FROM release WHERE withdrawn_at IS NOT NULL OR held_at IS NOT NULL OR rollout < 100").await, 0);
});

db_test!(whoever_has_none_gets_the_newest_release_that_everybody_may_have, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, _) = bought(&server, &db).await;
    let newest = async || desk.license_again(&server, TITLE).await.map(|license| license.title.release.to_string());
    let named = async |version: &str| {
        let ask = AskLicense {
            user_id: desk.user.unwrap(),
            device_id: desk.device_id().unwrap(),
            title: TITLE.parse().unwrap(),
            release: Some(version.parse().unwrap()),
            channel: None,
            again: true,
            feed: 0,
        };
        desk.ask(&server, Operation::License(ask), None).await
    };
    assert_eq!(newest().await.unwrap(), "1.3");
    say(&server, TITLE, "1.3", json!({ "held": true })).await;
    say(&server, TITLE, "1.2", json!({ "rollout": 99 })).await;
    assert_eq!(newest().await.unwrap(), "1.1");
    say(&server, TITLE, "1.1", json!({ "withdrawn": true })).await;
    assert_eq!(newest().await.unwrap(), "1.0");
    assert!(named("1.3").await.is_ok(), "who names what is held gets it");
    assert_eq!(refused(named("1.1").await), Code::ReleaseWithdrawn);
    assert_eq!(server.get("", &format!("/v1/store/titles/{TITLE}/releases/1.1")).await.status, 404);
    let shown = server.get("", &format!("/v1/store/titles/{TITLE}")).await.expect(200);
    let versions: Vec<&str> = shown["releases"].as_array().unwrap().iter().map(|release| release["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["1.0"]);
    let pressed = server.post(&server.fox, "/v1/batches", &json!({ "titles": [{ "title": TITLE }], "count": 1 })).await.expect(201);
    assert_eq!(pressed["titles"][0]["version"], "1.0");
    server.post(&server.fox, "/v1/batches", &json!({ "titles": [{ "title": TITLE, "version": "1.1" }], "count": 1 })).await.expect(422);
    say(&server, TITLE, "1.0", json!({ "withdrawn": true })).await;
    assert_eq!(refused(newest().await), Code::ReleaseUnknown);
    assert_eq!(server.get("", &format!("/v1/store/titles/{TITLE}")).await.status, 404, "nothing is left to be sold");
});

db_test!(two_who_say_different_things_at_once_both_get_their_way, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let beside = server.another(&db, |_| ()).await;
    let path = format!("/v1/titles/{TITLE}/releases/1.3");
    for round in 0..12_u32 {
        let (rollout, held) = (json!({ "rollout": round + 1 }), json!({ "held": round % 2 == 0 }));
        let (first, second) = tokio::join!(server.patch(&server.fox, &path, &rollout), beside.patch(&beside.fox, &path, &held));
        first.expect(200);
        second.expect(200);
        let shown = server.get(&server.fox, &path).await.expect(200);
        assert_eq!((&shown["rollout"], &shown["held"]), (&rollout["rollout"], &held["held"]), "round {round}");
    }
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'release.changed'").await, 24);
    is_sound(&db).await;
    beside.app.db.close().await;
});
