//! Figures for charts: every signed record is counted once, whoever counts and however often it is tried.

use crate::support;

use std::collections::BTreeMap;

use counterfoil_core::Timestamp;
use counterfoil_server::auth::Scope;
use counterfoil_server::db::{Db, DbError, Tx};
use counterfoil_server::jobs::figures as job;
use counterfoil_server::store::figures::{self, Cursor, Figure, Step};
use counterfoil_server::store::{audit, setting};
use serde_json::json;
use support::catalogue::{NOW, TestServer, publish};
use support::terminal::{Terminal, media};
use support::{TestDb, db_test};

const DAY: i64 = Timestamp::DAY;

async fn append(db: &Db, family: String, at: i64, event: &'static str, detail: serde_json::Value) {
    db.write("append", family.clone(), async move |tx: &mut Tx| -> Result<(), DbError> {
        audit::append(tx, &family, at, "usr-1", event, &detail).await.map(drop)
    })
    .await
    .unwrap();
}

async fn sign(db: &Db, at: i64) {
    audit::checkpoint(db, at, |checkpoint| Ok(checkpoint.number.to_string())).await.unwrap();
}

async fn count(db: &Db) -> Option<Step> {
    db.read("count", async |tx: &mut Tx| -> Result<Option<Step>, DbError> { figures::count(tx).await }).await.unwrap()
}

async fn keep(db: &Db, step: Step) -> bool {
    db.write("keep", setting::FAMILY, async move |tx: &mut Tx| -> Result<bool, DbError> { figures::keep(tx, &step).await }).await.unwrap()
}

async fn count_all(db: &Db) -> usize {
    let mut steps = 0;
    while let Some(step) = count(db).await {
        assert!(keep(db, step).await);
        steps += 1;
    }
    steps
}

async fn load(db: &Db, scope: Scope, name: &str, until: i64) -> Vec<(i64, String, i64)> {
    let name = name.to_owned();
    let found =
        db.read("load", async move |tx: &mut Tx| -> Result<Vec<Figure>, DbError> { figures::load(tx, &scope, &name, 0, until).await });
    found.await.unwrap().into_iter().map(|figure| (figure.day, figure.label, figure.amount)).collect()
}

/// What counting should come to, from the log itself: by event and day.
async fn in_the_log(db: &Db) -> BTreeMap<(String, i64), i64> {
    let rows =
        db.read("log", async |tx: &mut Tx| -> Result<Vec<(String, i64)>, DbError> { tx.query("SELECT event, at FROM audit").all().await });
    let mut counts = BTreeMap::new();
    for (event, at) in rows.await.unwrap() {
        *counts.entry((event, figures::day(at))).or_insert(0) += 1;
    }
    counts
}

async fn counted(db: &Db) -> BTreeMap<(String, i64), i64> {
    let sql = "SELECT name, day, amount FROM figure WHERE publisher_id = '' AND label = '' AND name NOT LIKE 'devices.%'";
    let rows =
        db.read("figures", async |tx: &mut Tx| -> Result<Vec<(String, i64, i64)>, DbError> { tx.query(sql).all().await }).await.unwrap();
    rows.into_iter().map(|(name, day, amount)| ((name, day), amount)).collect()
}

db_test!(every_signed_record_is_counted_once, async |db| {
    // More families than one step looks at, and more rows of one than one step reads.
    for family in 0..620 {
        append(&db, format!("usr-{family:03}"), family % 3 * DAY, "user.registered", json!({})).await;
    }
    for at in 0..2100 {
        append(&db, "usr-200".to_owned(), at % 2 * DAY, "inbox.done", json!({})).await;
    }
    assert_eq!(count(&db).await.map(drop), None, "nothing is signed yet");
    sign(&db, 10).await;
    assert_eq!(count_all(&db).await, 2, "more rows than one step looks at");
    assert_eq!(counted(&db).await, in_the_log(&db).await);
    assert_eq!(count_all(&db).await, 0, "nothing is new");

    append(&db, "usr-200".to_owned(), 5 * DAY, "inbox.done", json!({})).await;
    append(&db, "usr-new".to_owned(), 5 * DAY, "user.registered", json!({})).await;
    assert_eq!(count_all(&db).await, 0, "what is not signed may be cut yet");
    sign(&db, 20).await;
    append(&db, "usr-200".to_owned(), 6 * DAY, "inbox.done", json!({})).await;
    sign(&db, 30).await;
    assert_eq!(count_all(&db).await, 2, "a step for each checkpoint");
    assert_eq!(counted(&db).await, in_the_log(&db).await);
    let through = db.read("cursor", async |tx: &mut Tx| -> Result<Cursor, DbError> { Cursor::load(tx).await }).await.unwrap().through;
    assert_eq!(through, Some(30));
});

