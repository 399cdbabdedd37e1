//! PostgreSQL that is more than one server: a pooler before it, a standby beside it, a primary that changes.

#![expect(clippy::disallowed_methods, reason = "it is measured how long the database keeps callers waiting")]

use crate::support;
use crate::support::catalogue;
use crate::support::cluster;
use crate::support::terminal;

use std::time::{Duration, Instant};

use catalogue::TestServer;
use cluster::{Patroni, Pooler};
use counterfoil_server::auditor;
use counterfoil_server::db::{DbError, DbOptions, Tx};
use serde_json::json;
use support::{Engine, TestDb, connect, on, on_cluster, with_database};
use terminal::{Terminal, media};

fn unnamed(options: &mut DbOptions) {
    options.named_statements = false;
    // A healthy pooler need not be waited for; a broken one is told from a slow one sooner.
    options.retry_for = Duration::from_secs(5);
}

/// Register, press, claim, confirm, from eight sides at once, over connections that every transaction shares with others.
async fn main_job(db: &TestDb) -> i64 {
    let server = TestServer::new(db).await;
    let media = media(&server, "sky-raider", 24, json!({})).await;
    let people = futures_util::future::join_all((0..8).map(|_| Terminal::registered(&server))).await;
    let claims = media.iter().enumerate().map(async |(number, medium)| {
        let grants = people[number % people.len()].claim(&server, medium).await.unwrap();
        people[number % people.len()].confirm(&server, medium, &grants).await.unwrap();
        assert!(people[(number + 1) % people.len()].claim(&server, medium).await.is_err(), "a second copy of {number}");
    });
    futures_util::future::join_all(claims).await;
    assert_eq!(server.get(&server.fox, "/v1/titles").await.expect(200)["items"].as_array().unwrap().len(), 1);
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    db.number("SELECT count(*) FROM grants WHERE state = 'settled'").await
}

// The pool is smaller than what the process holds, so that hardly a statement follows another on the same connection.
#[test]
fn the_main_job_goes_through_a_pooler_that_forgets_sessions() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            let pooler = Pooler::before(&support::cluster(), 3);
            let pooled = db.by(&pooler.url, unnamed).await.unwrap();
            assert!(pooled.migration_status().await.unwrap().pending.is_empty());
            pooled.migrate().await.unwrap();
            assert_eq!(main_job(&pooled).await, 24);
            limits_and_access_hold(&pooled).await;
            pooled.close().await;
        },
    );
}

/// How many of many short transactions, which are not run again, find that a statement they name is not there, or is there already.
async fn failures(db: &TestDb, pooler: &Pooler, named: bool) -> usize {
    let once = |options: &mut DbOptions| {
        options.named_statements = named;
        options.retry_for = Duration::ZERO;
        options.batch = 1;
    };
    let pooled = db.by(&pooler.url, once).await.unwrap();
    let number = async |tx: &mut Tx| tx.query("SELECT CAST($1 AS BIGINT)").bind(7).one::<(i64,)>().await;
    let asked = (0..200).map(|n| {
        let db = pooled.db.clone();
        async move { if n % 2 == 0 { db.read("number", number).await } else { db.write("number", format!("family-{n}"), number).await } }
    });
    let answers: Vec<Result<(i64,), DbError>> = futures_util::future::join_all(asked).await;
    pooled.close().await;
    let said = answers.iter().filter_map(|answer| answer.as_ref().err()).map(ToString::to_string);
    said.filter(|error| error.contains("prepared statement")).count()
}

// The planted bug: names are told to one connection and used on another. Run again often enough, a transaction gets through nevertheless,
// so here none is.
#[test]
fn named_statements_do_not_survive_a_pooler() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            let pooler = Pooler::before(&support::cluster(), 2);
            assert_eq!(failures(&db, &pooler, false).await, 0);
            let failed = failures(&db, &pooler, true).await;
            assert!(failed > 0, "the pooler keeps names, and so the test of `named_statements = false` proves nothing");
        },
    );
}

