//! Whatever breaks, and whenever: all of a transaction or nothing, and nothing acknowledged is lost.

use crate::support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use counterfoil_server::db::{Db, DbError, DbUrl, Fault, Lasting, Tx};
use counterfoil_server::store::audit;
use counterfoil_server::store::request::{self, Once, Recorded};
use support::{Engine, TestDb, db_test, on};

async fn make_purses(db: &TestDb) {
    db.run("CREATE TABLE purse (family TEXT NOT NULL, name TEXT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (family, name))").await;
    db.run("INSERT INTO purse (family, name, n) VALUES ('usr-1', 'from', 1000), ('usr-1', 'to', 0)").await;
}

/// A use case of several statements: moves one coin, with audit record and request record.
async fn move_coin(db: &Db, request_id: String) -> Result<Recorded, DbError> {
    db.write("move coin", "usr-1", async move |tx| {
        match request::once(tx, "usr-1", &request_id, &[0; 32], 0).await? {
            Once::Repeat(recorded) => return Ok(recorded),
            Once::Mismatch => panic!("the digest is always the same"),
            Once::Fresh => {}
        }
        tx.query("UPDATE purse SET n = n - 1 WHERE family = 'usr-1' AND name = 'from'").execute().await?;
        tx.query("UPDATE purse SET n = n + 1 WHERE family = 'usr-1' AND name = 'to'").execute().await?;
        audit::append(tx, "usr-1", 0, "usr-1", "moved", &serde_json::json!({ "request": request_id })).await?;
        let recorded = Recorded { status: 200, answer: request_id.clone().into_bytes() };
        request::record(tx, "usr-1", &request_id, &[0; 32], &recorded, 0, 1000).await?;
        Ok(recorded)
    })
    .await
}

/// Coins moved, after checking that everything that is written together tells the same story.
async fn moved(db: &TestDb) -> i64 {
    let to = db.number("SELECT n FROM purse WHERE name = 'to'").await;
    assert_eq!(db.number("SELECT n FROM purse WHERE name = 'from'").await, 1000 - to);
    assert_eq!(db.number("SELECT count(*) FROM request").await, to);
    assert_eq!(db.number("SELECT count(*) FROM audit").await, to);
    let report = audit::verify(db, vec![], |_| Err("no checkpoints here".to_owned())).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    to
}

db_test!(every_statement_may_fail_once, async |db| {
    make_purses(&db).await;
    let mut struck = 0;
    for n in 0.. {
        db.faults.arm(Fault::Statement(n), Lasting::Once);
        move_coin(&db, format!("r-{n}")).await.unwrap();
        let fired = db.faults.fired();
        db.faults.disarm();
        assert_eq!(moved(&db).await, i64::try_from(n).unwrap() + 1, "exactly one effect, whatever failed");
        if fired == 0 {
            break;
        }
        struck += 1;
    }
    assert!(struck >= 6, "only {struck} statements failed");
});

db_test!(every_statement_may_fail_for_good, |options| options.retry_for = Duration::from_millis(30), async |db| {
    make_purses(&db).await;
    let mut struck = 0;
    for n in 0.. {
        db.faults.arm(Fault::Statement(n), Lasting::ForGood);
        let result = move_coin(&db, format!("r-{n}")).await;
        let fired = db.faults.fired();
        db.faults.disarm();
        if fired == 0 {
            result.unwrap();
            break;
        }
        struck += 1;
        assert!(matches!(result, Err(DbError::Unavailable(_))), "{result:?}");
        assert_eq!(moved(&db).await, 0, "nothing");
    }
    assert_eq!(moved(&db).await, 1, "the last one, which nothing struck");
    assert!(struck >= 6, "only {struck} statements failed");
});