db_test!(two_who_count_at_once_count_once, async |db| {
    let second = db.second().await;
    append(&db, "usr-1".to_owned(), 0, "user.registered", json!({})).await;
    sign(&db, 10).await;
    let (mine, other) = (count(&db).await.unwrap(), count(&second).await.unwrap());
    assert!(keep(&db, mine.clone()).await);
    assert!(!keep(&second, other).await, "the other one was faster");
    assert!(!keep(&db, mine).await, "nor is the same step kept twice, as when the answer of its COMMIT is lost");
    assert_eq!(counted(&db).await, in_the_log(&db).await);

    append(&db, "usr-1".to_owned(), 1, "user.registered", json!({})).await;
    sign(&db, 20).await;
    let (mine, other) = (count(&db).await.unwrap(), count(&second).await.unwrap());
    assert!(keep(&second, other).await);
    assert!(!keep(&db, mine).await);
    assert_eq!(counted(&db).await, in_the_log(&db).await);
    second.close().await;
});

db_test!(publishers_see_their_own_and_refusals_have_their_codes, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let fox = media(&server, "sky-raider", 2, json!({})).await;
    publish(&server, "red-owl", "night-owl", "1.0").await;
    let terminal = Terminal::registered(&server).await;
    let grants = terminal.claim(&server, &fox[0]).await.unwrap();
    terminal.confirm(&server, &fox[0], &grants).await.unwrap();
    // Touched by nobody who may: refused, in the medium's family, which tells whose it is.
    Terminal::registered(&server).await.claim(&server, &fox[0]).await.unwrap_err();
    sign(&db, NOW.0).await;
    assert!(job::count(&server.app).await.unwrap() > 0);
    let today = figures::day(NOW.0);
    let one = |label: &str| vec![(today, label.to_owned(), 1)];
    for scope in [Scope::All, Scope::Publisher("blue-fox".to_owned())] {
        assert_eq!(load(&db, scope.clone(), "claim.granted", today).await, one(""), "{scope:?}");
        assert_eq!(load(&db, scope.clone(), "copy.confirmed", today).await, one(""), "{scope:?}");
        assert_eq!(load(&db, scope, figures::REFUSED, today).await, one("medium_spent"));
    }
    for nobody in ["red-owl", ""] {
        let scope = Scope::Publisher(nobody.to_owned());
        assert_eq!(load(&db, scope.clone(), "claim.granted", today).await, [], "{nobody}");
        assert_eq!(load(&db, scope, figures::REFUSED, today).await, [], "{nobody}");
    }
});

db_test!(devices_are_counted_by_what_they_said, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    for (publisher, title) in [("blue-fox", "sky-raider"), ("red-owl", "night-owl")] {
        publish(&server, publisher, title, "1.0").await;
    }
    let today = NOW.0;
    for (user, device, title, version, at) in [
        ("usr-1", "dev-1", "sky-raider", "1.0", today),
        ("usr-1", "dev-1", "night-owl", "1.0", today),
        ("usr-1", "dev-2", "sky-raider", "2.0", today),
        ("usr-2", "dev-1", "sky-raider", "1.0", today - 2 * DAY),
        ("usr-3", "dev-9", "sky-raider", "1.0", today - 31 * DAY),
    ] {
        said(&db, user, device, title, version, at).await;
    }
    job::survey(&server.app).await.unwrap();
    let day = figures::day(today);
    let fox = Scope::Publisher("blue-fox".to_owned());
    assert_eq!(load(&db, Scope::All, figures::ACTIVE, day).await, [(day, String::new(), 2)]);
    assert_eq!(load(&db, fox.clone(), figures::ACTIVE, day).await, [(day, String::new(), 2)]);
    assert_eq!(load(&db, Scope::Publisher("red-owl".to_owned()), figures::ACTIVE, day).await, [(day, String::new(), 1)]);
    let releases = figures::releases_of("sky-raider");
    let (old, new) = ((day, "1.0".to_owned(), 2), (day, "2.0".to_owned(), 1));
    assert_eq!(load(&db, fox.clone(), &releases, day).await, [old, new], "without the one that was last heard of a month ago");
    assert_eq!(load(&db, Scope::Publisher("red-owl".to_owned()), &releases, day).await, [], "another publisher's");

    // Within the day, what is counted later stands in its place.
    said(&db, "usr-1", "dev-2", "sky-raider", "1.0", today).await;
    job::survey(&server.app).await.unwrap();
    assert_eq!(load(&db, fox, &releases, day).await, [(day, "1.0".to_owned(), 3)]);
});

async fn said(db: &Db, user: &'static str, device: &'static str, title: &'static str, version: &'static str, at: i64) {
    db.write("status", user, async move |tx: &mut Tx| -> Result<(), DbError> {
        tx.query(
            "INSERT INTO user_entry (user_id, holder_id, holder_kind, sign_key, seal_key, state, created_at)
             VALUES ($1, 'key-1', 'card', $2, $2, 'active', 1) ON CONFLICT (user_id) DO NOTHING",
        )
        .bind(user)
        .bind([0; 32])
        .execute()
        .await?;
        tx.query(
            "INSERT INTO status (user_id, device_id, title_id, channel, version, document, reported_at) VALUES ($1, $2, $3, 'stable', $4, '{}', $5)
             ON CONFLICT (user_id, device_id, title_id) DO UPDATE SET version = excluded.version",
        )
        .bind(user)
        .bind(device)
        .bind(title)
        .bind(version)
        .bind(at)
        .execute()
        .await
        .map(drop)
    })
    .await
    .unwrap();
}
