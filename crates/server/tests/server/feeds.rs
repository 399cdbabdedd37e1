//! Feeds at the authority (A5): it takes what the publisher has signed and what follows the one before, and can neither make nor change one.

use crate::support;
use crate::support::catalogue::{self, NOW, TestServer, publish, publisher_key};

use counterfoil_core::wire::Operation;
use counterfoil_format::content::{FRESH_TYP, Feed, Fresh, ListedRelease, ObjectName};
use counterfoil_format::jws::{sign_compact, verify_compact};
use serde_json::{Value, json};
use support::sales::sell;
use support::terminal::Terminal;
use support::{TestDb, db_test};

const PATH: &str = "/v1/titles/sky-raider/feed";
const DAY: i64 = 24 * 60 * 60;

fn listed(published: &Value, version: &str) -> ListedRelease {
    let document = ObjectName::of(published["document"].as_str().unwrap().as_bytes());
    let (version, channel) = (version.to_owned(), "stable".to_owned());
    ListedRelease { version, document, channel, critical: false, notes: String::new(), withdrawn: false, allow_back: true }
}

fn feed(sequence: u64, releases: Vec<ListedRelease>) -> Feed {
    let issued_at = NOW.seconds();
    Feed { title: "sky-raider".to_owned(), sequence, issued_at, expires_at: issued_at + 90 * DAY, releases }
}

fn signed(publisher: &str, feed: &Feed) -> String {
    feed.sign(publisher, &publisher_key(publisher).0).unwrap()
}

/// As its publisher hands it in.
async fn hand_in(server: &TestServer, feed: &Feed, after: u64) -> catalogue::Answer {
    server.put_json(&server.fox, PATH, &json!({ "document": signed("blue-fox", feed), "after": after })).await
}

db_test!(a5_a_feed_follows_the_one_before, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let published = publish(&server, "blue-fox", "sky-raider", "1.0").await;
    assert_eq!(server.get(&server.fox, PATH).await.status, 404, "none yet");
    let first = feed(1, vec![listed(&published, "1.0")]);
    let taken = hand_in(&server, &first, 0).await.expect(200);
    assert_eq!((&taken["sequence"], &taken["expires_at"]), (&json!(1), &json!("2026-04-01T00:00:00Z")));
    assert_eq!(hand_in(&server, &first, 0).await.expect(200), taken, "the same again");

    // Upon another than the one that is there; a number that is there; a lower one.
    for (sequence, after) in [(2, 0), (3, 2), (1, 1), (2, 5)] {
        let other = Feed { expires_at: first.expires_at - 1, ..feed(sequence, vec![]) };
        assert_eq!(hand_in(&server, &other, after).await.code(), "conflict", "{sequence} after {after}");
    }
    hand_in(&server, &feed(2, vec![]), 1).await.expect(200);
    // Numbers may be left out: what was signed and got lost is not signed again.
    hand_in(&server, &feed(7, vec![]), 2).await.expect(200);
    let there = server.get(&server.fox, PATH).await.expect(200);
    assert_eq!((&there["sequence"], there["document"].as_str()), (&json!(7), Some(signed("blue-fox", &feed(7, vec![])).as_str())));
    let history = server.get(&server.operator, "/v1/audit?family=/title/sky-raider").await.expect(200);
    let taken = history["items"].as_array().unwrap().iter().filter(|item| item["event"] == "feed.taken").count();
    assert_eq!(taken, 3);
});

db_test!(a5_only_what_the_publisher_has_signed_of_what_was_published_is_taken, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let one = publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let other = publish(&server, "red-owl", "night-owl", "1.0").await;
    let good = listed(&one, "1.0");
    let with = |change: &dyn Fn(&mut Feed)| {
        let mut feed = feed(1, vec![good.clone()]);
        change(&mut feed);
        feed
    };
    let fox = publisher_key("blue-fox").0;
    let refused = [
        ("another's key", signed("red-owl", &with(&|_| ()))),
        ("another's key in this name", with(&|_| ()).sign("blue-fox", &publisher_key("red-owl").0).unwrap()),
        ("another title", signed("blue-fox", &with(&|feed| feed.title = "night-owl".to_owned()))),
        ("over", signed("blue-fox", &with(&|feed| (feed.issued_at, feed.expires_at) = (NOW.seconds() - DAY, NOW.seconds())))),
        ("of the day after tomorrow", signed("blue-fox", &with(&|feed| feed.issued_at += 2 * DAY))),
        ("not published", signed("blue-fox", &with(&|feed| feed.releases.push(listed(&other, "1.1"))))),
        ("another title's release", signed("blue-fox", &with(&|feed| feed.releases[0] = listed(&other, "1.0")))),
        ("another channel", signed("blue-fox", &with(&|feed| feed.releases[0].channel = "beta".to_owned()))),
        ("a document of another kind", sign_compact("counterfoil-release+jwt", "blue-fox", &with(&|_| ()), &fox)),
        ("listed twice", sign_compact("counterfoil-feed+jwt", "blue-fox", &with(&|feed| feed.releases.push(good.clone())), &fox)),
        ("number none", sign_compact("counterfoil-feed+jwt", "blue-fox", &with(&|feed| feed.sequence = 0), &fox)),
        ("for ever", sign_compact("counterfoil-feed+jwt", "blue-fox", &with(&|feed| feed.expires_at += 400 * DAY), &fox)),
        ("nothing", String::new()),
    ];
    for (what, document) in refused {
        // Not even an operator can hand in what the publisher has not signed.
        for token in [&server.fox, &server.operator] {
            let answer = server.put_json(token, PATH, &json!({ "document": document, "after": 0 })).await;
            assert_eq!(answer.status, 422, "{what}: {}", String::from_utf8_lossy(&answer.body));
        }
    }
    let body = json!({ "document": signed("blue-fox", &with(&|_| ())), "after": 0 });
    assert_eq!(server.put_json(&server.owl, PATH, &body).await.status, 404, "another publisher's title");
    assert_eq!(server.put_json("", PATH, &body).await.status, 401);
    assert_eq!(db.number("SELECT count(*) FROM feed").await, 0);
    server.put_json(&server.fox, PATH, &body).await.expect(200);
});