db_test!(a_commit_may_fail, |options| options.retry_for = Duration::from_millis(100), async |db| {
    make_purses(&db).await;
    db.faults.arm(Fault::Commit(0), Lasting::Once);
    move_coin(&db, "r-0".to_owned()).await.unwrap();
    db.faults.arm(Fault::Commit(0), Lasting::ForGood);
    assert!(matches!(move_coin(&db, "r-1".to_owned()).await, Err(DbError::Unavailable(_))));
    db.faults.disarm();
    assert_eq!(moved(&db).await, 1);
    // Every COMMIT takes effect and says it did not: the caller gives up, and is right to repeat.
    db.faults.arm(Fault::CommitAnswer(0), Lasting::ForGood);
    assert!(matches!(move_coin(&db, "r-2".to_owned()).await, Err(DbError::Unavailable(_))));
    db.faults.disarm();
    assert_eq!(move_coin(&db, "r-2".to_owned()).await.unwrap().answer, b"r-2");
    assert_eq!(moved(&db).await, 2);
});

db_test!(faults_in_a_crowd_hurt_nobody, async |db| {
    make_purses(&db).await;
    for round in 0..8 {
        let fault = [Fault::Statement(round * 5), Fault::Commit(0), Fault::CommitAnswer(0), Fault::CommitAnswer(1)][round as usize % 4];
        db.faults.arm(fault, Lasting::Once);
        let movers = (0..24).map(|n| {
            tokio::spawn({
                let db = db.db.clone();
                async move { move_coin(&db, format!("r-{round}-{n}")).await }
            })
        });
        for mover in movers.collect::<Vec<_>>() {
            mover.await.unwrap().unwrap();
        }
        assert_eq!(moved(&db).await, i64::try_from(round + 1).unwrap() * 24);
    }
});

// The planted bug: an action without a request record is not idempotent, and a lost answer shows it.
db_test!(an_action_without_a_record_would_be_caught, async |db| {
    make_purses(&db).await;
    db.faults.arm(Fault::CommitAnswer(0), Lasting::Once);
    let careless = async |tx: &mut Tx| -> Result<u64, DbError> {
        tx.query("UPDATE purse SET n = n + 1 WHERE family = 'usr-1' AND name = 'to'").execute().await
    };
    db.write("careless", "usr-1", careless).await.unwrap();
    assert_eq!(db.number("SELECT n FROM purse WHERE name = 'to'").await, 2, "the fault really loses an answer to a real COMMIT");
});

#[test]
fn killed_sessions_are_replaced() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            make_purses(&db).await;
            let beside = db.beside().await;
            // Many moves share a commit: how many sessions are there to be killed, only the rounds decide.
            let (mut killed, mut rounds) = (0, 0);
            while killed < 30 {
                assert!(rounds < 100, "only {killed} sessions were killed");
                let movers = (0..20).map(|n| {
                    let db = db.db.clone();
                    tokio::spawn(async move { move_coin(&db, format!("r-{rounds}-{n}")).await })
                });
                for mover in movers.collect::<Vec<_>>() {
                    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'counterfoild'";
                    killed += beside.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
                    mover.await.unwrap().unwrap();
                }
                rounds += 1;
            }
            assert_eq!(moved(&db).await, rounds * 20);
        },
    );
}

#[test]
fn a_server_that_is_gone_is_unavailable_and_not_waited_for() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Bound and not listened on: refused.
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        let url: DbUrl = format!("postgres://me:secret@127.0.0.1:{port}/none").parse().unwrap();
        let error = Db::open(&url).await.unwrap_err();
        assert!(matches!(error, DbError::Lost(_)) && !error.to_string().contains("secret"), "{error}");
    });
}

mod nothing_acknowledged_is_lost_by_sigkill {
    use super::*;

    #[test]
    fn sqlite() {
        on(Engine::Sqlite, |_| (), async |db: TestDb| kill_and_look(&db, format!("sqlite:{}", db.path().display())).await);
    }

    #[test]
    fn postgres() {
        on(
            Engine::Postgres,
            |_| (),
            async |db: TestDb| {
                let cluster = std::env::var("COUNTERFOIL_TEST_POSTGRES").unwrap();
                let name = db.url.to_string().rsplit_once('/').unwrap().1.to_owned();
                kill_and_look(&db, format!("{}/{name}", cluster.rsplit_once('/').unwrap().0)).await;
            },
        );
    }