/// What a session would have been told once is told to every transaction, and leaves nothing behind.
async fn limits_and_access_hold(db: &TestDb) {
    let limits = async |tx: &mut Tx| -> Result<(String, String), DbError> {
        tx.query("SELECT current_setting('statement_timeout'), current_setting('transaction_read_only')").one().await
    };
    assert_eq!(db.write("limits", "x", limits).await.unwrap(), ("10s".to_owned(), "off".to_owned()));
    assert_eq!(db.read("limits", limits).await.unwrap(), ("10s".to_owned(), "on".to_owned()));
    assert_eq!(db.snapshot("limits", limits).await.unwrap(), ("0".to_owned(), "on".to_owned()));
    let beside = db.beside().await;
    for _ in 0..8 {
        let left = beside.simple_query("SHOW statement_timeout").await.unwrap();
        let left = left.iter().find_map(|answer| match answer {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        assert_eq!(left.as_deref(), Some("0"), "a limit of ours was left in a connection that others use");
    }
    let sneaky = async |tx: &mut Tx| -> Result<u64, DbError> { tx.query("DELETE FROM grants").execute().await };
    assert!(matches!(db.read("sneaky", sneaky).await, Err(DbError::Statement { .. })));
    let miscounted =
        async |tx: &mut Tx| -> Result<(i64,), DbError> { tx.query("SELECT CAST($1 AS BIGINT) + CAST($2 AS BIGINT)").bind(1).one().await };
    assert!(matches!(db.read("miscounted", miscounted).await, Err(DbError::Statement { .. })));
}

/// How long a replica that failed is left alone in these tests.
const REST: Duration = Duration::from_millis(400);

fn patient(options: &mut DbOptions) {
    options.attempt_for = Duration::from_secs(4);
    options.retry_for = Duration::from_secs(4);
}

// One test, because the parts change what all of them stand on.
#[test]
fn a_standby_answers_what_may_lag_and_holds_what_was_acknowledged() {
    let patroni = Patroni::start();
    on_cluster(&patroni.url, patient, async |db: TestDb| {
        let standby = patroni.only("standby");
        db.run("CREATE TABLE thing (family TEXT PRIMARY KEY, n BIGINT NOT NULL)").await;
        db.run("INSERT INTO thing (family, n) VALUES ('a', 1)").await;
        replayed(&with_database(&standby, &database(&db))).await;
        let with_replica = db
            .by(&patroni.url, |options| {
                options.replica = Some(with_database(&standby, &database(&db)).parse().unwrap());
                options.replica_rest = REST;
            })
            .await
            .unwrap();
        let replica = connect(&standby).await;
        lists_may_lag_and_decisions_do_not(&with_replica, &replica).await;
        a_replica_that_fails_is_passed_over(&with_replica, &patroni).await;
        with_replica.close().await;
        a_commit_without_standby_is_in_doubt_and_not_acknowledged(&db, &patroni).await;
    });
}

/// Asks until it is so; that it never is, is noticed after ten seconds.
async fn within_seconds(is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "the replica was not asked, or does not lag");
    }
}

/// Returns when the standby has seen the database and its row: it has what was committed, and replays it when it comes to that.
async fn replayed(url: &str) {
    loop {
        if let Ok((client, connection)) = tokio_postgres::connect(url, tokio_postgres::NoTls).await {
            tokio::spawn(connection);
            if client.query_one("SELECT n FROM thing WHERE family = 'a'", &[]).await.is_ok() {
                return;
            }
        }
    }
}

/// Its name: the address prints as `postgres://hosts/name`.
fn database(db: &TestDb) -> String {
    db.url.to_string().rsplit_once('/').unwrap().1.to_owned()
}

async fn is_replica(tx: &mut Tx) -> Result<i64, DbError> {
    Ok(tx.query("SELECT CAST(pg_is_in_recovery() AS INTEGER)").one::<(i64,)>().await?.0)
}

async fn number(tx: &mut Tx, family: &'static str) -> Result<Option<i64>, DbError> {
    Ok(tx.query("SELECT n FROM thing WHERE family = $1").bind(family).opt::<(i64,)>().await?.map(|(n,)| n))
}