db_test!(a5_of_two_feeds_at_once_one_wins, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let other = server.another(&db, |_| ()).await;
    for round in 0..5_u64 {
        let make = |days: i64| Feed { expires_at: NOW.seconds() + days * DAY, ..feed(round + 1, vec![]) };
        let (ninety, thirty) = (make(90), make(30));
        let (here, there) = tokio::join!(hand_in(&server, &ninety, round), hand_in(&other, &thirty, round));
        let mut outcome = [here.status.as_u16(), there.status.as_u16()];
        outcome.sort_unstable();
        assert_eq!(outcome, [200, 409], "round {round}");
    }
    assert_eq!(counterfoil_server::auditor::check(&db.db).await.unwrap(), []);
});

db_test!(a5_the_authority_vouches_for_the_newest_feed_for_a_day, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    hand_in(&server, &feed(3, vec![]), 0).await.expect(200);
    let there = server.get(&server.fox, PATH).await.expect(200);
    let keys = server.app.keys.clone();
    let fresh: Fresh = verify_compact(there["fresh"].as_str().unwrap(), FRESH_TYP, |kid| keys.verifying_key(kid)).unwrap();
    let feed = ObjectName::of(there["document"].as_str().unwrap().as_bytes());
    let (iat, exp) = (NOW.seconds(), NOW.seconds() + DAY);
    assert_eq!(fresh, Fresh { iss: "test.example".to_owned(), title: "sky-raider".to_owned(), sequence: 3, feed, iat, exp });
});

db_test!(a5_everybody_sees_the_feed_of_a_title_that_is_sold, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    hand_in(&server, &feed(1, vec![]), 0).await.expect(200);
    let public = "/v1/store/titles/sky-raider/feed";
    assert_eq!(server.get("", public).await.status, 404, "not sold");
    server.put_json(&server.fox, "/v1/titles/sky-raider/listing", &catalogue::listing()).await.expect(200);
    assert_eq!(server.get("", public).await.expect(200)["sequence"], 1);
});

db_test!(a5_a_feed_that_comes_late_puts_nothing_back, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    hand_in(&server, &feed(1, vec![]), 0).await.expect(200);
    hand_in(&server, &feed(2, vec![]), 1).await.expect(200);
    assert_eq!(hand_in(&server, &feed(1, vec![]), 0).await.code(), "conflict");
    assert_eq!(server.get(&server.fox, PATH).await.expect(200)["sequence"], 2);
});

db_test!(a5_the_auditor_notices_a_feed_that_was_put_back, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let found = async || {
        let violations = counterfoil_server::auditor::check(&db.db).await.unwrap();
        violations.iter().filter(|one| one.invariant.starts_with("the number of a title's feed only rises")).count()
    };
    hand_in(&server, &feed(1, vec![]), 0).await.expect(200);
    hand_in(&server, &feed(2, vec![]), 1).await.expect(200);
    assert_eq!(found().await, 0);
    for (sql, again) in [
        ("UPDATE feed SET sequence = 1", "UPDATE feed SET sequence = 2"),
        ("UPDATE feed SET document = 'x' || document", "UPDATE feed SET document = substr(document, 2)"),
    ] {
        db.run(sql).await;
        assert_eq!(found().await, 1, "{sql}");
        db.run(again).await;
    }
    db.run("DELETE FROM feed").await;
    assert_eq!(found().await, 1, "taken away");
});

db_test!(a5_d5_whoever_asks_for_a_license_is_told_of_the_newest_feed, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &["19.99 EUR"], json!({ "devices": 1 })).await;
    let anna = Terminal::registered(&server).await;
    anna.order(&server, "sky-raider", "19.99 EUR").await.unwrap();
    let none = anna.license(&server, "sky-raider").await.unwrap();
    assert_eq!((none.feed, none.fresh), (None, None), "its publisher has signed none");
    hand_in(&server, &feed(3, vec![]), 0).await.expect(200);
    let told = anna.license(&server, "sky-raider").await.unwrap();
    assert_eq!(told.feed, Some(signed("blue-fox", &feed(3, vec![]))));
    assert!(told.fresh.is_some());
    // Who knows it is told that it is still the newest.
    let Operation::License(mut ask) = anna.license_operation("sky-raider", false) else { panic!("it asks for a license") };
    ask.feed = 3;
    let known = anna.ask(&server, Operation::License(ask), None).await.unwrap();
    assert!(known.get("feed").is_none() && known["fresh"].is_string(), "{known}");
});
