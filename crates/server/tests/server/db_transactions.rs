//! What an action may rely on: it is whole, durable and alone with its family, on either engine.

use crate::support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use counterfoil_server::db::{Db, DbError, FromRow, Row, Tx, Value};
use support::{Engine, TestDb, db_test};

/// An action's own error, as an action of the server has one.
#[derive(Debug)]
enum Failure {
    Refused(&'static str),
    Db(DbError),
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

async fn make_counters(db: &TestDb) {
    db.run("CREATE TABLE counter (family TEXT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (family))").await;
}

async fn count_up(db: &Db, family: String) -> Result<i64, DbError> {
    db.write("count", family.clone(), async move |tx| {
        let sql = "INSERT INTO counter (family, n) VALUES ($1, 1) ON CONFLICT (family) DO UPDATE SET n = counter.n + 1 RETURNING n";
        Ok(tx.query(sql).bind(&family).one::<(i64,)>().await?.0)
    })
    .await
}

db_test!(values_come_back_as_they_went_in, async |db| {
    db.run("CREATE TABLE thing (family TEXT PRIMARY KEY, i BIGINT, t TEXT, b BYTEA)").await;
    let bytes = vec![0u8, 1, 255];
    type Thing = (i64, Option<i64>, String, Vec<u8>, Option<Vec<u8>>);
    let thing = db
        .write("put", "x", async move |tx: &mut Tx| -> Result<Thing, DbError> {
            let sql = "INSERT INTO thing (family, i, t, b) VALUES ($1, $2, $3, $4)";
            assert_eq!(tx.query(sql).bind("x").bind(i64::MIN).bind("Grüße \u{1F3AE}").bind(&bytes).execute().await?, 1);
            let none = None::<String>;
            assert_eq!(tx.query(sql).bind("y").bind(None::<i64>).bind(none).bind(Value::Null).execute().await?, 1);
            let nulls = "SELECT i, t, b FROM thing WHERE family = $1";
            let read = tx.query(nulls).bind("y").one::<(Option<i64>, Option<String>, Option<Vec<u8>>)>().await?;
            assert_eq!(read, (None, None, None));
            tx.query("SELECT i, NULLIF(i, i), t, b, b FROM thing WHERE family = $1").bind("x").one().await
        })
        .await
        .unwrap();
    assert_eq!(thing, (i64::MIN, None, "Grüße \u{1F3AE}".to_owned(), vec![0, 1, 255], Some(vec![0, 1, 255])));
});

// To SQLite `$2` is a name, not a number: taken by first occurrence, these would be swapped.
db_test!(values_are_bound_by_number, async |db| {
    let read = async |tx: &mut Tx| -> Result<(), DbError> {
        let sql = "SELECT CAST($2 AS TEXT), CAST($1 AS TEXT), CAST($3 AS BIGINT), CAST($1 AS TEXT), '$1'";
        let row = tx.query(sql).bind("one").bind("two").bind(3i64).one::<(String, String, i64, String, String)>().await?;
        assert_eq!(row, ("two".to_owned(), "one".to_owned(), 3, "one".to_owned(), "$1".to_owned()));
        Ok(())
    };
    db.read("numbers", read).await.unwrap();
    for given in [1, 3] {
        let miscounted = async move |tx: &mut Tx| -> Result<(i64,), DbError> {
            let query = tx.query("SELECT CAST($1 AS BIGINT) + CAST($2 AS BIGINT)");
            (0..given).fold(query, |query, n| query.bind(n)).one().await
        };
        let result = db.read("miscounted", miscounted).await;
        assert!(matches!(result, Err(DbError::Statement { .. })), "{given}: {result:?}");
    }
});

db_test!(rows_are_read_strictly, async |db| {
    #[derive(Debug, PartialEq)]
    struct Named(String);
    impl FromRow for Named {
        fn from_row(row: &mut Row) -> Result<Self, DbError> {
            Ok(Self(row.column()?))
        }
    }
    let read = db
        .read("strict", async |tx: &mut Tx| -> Result<(), DbError> {
            assert_eq!(tx.query("SELECT 'a' AS x").one::<Named>().await?, Named("a".to_owned()));
            assert_eq!(tx.query("SELECT 'a' AS x WHERE 1 = 0").opt::<Named>().await?, None);
            assert!(matches!(tx.query("SELECT 'a' AS x WHERE 1 = 0").one::<Named>().await, Err(DbError::NoRow(_))));
            assert!(matches!(tx.query("SELECT 'a' AS x UNION ALL SELECT 'b'").opt::<Named>().await, Err(DbError::ManyRows(_))));
            assert!(matches!(tx.query("SELECT 1 AS x").one::<Named>().await, Err(DbError::Column { column: 1, .. })));
            assert!(matches!(tx.query("SELECT 'a' AS x, 2 AS y").one::<Named>().await, Err(DbError::Column { column: 2, .. })));
            assert!(matches!(tx.query("SELECT 'a' AS x").one::<(String, i64)>().await, Err(DbError::Column { column: 2, .. })));
            Ok(())
        })
        .await;
    read.unwrap();
});

db_test!(a_reader_cannot_write, async |db| {
    make_counters(&db).await;
    let sneaky =
        async |tx: &mut Tx| -> Result<u64, DbError> { tx.query("INSERT INTO counter (family, n) VALUES ('x', 1)").execute().await };
    assert!(matches!(db.read("sneaky", sneaky).await, Err(DbError::Statement { .. })));
    assert!(matches!(db.snapshot("sneaky", sneaky).await, Err(DbError::Statement { .. })));
    assert_eq!(db.number("SELECT count(*) FROM counter").await, 0);
});

db_test!(concurrent_writes_share_commits, |options| options.batch = 64, async |db| {
    make_counters(&db).await;
    let before = db.statistics().commits();
    let clients = (0..32).map(|client| {
        let db = db.db.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                count_up(&db, format!("family-{client}")).await.unwrap();
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let commits = db.statistics().commits() - before;
    assert_eq!(db.number("SELECT CAST(sum(n) AS BIGINT) FROM counter").await, 640);
    assert!(commits <= 320, "640 transactions took {commits} commits");
});

db_test!(a_refusal_undoes_only_itself, async |db| {
    make_counters(&db).await;
    let clients = (0..48).map(|client| {
        let db = db.db.clone();
        tokio::spawn(async move {
            let family = format!("family-{client}");
            let result = db
                .write("half refused", family.clone(), async move |tx| {
                    tx.query("INSERT INTO counter (family, n) VALUES ($1, 7)").bind(&family).execute().await?;
                    if client % 2 == 0 { Err(Failure::Refused("even")) } else { Ok(client) }
                })
                .await;
            match result {
                Ok(answer) => assert_eq!((answer, client % 2), (client, 1)),
                Err(Failure::Refused(why)) => assert_eq!((why, client % 2), ("even", 0)),
                Err(Failure::Db(error)) => panic!("{error}"),
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(db.number("SELECT count(*) FROM counter").await, 24);
});

db_test!(a_failed_statement_ends_the_transaction, async |db| {
    make_counters(&db).await;
    count_up(&db, "taken".to_owned()).await.unwrap();
    let result = db
        .write("swallow", "taken", async |tx: &mut Tx| -> Result<(), DbError> {
            tx.query("INSERT INTO counter (family, n) VALUES ('new', 1)").execute().await?;
            let broken = tx.query("INSERT INTO counter (family, n) VALUES ('taken', 1)").execute().await;
            assert!(matches!(broken, Err(DbError::Constraint(_))), "{broken:?}");
            // The action goes on as if nothing had happened, and even says that all is well.
            assert!(matches!(tx.query("SELECT 1 AS one").one::<(i64,)>().await, Err(DbError::Constraint(_))));
            Ok(())
        })
        .await;
    assert!(matches!(result, Err(DbError::Constraint(_))), "{result:?}");
    assert_eq!(db.number("SELECT count(*) FROM counter").await, 1);
});

db_test!(statements_that_make_no_sense_are_told_from_bad_luck, async |db| {
    make_counters(&db).await;
    let nonsense = db.write("nonsense", "x", async |tx: &mut Tx| -> Result<u64, DbError> { tx.query("SELEC 1").execute().await }).await;
    assert!(matches!(nonsense, Err(DbError::Statement { sql: "SELEC 1", .. })), "{nonsense:?}");
    let missing = db
        .write("missing", "x", async |tx: &mut Tx| -> Result<u64, DbError> {
            tx.query("INSERT INTO counter (family, n) VALUES ($1, $2)").bind("x").execute().await
        })
        .await;
    // SQLite has no parameter counting of its own: the facade's engines both refuse.
    assert!(matches!(missing, Err(DbError::Statement { .. })), "{missing:?}");
    assert_eq!(db.number("SELECT count(*) FROM counter").await, 0);
});

db_test!(one_of_many_wins_a_guarded_row, async |db| {
    db.run("CREATE TABLE prize (family TEXT PRIMARY KEY, holder BIGINT)").await;
    db.run("INSERT INTO prize (family) VALUES ('m')").await;
    // Two facades on one database: what two processes are.
    let second = db.second().await;
    let racers = (0..32).map(|racer: i64| {
        let db = if racer % 2 == 0 { db.db.clone() } else { second.clone() };
        tokio::spawn(async move {
            db.write("claim", "m", async move |tx: &mut Tx| -> Result<bool, DbError> {
                let sql = "UPDATE prize SET holder = $1 WHERE family = 'm' AND holder IS NULL";
                Ok(tx.query(sql).bind(racer).execute().await? == 1)
            })
            .await
            .unwrap()
        })
    });
    let mut winners = 0;
    for racer in racers.collect::<Vec<_>>() {
        winners += u32::from(racer.await.unwrap());
    }
    assert_eq!(winners, 1);
    second.close().await;
});

db_test!(a_conflict_runs_the_action_again, async |db| {
    make_counters(&db).await;
    db.run("INSERT INTO counter (family, n) VALUES ('c', 0)").await;
    let second = db.second().await;
    let racers = (0..24).map(|racer| {
        let db = if racer % 2 == 0 { db.db.clone() } else { second.clone() };
        tokio::spawn(async move {
            // Read, decide, write guarded by what was read: lost updates would show in the sum.
            db.write("add", "c", async |tx: &mut Tx| -> Result<(), DbError> {
                let (n,) = tx.query("SELECT n FROM counter WHERE family = 'c'").one::<(i64,)>().await?;
                let sql = "UPDATE counter SET n = $1 WHERE family = 'c' AND n = $2";
                match tx.query(sql).bind(n + 1).bind(n).execute().await? {
                    1 => Ok(()),
                    _ => Err(tx.conflict("the counter")),
                }
            })
            .await
            .unwrap();
        })
    });
    for racer in racers.collect::<Vec<_>>() {
        racer.await.unwrap();
    }
    assert_eq!(db.number("SELECT n FROM counter").await, 24);
    second.close().await;
});

db_test!(a_conflict_that_never_ends_holds_nobody_up_for_long, |options| options.retry_for = Duration::from_secs(2), async |db| {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let result = db
        .write("hopeless", "h", async move |tx: &mut Tx| -> Result<(), DbError> {
            counted.fetch_add(1, Ordering::SeqCst);
            Err(tx.conflict("nothing"))
        })
        .await;
    assert!(result.unwrap_err().try_later());
    if db.engine() == Engine::Sqlite {
        // In a group once, then alone: the only writer is not kept from the others.
        assert!(runs.load(Ordering::SeqCst) <= 6, "{} runs", runs.load(Ordering::SeqCst));
    }
});

db_test!(a_panic_is_rolled_back_and_survived, async |db| {
    make_counters(&db).await;
    let neighbours = (0..8).map(|client| {
        tokio::spawn({
            let db = db.db.clone();
            async move { count_up(&db, format!("n-{client}")).await }
        })
    });
    let neighbours = neighbours.collect::<Vec<_>>();
    let result = db
        .write("panic", "p", async |tx: &mut Tx| -> Result<(), DbError> {
            tx.query("INSERT INTO counter (family, n) VALUES ('p', 1)").execute().await?;
            panic!("an action lost its mind");
        })
        .await;
    assert!(matches!(result, Err(DbError::Panicked("panic"))), "{result:?}");
    for neighbour in neighbours {
        neighbour.await.unwrap().unwrap();
    }
    count_up(&db, "after".to_owned()).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM counter WHERE family = 'p'").await, 0);
    assert_eq!(db.number("SELECT count(*) FROM counter").await, 9);
});

db_test!(an_action_may_wait_for_nothing_else, async |db| {
    make_counters(&db).await;
    let (_never, waiting) = tokio::sync::watch::channel(());
    let result = db
        .write("stall", "s", async move |tx: &mut Tx| -> Result<(), DbError> {
            tx.query("INSERT INTO counter (family, n) VALUES ('s', 1)").execute().await?;
            let _ = waiting.clone().changed().await;
            Ok(())
        })
        .await;
    assert!(matches!(result, Err(DbError::Stalled("stall"))), "{result:?}");
    assert_eq!(db.number("SELECT count(*) FROM counter").await, 0);
});

db_test!(
    too_many_waiting_are_turned_away,
    |options| {
        options.queue = 4;
        options.batch = 1;
        options.writers = 1
    },
    async |db| {
        make_counters(&db).await;
        let clients = (0..200).map(|client| {
            tokio::spawn({
                let db = db.db.clone();
                async move { count_up(&db, format!("f-{client}")).await }
            })
        });
        let (mut done, mut turned_away) = (0, 0);
        for client in clients.collect::<Vec<_>>() {
            match client.await.unwrap() {
                Ok(_) => done += 1,
                Err(DbError::Overloaded) => turned_away += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(turned_away > 0 && done >= 4, "{done} done, {turned_away} turned away");
        assert_eq!(db.number("SELECT count(*) FROM counter").await, done);
        // It recovers at once.
        count_up(&db, "after".to_owned()).await.unwrap();
    }
);

db_test!(a_closed_database_says_so, async |db| {
    make_counters(&db).await;
    db.close().await;
    assert!(matches!(count_up(&db, "x".to_owned()).await, Err(DbError::Unavailable(_))));
    let reopened = db.second().await;
    assert_eq!(count_up(&reopened, "x".to_owned()).await.unwrap(), 1);
    reopened.close().await;
});

db_test!(a_snapshot_sees_one_state, async |db| {
    make_counters(&db).await;
    let (begun, mut wait_begun) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, wait_go_on) = std::sync::mpsc::channel::<()>();
    let wait_go_on = std::sync::Mutex::new(wait_go_on);
    let reading = tokio::spawn({
        let db = db.db.clone();
        async move {
            db.snapshot("look twice", async move |tx: &mut Tx| -> Result<(i64, i64), DbError> {
                let (before,) = tx.query("SELECT count(*) FROM counter").one::<(i64,)>().await?;
                begun.send(()).unwrap();
                // Blocks the snapshot's own thread, which nobody else needs.
                wait_go_on.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
                let (after,) = tx.query("SELECT count(*) FROM counter").one::<(i64,)>().await?;
                Ok((before, after))
            })
            .await
            .unwrap()
        }
    });
    wait_begun.recv().await.unwrap();
    count_up(&db, "x".to_owned()).await.unwrap();
    go_on.send(()).unwrap();
    assert_eq!(reading.await.unwrap(), (0, 0));
    assert_eq!(db.number("SELECT count(*) FROM counter").await, 1);
});

#[cfg(unix)]
#[test]
fn the_file_is_nobody_elses() {
    use std::os::unix::fs::PermissionsExt;
    support::on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let mode = std::fs::metadata(db.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{mode:o}");
        },
    );
}

// Batches of two processes that hold rows of each other's next family: a deadlock is found by PostgreSQL and run again, not seen.
db_test!(two_processes_work_on_the_same_families, async |db| {
    make_counters(&db).await;
    let second = db.second().await;
    let clients = (0..48).map(|client| {
        let db = if client % 2 == 0 { db.db.clone() } else { second.clone() };
        tokio::spawn(async move {
            for n in 0..15 {
                // From both ends, so that neighbours meet in every order.
                let place = if client % 4 < 2 { n % 6 } else { 5 - n % 6 };
                let family = format!("family-{place}");
                db.write("add twice", family.clone(), async move |tx: &mut Tx| -> Result<(), DbError> {
                    let sql = "INSERT INTO counter (family, n) VALUES ($1, 1) ON CONFLICT (family) DO UPDATE SET n = counter.n + 1";
                    tx.query(sql).bind(&family).execute().await?;
                    tx.query("SELECT n FROM counter WHERE family = $1").bind(&family).one::<(i64,)>().await?;
                    tx.query(sql).bind(&family).execute().await.map(drop)
                })
                .await
                .unwrap();
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(db.number("SELECT CAST(sum(n) AS BIGINT) FROM counter").await, 48 * 15 * 2);
    second.close().await;
});
