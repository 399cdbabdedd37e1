//! SQLite's journal: it goes into the database beside the writer, and starts over before it is large.

use crate::support;

use std::time::Duration;

use counterfoil_server::db::{Db, DbError, Tx};
use support::{Engine, TestDb, on};

const ROW: usize = 256 << 10;

async fn put(db: &Db, number: i64) {
    let bytes = vec![number as u8; ROW];
    db.write("put", number.to_string(), async move |tx: &mut Tx| -> Result<u64, DbError> {
        tx.query("INSERT INTO heap (n, b) VALUES ($1, $2)").bind(number).bind(&bytes).execute().await
    })
    .await
    .unwrap();
}

/// Bytes of the database, and of its journal.
fn sizes(db: &TestDb) -> [u64; 2] {
    let path = db.url.file().unwrap();
    let journal = format!("{}-wal", path.display());
    [path.to_owned(), journal.into()].map(|path| std::fs::metadata(path).unwrap().len())
}

#[test]
fn what_was_committed_goes_into_the_database_without_another_commit() {
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            db.run("CREATE TABLE heap (n BIGINT PRIMARY KEY, b BYTEA)").await;
            for number in 0..20 {
                put(&db, number).await;
            }
            for _ in 0..2000 {
                if sizes(&db)[0] > 16 * ROW as u64 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            panic!("5 MiB are still in the journal after 10 s: {:?}", sizes(&db));
        },
    );
}

#[test]
fn the_journal_starts_over_while_everybody_writes() {
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            db.run("CREATE TABLE heap (n BIGINT PRIMARY KEY, b BYTEA)").await;
            // 200 MiB, from eight sides, so that a commit is always on its way.
            futures_util::future::join_all((0..8).map(async |side| {
                for number in 0..100 {
                    put(&db, side * 1000 + number).await;
                }
            }))
            .await;
            let [_, journal] = sizes(&db);
            // The limit, and what one more batch may write.
            assert!(journal < (64 + 8) << 20, "{journal} bytes");
            assert_eq!(db.number("SELECT count(*) FROM heap").await, 800);
        },
    );
}
