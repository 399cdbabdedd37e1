//! Requests are answered once, messages are delivered by one at a time.

use crate::support;

use counterfoil_server::db::{Db, DbError, Fault, Lasting, Tx};
use counterfoil_server::store::outbox::{self, Operation};
use counterfoil_server::store::request::{self, Once, Recorded};
use support::db_test;

const DIGEST: [u8; 32] = [1; 32];

/// An effect that must happen once: a counter, and the answer that tells its value.
async fn ask(db: &Db, request_id: &str, digest: [u8; 32], now: i64) -> Result<Option<Recorded>, DbError> {
    let request_id = request_id.to_owned();
    db.write("ask", "usr-1", async move |tx| {
        match request::once(tx, "usr-1", &request_id, &digest, now).await? {
            Once::Repeat(recorded) => return Ok(Some(recorded)),
            Once::Mismatch => return Ok(None),
            Once::Fresh => {}
        }
        let (n,) = tx.query("UPDATE effect SET n = n + 1 WHERE family = 'usr-1' RETURNING n").one::<(i64,)>().await?;
        let recorded = Recorded { status: 200, answer: format!("effect {n}").into_bytes() };
        request::record(tx, "usr-1", &request_id, &digest, &recorded, now, now + 1000).await?;
        Ok(Some(recorded))
    })
    .await
}

macro_rules! with_effect {
    ($db:expr) => {
        $db.run("CREATE TABLE effect (family TEXT PRIMARY KEY, n BIGINT NOT NULL)").await;
        $db.run("INSERT INTO effect (family, n) VALUES ('usr-1', 0)").await;
    };
}

db_test!(a_repeated_request_gets_the_recorded_answer, async |db| {
    with_effect!(db);
    let first = ask(&db, "r", DIGEST, 0).await.unwrap().unwrap();
    assert_eq!(first.answer, b"effect 1");
    assert_eq!(ask(&db, "r", DIGEST, 999).await.unwrap(), Some(first));
    assert_eq!(ask(&db, "r", [2; 32], 999).await.unwrap(), None, "other content under the same ID");
    assert_eq!(ask(&db, "s", DIGEST, 0).await.unwrap().unwrap().answer, b"effect 2");
    assert_eq!(ask(&db, "r", [2; 32], 1000).await.unwrap().unwrap().answer, b"effect 3", "it had expired");
});

db_test!(one_request_from_many_sides_has_one_effect, async |db| {
    with_effect!(db);
    let second = db.second().await;
    let askers = (0..100).map(|n| {
        tokio::spawn({
            let db = if n % 2 == 0 { db.db.clone() } else { second.clone() };
            async move { ask(&db, "r", DIGEST, 0).await.unwrap().unwrap() }
        })
    });
    for asker in askers.collect::<Vec<_>>() {
        assert_eq!(asker.await.unwrap().answer, b"effect 1");
    }
    assert_eq!(db.number("SELECT n FROM effect").await, 1);
    second.close().await;
});

db_test!(an_unknown_outcome_has_one_effect, async |db| {
    with_effect!(db);
    for round in 0..10 {
        db.faults.arm(Fault::CommitAnswer(0), Lasting::Once);
        let answer = ask(&db, &format!("r-{round}"), DIGEST, 0).await.unwrap().unwrap();
        assert_eq!(db.faults.fired(), 1);
        assert_eq!(answer.answer, format!("effect {}", round + 1).into_bytes());
    }
    assert_eq!(db.number("SELECT n FROM effect").await, 10);
});

db_test!(expired_requests_are_purged, async |db| {
    with_effect!(db);
    for n in 0..10 {
        ask(&db, &format!("r-{n}"), DIGEST, n * 100).await.unwrap();
    }
    assert_eq!(request::purge(&db, 1450, 3).await.unwrap(), 3);
    assert_eq!(request::purge(&db, 1450, 100).await.unwrap(), 2);
    assert_eq!(db.number("SELECT count(*) FROM request").await, 5);
});

async fn enqueue(db: &Db, family: &str, id: &str, due: i64) -> bool {
    let (family, id) = (family.to_owned(), id.to_owned());
    db.write("enqueue", family.clone(), async move |tx: &mut Tx| -> Result<bool, DbError> {
        outbox::enqueue(tx, &family, &id, "webhook", r#"{"n":1}"#, 0, due).await
    })
    .await
    .unwrap()
}

async fn due(db: &Db, now: i64) -> Vec<(String, i64)> {
    let due: Vec<Operation> = outbox::due(db, now, 50).await.unwrap();
    due.into_iter().map(|operation| (operation.family, operation.attempts)).collect()
}

db_test!(messages_come_when_they_are_due_oldest_first, async |db| {
    for n in [3, 1, 2, 0, 4] {
        assert!(enqueue(&db, &format!("med-{n}"), "op", n).await);
    }
    assert!(!enqueue(&db, "med-3", "op", 99).await, "an operation is written once");
    assert_eq!(due(&db, 2).await, [("med-0".to_owned(), 0), ("med-1".to_owned(), 0), ("med-2".to_owned(), 0)]);
    assert_eq!(outbox::due(&db, 9, 2).await.unwrap().len(), 2, "no more than asked for");
});

db_test!(what_was_not_delivered_comes_again_and_what_was_is_forgotten, async |db| {
    enqueue(&db, "med-1", "op", 10).await;
    enqueue(&db, "med-2", "op", 10).await;
    assert_eq!(due(&db, 9).await, []);
    assert_eq!(due(&db, 10).await.len(), 2);
    assert_eq!(due(&db, 10).await.len(), 2, "whoever had them has died");
    let failed = async |tx: &mut Tx| -> Result<bool, DbError> { outbox::failed(tx, "med-1", "op", "refused", 500).await };
    assert!(db.write("failed", "med-1", failed).await.unwrap());
    assert_eq!(due(&db, 499).await, [("med-2".to_owned(), 0)], "put off");
    assert_eq!(due(&db, 500).await, [("med-2".to_owned(), 0), ("med-1".to_owned(), 1)]);
    assert_eq!(db.number("SELECT count(*) FROM outbox WHERE last_error = 'refused'").await, 1);
    let done = async |tx: &mut Tx| -> Result<bool, DbError> { outbox::done(tx, "med-1", "op").await };
    assert!(db.write("done", "med-1", done).await.unwrap());
    assert!(!db.write("done", "med-1", done).await.unwrap(), "only once");
    assert!(!db.write("failed", "med-1", failed).await.unwrap(), "nor put off by who comes too late");
    assert_eq!(due(&db, 10_000).await, [("med-2".to_owned(), 0)]);
});