async fn lists_may_lag_and_decisions_do_not(db: &TestDb, replica: &tokio_postgres::Client) {
    // Where it fails for a moment, as on a busy machine, the primary answers in its place; so it is asked for a while.
    within_seconds(async || db.read_lagging("where", is_replica).await.unwrap() == 1).await;
    assert_eq!(db.read("where", is_replica).await.unwrap(), 0);
    assert_eq!(db.write("where", "a", is_replica).await.unwrap(), 0);
    assert_eq!(db.snapshot("where", is_replica).await.unwrap(), 0);
    replica.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    // Asking to pause is not yet being paused.
    let paused = "SELECT pg_get_wal_replay_pause_state()";
    while replica.query_one(paused, &[]).await.unwrap().get::<_, String>(0) != "paused" {}
    db.run("UPDATE thing SET n = 2 WHERE family = 'a'").await;
    db.run("INSERT INTO thing (family, n) VALUES ('b', 3)").await;
    let a = async |tx: &mut Tx| number(tx, "a").await;
    let b = async |tx: &mut Tx| number(tx, "b").await;
    assert_eq!(db.read("a", a).await.unwrap(), Some(2), "decisions see what was committed");
    assert_eq!(db.write("a", "a", a).await.unwrap(), Some(2));
    // The planted bug of a decision that lags would be this.
    within_seconds(async || db.read_lagging("a", a).await.unwrap() == Some(1)).await;
    within_seconds(async || db.read_lagging("b", b).await.unwrap().is_none()).await;
    assert_eq!(db.find_lagging("b", b).await.unwrap(), Some(3), "what is not found there is looked for on the primary");
    let missing = async |tx: &mut Tx| number(tx, "b").await?.ok_or(DbError::NoRow("thing"));
    assert_eq!(db.read_lagging("b", missing).await.unwrap(), 3, "so is what is told as an error");
    assert_eq!(db.find_lagging("c", async |tx: &mut Tx| number(tx, "c").await).await.unwrap(), None);
    replica.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    while db.read_lagging("b", b).await.unwrap().is_none() {}
}

async fn a_replica_that_fails_is_passed_over(db: &TestDb, patroni: &Patroni) {
    let node = patroni.run(&["standby"]);
    patroni.run(&["freeze", &node]);
    let begun = Instant::now();
    assert_eq!(db.read_lagging("where", is_replica).await.unwrap(), 0, "answered by the primary");
    assert!(begun.elapsed() < Duration::from_secs(4), "it was waited for: {:?}", begun.elapsed());
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(db.read_lagging("where", is_replica).await.unwrap(), 0);
    }
    assert!(begun.elapsed() < REST, "while it rests it is not asked: {:?}", begun.elapsed());
    patroni.run(&["thaw", &node]);
    let begun = Instant::now();
    while db.read_lagging("where", is_replica).await.unwrap() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the replica is back and is not asked");
    }
    patroni.run(&["wait-standby"]);
}

// The standby stands still, so the primary's COMMIT waits for it: nobody is told that it happened, and it is not lost either.
async fn a_commit_without_standby_is_in_doubt_and_not_acknowledged(db: &TestDb, patroni: &Patroni) {
    let count = async |tx: &mut Tx| -> Result<i64, DbError> {
        let sql = "INSERT INTO thing (family, n) VALUES ('counted', 1) ON CONFLICT (family) DO UPDATE SET n = thing.n + 1 RETURNING n";
        Ok(tx.query(sql).one::<(i64,)>().await?.0)
    };
    let once = async move |tx: &mut Tx| -> Result<i64, DbError> {
        // What a request record does: the second run finds what the first one did, or waits until that is decided.
        let sql = "INSERT INTO thing (family, n) VALUES ('requested', 1) ON CONFLICT (family) DO NOTHING";
        match tx.query(sql).execute().await? {
            0 => number(tx, "counted").await?.ok_or_else(|| tx.conflict("the request")),
            _ => count(tx).await,
        }
    };
    let node = patroni.run(&["standby"]);
    patroni.run(&["freeze", &node]);
    let begun = Instant::now();
    let waited = db.write("count", "counted", once).await;
    assert!(matches!(waited, Err(DbError::Unavailable(_))), "{waited:?}");
    assert!(begun.elapsed() < Duration::from_secs(9), "told within the time limit: {:?}", begun.elapsed());
    patroni.run(&["thaw", &node]);
    let begun = Instant::now();
    let repeated = loop {
        match db.write("count", "counted", once).await {
            Ok(n) => break n,
            Err(error) => assert!(error.try_later() && begun.elapsed() < Duration::from_secs(40), "{error}"),
        }
    };
    assert_eq!(repeated, 1, "one effect, whatever became of the first COMMIT");
}