    async fn kill_and_look(db: &TestDb, url: String) {
        make_purses(db).await;
        let mut acknowledged = Vec::new();
        for round in 0..4 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "db_faults::child_that_moves_coins", "--ignored", "--nocapture"])
                .env("COUNTERFOIL_TEST_CHILD", format!("{url} {round}"))
                .stdout(Stdio::piped())
                .stderr(Stdio::inherit())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let wanted = 20 + 17 * round;
            let mut seen = 0;
            let mut killed = false;
            // What it still had in the pipe when it was killed was acknowledged as well.
            for line in lines.map_while(Result::ok) {
                if let Some(id) = line.strip_prefix("moved ") {
                    acknowledged.push(id.to_owned());
                    seen += 1;
                }
                if seen == wanted && !killed {
                    child.kill().unwrap();
                    killed = true;
                }
            }
            child.wait().unwrap();
            assert!(killed, "the child ended by itself after {seen}");
        }
        for id in &acknowledged {
            let id = id.clone();
            let known = async move |tx: &mut Tx| -> Result<bool, DbError> {
                let sql = "SELECT answer FROM request WHERE family = 'usr-1' AND request_id = $1";
                Ok(tx.query(sql).bind(&id).opt::<(Vec<u8>,)>().await?.is_some())
            };
            assert!(db.read("known", known).await.unwrap());
        }
        let effects = moved(db).await;
        assert!(effects >= i64::try_from(acknowledged.len()).unwrap() && acknowledged.len() >= 4 * 20);
    }
}

/// Not a test of its own: the process that is killed.
#[test]
#[ignore = "run by nothing_acknowledged_is_lost_by_sigkill"]
fn child_that_moves_coins() {
    let Ok(order) = std::env::var("COUNTERFOIL_TEST_CHILD") else { return };
    let (url, round) = order.split_once(' ').unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Db::open(&url.parse().unwrap()).await.unwrap();
        let movers = (0..8).map(|mover| {
            let (db, round) = (db.clone(), round.to_owned());
            tokio::spawn(async move {
                for n in 0..100 {
                    let id = format!("k-{round}-{mover}-{n}");
                    move_coin(&db, id.clone()).await.unwrap();
                    println!("moved {id}");
                }
            })
        });
        for mover in movers.collect::<Vec<_>>() {
            mover.await.unwrap();
        }
    });
}

// The certificate is the cluster's own, so it is trusted only where it is named.
#[test]
fn postgres_is_reached_by_tls_and_its_certificate_is_verified() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            let beside = db.beside().await;
            let certificate =
                beside.query_one("SELECT pg_read_file('server.crt', 0, 100000, true)", &[]).await.unwrap().get::<_, Option<String>>(0);
            let certificate = certificate.expect("the cluster has no certificate: scripts/postgres makes one where openssl is installed");
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("root.pem");
            std::fs::write(&file, certificate).unwrap();

            let cluster = std::env::var("COUNTERFOIL_TEST_POSTGRES").unwrap();
            let name = db.url.to_string().rsplit_once('/').unwrap().1.to_owned();
            let plain = format!("{}/{name}", cluster.rsplit_once('/').unwrap().0);
            let trusted = format!("{plain}?sslmode=require&sslrootcert={}", file.display()).parse().unwrap();
            let tls = Db::open(&trusted).await.unwrap();
            let encrypted = async |tx: &mut Tx| -> Result<i64, DbError> {
                let sql = "SELECT CAST(ssl AS INTEGER) FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
                Ok(tx.query(sql).one::<(i64,)>().await?.0)
            };
            assert_eq!(tls.write("encrypted", "x", encrypted).await.unwrap(), 1);
            assert_eq!(tls.read("encrypted", encrypted).await.unwrap(), 1);
            assert_eq!(db.read("encrypted", encrypted).await.unwrap(), 0, "the other way round, the question can be answered with no");
            tls.close().await;

            let unknown = Db::open(&format!("{plain}?sslmode=require").parse().unwrap()).await.unwrap_err();
            assert!(unknown.to_string().contains("certificate"), "{unknown}");
        },
    );
}
